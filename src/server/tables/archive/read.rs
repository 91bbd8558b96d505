//! Reading a part of an archive: as cheap at any depth, since a place is a key.
//!
//! Without a contact a page is one scan. With one, the index says which blocks to look at, and each is read as far
//! as its end; blocks are looked at only until the page is full.

use std::sync::Arc;

use bytes::Bytes;
use store::{Fault, KeyReader, Page, Range, Rows, Store};
use xmpp::Jid;

use super::{BLOCK, Entry, Ledger, Ledgers, Place, at, bare, between, index_prefix, rows_prefix};

/// Blocks looked up in the index at once.
const BLOCKS: usize = 32;

/// From which place to which, both ends as exact as the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first place that may be found.
    pub from: Place,
    /// Places from here on may not.
    pub to: Place,
}

impl Span {
    /// Everything.
    pub const ALL: Self = Self { from: Place::FIRST, to: Place::LAST };

    /// Only what came at `time` or later, in microseconds since the Unix epoch.
    #[must_use]
    pub fn since(self, time: u64) -> Self {
        Self { from: self.from.max(Place { time, chance: 0 }), ..self }
    }

    /// Only what came at `time` or before.
    #[must_use]
    pub fn until(self, time: u64) -> Self {
        self.before(Place { time: time.saturating_add(1), chance: 0 })
    }

    /// Only what is behind `place`.
    #[must_use]
    pub fn after(self, place: Place) -> Self {
        Self { from: self.from.max(place.next()), ..self }
    }

    /// Only what is before `place`.
    #[must_use]
    pub fn before(self, place: Place) -> Self {
        Self { to: self.to.min(place), ..self }
    }

    /// Whether `place` is in it.
    #[must_use]
    pub fn contains(self, place: Place) -> bool {
        self.from <= place && place < self.to
    }
}

/// What is wanted of an archive.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// Where.
    pub span: Span,
    /// Only messages with this contact; with a resource, only with that one.
    pub with: Option<&'a Jid>,
    /// At most so many.
    pub messages_max: usize,
    /// And at most so many bytes, but one in any case.
    pub bytes_max: usize,
    /// The last ones in the span instead of the first.
    pub is_from_end: bool,
}

impl Want<'_> {
    pub(super) fn is_with(&self, entry: &Entry) -> bool {
        match self.with {
            Some(with) if with.is_full() => entry.contact() == with.as_str(),
            Some(with) => bare(entry.contact()) == with.as_str(),
            None => true,
        }
    }

    /// The page of `entries`, which are in order, that is wanted.
    #[must_use]
    pub fn choose(&self, entries: Vec<Entry>) -> Found {
        let mut entries: Vec<Entry> =
            entries.into_iter().filter(|entry| self.span.contains(entry.place) && self.is_with(entry)).collect();
        if self.is_from_end {
            entries.reverse();
        }
        let mut heap = Heap::new(self.messages_max, self.bytes_max);
        let is_complete = entries.into_iter().all(|entry| heap.take(entry));
        if self.is_from_end {
            heap.entries.reverse();
        }
        Found { entries: heap.entries, is_complete }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order of the archive.
    pub entries: Vec<Entry>,
    /// Whether nothing wanted is left in the direction of reading.
    pub is_complete: bool,
}

/// Collects entries until there is one too many.
pub(super) struct Heap {
    pub(super) entries: Vec<Entry>,
    messages_max: usize,
    bytes_left: usize,
}

impl Heap {
    /// Room for so much.
    pub(super) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { entries: Vec::new(), messages_max, bytes_left: bytes_max }
    }

    /// `false` when there is no room: then the page ends before this entry.
    pub(super) fn take(&mut self, entry: Entry) -> bool {
        let fits = self.entries.is_empty() || entry.message.len() <= self.bytes_left;
        if self.entries.len() >= self.messages_max || !fits {
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(entry.message.len());
        self.entries.push(entry);
        true
    }
}

impl<T: Send + 'static> Ledgers<T> {
    /// Reads what is wanted, as far as it has been handed out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read(&self, ledger: &Ledger<T>, mut want: Want<'_>) -> Result<Found, Fault> {
        want.span = want.span.before(ledger.horizon());
        if want.span.from >= want.span.to || want.messages_max == 0 {
            return Ok(Found { entries: Vec::new(), is_complete: want.span.from >= want.span.to });
        }
        let heap = Heap::new(want.messages_max, want.bytes_max);
        let account = ledger.account().as_str();
        let mut found = match want.with {
            None => self.read_all(account, &want, heap).await?,
            Some(with) => {
                let reader = Reader {
                    store: Arc::clone(&self.store),
                    rows: rows_prefix(account),
                    index: index_prefix(account, with.as_bare_str()),
                    want,
                };
                if want.is_from_end { reader.backwards(heap).await? } else { reader.forwards(heap).await? }
            }
        };
        if want.is_from_end {
            found.entries.reverse();
        }
        Ok(found)
    }

    async fn read_all(&self, account: &str, want: &Want<'_>, mut heap: Heap) -> Result<Found, Fault> {
        let prefix = rows_prefix(account);
        let mut range = between(&prefix, want.span.from, want.span.to);
        if want.is_from_end {
            range = range.reversed();
        }
        // Keys and addresses count there and not here; should they be longer than this, the page is shorter.
        let bytes_max = want.bytes_max.saturating_add(want.messages_max.saturating_mul(512));
        let page = Page { rows_max: want.messages_max, bytes_max };
        let rows = self.store.scan(range, page).await?;
        let mut is_complete = rows.is_complete;
        heap.entries.reserve(rows.len());
        for (key, row) in rows {
            if !heap.take(Entry::read(&key, prefix.len(), row)?) {
                is_complete = false;
                break;
            }
        }
        Ok(Found { entries: heap.entries, is_complete })
    }

    /// The message at `place`, if it is there and was handed out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(&self, ledger: &Ledger<T>, place: Place) -> Result<Option<Entry>, Fault> {
        if place >= ledger.horizon() {
            return Ok(None);
        }
        let prefix = rows_prefix(ledger.account().as_str());
        let key = at(&prefix, place);
        let row = self.store.get(&key).await?;
        row.map(|row| Entry::read(&key, prefix.len(), row)).transpose()
    }
}

/// Reads the messages with one contact.
struct Reader<'a> {
    store: Arc<dyn Store>,
    rows: Bytes,
    index: Bytes,
    want: Want<'a>,
}

impl Reader<'_> {
    fn block(&self, key: &[u8]) -> Result<Place, Fault> {
        let mut key = KeyReader::after(key, self.index.len());
        Ok(Place { time: key.u64()?, chance: key.u64()? })
    }

    async fn blocks(&self, range: Range, blocks_max: usize) -> Result<Rows, Fault> {
        self.store.scan(range, Page::rows(blocks_max)).await
    }

    /// The messages of a block that are wanted, from `from` on, in their order.
    async fn entries(&self, block: Place, from: Place) -> Result<Vec<Entry>, Fault> {
        let mut found = Vec::new();
        let mut range = between(&self.rows, block.max(from), self.want.span.to);
        loop {
            let rows = self.store.scan(range.clone(), Page::rows(BLOCK + 1)).await?;
            for (key, row) in &rows {
                let entry = Entry::read(key, self.rows.len(), row.clone())?;
                if entry.begins_block() && entry.place != block {
                    return Ok(found);
                }
                if self.want.is_with(&entry) {
                    found.push(entry);
                }
            }
            match rows.last() {
                Some((key, _)) if !rows.is_complete => range = range.past(key),
                _ => return Ok(found),
            }
        }
    }

    async fn forwards(&self, mut heap: Heap) -> Result<Found, Fault> {
        let span = self.want.span;
        let mut from = span.from;
        // The block that `from` lies in begins before it.
        let first = between(&self.index, Place::FIRST, from).reversed();
        let mut blocks: Vec<Place> = Vec::new();
        for (key, _) in self.blocks(first, 1).await? {
            blocks.push(self.block(&key)?);
        }
        let mut range = between(&self.index, from, span.to);
        loop {
            for block in blocks.drain(..) {
                for entry in self.entries(block, from).await? {
                    // A block that lost its beginning is read with the one before it: nothing twice.
                    from = from.max(entry.place.next());
                    if !heap.take(entry) {
                        return Ok(Found { entries: heap.entries, is_complete: false });
                    }
                }
            }
            if range.is_empty() {
                return Ok(Found { entries: heap.entries, is_complete: true });
            }
            let rows = self.blocks(range.clone(), BLOCKS).await?;
            for (key, _) in &rows {
                blocks.push(self.block(key)?);
            }
            range = match rows.last() {
                Some((key, _)) if !rows.is_complete => range.past(key),
                _ => Range::between(Bytes::new(), Bytes::new()),
            };
        }
    }

    async fn backwards(&self, mut heap: Heap) -> Result<Found, Fault> {
        let span = self.want.span;
        let mut to = span.to;
        let mut range = between(&self.index, Place::FIRST, to).reversed();
        loop {
            let rows = self.blocks(range.clone(), BLOCKS).await?;
            for (key, _) in &rows {
                let block = self.block(key)?;
                for entry in self.entries(block, span.from).await?.into_iter().rev() {
                    if entry.place >= to {
                        continue;
                    }
                    to = entry.place;
                    if !heap.take(entry) {
                        return Ok(Found { entries: heap.entries, is_complete: false });
                    }
                }
                if block <= span.from {
                    return Ok(Found { entries: heap.entries, is_complete: true });
                }
            }
            match rows.last() {
                Some((key, _)) if !rows.is_complete => range = range.past(key),
                _ => return Ok(Found { entries: heap.entries, is_complete: true }),
            }
        }
    }
}
