//! Rows read lately, so that the next read of them costs neither a thread nor a disk.
//!
//! Knows absent keys too. The reader that fills it holds the engine's gate for reading, the writer that changes
//! it holds the gate for writing, so it never says anything older than the engine does. Bounded in bytes;
//! rows that were not asked for again leave first (second chance).

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

const SHARDS: usize = 16;
/// A row above this is not worth pushing others out.
const ROW_BYTES_MAX: usize = 64 * 1024;
/// What an entry costs beside key and value, roughly.
const ENTRY_OVERHEAD_BYTES: usize = 160;

pub(crate) struct Cache {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    shard_bytes_max: usize,
}

#[derive(Default)]
struct Shard {
    rows: HashMap<Bytes, Entry>,
    /// Every key of `rows` once, oldest first.
    ring: VecDeque<Bytes>,
    bytes: usize,
}

struct Entry {
    value: Option<Bytes>,
    was_asked_again: bool,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            shard_bytes_max: bytes_max / SHARDS,
        }
    }

    fn shard(&self, key: &[u8]) -> Option<MutexGuard<'_, Shard>> {
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        // Changes under this lock keep the map and the ring in step at every step that can panic (none).
        self.shards.get(index).map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The row, if it is known: `Some(None)` for a key known to be absent.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        let mut shard = self.shard(key)?;
        let entry = shard.rows.get_mut(key)?;
        entry.was_asked_again = true;
        Some(entry.value.clone())
    }

    /// Remembers what the engine said. The caller holds the gate for reading.
    pub(crate) fn remember(&self, key: &Bytes, value: Option<&Bytes>) {
        let size = size(key, value);
        if size > ROW_BYTES_MAX.min(self.shard_bytes_max) {
            return;
        }
        let Some(mut shard) = self.shard(key) else { return };
        let entry = Entry { value: value.cloned(), was_asked_again: false };
        match shard.rows.insert(key.clone(), entry) {
            Some(old) => shard.bytes -= self::size(key, old.value.as_ref()),
            None => shard.ring.push_back(key.clone()),
        }
        shard.bytes += size;
        shard.shrink(self.shard_bytes_max);
    }

    /// Takes note of a change, for a key it knows. The caller holds the gate for writing.
    pub(crate) fn change(&self, key: &Bytes, value: Option<&Bytes>) {
        let Some(mut shard) = self.shard(key) else { return };
        let Some(entry) = shard.rows.get_mut(key) else { return };
        let before = size(key, entry.value.as_ref());
        let after = size(key, value);
        entry.value = value.cloned();
        shard.bytes = shard.bytes - before + after;
        shard.shrink(self.shard_bytes_max);
    }
}

fn size(key: &Bytes, value: Option<&Bytes>) -> usize {
    2 * key.len() + value.map_or(0, Bytes::len) + ENTRY_OVERHEAD_BYTES
}

impl Shard {
    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some(key) = self.ring.pop_front() else { return };
            match self.rows.get_mut(&key) {
                Some(entry) if entry.was_asked_again => {
                    entry.was_asked_again = false;
                    self.ring.push_back(key);
                }
                Some(entry) => {
                    self.bytes -= size(&key, entry.value.as_ref());
                    self.rows.remove(&key);
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn it_stays_within_its_bytes_and_keeps_what_is_asked_for() {
        let cache = Cache::new(64 * 1024);
        let value = Bytes::from(vec![7; 100]);
        let hot = Bytes::from_static(b"hot");
        cache.remember(&hot, Some(&value));
        for n in 0..10_000u32 {
            cache.remember(&Bytes::copy_from_slice(&n.to_be_bytes()), Some(&value));
            assert!(cache.get(b"hot").is_some());
        }
        for shard in &cache.shards {
            let shard = shard.lock().unwrap();
            assert!(shard.bytes <= 4096);
            assert_eq!(shard.ring.len(), shard.rows.len());
            let counted: usize = shard.rows.iter().map(|(key, entry)| size(key, entry.value.as_ref())).sum();
            assert_eq!(counted, shard.bytes);
        }
    }

    #[test]
    fn a_change_is_seen_and_an_unknown_key_is_not_learnt() {
        let cache = Cache::new(1 << 20);
        let (known, unknown, value) = (Bytes::from_static(b"k"), Bytes::from_static(b"u"), Bytes::from_static(b"v"));
        cache.remember(&known, None);
        cache.change(&known, Some(&value));
        cache.change(&unknown, Some(&value));
        assert_eq!(cache.get(b"k"), Some(Some(value)));
        assert_eq!(cache.get(b"u"), None);
    }
}
