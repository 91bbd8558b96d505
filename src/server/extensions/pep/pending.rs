//! Who waits for approval, for the owner who asks (XEP-0060 section 8.7): an ad-hoc command of the services (XEP-0050).
//!
//! The command has two steps and keeps nothing between them: what the second needs is in its form. First the nodes are
//! named that have requests waiting; of the one chosen, each request is sent as the message it was sent as before.

use std::sync::Arc;

use pubsub::wire::notification::{self, Origin};
use pubsub::{Affiliation, Caller, Event};
use xmpp::form::{Field, FieldType, Form, FormType};
use xmpp::limits::Limits;
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, Jid, Stanza, StanzaError, ns};

use super::Pep;
use crate::extension::{self, Answer, Asked, Reply, fault};
use crate::tables::nodes::{Entry, Held};

/// The command's node.
pub(super) const GET_PENDING: &str = "http://jabber.org/protocol/pubsub#get-pending";
const AUTHORIZATION: &str = "http://jabber.org/protocol/pubsub#subscribe_authorization";
const NODE: &str = "pubsub#node";
/// Nodes of the caller looked at for one answer.
const NODES_MAX: usize = 1_000;
/// Requests sent at once. Who has answered them asks for the rest.
const REQUESTS_MAX: usize = 100;

impl Pep {
    /// Runs the command, the only one there is.
    pub(super) async fn command(self: Arc<Self>, asked: Asked) -> Answer {
        let command = asked.open()?;
        if command.attr("node") != Some(GET_PENDING) {
            return Err(StanzaError::item_not_found());
        }
        let caller = Caller::new(asked.caller.jid.clone());
        let form = Form::parse_in(&command).map_err(|_| StanzaError::bad_request())?;
        match (command.attr("action"), form) {
            (Some("cancel"), _) => Ok(Reply::Element(stage(&command, "canceled", None))),
            (_, Some(Form { type_: FormType::Cancel, .. })) => Ok(Reply::Element(stage(&command, "canceled", None))),
            (None | Some("execute" | "next" | "complete"), Some(form)) => {
                let node = form.value(NODE).filter(|node| !node.is_empty()).ok_or_else(StanzaError::bad_request)?;
                let (entry, held) = self.owned_node(&asked.to, &caller, node).await?;
                let waiting = self.nodes.pending(&held, REQUESTS_MAX).await.map_err(|error| fault("nodes", &error))?;
                let done = stage(&command, "completed", None);
                self.deliver(&asked, Stanza::iq_result(&asked.stanza.head, Some(&done))).await;
                self.send_requests(&entry, &held, &asked.caller.jid, &waiting).await;
                Ok(Reply::Sent)
            }
            (None | Some("execute"), None) => {
                let form = self.choose_node(&asked.to, &caller).await?;
                Ok(Reply::Element(stage(&command, "executing", Some((form, self.ids.id())))))
            }
            _ => {
                let bad = Element::builder("bad-action", ns::COMMANDS).build();
                Err(StanzaError::bad_request().with_specific(bad))
            }
        }
    }

    /// The nodes of the caller that somebody waits for. Who owns no node has nothing to approve.
    async fn choose_node(&self, service: &BareJid, caller: &Caller) -> Result<Element, StanzaError> {
        let nodes = self.waited_for(service, caller).await.map_err(|error| fault("nodes", &error))?;
        let nodes = nodes.ok_or_else(StanzaError::forbidden)?;
        let mut field = Field::new(NODE, FieldType::ListSingle).label("Node ID");
        for node in nodes {
            field = field.option(node.as_ref(), None);
        }
        let mut form = Form::typed(FormType::Form, AUTHORIZATION).with(field.required());
        form.title = Some("Pending subscription requests".to_owned());
        Ok(form.to_element())
    }

    async fn waited_for(&self, service: &BareJid, caller: &Caller) -> Result<Option<Vec<Box<str>>>, store::Fault> {
        let rows = self.nodes.own_affiliations(&caller.bare, service, NODES_MAX).await?;
        let owned: Vec<_> = rows.into_iter().filter(|(_, what)| *what == Affiliation::Owner).collect();
        if owned.is_empty() {
            return Ok(None);
        }
        let mut waited_for = Vec::new();
        for (name, _) in owned {
            let entry = self.nodes.entry(service, &name);
            if let Some(held) = self.nodes.held(&entry).await?
                && !self.nodes.pending(&held, 1).await?.is_empty()
            {
                waited_for.push(name);
            }
        }
        Ok(Some(waited_for))
    }

    async fn owned_node(
        &self,
        service: &BareJid,
        caller: &Caller,
        node: &str,
    ) -> Result<(Arc<Entry>, Arc<Held>), StanzaError> {
        if node.len() > self.limits.name_bytes_max {
            return Err(StanzaError::item_not_found());
        }
        let entry = self.nodes.entry(service, node);
        let broken = |error| fault("nodes", &error);
        let held = self.nodes.held(&entry).await.map_err(broken)?.ok_or_else(StanzaError::item_not_found)?;
        match self.nodes.affiliation(&held, &caller.bare).await.map_err(broken)? {
            Affiliation::Owner => Ok((entry, held)),
            _ => Err(StanzaError::forbidden()),
        }
    }

    async fn send_requests(&self, entry: &Entry, held: &Held, to: &Jid, waiting: &[Jid]) {
        let Some(router) = self.router.upgrade() else { return };
        let from = Jid::from(&entry.home);
        for jid in waiting {
            let id = self.ids.id();
            let origin = Origin { home: &entry.home, node: &entry.name, config: &held.node.config, id: &id };
            let mut message = Vec::with_capacity(1024);
            notification::prefix(&mut message, to.as_str());
            message.extend_from_slice(&notification::tail(
                &origin,
                &Event::AuthorizationWanted { jid: jid.clone() },
                false,
            ));
            if let Ok(stanza) = Stanza::parse(message.into(), &Limits::server()) {
                router.route(extension::Caller { jid: from.clone(), session: None }, stanza).await;
            }
        }
    }
}

/// The answer of a step: where the command stands, and what to fill in.
fn stage(command: &Element, status: &str, question: Option<(Element, String)>) -> Element {
    let mut answer =
        Element::builder("command", ns::COMMANDS).attribute("node", GET_PENDING).attribute("status", status);
    match question {
        Some((form, session)) => {
            let actions = Element::builder("actions", ns::COMMANDS).attribute("execute", "complete");
            let complete = Element::builder("complete", ns::COMMANDS).build();
            answer =
                answer.attribute("sessionid", session.as_str()).append(actions.append(complete).build()).append(form);
        }
        None => answer = answer.attribute("sessionid", command.attr("sessionid")),
    }
    answer.build()
}

/// What disco says of the list of commands and of the one in it (XEP-0050 sections 2.2 and 2.3): the children of its
/// answer, or nothing for another node.
pub(super) fn information(node: &str) -> Option<Vec<Element>> {
    let identity = |type_: &str, name: &str| {
        Element::builder("identity", ns::DISCO_INFO)
            .attribute("category", "automation")
            .attribute("type", type_)
            .attribute("name", name)
            .build()
    };
    let feature = |var: &str| Element::builder("feature", ns::DISCO_INFO).attribute("var", var).build();
    match node {
        ns::COMMANDS => Some(vec![identity("command-list", "Commands"), feature(ns::COMMANDS)]),
        GET_PENDING => {
            let identity = identity("command-node", "Get pending subscription requests");
            Some(vec![identity, feature(ns::COMMANDS), feature(ns::DATA_FORMS)])
        }
        _ => None,
    }
}

/// The list of commands.
pub(super) fn commands(service: &BareJid) -> Vec<Element> {
    let item = Element::builder("item", ns::DISCO_ITEMS).attribute("jid", service.as_str());
    vec![item.attribute("node", GET_PENDING).attribute("name", "Get pending subscription requests").build()]
}
