//! Atomic, asserting batches: what a commit is made of.
//!
//! A batch says what it expects to find and what it wants changed. Either every expectation holds and every
//! change is made, or nothing is. This file only describes; `admit.rs` decides.

use bytes::Bytes;

/// One expectation about the state before the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Absent(Bytes),
    Present(Bytes),
    Value(Bytes, Bytes),
    Version(Bytes, u64),
}

/// One change, made in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Put(Bytes, Bytes),
    Delete(Bytes),
    DeleteRange(Bytes, Bytes),
    Add(Bytes, i64),
}

/// A set of expectations and changes that takes effect as one.
///
/// Expectations speak of the state before the batch; changes are made in order, so a later change of the same
/// key wins. Keys are 1 to [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX) bytes and begin with a table byte below
/// [`TABLE_MAX`](crate::TABLE_MAX).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub(crate) expects: Vec<Expect>,
    pub(crate) changes: Vec<Change>,
    pub(crate) bytes: usize,
}

/// What a row costs beside its own bytes, roughly.
const ROW_OVERHEAD_BYTES: usize = 32;

impl Batch {
    /// An empty batch. Committing it is allowed and waits for everything before it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes `value` under `key`, whatever was there.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> &mut Self {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len() + ROW_OVERHEAD_BYTES;
        self.changes.push(Change::Put(key, value));
        self
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, key: impl Into<Bytes>) -> &mut Self {
        let key = key.into();
        self.bytes += key.len() + ROW_OVERHEAD_BYTES;
        self.changes.push(Change::Delete(key));
        self
    }

    /// Removes every key from `from` (included) to `to` (excluded).
    ///
    /// At most [`RANGE_ROWS_MAX`](crate::RANGE_ROWS_MAX) rows may be there, else the commit is refused as too
    /// big and nothing happens: a longer range is deleted page by page, which is not atomic.
    pub fn delete_range(&mut self, from: impl Into<Bytes>, to: impl Into<Bytes>) -> &mut Self {
        let (from, to) = (from.into(), to.into());
        self.bytes += from.len() + to.len() + ROW_OVERHEAD_BYTES;
        self.changes.push(Change::DeleteRange(from, to));
        self
    }

    /// Adds `delta` to the counter under `key`: eight bytes, big-endian, signed; absent counts as zero.
    ///
    /// Saturates. Needs no expectation, so two batches that count never conflict. Read it with
    /// [`counter`]. A row that is not eight bytes long makes the commit conflict.
    pub fn add(&mut self, key: impl Into<Bytes>, delta: i64) -> &mut Self {
        let key = key.into();
        self.bytes += key.len() + 8 + ROW_OVERHEAD_BYTES;
        self.changes.push(Change::Add(key, delta));
        self
    }

    /// Expects nothing under `key`.
    pub fn expect_absent(&mut self, key: impl Into<Bytes>) -> &mut Self {
        let key = key.into();
        self.bytes += key.len();
        self.expects.push(Expect::Absent(key));
        self
    }

    /// Expects something under `key`.
    pub fn expect_present(&mut self, key: impl Into<Bytes>) -> &mut Self {
        let key = key.into();
        self.bytes += key.len();
        self.expects.push(Expect::Present(key));
        self
    }

    /// Expects exactly `value` under `key`.
    pub fn expect_value(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> &mut Self {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.expects.push(Expect::Value(key, value));
        self
    }

    /// Expects a row under `key` whose first eight bytes are `version`, big-endian.
    ///
    /// Version 0 also holds for an absent key, so that the first write needs no case of its own.
    pub fn expect_version(&mut self, key: impl Into<Bytes>, version: u64) -> &mut Self {
        let key = key.into();
        self.bytes += key.len() + 8;
        self.expects.push(Expect::Version(key, version));
        self
    }

    /// Takes over the expectations and changes of `other`, after our own.
    pub fn append(&mut self, mut other: Batch) -> &mut Self {
        self.expects.append(&mut other.expects);
        self.changes.append(&mut other.changes);
        self.bytes += other.bytes;
        self
    }

    /// True when it neither expects nor changes anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expects.is_empty() && self.changes.is_empty()
    }

    /// How many changes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// What it weighs in a queue, in bytes: keys, values and a little for each row.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Reads a counter row written by [`Batch::add`]: absent is zero, a row of another length is `None`.
#[must_use]
pub fn counter(row: Option<&[u8]>) -> Option<i64> {
    match row {
        None => Some(0),
        Some(bytes) => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
    }
}

/// Reads the version at the head of a row: absent is 0, a row under eight bytes is `None`.
#[must_use]
pub fn version(row: Option<&[u8]>) -> Option<u64> {
    match row {
        None => Some(0),
        Some(bytes) => Some(u64::from_be_bytes(*bytes.first_chunk::<8>()?)),
    }
}
