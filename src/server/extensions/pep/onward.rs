//! Where a walk through names goes on that has looked at some and may name none of them: a page ends at a mark that says
//! nothing, instead of the last name that was looked at (XEP-0059 leaves to the server what stands in `<last/>`).
//!
//! Marks are random, and kept in memory. One that is forgotten, or was given before a restart, is as an item that is gone:
//! `item-not-found` (XEP-0059 section 2.2), and whoever walks begins anew.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use xmpp::BareJid;

use crate::runtime::Ids;

/// Marks that are remembered; the oldest make room.
const MARKS_MAX: usize = 1_000;
/// With what they begin, so that none is taken for a name.
const PREFIX: &str = "urn:chirrup:onward:";

struct Mark {
    id: Box<str>,
    home: BareJid,
    name: Box<str>,
}

/// Marks that were given, by the home in which a walk goes on.
#[derive(Default)]
pub(super) struct Onward(Mutex<VecDeque<Mark>>);

impl Onward {
    fn marks(&self) -> MutexGuard<'_, VecDeque<Mark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands for "behind `name`".
    pub(super) fn mark(&self, ids: &dyn Ids, home: &BareJid, name: &str) -> String {
        let mut marks = self.marks();
        if let Some(known) = marks.iter().find(|mark| mark.home == *home && *mark.name == *name) {
            return known.id.to_string();
        }
        let id = format!("{PREFIX}{}", ids.id());
        if marks.len() >= MARKS_MAX {
            marks.pop_front();
        }
        marks.push_back(Mark { id: id.as_str().into(), home: home.clone(), name: name.into() });
        id
    }

    /// Behind which name a page begins: the one that is said, or the one that a mark stands for. `None` for a mark that is
    /// not known.
    pub(super) fn name(&self, home: &BareJid, after: &str) -> Option<Box<str>> {
        if !after.starts_with(PREFIX) {
            return Some(after.into());
        }
        self.marks().iter().find(|mark| mark.home == *home && *mark.id == *after).map(|mark| mark.name.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::{MARKS_MAX, Onward};
    use crate::runtime::SystemIds;
    use xmpp::BareJid;

    #[test]
    fn a_mark_says_nothing_and_is_remembered_for_a_while() {
        let (onward, home, other) =
            (Onward::default(), BareJid::new("a@x.lit").unwrap(), BareJid::new("b@x.lit").unwrap());
        let mark = onward.mark(&SystemIds, &home, "secret");
        assert!(!mark.contains("secret"));
        assert_eq!(onward.mark(&SystemIds, &home, "secret"), mark, "the same place has one");
        assert_eq!(onward.name(&home, &mark).as_deref(), Some("secret"));
        assert_eq!(onward.name(&other, &mark), None);
        assert_eq!(onward.name(&home, "public").as_deref(), Some("public"));
        for number in 0..MARKS_MAX {
            onward.mark(&SystemIds, &home, &number.to_string());
        }
        assert_eq!(onward.name(&home, &mark), None);
    }
}
