//! The order in which things come: when something is given its time, and from when on it can be seen.
//!
//! A reader who has seen the newest entry asks later for what is behind it. Nothing may then come before it. So
//! whoever publishes reserves a time first, and while a reservation is out nobody is shown what is not older; and once
//! somebody was shown the newest, later times begin behind it. An item whose followers are still being written to is
//! landing: readers look for it in its node meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Place;

/// Times that were given, and what is on its way.
#[derive(Debug, Default)]
pub struct Arrivals(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The newest time given.
    last: u64,
    /// Times up to this one are not given any more.
    sealed: u64,
    /// Times given to what is not there yet, and how often.
    reserved: BTreeMap<u64, usize>,
    landing: BTreeSet<Place>,
}

/// A time that was given. Released when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    arrivals: Arc<Arrivals>,
    time: u64,
}

/// What a reader may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Only what is older, in milliseconds.
    pub before: u64,
    /// Items whose followers are still being written to, oldest first.
    pub landing: Vec<Place>,
}

impl Arrivals {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a time, in milliseconds: `now` unless that has been seen. Times never go back.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, now: u64) -> Reservation {
        let mut inner = self.inner();
        let time = now.max(inner.last).max(inner.sealed.saturating_add(1));
        inner.last = time;
        *inner.reserved.entry(time).or_default() += 1;
        drop(inner);
        Reservation { arrivals: Arc::clone(self), time }
    }

    /// The newest time given, for who remembers it.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.inner().last
    }

    /// Times begin behind `last`, which was given before the house was closed.
    pub fn resume(&self, last: u64) {
        let mut inner = self.inner();
        inner.last = inner.last.max(last);
    }

    /// Notes an item whose followers are still to be written to; `false` if it was noted before.
    pub fn land(&self, place: Place) -> bool {
        self.inner().landing.insert(place)
    }

    /// All followers are written to, or look for the item themselves.
    pub fn landed(&self, place: &Place) {
        self.inner().landing.remove(place);
    }

    /// Nothing comes any more that is older than this, in milliseconds.
    #[must_use]
    pub fn settled(&self) -> u64 {
        let inner = self.inner();
        let reserved = inner.reserved.keys().next().copied().unwrap_or(u64::MAX);
        let landing = inner.landing.first().map_or(u64::MAX, |place| place.time);
        inner.last.min(reserved).min(landing)
    }

    /// What can be seen at `now`, in milliseconds. Later times begin behind it.
    #[must_use]
    pub fn view(&self, now: u64) -> View {
        let mut inner = self.inner();
        let before = match inner.reserved.keys().next() {
            Some(first) => *first,
            None => {
                inner.last = inner.last.max(now);
                inner.sealed = inner.last;
                inner.sealed.saturating_add(1)
            }
        };
        View { before, landing: inner.landing.iter().copied().collect() }
    }
}

impl Reservation {
    /// The time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.time
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut inner = self.arrivals.inner();
        if let Some(count) = inner.reserved.get_mut(&self.time) {
            *count -= 1;
            if *count == 0 {
                inner.reserved.remove(&self.time);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever publishers and readers do, and however the clock goes: what a reader sees for the first time is
        /// behind all it has seen.
        #[test]
        fn nothing_comes_before_what_was_seen(steps in proptest::collection::vec((0u8..4, 0u64..20), 1..200)) {
            let arrivals = Arc::new(Arrivals::default());
            let mut out: Vec<Reservation> = Vec::new();
            let mut there: Vec<u64> = Vec::new();
            let mut seen: Vec<u64> = Vec::new();
            for (what, number) in steps {
                match what {
                    0 | 1 => out.push(arrivals.reserve(number)),
                    2 if !out.is_empty() => {
                        let one = out.swap_remove(usize::try_from(number).unwrap() % out.len());
                        // A reservation is released after the item is there.
                        there.push(one.time());
                        drop(one);
                    }
                    _ => {
                        let view = arrivals.view(number);
                        let mut sees: Vec<u64> = there.iter().copied().filter(|time| *time < view.before).collect();
                        sees.sort_unstable();
                        let newest = seen.last().copied().unwrap_or(0);
                        let news = sees.iter().filter(|time| **time <= newest).count();
                        prop_assert_eq!(news, seen.len(), "something came between");
                        seen = sees;
                    }
                }
            }
        }
    }
}
