//! XEP-0355: Namespace Delegation: components that handle IQs to their host and to its accounts instead of us, as far as
//! `component.delegation` says (admin mode).
//!
//! An IQ is forwarded, and what comes back is checked before it is given to whom it is for. What the component says of
//! itself in disco takes the place of what we would. Where nothing is delegated, nothing is mounted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use xmpp::limits::Limits;
use xmpp::stanza::{IqType, Kind, MessageType};
use xmpp::xml::{WithAttribute as _, element_bytes};
use xmpp::{BareJid, Element, Jid, Stanza, StanzaError, ns};

use crate::config::Config;
use crate::extension::{Asked, BoxFuture, Caller, Delegate, Extension, Kit, Listener, Mount, Pending, Spec, To, Xep};
use crate::router::Router;
use crate::runtime::Ids;

/// The namespace that stands for disco#info of nodes of accounts that nobody here knows.
const REMAINING: &str = "urn:xmpp:delegation:2:bare:disco#info:*";
/// Children of disco#info taken from a component for one namespace.
const NESTED_MAX: usize = 256;

/// What is delegated, and to whom.
pub struct Delegation {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    ids: Arc<dyn Ids>,
    rules: Vec<Rule>,
    /// What components say of themselves.
    nested: Arc<Mutex<Nested>>,
}

/// By number of the rule, and whether it is said of accounts: children of disco#info.
type Nested = BTreeMap<(usize, bool), Vec<Element>>;

/// One delegated namespace.
struct Rule {
    namespace: String,
    attributes: Vec<String>,
    host: BareJid,
    /// The component.
    to: Jid,
}

static SPEC: Spec = Spec { name: "delegation", xeps: &[Xep::partial(355, "0.5")], config: "" };

impl Delegation {
    /// What `config` says.
    #[must_use]
    pub fn new(kit: &Kit, config: &Config) -> Arc<Self> {
        let mut rules = Vec::new();
        for component in &config.component {
            let (Some(domain), Ok(host)) = (component.domain(), BareJid::new(&component.host_in(config))) else {
                continue;
            };
            let Ok(to) = Jid::new(&domain) else { continue };
            rules.extend(component.delegations.iter().map(|delegation| Rule {
                namespace: delegation.namespace.clone(),
                attributes: delegation.attributes.clone(),
                host: host.clone(),
                to: to.clone(),
            }));
        }
        let (router, ids) = (Arc::downgrade(&kit.router), Arc::clone(&kit.ids));
        Arc::new(Self { router, ids, rules, nested: Arc::default() })
    }

    fn rule(&self, caller: &Caller, entity: &BareJid, stanza: &Stanza) -> Option<&Rule> {
        let payload = stanza.content.children().next()?;
        let rule = self.rules.iter().find(|rule| rule.namespace == payload.ns() && rule.is_for(caller, entity))?;
        if rule.attributes.is_empty() {
            return Some(rule);
        }
        let payload = payload.open().ok()?;
        rule.attributes.iter().all(|name| payload.attr(name.as_str()).is_some()).then_some(rule)
    }

    /// Forwards `stanza`, and what comes back.
    async fn pass(router: Arc<Router>, host: BareJid, to: Jid, caller: Caller, entity: BareJid, stanza: Stanza) {
        let question =
            Stanza::new(Kind::Iq(IqType::Set)).from(host).with_bytes("delegation", ns::DELEGATION, &wrapped(&stanza));
        let then_router = Arc::downgrade(&router);
        let then = move |answer: Option<Stanza>| {
            let Some(router) = then_router.upgrade() else { return };
            let reply = answer.and_then(|answer| decapsulated(&answer, &stanza, &entity));
            let reply = reply.or_else(|| Stanza::error_reply(&stanza.head, None, &StanzaError::service_unavailable()));
            let Some(reply) = reply else { return };
            match &caller.session {
                Some(session) => drop(session.deliver(reply.render())),
                None => router.give_back(reply),
            }
        };
        router.ask(to, question, Box::new(then)).await;
    }

    fn nested(&self) -> MutexGuard<'_, Nested> {
        self.nested.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the component what there is to say of a namespace; the answer is kept until it says something else.
    async fn inquire(
        router: &Arc<Router>,
        nested: &Arc<Mutex<Nested>>,
        host: &BareJid,
        to: Jid,
        at: (usize, bool),
        node: String,
    ) {
        let query = Element::builder("query", ns::DISCO_INFO).attribute("node", node.as_str()).build();
        let question = Stanza::new(Kind::Iq(IqType::Get)).from(host.clone()).with(&query);
        let nested = Arc::clone(nested);
        let then = move |answer: Option<Stanza>| {
            let query = answer.filter(|answer| answer.head.kind == Kind::Iq(IqType::Result));
            let query = query.and_then(|answer| answer.content.child("query", ns::DISCO_INFO)?.open().ok());
            let Some(query) = query else { return };
            let wanted = |child: &&Element| {
                (child.has_ns(ns::DISCO_INFO) && matches!(child.name(), "identity" | "feature"))
                    || child.is("x", ns::DATA_FORMS)
            };
            let children = query.children().filter(wanted).take(NESTED_MAX).cloned().collect();
            nested.lock().unwrap_or_else(PoisonError::into_inner).insert(at, children);
        };
        router.ask(to, question, Box::new(then)).await;
    }
}

impl Rule {
    /// "If a stanza is sent by the managing entity on a managed namespace, the server MUST NOT forward it."
    fn is_for(&self, caller: &Caller, entity: &BareJid) -> bool {
        self.host.domain() == entity.domain() && caller.jid.domain() != self.to.domain()
    }

    /// Whether what we say of ourselves is of this namespace.
    fn covers(&self, child: &Element) -> bool {
        match child.name() {
            "feature" => child.attr("var").is_some_and(|var| {
                let rest = var.strip_prefix(self.namespace.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
            }),
            "identity" => self.namespace == ns::PUBSUB && child.attr("category") == Some("pubsub"),
            "x" => {
                let form = xmpp::form::Form::parse(child).ok();
                form.and_then(|form| form.form_type().map(|type_| type_.starts_with(&self.namespace))).unwrap_or(false)
            }
            _ => false,
        }
    }
}

/// `<delegation/>` around an IQ as it came.
fn wrapped(stanza: &Stanza) -> Vec<u8> {
    let mut out =
        ["<delegation xmlns='", ns::DELEGATION, "'><forwarded xmlns='", ns::FORWARD, "'>"].concat().into_bytes();
    stanza.render_alone_into(&mut out, ns::CLIENT);
    out.extend_from_slice(b"</forwarded></delegation>");
    out
}

/// The answer inside an answer, if it is one to `asked`: "the server MUST insure" that.
fn decapsulated(answer: &Stanza, asked: &Stanza, entity: &BareJid) -> Option<Stanza> {
    if answer.head.kind != Kind::Iq(IqType::Result) {
        return None;
    }
    let delegation = answer.content.child("delegation", ns::DELEGATION)?.open().ok()?;
    let iq = delegation.get_child("forwarded", ns::FORWARD)?.get_child("iq", ns::CLIENT)?;
    let mut reply = Stanza::parse(element_bytes(iq), &Limits::server()).ok()?;
    // An error is passed on, too, so that whoever asked learns more than that something did not work.
    let is_answer = matches!(reply.head.kind, Kind::Iq(IqType::Result | IqType::Error))
        && reply.head.id == asked.head.id
        && reply.head.to == asked.head.from
        && reply.head.from.as_ref().is_none_or(|from| from.is_bare() && from.to_bare() == *entity);
    reply.head.from = asked.head.to.clone();
    is_answer.then_some(reply)
}

impl Delegate for Delegation {
    fn takes(&self, caller: &Caller, entity: &BareJid, stanza: &Stanza) -> bool {
        self.rule(caller, entity, stanza).is_some()
    }

    fn forward(&self, caller: Caller, entity: BareJid, stanza: Stanza) -> BoxFuture<()> {
        let (Some(router), Some(rule)) = (self.router.upgrade(), self.rule(&caller, &entity, &stanza)) else {
            return Box::pin(async {});
        };
        Box::pin(Self::pass(router, rule.host.clone(), rule.to.clone(), caller, entity, stanza))
    }

    fn remaining(&self, asked: Asked) -> Result<BoxFuture<()>, StanzaError> {
        let rule = self.rules.iter().find(|rule| rule.namespace == REMAINING && rule.is_for(&asked.caller, &asked.to));
        let (Some(router), Some(rule)) = (self.router.upgrade(), rule) else {
            return Err(StanzaError::item_not_found());
        };
        let Asked { caller, to, stanza, .. } = asked;
        Ok(Box::pin(Self::pass(router, rule.host.clone(), rule.to.clone(), caller, to, stanza)))
    }

    fn nest(&self, at: To, entity: &BareJid, mut children: Vec<Element>) -> Vec<Element> {
        let nested = self.nested();
        for (number, rule) in self.rules.iter().enumerate() {
            if rule.host.domain() != entity.domain() {
                continue;
            }
            if let Some(said) = nested.get(&(number, at == To::ACCOUNT)) {
                children.retain(|child| !rule.covers(child));
                for child in said {
                    if !children.contains(child) {
                        children.push(child.clone());
                    }
                }
            }
        }
        children
    }
}

impl Listener for Delegation {
    fn component_joined(&self, domain: &str) -> Pending<()> {
        let own = || self.rules.iter().enumerate().filter(|(_, rule)| rule.to.domain() == domain);
        let (Some((_, first)), Some(router)) = (own().next(), self.router.upgrade()) else { return Pending::now(()) };
        let (host, to) = (first.host.clone(), first.to.clone());
        let delegated = own().map(|(_, rule)| {
            let attributes = rule
                .attributes
                .iter()
                .map(|name| Element::builder("attribute", ns::DELEGATION).attribute("name", name.as_str()).build());
            Element::builder("delegated", ns::DELEGATION)
                .attribute("namespace", rule.namespace.as_str())
                .append_all(attributes)
                .build()
        });
        let delegation = Element::builder("delegation", ns::DELEGATION).append_all(delegated).build();
        let message =
            Stanza::new(Kind::Message(MessageType::Normal)).from(host.clone()).to(to.clone()).id(self.ids.id());
        let message = message.with(&delegation);
        let nodes: Vec<_> = own()
            .filter(|(_, rule)| rule.namespace != REMAINING)
            .flat_map(|(number, rule)| {
                let node = |between: &str| format!("{}{between}{}", ns::DELEGATION, rule.namespace);
                [((number, false), node("::")), ((number, true), node(":bare:"))]
            })
            .collect();
        let (nested, domain) = (Arc::clone(&self.nested), domain.to_owned());
        Pending::later(async move {
            router.relay(&domain, message).await;
            for (at, node) in nodes {
                Self::inquire(&router, &nested, &host, to.clone(), at, node).await;
            }
        })
    }
}

impl Extension for Delegation {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        if self.rules.is_empty() {
            return;
        }
        at.feature(To::DOMAIN, ns::DELEGATION);
        at.delegate(Arc::<Self>::clone(&self));
        at.listener(self);
    }
}
