//! When nodes of other servers were last asked what they have, and what was the newest they had then.
//!
//! ```text
//! home, name -> when it was asked, failures since it last answered, what its newest items were then
//! ```

use bytes::Bytes;
use store::{Batch, CommitError, Fault, KeyReader, Page};

use super::{FORMAT, Timelines, WHAT};
use crate::tables::Table;
use crate::tables::row::{Reader, Writer};

/// Items that are remembered of one answer.
pub const SEEN_MAX: usize = 50;

/// What is remembered of asking a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Failures in a row since it last answered.
    pub failures: u64,
    /// Marks of the newest items it had when it last answered; at most [`SEEN_MAX`] are kept.
    pub seen: Vec<u64>,
}

/// A node that was asked, and what is remembered of it.
pub type AskedRow = (Box<str>, Box<str>, Asked);

fn asked_key(home: &str, name: &str) -> Bytes {
    Table::TimelineAsked.key().str(home).str(name).build()
}

fn read(row: Bytes) -> Result<Asked, Fault> {
    let mut row = Reader::new(row, FORMAT, WHAT)?;
    let (at, failures) = (row.u64()?, row.u64()?);
    let seen = row.rest();
    let seen = seen.chunks_exact(8).filter_map(|mark| Some(u64::from_be_bytes(*mark.first_chunk::<8>()?)));
    Ok(Asked { at, failures, seen: seen.collect() })
}

impl Timelines {
    /// What is remembered of asking a node; `None` if it was never asked.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn asked(&self, home: &str, name: &str) -> Result<Option<Asked>, Fault> {
        self.store.get(&asked_key(home, name)).await?.map(read).transpose()
    }

    /// Remembers that a node was asked.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_asked(&self, home: &str, name: &str, asked: &Asked) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        let row = Writer::new(FORMAT).u64(asked.at).u64(asked.failures);
        let row = asked.seen.iter().take(SEEN_MAX).fold(row, |row, mark| row.u64(*mark));
        batch.put(asked_key(home, name), row.finish());
        self.store.commit(batch).await.map(drop)
    }

    /// Forgets in a batch that a node was asked.
    pub fn drop_asked(batch: &mut Batch, home: &str, name: &str) {
        batch.delete(asked_key(home, name));
    }

    /// Up to `rows_max` nodes that were asked, those behind `after`, by home and name; and whether there are no more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn asked_page(
        &self,
        after: Option<(&str, &str)>,
        rows_max: usize,
    ) -> Result<(Vec<AskedRow>, bool), Fault> {
        let mut range = Table::TimelineAsked.key().range();
        if let Some((home, name)) = after {
            range = range.after(&asked_key(home, name));
        }
        let rows = self.store.scan(range, Page::rows(rows_max)).await?;
        let is_complete = rows.is_complete;
        let rows = rows.into_iter().map(|(key, value)| {
            let mut reader = KeyReader::after(&key, 1);
            Ok((reader.str()?.into(), reader.str()?.into(), read(value)?))
        });
        Ok((rows.collect::<Result<_, Fault>>()?, is_complete))
    }
}
