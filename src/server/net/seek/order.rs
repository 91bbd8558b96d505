//! The order in which places are tried: RFC 2782, "usage rules": strictly by priority, by lot among equals, each
//! with the chance its weight gives it.

use crate::runtime::Ids;

/// Sorts `all` by priority, and those of one priority by lot: `key` answers (priority, weight). At most 65536 records.
pub(super) fn sorted<T>(all: Vec<T>, key: impl Fn(&T) -> (u16, u16), ids: &dyn Ids) -> Vec<T> {
    let mut left = all;
    // Those without weight first, so that a lot of nothing falls on one of them: "a very small chance".
    left.sort_by_key(&key);
    let mut sorted = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let (priority, _) = key(first);
        let equals = left.iter().take_while(|record| key(record).0 == priority);
        let total: u64 = equals.clone().map(|record| u64::from(key(record).1)).sum();
        let lot = draw(ids, total);
        let mut running = 0;
        let chosen = equals.clone().position(|record| {
            running += u64::from(key(record).1);
            running >= lot
        });
        sorted.push(left.remove(chosen.unwrap_or(0)));
    }
    sorted
}

/// A number from 0 to `most`, each equally likely to within one in 2^40.
fn draw(ids: &dyn Ids, most: u64) -> u64 {
    let mut bytes = [0; 8];
    ids.fill(&mut bytes);
    u64::from_le_bytes(bytes) % (most + 1)
}
