//! Many at once: who wins, what a reader may see in between, and what happens when too much waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use store::{CommitError, KeyBuilder, Page, counter};

use crate::{House, batch, block_on};

pub(crate) async fn one_of_many_wins_each_version(house: House) {
    let store = &house.store;
    let racer = async |name: u64| {
        let mut won = 0;
        while won < 25 {
            let row = store.get(b"row").await.unwrap();
            let version = store::version(row.as_deref()).unwrap();
            let next = [(version + 1).to_be_bytes(), name.to_be_bytes()].concat();
            let log = KeyBuilder::new(2).u64(version + 1).build();
            let commit = store.commit(batch(|b| {
                b.expect_version("row", version)
                    .expect_absent(log.clone())
                    .put("row", next)
                    .put(log, name.to_be_bytes().to_vec());
            }));
            match commit.await {
                Ok(receipt) => {
                    won += 1;
                    if won % 5 == 0 {
                        receipt.durable().await.unwrap();
                    }
                }
                Err(CommitError::Conflict(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    std::thread::scope(|threads| {
        for name in 0..8 {
            let racer = &racer;
            threads.spawn(move || block_on(racer(name)));
        }
    });
    let log = house.store.scan(KeyBuilder::new(2).range(), Page::rows(1000)).await.unwrap();
    assert_eq!(log.len(), 8 * 25);
    assert_eq!(store::version(house.get("row").await.as_deref()), Some(8 * 25));
}

pub(crate) async fn counting_never_conflicts(house: House) {
    std::thread::scope(|threads| {
        for _ in 0..8 {
            let store = Arc::clone(&house.store);
            threads.spawn(move || {
                block_on(async {
                    for _ in 0..50 {
                        let _ = store
                            .commit(batch(|b| {
                                b.add("n", 1);
                            }))
                            .await
                            .unwrap();
                    }
                });
            });
        }
    });
    assert_eq!(counter(house.get("n").await.as_deref()), Some(400));
}

pub(crate) async fn a_page_is_one_moment(house: House) {
    let rows = 60u32;
    let key = |n: u32| KeyBuilder::new(3).u32(n).build();
    let paint = |colour: u32| {
        batch(|b| {
            for n in 0..rows {
                b.put(key(n), vec![colour as u8; 20]);
            }
        })
    };
    house.commit(paint(0)).await.unwrap();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        for reverse in [false, true] {
            let (store, is_done) = (&house.store, &is_done);
            threads.spawn(move || {
                block_on(async {
                    while !is_done.load(Ordering::Relaxed) {
                        let range = KeyBuilder::new(3).range();
                        let range = if reverse { range.reversed() } else { range };
                        let page = store.scan(range, Page::rows(100)).await.unwrap();
                        assert_eq!(page.len(), rows as usize);
                        let first = page[0].1.clone();
                        assert!(page.iter().all(|(_, value)| *value == first), "a torn page");
                    }
                });
            });
        }
        let (store, is_done) = (&house.store, &is_done);
        threads.spawn(move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                block_on(async {
                    for colour in 1..200 {
                        let _ = store.commit(paint(colour)).await.unwrap();
                    }
                });
            }));
            is_done.store(true, Ordering::Relaxed);
            outcome.unwrap();
        });
    });
}

pub(crate) async fn more_than_the_queue_holds_waits_its_turn(house: House) {
    // Some 20 MiB at once through a queue of 8.
    let commits: Vec<_> = (0..300u32)
        .map(|n| {
            house.store.commit_durably(batch(|b| {
                b.put(n.to_be_bytes().map(|x| x.min(200)).to_vec(), vec![n as u8; 70_000]);
            }))
        })
        .collect();
    for commit in commits {
        commit.await.unwrap();
    }
    let reads: Vec<_> = (0..9000u32).map(|n| house.store.get(&(n % 300).to_be_bytes().map(|x| x.min(200)))).collect();
    for read in reads {
        assert_eq!(read.await.unwrap().unwrap().len(), 70_000);
    }
}
