//! The memory: ordered keys and atomic, asserting batches. Knows no XMPP at all.
//!
//! One trait, [`Store`], with three working methods: [`get`](Store::get), [`scan`](Store::scan) and
//! [`commit`](Store::commit). What a key or a value means is known above, in the server's tables. Read on in
//! this order: `batch.rs` (what can be asked), `key.rs` (how keys are built), `range.rs` (what a scan reads),
//! `pending.rs` (applied and durable), `memory.rs` (the reference), `admit.rs` (expectations).
//!
//! Words: a batch is *applied* when reads see it, *durable* when it survives a power cut. Applied comes first;
//! only durable may be acknowledged to the world.
#![forbid(unsafe_code)]

mod admit;
pub mod batch;
mod cache;
mod directory;
mod disk;
mod embedded;
#[cfg(test)]
mod embedded_tests;
pub mod fault;
mod fjall;
pub mod key;
pub mod memory;
pub mod open;
pub mod pending;
mod queue;
pub mod range;
mod sled;
mod verify;
mod writer;

pub use batch::{Batch, counter, version};
pub use fault::{CommitError, Fault, OpenError};
pub use key::{BadKey, KeyBuilder, KeyReader};
pub use memory::Memory;
pub use open::{Copied, Engine, Options, copy, open};
pub use pending::{Pending, Receipt};
pub use range::{Page, Range, Row, Rows};

use bytes::Bytes;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 8 * 1024;
/// The longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 4 << 20;
/// The heaviest batch, in bytes, by [`Batch::bytes`].
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// The most changes and expectations in one batch.
pub const BATCH_CHANGES_MAX: usize = 10_000;
/// The most rows one [`Batch::delete_range`] may find.
pub const RANGE_ROWS_MAX: usize = 10_000;
/// Keys begin with a byte below this one; the rest of the table bytes are the store's own.
pub const TABLE_MAX: u8 = 0xF0;

/// Ordered keys, read one by one or by range, changed by atomic batches that assert.
///
/// One commit is one step for every reader: a `get` or `scan` that begins after a commit resolved sees all of
/// it, and one `scan` page sees all of a batch or nothing. Two calls are two moments. Batches are put in one
/// line, in the order in which their commits are accepted; that order is the order of their effects and of
/// their durability.
///
/// No call blocks the calling thread on a disk. A call does its work even if its answer is dropped.
pub trait Store: Send + Sync {
    /// The value under `key`, if there is one.
    fn get(&self, key: &[u8]) -> Pending<Option<Bytes>>;

    /// The rows of `range`, in its direction, as many as fit in `page`.
    fn scan(&self, range: Range, page: Page) -> Pending<Rows>;

    /// Applies `batch` if everything it expects is so. Resolves when it is applied (and so visible); the
    /// [`Receipt`] resolves when it is durable.
    ///
    /// When too much is waiting already, this waits its turn.
    fn commit(&self, batch: Batch) -> Pending<Receipt, CommitError>;

    /// [`commit`](Self::commit) and [`Receipt::durable`] as one answer, for who needs only the end.
    ///
    /// A fault leaves open whether the batch will be found after a restart.
    fn commit_durably(&self, batch: Batch) -> Pending<(), CommitError> {
        let commit = self.commit(batch);
        Pending::boxed(async move { Ok(commit.await?.durable().await?) })
    }

    /// What it did and holds, cheaply.
    fn stats(&self) -> Stats;

    /// Reads everything and checks what can be checked. Long; reads and commits go on beside it.
    fn verify(&self) -> Pending<Report>;

    /// Makes everything applied durable, stops the threads and lets go of the directory. Later calls answer
    /// with a fault. Dropping the last handle does the same and does not wait for it.
    fn close(&self) -> Pending<()>;
}

/// What a store did since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The engine's name.
    pub engine: &'static str,
    /// What it takes on disk, in bytes; approximate.
    pub disk_bytes: u64,
    /// The number of the last commit applied.
    pub commits: u64,
    /// How often the disk was told to flush.
    pub flushes: u64,
    /// Commits waiting to be applied.
    pub commits_waiting: u64,
    /// Reads waiting for a thread.
    pub reads_waiting: u64,
    /// Reads answered from the cache.
    pub cache_hits: u64,
    /// Reads that went to the engine.
    pub cache_misses: u64,
}

/// What [`Store::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows read.
    pub rows: u64,
    /// Their keys and values, in bytes.
    pub bytes: u64,
    /// The number of the last commit in the engine.
    pub last_commit: u64,
    /// What is wrong, a sentence each; at most a hundred.
    pub problems: Vec<String>,
}
