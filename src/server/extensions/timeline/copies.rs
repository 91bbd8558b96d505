//! Nodes of other servers that accounts here follow: a copy of what they sent lately, kept once for all its followers.
//!
//! A copy is a node like any other, at the address it has elsewhere, where nobody here can reach it: no stanza to another
//! server's address is handled in this house. Its subscribers are the followers here. It counts none, so that nothing is
//! written to them but what was sent to each: to be told of an item is the right to read it.

use std::sync::Arc;

use bytes::Bytes;
use pubsub::config::Bound;
use pubsub::{Change, Item, Node, NodeConfig, SubId, Subscription, SubscriptionState, Tally, Timestamp};
use store::{Batch, CommitError};
use xmpp::{BareJid, Jid};

use super::Timeline;
use crate::tables::nodes::{Entry, Held, Number};
use crate::tables::timeline::{Place, Timelines};

/// Items kept of one node elsewhere.
const ITEMS_MAX: u64 = 2_000;
/// Bytes of an item's id, as everywhere (XEP-0060 section 12.12); what has a longer one is not taken.
const ID_BYTES_MAX: usize = 1_023;

/// An item as its service sent it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) id: Box<str>,
    pub(super) publisher: Option<BareJid>,
    pub(super) payload: Bytes,
}

/// A new entry of an account.
pub(super) struct Entered {
    pub(super) place: Place,
    pub(super) held: Arc<Held>,
    pub(super) item: Arc<Item>,
}

impl Timeline {
    /// The subscription of an account to a node elsewhere, as far as it is known here.
    pub(super) async fn copied(
        &self,
        account: &BareJid,
        entry: &Entry,
    ) -> Result<Option<(Arc<Held>, Subscription)>, CommitError> {
        let nodes = &self.feeder().shared().nodes;
        let Some(held) = nodes.held(entry).await? else { return Ok(None) };
        let rows = nodes.subscriptions_of(&held, account, 20).await?;
        Ok(rows.into_iter().find(|row| row.jid.is_bare()).map(|row| (held, row)))
    }

    /// Notes that the account's subscription to a node elsewhere is `state` now, for good when this resolves. Whether
    /// that is news.
    pub(super) async fn note(
        &self,
        account: &BareJid,
        home: &BareJid,
        name: &str,
        state: SubscriptionState,
    ) -> Result<bool, CommitError> {
        let shared = self.feeder().shared();
        let entry = shared.nodes.entry(home, name);
        let turnstile = entry.turnstile.lock().await;
        let held = shared.nodes.held(&entry).await?;
        let known = self.copied(account, &entry).await?.map(|(_, row)| row);
        if known.as_ref().map_or(SubscriptionState::None, |row| row.state) == state {
            return Ok(false);
        }
        let mut number = Number::default();
        self.ids.fill(&mut number);
        let mut changes = Vec::new();
        let node = match &held {
            Some(held) => held.node.clone(),
            None => {
                let created = Timestamp(shared.now());
                let config = NodeConfig { max_items: Bound::At(ITEMS_MAX), ..NodeConfig::service(0) };
                let tally = Tally { version: created.0, ..Tally::default() };
                Node { name: name.into(), creator: home.clone(), created, config: Arc::new(config), tally }
            }
        };
        let tally = Tally { version: node.tally.version.saturating_add(1), ..node.tally };
        let jid = Jid::from(account);
        let (since, after) = (tally.version, tally.sequence);
        match held {
            None => changes.push(Change::CreateNode(Node { tally, ..node })),
            Some(_) => changes.push(Change::Tally(tally)),
        }
        match state {
            SubscriptionState::None => changes.push(Change::SetSubscriptions(jid, Vec::new())),
            SubscriptionState::Subscribed | SubscriptionState::Pending => {
                let options = known.map(|row| row.options).unwrap_or_default();
                let id = SubId(since);
                let row = Subscription { jid: jid.clone(), id, state, since, after, options };
                changes.push(Change::SetSubscriptions(jid, vec![row]));
            }
        }
        let (receipt, after) =
            shared.nodes.commit(&entry, held.as_deref(), &changes, None, number, self.clock.now()).await?;
        let mut last = receipt;
        if state == SubscriptionState::None
            && let Some(held) = after
        {
            let mut batch = Batch::new();
            Timelines::drop_known(&mut batch, account.as_str(), &held.number);
            last = shared.timelines.commit(batch).await?;
            if shared.nodes.subscribers(&held, None, 1).await?.rows.is_empty() {
                // Nobody follows it any more.
                let changes = [Change::DeleteNode];
                let (_applied, _) =
                    shared.nodes.commit(&entry, Some(&held), &changes, None, number, self.clock.now()).await?;
                let mut batch = Batch::new();
                Timelines::drop_asked(&mut batch, home.as_str(), name);
                last = shared.timelines.commit(batch).await?;
            }
        }
        drop(turnstile);
        last.durable().await?;
        Ok(true)
    }

    /// Takes items that a service elsewhere sent to an account: each into the copy unless it is there, and into the
    /// account's timeline unless that has it. Durable when this resolves.
    pub(super) async fn take(
        &self,
        account: &BareJid,
        entry: &Arc<Entry>,
        sent: Vec<Sent>,
    ) -> Result<Vec<Entered>, CommitError> {
        let shared = self.feeder().shared();
        let mut entered = Vec::new();
        let mut last = None;
        let turnstile = entry.turnstile.lock().await;
        for one in sent.into_iter().filter(|one| one.id.len() <= ID_BYTES_MAX) {
            let Some((held, row)) = self.copied(account, entry).await? else { return Ok(entered) };
            if row.state != SubscriptionState::Subscribed {
                return Ok(entered);
            }
            // Its time is given before it is there.
            let reservation = self.feeder().reserve().await?;
            let (held, item) = self.keep(entry, held, one, reservation.time()).await?;
            if item.sequence <= row.after {
                // It was here before the account followed.
                continue;
            }
            let mut known = shared.timelines.known(account.as_str(), &held.number).await?;
            if known.has(item.sequence) {
                continue;
            }
            known.put(item.sequence);
            let place = Place::new(reservation.time(), &held.number, item.sequence);
            let mut batch = Batch::new();
            Timelines::put(&mut batch, account.as_str(), &place);
            Timelines::put_known(&mut batch, account.as_str(), &held.number, &known);
            last = Some(shared.timelines.commit(batch).await?);
            drop(reservation);
            if shared.is_due(account.as_str(), &place) {
                shared.timelines.trim(account.as_str(), shared.kept()).await?;
            }
            entered.push(Entered { place, held, item });
        }
        drop(turnstile);
        if let Some(last) = last {
            last.durable().await?;
        }
        Ok(entered)
    }

    /// The item as it is in the copy: put there if it is new, or another than was known by its id.
    async fn keep(
        &self,
        entry: &Entry,
        held: Arc<Held>,
        sent: Sent,
        now: u64,
    ) -> Result<(Arc<Held>, Arc<Item>), CommitError> {
        let nodes = &self.feeder().shared().nodes;
        let head = nodes.item_head(entry, &held, &sent.id).await?;
        let publisher = sent.publisher.unwrap_or_else(|| entry.home.clone());
        let mut tally = held.node.tally;
        let mut changes = Vec::with_capacity(4);
        if let Some(head) = &head {
            let there = nodes.item_at(entry, &held, head.sequence).await?;
            if let Some(item) = there.filter(|item| item.payload == sent.payload && item.publisher == publisher) {
                return Ok((held, item));
            }
            changes.push(Change::DropItem { sequence: head.sequence, id: sent.id.clone() });
        } else {
            tally.items = tally.items.saturating_add(1);
        }
        tally.version = tally.version.saturating_add(1);
        tally.sequence = tally.sequence.saturating_add(1);
        let item = Item {
            sequence: tally.sequence,
            id: sent.id,
            publisher,
            published: head.map_or(Timestamp(now), |head| head.published),
            updated: Timestamp(now),
            payload: sent.payload,
        };
        changes.push(Change::PutItem(item.clone()));
        if tally.items > ITEMS_MAX {
            changes.push(Change::TrimTo(ITEMS_MAX));
            tally.items = ITEMS_MAX;
        }
        changes.insert(0, Change::Tally(tally));
        let (_applied, after) = nodes.commit(entry, Some(&held), &changes, None, held.number, self.clock.now()).await?;
        Ok((after.unwrap_or(held), Arc::new(item)))
    }

    /// A service elsewhere took items back: they go from the copy, and so from every timeline. `ids` is `None` for all.
    pub(super) async fn forget(&self, entry: &Entry, ids: Option<&[Box<str>]>) -> Result<(), CommitError> {
        let nodes = &self.feeder().shared().nodes;
        let turnstile = entry.turnstile.lock().await;
        let Some(held) = nodes.held(entry).await? else { return Ok(()) };
        let mut tally = held.node.tally;
        let mut changes = Vec::new();
        match ids {
            None => {
                tally.items = 0;
                changes.push(Change::Purge);
            }
            Some(ids) => {
                for id in ids {
                    if let Some(head) = nodes.item_head(entry, &held, id).await? {
                        tally.items = tally.items.saturating_sub(1);
                        changes.push(Change::DropItem { sequence: head.sequence, id: id.clone() });
                    }
                }
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        tally.version = tally.version.saturating_add(1);
        changes.insert(0, Change::Tally(tally));
        let (receipt, _) = nodes.commit(entry, Some(&held), &changes, None, held.number, self.clock.now()).await?;
        drop(turnstile);
        receipt.durable().await?;
        Ok(())
    }
}
