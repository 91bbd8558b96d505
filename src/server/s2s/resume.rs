//! Streams that were lost and may be resumed (XEP-0198 section 5): what was sent and not acknowledged, and the counters.
//!
//! For a stream we opened, the task that carries its outbox keeps this and asks for the resumption. For one that was
//! opened to us it is parked here, for a bounded time and within bounds on number and bytes; only a stream that has
//! proven the same pairs may have it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xmpp::stream::server::{Acks, Pair};

use super::handle::Handle;
use super::outbox::{CarrierId, Outbox, Queued};

/// Streams that may be parked at a time.
const PARKED_MAX: usize = 10_000;
/// Bytes that parked streams may hold in all.
const PARKED_BYTES_MAX: usize = 64 << 20;

/// A stanza that was given to a connection.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) queued: Queued,
    pub(super) outbox: Arc<Outbox>,
    /// Where it ends among the bytes of its connection.
    pub(super) end: u64,
}

/// What is left of a lost stream.
#[derive(Debug)]
pub(super) struct Earlier {
    /// The identifier to resume it by.
    pub(super) previous: Box<str>,
    /// The counters.
    pub(super) acks: Acks,
    /// What was sent and not acknowledged, oldest first.
    pub(super) sent: VecDeque<Sent>,
    /// The pairs the peer had proven.
    pub(super) heard: Vec<Pair>,
    /// The outboxes that wait for it to be settled.
    pub(super) outboxes: Vec<Arc<Outbox>>,
    /// Who carried them.
    pub(super) carrier: CarrierId,
}

impl Earlier {
    fn bytes(&self) -> usize {
        self.sent.iter().map(|sent| sent.queued.cost).sum()
    }
}

/// A stream that was opened to us and can be resumed.
pub(super) enum Resumable {
    /// It is alive as far as we know.
    Live(Arc<Handle>),
    /// It was lost.
    Parked(Box<Earlier>),
}

/// All streams that can be resumed, by their identifier.
#[derive(Default)]
pub(super) struct Resumables {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    streams: HashMap<Box<str>, Resumable>,
    parked: usize,
    bytes: usize,
}

impl Resumables {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream that is alive.
    pub(super) fn live(&self, id: &str, handle: &Arc<Handle>) {
        self.lock().streams.insert(id.into(), Resumable::Live(Arc::clone(handle)));
    }

    /// Keeps what is left of a stream. What cannot be kept is returned.
    pub(super) fn park(&self, earlier: Box<Earlier>) -> Result<(), Box<Earlier>> {
        let mut inner = self.lock();
        let bytes = earlier.bytes();
        if inner.parked >= PARKED_MAX || inner.bytes + bytes > PARKED_BYTES_MAX {
            inner.streams.remove(&earlier.previous);
            return Err(earlier);
        }
        inner.parked += 1;
        inner.bytes += bytes;
        inner.streams.insert(earlier.previous.clone(), Resumable::Parked(earlier));
        Ok(())
    }

    /// Takes a stream out, if it is there and `may` have it.
    pub(super) fn take(&self, id: &str, may: impl FnOnce(&Resumable) -> bool) -> Option<Resumable> {
        let mut inner = self.lock();
        if !may(inner.streams.get(id)?) {
            return None;
        }
        let taken = inner.streams.remove(id)?;
        if let Resumable::Parked(earlier) = &taken {
            inner.parked -= 1;
            inner.bytes = inner.bytes.saturating_sub(earlier.bytes());
        }
        Some(taken)
    }
}
