//! What is written: the changes of a decision as one batch, and what follows for what is kept in memory.

use std::sync::Arc;

use bytes::Bytes;
use pubsub::config::Bound;
use pubsub::options::REMINDER_SECONDS;
use pubsub::profile::attachments::is_kept;
use pubsub::{Affiliation, Change, Item, Subscription, SubscriptionState, Timestamp};
use store::{Batch, Fault, Page, Store};
use xmpp::{BareJid, Jid};

use super::super::timeline;
use super::load::{Between, items, moved, moved_by};
use super::row::{
    Remains, Work, write_affiliation, write_item, write_item_head, write_moved, write_node, write_place, write_remains,
    write_subscriptions, write_tally,
};
use super::{
    COUNT_ITEMS, COUNT_MOVED, COUNT_NODES, Held, Number, affiliation_key, below_key, creator_key, entity_key,
    expiry_key, extended_key, home_key, item_id_key, item_key, lease_key, moved_key, node_key, pending_key,
    remains_key, subscriber_key, subscription_key, tally_key,
};

/// Items trimmed within the batch; more are put below the floor and cleared afterwards.
const TRIMMED_MAX: u64 = 200;
/// Microseconds before what remains of a deleted node is cleared: its subscribers are still being told.
const REMAINS_MICROS: u64 = 120 * 1_000_000;

/// Addresses that the nodes of one creator may leave behind when they are deleted.
const MOVED_MAX: i64 = 1_000;

/// What to do with the items in memory.
#[derive(Debug)]
pub(super) enum RecentStep {
    Put(Item),
    Drop(u64),
    Rise(u64),
}

/// A batch, and what is so once it is applied.
pub(super) struct Plan {
    pub(super) batch: Batch,
    /// The node afterwards; `None` when it is deleted.
    pub(super) held: Option<Held>,
    pub(super) recent: Vec<RecentStep>,
    pub(super) changes_audience: bool,
}

/// What a plan is made from.
pub(super) struct Ground<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) home: &'a BareJid,
    pub(super) name: &'a str,
    /// The node as it was decided on.
    pub(super) held: Option<&'a Held>,
    /// The number a new node gets.
    pub(super) number: Number,
    /// Microseconds since the Unix epoch.
    pub(super) now: u64,
}

/// What a node counts among the nodes of its home: what the service keeps of its own accord is nobody's.
fn counted(name: &str) -> i64 {
    i64::from(!is_kept(name))
}

struct Draft<'a> {
    ground: Ground<'a>,
    plan: Plan,
    /// Items stored, as the changes go by.
    items: u64,
    /// Items that left in this batch.
    dropped: Vec<u64>,
    is_configured: bool,
}

/// Plans the changes of one decision.
pub(super) async fn plan(ground: Ground<'_>, changes: &[Change]) -> Result<Plan, Fault> {
    let mut batch = Batch::new();
    if let Some(held) = ground.held {
        batch.expect_version(tally_key(ground.home.as_str(), ground.name), held.node.tally.version);
    }
    let plan = Plan { batch, held: ground.held.cloned(), recent: Vec::new(), changes_audience: false };
    let items = ground.held.map_or(0, |held| held.node.tally.items);
    let mut draft = Draft { ground, plan, items, dropped: Vec::new(), is_configured: false };
    for change in changes {
        draft.add(change).await?;
    }
    draft.finish();
    draft.count();
    draft.tie();
    Ok(draft.plan)
}

impl Draft<'_> {
    async fn add(&mut self, change: &Change) -> Result<(), Fault> {
        let home = self.ground.home.clone();
        let (home, name) = (home.as_str(), self.ground.name);
        match change {
            Change::CreateNode(node) => {
                if let Some((owner, _)) = moved(self.ground.store, home, name).await? {
                    self.plan.batch.delete(moved_key(home, name)).add(creator_key(home, &owner, COUNT_MOVED), -1);
                }
                self.plan.batch.expect_absent(node_key(home, name)).add(home_key(home), counted(name));
                self.plan.held = Some(Held {
                    node: node.clone(),
                    number: self.ground.number,
                    floor: 0,
                    guard: None,
                    above: Vec::new(),
                    linked: None,
                });
                self.plan.changes_audience = true;
                self.is_configured = true;
            }
            Change::Tally(tally) => {
                if let Some(held) = &mut self.plan.held {
                    held.node.tally = *tally;
                }
            }
            Change::Configure(config) => {
                let Some(held) = &mut self.plan.held else { return Ok(()) };
                let before = held.node.config.item_expire;
                held.node.config = Arc::new(config.clone());
                if config.item_expire != before && config.item_expire != Bound::Max {
                    let number = held.number;
                    self.remain(&number, 0, Work::Expiry);
                }
                self.is_configured = true;
            }
            Change::DeleteNode => {
                let Some(held) = self.plan.held.take() else { return Ok(()) };
                self.plan.batch.delete(node_key(home, name)).delete(tally_key(home, name));
                self.plan.batch.add(home_key(home), -counted(name));
                self.remain(&held.number, u64::MAX, Work::Node);
                self.plan.changes_audience = true;
            }
            Change::Redirect(uri) => self.leave_address(uri).await?,
            Change::PutItem(item) => self.put_item(item),
            Change::DropItem { sequence, id } => self.drop_item(*sequence, id),
            Change::TrimTo(kept) => self.trim(*kept).await?,
            Change::Purge => {
                if let Some(held) = &self.plan.held {
                    let (number, floor) = (held.number, held.node.tally.sequence);
                    self.rise(&number, floor);
                }
            }
            Change::SetSubscriptions(jid, rows) => self.set_subscriptions(jid, rows),
            Change::SetAffiliation(bare, affiliation) => self.set_affiliation(bare, *affiliation),
        }
        Ok(())
    }

    /// The address a deleted node left behind. Who left too many leaves no more: the specification only recommends it.
    async fn leave_address(&mut self, uri: &str) -> Result<(), Fault> {
        let Some(held) = self.ground.held else { return Ok(()) };
        let (home, owner) = (self.ground.home.as_str(), &held.node.creator);
        if moved_by(self.ground.store, home, owner).await? < MOVED_MAX {
            self.plan.batch.put(moved_key(home, self.ground.name), write_moved(owner, uri));
            self.plan.batch.add(creator_key(home, owner, COUNT_MOVED), 1);
        }
        Ok(())
    }

    fn number(&self) -> Number {
        self.plan.held.as_ref().map_or(self.ground.number, |held| held.number)
    }

    fn put_item(&mut self, item: &Item) {
        let number = self.number();
        self.plan.batch.put(item_key(&number, item.sequence), write_item(item));
        self.plan.batch.put(item_id_key(&number, &item.id), write_item_head(item));
        if self.plan.held.as_ref().is_some_and(|held| held.node.tally.subscribers > 0) {
            let home = self.ground.home.as_str();
            timeline::put_work(&mut self.plan.batch, home, self.ground.name, &number, item);
        }
        let expires = self.plan.held.as_ref().map(|held| held.node.config.item_expire);
        if let Some(Bound::At(seconds)) = expires {
            let Timestamp(expiry) = item.updated.plus_seconds(seconds);
            let place = write_place(self.ground.home.as_str(), self.ground.name);
            self.plan.batch.put(expiry_key(expiry, &number, item.sequence), place);
        }
        self.items += 1;
        self.plan.recent.push(RecentStep::Put(item.clone()));
    }

    fn drop_item(&mut self, sequence: u64, id: &str) {
        let number = self.number();
        self.plan.batch.delete(item_key(&number, sequence)).delete(item_id_key(&number, id));
        self.items = self.items.saturating_sub(1);
        self.dropped.push(sequence);
        self.plan.recent.push(RecentStep::Drop(sequence));
    }

    /// The oldest items go. Few at a time go in this batch; after a change of configuration it may be a million, and
    /// then the floor rises above them.
    async fn trim(&mut self, kept: u64) -> Result<(), Fault> {
        let Some(held) = self.ground.held else { return Ok(()) };
        let count = self.items.saturating_sub(kept);
        let mut left = count;
        let mut after = held.floor;
        while left > 0 {
            let between = Between { after, before: None };
            let rows_max = usize::try_from(left).unwrap_or(usize::MAX).saturating_add(self.dropped.len()).min(1_000);
            let (oldest, is_complete) = items(self.ground.store, held, between, false, Page::rows(rows_max)).await?;
            for item in oldest {
                after = item.sequence;
                if left == 0 || self.dropped.contains(&item.sequence) {
                    continue;
                }
                left -= 1;
                if count <= TRIMMED_MAX {
                    self.drop_item(item.sequence, &item.id);
                } else if left == 0 {
                    let number = held.number;
                    self.rise(&number, item.sequence);
                }
            }
            if is_complete {
                break;
            }
        }
        Ok(())
    }

    /// Items up to `floor` are gone, and cleared later.
    fn rise(&mut self, number: &Number, floor: u64) {
        if let Some(held) = &mut self.plan.held {
            held.floor = held.floor.max(floor);
        }
        self.remain(number, floor, Work::Items);
        self.plan.recent.push(RecentStep::Rise(floor));
    }

    fn remain(&mut self, number: &Number, sequence: u64, work: Work) {
        let remains = Remains {
            not_before: self.ground.now.saturating_add(if work == Work::Node { REMAINS_MICROS } else { 0 }),
            work,
            home: self.ground.home.as_str().into(),
            name: self.ground.name.into(),
        };
        self.plan.batch.put(remains_key(number, sequence), write_remains(&remains));
    }

    /// All that an address has goes into one row.
    fn set_subscriptions(&mut self, jid: &Jid, rows: &[Subscription]) {
        debug_assert!(rows.iter().all(|row| row.jid == *jid && row.state != SubscriptionState::None));
        let (home, name, number) = (self.ground.home.as_str(), self.ground.name, self.number());
        let batch = &mut self.plan.batch;
        let (key, by_subscriber) = (subscription_key(&number, jid), subscriber_key(jid, home, name, &number));
        let waiting = pending_key(&number, jid);
        match rows.iter().any(|row| row.state == SubscriptionState::Pending) {
            true => batch.put(waiting, Bytes::new()),
            false => batch.delete(waiting),
        };
        let extended = extended_key(&number, jid);
        match rows.iter().any(Subscription::is_extended) {
            true => batch.put(extended, write_subscriptions(rows)),
            false if self.ground.held.is_some_and(|held| held.node.tally.extended > 0) => batch.delete(extended),
            false => batch,
        };
        for Timestamp(end) in rows.iter().filter_map(|row| row.options.expire) {
            batch.put(lease_key(end, &number, jid), write_place(home, name));
            let reminder = end.saturating_sub(REMINDER_SECONDS * 1000);
            if reminder > self.ground.now / 1000 {
                batch.put(lease_key(reminder, &number, jid), write_place(home, name));
            }
        }
        if rows.is_empty() {
            batch.delete(key).delete(by_subscriber);
        } else {
            let row = write_subscriptions(rows);
            batch.put(key, row.clone()).put(by_subscriber, row);
        }
        self.plan.changes_audience = true;
    }

    fn set_affiliation(&mut self, bare: &BareJid, affiliation: Affiliation) {
        let number = self.number();
        let by_entity = entity_key(bare, self.ground.home.as_str(), self.ground.name, &number);
        let key = affiliation_key(&number, bare);
        if affiliation == Affiliation::None {
            self.plan.batch.delete(key).delete(by_entity);
        } else {
            let row = write_affiliation(affiliation);
            self.plan.batch.put(key, row.clone()).put(by_entity, row);
        }
    }

    /// What the creator of a service's node has there. An account's nodes are counted as the account's.
    fn count(&mut self) {
        let before = self.ground.held.map(|held| &held.node);
        let after = self.plan.held.as_ref().map(|held| &held.node);
        let Some(creator) = after.or(before).map(|node| &node.creator) else { return };
        if self.ground.home.localpart().is_some() || is_kept(self.ground.name) {
            return;
        }
        let home = self.ground.home.as_str();
        let changed = |of: fn(&pubsub::Node) -> u64| {
            let count =
                |node: Option<&pubsub::Node>| node.map_or(0, |node| i64::try_from(of(node)).unwrap_or(i64::MAX));
            count(after).saturating_sub(count(before))
        };
        for (counted, delta) in [(COUNT_NODES, changed(|_| 1)), (COUNT_ITEMS, changed(|node| node.tally.items))] {
            if delta != 0 {
                self.plan.batch.add(creator_key(home, creator, counted), delta);
            }
        }
    }

    /// Which node it is below of, or belongs to.
    fn tie(&mut self) {
        let of =
            |held: Option<&Held>| held.and_then(|held| held.node.config.tie().map(|(tie, of)| (tie, of.to_owned())));
        let (before, after) = (of(self.ground.held), of(self.plan.held.as_ref()));
        if before == after {
            return;
        }
        let (home, name) = (self.ground.home.as_str(), self.ground.name);
        if let Some((tie, of)) = before {
            self.plan.batch.delete(below_key(home, &of, tie, name));
        }
        if let Some((tie, of)) = after {
            self.plan.batch.put(below_key(home, &of, tie, name), Bytes::new());
        }
    }

    /// The node's own rows, as all changes together left them.
    fn finish(&mut self) {
        let Some(held) = &self.plan.held else { return };
        let (home, name) = (self.ground.home.as_str(), self.ground.name);
        if self.is_configured {
            self.plan.batch.put(node_key(home, name), write_node(&held.node, &held.number));
        }
        self.plan.batch.put(tally_key(home, name), write_tally(&held.node.tally, held.floor));
    }
}
