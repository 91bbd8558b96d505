//! Large values, large batches, whole stores.

use store::{CommitError, Engine, KeyBuilder, Page, Range};

use crate::{House, batch};

pub(crate) async fn bounds_are_kept(house: House) {
    let refused = [
        (
            batch(|b| {
                b.put("", "v");
            }),
            "BadKey",
        ),
        (
            batch(|b| {
                b.put(vec![b'k'; store::KEY_BYTES_MAX + 1], "v");
            }),
            "BadKey",
        ),
        (
            batch(|b| {
                b.put(vec![store::TABLE_MAX], "v");
            }),
            "BadKey",
        ),
        (
            batch(|b| {
                b.delete(vec![0xFF]);
            }),
            "BadKey",
        ),
        (
            batch(|b| {
                b.delete_range("a", vec![0xFF]);
            }),
            "BadKey",
        ),
        (
            batch(|b| {
                b.put("k", vec![0; store::VALUE_BYTES_MAX + 1]);
            }),
            "TooBig",
        ),
        (
            batch(|b| {
                for n in 0..5u8 {
                    b.put(vec![n + 1], vec![0; store::VALUE_BYTES_MAX]);
                }
            }),
            "TooBig",
        ),
        (
            batch(|b| {
                for n in 0..=store::BATCH_CHANGES_MAX as u32 {
                    b.delete(n.to_le_bytes().to_vec());
                }
            }),
            "TooBig",
        ),
    ];
    for (number, (batch, name)) in refused.into_iter().enumerate() {
        let error = house.commit(batch).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(name), "line {number}: {error:?}");
    }
    let last = KeyBuilder::new(store::TABLE_MAX - 1).fixed(&vec![0xFF; store::KEY_BYTES_MAX - 1]).build();
    house
        .commit(batch(|b| {
            b.put(last.clone(), vec![1; store::VALUE_BYTES_MAX]);
        }))
        .await
        .unwrap();
    assert_eq!(house.store.get(&last).await.unwrap().unwrap().len(), store::VALUE_BYTES_MAX);
    let all = house.store.scan(Range::all(), Page::rows(9)).await.unwrap();
    assert_eq!((all.len(), all.is_complete), (1, true), "the store's own rows are not shown");
    assert_eq!(house.store.get(&[0xFE, b's']).await.unwrap(), None);
    // A range may not hide a long piece of work.
    for from in (0..=store::RANGE_ROWS_MAX as u32).step_by(1000) {
        let to = (from + 1000).min(store::RANGE_ROWS_MAX as u32 + 1);
        house
            .commit(batch(|b| {
                for n in from..to {
                    b.put([b"z".as_slice(), &n.to_be_bytes()].concat(), "");
                }
            }))
            .await
            .unwrap();
    }
    let error = house
        .commit(batch(|b| {
            b.put("x", "").delete_range("z", "{");
        }))
        .await
        .unwrap_err();
    assert!(matches!(error, CommitError::TooBig(_)));
    assert_eq!(house.get("x").await, None);
    house
        .commit(batch(|b| {
            b.delete([b"z".as_slice(), &[0; 4]].concat());
        }))
        .await
        .unwrap();
    house
        .commit(batch(|b| {
            b.delete_range("z", "{");
        }))
        .await
        .unwrap();
    assert!(house.keys(Range::prefix("z")).await.is_empty());
}

pub(crate) async fn values_of_any_size_come_back_whole(mut house: House) {
    let sizes = [0, 1, 4094, 4095, 4096, 4097, 8190, 8191, 100_000, 1 << 20];
    let value = |size: usize, seed: usize| -> Vec<u8> { (0..size).map(|n| ((n * 31 + seed) % 251) as u8).collect() };
    for (before, &size) in sizes.iter().enumerate() {
        for &next in &sizes[before.saturating_sub(3)..] {
            if next > 100_000 && size != 0 {
                continue;
            }
            house
                .commit(batch(|b| {
                    b.put("k", value(size, 1)).put("k2", value(next, 5));
                }))
                .await
                .unwrap();
            assert_eq!(house.get("k").await.unwrap(), value(size, 1), "{size}");
            house
                .commit(batch(|b| {
                    b.put("k", value(next, 2));
                }))
                .await
                .unwrap();
            assert_eq!(house.get("k").await.unwrap(), value(next, 2), "{size} then {next}");
            let rows = house.store.scan(Range::prefix("k").reversed(), Page::rows(5)).await.unwrap();
            let rows: Vec<_> = rows.into_iter().map(|(_, value)| value.to_vec()).collect();
            if next <= 100_000 {
                assert_eq!(rows, [value(next, 5), value(next, 2)]);
            }
            house.sound().await;
        }
    }
    house
        .commit(batch(|b| {
            b.put("k", value(50_000, 3));
        }))
        .await
        .unwrap();
    house.reopen().await;
    assert_eq!(house.get("k").await.unwrap(), value(50_000, 3));
    house
        .commit(batch(|b| {
            b.delete("k").delete_range("k2", "k3");
        }))
        .await
        .unwrap();
    house.sound().await;
    let report = house.store.verify().await.unwrap();
    assert_eq!((report.rows, report.bytes), (0, 0));
}

pub(crate) async fn a_copy_has_every_row(house: House) {
    for n in 0..700u32 {
        let key = KeyBuilder::new(1 + (n % 3) as u8).str("node").u32(n).build();
        let _ = house
            .store
            .commit(batch(|b| {
                b.put(key, vec![n as u8; (n as usize * 97) % 9000]);
            }))
            .await
            .unwrap();
    }
    let all = house.store.scan(Range::all(), Page::rows(1000).bytes(usize::MAX)).await.unwrap();
    for engine in Engine::ALL {
        let mut other = House::new(engine);
        let copied = store::copy(&*house.store, &*other.store).await.unwrap();
        assert_eq!(copied.rows, 700);
        other.reopen().await;
        let there = other.store.scan(Range::all(), Page::rows(1000).bytes(usize::MAX)).await.unwrap();
        assert_eq!(there, all, "to {engine}");
        assert!(store::copy(&*house.store, &*other.store).await.is_err(), "not over something");
        other.sound().await;
    }
}
