//! Items that services elsewhere were asked for, on their way into timelines: those of one service for one account are
//! taken one answer after the other, in the order in which the answers came.
//!
//! A lane handles what follows an answer without waiting for what becomes of it, so two answers would be in a race.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use xmpp::BareJid;

use super::copies::Sent;

/// Whom the answers are for, and from.
pub(super) type Pair = (BareJid, BareJid);

/// What an answer had of a node.
pub(super) struct Answer {
    pub(super) node: Box<str>,
    pub(super) items: Vec<Sent>,
}

/// Answers of one pair that wait. Further ones are left out: the node is asked again what it has, sooner or later.
const WAITING_MAX: usize = 32;

/// Answers that wait for those before them. Who is in the map is being taken.
#[derive(Default)]
pub(super) struct Answers(Mutex<HashMap<Pair, VecDeque<Answer>>>);

impl Answers {
    fn inner(&self) -> MutexGuard<'_, HashMap<Pair, VecDeque<Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an answer behind those of its pair. Whether nobody takes them, so that whoever asks this has to.
    pub(super) fn put(&self, pair: &Pair, answer: Answer) -> bool {
        let mut inner = self.inner();
        if let Some(waiting) = inner.get_mut(pair) {
            if waiting.len() < WAITING_MAX {
                waiting.push_back(answer);
            }
            return false;
        }
        inner.insert(pair.clone(), VecDeque::from([answer]));
        true
    }

    /// The next one of a pair. After `None` nobody takes them any more.
    pub(super) fn next(&self, pair: &Pair) -> Option<Answer> {
        let mut inner = self.inner();
        let next = inner.get_mut(pair).and_then(VecDeque::pop_front);
        if next.is_none() {
            inner.remove(pair);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn answers_of_a_pair_are_taken_in_their_order_by_one() {
        let answers = Answers::default();
        let pair = |service: &str| (BareJid::new("romeo@example.net").unwrap(), BareJid::new(service).unwrap());
        let (one, other) = (pair("a.example"), pair("b.example"));
        let put = |pair: &Pair, node: &str| answers.put(pair, Answer { node: node.into(), items: Vec::new() });
        let next = |pair: &Pair| answers.next(pair).map(|answer| answer.node.to_string());
        assert!(put(&one, "1"));
        assert!(!put(&one, "2"), "somebody takes them already");
        assert!(put(&other, "x"), "another service is another matter");
        assert_eq!(next(&one).as_deref(), Some("1"));
        // Something comes while the first is being taken.
        assert!(!put(&one, "3"));
        assert_eq!((next(&one).as_deref(), next(&one).as_deref(), next(&one)), (Some("2"), Some("3"), None));
        assert!(put(&one, "4"), "who took them has gone");
        assert_eq!(next(&other).as_deref(), Some("x"));
        for number in 0..100 {
            assert!(!put(&one, &number.to_string()));
        }
        let mut left = Vec::new();
        while let Some(node) = next(&one) {
            left.push(node);
        }
        assert_eq!((left.len(), left.last().map(String::as_str)), (WAITING_MAX, Some("30")));
    }
}
