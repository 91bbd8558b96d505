//! One enabled service as a state machine: what has happened since its device was awake, and when to say so.
//!
//! Pure: it is told the time, and what is to be done is its answer. One notification tells of everything that happened
//! in a short while. The next waits, longer each time, for as long as the device does not wake. One at a time is out.

use crate::extension::OccasionKind;
use crate::runtime::Timestamp;
use crate::tables::push::Registration;

/// How long to wait for what comes right after something that happened, in microseconds.
const GATHERING: Timestamp = 300_000;
/// So many times the shortest interval is the longest.
const INTERVALS_MAX: u64 = 100;
/// The first wait after a failure, in microseconds, and the longest.
const RETRY_MIN: Timestamp = 60_000_000;
const RETRY_MAX: Timestamp = 3_600_000_000;

/// The bit that stands for `kind` in what a registration is for.
pub(super) const fn bit(kind: OccasionKind) -> u64 {
    1 << kind as u64
}

/// The last message a device slept through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Last {
    /// Who sent it.
    pub(super) from: Box<str>,
    /// What it says, if that may be told.
    pub(super) text: Option<String>,
}

/// How a publication ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The service took it.
    Taken,
    /// Not now, or nobody said anything.
    Failed,
    /// Never: the service or the node does not want it.
    Refused,
}

/// One enabled service.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) registration: Registration,
    /// How often each kind of thing happened since the device was awake.
    unseen: [u64; OccasionKind::ALL.len()],
    last: Option<Last>,
    /// Something happened that the service does not know.
    is_pending: bool,
    /// A publication is out.
    is_out: bool,
    /// When the next may leave.
    due: Timestamp,
    not_before: Timestamp,
    interval: u64,
    failures: u32,
}

impl Device {
    /// A device that was awake until now. `interval` is the shortest one, in microseconds.
    pub(super) fn new(registration: Registration, interval: u64) -> Self {
        Self {
            registration,
            unseen: Default::default(),
            last: None,
            is_pending: false,
            is_out: false,
            due: 0,
            not_before: 0,
            interval,
            failures: 0,
        }
    }

    pub(super) fn wants(&self, kind: OccasionKind) -> bool {
        self.registration.wanted & bit(kind) != 0
    }

    /// Whether it is the one behind `resource`.
    pub(super) fn is_of(&self, resource: &str) -> bool {
        *self.registration.resource == *resource
    }

    /// How often `kind` happened since the device was awake.
    pub(super) fn unseen(&self, kind: OccasionKind) -> u64 {
        self.unseen.get(kind as usize).copied().unwrap_or(0)
    }

    /// The last message.
    pub(super) fn last(&self) -> Option<&Last> {
        self.last.as_ref()
    }

    /// Something happened at `now` that the device sleeps through. `is_again`: it may be known already, and is if
    /// anything is.
    pub(super) fn happened(&mut self, now: Timestamp, kind: OccasionKind, last: Option<Last>, is_again: bool) {
        if is_again && self.is_asleep() {
            return;
        }
        if let Some(unseen) = self.unseen.get_mut(kind as usize) {
            *unseen = unseen.saturating_add(1);
        }
        if last.is_some() {
            self.last = last;
        }
        // A call does not wait for what else may come.
        let gathered = if kind == OccasionKind::Call { now } else { now.saturating_add(GATHERING) };
        let due = gathered.max(self.not_before);
        self.due = if self.is_pending { self.due.min(due) } else { due };
        self.is_pending = true;
    }

    fn is_asleep(&self) -> bool {
        self.unseen.iter().any(|unseen| *unseen > 0)
    }

    /// When to look here again; `None` when nothing is to be done.
    pub(super) fn next(&self) -> Option<Timestamp> {
        (self.is_pending && !self.is_out).then_some(self.due)
    }

    /// Whether a publication is to leave at `now`.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.next().is_some_and(|due| due <= now)
    }

    /// There is no room for one more publication at `now`: later.
    pub(super) fn put_off(&mut self, now: Timestamp, interval_min: u64) {
        self.due = now.saturating_add(interval_min);
    }

    /// A publication leaves at `now`.
    pub(super) fn left(&mut self, now: Timestamp, interval_min: u64) {
        self.is_pending = false;
        self.is_out = true;
        self.not_before = now.saturating_add(self.interval);
        self.interval = self.interval.saturating_mul(2).min(interval_min.saturating_mul(INTERVALS_MAX));
    }

    /// The publication that was out has ended at `now`. Whether the service stays enabled is returned.
    pub(super) fn ended(&mut self, now: Timestamp, outcome: Outcome, failures_max: u32) -> bool {
        self.is_out = false;
        match outcome {
            Outcome::Taken => self.failures = 0,
            Outcome::Refused => return false,
            Outcome::Failed => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= failures_max {
                    return false;
                }
                let wait = RETRY_MIN.checked_shl(self.failures.saturating_sub(1)).unwrap_or(RETRY_MAX).min(RETRY_MAX);
                self.not_before = self.not_before.max(now.saturating_add(wait));
                // What it should have said is still unsaid, unless the device woke meanwhile.
                self.is_pending |= self.is_asleep();
            }
        }
        self.due = self.due.max(self.not_before);
        true
    }

    /// The device is awake at `now`: whatever it slept through it is told by other means.
    pub(super) fn woke(&mut self, now: Timestamp, interval_min: u64) {
        self.unseen = Default::default();
        self.last = None;
        self.is_pending = false;
        self.interval = interval_min;
        if self.failures == 0 {
            self.not_before = self.not_before.min(now.saturating_add(interval_min));
        }
    }

    /// The service was enabled once more.
    pub(super) fn renewed(&mut self, registration: Registration) {
        self.registration = registration;
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use OccasionKind::{Call, Message, Post};

    const SECOND: u64 = 1_000_000;
    const MIN: u64 = 5 * SECOND;

    fn device() -> Device {
        let registration = Registration {
            service: xmpp::Jid::new("push.example").unwrap(),
            node: "n".into(),
            resource: "phone".into(),
            wanted: bit(Message) | bit(Call),
            renewed: 0,
            options: bytes::Bytes::new(),
        };
        Device::new(registration, MIN)
    }

    #[test]
    fn a_burst_is_one_notification() {
        let mut device = device();
        assert!(device.wants(Message) && device.wants(Call) && !device.wants(Post));
        for at in 0..20 {
            device.happened(SECOND + at * 1000, Message, None, false);
        }
        assert_eq!(device.next(), Some(SECOND + GATHERING), "the first one's wait, not the last one's");
        assert!(!device.is_due(SECOND) && device.is_due(2 * SECOND));
        device.left(2 * SECOND, MIN);
        assert_eq!((device.unseen(Message), device.next()), (20, None));
        device.happened(3 * SECOND, Message, None, true);
        assert_eq!((device.unseen(Message), device.next()), (20, None), "it was counted");
        assert!(device.ended(2 * SECOND, Outcome::Taken, 3) && device.next().is_none());
    }

    #[test]
    fn a_call_waits_for_nothing_but_its_turn() {
        let mut device = device();
        device.happened(SECOND, Message, None, false);
        device.happened(SECOND + 1, Call, None, false);
        assert_eq!(device.next(), Some(SECOND + 1));
        device.left(SECOND + 1, MIN);
        device.ended(SECOND + 2, Outcome::Taken, 3);
        device.happened(SECOND + 3, Call, None, false);
        assert_eq!(device.next(), Some(SECOND + 1 + MIN), "strangers call, too");
    }

    #[test]
    fn who_does_not_wake_is_told_less_and_less() {
        let mut device = device();
        let (mut now, mut sent) = (0, Vec::new());
        while now < 3_600 * SECOND {
            now += SECOND;
            device.happened(now, Message, None, false);
            if device.is_due(now) {
                device.left(now, MIN);
                device.ended(now, Outcome::Taken, 3);
                sent.push(now / SECOND);
            }
        }
        assert_eq!(&sent[..5], [2, 7, 17, 37, 77]);
        assert!(sent.len() < 16, "{sent:?}");
        assert!(device.next().unwrap() <= now + MIN * INTERVALS_MAX);
        device.woke(now, MIN);
        assert_eq!((device.next(), device.unseen(Message)), (None, 0));
        device.happened(now, Message, None, false);
        assert_eq!(device.next(), Some(now + MIN), "who wakes for each does not make it more");
    }

    #[test]
    fn failures_that_pass_are_tried_again_and_others_are_not() {
        let mut device = device();
        device.happened(0, Message, None, false);
        let mut waits = Vec::new();
        let mut now = SECOND;
        for _ in 0..15 {
            device.left(now, MIN);
            assert!(device.ended(now, Outcome::Failed, 16));
            let next = device.next().unwrap();
            waits.push((next - now) / SECOND);
            now = next;
        }
        assert_eq!(&waits[..8], [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        device.left(now, MIN);
        assert!(!device.ended(now, Outcome::Failed, 16), "the sixteenth in a row");

        let mut device = self::device();
        device.happened(0, Message, None, false);
        device.left(SECOND, MIN);
        device.woke(2 * SECOND, MIN);
        assert!(device.ended(3 * SECOND, Outcome::Failed, 16) && device.next().is_none(), "nothing is left to say");
        device.happened(4 * SECOND, Message, None, false);
        device.left(100 * SECOND, MIN);
        assert!(!device.ended(101 * SECOND, Outcome::Refused, 16));
    }
}
