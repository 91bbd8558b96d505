//! Home timelines in the store: what the nodes that an account follows sent it, by arrival.
//!
//! ```text
//! account, time, source, sequence -> nothing: this item of this node is in the account's timeline
//! number, sequence                -> time, home, name: an item that is still being written to its followers
//! number                          -> nothing: a node with so many followers that they look for its items themselves
//! account, number                 -> which of a remote node's newest items are in the account's timeline
//! account                         -> how many entries there are up to a place
//! (no account)                    -> the newest time that was given, as of a minute ago
//! ```
//!
//! An entry is a reference and nothing else: its key says when the item came, in which node it is (the first half of
//! the node's number) and where. An item that is gone leaves an entry that is skipped. Of a local node the key follows
//! from the item alone, so that writing it again changes nothing, and so that a reader who finds the item in the node
//! gives it the same place: whether it was written or is looked for makes no difference to anyone.

mod arrivals;
mod asked;

pub use arrivals::{Arrivals, Reservation, View};
pub use asked::{Asked, AskedRow, SEEN_MAX};

use std::sync::Arc;

use bytes::Bytes;
use store::{Batch, CommitError, Fault, KeyBuilder, KeyReader, Page, Range, Store};

use super::Table;
use super::nodes::Number;
use super::row::{Reader, Writer};
use super::turns::Turns;

const FORMAT: u8 = 1;
const WHAT: &str = "timelines";
/// Rows read at once.
const PAGE: usize = 1_000;
/// Items of a remote node that are remembered as known, behind the newest.
const KNOWN: u64 = 256;

/// Where an entry stands in every timeline it is in. Ordered by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// When the item came, in milliseconds since the Unix epoch.
    pub time: u64,
    /// Which node: the first half of its number.
    pub source: u64,
    /// Which item of the node.
    pub sequence: u64,
}

/// What of a node's number is in a place.
#[must_use]
pub fn source_of(number: &Number) -> u64 {
    number.first_chunk::<8>().map_or(0, |half| u64::from_be_bytes(*half))
}

impl Place {
    /// The place of an item that came at `time` (milliseconds).
    #[must_use]
    pub fn new(time: u64, number: &Number, sequence: u64) -> Self {
        Self { time, source: source_of(number), sequence }
    }

    /// As clients see it: digits and letters in the order of the places.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{:011x}{:016x}{:010x}", self.time, self.source, self.sequence)
    }

    /// Reads what [`Place::id`] wrote; `None` for anything else.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        if !(37..=48).contains(&id.len()) || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let part = |range: std::ops::Range<usize>| u64::from_str_radix(id.get(range)?, 16).ok();
        let place = Self { time: part(0..11)?, source: part(11..27)?, sequence: part(27..id.len())? };
        // One place has one id.
        (place.id() == id).then_some(place)
    }
}

/// An item whose entries may not all be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Where the node is.
    pub home: Box<str>,
    /// What it is called.
    pub name: Box<str>,
    /// Its number.
    pub number: Number,
    /// The item's place.
    pub place: Place,
}

/// Which items of a remote node an account has: the newest, and of those before it a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    newest: u64,
    before: [u64; 4],
}

impl Known {
    /// Whether the item is known, or so old that it counts as known.
    #[must_use]
    pub fn has(&self, sequence: u64) -> bool {
        match self.newest.checked_sub(sequence) {
            None => false,
            Some(0) => true,
            Some(back) if back > KNOWN => true,
            Some(back) => self.before.get(word(back)).is_some_and(|bits| bits & bit(back) != 0),
        }
    }

    /// Notes an item as known.
    pub fn put(&mut self, sequence: u64) {
        let old = *self;
        if sequence > old.newest {
            *self = Self { newest: sequence, before: [0; 4] };
            for back in 1..=KNOWN {
                let Some(earlier) = sequence.checked_sub(back) else { break };
                if earlier > 0 && earlier <= old.newest && old.has(earlier) {
                    self.mark(back);
                }
            }
        } else if sequence < old.newest {
            self.mark(old.newest - sequence);
        }
    }

    fn mark(&mut self, back: u64) {
        if back <= KNOWN
            && let Some(bits) = self.before.get_mut(word(back))
        {
            *bits |= bit(back);
        }
    }
}

fn word(back: u64) -> usize {
    usize::try_from((back - 1) / 64).unwrap_or(usize::MAX)
}

fn bit(back: u64) -> u64 {
    1 << ((back - 1) % 64)
}

/// What is kept of one timeline at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Entries.
    pub entries_max: u64,
    /// Nothing that came before this, in milliseconds since the Unix epoch.
    pub since: u64,
    /// Before this nothing comes any more, in milliseconds since the Unix epoch.
    pub settled: u64,
}

/// How many entries there are.
struct Count {
    /// Those up to `upto`, before which nothing comes any more: they are not counted again.
    settled: u64,
    upto: Option<Place>,
    /// All of them.
    total: u64,
}

/// The timelines.
#[expect(missing_debug_implementations, reason = "a store has nothing to show")]
pub struct Timelines {
    store: Arc<dyn Store>,
    turns: Turns,
}

fn account_key(account: &str) -> Bytes {
    Table::Timeline.key().str(account).build()
}

fn entry_key(account: &str, place: &Place) -> Bytes {
    Table::Timeline.key().str(account).u64(place.time).u64(place.source).u64(place.sequence).build()
}

fn work_key(number: &Number, sequence: u64) -> Bytes {
    Table::TimelineWork.key().fixed(number).u64(sequence).build()
}

fn known_key(account: &str, number: &Number) -> Bytes {
    Table::TimelineKnown.key().str(account).fixed(number).build()
}

fn count_key(account: &str) -> Bytes {
    Table::TimelineCounts.key().str(account).build()
}

/// Adds to the batch that publishes an item that its followers are still to be written to.
pub(super) fn put_work(batch: &mut Batch, home: &str, name: &str, number: &Number, item: &pubsub::Item) {
    let row = Writer::new(FORMAT).u64(item.updated.0).text(home).text(name).finish();
    batch.put(work_key(number, item.sequence), row);
}

impl Timelines {
    /// The timelines in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, turns: Turns::default() }
    }

    /// Adds an entry to a batch.
    pub fn put(batch: &mut Batch, account: &str, place: &Place) {
        batch.put(entry_key(account, place), Bytes::new());
    }

    /// Notes in a batch that an item is written to all its followers.
    pub fn settle(batch: &mut Batch, number: &Number, sequence: u64) {
        batch.delete(work_key(number, sequence));
    }

    /// Notes in a batch that the followers of a node look for its items themselves from now on.
    pub fn merge(batch: &mut Batch, number: &Number) {
        batch.put(Table::TimelineMerged.key().fixed(number).build(), Bytes::new());
    }

    /// Commits what the others made of a batch.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn commit(&self, batch: Batch) -> Result<store::Receipt, CommitError> {
        self.store.commit(batch).await
    }

    /// Up to `rows_max` places of a timeline, in order from its beginning or, `is_backwards`, from its end; those past
    /// `bound` in that direction. And whether there are no more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn places(
        &self,
        account: &str,
        bound: Option<Place>,
        is_backwards: bool,
        rows_max: usize,
    ) -> Result<(Vec<Place>, bool), Fault> {
        let prefix = account_key(account);
        let mut range = KeyBuilder::extend(&prefix).range();
        if is_backwards {
            range = range.reversed();
        }
        if let Some(bound) = bound {
            range = range.past(&entry_key(account, &bound));
        }
        let rows = self.store.scan(range, Page::rows(rows_max)).await?;
        let is_complete = rows.is_complete;
        let places = rows.into_iter().map(|(key, _)| place_in(&key, prefix.len())).collect::<Result<_, Fault>>()?;
        Ok((places, is_complete))
    }

    /// Up to `rows_max` items that may not be written to all their followers; those behind `after`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn work(&self, after: Option<&Work>, rows_max: usize) -> Result<Vec<Work>, Fault> {
        let mut range = Table::TimelineWork.key().range();
        if let Some(after) = after {
            range = range.after(&work_key(&after.number, after.place.sequence));
        }
        let rows = self.store.scan(range, Page::rows(rows_max)).await?;
        rows.into_iter()
            .map(|(key, value)| {
                let mut reader = KeyReader::after(&key, 1);
                let (number, sequence) = (reader.fixed()?, reader.u64()?);
                let mut row = Reader::new(value, FORMAT, WHAT)?;
                let time = row.u64()?;
                Ok(Work { home: row.text()?, name: row.text()?, number, place: Place::new(time, &number, sequence) })
            })
            .collect()
    }

    /// The nodes whose followers look for their items themselves.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn merged(&self) -> Result<Vec<Number>, Fault> {
        let mut found = Vec::new();
        let mut range = Table::TimelineMerged.key().range();
        loop {
            let rows = self.store.scan(range.clone(), Page::rows(PAGE)).await?;
            let is_complete = rows.is_complete;
            for (key, _) in rows {
                found.push(KeyReader::after(&key, 1).fixed()?);
                range = range.past(&key);
            }
            if is_complete {
                return Ok(found);
            }
        }
    }

    /// The newest time that was given, as it was last remembered.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn last(&self) -> Result<u64, Fault> {
        let row = self.store.get(&count_key("")).await?;
        row.map_or(Ok(0), |row| Reader::new(row, FORMAT, WHAT)?.u64())
    }

    /// Remembers the newest time that was given.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_last(&self, last: u64) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        batch.put(count_key(""), Writer::new(FORMAT).u64(last).finish());
        self.store.commit(batch).await.map(drop)
    }

    /// Which items of a remote node the account has.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn known(&self, account: &str, number: &Number) -> Result<Known, Fault> {
        let Some(row) = self.store.get(&known_key(account, number)).await? else { return Ok(Known::default()) };
        let mut row = Reader::new(row, FORMAT, WHAT)?;
        Ok(Known { newest: row.u64()?, before: [row.u64()?, row.u64()?, row.u64()?, row.u64()?] })
    }

    /// Adds to a batch which items of a remote node the account has.
    pub fn put_known(batch: &mut Batch, account: &str, number: &Number, known: &Known) {
        let row = known.before.iter().fold(Writer::new(FORMAT).u64(known.newest), |row, bits| row.u64(*bits));
        batch.put(known_key(account, number), row.finish());
    }

    /// Adds to a batch that the account does not follow a remote node any more.
    pub fn drop_known(batch: &mut Batch, account: &str, number: &Number) {
        batch.delete(known_key(account, number));
    }

    /// Makes room in a timeline: what is too old goes, and of the rest the oldest until `entries_max` are left.
    ///
    /// Counts what came since it was last called, so it costs what was written since, and not what is there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn trim(&self, account: &str, kept: Kept) -> Result<(), CommitError> {
        let _turn = self.turns.of(account).await;
        let Count { settled: mut count, upto, mut total } = self.count(account, kept.settled).await?;
        // Mostly nothing has to go, and the oldest says so.
        let mut looked_at = 1;
        loop {
            let too_many = total.saturating_sub(kept.entries_max);
            let due = usize::try_from(too_many).unwrap_or(PAGE).saturating_add(1).max(looked_at).min(PAGE);
            looked_at = PAGE;
            let (oldest, is_complete) = self.places(account, None, false, due).await?;
            let mut gone = 0;
            let mut batch = Batch::new();
            for place in &oldest {
                if gone >= too_many && place.time >= kept.since {
                    break;
                }
                batch.delete(entry_key(account, place));
                gone += 1;
            }
            // What came while we counted may have gone with the rest.
            (count, total) = (count.saturating_sub(gone), total.saturating_sub(gone));
            if let Some(last) = upto {
                let row = Writer::new(FORMAT).u64(count).u64(last.time).u64(last.source).u64(last.sequence);
                batch.put(count_key(account), row.finish());
            }
            let _applied = self.store.commit(batch).await?;
            if is_complete || gone < oldest.len() as u64 {
                return Ok(());
            }
        }
    }

    async fn count(&self, account: &str, settled: u64) -> Result<Count, Fault> {
        let mut count = match self.store.get(&count_key(account)).await? {
            None => Count { settled: 0, upto: None, total: 0 },
            Some(row) => {
                let mut row = Reader::new(row, FORMAT, WHAT)?;
                let settled = row.u64()?;
                let upto = Place { time: row.u64()?, source: row.u64()?, sequence: row.u64()? };
                Count { settled, upto: Some(upto), total: settled }
            }
        };
        let mut last = count.upto;
        loop {
            let (places, is_complete) = self.places(account, last, false, PAGE).await?;
            count.total += places.len() as u64;
            // What is on its way has its place already, and may come between those that are there.
            let is_settled = places.iter().take_while(|place| place.time < settled).count();
            count.settled += is_settled as u64;
            count.upto = is_settled.checked_sub(1).and_then(|at| places.get(at)).copied().or(count.upto);
            last = places.last().copied().or(last);
            if is_complete {
                return Ok(count);
            }
        }
    }

    /// The last place that is past the newest `entries_max` entries, if there is one: what is there up to it has not made
    /// room yet. Costs what was written since the last [`Timelines::trim`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn surplus(&self, account: &str, kept: Kept) -> Result<Option<Place>, CommitError> {
        let turn = self.turns.of(account).await;
        let total = self.count(account, kept.settled).await?.total;
        let surplus = usize::try_from(total.saturating_sub(kept.entries_max)).unwrap_or(usize::MAX);
        if surplus <= PAGE {
            return Ok(match surplus {
                0 => None,
                _ => self.places(account, None, false, surplus).await?.0.pop(),
            });
        }
        // There was room for more before.
        drop(turn);
        self.trim(account, kept).await?;
        Ok(None)
    }

    /// The next account behind `after` that has a timeline, and the oldest entry of that.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next(&self, after: Option<&str>) -> Result<Option<(Box<str>, Place)>, Fault> {
        let mut range = Table::Timeline.key().range();
        if let Some(after) = after {
            let end = Place { time: u64::MAX, source: u64::MAX, sequence: u64::MAX };
            range = range.past(&entry_key(after, &end));
        }
        let rows = self.store.scan(range, Page::rows(1)).await?;
        let Some((key, _)) = rows.into_iter().next() else { return Ok(None) };
        let account: Box<str> = KeyReader::after(&key, 1).str()?.into();
        let place = place_in(&key, account_key(&account).len())?;
        Ok(Some((account, place)))
    }

    /// Deletes the timeline of `account`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, account: &str) -> Result<(), CommitError> {
        let _turn = self.turns.of(account).await;
        for range in [
            Table::Timeline.key().str(account).range(),
            Table::TimelineKnown.key().str(account).range(),
            Range::prefix(count_key(account)),
        ] {
            super::delete_range(self.store.as_ref(), range).await?;
        }
        Ok(())
    }
}

fn place_in(key: &[u8], prefix_len: usize) -> Result<Place, Fault> {
    let mut reader = KeyReader::after(key, prefix_len);
    Ok(Place { time: reader.u64()?, source: reader.u64()?, sequence: reader.u64()? })
}

#[cfg(test)]
mod tests;
