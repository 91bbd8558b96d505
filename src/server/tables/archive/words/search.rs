//! Searching: candidates from the index, segment by segment in the direction of reading, and each looked at.
//!
//! Bounded: so many messages are looked at for one page. What a query asks of each message is asked again of its text:
//! the index knows neither which words stand side by side nor resources of contacts.

use std::sync::Arc;

use store::{Fault, Page};

use super::super::read::Heap;
use super::super::{Entry, Found, Ledger, Ledgers, Place, Want, at, between, rows_prefix};
use super::{PAGE, Query, Segment, contact_word, read_times, segments_prefix, text, word_key, words_prefix};

/// Segments indexed before one search. More are left to others, and the search must be tried again.
const SEGMENTS_MAX: usize = 16;
/// Candidates of the index looked at for one page.
const CANDIDATES_MAX: usize = 1_000;
/// Segments read from the index at once.
const SEGMENTS_PAGE: usize = 64;

/// What came of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Searched {
    /// A page.
    Found(Found),
    /// The index does not reach the end of the archive yet: try again.
    Behind,
    /// Too much would have to be looked at for the first result.
    TooBroad,
}

/// A search on its way.
struct Search<'a, T> {
    ledgers: &'a Ledgers<T>,
    account: &'a str,
    want: Want<'a>,
    query: &'a Query,
    heap: Heap,
    candidates: usize,
}

/// How a part of it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Nothing is left in it.
    Done,
    /// The page is full.
    Full,
    /// Enough was looked at.
    Enough,
}

impl<T: Send + 'static> Ledgers<T> {
    /// Searches `ledger` for what is wanted and `query` finds. What is new is indexed first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn search(&self, ledger: &Ledger<T>, mut want: Want<'_>, query: &Query) -> Result<Searched, Fault> {
        if self.index(ledger, SEGMENTS_MAX).await? {
            return Ok(Searched::Behind);
        }
        want.span = want.span.before(ledger.horizon());
        if want.span.from >= want.span.to || want.messages_max == 0 || query.words().is_empty() {
            return Ok(Searched::Found(Found { entries: Vec::new(), is_complete: want.messages_max > 0 }));
        }
        let account = ledger.account().as_str();
        let indexed = self.segment_before(account, Place::LAST).await?;
        let indexed_to = indexed.map_or(Place::FIRST, |last| last.last.next());
        let heap = Heap::new(want.messages_max, want.bytes_max);
        let mut search = Search { ledgers: self, account, want, query, heap, candidates: 0 };
        let part = match want.is_from_end {
            true => match search.tail(indexed_to).await? {
                Part::Done => search.segments().await?,
                part => part,
            },
            false => match search.segments().await? {
                Part::Done => search.tail(indexed_to).await?,
                part => part,
            },
        };
        let mut entries = search.heap.entries;
        if want.is_from_end {
            entries.reverse();
        }
        if part == Part::Enough && entries.is_empty() {
            return Ok(Searched::TooBroad);
        }
        Ok(Searched::Found(Found { entries, is_complete: part == Part::Done }))
    }

    /// Whether `query` finds `entry`.
    #[must_use]
    pub fn finds(query: &Query, entry: &Entry) -> bool {
        !entry.is_tombstone() && text::readable(&entry.message).is_some_and(|text| query.finds(&text))
    }
}

impl<T: Send + 'static> Search<'_, T> {
    fn take(&mut self, entry: Entry) -> bool {
        let is_wanted = self.want.span.contains(entry.place)
            && self.want.is_with(&entry)
            && Ledgers::<T>::finds(self.query, &entry);
        !is_wanted || self.heap.take(entry)
    }

    /// What is not indexed yet: less than a segment.
    async fn tail(&mut self, from: Place) -> Result<Part, Fault> {
        let prefix = rows_prefix(self.account);
        let mut range = between(&prefix, from.max(self.want.span.from), self.want.span.to);
        if self.want.is_from_end {
            range = range.reversed();
        }
        loop {
            let rows = self.ledgers.store.scan(range.clone(), PAGE).await?;
            for (key, row) in &rows {
                if !self.take(Entry::read(key, prefix.len(), row.clone())?) {
                    return Ok(Part::Full);
                }
            }
            match rows.last() {
                Some((key, _)) if !rows.is_complete => range = range.past(key),
                _ => return Ok(Part::Done),
            }
        }
    }

    async fn segments(&mut self) -> Result<Part, Fault> {
        let words = self.words();
        let prefix = segments_prefix(self.account);
        // The segment that the span begins in begins before it.
        let first = self.ledgers.segment_before(self.account, self.want.span.from.next()).await?;
        let from = first.map_or(self.want.span.from, |first| first.first);
        let mut range = between(&prefix, from, self.want.span.to);
        if self.want.is_from_end {
            range = range.reversed();
        }
        loop {
            let rows = self.ledgers.store.scan(range.clone(), Page::rows(SEGMENTS_PAGE)).await?;
            for (key, row) in &rows {
                let segment = Segment::read(key, prefix.len(), row.clone())?;
                match self.segment(segment, &words).await? {
                    Part::Done => {}
                    part => return Ok(part),
                }
            }
            match rows.last() {
                Some((key, _)) if !rows.is_complete => range = range.past(key),
                _ => return Ok(Part::Done),
            }
        }
    }

    /// What must stand in the index of a segment: the rarest first, as far as that can be told.
    fn words(&self) -> Vec<Arc<str>> {
        let mut words: Vec<Arc<str>> = self.query.words().into_iter().map(Arc::from).collect();
        if let Some(with) = self.want.with {
            words.push(contact_word(with.as_bare_str()).into());
        }
        words
    }

    async fn segment(&mut self, segment: Segment, words: &[Arc<str>]) -> Result<Part, Fault> {
        let prefix = words_prefix(self.account, segment.first);
        let mut times: Option<Vec<u64>> = None;
        for word in words {
            let Some(row) = self.ledgers.store.get(&word_key(&prefix, word)).await? else { return Ok(Part::Done) };
            let have = read_times(segment.first.time, &row)?;
            times = Some(match times {
                None => have,
                Some(times) => times.into_iter().filter(|time| have.binary_search(time).is_ok()).collect(),
            });
            if times.as_ref().is_some_and(Vec::is_empty) {
                return Ok(Part::Done);
            }
        }
        let mut times = times.unwrap_or_default();
        let span = self.want.span;
        times.retain(|time| span.from.time <= *time && *time <= span.to.time);
        if self.want.is_from_end {
            times.reverse();
        }
        let rows_prefix = rows_prefix(self.account);
        for time in times {
            if self.candidates >= CANDIDATES_MAX {
                return Ok(Part::Enough);
            }
            self.candidates += 1;
            let here = Place { time, chance: 0 };
            let range =
                store::Range::between(at(&rows_prefix, here), at(&rows_prefix, Place { time: time + 1, chance: 0 }));
            for (key, row) in self.ledgers.store.scan(range, Page::rows(1)).await? {
                if !self.take(Entry::read(&key, rows_prefix.len(), row)?) {
                    return Ok(Part::Full);
                }
            }
        }
        Ok(Part::Done)
    }
}
