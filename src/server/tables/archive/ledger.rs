//! The archive of one account in memory: its counters, and the messages on their way into it.
//!
//! A message gets its place here, becomes durable in the store, and is handed out when everything before it in the
//! archive has been: so a client receives messages in the order of its archive, and never one that a power cut could
//! take back. Whoever finds its message first in line hands it out, and those behind it that wait; nobody who waits
//! holds anything. A message that is not handed out yet is not served either.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use store::{Batch, CommitError, Fault, Page, Store};
use tokio::sync::oneshot;
use xmpp::BareJid;

use super::super::Table;
use super::super::cache::{Cache, Weight};
use super::super::turns::Turns;
use super::{BEGINS_BLOCK, BLOCK, Entry, FORMAT, Head, OUTGOING, Place, Preferences};
use super::{at, bare, between, head_key, index_prefix, rows_prefix};

/// Archives kept at hand for accounts that are not online, by their weight.
const LEDGERS_MAX: usize = 100_000;

/// A message to be archived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Microseconds since the Unix epoch.
    pub now: u64,
    /// For its id.
    pub chance: u64,
    /// The other side, as it stands in the stanza.
    pub contact: &'a str,
    /// Whether the account sends it.
    pub is_outgoing: bool,
    /// The stanza.
    pub message: &'a [u8],
}

/// Whether a message was handed out.
#[derive(Debug)]
pub enum Landed {
    /// It was, or it is somebody else's to do.
    Done,
    /// Something before it is still on its way: wait for this, then [`Ledger::go_on`].
    Parked(oneshot::Receiver<()>),
}

struct Flying<T> {
    place: Place,
    /// What is to be handed out, once it is durable.
    ticket: Option<T>,
    is_durable: bool,
    owner: Option<oneshot::Sender<()>>,
}

struct Inner<T> {
    /// As it is written in the store.
    head: Head,
    /// Messages and bytes in all, those on their way included.
    messages: u64,
    bytes: u64,
    last: u64,
    block: Option<Place>,
    in_block: usize,
    /// Contacts the index has for this block.
    contacts: Vec<Box<str>>,
    flying: VecDeque<Flying<T>>,
    preferences: Arc<Preferences>,
    is_trimming: bool,
    /// Until when searches are paid for.
    searched: u64,
    /// The account is gone: nothing more is archived.
    is_closed: bool,
}

/// A search of an archive that another may ask for costs its owner this long, in microseconds; so many can come at
/// once.
const SEARCH: u64 = 2_000_000;
const SEARCHES: u64 = 30;

/// The archive of one account. `T` is what has to be handed out when a message is durable.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Ledger<T> {
    account: BareJid,
    inner: Mutex<Inner<T>>,
}

impl<T> Weight for Ledger<T> {
    fn weight(&self) -> usize {
        1
    }
}

impl<T> Ledger<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose archive it is.
    pub fn account(&self) -> &BareJid {
        &self.account
    }

    /// What the account wants archived.
    pub fn preferences(&self) -> Arc<Preferences> {
        Arc::clone(&self.lock().preferences)
    }

    /// Messages in it, and their bytes.
    pub fn size(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.messages, inner.bytes)
    }

    /// Whether the archive may be searched once more on somebody's behalf, at `now`.
    pub fn may_search(&self, now: u64) -> bool {
        let mut inner = self.lock();
        let from = inner.searched.max(now.saturating_sub(SEARCH * SEARCHES));
        let may = from <= now;
        if may {
            inner.searched = from + SEARCH;
        }
        may
    }

    /// What is at this place or behind it is not to be served yet.
    pub fn horizon(&self) -> Place {
        self.lock().flying.front().map_or(Place::LAST, |first| first.place)
    }

    /// Gives a message its place, and adds to `batch` what archives it. From now on it is in the air: whoever calls
    /// this calls [`land`](Self::land) when the batch is durable, and [`abandon`](Self::abandon) when it never is.
    ///
    /// `None` when the account was removed.
    pub fn add(&self, arrival: &Arrival<'_>, batch: &mut Batch) -> Option<Place> {
        let account = self.account.as_str();
        let mut inner = self.lock();
        if inner.is_closed {
            return None;
        }
        let time = arrival.now.max(inner.last.saturating_add(1));
        inner.last = time;
        let place = Place { time, chance: arrival.chance };
        let mut flags = if arrival.is_outgoing { OUTGOING } else { 0 };
        if inner.block.is_none() || inner.in_block >= BLOCK {
            flags |= BEGINS_BLOCK;
            inner.block = Some(place);
            inner.in_block = 0;
            inner.contacts.clear();
            inner.head.counted_to = place;
            inner.head.messages = inner.messages;
            inner.head.bytes = inner.bytes;
            if inner.head.messages == 0 {
                inner.head.oldest = place;
            }
            batch.put(head_key(account), inner.head.to_row());
        }
        inner.in_block += 1;
        let contact = bare(arrival.contact);
        if !inner.contacts.iter().any(|known| **known == *contact) {
            inner.contacts.push(contact.into());
            let block = inner.block.unwrap_or(place);
            batch.put(at(&index_prefix(account, contact), block), Bytes::from_static(&[FORMAT]));
        }
        let row = Entry::write(flags, arrival.contact, arrival.message);
        inner.messages += 1;
        inner.bytes += row.len() as u64;
        batch.put(at(&rows_prefix(account), place), row);
        inner.flying.push_back(Flying { place, ticket: None, is_durable: false, owner: None });
        Some(place)
    }

    /// The message at `place` is durable. Hands out `ticket`, and whatever waits behind it, as far as it is next.
    ///
    /// `hand_out` runs under a lock: it must not call back here, and not wait.
    pub fn land(&self, place: Place, ticket: Option<T>, hand_out: impl FnMut(T)) -> Landed {
        let mut inner = self.lock();
        let Some(found) = inner.flying.iter_mut().find(|flying| flying.place == place) else { return Landed::Done };
        found.ticket = ticket;
        found.is_durable = true;
        inner.hand_out(place, hand_out)
    }

    /// Tries again after [`Landed::Parked`].
    pub fn go_on(&self, place: Place, hand_out: impl FnMut(T)) -> Landed {
        self.lock().hand_out(place, hand_out)
    }

    /// The message at `place` was not archived, or nobody is left to hand it out.
    pub fn abandon(&self, place: Place) {
        let mut inner = self.lock();
        let Some(found) = inner.flying.iter().position(|flying| flying.place == place) else { return };
        let was = inner.flying.remove(found);
        if was.is_some_and(|was| !was.is_durable) {
            // Whether it is in the store is not known: the block may lack its beginning.
            inner.block = None;
        }
        if let Some(next) = inner.flying.front_mut()
            && next.is_durable
            && let Some(owner) = next.owner.take()
        {
            let _gone = owner.send(());
        }
    }
}

impl<T> Inner<T> {
    fn hand_out(&mut self, own: Place, mut hand_out: impl FnMut(T)) -> Landed {
        let mut is_done = !self.flying.iter().any(|flying| flying.place == own);
        while self.flying.front().is_some_and(|first| first.is_durable) {
            let Some(first) = self.flying.pop_front() else { break };
            is_done |= first.place == own;
            if let Some(ticket) = first.ticket {
                hand_out(ticket);
            }
            if let Some(owner) = first.owner {
                let _gone = owner.send(());
            }
        }
        if is_done {
            return Landed::Done;
        }
        let (sender, receiver) = oneshot::channel();
        if let Some(own) = self.flying.iter_mut().find(|flying| flying.place == own) {
            own.owner = Some(sender);
        }
        Landed::Parked(receiver)
    }
}

/// The archives, by account.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Ledgers<T> {
    pub(super) store: Arc<dyn Store>,
    cache: Cache<Ledger<T>>,
    default: Preferences,
    /// One archive's index of words is changed in its turn.
    pub(super) words: Turns,
}

impl<T: Send + 'static> Ledgers<T> {
    /// The archives in `store`; who never said what to archive wants `default`.
    pub fn new(
        store: Arc<dyn Store>,
        default: Preferences,
        is_online: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { store, cache: Cache::new(LEDGERS_MAX, is_online), default, words: Turns::default() }
    }

    /// The archive of `account`, if it was used lately.
    pub fn at_hand(&self, account: &str) -> Option<Arc<Ledger<T>>> {
        self.cache.get(account)
    }

    /// The archive of `account`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open(&self, account: &BareJid) -> Result<Arc<Ledger<T>>, Fault> {
        if let Some(ledger) = self.cache.get(account.as_str()) {
            return Ok(ledger);
        }
        self.cache.load(account, async || self.load(account).await).await
    }

    async fn load(&self, account: &BareJid) -> Result<Ledger<T>, Fault> {
        let head = match self.store.get(&head_key(account.as_str())).await? {
            Some(row) => Head::read(row)?,
            None => Head::EMPTY,
        };
        let preferences = match self.store.get(&preferences_key(account.as_str())).await? {
            Some(row) => Preferences::read(row)?,
            None => self.default.clone(),
        };
        let prefix = rows_prefix(account.as_str());
        let (mut messages, mut bytes, mut last) = (head.messages, head.bytes, head.counted_to.time);
        let mut range = between(&prefix, head.counted_to, Place::LAST);
        loop {
            let rows = self.store.scan(range.clone(), Page::rows(2 * BLOCK)).await?;
            for (key, row) in &rows {
                messages += 1;
                bytes += row.len() as u64;
                last = last.max(Entry::read(key, prefix.len(), row.clone())?.place.time);
            }
            match rows.last() {
                Some((key, _)) if !rows.is_complete => range = range.past(key),
                _ => break,
            }
        }
        let inner = Inner {
            head,
            messages,
            bytes,
            last,
            block: None,
            in_block: 0,
            contacts: Vec::new(),
            flying: VecDeque::new(),
            preferences: Arc::new(preferences),
            is_trimming: false,
            searched: 0,
            is_closed: false,
        };
        Ok(Ledger { account: account.clone(), inner: Mutex::new(inner) })
    }

    /// Changes what `ledger`'s account wants archived. Durable when it resolves.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn prefer(&self, ledger: &Ledger<T>, preferences: Preferences) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        batch.put(preferences_key(ledger.account.as_str()), preferences.to_row());
        self.store.commit_durably(batch).await?;
        ledger.lock().preferences = Arc::new(preferences);
        Ok(())
    }

    /// Deletes everything of `account`, which is removed already: nobody opens its archive any more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, account: &str) -> Result<(), CommitError> {
        if let Some(ledger) = self.cache.get(account) {
            ledger.lock().is_closed = true;
        }
        self.cache.forget(account);
        // What was on its way is there after this, and goes too.
        self.store.commit_durably(Batch::new()).await?;
        let _turn = self.words.of(account).await;
        for table in [
            Table::ArchiveSegments,
            Table::ArchiveWords,
            Table::ArchiveByContact,
            Table::Archive,
            Table::ArchivePreferences,
            Table::ArchiveHeads,
        ] {
            super::super::delete_range(self.store.as_ref(), table.key().str(account).range()).await?;
        }
        Ok(())
    }

    /// Makes a tombstone of `entry`: from now on it says `message`. Nothing happens if it changed meanwhile.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn bury(&self, ledger: &Ledger<T>, entry: &Entry, message: &[u8]) -> Result<(), CommitError> {
        let key = at(&rows_prefix(ledger.account.as_str()), entry.place);
        let (old, new) = (entry.to_row(), Entry::write(entry.flags | super::TOMBSTONE, entry.contact(), message));
        let shrunk = (old.len() as u64).saturating_sub(new.len() as u64);
        let mut batch = Batch::new();
        batch.expect_value(key.clone(), old).put(key, new);
        let _turn = self.words.of(ledger.account.as_str()).await;
        self.forget_words(ledger.account.as_str(), entry, &mut batch).await?;
        match self.store.commit_durably(batch).await {
            Ok(()) => {
                let mut inner = ledger.lock();
                inner.bytes = inner.bytes.saturating_sub(shrunk);
                if entry.place < inner.head.counted_to {
                    inner.head.bytes = inner.head.bytes.saturating_sub(shrunk);
                }
                Ok(())
            }
            Err(CommitError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn preferences_key(account: &str) -> Bytes {
    Table::ArchivePreferences.key().str(account).build()
}

/// What retention needs to know and to change of a ledger; see `retention.rs`.
impl<T> Ledger<T> {
    /// Where its oldest block may begin, if nobody else is trimming it.
    pub(super) fn begin_trim(&self) -> Option<Place> {
        let mut inner = self.lock();
        if inner.is_trimming {
            return None;
        }
        inner.is_trimming = true;
        Some(inner.head.oldest)
    }

    pub(super) fn end_trim(&self) {
        self.lock().is_trimming = false;
    }

    /// Takes a block out of the counters and puts the head into the batch. `false` if messages may still join it.
    pub(super) fn forget_block(&self, rows: &[Entry], bytes: u64, is_last: bool, batch: &mut Batch) -> bool {
        let mut inner = self.lock();
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return true };
        if is_last {
            if !inner.flying.is_empty() || inner.last > last.place.time {
                return false;
            }
            inner.block = None;
            inner.head.counted_to = last.place.next();
            inner.head.messages = inner.messages;
            inner.head.bytes = inner.bytes;
        } else if inner.block.is_some_and(|block| block <= last.place) {
            return false;
        }
        debug_assert!(first.place <= last.place);
        let messages = rows.len() as u64;
        inner.messages = inner.messages.saturating_sub(messages);
        inner.bytes = inner.bytes.saturating_sub(bytes);
        inner.head.messages = inner.head.messages.saturating_sub(messages);
        inner.head.bytes = inner.head.bytes.saturating_sub(bytes);
        inner.head.oldest = last.place.next();
        batch.put(head_key(self.account.as_str()), inner.head.to_row());
        true
    }
}
