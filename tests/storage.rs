//! One specification of the store, run over every engine.
//!
//! Each check is an async function over a [`House`], which can be closed and opened again; the macro at the end
//! runs it on memory, sled and fjall. What only concerns directories on disk is in `storage/disk.rs`, what only
//! concerns the strings of the memory engine in `storage/memory.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "storage/bulk.rs"]
mod bulk;
#[path = "storage/disk.rs"]
mod disk;
#[path = "storage/memory.rs"]
mod memory;
#[path = "storage/model.rs"]
mod model;
#[path = "storage/races.rs"]
mod races;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bulk::*;
use bytes::Bytes;
use races::*;
use store::memory::Control;
use store::{Batch, CommitError, Engine, KeyBuilder, Memory, Options, Page, Range, Receipt, Store, counter};

/// A store that can be closed and opened again.
struct House {
    engine: Engine,
    dir: PathBuf,
    control: Option<Control>,
    store: Arc<dyn Store>,
}

static HOUSES: AtomicU64 = AtomicU64::new(0);

fn fresh_dir() -> PathBuf {
    let number = HOUSES.fetch_add(1, Ordering::Relaxed);
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("store-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

fn small() -> Options {
    Options { engine_cache_bytes: 8 << 20, row_cache_bytes: 64 * 1024, reader_threads: 2 }
}

impl House {
    fn new(engine: Engine) -> Self {
        let dir = fresh_dir();
        if engine == Engine::Memory {
            let memory = Memory::new();
            return Self { engine, dir, control: Some(memory.control()), store: Arc::new(memory) };
        }
        let store = store::open(engine, &dir, &small()).unwrap();
        Self { engine, dir, control: None, store }
    }

    async fn reopen(&mut self) {
        self.store.close().await.unwrap();
        self.store = match &self.control {
            Some(control) => Arc::new(control.open()),
            None => store::open(self.engine, &self.dir, &small()).unwrap(),
        };
    }

    async fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.store.get(key.as_bytes()).await.unwrap().map(|value| value.to_vec())
    }

    async fn keys(&self, range: Range) -> Vec<String> {
        let rows = self.store.scan(range, Page::rows(1000)).await.unwrap();
        assert!(rows.is_complete);
        rows.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect()
    }

    async fn put(&self, pairs: &[(&'static str, &'static str)]) {
        let mut batch = Batch::new();
        for (key, value) in pairs {
            batch.put(*key, *value);
        }
        self.commit(batch).await.unwrap();
    }

    async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.store.commit_durably(batch).await
    }

    async fn sound(&self) {
        let report = self.store.verify().await.unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn batch(make: impl FnOnce(&mut Batch)) -> Batch {
    let mut batch = Batch::new();
    make(&mut batch);
    batch
}

async fn what_is_put_can_be_read(house: House) {
    assert_eq!(house.get("a").await, None);
    house.put(&[("a", "1"), ("b", "")]).await;
    assert_eq!(house.get("a").await.unwrap(), b"1");
    assert_eq!(house.get("b").await.unwrap(), b"");
    house.put(&[("a", "2")]).await;
    assert_eq!(house.get("a").await.unwrap(), b"2");
    house
        .commit(batch(|b| {
            b.delete("a").delete("never");
        }))
        .await
        .unwrap();
    assert_eq!(house.get("a").await, None);
}

async fn applied_is_visible_and_then_durable(house: House) {
    let mut receipts: Vec<Receipt> = Vec::new();
    for n in 0..20u32 {
        let key = format!("k{n}");
        // Known to be absent, so that a cache would have to notice.
        assert_eq!(house.get(&key).await, None);
        receipts.push(
            house
                .store
                .commit(batch(|b| {
                    b.put(key.clone(), "v");
                }))
                .await
                .unwrap(),
        );
        assert_eq!(house.get(&key).await.unwrap(), b"v", "visible as soon as commit resolves");
    }
    assert!(receipts.windows(2).all(|pair| pair[0].sequence() < pair[1].sequence()));
    for receipt in receipts {
        receipt.durable().await.unwrap();
    }
    assert_eq!(house.store.stats().commits, 20);
}

async fn scans_are_ordered_bounded_and_reversible(house: House) {
    house.put(&[("b", "2"), ("a", "1"), ("c", "3"), ("ab", "x"), ("b\u{0}", "y")]).await;
    assert_eq!(house.keys(Range::all()).await, ["a", "ab", "b", "b\u{0}", "c"]);
    assert_eq!(house.keys(Range::all().reversed()).await, ["c", "b\u{0}", "b", "ab", "a"]);
    assert_eq!(house.keys(Range::prefix("a")).await, ["a", "ab"]);
    assert_eq!(house.keys(Range::between("ab", "c")).await, ["ab", "b", "b\u{0}"]);
    assert_eq!(house.keys(Range::between("ab", "c").reversed()).await, ["b\u{0}", "b", "ab"]);
    assert_eq!(house.keys(Range::all().after(b"b")).await, ["b\u{0}", "c"]);
    assert_eq!(house.keys(Range::all().before(b"b")).await, ["a", "ab"]);
    assert_eq!(house.keys(Range::between("c", "a")).await, [""; 0]);
    assert_eq!(house.keys(Range::between("x", "y")).await, [""; 0]);
    // A page, and on from where it ended, in both directions.
    for reverse in [false, true] {
        let mut range = if reverse { Range::all().reversed() } else { Range::all() };
        let mut seen = Vec::new();
        loop {
            let page = house.store.scan(range.clone(), Page::rows(2)).await.unwrap();
            assert!(page.len() <= 2);
            seen.extend(page.iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()));
            match page.last() {
                Some((last, _)) if !page.is_complete => range = range.past(last),
                _ => break,
            }
        }
        let mut expected = vec!["a", "ab", "b", "b\u{0}", "c"];
        if reverse {
            expected.reverse();
        }
        assert_eq!(seen, expected);
    }
    let exact = house.store.scan(Range::all(), Page::rows(5)).await.unwrap();
    assert!(exact.is_complete && exact.len() == 5);
    let none = house.store.scan(Range::all(), Page::rows(0)).await.unwrap();
    assert!(!none.is_complete && none.is_empty());
}

async fn a_page_is_bounded_in_bytes_and_never_empty_for_it(house: House) {
    house
        .commit(batch(|b| {
            b.put("a", vec![1; 100]).put("b", vec![2; 100]).put("c", vec![3; 100]);
        }))
        .await
        .unwrap();
    for (bytes_max, rows) in [(0, 1), (101, 1), (201, 1), (202, 2), (303, 3), (1000, 3)] {
        let page = house.store.scan(Range::all(), Page::rows(10).bytes(bytes_max)).await.unwrap();
        assert_eq!((page.len(), page.is_complete), (rows, rows == 3), "{bytes_max} bytes");
    }
}

async fn a_failed_expectation_changes_nothing(house: House) {
    let versioned = [7u64.to_be_bytes().as_slice(), b"rest"].concat();
    house
        .commit(batch(|b| {
            b.put("row", "value").put("versioned", versioned).put("short", "v");
        }))
        .await
        .unwrap();
    type Make = fn(&mut Batch);
    let table: [(bool, &str, Make); 15] = [
        (true, "row", |b| {
            b.expect_present("row");
        }),
        (false, "none", |b| {
            b.expect_present("none");
        }),
        (true, "none", |b| {
            b.expect_absent("none");
        }),
        (false, "row", |b| {
            b.expect_absent("row");
        }),
        (true, "row", |b| {
            b.expect_value("row", "value");
        }),
        (false, "row", |b| {
            b.expect_value("row", "valu");
        }),
        (false, "none", |b| {
            b.expect_value("none", "");
        }),
        (true, "versioned", |b| {
            b.expect_version("versioned", 7);
        }),
        (false, "versioned", |b| {
            b.expect_version("versioned", 6);
        }),
        (false, "versioned", |b| {
            b.expect_version("versioned", 0);
        }),
        (true, "none", |b| {
            b.expect_version("none", 0);
        }),
        (false, "none", |b| {
            b.expect_version("none", 1);
        }),
        (false, "short", |b| {
            b.expect_version("short", 0);
        }),
        (false, "none", |b| {
            b.expect_present("row").expect_present("none").expect_absent("x");
        }),
        (false, "short", |b| {
            b.put("x", "1").add("short", 1);
        }),
    ];
    for (number, (holds, key, make)) in table.into_iter().enumerate() {
        let made = format!("made{number}");
        let outcome = house
            .commit(batch(|b| {
                make(b);
                b.put(made.clone(), "1").delete("row2");
            }))
            .await;
        if holds {
            assert_eq!(outcome, Ok(()), "line {number}");
        } else {
            assert_eq!(outcome, Err(CommitError::Conflict(Bytes::from(key))), "line {number}");
        }
        assert_eq!(house.get(&made).await.is_some(), holds, "line {number}");
    }
    assert_eq!(house.get("x").await, None);
    assert_eq!(house.get("short").await.unwrap(), b"v");
}

async fn changes_are_made_in_order(house: House) {
    house.put(&[("r1", "1"), ("r2", "2"), ("r3", "3"), ("s", "4")]).await;
    house
        .commit(batch(|b| {
            b.put("a", "1").delete("a").put("a", "2");
            b.put("b", "1").delete("b");
            b.put("r9", "new").delete_range("r2", "s").put("r3", "again");
            b.add("n", 5).add("n", -7).put("m", 40i64.to_be_bytes().to_vec()).add("m", 2);
            // An expectation looks at what was before all of this.
            b.expect_absent("a").expect_value("r3", "3");
        }))
        .await
        .unwrap();
    assert_eq!(house.get("a").await.unwrap(), b"2");
    assert_eq!(house.get("b").await, None);
    assert_eq!(house.keys(Range::prefix("r")).await, ["r1", "r3"]);
    assert_eq!(house.get("r3").await.unwrap(), b"again");
    assert_eq!(house.get("s").await.unwrap(), b"4");
    assert_eq!(counter(house.get("n").await.as_deref()), Some(-2));
    assert_eq!(counter(house.get("m").await.as_deref()), Some(42));
    house
        .commit(batch(|b| {
            b.add("n", i64::MAX).add("n", i64::MAX);
        }))
        .await
        .unwrap();
    assert_eq!(counter(house.get("n").await.as_deref()), Some(i64::MAX));
}

async fn everything_survives_reopening(mut house: House) {
    let mut commits = 0;
    for round in 0..5u32 {
        for n in 0..40u32 {
            let key = KeyBuilder::new(1).u32(round).u32(n).build();
            let previous = KeyBuilder::new(1).u32(round).u32(n.saturating_sub(2)).build();
            let receipt = house
                .store
                .commit(batch(|b| {
                    b.delete(previous).put(key, vec![9; 700]).add("n", 1);
                }))
                .await
                .unwrap();
            commits += 1;
            assert_eq!(receipt.sequence(), commits, "numbers go on where they were");
            // Nobody waits for most of them: closing makes them durable.
            if n == 17 {
                receipt.durable().await.unwrap();
            }
        }
        house.reopen().await;
        assert_eq!(counter(house.get("n").await.as_deref()), Some(i64::from(round + 1) * 40));
        let rows = house.store.scan(KeyBuilder::new(1).u32(round).range(), Page::rows(100)).await.unwrap();
        assert_eq!(rows.len(), 2);
        // A barrier changes nothing, and does not get ahead of the engine either.
        house.commit(Batch::new()).await.unwrap();
    }
    house.sound().await;
}

async fn a_closed_store_says_so(house: House) {
    house.put(&[("a", "1")]).await;
    assert!(house.get("a").await.is_some(), "known from here on");
    let late = house
        .store
        .commit(batch(|b| {
            b.put("b", "2");
        }))
        .await
        .unwrap();
    house.store.close().await.unwrap();
    late.durable().await.unwrap();
    assert!(house.store.get(b"a").await.is_err());
    assert!(house.store.get(b"c").await.is_err());
    assert!(house.store.scan(Range::all(), Page::rows(1)).await.is_err());
    assert!(matches!(house.commit(Batch::new()).await, Err(CommitError::Fault(_))));
    assert!(matches!(house.store.commit(Batch::new()).await, Err(CommitError::Fault(_))));
    house.store.close().await.unwrap();
    assert!(house.store.verify().await.is_err());
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

macro_rules! specification {
    ($($check:ident),* $(,)?) => {
        specification!(@engine memory_engine, Memory, $($check),*);
        specification!(@engine sled_engine, Sled, $($check),*);
        specification!(@engine fjall_engine, Fjall, $($check),*);
    };
    (@engine $module:ident, $engine:ident, $($check:ident),*) => {
        mod $module {
            use super::{Engine, House};
            $(#[test]
            fn $check() {
                super::block_on(super::$check(House::new(Engine::$engine)));
            })*
            #[test]
            fn behaves_as_the_model() {
                super::model::run(Engine::$engine);
            }
        }
    };
}

specification!(
    what_is_put_can_be_read,
    applied_is_visible_and_then_durable,
    scans_are_ordered_bounded_and_reversible,
    a_page_is_bounded_in_bytes_and_never_empty_for_it,
    a_failed_expectation_changes_nothing,
    changes_are_made_in_order,
    bounds_are_kept,
    values_of_any_size_come_back_whole,
    everything_survives_reopening,
    one_of_many_wins_each_version,
    counting_never_conflicts,
    a_page_is_one_moment,
    more_than_the_queue_holds_waits_its_turn,
    a_closed_store_says_so,
    a_copy_has_every_row,
);
