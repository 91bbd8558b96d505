//! XEP-0465: who subscribed publicly, to what and to whose nodes.
//!
//! The lists are nodes like others, read and subscribed to as such; only the server writes them. A subscription is
//! public because the subscriber said so, in the request; saying nothing takes it back.

use pubsub::request::{NewItem, Values};
use pubsub::{Caller, Home, Refusal, Request, wire};
use store::Fault;
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, StanzaError, ns};

use super::serve::Failure;
use super::{Pep, home_of};
use crate::extension::fault;
use crate::tables::nodes::Held;

/// Whose items are what an account publicly subscribed to.
pub(super) const SUBSCRIPTIONS: &str = "urn:xmpp:pps:subscriptions:0";
/// Before the name of a node: whose items are who publicly subscribed to it.
pub(super) const SUBSCRIBERS: &str = "urn:xmpp:pps:subscribers:0/";

/// Whether only the server changes the items of a node.
pub(super) fn is_ours(node: &str) -> bool {
    node == SUBSCRIPTIONS || node.starts_with(SUBSCRIBERS)
}

/// The section "Business Rules": what nobody may do.
pub(super) fn may_ask(request: &Request) -> Result<(), Refusal> {
    match request {
        Request::Publish { node, .. }
        | Request::Retract { node, .. }
        | Request::Delete { node, .. }
        | Request::Purge { node }
        | Request::Create { node: Some(node), .. }
            if is_ours(node) =>
        {
            Err(Refusal::Forbidden)
        }
        _ => Ok(()),
    }
}

/// Who has nothing public is as who is not there.
pub(super) fn is_there(held: &Held) -> Result<(), Refusal> {
    let is_empty = *held.node.name == *SUBSCRIPTIONS && held.node.tally.items == 0;
    if is_empty { Err(Refusal::ItemNotFound) } else { Ok(()) }
}

/// Whether a request to subscribe says that it is public.
pub fn is_public(subscribe: &Element) -> bool {
    subscribe.has_child("public", ns::PUBLIC_SUBSCRIPTIONS)
}

impl Pep {
    /// Notes in the list of `node`'s public subscribers that `jid` is one, or not.
    pub(super) async fn list_subscriber(&self, home: &BareJid, node: &str, jid: &BareJid, is_public: bool) {
        let payload = Element::builder("subscriber", ns::PUBLIC_SUBSCRIPTIONS).attribute("jid", jid.as_str()).build();
        let listed = async {
            let entry = self.nodes.entry(home, node);
            let Some(held) = self.nodes.held(&entry).await? else { return Ok(()) };
            let list = format!("{SUBSCRIBERS}{node}");
            if list.len() > self.limits.name_bytes_max {
                return Ok(());
            }
            let owner = match home_of(home) {
                Home::Account => Caller::new(home.into()),
                Home::Service => Caller::new((&held.node.creator).into()),
            };
            // Who may not read the node is not shown who does.
            let access = pubsub::config::field("pubsub#access_model").map(|field| (field.get)(&held.node.config));
            let access = access.and_then(|values| values.into_iter().next()).unwrap_or_default();
            let groups = held.node.config.roster_groups_allowed.clone();
            self.list(home, &owner, &list, jid.as_str(), is_public.then_some(&payload), (&access, groups)).await
        };
        if let Err(error) = listed.await {
            let _logged = fault("public subscribers", &error);
        }
    }

    /// Notes in the list of the account's public subscriptions that one is on it, or not.
    pub(in crate::extensions) async fn list_subscription(
        &self,
        account: &BareJid,
        id: &str,
        subscription: Option<&Element>,
    ) {
        let owner = Caller::new(account.into());
        let listed = self.list(account, &owner, SUBSCRIPTIONS, id, subscription, ("open", Vec::new())).await;
        if let Err(error) = listed {
            let _logged = fault("public subscriptions", &error);
        }
    }

    /// Puts an item into a node that the server keeps, or takes it out; what cannot be is left as it is.
    pub(in crate::extensions) async fn list(
        &self,
        home: &BareJid,
        owner: &Caller,
        list: &str,
        id: &str,
        payload: Option<&Element>,
        (access, groups): (&str, Vec<Box<str>>),
    ) -> Result<(), Fault> {
        let is_there = self.nodes.held(&self.nodes.entry(home, list)).await?.is_some();
        let Some(payload) = payload else {
            if is_there {
                let request = Request::Retract { node: list.into(), id: id.into(), notify: true };
                self.or_not(home, owner, request).await?;
            }
            return Ok(());
        };
        if !is_there {
            let field = |var: &str, value: &str| (Box::from(var), vec![Box::from(value)]);
            let mut config = vec![
                field("pubsub#access_model", access),
                field("pubsub#max_items", "max"),
                field("pubsub#send_last_published_item", "never"),
            ];
            if !groups.is_empty() {
                config.push((Box::from("pubsub#roster_groups_allowed"), groups));
            }
            let request = Request::Create { node: Some(list.into()), config: Some(Values(config)) };
            self.or_not(home, owner, request).await?;
        }
        let item = Some(NewItem { id: Some(id.into()), payload: wire::payload(payload) });
        self.or_not(home, owner, Request::Publish { node: list.into(), item, options: None }).await
    }

    async fn or_not(&self, home: &BareJid, owner: &Caller, request: Request) -> Result<(), Fault> {
        match self.do_change(home, owner, request).await {
            Err(Failure::Fault(error)) => Err(error),
            Err(Failure::Refused(refusal)) => {
                tracing::debug!(%home, ?refusal, "a list of public subscriptions stays as it is");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Subscribes or unsubscribes an account here, as if it had asked: the answer.
    ///
    /// # Errors
    /// As the engine refuses it.
    pub(in crate::extensions) async fn subscribe(
        &self,
        home: &BareJid,
        account: &BareJid,
        request: Request,
        is_public: bool,
    ) -> Result<pubsub::Reply, StanzaError> {
        let caller = Caller::new(account.into());
        if home == account && request.node().is_some_and(|node| **node == *ns::TIMELINE) {
            // A timeline in a timeline would be a loop.
            return Err(Refusal::Unsupported("subscribe").to_error());
        }
        if matches!(request, Request::Subscribe { .. }) {
            self.timeline.may_follow(account).await?;
        }
        let request = self.as_kept(home, request);
        self.require_together(home, account, &request).await?;
        let happenings = self.happenings(home, &caller, &request).await;
        let changed = self.change_whole(home, &caller, request.clone()).await?;
        let reply = changed.reply.clone();
        self.note_public(home, &caller, &request, &reply, is_public).await;
        changed.tell();
        self.tell_happenings(home, &caller, happenings, (None, false)).await;
        Ok(reply)
    }

    /// After a subscription was asked for or ended: the list of public subscribers follows.
    pub(super) async fn note_public(
        &self,
        home: &BareJid,
        caller: &Caller,
        request: &Request,
        reply: &pubsub::Reply,
        is_public: bool,
    ) {
        let (Request::Subscribe { node, jid, .. } | Request::Unsubscribe { node, jid, .. }) = request else { return };
        let pubsub::Reply::Subscription { state, .. } = reply else { return };
        if !jid.is_bare() {
            return;
        }
        if *state == pubsub::SubscriptionState::None && self.is_subscribed(home, node, jid).await {
            // It had several, and one went.
            return;
        }
        self.timeline.announce(&caller.bare, home, node, *state).await;
        if !is_ours(node) {
            let is_public = is_public && *state == pubsub::SubscriptionState::Subscribed;
            self.list_subscriber(home, node, &caller.bare, is_public).await;
        }
    }

    /// Whether an address has any subscription to a node. What cannot be read is not there.
    async fn is_subscribed(&self, home: &BareJid, node: &str, jid: &xmpp::Jid) -> bool {
        let entry = self.nodes.entry(home, node);
        let Ok(Some(held)) = self.nodes.held(&entry).await else { return false };
        if held.node.tally.subscribers == 0 {
            return false;
        }
        let rows = self.nodes.subscriptions_of(&held, &jid.to_bare(), self.limits.subscriptions_per_jid_max).await;
        rows.is_ok_and(|rows| rows.iter().any(|row| row.jid == *jid))
    }
}
