//! Lanes: stanzas from another server are handled in order for each pair of addresses, and different pairs side by
//! side (RFC 6120 section 10.1), so that one whose commit waits for the disk does not hold up all others.
//!
//! Everything happens in the link's own task: no task and no channel for a stanza. A stanza is handled at once when
//! its lane is free, and most are done then. What is counted as done is the prefix: a stanza counts when it and all
//! that came before it are done, which is what an acknowledgement may say (XEP-0198 section 4).

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use xmpp::{Jid, Stanza};

use crate::runtime::survive;

/// Pairs handled at a time on one link; the bits of a word.
pub const LANES_MAX: usize = 64;
/// Stanzas that may wait behind others of their pair.
pub const WAITING_MAX: usize = 256;
/// Bytes of them.
pub const WAITING_BYTES_MAX: usize = 1 << 20;

/// The handling of one stanza.
pub type Handling = Pin<Box<dyn Future<Output = ()> + Send>>;
type Surviving = Pin<Box<dyn Future<Output = Option<()>> + Send>>;
type Handler = Box<dyn Fn(Stanza) -> Handling + Send + Sync>;

/// The stanzas of one link that are being handled.
pub struct Lanes {
    handler: Handler,
    hasher: RandomState,
    /// What waits behind each pair that is being handled.
    behind: HashMap<u64, VecDeque<(u64, Stanza)>>,
    slots: Vec<Option<Running>>,
    wakers: Vec<Waker>,
    ready: Arc<Ready>,
    free: u64,
    waiting: usize,
    waiting_bytes: usize,
    /// The number of the next stanza.
    next: u64,
    /// The first stanza that is not done, and for each from there on whether it is.
    first: u64,
    done: VecDeque<bool>,
    /// How much of the prefix was reported.
    reported: u64,
}

struct Running {
    lane: u64,
    number: u64,
    handling: Surviving,
}

/// Which slots want to be polled, and whom to wake for it.
#[derive(Default)]
struct Ready {
    slots: AtomicU64,
    task: Mutex<Option<Waker>>,
}

struct SlotWaker {
    bit: u64,
    ready: Arc<Ready>,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.slots.fetch_or(self.bit, Ordering::AcqRel);
        let task = self.ready.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes").field("unfinished", &self.unfinished()).finish_non_exhaustive()
    }
}

impl Lanes {
    /// Empty lanes; `handler` does the work.
    pub fn new(handler: impl Fn(Stanza) -> Handling + Send + Sync + 'static) -> Self {
        Self {
            handler: Box::new(handler),
            hasher: RandomState::new(),
            behind: HashMap::new(),
            slots: Vec::new(),
            wakers: Vec::new(),
            ready: Arc::default(),
            free: u64::MAX,
            waiting: 0,
            waiting_bytes: 0,
            next: 0,
            first: 0,
            done: VecDeque::new(),
            reported: 0,
        }
    }

    /// Whether another stanza may be taken. Read no further while not.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.free != 0 && self.waiting < WAITING_MAX && self.waiting_bytes < WAITING_BYTES_MAX
    }

    /// How many stanzas are not done yet.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.next - self.first - self.done.iter().filter(|done| **done).count() as u64
    }

    /// Takes a stanza, and handles it now if none of its pair is being handled. There must be [room](Self::has_room).
    pub fn take(&mut self, stanza: Stanza) {
        let number = self.number();
        let lane = self.lane(&stanza);
        if let Some(behind) = self.behind.get_mut(&lane) {
            self.waiting += 1;
            self.waiting_bytes += weight(&stanza);
            behind.push_back((number, stanza));
            return;
        }
        self.begin(lane, number, stanza);
    }

    /// Counts a stanza that needs no handling.
    pub fn skip(&mut self) {
        let number = self.number();
        self.finish(number);
    }

    /// Goes on with what can go on. Returns how many more stanzas are done since the last call, in the order in which
    /// they came. Waits when there are none, unless there is [room](Self::has_room) again: whoever had more to take must
    /// take it now, since nothing may come that would wake it.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<u32> {
        let had_room = self.has_room();
        if self.free != u64::MAX {
            {
                let mut task = self.ready.task.lock().unwrap_or_else(PoisonError::into_inner);
                match &mut *task {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
            }
            let mut ready = self.ready.slots.swap(0, Ordering::AcqRel);
            while ready != 0 {
                let slot = ready.trailing_zeros() as usize;
                ready &= ready - 1;
                if let Some(Some(running)) = self.slots.get_mut(slot).map(Option::take) {
                    self.go_on(slot, running);
                }
            }
        }
        match self.news() {
            0 if had_room || !self.has_room() => Poll::Pending,
            news => Poll::Ready(news),
        }
    }

    /// How many more stanzas are done since the last call, without going on with any.
    pub fn news(&mut self) -> u32 {
        let news = self.first - self.reported;
        self.reported = self.first;
        u32::try_from(news).unwrap_or(u32::MAX)
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// The lane of a pair. Two pairs may share one by chance, which costs them nothing but speed.
    fn lane(&self, stanza: &Stanza) -> u64 {
        let bare = |jid: &Option<Jid>| jid.as_ref().map_or(0, |jid| self.hasher.hash_one(jid.as_bare_str()));
        bare(&stanza.head.from) ^ bare(&stanza.head.to).rotate_left(1)
    }

    fn begin(&mut self, lane: u64, number: u64, stanza: Stanza) {
        let slot = self.free.trailing_zeros() as usize;
        if slot >= LANES_MAX {
            // Asked to take without room: it waits behind itself, and is begun when a slot is free.
            tracing::error!("a stanza was taken without room for it");
            self.finish(number);
            return;
        }
        let handling = Box::pin(survive((self.handler)(stanza)));
        self.free &= !(1 << slot);
        self.go_on(slot, Running { lane, number, handling });
    }

    /// Polls what runs in `slot`, and whatever waits behind it, until one has to wait.
    fn go_on(&mut self, slot: usize, mut running: Running) {
        while self.wakers.len() <= slot {
            let waker = SlotWaker { bit: 1 << self.wakers.len(), ready: Arc::clone(&self.ready) };
            self.wakers.push(Waker::from(Arc::new(waker)));
            self.slots.push(None);
        }
        loop {
            let Some(waker) = self.wakers.get(slot) else { return };
            match running.handling.as_mut().poll(&mut Context::from_waker(waker)) {
                Poll::Pending => {
                    self.behind.entry(running.lane).or_default();
                    if let Some(place) = self.slots.get_mut(slot) {
                        *place = Some(running);
                    }
                    return;
                }
                Poll::Ready(survived) => {
                    if survived.is_none() {
                        tracing::error!("handling a stanza from another server panicked");
                    }
                    self.finish(running.number);
                }
            }
            let next = self.behind.get_mut(&running.lane).and_then(VecDeque::pop_front);
            let Some((number, stanza)) = next else {
                self.behind.remove(&running.lane);
                self.free |= 1 << slot;
                return;
            };
            self.waiting -= 1;
            self.waiting_bytes = self.waiting_bytes.saturating_sub(weight(&stanza));
            running = Running { lane: running.lane, number, handling: Box::pin(survive((self.handler)(stanza))) };
        }
    }

    fn finish(&mut self, number: u64) {
        if number == self.first && self.done.is_empty() {
            self.first += 1;
            return;
        }
        let at = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        if self.done.len() <= at {
            self.done.resize(at + 1, false);
        }
        if let Some(done) = self.done.get_mut(at) {
            *done = true;
        }
        while self.done.front() == Some(&true) {
            self.done.pop_front();
            self.first += 1;
        }
    }
}

fn weight(stanza: &Stanza) -> usize {
    stanza.content.as_bytes().len() + 256
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
