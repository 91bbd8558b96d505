//! Places, what is known of remote nodes, and room.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn ids_are_read_back_and_ordered(
        a in (0u64..1 << 44, any::<u64>(), 0u64..1 << 40),
        b in (0u64..1 << 44, any::<u64>(), 0u64..1 << 40),
    ) {
        let place = |(time, source, sequence)| Place { time, source, sequence };
        let (a, b) = (place(a), place(b));
        prop_assert_eq!(Place::parse(&a.id()), Some(a));
        prop_assert_eq!(a.cmp(&b), a.id().cmp(&b.id()));
    }

    #[test]
    fn anything_may_be_asked_for(id in "\\PC{0,60}|[0-9a-f]{30,60}") {
        if let Some(place) = Place::parse(&id) {
            prop_assert_eq!(place.id(), id);
        }
    }

    #[test]
    fn what_was_put_is_known_and_nothing_else(puts in proptest::collection::vec(1u64..600, 1..60)) {
        let (mut known, mut model) = (Known::default(), BTreeSet::new());
        for sequence in puts {
            known.put(sequence);
            model.insert(sequence);
            let newest = *model.last().unwrap();
            for asked in newest.saturating_sub(KNOWN).max(1)..=newest + 2 {
                // One put late, when it was already too far behind, counts as known anyway.
                if newest - asked.min(newest) < KNOWN {
                    prop_assert_eq!(known.has(asked), model.contains(&asked), "{} of {:?}", asked, model);
                }
            }
        }
    }
}

fn place(time: u64) -> Place {
    Place { time, source: 7, sequence: time }
}

async fn put(timelines: &Timelines, account: &str, times: std::ops::Range<u64>) {
    let mut batch = Batch::new();
    for time in times {
        Timelines::put(&mut batch, account, &place(time));
    }
    timelines.commit(batch).await.unwrap().durable().await.unwrap();
}

async fn times(timelines: &Timelines, account: &str) -> Vec<u64> {
    let (places, is_complete) = timelines.places(account, None, false, 10_000).await.unwrap();
    assert!(is_complete);
    places.iter().map(|place| place.time).collect()
}

#[tokio::test]
async fn a_timeline_is_read_both_ways_and_its_neighbours_are_not() {
    let timelines = Timelines::new(Arc::new(store::Memory::new()));
    put(&timelines, "a@x", 1..6).await;
    put(&timelines, "a@x.example", 10..12).await;
    let read = async |bound: Option<u64>, is_backwards, rows| {
        let (places, is_complete) = timelines.places("a@x", bound.map(place), is_backwards, rows).await.unwrap();
        (places.iter().map(|place| place.time).collect::<Vec<_>>(), is_complete)
    };
    assert_eq!(read(None, true, 2).await, (vec![5, 4], false));
    assert_eq!(read(Some(4), true, 9).await, (vec![3, 2, 1], true));
    assert_eq!(read(Some(4), false, 9).await, (vec![5], true));
    assert_eq!(read(Some(9), false, 9).await, (vec![], true));
}

#[tokio::test]
async fn the_oldest_make_room_and_what_is_too_old_goes() {
    let timelines = Timelines::new(Arc::new(store::Memory::new()));
    let kept = |entries_max, since| Kept { entries_max, since, settled: u64::MAX };
    put(&timelines, "a@x", 1..6).await;
    timelines.trim("a@x", kept(3, 0)).await.unwrap();
    assert_eq!(times(&timelines, "a@x").await, [3, 4, 5]);
    put(&timelines, "a@x", 6..8).await;
    timelines.trim("a@x", kept(3, 0)).await.unwrap();
    assert_eq!(times(&timelines, "a@x").await, [5, 6, 7]);
    timelines.trim("a@x", kept(3, 7)).await.unwrap();
    assert_eq!(times(&timelines, "a@x").await, [7]);
    put(&timelines, "a@x", 10..3_000).await;
    timelines.trim("a@x", kept(3, 0)).await.unwrap();
    assert_eq!(times(&timelines, "a@x").await, [2_997, 2_998, 2_999]);
    timelines.delete("a@x").await.unwrap();
    assert!(times(&timelines, "a@x").await.is_empty());
}

#[tokio::test]
async fn what_comes_late_is_counted_and_what_is_too_much_is_known_before_it_goes() {
    let timelines = Timelines::new(Arc::new(store::Memory::new()));
    let kept = |entries_max, settled| Kept { entries_max, since: 0, settled };
    put(&timelines, "a@x", 1..5).await;
    put(&timelines, "a@x", 6..8).await;
    timelines.trim("a@x", kept(9, 5)).await.unwrap();
    // It had its place before, and its followers are many.
    put(&timelines, "a@x", 5..6).await;
    assert_eq!(timelines.surplus("a@x", kept(7, 9)).await.unwrap(), None);
    assert_eq!(timelines.surplus("a@x", kept(4, 9)).await.unwrap(), Some(place(3)));
    assert_eq!(timelines.surplus("a@x", kept(6, 5)).await.unwrap(), Some(place(1)), "all are counted");
    timelines.trim("a@x", kept(4, 9)).await.unwrap();
    assert_eq!(times(&timelines, "a@x").await, [4, 5, 6, 7]);
    assert_eq!(timelines.surplus("a@x", kept(4, 9)).await.unwrap(), None);
    put(&timelines, "a@x", 10..3_000).await;
    assert_eq!(timelines.surplus("a@x", kept(4, 9_999)).await.unwrap(), None, "as much as that goes at once");
    assert_eq!(times(&timelines, "a@x").await, [2_996, 2_997, 2_998, 2_999]);
    put(&timelines, "b@x", 20..25).await;
    put(&timelines, "b@x.example", 30..35).await;
    let (mut found, mut after) = (Vec::new(), None);
    while let Some((account, oldest)) = timelines.next(after.as_deref()).await.unwrap() {
        found.push((account.to_string(), oldest.time));
        after = Some(account);
    }
    assert_eq!(found, [("a@x".to_owned(), 2_996), ("b@x".to_owned(), 20), ("b@x.example".to_owned(), 30)]);
}
