//! Whether a batch may happen, and what it then changes.
//!
//! Runs wherever batches are put in line (the writer thread, or under the lock of the memory engine), so what
//! is read here cannot change until the changes are made. Several batches may be admitted before their changes
//! are applied together: `Overlay` holds what earlier ones decided.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::batch::{Batch, Change, Expect, counter, version};
use crate::fault::{CommitError, Fault};
use crate::{BATCH_BYTES_MAX, BATCH_CHANGES_MAX, KEY_BYTES_MAX, RANGE_ROWS_MAX, TABLE_MAX, VALUE_BYTES_MAX};

/// Changes decided and not yet applied: a value, or `None` for a deletion.
pub(crate) type Overlay = BTreeMap<Bytes, Option<Bytes>>;

/// The rows as they were applied last.
pub(crate) trait View {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault>;
    /// Keys from `from` to before `to`, in order, at most `rows_max`.
    fn keys(&self, from: &[u8], to: &[u8], rows_max: usize) -> Result<Vec<Bytes>, Fault>;
}

/// Checks what can be known without reading: bounds and the shape of keys.
pub(crate) fn check_bounds(batch: &Batch) -> Result<(), CommitError> {
    if batch.bytes > BATCH_BYTES_MAX {
        return Err(CommitError::TooBig("more than 16 MiB in all"));
    }
    if batch.changes.len() + batch.expects.len() > BATCH_CHANGES_MAX {
        return Err(CommitError::TooBig("more than 10000 changes and expectations"));
    }
    for change in &batch.changes {
        match change {
            Change::Put(key, value) => {
                check_key(key)?;
                if value.len() > VALUE_BYTES_MAX {
                    return Err(CommitError::TooBig("a value over 4 MiB"));
                }
            }
            Change::Delete(key) | Change::Add(key, _) => check_key(key)?,
            Change::DeleteRange(from, to) => {
                check_key(from)?;
                // The end is excluded, so it may be the first reserved key.
                if to.is_empty() || to.len() > KEY_BYTES_MAX || to.as_ref() > [TABLE_MAX].as_slice() {
                    return Err(CommitError::BadKey);
                }
            }
        }
    }
    Ok(())
}

fn check_key(key: &[u8]) -> Result<(), CommitError> {
    match key.first() {
        Some(table) if *table < TABLE_MAX && key.len() <= KEY_BYTES_MAX => Ok(()),
        _ => Err(CommitError::BadKey),
    }
}

/// Adds the changes of `batch` to `overlay`, or says why not and leaves `overlay` as it was.
pub(crate) fn admit(batch: Batch, view: &dyn View, overlay: &mut Overlay) -> Result<(), CommitError> {
    for expect in &batch.expects {
        let (key, holds) = match expect {
            Expect::Absent(key) => (key, look(key, view, overlay)?.is_none()),
            Expect::Present(key) => (key, look(key, view, overlay)?.is_some()),
            Expect::Value(key, value) => (key, look(key, view, overlay)?.as_ref() == Some(value)),
            Expect::Version(key, expected) => (key, version(look(key, view, overlay)?.as_deref()) == Some(*expected)),
        };
        if !holds {
            return Err(CommitError::Conflict(key.clone()));
        }
    }
    let may_fail = batch.changes.iter().any(|change| matches!(change, Change::Add(..) | Change::DeleteRange(..)));
    if may_fail {
        let mut tried = Overlay::new();
        for change in batch.changes {
            make(change, view, overlay, &mut tried)?;
        }
        overlay.append(&mut tried);
    } else {
        for change in batch.changes {
            match change {
                Change::Put(key, value) => overlay.insert(key, Some(value)),
                Change::Delete(key) => overlay.insert(key, None),
                Change::Add(..) | Change::DeleteRange(..) => None,
            };
        }
    }
    Ok(())
}

fn look(key: &[u8], view: &dyn View, overlay: &Overlay) -> Result<Option<Bytes>, Fault> {
    match overlay.get(key) {
        Some(decided) => Ok(decided.clone()),
        None => view.get(key),
    }
}

fn make(change: Change, view: &dyn View, overlay: &Overlay, tried: &mut Overlay) -> Result<(), CommitError> {
    match change {
        Change::Put(key, value) => {
            tried.insert(key, Some(value));
        }
        Change::Delete(key) => {
            tried.insert(key, None);
        }
        Change::Add(key, delta) => {
            let found = match tried.get(&key) {
                Some(decided) => decided.clone(),
                None => look(&key, view, overlay)?,
            };
            let Some(count) = counter(found.as_deref()) else {
                return Err(CommitError::Conflict(key));
            };
            let sum = count.saturating_add(delta);
            tried.insert(key, Some(Bytes::copy_from_slice(&sum.to_be_bytes())));
        }
        Change::DeleteRange(from, to) => {
            if from >= to {
                return Ok(());
            }
            let stored = view.keys(&from, &to, RANGE_ROWS_MAX + 1)?;
            if stored.len() > RANGE_ROWS_MAX {
                return Err(CommitError::TooBig("a range of more than 10000 rows"));
            }
            let range = (std::ops::Bound::Included(from), std::ops::Bound::Excluded(to));
            let decided: Vec<Bytes> = overlay.range(range.clone()).map(|(key, _)| key.clone()).collect();
            let own: Vec<Bytes> = tried.range(range).map(|(key, _)| key.clone()).collect();
            tried.extend(stored.into_iter().chain(decided).chain(own).map(|key| (key, None)));
        }
    }
    Ok(())
}
