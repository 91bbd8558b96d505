//! Nodes in memory: the ones in use and as many others as there is room for; and each node's turnstile.
//!
//! An [`Entry`] holds what is known of one node: its configuration and counters, its newest items, its subscribers.
//! Who changes a node holds its turnstile from loading to committing, so what is in memory is what is in the store.
//! Who reads does not wait for who writes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pubsub::model::ItemHead;
use pubsub::{Affiliation, Change, Item, Subscription};
use store::{CommitError, Fault, Page, Receipt, Store};
use xmpp::{BareJid, Jid};

use super::clear::{self, Anywhere, Expired};
use super::load::{self, Between, Subscribers};
use super::recent::{self, Recent};
use super::save::{Ground, Plan, RecentStep, plan};
use super::{Held, Number};

/// Bounds on what is kept in memory.
#[derive(Clone, Copy, Debug)]
pub struct NodesLimits {
    /// Nodes known at once. One in use is always known.
    pub nodes_max: usize,
    /// Bytes of items and subscribers of all nodes together, roughly. Beyond that they are read when needed.
    pub bytes_max: usize,
}

impl Default for NodesLimits {
    fn default() -> Self {
        Self { nodes_max: 20_000, bytes_max: 64 << 20 }
    }
}

/// Subscribers of one node kept in memory at most.
const SUBSCRIBERS_MAX: u64 = 50_000;
/// Bytes one subscriber takes, roughly.
const SUBSCRIBER_BYTES: usize = 160;

/// What is known of one node.
pub struct Entry {
    /// The account or service.
    pub home: BareJid,
    /// The node's name.
    pub name: Box<str>,
    /// Held from loading a node to queueing the notices of its change; the one lock of the house that is held
    /// across an await.
    pub turnstile: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
    used: AtomicU64,
    bytes: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Known {
    /// Grows whenever what is known may have become untrue, so that a reader does not put back what it read before.
    generation: u64,
    /// A commit was abandoned on its way: nothing may be kept until the next one succeeds.
    is_uncertain: bool,
    node: Option<Option<Arc<Held>>>,
    recent: Option<Recent>,
    subscribers: Option<Arc<Vec<Subscription>>>,
    /// What `recent` and `subscribers` were counted as.
    weight: usize,
}

impl Entry {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, known: &mut Known) {
        let weight = known.recent.as_ref().map_or(0, Recent::weight)
            + known.subscribers.as_ref().map_or(0, |rows| rows.len() * SUBSCRIBER_BYTES);
        self.bytes.fetch_add(weight, Ordering::Relaxed);
        self.bytes.fetch_sub(known.weight, Ordering::Relaxed);
        known.weight = weight;
    }

    /// Whether what was read about `held` may be kept: nothing changed since, and this is still the node.
    fn may_keep(known: &Known, generation: u64, held: &Held) -> bool {
        let is_same = |now: &Arc<Held>| now.number == held.number && now.floor == held.floor;
        known.generation == generation
            && !known.is_uncertain
            && known.node.as_ref().is_some_and(|node| node.as_ref().is_some_and(is_same))
    }

    /// What is so once a plan is applied; `was_absent` says that there was no such node before.
    pub(super) fn settle(&self, was_absent: bool, plan: Plan) -> Option<Arc<Held>> {
        let is_other = was_absent || plan.held.is_none();
        let held = plan.held.map(Arc::new);
        let mut known = self.known();
        known.generation += 1;
        if known.is_uncertain {
            known.is_uncertain = false;
            known.recent = None;
            known.subscribers = None;
        }
        known.node = Some(held.clone());
        if is_other {
            // Created or deleted: what was known is of another node of that name.
            known.recent = None;
        }
        if let Some(recent) = &mut known.recent {
            for step in plan.recent {
                match step {
                    RecentStep::Put(item) => recent.put(item),
                    RecentStep::Drop(sequence) => recent.drop_item(sequence),
                    RecentStep::Rise(floor) => recent.rise(floor),
                }
            }
        }
        if plan.changes_audience {
            known.subscribers = None;
        }
        self.count(&mut known);
        drop(known);
        held
    }

    pub(super) fn forget(&self) {
        let mut known = self.known();
        known.generation += 1;
        known.node = None;
        known.recent = None;
        known.subscribers = None;
        self.count(&mut known);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let weight = self.known().weight;
        self.bytes.fetch_sub(weight, Ordering::Relaxed);
    }
}

/// Marks an entry as uncertain unless the commit came to its end: a handler can be dropped while it waits.
pub(super) struct Abandoned<'a>(pub(super) Option<&'a Entry>);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.0 {
            entry.known().is_uncertain = true;
            entry.forget();
        }
    }
}

const SHARDS: usize = 64;
type Shard = HashMap<(Box<str>, Box<str>), Arc<Entry>>;

/// All nodes of the house.
pub struct Nodes {
    pub(super) store: Arc<dyn Store>,
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    uses: AtomicU64,
    bytes: Arc<AtomicUsize>,
    limits: NodesLimits,
}

impl Nodes {
    /// The nodes in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, limits: NodesLimits) -> Self {
        Self {
            store,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            uses: AtomicU64::new(0),
            bytes: Arc::default(),
            limits,
        }
    }

    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the length")]
    fn shard(&self, home: &str, name: &str) -> MutexGuard<'_, Shard> {
        let at = usize::try_from(self.hasher.hash_one((home, name)) % SHARDS as u64).unwrap_or(0);
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry of a node, whether the node exists or not. While somebody holds it, there is no other.
    #[must_use]
    pub fn entry(&self, home: &BareJid, name: &str) -> Arc<Entry> {
        let used = self.uses.fetch_add(1, Ordering::Relaxed);
        let mut shard = self.shard(home.as_str(), name);
        let key = (Box::from(home.as_str()), Box::from(name));
        if let Some(entry) = shard.get(&key) {
            entry.used.store(used, Ordering::Relaxed);
            return Arc::clone(entry);
        }
        self.make_room(&mut shard);
        let entry = Arc::new(Entry {
            home: home.clone(),
            name: name.into(),
            turnstile: tokio::sync::Mutex::default(),
            known: Mutex::default(),
            used: AtomicU64::new(used),
            bytes: Arc::clone(&self.bytes),
        });
        shard.insert(key, Arc::clone(&entry));
        entry
    }

    fn make_room(&self, shard: &mut Shard) {
        let shard_max = (self.limits.nodes_max / SHARDS).max(1);
        if shard.len() < shard_max {
            return;
        }
        // An eighth at a time, so that the search for the idle is not made for each newcomer. Nobody can take hold
        // of an entry while the shard is locked.
        let mut idle: Vec<_> = shard
            .iter()
            .filter(|(_, entry)| Arc::strong_count(entry) == 1)
            .map(|(key, entry)| (entry.used.load(Ordering::Relaxed), key.clone()))
            .collect();
        idle.sort_unstable();
        for (_, key) in idle.into_iter().take(shard_max / 8 + 1) {
            shard.remove(&key);
        }
    }

    /// The node, if it is in the store; see [`Nodes::held`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stored(&self, entry: &Entry) -> Result<Option<Arc<Held>>, Fault> {
        let generation = {
            let known = entry.known();
            if let Some(node) = &known.node {
                return Ok(node.clone());
            }
            known.generation
        };
        let held = load::held(self.store.as_ref(), entry.home.as_str(), &entry.name).await?.map(Arc::new);
        let mut known = entry.known();
        if known.generation == generation && !known.is_uncertain {
            known.node = Some(held.clone());
        }
        Ok(held)
    }

    /// Asks the newest items something, loading them if they are not there. `None` when they do not know.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recent<T>(
        &self,
        entry: &Entry,
        held: &Held,
        ask: impl FnOnce(&Recent) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let generation = {
            let known = entry.known();
            if let Some(recent) = &known.recent {
                return Ok(ask(&recent.above(held.floor)));
            }
            known.generation
        };
        let page = Page::rows(recent::ITEMS_MAX).bytes(recent::BYTES_MAX);
        let between = Between { after: 0, before: None };
        let (newest, is_all) = load::items(self.store.as_ref(), held, between, true, page).await?;
        let recent = Recent::new(newest, is_all);
        let answer = ask(&recent);
        let mut known = entry.known();
        let has_room = self.bytes.load(Ordering::Relaxed) < self.limits.bytes_max;
        if has_room && Entry::may_keep(&known, generation, held) {
            known.recent = Some(recent);
            entry.count(&mut known);
        }
        Ok(answer)
    }

    /// Asks the newest items something, if they are in memory. `None` also when they do not know.
    pub(super) fn recent_at_hand<T>(entry: &Entry, ask: impl FnOnce(&Recent) -> Option<T>) -> Option<T> {
        entry.known().recent.as_ref().and_then(ask)
    }

    /// Items after or before a position (both excluded), in their order, whatever memory knows.
    ///
    /// `is_last` asks for the end of that run and not for its beginning.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn items(
        &self,
        held: &Held,
        after: u64,
        before: Option<u64>,
        is_last: bool,
        page: Page,
    ) -> Result<Vec<Item>, Fault> {
        let (mut items, _) = load::items(self.store.as_ref(), held, Between { after, before }, is_last, page).await?;
        if is_last {
            items.reverse();
        }
        Ok(items)
    }

    /// The item of that id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn item(&self, held: &Held, id: &str) -> Result<Option<Item>, Fault> {
        match load::item_head(self.store.as_ref(), held, id).await? {
            Some(head) => load::item(self.store.as_ref(), held, head.sequence).await,
            None => Ok(None),
        }
    }

    /// The head of the item of that id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn item_head(&self, entry: &Entry, held: &Held, id: &str) -> Result<Option<ItemHead>, Fault> {
        if let Some(head) = self.item_head_here(entry, id) {
            return Ok(head.filter(|head| head.sequence > held.floor));
        }
        load::item_head(self.store.as_ref(), held, id).await
    }

    /// The item of that id as far as memory knows. `Some(None)`: there is none.
    #[must_use]
    pub fn item_head_here(&self, entry: &Entry, id: &str) -> Option<Option<ItemHead>> {
        let known = entry.known();
        let recent = known.recent.as_ref()?;
        match recent.find(id) {
            Some(item) => Some(Some(item.head())),
            None if recent.is_all() => Some(None),
            None => None,
        }
    }

    /// The stored affiliation of an entity.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn affiliation(&self, held: &Held, bare: &BareJid) -> Result<Affiliation, Fault> {
        let (number, count) = held.affiliated();
        if count == 0 {
            return Ok(Affiliation::None);
        }
        load::affiliation(self.store.as_ref(), number, bare).await
    }

    /// Affiliations that follow `after`, by address.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn affiliations(
        &self,
        held: &Held,
        after: Option<&BareJid>,
        rows_max: usize,
    ) -> Result<Vec<(BareJid, Affiliation)>, Fault> {
        load::affiliations(self.store.as_ref(), held.affiliated().0, after, rows_max).await
    }

    /// The subscriptions of a bare address and its resources.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn subscriptions_of(
        &self,
        held: &Held,
        bare: &BareJid,
        rows_max: usize,
    ) -> Result<Vec<Subscription>, Fault> {
        load::subscriptions_of(self.store.as_ref(), &held.number, bare, rows_max).await
    }

    /// A page of all subscriptions.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn subscribers(
        &self,
        held: &Held,
        from: Option<&bytes::Bytes>,
        rows_max: usize,
    ) -> Result<Subscribers, Fault> {
        load::subscribers(self.store.as_ref(), &held.number, from, rows_max).await
    }

    /// Where a subscription stands, for [`Nodes::subscribers`] to go on after it.
    #[must_use]
    pub fn position(held: &Held, jid: &Jid) -> bytes::Bytes {
        load::subscriber_position(&held.number, jid)
    }

    /// All subscriptions at once, from memory, for a node that has few enough; `None` for one that has not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn all_subscribers(&self, entry: &Entry, held: &Held) -> Result<Option<Arc<Vec<Subscription>>>, Fault> {
        if held.node.tally.subscribers > SUBSCRIBERS_MAX {
            return Ok(None);
        }
        let generation = {
            let known = entry.known();
            if let Some(subscribers) = &known.subscribers {
                return Ok(Some(Arc::clone(subscribers)));
            }
            if self.bytes.load(Ordering::Relaxed) >= self.limits.bytes_max {
                return Ok(None);
            }
            known.generation
        };
        let mut all = Vec::new();
        let mut from = None;
        loop {
            let page = self.subscribers(held, from.as_ref(), 2_000).await?;
            all.extend(page.rows);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        let all = Arc::new(all);
        let mut known = entry.known();
        if Entry::may_keep(&known, generation, held) {
            known.subscribers = Some(Arc::clone(&all));
            entry.count(&mut known);
        }
        Ok(Some(all))
    }

    /// Nodes of a home that follow `after`, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn of_home(&self, home: &BareJid, after: Option<&str>, rows_max: usize) -> Result<Vec<Held>, Fault> {
        load::nodes(self.store.as_ref(), home.as_str(), after, rows_max).await
    }

    /// How many nodes a home has.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count(&self, home: &BareJid) -> Result<u64, Fault> {
        load::node_count(self.store.as_ref(), home.as_str()).await
    }

    /// Where a node that was deleted has gone.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn moved(&self, home: &BareJid, name: &str) -> Result<Option<Box<str>>, Fault> {
        Ok(load::moved(self.store.as_ref(), home.as_str(), name).await?.map(|(_, uri)| uri))
    }

    /// Some of those whose subscription is pending, by address.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn pending(&self, held: &Held, rows_max: usize) -> Result<Vec<Jid>, Fault> {
        load::pending(self.store.as_ref(), &held.number, rows_max).await
    }

    /// What an entity created in a service.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn created_by(&self, service: &BareJid, creator: &BareJid) -> Result<load::Created, Fault> {
        load::created_by(self.store.as_ref(), service.as_str(), creator).await
    }

    /// Commits the changes of a decision. The turnstile is held by the caller. Resolves when they are applied.
    /// `new_id` is an ItemID that was guessed to be in no use; that it is not becomes a condition of the commit.
    ///
    /// # Errors
    /// A conflict when the node was changed behind our back: what is known is forgotten, and the request must be
    /// decided anew.
    pub async fn commit(
        &self,
        entry: &Entry,
        held: Option<&Held>,
        changes: &[Change],
        new_id: Option<&str>,
        number: Number,
        now: u64,
    ) -> Result<(Receipt, Option<Arc<Held>>), CommitError> {
        let ground = Ground { store: self.store.as_ref(), home: &entry.home, name: &entry.name, held, number, now };
        let mut plan = plan(ground, changes).await?;
        let guessed = new_id.zip(held).map(|(id, held)| super::item_id_key(&held.number, id));
        if let Some(key) = &guessed {
            plan.batch.expect_absent(key.clone());
        }
        let mut abandoned = Abandoned(Some(entry));
        let committed = self.store.commit(std::mem::take(&mut plan.batch)).await;
        abandoned.0 = None;
        let receipt = match committed {
            Ok(receipt) => receipt,
            Err(CommitError::Conflict(key)) if guessed.as_ref() == Some(&key) => {
                return Err(CommitError::Conflict(key));
            }
            Err(error) => {
                entry.forget();
                return Err(error);
            }
        };
        Ok((receipt, entry.settle(held.is_none(), plan)))
    }

    /// Clears what remains of deleted nodes and purged items and is due at `now`, in microseconds.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn clear_remains(&self, now: u64) -> Result<(), CommitError> {
        clear::clear_remains(self.store.as_ref(), now).await
    }

    /// Items whose time was over at `now`, in milliseconds; some at a time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn expired(&self, now: u64) -> Result<Vec<Expired>, Fault> {
        clear::expired(self.store.as_ref(), now).await
    }

    /// Those of a node's items that are still there, with the time of their last change.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn heads(&self, held: &Held, sequences: &[u64]) -> Result<Vec<(ItemHead, pubsub::Timestamp)>, Fault> {
        clear::heads(self.store.as_ref(), held, sequences).await
    }

    /// Takes expiries off the list: they were seen to.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn settle(&self, expired: &[Expired]) -> Result<(), CommitError> {
        clear::settle(self.store.as_ref(), expired).await
    }

    /// Subscriptions an account has anywhere in the house, some at a time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn subscriptions_anywhere(&self, bare: &BareJid) -> Result<Vec<Anywhere>, Fault> {
        clear::subscriptions_anywhere(self.store.as_ref(), bare).await
    }

    /// Resolves when everything committed before is durable.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn flushed(&self) -> Result<(), CommitError> {
        self.store.commit_durably(store::Batch::new()).await
    }
}
