//! XEP-0355: Namespace Delegation: components that handle IQs to their host and to its accounts instead of us, as far as
//! `component.delegation` says (admin mode); and whoever an account's owner grants that (client mode, in `consent` and
//! `request`), where `delegation.client_namespaces` names what may be asked for.
//!
//! An IQ is forwarded, and what comes back is checked before it is given to whom it is for. What the component says of
//! itself in disco takes the place of what we would. Where nothing is delegated, nothing is mounted.

mod consent;
mod request;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::Deserialize;
use xmpp::limits::Limits;
use xmpp::stanza::{IqType, Kind, MessageType};
use xmpp::xml::{WithAttribute as _, element_bytes};
use xmpp::{BareJid, Element, Jid, Stanza, StanzaError, ns};

use self::consent::{Consents, Told};
use super::blocking::Blocks;
use crate::config::{Config, ConfigError};
use crate::extension::{Asked, BoxFuture, Caller, Delegate, Extension, Kit, Listener, Mount, Pending, Spec, To, Xep};
use crate::router::Router;
use crate::runtime::{Clock, Ids};
use crate::session::Session;

/// The namespaces that stand for questions about accounts: disco#info of nodes that nobody here knows, and disco#items of
/// the same and of the account itself.
const REMAINING_INFO: &str = "urn:xmpp:delegation:2:bare:disco#info:*";
const REMAINING_ITEMS: &str = "urn:xmpp:delegation:2:bare:disco#items:*";
/// Children of disco#info taken from a component for one namespace.
const NESTED_MAX: usize = 256;

/// What is delegated, and to whom.
pub struct Delegation {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    /// For what takes longer than a call.
    this: Weak<Self>,
    ids: Arc<dyn Ids>,
    clock: Arc<dyn Clock>,
    blocks: Arc<Blocks>,
    rules: Vec<Rule>,
    /// What components say of themselves.
    nested: Arc<Mutex<Nested>>,
    consents: Arc<Consents>,
}

/// The section `[delegation]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What entities may ask accounts for in client mode.
    pub client_namespaces: Vec<String>,
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

static SPEC: Spec = Spec {
    name: "delegation",
    xeps: &[Xep::complete(355, "0.5")],
    config: r#"[delegation]
# Namespaces that anybody may ask accounts to be delegated to them (XEP-0355, client mode), e.g.
# "http://jabber.org/protocol/pubsub". Users are asked, and must know whom they trust.
client_namespaces = []
"#,
};

impl Delegation {
    /// What `config` says, and what accounts may be asked for.
    ///
    /// # Errors
    /// When that is what is delegated already, or delegation itself.
    pub fn new(kit: &Kit, blocks: &Arc<Blocks>, config: &Config, settings: Settings) -> Result<Arc<Self>, ConfigError> {
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
        for rule in &rules {
            let is_known = [REMAINING_INFO, REMAINING_ITEMS].contains(&&*rule.namespace);
            if rule.namespace.starts_with(ns::DELEGATION) && !is_known {
                let message = format!("`{}` stands for nothing that could be delegated", rule.namespace);
                let hint = format!("there are `{REMAINING_INFO}` and `{REMAINING_ITEMS}`");
                return Err(ConfigError::new(message).with_hint(hint));
            }
        }
        for namespace in &settings.client_namespaces {
            if namespace.is_empty()
                || namespace.starts_with(ns::DELEGATION)
                || rules.iter().any(|rule| rule.namespace == *namespace)
            {
                return Err(ConfigError::new(format!(
                    "`delegation.client_namespaces`: `{namespace}` cannot be asked for"
                ))
                .with_hint("a namespace is delegated by `[[component.delegation]]`, or by its users"));
            }
        }
        Ok(Arc::new_cyclic(|this| Self {
            router: Arc::downgrade(&kit.router),
            this: Weak::clone(this),
            ids: Arc::clone(&kit.ids),
            clock: Arc::clone(&kit.clock),
            blocks: Arc::clone(blocks),
            rules,
            nested: Arc::default(),
            consents: Arc::new(Consents::new(settings.client_namespaces)),
        }))
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

    /// Who handles `stanza` instead of us, and the host that hands it over.
    fn way(&self, caller: &Caller, entity: &BareJid, stanza: &Stanza) -> Option<(BareJid, Jid)> {
        if let Some(rule) = self.rule(caller, entity, stanza) {
            return Some((rule.host.clone(), rule.to.clone()));
        }
        let payload = stanza.content.children().next()?;
        let manager = self.consents.way(caller, entity, payload.ns())?;
        Some((BareJid::new(entity.domain()).ok()?, manager))
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

    /// Asks what there is to say of a namespace, for whoever `keep`s it.
    async fn inquire(
        router: &Router,
        host: &BareJid,
        to: Jid,
        node: String,
        keep: impl FnOnce(Vec<Element>) + Send + 'static,
    ) {
        let query = Element::builder("query", ns::DISCO_INFO).attribute("node", node.as_str()).build();
        let question = Stanza::new(Kind::Iq(IqType::Get)).from(host.clone()).with(&query);
        let then = move |answer: Option<Stanza>| {
            let query = answer.filter(|answer| answer.head.kind == Kind::Iq(IqType::Result));
            let query = query.and_then(|answer| answer.content.child("query", ns::DISCO_INFO)?.open().ok());
            let Some(query) = query else { return };
            let wanted = |child: &&Element| {
                (child.has_ns(ns::DISCO_INFO) && matches!(child.name(), "identity" | "feature"))
                    || child.is("x", ns::DATA_FORMS)
            };
            keep(query.children().filter(wanted).take(NESTED_MAX).cloned().collect());
        };
        router.ask(to, question, Box::new(then)).await;
    }

    /// "Permissions MUST be revoked after a disconnection" (section 2).
    fn revoke(&self, session: &Arc<Session>) -> Pending<()> {
        self.announce(session.jid.bare(), self.consents.end(session))
    }

    /// Tells managers what is left to them of `account`.
    fn announce(&self, account: BareJid, told: Vec<Told>) -> Pending<()> {
        let Some(this) = self.this.upgrade().filter(|_| !told.is_empty()) else { return Pending::now(()) };
        Pending::later(async move {
            let Some(router) = this.router.upgrade() else { return };
            for (manager, left) in told {
                this.tell(&router, &account, &manager, &left).await;
            }
        })
    }

    /// The same of what the owner of `account` has granted.
    async fn inquire_for(&self, router: &Router, account: &BareJid, manager: &Jid, namespace: String) {
        let Ok(host) = BareJid::new(account.domain()) else { return };
        let node = node(":bare:", &namespace);
        let (consents, account, to) = (Arc::clone(&self.consents), account.clone(), manager.clone());
        let keep = move |said| consents.nest(&account, &to, &namespace, said);
        Self::inquire(router, &host, manager.clone(), node, keep).await;
    }
}

/// The node of which a manager is asked: of a host (`::`) or of an account (`:bare:`).
fn node(between: &str, namespace: &str) -> String {
    format!("{}{between}{namespace}", ns::DELEGATION)
}

/// Whether what we say of ourselves is of `namespace`.
fn covers(namespace: &str, child: &Element) -> bool {
    match child.name() {
        "feature" => child.attr("var").is_some_and(|var| {
            let rest = var.strip_prefix(namespace);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
        }),
        "identity" => namespace == ns::PUBSUB && child.attr("category") == Some("pubsub"),
        "x" => {
            let form = xmpp::form::Form::parse(child).ok();
            form.and_then(|form| form.form_type().map(|type_| type_.starts_with(namespace))).unwrap_or(false)
        }
        _ => false,
    }
}

/// Puts what is said elsewhere of `namespace` in place of what we say.
fn replace(children: &mut Vec<Element>, namespace: &str, said: &[Element]) {
    children.retain(|child| !covers(namespace, child));
    for child in said {
        if !children.contains(child) {
            children.push(child.clone());
        }
    }
}

impl Rule {
    /// "If a stanza is sent by the managing entity on a managed namespace, the server MUST NOT forward it."
    fn is_for(&self, caller: &Caller, entity: &BareJid) -> bool {
        self.host.domain() == entity.domain() && caller.jid.domain() != self.to.domain()
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
    fn forward(&self, caller: &Caller, entity: &BareJid, stanza: &Stanza) -> Option<BoxFuture<()>> {
        let (host, to) = self.way(caller, entity, stanza)?;
        let router = self.router.upgrade()?;
        Some(Box::pin(Self::pass(router, host, to, caller.clone(), entity.clone(), stanza.clone())))
    }

    fn remaining(&self, asked: &Asked) -> Option<BoxFuture<()>> {
        let Asked { caller, to, stanza, .. } = asked;
        let find = |namespace| self.rules.iter().find(|rule| rule.namespace == namespace && rule.is_for(caller, to));
        let rule = match asked.payload().ns() {
            // Whoever has items of its own says what they are (section "Bare JID Disco Items").
            ns::DISCO_INFO => find(REMAINING_INFO).or_else(|| find(REMAINING_ITEMS))?,
            ns::DISCO_ITEMS => find(REMAINING_ITEMS)?,
            _ => return None,
        };
        let (host, way) = (rule.host.clone(), rule.to.clone());
        Some(Box::pin(Self::pass(self.router.upgrade()?, host, way, caller.clone(), to.clone(), stanza.clone())))
    }

    fn manages(&self, account: &BareJid, namespace: &str) -> bool {
        let caller = Caller { jid: account.into(), session: None };
        let is_whole = |rule: &&Rule| rule.namespace == *namespace && rule.attributes.is_empty();
        self.rules.iter().filter(is_whole).any(|rule| rule.is_for(&caller, account))
            || self.consents.way(&caller, account, namespace).is_some()
    }

    fn nest(&self, at: To, entity: &BareJid, mut children: Vec<Element>) -> Vec<Element> {
        let nested = self.nested();
        for (number, rule) in self.rules.iter().enumerate() {
            if rule.host.domain() != entity.domain() {
                continue;
            }
            if let Some(said) = nested.get(&(number, at == To::ACCOUNT)) {
                replace(&mut children, &rule.namespace, said);
            }
        }
        if at == To::ACCOUNT {
            for (namespace, said) in self.consents.said(entity) {
                replace(&mut children, &namespace, &said);
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
            .filter(|(_, rule)| ![REMAINING_INFO, REMAINING_ITEMS].contains(&&*rule.namespace))
            .flat_map(|(number, rule)| {
                [((number, false), node("::", &rule.namespace)), ((number, true), node(":bare:", &rule.namespace))]
            })
            .collect();
        let (nested, domain) = (Arc::clone(&self.nested), domain.to_owned());
        Pending::later(async move {
            router.relay(&domain, message).await;
            for (at, node) in nodes {
                let nested = Arc::clone(&nested);
                // Until it says something else.
                let keep = move |said| {
                    nested.lock().unwrap_or_else(PoisonError::into_inner).insert(at, said);
                };
                Self::inquire(&router, &host, to.clone(), node, keep).await;
            }
        })
    }

    fn became_unavailable(&self, session: &Arc<Session>) -> Pending<()> {
        self.revoke(session)
    }

    fn session_ended(&self, session: &Arc<Session>) -> Pending<()> {
        self.revoke(session)
    }

    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        self.announce(account.clone(), self.consents.forget(account))
    }
}

impl Extension for Delegation {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        if self.rules.is_empty() && !self.consents.is_any() {
            return;
        }
        at.feature(To::DOMAIN, ns::DELEGATION);
        if self.consents.is_any() {
            at.iq_get(To::DOMAIN, ("query", ns::DELEGATION), &self, Self::request);
            at.domain_message(("x", ns::DATA_FORMS), &self, Self::submitted);
        }
        at.delegate(Arc::<Self>::clone(&self));
        at.listener(self);
    }
}
