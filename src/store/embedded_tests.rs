//! What the threads around an engine do when it fails, seen with an engine that fails on demand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::directory::Directory;
use crate::disk::{Disk, Layout, Sync, Visitor, Writes};
use crate::embedded::Embedded;
use crate::{Batch, CommitError, Fault, Options, Page, Range, Store};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fails {
    Never,
    Apply,
    ApplyWithPanic,
    Sync,
    SyncWithPanic,
    ReadWithPanic,
}

#[derive(Clone)]
struct Fake(Arc<Mutex<State>>);

struct State {
    rows: BTreeMap<Vec<u8>, Bytes>,
    fails: Fails,
    applies: u64,
    syncs: u64,
}

impl Fake {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(State { rows: BTreeMap::new(), fails: Fails::Never, applies: 0, syncs: 0 })))
    }

    fn fail(&self, fails: Fails) {
        self.0.lock().unwrap().fails = fails;
    }

    fn step(&self, error: Fails, panic: Fails) -> Result<(), Fault> {
        let fails = self.0.lock().unwrap().fails;
        assert!(fails != panic, "told to panic");
        if fails == error { Err(Fault::new("told to fail")) } else { Ok(()) }
    }
}

impl Disk for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn value_bytes_max(&self) -> usize {
        10
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.step(Fails::Never, Fails::ReadWithPanic).ok();
        Ok(self.0.lock().unwrap().rows.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, visit: &mut Visitor<'_>) -> Result<(), Fault> {
        let range = (Bound::Included(from.to_vec()), Bound::Excluded(to.to_vec()));
        let rows = self.0.lock().unwrap().rows.clone();
        let mut rows: Vec<_> = rows.range(range).collect();
        if reverse {
            rows.reverse();
        }
        for (key, value) in rows {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, writes: Writes) -> Result<(), Fault> {
        self.step(Fails::Apply, Fails::ApplyWithPanic)?;
        let mut state = self.0.lock().unwrap();
        state.applies += 1;
        for (key, value) in writes {
            match value {
                Some(value) => state.rows.insert(key.to_vec(), value),
                None => state.rows.remove(&*key),
            };
        }
        Ok(())
    }

    fn syncer(&self) -> Sync {
        let disk = self.clone();
        Box::new(move || {
            disk.step(Fails::Sync, Fails::SyncWithPanic)?;
            disk.0.lock().unwrap().syncs += 1;
            Ok(())
        })
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}

struct House {
    disk: Fake,
    dir: PathBuf,
    store: Embedded<Fake>,
}

impl House {
    fn new(name: &str) -> Self {
        let disk = Fake::new();
        let dir = std::env::temp_dir().join(format!("chirrup-fake-{}-{name}", std::process::id()));
        let directory = Directory::take(&dir, "fake").unwrap();
        let (watermark, _) = directory.watermark().unwrap();
        let layout = Layout::new(disk.clone()).unwrap();
        let store = Embedded::start(layout, directory, 0, watermark, &Options::default()).unwrap();
        Self { disk, dir, store }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn put(key: &'static str, value: &'static str) -> Batch {
    let mut batch = Batch::new();
    batch.put(key, value);
    batch
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn is_fault<T>(outcome: &Result<T, CommitError>) -> bool {
    matches!(outcome, Err(CommitError::Fault(_)))
}

#[test]
fn after_a_failed_write_nothing_is_written_and_reads_go_on() {
    for fails in [Fails::Apply, Fails::ApplyWithPanic, Fails::Sync, Fails::SyncWithPanic] {
        let house = House::new(&format!("{fails:?}"));
        block_on(async {
            house.store.commit_durably(put("a", "1")).await.unwrap();
            house.disk.fail(fails);
            assert!(is_fault(&house.store.commit_durably(put("b", "2")).await), "{fails:?}");
            // Mended or not: what the disk holds is not known any more.
            house.disk.fail(Fails::Never);
            let syncs = house.disk.0.lock().unwrap().syncs;
            assert!(is_fault(&house.store.commit(put("c", "3")).await), "{fails:?}");
            assert!(is_fault(&house.store.commit_durably(Batch::new()).await), "{fails:?}");
            assert_eq!(house.store.get(b"a").await.unwrap().unwrap(), "1");
            assert_eq!(house.store.scan(Range::prefix("c"), Page::rows(9)).await.unwrap().len(), 0);
            assert_eq!(house.disk.0.lock().unwrap().syncs, syncs, "no second try");
            assert!(house.store.close().await.is_err(), "closing does not call it well either");
        });
    }
}

#[test]
fn a_receipt_fails_when_the_sync_does() {
    let house = House::new("receipt");
    block_on(async {
        house.disk.fail(Fails::Sync);
        let receipt = house.store.commit(put("a", "1")).await.unwrap();
        assert_eq!(house.store.get(b"a").await.unwrap().unwrap(), "1", "visible, and not promised");
        assert!(receipt.durable().await.is_err());
    });
}

#[test]
fn a_panic_in_a_read_is_a_fault_of_that_read() {
    let house = House::new("read");
    block_on(async {
        house.store.commit_durably(put("a", "1")).await.unwrap();
        house.disk.fail(Fails::ReadWithPanic);
        assert!(house.store.get(b"a").await.is_err());
        house.disk.fail(Fails::Never);
        assert_eq!(house.store.get(b"a").await.unwrap().unwrap(), "1");
        house.store.commit_durably(put("b", "2")).await.unwrap();
    });
}

#[test]
fn a_barrier_costs_no_sync_when_all_is_durable() {
    let house = House::new("barrier");
    block_on(async {
        house.store.commit_durably(put("a", "1")).await.unwrap();
        for _ in 0..5 {
            house.store.commit_durably(Batch::new()).await.unwrap();
        }
        assert_eq!(house.disk.0.lock().unwrap().syncs, 1);
        // And waits for what is not.
        let _ = house.store.commit(put("a", "2")).await.unwrap();
        house.store.commit_durably(Batch::new()).await.unwrap();
        assert_eq!(house.disk.0.lock().unwrap().syncs, 2);
    });
}

#[test]
fn a_conflict_is_decided_against_what_the_same_group_did() {
    let house = House::new("group");
    block_on(async {
        let claims: Vec<_> = (0..100)
            .map(|_| {
                let mut batch = put("claim", "mine");
                batch.expect_absent("claim");
                house.store.commit(batch)
            })
            .collect();
        let mut won = 0;
        for claim in claims {
            won += usize::from(claim.await.is_ok());
        }
        assert_eq!(won, 1);
    });
}

#[test]
fn pieces_are_written_and_removed_with_their_row() {
    let house = House::new("pieces");
    block_on(async {
        for (value, pieces) in [("123456789", 0), ("1234567890", 2), ("1234567890123456789", 3), ("1", 0)] {
            house.store.commit_durably(put("k", value)).await.unwrap();
            assert_eq!(house.store.get(b"k").await.unwrap().unwrap(), value);
            let rows = house.disk.0.lock().unwrap().rows.len();
            assert_eq!(rows, pieces + 2, "{value}: the row, its pieces and the sequence");
        }
        house.store.commit_durably(put("k", "1234567890123456789")).await.unwrap();
        // One piece lost behind our back is noticed and not papered over.
        let lost = house.disk.0.lock().unwrap().rows.keys().rfind(|key| key[0] == 0xFF).cloned().unwrap();
        house.disk.0.lock().unwrap().rows.remove(&lost);
        assert!(house.store.scan(Range::all(), Page::rows(9)).await.is_err());
        assert_eq!(house.store.verify().await.unwrap().problems.len(), 1);
        house.disk.0.lock().unwrap().rows.remove(&b"k"[..]);
        assert_eq!(house.store.verify().await.unwrap().problems.len(), 2, "pieces without a row");
    });
}
