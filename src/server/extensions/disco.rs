//! XEP-0030: Service Discovery, with XEP-0128 forms.
//!
//! Tells what is mounted, of the domain, of its services and of accounts. Nodes are asked of whoever keeps them.
//! Strangers may ask an account only as far as the keeper of its nodes lets them; its identity and features
//! are told to its owner and to whoever sees its presence (XEP-0030 section 8, XEP-0163 section 3).

use std::sync::{Arc, Weak};

use xmpp::xml::{ElementBuilder, WithAttribute as _};
use xmpp::{Element, StanzaError, ns};

use crate::config::Config;
use crate::extension::{Answer, Asked, BoxFuture, Delegate, Extension, Identity, Kit, Mount, Reply, Spec, To, Xep};
use crate::router::Router;

/// Answers service discovery.
pub struct Disco {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    /// Components that are items of their hosts.
    listed: Vec<Listed>,
}

struct Listed {
    host: Box<str>,
    jid: Box<str>,
    label: Option<String>,
}

static SPEC: Spec =
    Spec { name: "disco", xeps: &[Xep::complete(30, "2.5.0"), Xep::complete(128, "1.0.1")], config: "" };

impl Disco {
    /// Tells what is wired to the kit's router.
    #[must_use]
    pub fn new(kit: &Kit, config: &Config) -> Arc<Self> {
        let listed = config.component.iter().filter(|component| component.is_listed);
        let listed = listed.filter_map(|component| {
            let (host, label) = (component.host_in(config), component.label.clone());
            Some(Listed { host, jid: component.domain()?, label })
        });
        Arc::new(Self { router: Arc::downgrade(&kit.router), listed: listed.collect() })
    }

    fn router(&self) -> Result<Arc<Router>, StanzaError> {
        self.router.upgrade().ok_or_else(StanzaError::internal_server_error)
    }

    async fn domain_info(self: Arc<Self>, asked: Asked) -> Answer {
        let query = asked.open()?;
        let router = self.router()?;
        let node = query.attr("node").filter(|node| !node.is_empty());
        if let Some(node) = node
            && let Some(children) = router.wiring().command_information(To::DOMAIN, &asked.caller, node)
        {
            let answer = Element::builder("query", ns::DISCO_INFO).attribute("node", node);
            return Ok(Reply::Element(answer.append_all(children?).build()));
        }
        if let Some(node) = node
            && node != super::caps::own_node(&router)
        {
            return Err(StanzaError::item_not_found());
        }
        let answer = domain_info(&router, node);
        match &router.wiring().delegate {
            // What a hash stands for is what it was made from.
            Some(delegate) if node.is_none() => {
                Ok(Reply::Element(nest(delegate.as_ref(), To::DOMAIN, &asked, &answer)))
            }
            _ => Ok(Reply::Element(answer)),
        }
    }

    async fn domain_items(self: Arc<Self>, asked: Asked) -> Answer {
        let query = asked.open()?;
        let router = self.router()?;
        match query.attr("node").filter(|node| !node.is_empty()) {
            None => {}
            Some(ns::COMMANDS) => return Ok(commands(&router, To::DOMAIN, &asked)),
            Some(_) => return Err(StanzaError::item_not_found()),
        }
        let mut answer = Element::builder("query", ns::DISCO_ITEMS);
        for (domain, service) in &router.wiring().services {
            if *service.host == *asked.to.domain() {
                let item = Element::builder("item", ns::DISCO_ITEMS);
                answer = answer.append(item.attribute("jid", &**domain).attribute("name", service.name).build());
            }
        }
        for listed in self.listed.iter().filter(|listed| *listed.host == *asked.to.domain()) {
            let item = Element::builder("item", ns::DISCO_ITEMS).attribute("jid", &*listed.jid);
            answer = answer.append(item.attribute("name", listed.label.as_deref()).build());
        }
        Ok(Reply::Element(answer.build()))
    }

    async fn service_info(self: Arc<Self>, asked: Asked) -> Answer {
        let query = asked.open()?;
        let router = self.router()?;
        let wiring = router.wiring();
        let mut answer = Element::builder("query", ns::DISCO_INFO);
        if let Some(node) = query.attr("node").filter(|node| !node.is_empty()) {
            answer = answer.attribute("node", node);
            if let Some(children) = wiring.command_information(To::SERVICE, &asked.caller, node) {
                return Ok(Reply::Element(answer.append_all(children?).build()));
            }
            let nodes = wiring.account_nodes.as_ref().ok_or_else(StanzaError::item_not_found)?;
            for child in nodes.info(asked.caller.clone(), asked.to.clone(), node.into()).await? {
                answer = answer.append(child);
            }
        } else {
            let own = wiring.services.get(asked.to.domain()).map_or(&[][..], |service| service.features);
            let features = wiring.service_features.iter().chain(own).copied();
            answer = describe(answer, wiring.service_identities.iter(), features);
            for form in &wiring.service_forms {
                answer = answer.append(form());
            }
        }
        Ok(Reply::Element(answer.build()))
    }

    async fn account_info(self: Arc<Self>, asked: Asked) -> Answer {
        let query = asked.open()?;
        let router = self.router()?;
        let wiring = router.wiring();
        let mut answer = Element::builder("query", ns::DISCO_INFO);
        match (query.attr("node").filter(|node| !node.is_empty()), &wiring.account_nodes) {
            (Some(node), Some(nodes)) => {
                answer = answer.attribute("node", node);
                if asked.caller.owns(&asked.to)
                    && let Some(children) = wiring.command_information(To::ACCOUNT, &asked.caller, node)
                {
                    return Ok(Reply::Element(answer.append_all(children?).build()));
                }
                let found = nodes.info(asked.caller.clone(), asked.to.clone(), node.into()).await;
                if is_unknown(&found)
                    && let Some(passing) = remaining(&router, &asked)
                {
                    passing.await;
                    return Ok(Reply::Sent);
                }
                for child in found? {
                    answer = answer.append(child);
                }
            }
            (Some(_), None) => return Err(StanzaError::item_not_found()),
            (None, nodes) => {
                if let Some(nodes) = nodes {
                    nodes.may_discover(asked.caller.clone(), asked.to.clone()).await?;
                } else {
                    asked.require_owner()?;
                }
                answer = describe(answer, wiring.account_identities.iter(), wiring.account_features.iter().copied());
                if let Some(delegate) = &wiring.delegate {
                    return Ok(Reply::Element(nest(delegate.as_ref(), To::ACCOUNT, &asked, &answer.build())));
                }
            }
        }
        Ok(Reply::Element(answer.build()))
    }

    /// Of an account or a service.
    async fn account_items(self: Arc<Self>, asked: Asked) -> Answer {
        let query = asked.open()?;
        let router = self.router()?;
        let node = query.attr("node").filter(|node| !node.is_empty()).map(Box::from);
        if node.as_deref() == Some(ns::COMMANDS) {
            if router.is_service(asked.to.domain()) {
                return Ok(commands(&router, To::SERVICE, &asked));
            }
            if asked.caller.owns(&asked.to) {
                return Ok(commands(&router, To::ACCOUNT, &asked));
            }
        }
        let mut answer = Element::builder("query", ns::DISCO_ITEMS);
        if let Some(node) = &node {
            answer = answer.attribute("node", &**node);
        }
        if let Some(nodes) = &router.wiring().account_nodes {
            // Nobody knows an account's items but one.
            if node.is_none()
                && let Some(passing) = remaining(&router, &asked)
            {
                passing.await;
                return Ok(Reply::Sent);
            }
            let found = nodes.items(asked.caller.clone(), asked.to.clone(), node, query).await;
            if is_unknown(&found)
                && let Some(passing) = remaining(&router, &asked)
            {
                passing.await;
                return Ok(Reply::Sent);
            }
            for child in found? {
                answer = answer.append(child);
            }
        } else if node.is_some() {
            return Err(StanzaError::item_not_found());
        }
        Ok(Reply::Element(answer.build()))
    }
}

/// The disco#info answer of the domain, the same whoever asks: its hash is in the stream features (XEP-0115).
pub(super) fn domain_info(router: &Router, node: Option<&str>) -> Element {
    let wiring = router.wiring();
    let mut answer = describe(
        Element::builder("query", ns::DISCO_INFO).attribute("node", node),
        wiring.domain_identities.iter(),
        wiring.domain_features.iter().copied(),
    );
    for form in &wiring.domain_forms {
        answer = answer.append(form());
    }
    answer.build()
}

/// Whether nobody here knows what was asked about.
fn is_unknown<T>(found: &Result<T, StanzaError>) -> bool {
    found.as_ref().is_err_and(|error| error.condition == xmpp::stanza::Condition::ItemNotFound)
}

/// Has a question answered by whoever is there for the rest (XEP-0355 section 7.2).
fn remaining(router: &Router, asked: &Asked) -> Option<BoxFuture<()>> {
    router.wiring().delegate.as_ref()?.remaining(asked)
}

/// An answer with what is said elsewhere in it (XEP-0355 section 7.2).
fn nest(delegate: &dyn Delegate, at: To, asked: &Asked, answer: &Element) -> Element {
    let children = delegate.nest(at, &asked.to, answer.children().cloned().collect());
    Element::builder("query", ns::DISCO_INFO).append_all(children).build()
}

/// The list of commands that are there for the caller (XEP-0050 section 2.2).
fn commands(router: &Router, at: To, asked: &Asked) -> Reply {
    let answer = Element::builder("query", ns::DISCO_ITEMS).attribute("node", ns::COMMANDS);
    Reply::Element(answer.append_all(router.wiring().command_items(at, &asked.to, &asked.caller)).build())
}

fn describe<'a>(
    mut answer: ElementBuilder,
    identities: impl Iterator<Item = &'a Identity>,
    features: impl Iterator<Item = &'a str>,
) -> ElementBuilder {
    for identity in identities {
        answer = answer.append(
            Element::builder("identity", ns::DISCO_INFO)
                .attribute("category", identity.category)
                .attribute("type", identity.type_)
                .attribute("name", Some(identity.name).filter(|name| !name.is_empty()))
                .build(),
        );
    }
    for feature in features {
        answer = answer.append(Element::builder("feature", ns::DISCO_INFO).attribute("var", feature).build());
    }
    answer
}

impl Extension for Disco {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.identity(To::DOMAIN, Identity { category: "server", type_: "im", name: "Chirrup" });
        at.identity(To::ACCOUNT, Identity { category: "account", type_: "registered", name: "" });
        at.iq_get(To::DOMAIN, ("query", ns::DISCO_INFO), &self, Self::domain_info);
        at.iq_get(To::DOMAIN, ("query", ns::DISCO_ITEMS), &self, Self::domain_items);
        at.iq_get(To::ACCOUNT, ("query", ns::DISCO_INFO), &self, Self::account_info);
        at.iq_get(To::SERVICE, ("query", ns::DISCO_INFO), &self, Self::service_info);
        at.iq_get(To::ACCOUNT | To::SERVICE, ("query", ns::DISCO_ITEMS), &self, Self::account_items);
    }
}
