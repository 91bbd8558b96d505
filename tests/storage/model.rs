//! Random histories, compared with an ordered map after every step.

use std::collections::BTreeMap;

use proptest::prelude::*;
use store::{Batch, CommitError, Engine, Page, Range, Receipt, counter, version};

use crate::{House, block_on};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Part>),
    Get(Vec<u8>),
    Scan { from: Vec<u8>, to: Vec<u8>, reverse: bool, rows_max: usize, bytes_max: usize },
    Reopen,
}

#[derive(Clone, Debug)]
enum Part {
    Put(Vec<u8>, usize, u8),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
    Add(Vec<u8>, i64),
    ExpectAbsent(Vec<u8>),
    ExpectPresent(Vec<u8>),
    ExpectVersion(Vec<u8>, u64),
    ExpectCurrent(Vec<u8>),
}

fn value(size: usize, seed: u8) -> Vec<u8> {
    (0..size).map(|n| (n as u8).wrapping_mul(7).wrapping_add(seed)).collect()
}

fn keys() -> impl Strategy<Value = Vec<u8>> + Clone {
    // Few and alike, so that histories meet.
    proptest::collection::vec(prop_oneof![Just(1u8), Just(2), Just(0xEF)], 1..4)
}

fn parts() -> impl Strategy<Value = Part> {
    let size = prop_oneof![6 => 0usize..40, 1 => Just(8usize), 1 => 4090usize..4100, 1 => 8000usize..20_000];
    prop_oneof![
        6 => (keys(), size, any::<u8>()).prop_map(|(key, size, seed)| Part::Put(key, size, seed)),
        2 => keys().prop_map(Part::Delete),
        1 => (keys(), keys()).prop_map(|(from, to)| Part::DeleteRange(from, to)),
        2 => (keys(), -3i64..4).prop_map(|(key, delta)| Part::Add(key, delta)),
        1 => keys().prop_map(Part::ExpectAbsent),
        1 => keys().prop_map(Part::ExpectPresent),
        1 => (keys(), 0u64..2).prop_map(|(key, version)| Part::ExpectVersion(key, version)),
        1 => keys().prop_map(Part::ExpectCurrent),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::collection::vec(parts(), 0..6).prop_map(Step::Commit),
        3 => keys().prop_map(Step::Get),
        4 => (keys(), keys(), any::<bool>(), 0usize..12, prop_oneof![Just(usize::MAX), 0usize..9000])
            .prop_map(|(from, to, reverse, rows_max, bytes_max)| Step::Scan { from, to, reverse, rows_max, bytes_max }),
        1 => Just(Step::Reopen),
    ]
}

/// What the specification says happens: the new map, or the key in conflict.
fn expected(parts: &[Part], model: &Model) -> Result<Model, Vec<u8>> {
    for part in parts {
        let (key, holds) = match part {
            Part::ExpectAbsent(key) => (key, !model.contains_key(key)),
            Part::ExpectPresent(key) => (key, model.contains_key(key)),
            Part::ExpectVersion(key, expected) => (key, version(model.get(key).map(Vec::as_slice)) == Some(*expected)),
            Part::ExpectCurrent(key) => (key, model.contains_key(key)),
            _ => continue,
        };
        if !holds {
            return Err(key.clone());
        }
    }
    let mut next = model.clone();
    for part in parts {
        match part {
            Part::Put(key, size, seed) => drop(next.insert(key.clone(), value(*size, *seed))),
            Part::Delete(key) => drop(next.remove(key)),
            Part::DeleteRange(from, to) => next.retain(|key, _| key < from || key >= to),
            Part::Add(key, delta) => {
                let Some(count) = counter(next.get(key).map(Vec::as_slice)) else { return Err(key.clone()) };
                next.insert(key.clone(), count.saturating_add(*delta).to_be_bytes().to_vec());
            }
            _ => {}
        }
    }
    Ok(next)
}

fn batch(parts: &[Part], model: &Model) -> Batch {
    let mut batch = Batch::new();
    for part in parts.iter().cloned() {
        match part {
            Part::Put(key, size, seed) => batch.put(key, value(size, seed)),
            Part::Delete(key) => batch.delete(key),
            Part::DeleteRange(from, to) => batch.delete_range(from, to),
            Part::Add(key, delta) => batch.add(key, delta),
            Part::ExpectAbsent(key) => batch.expect_absent(key),
            Part::ExpectPresent(key) => batch.expect_present(key),
            Part::ExpectVersion(key, version) => batch.expect_version(key, version),
            Part::ExpectCurrent(key) => {
                let current = model.get(&key).cloned().unwrap_or_default();
                batch.expect_value(key, current)
            }
        };
    }
    batch
}

async fn live(engine: Engine, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut house = House::new(engine);
    let mut model = Model::new();
    let mut last: Option<Receipt> = None;
    for step in steps {
        match step {
            Step::Commit(parts) => {
                let outcome = house.store.commit(batch(&parts, &model)).await;
                match (expected(&parts, &model), outcome) {
                    (Ok(next), Ok(receipt)) => {
                        model = next;
                        last = Some(receipt);
                    }
                    (Err(key), Err(CommitError::Conflict(found))) => prop_assert_eq!(key, found.to_vec()),
                    (expected, found) => prop_assert!(false, "expected {:?}, found {:?}", expected.map(|_| ()), found),
                }
            }
            Step::Get(key) => {
                let found = house.store.get(&key).await.unwrap().map(|value| value.to_vec());
                prop_assert_eq!(found.as_ref(), model.get(&key));
            }
            Step::Scan { from, to, reverse, rows_max, bytes_max } => {
                let mut rows: Vec<_> = model.iter().filter(|(key, _)| **key >= from && **key < to).collect();
                let mut range = Range::between(from, to);
                if reverse {
                    rows.reverse();
                    range = range.reversed();
                }
                let mut bytes = 0;
                let all = rows.len();
                let mut page = Vec::new();
                for (key, value) in rows {
                    bytes += key.len() + value.len();
                    if page.len() == rows_max || (bytes > bytes_max && !page.is_empty()) {
                        break;
                    }
                    page.push((key.clone(), value.clone()));
                }
                let found = house.store.scan(range, Page { rows_max, bytes_max }).await.unwrap();
                prop_assert_eq!(found.is_complete, page.len() == all);
                let found: Vec<_> = found.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
                prop_assert_eq!(found, page);
            }
            Step::Reopen => house.reopen().await,
        }
    }
    if let Some(receipt) = last {
        prop_assert!(receipt.durable().await.is_ok());
    }
    let report = house.store.verify().await.unwrap();
    prop_assert!(report.problems.is_empty(), "{:?}", report.problems);
    prop_assert_eq!(report.rows as usize, model.len());
    Ok(())
}

pub(crate) fn run(engine: Engine) {
    let cases = if engine == Engine::Memory { 256 } else { 40 };
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner.run(&proptest::collection::vec(steps(), 1..60), |steps| block_on(live(engine, steps))).unwrap();
}
