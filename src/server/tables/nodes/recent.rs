//! The newest items of a node, kept in memory: what almost everybody who reads a node wants.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use pubsub::Item;

/// Items kept of one node at most.
pub(super) const ITEMS_MAX: usize = 50;
/// Bytes of payload kept of one node at most; the newest item is kept whatever it weighs.
pub(super) const BYTES_MAX: usize = 128 * 1024;

/// An unbroken run of items up to the newest.
#[derive(Clone, Debug)]
pub struct Recent {
    items: VecDeque<Arc<Item>>,
    /// Every item after this position is here.
    after: u64,
    bytes: usize,
}

impl Recent {
    /// From items as they are found newest first; `is_all` says that there are no older ones.
    pub(super) fn new(newest_first: Vec<Item>, is_all: bool) -> Self {
        let oldest = newest_first.last().map_or(0, |item| item.sequence);
        let after = if is_all { 0 } else { oldest.saturating_sub(1) };
        let bytes = newest_first.iter().map(|item| item.payload.len()).sum();
        let mut recent = Self { items: newest_first.into_iter().rev().map(Arc::new).collect(), after, bytes };
        recent.make_room();
        recent
    }

    /// What it takes, roughly.
    pub(super) fn weight(&self) -> usize {
        self.bytes + self.items.len() * 256
    }

    /// Takes an item in, unless it is here: what is read from the store while a change is on its way may be as it is
    /// behind that change.
    pub(super) fn put(&mut self, item: Item) {
        let Err(at) = self.items.binary_search_by_key(&item.sequence, |item| item.sequence) else { return };
        if item.sequence > self.after {
            self.bytes += item.payload.len();
            self.items.insert(at, Arc::new(item));
            self.make_room();
        }
    }

    pub(super) fn drop_item(&mut self, sequence: u64) {
        if let Ok(at) = self.items.binary_search_by_key(&sequence, |item| item.sequence)
            && let Some(item) = self.items.remove(at)
        {
            self.bytes = self.bytes.saturating_sub(item.payload.len());
        }
    }

    /// Items up to this position are gone.
    pub(super) fn rise(&mut self, floor: u64) {
        while self.items.front().is_some_and(|item| item.sequence <= floor) {
            self.forget_oldest();
        }
        // There is nothing before what is here.
        if self.after <= floor {
            self.after = 0;
        }
    }

    /// What is here above a floor: almost always all of it.
    pub(super) fn above(&self, floor: u64) -> Cow<'_, Self> {
        let mut above = Cow::Borrowed(self);
        if self.items.front().is_some_and(|item| item.sequence <= floor) || (self.after > 0 && self.after <= floor) {
            above.to_mut().rise(floor);
        }
        above
    }

    fn forget_oldest(&mut self) {
        if let Some(item) = self.items.pop_front() {
            self.bytes = self.bytes.saturating_sub(item.payload.len());
            self.after = item.sequence;
        }
    }

    fn make_room(&mut self) {
        while self.items.len() > ITEMS_MAX || (self.bytes > BYTES_MAX && self.items.len() > 1) {
            self.forget_oldest();
        }
    }

    /// The item of that id, if it is here.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Arc<Item>> {
        self.items.iter().rev().find(|item| &*item.id == id)
    }

    /// How many items of the node stand before the one at a position, if that is known here.
    #[must_use]
    pub fn index_of(&self, sequence: u64) -> Option<u64> {
        let at = self.items.binary_search_by_key(&sequence, |item| item.sequence).ok()?;
        u64::try_from(at).ok().filter(|_| self.is_all())
    }

    /// Whether these are all items of the node.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.after == 0
    }

    /// The first `count` items after a position, if they are here.
    #[must_use]
    pub fn after(&self, sequence: u64, count: usize) -> Option<Vec<Arc<Item>>> {
        if sequence < self.after {
            return None;
        }
        let from = self.items.partition_point(|item| item.sequence <= sequence);
        Some(self.items.iter().skip(from).take(count).cloned().collect())
    }

    /// The last `count` items before a position (`None`: of all), in their order, if they are here.
    #[must_use]
    pub fn before(&self, sequence: Option<u64>, count: usize) -> Option<Vec<Arc<Item>>> {
        let to = sequence.map_or(self.items.len(), |end| self.items.partition_point(|item| item.sequence < end));
        if to < count && self.after > 0 {
            return None;
        }
        Some(self.items.iter().take(to).skip(to.saturating_sub(count)).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use pubsub::Timestamp;
    use std::collections::BTreeMap;

    fn item(sequence: u64) -> Item {
        Item {
            sequence,
            id: sequence.to_string().into(),
            publisher: xmpp::BareJid::new("juliet@capulet.lit").unwrap(),
            published: Timestamp(0),
            updated: Timestamp(0),
            payload: bytes::Bytes::from_static(b"<x xmlns='x'/>"),
        }
    }

    fn read(node: &BTreeMap<u64, Item>) -> Recent {
        let newest: Vec<Item> = node.values().rev().take(ITEMS_MAX).cloned().collect();
        let is_all = newest.len() == node.len();
        Recent::new(newest, is_all)
    }

    #[test]
    fn what_was_there_already_is_there_once() {
        let mut recent = Recent::new(vec![item(2), item(1)], true);
        recent.put(item(2));
        recent.drop_item(2);
        assert!(recent.find("2").is_none());
    }

    proptest! {
        #[test]
        fn what_it_answers_is_what_the_node_has(
            start in 0u64..120,
            // Of the changes, so many are in the store already when it is read.
            early in 0usize..4,
            steps in proptest::collection::vec((0u8..5, 0u64..200), 0..200),
            asks in proptest::collection::vec((0u64..260, 1usize..30), 10),
        ) {
            let mut node: BTreeMap<u64, Item> = (1..=start).map(|sequence| (sequence, item(sequence))).collect();
            let mut next = start;
            let mut taken = Vec::new();
            let mut recent = None;
            for (at, (what, which)) in steps.into_iter().enumerate() {
                if at == early {
                    recent = Some(read(&node));
                }
                match what {
                    0..3 => {
                        next += 1;
                        node.insert(next, item(next));
                        taken.push((0, next));
                    }
                    3 => {
                        node.remove(&which);
                        taken.push((1, which));
                    }
                    _ => {
                        let floor = which.min(next);
                        node.retain(|sequence, _| *sequence > floor);
                        taken.push((2, floor));
                    }
                }
            }
            let mut recent = recent.unwrap_or_else(|| read(&node));
            for (what, which) in taken {
                match what {
                    0 => recent.put(item(which)),
                    1 => recent.drop_item(which),
                    _ => recent.rise(which),
                }
            }
            let plain = |items: Vec<Arc<Item>>| items.iter().map(|item| item.sequence).collect::<Vec<_>>();
            for (position, count) in asks {
                if let Some(given) = recent.after(position, count) {
                    let right: Vec<u64> = node.keys().copied().filter(|key| *key > position).take(count).collect();
                    prop_assert_eq!(plain(given), right);
                }
                for end in [Some(position), None] {
                    if let Some(given) = recent.before(end, count) {
                        let mut right: Vec<u64> =
                            node.keys().rev().copied().filter(|key| end.is_none_or(|end| *key < end)).take(count).collect();
                        right.reverse();
                        prop_assert_eq!(plain(given), right);
                    }
                }
            }
        }
    }
}
