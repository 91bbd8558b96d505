//! Finding messages by their words (XEP-0431): an index over the archive of who searches it.
//!
//! ```text
//! ArchiveSegments: account, segment        -> its last place
//! ArchiveWords:    account, segment, word  -> where in the segment: times of arrival, as differences
//! ```
//!
//! A segment is some [`SEGMENT`] messages in a row, called by the place of the first, and indexed in one step when
//! somebody searches: archiving a message costs nothing more, and who never searches has no index. What is behind the
//! last segment is read as it is, at most a segment's worth. The bare address of the contact is a word, too.
//!
//! Removed with the messages: a segment goes when its last message does, in the same batch; the words of a message
//! that was taken back go with its content.

mod search;
mod text;

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use store::{Batch, Fault, KeyReader, Page};

pub use self::search::Searched;
use self::text::words;
pub use self::text::{Query, TooLong, is_encrypted};
use super::super::row::{Reader, Writer};
use super::super::{Table, fault};
use super::{Entry, FORMAT, Ledger, Ledgers, Place, WHAT, bare, between, rows_prefix};

/// Messages in a segment; fewer if they have many words.
const SEGMENT: usize = if cfg!(test) { 40 } else { 512 };
/// Rows of words in a segment, about: so large is the batch that writes it.
const SEGMENT_WORDS: usize = 8_192;
/// Messages read at once.
const PAGE: Page = Page { rows_max: 128, bytes_max: 1 << 20 };
/// Begins the word that is a contact: in no text is it part of one.
const CONTACT: char = '\u{1}';

fn segments_prefix(account: &str) -> Bytes {
    Table::ArchiveSegments.key().str(account).build()
}

fn words_prefix(account: &str, segment: Place) -> Bytes {
    Table::ArchiveWords.key().str(account).u64(segment.time).u64(segment.chance).build()
}

fn word_key(prefix: &[u8], word: &str) -> Bytes {
    store::KeyBuilder::extend(prefix).str(word).build()
}

fn contact_word(contact: &str) -> String {
    format!("{CONTACT}{}", bare(contact))
}

/// Some messages in a row whose words are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    first: Place,
    last: Place,
}

impl Segment {
    fn to_row(self) -> Bytes {
        Writer::new(FORMAT).u64(self.last.time).u64(self.last.chance).finish()
    }

    fn read(key: &[u8], prefix_len: usize, row: Bytes) -> Result<Self, Fault> {
        let mut key = KeyReader::after(key, prefix_len);
        let first = Place { time: key.u64()?, chance: key.u64()? };
        let mut row = Reader::new(row, FORMAT, WHAT)?;
        Ok(Self { first, last: Place { time: row.u64()?, chance: row.u64()? } })
    }
}

/// Times of arrival in a segment, ascending, as they are written: each as what it is more than the one before, seven
/// bits to a byte.
fn write_times(first: u64, times: &[u64]) -> Bytes {
    let mut row = BytesMut::with_capacity(1 + 5 * times.len());
    row.put_u8(FORMAT);
    let mut before = first;
    for time in times {
        let mut more = time.saturating_sub(before);
        while more >= 0x80 {
            row.put_u8(u8::try_from(more & 0x7f).unwrap_or(0) | 0x80);
            more >>= 7;
        }
        row.put_u8(u8::try_from(more).unwrap_or(0));
        before = *time;
    }
    row.freeze()
}

fn read_times(first: u64, row: &[u8]) -> Result<Vec<u64>, Fault> {
    let broken = || Fault::new(format!("a row of {WHAT} has times that make no sense"));
    let [FORMAT, row @ ..] = row else { return Err(broken()) };
    let (mut times, mut time, mut more, mut shift) = (Vec::new(), first, 0_u64, 0_u32);
    for byte in row {
        more |= u64::from(byte & 0x7f).checked_shl(shift).ok_or_else(broken)?;
        shift += 7;
        if byte & 0x80 == 0 {
            time = time.checked_add(more).ok_or_else(broken)?;
            times.push(time);
            (more, shift) = (0, 0);
        }
    }
    if shift == 0 { Ok(times) } else { Err(broken()) }
}

/// The words of a segment, as they are collected.
struct Collected {
    first: Place,
    last: Place,
    messages: usize,
    words: BTreeMap<String, Vec<u64>>,
}

impl Collected {
    fn from(first: Place) -> Self {
        Self { first, last: first, messages: 0, words: BTreeMap::new() }
    }

    fn add(&mut self, entry: &Entry) {
        let time = entry.place.time;
        let mut note = |word: String| {
            let times = self.words.entry(word).or_default();
            if times.last() != Some(&time) {
                times.push(time);
            }
        };
        if !entry.is_tombstone()
            && let Some(text) = text::readable(&entry.message)
        {
            words(&text).for_each(&mut note);
            note(contact_word(entry.contact()));
        }
        self.last = entry.place;
        self.messages += 1;
    }

    fn is_full(&self) -> bool {
        self.messages >= SEGMENT || self.words.len() >= SEGMENT_WORDS
    }

    fn to_batch(&self, account: &str) -> Batch {
        let mut batch = Batch::new();
        let prefix = words_prefix(account, self.first);
        for (word, times) in &self.words {
            batch.put(word_key(&prefix, word), write_times(self.first.time, times));
        }
        let segment = Segment { first: self.first, last: self.last };
        batch.put(super::at(&segments_prefix(account), self.first), segment.to_row());
        batch
    }
}

impl<T: Send + 'static> Ledgers<T> {
    /// The last segment that begins before `place`.
    async fn segment_before(&self, account: &str, place: Place) -> Result<Option<Segment>, Fault> {
        let prefix = segments_prefix(account);
        let range = between(&prefix, Place::FIRST, place).reversed();
        let rows = self.store.scan(range, Page::rows(1)).await?;
        rows.into_iter().next().map(|(key, row)| Segment::read(&key, prefix.len(), row)).transpose()
    }

    /// Indexes at most `segments_max` segments more of what was handed out. Whether there is more is returned.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn index(&self, ledger: &Ledger<T>, segments_max: usize) -> Result<bool, Fault> {
        let account = ledger.account().as_str();
        let _turn = self.words.of(account).await;
        for _ in 0..segments_max {
            let from = self.segment_before(account, Place::LAST).await?.map_or(Place::FIRST, |last| last.last.next());
            let Some(collected) = self.collect(ledger, from).await? else { return Ok(false) };
            // Applied is enough: what is not there after a crash is indexed again.
            let _applied = self.store.commit(collected.to_batch(account)).await.map_err(fault)?;
        }
        Ok(true)
    }

    /// The words of the segment that begins at `from` or behind it, if there are enough messages for one.
    async fn collect(&self, ledger: &Ledger<T>, from: Place) -> Result<Option<Collected>, Fault> {
        let prefix = rows_prefix(ledger.account().as_str());
        let mut range = between(&prefix, from, ledger.horizon());
        let mut collected: Option<Collected> = None;
        loop {
            let rows = self.store.scan(range.clone(), PAGE).await?;
            for (key, row) in &rows {
                let entry = Entry::read(key, prefix.len(), row.clone())?;
                let collecting = collected.get_or_insert_with(|| Collected::from(entry.place));
                collecting.add(&entry);
                if collecting.is_full() {
                    return Ok(collected);
                }
            }
            match rows.last() {
                Some((key, _)) if !rows.is_complete => range = range.past(key),
                _ => return Ok(None),
            }
        }
    }

    /// Adds to `batch` what rids the index of segments that end at `last` or before.
    pub(super) async fn forget_segments(&self, account: &str, last: Place, batch: &mut Batch) -> Result<(), Fault> {
        let prefix = segments_prefix(account);
        let rows = self.store.scan(between(&prefix, Place::FIRST, last.next()), Page::rows(super::BLOCK * 2)).await?;
        for (key, row) in rows {
            let segment = Segment::read(&key, prefix.len(), row)?;
            if segment.last > last {
                break;
            }
            let words = store::KeyBuilder::extend(&words_prefix(account, segment.first)).range();
            if let Some(end) = words.to() {
                batch.delete_range(words.from().to_vec(), end.to_vec());
            }
            batch.delete(key);
        }
        Ok(())
    }

    /// Adds to `batch` what rids the index of the words of `entry`, as far as they are in it. The caller has the turn.
    pub(super) async fn forget_words(&self, account: &str, entry: &Entry, batch: &mut Batch) -> Result<(), Fault> {
        let Some(segment) = self.segment_before(account, entry.place.next()).await? else { return Ok(()) };
        let Some(text) = text::readable(&entry.message).filter(|_| entry.place <= segment.last) else {
            return Ok(());
        };
        let prefix = words_prefix(account, segment.first);
        let mut forgotten: Vec<String> = words(&text).chain([contact_word(entry.contact())]).collect();
        forgotten.sort_unstable();
        forgotten.dedup();
        for word in forgotten {
            let key = word_key(&prefix, &word);
            let Some(row) = self.store.get(&key).await? else { continue };
            let mut times = read_times(segment.first.time, &row)?;
            times.retain(|time| *time != entry.place.time);
            if times.is_empty() {
                batch.delete(key);
            } else {
                batch.put(key, write_times(segment.first.time, &times));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
