//! XEP-0465: who subscribed publicly, to what and to whose nodes.
//!
//! The lists are nodes like others, read and subscribed to as such; only the server writes them. A subscription is
//! public because the subscriber said so, in the request; saying nothing takes it back, and so does its end, whoever
//! ends it. Who may read a list of subscribers is decided by the node they are subscribed to, at each request
//! (`tables/nodes/guard.rs`).

use std::sync::Arc;

use pubsub::config::{Bound, SendLast};
use pubsub::decide::{drop_kept, enlist, forget};
use pubsub::profile::default_config;
use pubsub::profile::public::{SUBSCRIPTIONS, is_list, listed, subscribers_of};
use pubsub::request::{NewItem, NewPayload, Values};
use pubsub::{
    Caller, Change, Item, Node, NodeConfig, Refusal, Reply, Request, SubscriptionState, Tally, Timestamp, wire,
};
use store::{Batch, Fault};
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, Jid, StanzaError, ns};

use super::ensemble::{Ensemble, lock};
use super::happenings::Happened;
use super::likes::{Attempt, contended, settled, told};
use super::serve::{ATTEMPTS, Failure, broken};
use super::{Pep, home_of};
use crate::extension::fault;
use crate::extensions::timeline::item_id;
use crate::tables::nodes::Held;

/// Subscribers of a deleted node seen to before others have their turn.
const PAGE: usize = 200;

/// The section "Business Rules": what nobody may do. Whom a list of subscribers lets read is not its own to say either.
pub(super) fn may_ask(request: &Request) -> Result<(), Refusal> {
    match request {
        Request::Publish { node, .. }
        | Request::Retract { node, .. }
        | Request::Delete { node, .. }
        | Request::Purge { node }
        | Request::Create { node: Some(node), .. }
            if is_list(node) =>
        {
            Err(Refusal::Forbidden)
        }
        Request::SetAffiliated { node, .. } if listed(node).is_some() => Err(Refusal::Forbidden),
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

/// What bare addresses are to a node after changes of their subscriptions.
pub(super) type Subscribed = Vec<(BareJid, SubscriptionState)>;

/// What `changes` make of the subscriptions of bare addresses.
pub(super) fn subscribed(changes: &[Change]) -> Subscribed {
    let of = |change: &Change| match change {
        Change::SetSubscriptions(jid, rows) if jid.is_bare() => {
            let has = |state| rows.iter().any(|row| row.state == state);
            let states = [SubscriptionState::Subscribed, SubscriptionState::Pending];
            let state = states.into_iter().find(|state| has(*state)).unwrap_or(SubscriptionState::None);
            Some((jid.to_bare(), state))
        }
        _ => None,
    };
    changes.iter().filter_map(of).collect()
}

/// What an account's own lists are to say of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// That the account is subscribed to it.
    Public,
    /// Nothing that the server put there.
    Private,
    /// Nothing, whoever put it there: the account has left by way of the server.
    Left,
}

impl Pep {
    /// Subscriptions changed, by the word of the subscribers or of others: clients of accounts here are told (XEP-0376
    /// section 4.2), and who is not subscribed any more is on no list.
    pub(super) async fn note_subscribed(&self, home: &BareJid, node: &str, subscribed: Subscribed) {
        for (jid, state) in subscribed {
            self.timeline.announce(&jid, home, node, state).await;
            if state != SubscriptionState::Subscribed {
                self.list_subscriber(home, node, &jid, false).await;
            }
        }
    }

    /// The node that a request is about to delete.
    pub(super) async fn going(&self, home: &BareJid, request: &Request) -> Result<Option<Arc<Held>>, Fault> {
        match request {
            Request::Delete { node, .. } if node.len() <= self.limits.name_bytes_max => {
                self.nodes.held(&self.nodes.entry(home, node)).await
            }
            _ => Ok(None),
        }
    }

    /// A node was deleted: nobody is its subscriber any more, and clients of accounts here are told so.
    pub(super) async fn note_gone(&self, home: &BareJid, gone: Option<Arc<Held>>) {
        let Some(held) = gone else { return };
        if let Err(error) = self.settle_gone(home, &held).await {
            let _logged = fault("subscribers of a deleted node", &error);
        }
    }

    async fn settle_gone(&self, home: &BareJid, held: &Held) -> Result<(), Fault> {
        let name = &held.node.name;
        if let Some(list) = subscribers_of(name) {
            self.drop_stale(home, &list).await?;
        }
        let mut from = None;
        let mut last: Option<Jid> = None;
        loop {
            let page = self.nodes.subscribers(held, from.as_ref(), PAGE).await?;
            for row in page.rows {
                // One that has several is told once; and one that is subscribed to another node of that name has not left.
                if !row.jid.is_bare() || last.as_ref() == Some(&row.jid) || !self.serves(&row.jid.to_bare()) {
                    continue;
                }
                if !self.is_subscribed(home, name, &row.jid).await? {
                    self.timeline.announce(&row.jid.to_bare(), home, name, SubscriptionState::None).await;
                }
                last = Some(row.jid);
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    /// Drops a list that is left of a node that is not there any more.
    async fn drop_stale(&self, home: &BareJid, list: &str) -> Result<(), Fault> {
        let entry = self.nodes.entry(home, list);
        let _turnstile = entry.turnstile.lock().await;
        match (self.nodes.stored(&entry).await?, self.nodes.held(&entry).await?) {
            (Some(held), None) => self.carry_out(&entry, &held, drop_kept(&held.node)).await.map_err(broken),
            _ => Ok(()),
        }
    }

    /// Notes in the list of `node`'s public subscribers that `jid` is one, or not.
    pub(super) async fn list_subscriber(&self, home: &BareJid, node: &str, jid: &BareJid, is_public: bool) {
        if let Err(error) = self.list_or_not(home, node, jid, is_public).await {
            let _logged = StanzaError::from(error);
        }
    }

    async fn list_or_not(&self, home: &BareJid, node: &str, jid: &BareJid, is_public: bool) -> Result<(), Failure> {
        let Some(list) = subscribers_of(node).filter(|list| list.len() <= self.limits.name_bytes_max) else {
            return Ok(());
        };
        let entry = self.nodes.entry(home, &list);
        match (self.nodes.stored(&entry).await?, is_public) {
            // Most nodes have no list.
            (None, false) => return Ok(()),
            (Some(_), true) => self.drop_stale(home, &list).await?,
            _ => {}
        }
        for _ in 0..ATTEMPTS {
            let attempt = self.try_list(home, (node, &list), jid, is_public).await?;
            if let Some(changed) = settled(attempt).await? {
                changed.tell();
                return Ok(());
            }
        }
        Err(contended())
    }

    /// One attempt, in the turn of the node and of its list: what is noted is so.
    async fn try_list(&self, home: &BareJid, (node, list): (&str, &str), jid: &BareJid, is_public: bool) -> Attempt {
        let entries = self.entries([(home, node), (home, list)]);
        let turnstiles = lock(&entries).await;
        let mut ensemble = Ensemble::load(self, &entries).await?;
        let guard = ensemble.place(home, node).and_then(|at| ensemble.held(at).cloned());
        if let (Some(guard), Some(at)) = (guard, ensemble.place(home, list)) {
            self.relist(&mut ensemble, at, &guard, jid, is_public).await?;
        }
        let Some((receipt, goes)) = ensemble.commit(Batch::new()).await? else { return Ok(None) };
        drop(turnstiles);
        Ok(Some((receipt, told(Reply::Empty, goes))))
    }

    /// Makes the list at `at` agree with whether a subscription to `guard` is public, if there is one.
    async fn relist(
        &self,
        ensemble: &mut Ensemble<'_>,
        at: usize,
        guard: &Arc<Held>,
        jid: &BareJid,
        is_public: bool,
    ) -> Result<(), Failure> {
        let (Some(home), Some(list)) = (ensemble.home(at).cloned(), subscribers_of(&guard.node.name)) else {
            return Ok(());
        };
        let rows = self.nodes.subscriptions_of(guard, jid, self.limits.subscriptions_per_jid_max).await?;
        let is_subscribed = rows.iter().any(|row| row.jid.is_bare() && row.state == SubscriptionState::Subscribed);
        let previous = match ensemble.held(at) {
            Some(held) => self.nodes.item_head(&self.nodes.entry(&home, &list), held, jid.as_str()).await?,
            None => None,
        };
        let is_public = is_public && is_subscribed;
        if is_public == previous.is_some() {
            return Ok(());
        }
        let now = ensemble.now();
        if ensemble.node(at).is_none() {
            ensemble.create(at, self.new_list(&home, &list, guard, now), guard);
        }
        let Some(listing) = ensemble.node(at) else { return Ok(()) };
        let decision = match &previous {
            Some(previous) => forget(listing, previous),
            None => {
                let subscriber =
                    Element::builder("subscriber", ns::PUBLIC_SUBSCRIPTIONS).attribute("jid", jid.as_str());
                let NewPayload::One { bytes: payload, .. } = wire::payload(&subscriber.build()) else { return Ok(()) };
                let id = jid.as_str().into();
                enlist(listing, None, Item { sequence: 0, id, publisher: home, published: now, updated: now, payload })
            }
        };
        ensemble.note(at, decision);
        Ok(())
    }

    /// A list as it is made: the service's own, counted as that of who made the node it is about.
    fn new_list(&self, home: &BareJid, list: &str, guard: &Held, now: Timestamp) -> Node {
        let config = NodeConfig {
            // What is told of the first item is told by it; afterwards the node is asked each time.
            access_model: guard.node.config.access_model,
            roster_groups_allowed: guard.node.config.roster_groups_allowed.clone(),
            max_items: Bound::Max,
            send_last_published_item: SendLast::Never,
            ..default_config(home_of(home), list, &self.limits)
        };
        Node {
            name: list.into(),
            creator: guard.node.creator.clone(),
            created: now.max(guard.node.created),
            config: Arc::new(config),
            tally: Tally { version: now.0, ..Tally::default() },
        }
    }

    /// Keeps the account's own lists in step: that of its public subscriptions, and that of XEP-0330. What a client put on
    /// the latter by itself stays as long as the subscription, and longer if that ended without the server.
    pub(in crate::extensions) async fn share(&self, account: &BareJid, home: &BareJid, node: &str, share: Share) {
        let shared = async {
            self.try_share(account, home, node, share).await?;
            // It may have ended meanwhile, and that was seen to already.
            let is_checked = share == Share::Public && self.serves(home);
            match is_checked && !self.is_subscribed(home, node, &Jid::from(account)).await? {
                true => self.try_share(account, home, node, Share::Private).await,
                false => Ok(()),
            }
        };
        if let Err(error) = shared.await {
            let _logged = fault("public subscriptions", &error);
        }
    }

    pub(super) async fn try_share(
        &self,
        account: &BareJid,
        home: &BareJid,
        node: &str,
        share: Share,
    ) -> Result<(), Fault> {
        let id = item_id(home, node, account);
        let shared = Element::builder("subscription", ns::SUBSCRIPTION_ITEM)
            .attribute("server", home.as_str())
            .attribute("node", node)
            .build();
        let there = self.item_of(account, ns::PUBSUB_SUBSCRIPTION, &id).await?;
        if share == Share::Public {
            let public = Element::builder("subscription", ns::PUBLIC_SUBSCRIPTIONS)
                .attribute("node", node)
                .attribute("jid", home.as_str())
                .build();
            self.list(account, SUBSCRIPTIONS, &id, Some(&public), "open").await?;
            // What a client wrote there says more.
            if there.is_none() {
                self.list(account, ns::PUBSUB_SUBSCRIPTION, &id, Some(&shared), "presence").await?;
            }
            return Ok(());
        }
        let was_public = self.item_of(account, SUBSCRIPTIONS, &id).await?.is_some();
        if was_public {
            self.list(account, SUBSCRIPTIONS, &id, None, "open").await?;
        }
        let is_ours =
            |item: &Item| matches!(wire::payload(&shared), NewPayload::One { bytes, .. } if bytes == item.payload);
        if there.is_some_and(|item| share == Share::Left || was_public && is_ours(&item)) {
            self.list(account, ns::PUBSUB_SUBSCRIPTION, &id, None, "presence").await?;
        }
        Ok(())
    }

    /// Puts an item into a node of the account that the server keeps, or takes it out; what cannot be is left as it is.
    async fn list(
        &self,
        account: &BareJid,
        list: &str,
        id: &str,
        payload: Option<&Element>,
        access: &str,
    ) -> Result<(), Fault> {
        let Some(payload) = payload else {
            return self.or_not(account, Request::Retract { node: list.into(), id: id.into(), notify: true }).await;
        };
        if self.nodes.held(&self.nodes.entry(account, list)).await?.is_none() {
            let field = |var: &str, value: &str| (Box::from(var), vec![Box::from(value)]);
            let config = Some(Values(vec![
                field("pubsub#access_model", access),
                field("pubsub#max_items", "max"),
                field("pubsub#send_last_published_item", "never"),
            ]));
            self.or_not(account, Request::Create { node: Some(list.into()), config }).await?;
        }
        let item = Some(NewItem { id: Some(id.into()), payload: wire::payload(payload) });
        self.or_not(account, Request::Publish { node: list.into(), item, options: None }).await
    }

    async fn or_not(&self, account: &BareJid, request: Request) -> Result<(), Fault> {
        match self.do_change(account, &Caller::new(account.into()), request).await {
            Err(Failure::Fault(error)) => Err(error),
            Err(Failure::Refused(refusal)) => {
                tracing::debug!(%account, ?refusal, "a list of public subscriptions stays as it is");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Subscribes or unsubscribes an account here, as if it had asked: what it is to the node now.
    ///
    /// # Errors
    /// As the engine refuses it.
    pub(in crate::extensions) async fn subscribe(
        &self,
        home: &BareJid,
        account: &BareJid,
        request: Request,
        is_public: bool,
    ) -> Result<SubscriptionState, StanzaError> {
        let caller = Caller::new(account.into());
        if home == account && request.node().is_some_and(|node| **node == *ns::TIMELINE) {
            // A timeline in a timeline would be a loop.
            return Err(Refusal::Unsupported("subscribe").to_error());
        }
        let request = self.as_kept(home, request);
        self.require_together(home, account, &request).await?;
        let happenings = self.happenings(home, &caller, &request).await;
        let changed = self.change_whole(home, &caller, request.clone()).await?;
        let reply = changed.reply.clone();
        self.note_public(home, &caller, &request, &reply, is_public).await;
        changed.tell();
        self.tell_happenings(home, &caller, happenings, Happened::default()).await;
        match (&request, reply) {
            // Of several subscriptions one has ended.
            (Request::Unsubscribe { node, jid, .. }, _)
                if self.is_subscribed(home, node, jid).await.unwrap_or(false) =>
            {
                Ok(SubscriptionState::Subscribed)
            }
            (_, Reply::Subscription { state, .. }) => Ok(state),
            _ => Err(StanzaError::internal_server_error()),
        }
    }

    /// After a subscription was asked for: the list of public subscribers follows, and what the caller has public.
    pub(super) async fn note_public(
        &self,
        home: &BareJid,
        caller: &Caller,
        request: &Request,
        reply: &Reply,
        is_public: bool,
    ) {
        let (Request::Subscribe { node, jid, .. }, Reply::Subscription { state, .. }) = (request, reply) else {
            return;
        };
        if !jid.is_bare() {
            return;
        }
        self.timeline.announce(&caller.bare, home, node, *state).await;
        let is_public = is_public && *state == SubscriptionState::Subscribed;
        self.list_subscriber(home, node, &caller.bare, is_public).await;
        if !is_public && self.serves(&caller.bare) {
            self.share(&caller.bare, home, node, Share::Private).await;
        }
    }

    /// Whether an address has any subscription to a node.
    async fn is_subscribed(&self, home: &BareJid, node: &str, jid: &Jid) -> Result<bool, Fault> {
        let Some(held) = self.nodes.held(&self.nodes.entry(home, node)).await? else { return Ok(false) };
        let rows = self.nodes.subscriptions_of(&held, &jid.to_bare(), self.limits.subscriptions_per_jid_max).await?;
        Ok(rows.iter().any(|row| row.jid == *jid))
    }
}
