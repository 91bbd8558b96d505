//! Outboxes: what waits for one pair of domains, from before there is a connection until it is on its way.
//!
//! An outbox exists before its connection does, and outlives it. At any time at most one carrier, a number given to
//! each dialling task and each link, may take from it; so the stanzas of a pair leave in the order they came in,
//! also when one link ends and another begins (RFC 6120 section 10.1). Bounded in bytes; what is full refuses the
//! newest. The age of what waits is looked at by the carrier.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use xmpp::StanzaError;

use crate::runtime::Timestamp;
use crate::session::mailbox::Frame;

/// What each frame costs beside its bytes.
const FRAME_BYTES: usize = 96;

/// A stanza that waits or is on its way.
#[derive(Debug)]
pub struct Queued {
    /// The stanza.
    pub frame: Frame,
    /// When it was queued, in microseconds since the Unix epoch.
    pub since: Timestamp,
    /// Bytes it counts for. The body that several frames in a row share counts once.
    pub cost: usize,
}

/// Who may take from an outbox. Each dialling task and each link has its own number.
pub type CarrierId = u64;

/// How an outbox is being emptied.
#[derive(Clone, Debug, PartialEq)]
pub enum Road {
    /// Not at all: there is nothing to send.
    Idle,
    /// A connection is being made. A link that is there already may take over.
    Dialling(CarrierId),
    /// A link takes from it.
    Linked(CarrierId),
    /// What went before must be settled first: a stream is closing or being resumed.
    Settling(CarrierId),
    /// The domain could not be reached a moment ago: senders are told so until then.
    Refusing(Timestamp, StanzaError),
}

/// The queue of one pair: a domain of ours and one of theirs.
#[derive(Debug)]
pub struct Outbox {
    /// Our domain.
    pub local: Box<str>,
    /// Theirs.
    pub remote: Box<str>,
    bytes_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    waiting: VecDeque<Queued>,
    bytes: usize,
    road: Road,
    waker: Option<Waker>,
    last_error: Option<Box<str>>,
    touched: Timestamp,
}

/// What to do after a stanza was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// Nothing: somebody takes from the outbox or will.
    Carried,
    /// Find a carrier: there is none.
    Forlorn,
}

/// An outbox as the administrator sees it.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Stanzas.
    pub stanzas: usize,
    /// Bytes they count for.
    pub bytes: usize,
    /// When the oldest was queued.
    pub oldest: Option<Timestamp>,
    /// How it is being emptied.
    pub road: Road,
    /// What went wrong last.
    pub last_error: Option<Box<str>>,
}

impl Outbox {
    /// An empty one for `bytes_max` bytes.
    #[must_use]
    pub fn new(local: &str, remote: &str, bytes_max: usize, now: Timestamp) -> Self {
        let inner =
            Inner { waiting: VecDeque::new(), bytes: 0, road: Road::Idle, waker: None, last_error: None, touched: now };
        Self { local: local.into(), remote: remote.into(), bytes_max, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues `frame`. Never waits. One frame always fits an empty outbox.
    ///
    /// # Errors
    /// What to tell the sender: the outbox is full, or the domain could not be reached a moment ago.
    pub fn push(&self, frame: Frame, now: Timestamp) -> Result<Pushed, StanzaError> {
        let mut inner = self.lock();
        if let Road::Refusing(until, error) = &inner.road {
            if now < *until {
                return Err(error.clone());
            }
            inner.road = Road::Idle;
        }
        let cost = FRAME_BYTES
            + match (&frame, inner.waiting.back().map(|last| &last.frame)) {
                (Frame::Addressed { to, after, .. }, Some(Frame::Addressed { after: shared, .. }))
                    if after.as_ptr() == shared.as_ptr() =>
                {
                    to.as_str().len()
                }
                (frame, _) => frame.len(),
            };
        if !inner.waiting.is_empty() && inner.bytes + cost > self.bytes_max {
            let text = "too much is waiting for that domain already";
            return Err(StanzaError::resource_constraint().with_text(text));
        }
        inner.bytes += cost;
        inner.touched = now;
        inner.waiting.push_back(Queued { frame, since: now, cost });
        let pushed = if inner.road == Road::Idle { Pushed::Forlorn } else { Pushed::Carried };
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(pushed)
    }

    /// Makes `by` the carrier, if there is none. Whether it is.
    pub fn claim(&self, by: CarrierId) -> bool {
        let mut inner = self.lock();
        let is_free = matches!(inner.road, Road::Idle | Road::Refusing(..));
        if is_free {
            inner.road = Road::Dialling(by);
        }
        is_free
    }

    /// Lets the link `by` take from it: if it dialled for it, or there is no carrier, or one that only dials. Whether
    /// it may.
    pub fn link(&self, by: CarrierId) -> bool {
        let mut inner = self.lock();
        let may = match inner.road {
            Road::Idle | Road::Dialling(_) | Road::Refusing(..) => true,
            Road::Linked(other) | Road::Settling(other) => other == by,
        };
        if may {
            inner.road = Road::Linked(by);
            inner.last_error = None;
        }
        may
    }

    /// What went before must be settled before more is taken. Nobody takes over meanwhile.
    pub fn settle(&self, by: CarrierId) {
        let mut inner = self.lock();
        if inner.is_carried_by(by) {
            inner.road = Road::Settling(by);
        }
    }

    /// Hands a settling outbox from one carrier to another. Whether that was so.
    pub fn hand_over(&self, from: CarrierId, to: CarrierId) -> bool {
        let mut inner = self.lock();
        let is_so = inner.is_carried_by(from);
        if is_so {
            inner.road = Road::Settling(to);
        }
        is_so
    }

    /// `by` dials again; another link may take over.
    pub fn redial(&self, by: CarrierId) {
        let mut inner = self.lock();
        if inner.is_carried_by(by) {
            inner.road = Road::Dialling(by);
        }
    }

    /// Whether `by` is the carrier still.
    #[must_use]
    pub fn is_carried_by(&self, by: CarrierId) -> bool {
        self.lock().is_carried_by(by)
    }

    /// `by` carries no more. [`Pushed::Forlorn`] if something waits: then find another.
    pub fn release(&self, by: CarrierId) -> Pushed {
        let mut inner = self.lock();
        if !inner.is_carried_by(by) {
            return Pushed::Carried;
        }
        inner.road = Road::Idle;
        inner.waker = None;
        if inner.waiting.is_empty() { Pushed::Carried } else { Pushed::Forlorn }
    }

    /// Gives up: senders are told `error` until then, and all that waits is returned to be answered.
    pub fn refuse(&self, by: CarrierId, until: Timestamp, error: StanzaError) -> Vec<Queued> {
        let mut inner = self.lock();
        if !inner.is_carried_by(by) {
            return Vec::new();
        }
        inner.road = Road::Refusing(until, error);
        inner.waker = None;
        inner.bytes = 0;
        std::mem::take(&mut inner.waiting).into()
    }

    /// Takes stanzas for the link `by` until `take` says that it has enough, or waits for the first.
    pub fn poll_take(&self, cx: &mut Context<'_>, by: CarrierId, mut take: impl FnMut(Queued) -> bool) -> Poll<()> {
        let mut inner = self.lock();
        if inner.road != Road::Linked(by) || inner.waiting.is_empty() {
            match &mut inner.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        while let Some(queued) = inner.waiting.pop_front() {
            inner.bytes = inner.bytes.saturating_sub(queued.cost);
            if !take(queued) {
                break;
            }
        }
        if inner.waiting.is_empty() && inner.waiting.capacity() > 64 {
            inner.waiting = VecDeque::new();
        }
        Poll::Ready(())
    }

    /// Puts back what was taken and did not leave, before everything else and in its order.
    pub fn put_back(&self, frames: impl DoubleEndedIterator<Item = Queued>) {
        let mut inner = self.lock();
        for queued in frames.rev() {
            inner.bytes += queued.cost;
            inner.waiting.push_front(queued);
        }
    }

    /// Takes out what was queued before `limit`.
    pub fn expire(&self, limit: Timestamp) -> Vec<Queued> {
        let mut inner = self.lock();
        let mut expired = Vec::new();
        while inner.waiting.front().is_some_and(|queued| queued.since < limit)
            && let Some(queued) = inner.waiting.pop_front()
        {
            inner.bytes = inner.bytes.saturating_sub(queued.cost);
            expired.push(queued);
        }
        expired
    }

    /// Takes out everything, whoever carries it.
    pub fn drain(&self) -> Vec<Queued> {
        let mut inner = self.lock();
        inner.bytes = 0;
        std::mem::take(&mut inner.waiting).into()
    }

    /// Remembers what went wrong.
    pub fn note(&self, error: &str) {
        self.lock().last_error = Some(error.into());
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// How it is.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        let inner = self.lock();
        Waiting {
            stanzas: inner.waiting.len(),
            bytes: inner.bytes,
            oldest: inner.waiting.front().map(|queued| queued.since),
            road: inner.road.clone(),
            last_error: inner.last_error.clone(),
        }
    }

    /// Whether it can be forgotten: nothing waits, nobody carries, nothing was queued since `limit`.
    #[must_use]
    pub fn is_stale(&self, now: Timestamp, limit: Timestamp) -> bool {
        let inner = self.lock();
        let is_idle = match &inner.road {
            Road::Idle => true,
            Road::Refusing(until, _) => *until <= now,
            _ => false,
        };
        is_idle && inner.waiting.is_empty() && inner.touched < limit
    }
}

impl Inner {
    fn is_carried_by(&self, by: CarrierId) -> bool {
        matches!(self.road, Road::Dialling(id) | Road::Linked(id) | Road::Settling(id) if id == by)
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
