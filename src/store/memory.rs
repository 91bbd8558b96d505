//! The reference engine: an ordered map under a lock, answering at once.
//!
//! It is also the simulated disk. Its [`Control`] can make an operation fail, keep commits from becoming
//! durable, forget them in a crash, and make answers slow, all without a clock or a thread, so that a whole
//! server can be simulated on it. Nothing is written anywhere.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::admit::{Overlay, View, admit, check_bounds};
use crate::range::collect;
use crate::{Batch, CommitError, Fault, Page, Pending, Range, Receipt, Report, Rows, Stats, Store};

type Rowset = BTreeMap<Bytes, Bytes>;

#[derive(Default)]
struct State {
    rows: Rowset,
    /// What to put back in a crash, oldest first. Kept only while flushes are held.
    undo: Vec<(Bytes, Option<Bytes>)>,
    waiting: Vec<oneshot::Sender<Result<(), Fault>>>,
    sequence: u64,
    /// Grows at every crash and close: older handles are dead.
    generation: u64,
    flushes_held: bool,
    /// Operations left until one fails.
    fail_in: Option<u64>,
    broken: Option<Fault>,
    polls_per_answer: u32,
    bytes: u64,
}

/// An ordered map in memory that obeys the same specification as the engines on disk.
pub struct Memory {
    state: Arc<Mutex<State>>,
    generation: u64,
}

/// The strings behind a [`Memory`]: what a test or a simulation pulls.
#[derive(Clone)]
pub struct Control {
    state: Arc<Mutex<State>>,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Arc::default(), generation: 0 }
    }

    /// Its strings.
    #[must_use]
    pub fn control(&self) -> Control {
        Control { state: Arc::clone(&self.state) }
    }

    fn enter(&self) -> Result<MutexGuard<'_, State>, Fault> {
        let mut state = lock(&self.state);
        if state.generation != self.generation {
            return Err(Fault::closed());
        }
        match state.fail_in.as_mut() {
            Some(0) => {
                state.fail_in = None;
                return Err(Fault::new("this operation was told to fail"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(state)
    }

    fn answer<T: Send + Unpin + 'static, E: From<Fault> + Send + Unpin + 'static>(
        &self,
        answer: Result<T, E>,
    ) -> Pending<T, E> {
        let polls = lock(&self.state).polls_per_answer;
        if polls == 0 { Pending::ready(answer) } else { slowly(answer, polls) }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Answers only at poll number `polls` + 1.
fn slowly<T: Send + Unpin + 'static, E: Send + Unpin + 'static>(answer: Result<T, E>, mut polls: u32) -> Pending<T, E> {
    let mut answer = Some(answer);
    Pending::boxed(poll_fn(move |cx| {
        if polls > 0 {
            polls -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        answer.take().map_or(Poll::Pending, Poll::Ready)
    }))
}

/// No invariant spans a panic here: every change is made after all checks.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl View for Rowset {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(BTreeMap::get(self, key).cloned())
    }

    fn keys(&self, from: &[u8], to: &[u8], rows_max: usize) -> Result<Vec<Bytes>, Fault> {
        let range = self.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        Ok(range.map(|(key, _)| key.clone()).take(rows_max).collect())
    }
}

impl State {
    fn scan(&self, range: &Range, page: Page) -> Rows {
        if range.is_empty() {
            return Rows { rows: Vec::new(), is_complete: true };
        }
        let end = range.to().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows.range::<[u8], _>((Bound::Included(range.from()), end));
        let copy = |(key, value): (&Bytes, &Bytes)| Ok::<_, Fault>((key.clone(), value.clone()));
        let found =
            if range.is_reversed() { collect(page, rows.rev().map(copy)) } else { collect(page, rows.map(copy)) };
        found.unwrap_or_default()
    }

    fn apply(&mut self, changes: Overlay) {
        for (key, value) in changes {
            let size = |value: &Option<Bytes>| value.as_ref().map_or(0, |value| (key.len() + value.len()) as u64);
            let added = size(&value);
            let old = match value {
                Some(value) => self.rows.insert(key.clone(), value),
                None => self.rows.remove(&key),
            };
            self.bytes = (self.bytes + added).saturating_sub(size(&old));
            if self.flushes_held {
                self.undo.push((key, old));
            }
        }
    }

    fn flush(&mut self) {
        self.undo.clear();
        for waiter in self.waiting.drain(..) {
            let _ = waiter.send(Ok(()));
        }
    }

    fn commit(&mut self, batch: Batch) -> Result<Receipt, CommitError> {
        if let Some(fault) = &self.broken {
            return Err(fault.clone().into());
        }
        let mut changes = Overlay::new();
        admit(batch, &self.rows, &mut changes)?;
        if !changes.is_empty() {
            self.sequence += 1;
        }
        self.apply(changes);
        let durable = if self.flushes_held {
            let (sender, receiver) = oneshot::channel();
            self.waiting.push(sender);
            Pending::waiting(receiver)
        } else {
            Pending::ready(Ok(()))
        };
        Ok(Receipt::new(self.sequence, durable))
    }
}

impl Store for Memory {
    fn get(&self, key: &[u8]) -> Pending<Option<Bytes>> {
        let answer = self.enter().map(|state| state.rows.get(key).cloned());
        self.answer(answer)
    }

    fn scan(&self, range: Range, page: Page) -> Pending<Rows> {
        let answer = self.enter().map(|state| state.scan(&range, page));
        self.answer(answer)
    }

    fn commit(&self, batch: Batch) -> Pending<Receipt, CommitError> {
        let answer = check_bounds(&batch).and_then(|()| self.enter()?.commit(batch));
        self.answer(answer)
    }

    fn stats(&self) -> Stats {
        let state = lock(&self.state);
        Stats { engine: "memory", disk_bytes: 0, commits: state.sequence, flushes: 0, ..Stats::default() }
    }

    fn verify(&self) -> Pending<Report> {
        Pending::ready(self.enter().map(|state| Report {
            rows: state.rows.len() as u64,
            bytes: state.bytes,
            last_commit: state.sequence,
            problems: Vec::new(),
        }))
    }

    fn close(&self) -> Pending<()> {
        let mut state = lock(&self.state);
        if state.generation == self.generation {
            state.flush();
            state.generation += 1;
        }
        Pending::ready(Ok(()))
    }
}

impl Control {
    /// Another handle on the same rows, as if the store had been opened again. Handles from before the last
    /// crash or close answer with a fault.
    #[must_use]
    pub fn open(&self) -> Memory {
        Memory { state: Arc::clone(&self.state), generation: lock(&self.state).generation }
    }

    /// The operation after `operations` more (get, scan or commit) fails, once, and changes nothing.
    pub fn fail_after(&self, operations: u64) {
        lock(&self.state).fail_in = Some(operations);
    }

    /// Answers with `fault` to every commit from now on, as a store does whose disk failed; waiting receipts
    /// fail too. `None` mends it.
    pub fn break_writes(&self, fault: Option<Fault>) {
        let mut state = lock(&self.state);
        if let Some(fault) = &fault {
            for waiter in state.waiting.drain(..) {
                let _ = waiter.send(Err(fault.clone()));
            }
        }
        state.broken = fault;
    }

    /// While held, commits are visible and not durable.
    pub fn hold_flushes(&self, held: bool) {
        let mut state = lock(&self.state);
        state.flushes_held = held;
        if !held {
            state.flush();
        }
    }

    /// Makes durable what was applied while flushes are held.
    pub fn flush(&self) {
        lock(&self.state).flush();
    }

    /// How many commits wait to become durable.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        lock(&self.state).waiting.len()
    }

    /// Pulls the plug: what was not flushed is gone, its receipts fail, and every handle is dead.
    pub fn crash(&self) {
        let mut state = lock(&self.state);
        let undo = std::mem::take(&mut state.undo);
        state.flushes_held = false;
        let changes = undo.into_iter().rev();
        for (key, old) in changes {
            state.apply(Overlay::from([(key, old)]));
        }
        let fault = Fault::new("the power went out");
        for waiter in state.waiting.drain(..) {
            let _ = waiter.send(Err(fault.clone()));
        }
        state.generation += 1;
        state.broken = None;
        state.fail_in = None;
    }

    /// Every answer of a handle becomes ready only after having been polled this often before.
    pub fn answer_after_polls(&self, polls: u32) {
        lock(&self.state).polls_per_answer = polls;
    }
}
