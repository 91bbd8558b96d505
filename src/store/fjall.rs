//! The second engine: fjall 3, a log-structured merge tree in pure Rust.
//!
//! Same shape as sled here: one keyspace, atomic batches, one `fdatasync` of the journal for a group of them.
//! Keeps more of what it reads on disk than in memory, compacts in the background, and gives space back.

use std::path::Path;

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use bytes::Bytes;

use crate::disk::{Disk, Sync, Visitor, Writes};
use crate::fault::Fault;

pub(crate) struct Fjall {
    db: Database,
    rows: Keyspace,
}

/// The journal is replayed when it is opened; this bounds how long that takes, and the disk it costs.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;

/// Rows in memory before they are written to a table. Small: a server of one family should not need more, and the
/// crash rig is to see tables being written and merged.
const MEMTABLE_BYTES_MAX: u64 = 8 << 20;

fn fault(error: ::fjall::Error) -> Fault {
    Fault::new(format!("fjall: {error}"))
}

impl Fjall {
    /// Opens or makes the database in `path`.
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> Result<Self, Fault> {
        let db = Database::builder(path)
            .cache_size(cache_bytes)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(1)
            .open()
            .map_err(fault)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_MAX);
        let rows = db.keyspace("rows", options).map_err(fault)?;
        Ok(Self { db, rows })
    }
}

impl Disk for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn value_bytes_max(&self) -> usize {
        usize::MAX
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(self.rows.get(key).map_err(fault)?.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, visit: &mut Visitor<'_>) -> Result<(), Fault> {
        let mut rows = self.rows.range(from..to);
        loop {
            let next = if reverse { rows.next_back() } else { rows.next() };
            let Some(row) = next else { return Ok(()) };
            let (key, value) = row.into_inner().map_err(fault)?;
            if visit(&key, &value).is_break() {
                return Ok(());
            }
        }
    }

    fn apply(&self, writes: Writes) -> Result<(), Fault> {
        let mut batch = self.db.batch();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(&self.rows, &*key, &*value),
                None => batch.remove(&self.rows, &*key),
            }
        }
        batch.commit().map_err(fault)
    }

    fn syncer(&self) -> Sync {
        let db = self.db.clone();
        Box::new(move || db.persist(PersistMode::SyncData).map_err(fault))
    }

    fn disk_bytes(&self) -> u64 {
        self.db.disk_space().unwrap_or(0)
    }
}
