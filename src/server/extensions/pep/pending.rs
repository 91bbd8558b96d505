//! Who waits for approval, for the owner who asks (XEP-0060 section 8.7): an ad-hoc command of accounts and services
//! (XEP-0050).
//!
//! The command has two steps. First the nodes are
//! named that have requests waiting; of the one chosen, each request is sent as the message it was sent as before.

use std::sync::Arc;

use pubsub::request::effective;
use pubsub::wire::notification::{self, Origin};
use pubsub::{Affiliation, Caller, Event, Home, SubId, Subscription, SubscriptionState};
use xmpp::form::{Field, FieldType, Form, FormType};
use xmpp::limits::Limits;
use xmpp::{BareJid, Jid, Stanza, StanzaError};

use super::{Pep, home_of};
use crate::extension::{self, BoxFuture, Command, Outcome, Step, fault};
use crate::tables::nodes::{Entry, Held};

/// The command's node.
pub(super) const GET_PENDING: &str = "http://jabber.org/protocol/pubsub#get-pending";
const AUTHORIZATION: &str = "http://jabber.org/protocol/pubsub#subscribe_authorization";
const NODE: &str = "pubsub#node";
/// Nodes of the caller looked at for one answer.
const NODES_MAX: usize = 1_000;
/// Requests sent at once. Who has answered them asks for the rest.
const REQUESTS_MAX: usize = 100;

/// The command, mounted on the engine.
pub(super) struct GetPending(pub(super) Arc<Pep>);

impl Command for GetPending {
    fn node(&self) -> &'static str {
        GET_PENDING
    }

    fn name(&self) -> &'static str {
        "Get pending subscription requests"
    }

    fn permits(&self, _caller: &extension::Caller) -> bool {
        // Who owns nothing is told so when running it.
        true
    }

    fn needs_no_session(&self) -> bool {
        true
    }

    fn run(self: Arc<Self>, step: Step) -> BoxFuture<Result<Outcome, StanzaError>> {
        Box::pin(async move {
            let pep = Arc::clone(&self.0);
            let caller = Caller::new(step.caller.jid.clone());
            let Some(form) = step.form() else { return Ok(Outcome::ask(pep.choose_node(&step.at, &caller).await?)) };
            let node = form.value(NODE).filter(|node| !node.is_empty()).ok_or_else(StanzaError::bad_request)?;
            let (entry, held) = pep.owned_node(&step.at, &caller, node).await?;
            let waiting = pep.nodes.pending(&held, REQUESTS_MAX).await.map_err(|error| fault("nodes", &error))?;
            let to = step.caller.jid;
            let then: BoxFuture<()> = Box::pin(async move { pep.send_requests(&entry, &held, &to, &waiting).await });
            Ok(Outcome::Done { form: None, notes: Vec::new(), then: Some(then) })
        })
    }
}

impl Pep {
    /// The nodes of the caller that somebody waits for. Who owns no node has nothing to approve.
    async fn choose_node(&self, service: &BareJid, caller: &Caller) -> Result<Form, StanzaError> {
        let nodes = self.waited_for(service, caller).await.map_err(|error| fault("nodes", &error))?;
        let nodes = nodes.ok_or_else(StanzaError::forbidden)?;
        let mut field = Field::new(NODE, FieldType::ListSingle).label("Node ID");
        for node in nodes {
            field = field.option(node.as_ref(), None);
        }
        let mut form = Form::typed(FormType::Form, AUTHORIZATION).with(field.required());
        form.title = Some("Pending subscription requests".to_owned());
        Ok(form)
    }

    async fn waited_for(&self, service: &BareJid, caller: &Caller) -> Result<Option<Vec<Box<str>>>, store::Fault> {
        let owned: Vec<Box<str>> = match home_of(service) {
            Home::Account if caller.bare != *service => return Ok(None),
            Home::Account => {
                let nodes = self.nodes.of_home(service, None, NODES_MAX).await?;
                nodes.into_iter().map(|held| Box::from(&*held.node.name)).collect()
            }
            Home::Service => {
                let rows = self.nodes.own_affiliations(&caller.bare, service, NODES_MAX).await?;
                let owned = rows.into_iter().filter(|(_, what)| *what == Affiliation::Owner);
                owned.map(|(name, _)| name).collect()
            }
        };
        if owned.is_empty() && home_of(service) == Home::Service {
            return Ok(None);
        }
        let mut waited_for = Vec::new();
        for name in owned {
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
        let stored = self.nodes.affiliation(&held, &caller.bare).await.map_err(broken)?;
        match effective(home_of(service), service, &caller.bare, stored) {
            Affiliation::Owner => Ok((entry, held)),
            _ => Err(StanzaError::forbidden()),
        }
    }

    /// The requests of those who wait, as far as they still do.
    async fn requests(&self, held: &Held, waiting: &[Jid]) -> Vec<(Jid, SubId)> {
        let mut requests = Vec::with_capacity(waiting.len());
        for jid in waiting {
            let rows_max = self.limits.subscriptions_per_jid_max;
            match self.nodes.subscriptions_of(held, &jid.to_bare(), rows_max).await {
                Ok(rows) => {
                    let pending = |row: &&Subscription| row.jid == *jid && row.state == SubscriptionState::Pending;
                    requests.extend(rows.iter().filter(pending).map(|row| (jid.clone(), row.id)));
                }
                Err(error) => drop(fault("nodes", &error)),
            }
        }
        requests
    }

    async fn send_requests(&self, entry: &Entry, held: &Held, to: &Jid, waiting: &[Jid]) {
        let Some(router) = self.router.upgrade() else { return };
        let from = Jid::from(&entry.home);
        for (jid, subid) in self.requests(held, waiting).await {
            let id = self.ids.id();
            let origin = Origin { home: &entry.home, node: &entry.name, config: &held.node.config, id: &id };
            let mut message = Vec::with_capacity(1024);
            notification::prefix(&mut message, to.as_str());
            message.extend_from_slice(&notification::tail(
                &origin,
                &Event::AuthorizationWanted { jid, id: subid },
                false,
            ));
            if let Ok(stanza) = Stanza::parse(message.into(), &Limits::server()) {
                router.route(extension::Caller { jid: from.clone(), session: None }, stanza).await;
            }
        }
    }
}
