//! A queue from tasks to threads, bounded by weight.
//!
//! Tasks wait for room without blocking their thread; threads sleep on a condition variable and take as many
//! items as they want at once, so that one wake-up serves a whole group. Room is given back by whoever has
//! finished with an item, not when it is taken, so that the bound holds for work under way too.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, TryAcquireError};

pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    bell: Condvar,
    room: Semaphore,
}

struct State<T> {
    items: VecDeque<T>,
    sleepers: usize,
    is_closed: bool,
}

/// Whether there was room.
pub(crate) enum Room {
    Taken,
    Full,
    Closed,
}

impl<T> Queue<T> {
    /// A queue for items of `weight_max` together.
    pub(crate) fn new(weight_max: u32) -> Self {
        let state = State { items: VecDeque::new(), sleepers: 0, is_closed: false };
        Self { state: Mutex::new(state), bell: Condvar::new(), room: Semaphore::new(weight_max as usize) }
    }

    /// Takes room for an item, if there is some right now.
    pub(crate) fn try_reserve(&self, weight: u32) -> Room {
        match self.room.try_acquire_many(weight) {
            Ok(permit) => {
                permit.forget();
                Room::Taken
            }
            Err(TryAcquireError::NoPermits) => Room::Full,
            Err(TryAcquireError::Closed) => Room::Closed,
        }
    }

    /// Waits for room. False when the queue was closed.
    pub(crate) async fn reserve(&self, weight: u32) -> bool {
        match self.room.acquire_many(weight).await {
            Ok(permit) => {
                permit.forget();
                true
            }
            Err(_) => false,
        }
    }

    /// Gives room back.
    pub(crate) fn release(&self, weight: u32) {
        self.room.add_permits(weight as usize);
    }

    /// Puts an item in line; room has been taken for it. Drops it when the queue is closed.
    pub(crate) fn push(&self, item: T) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        state.items.push_back(item);
        let is_slept_on = state.sleepers > 0;
        drop(state);
        if is_slept_on {
            self.bell.notify_one();
        }
    }

    /// Moves items into `taken` while `wants_more(&item)` says so, sleeping until there is at least one.
    /// The first item is always taken. False when the queue is closed and empty.
    pub(crate) fn take(&self, taken: &mut Vec<T>, mut wants_more: impl FnMut(&T) -> bool) -> bool {
        let mut state = self.lock();
        loop {
            if let Some(first) = state.items.pop_front() {
                wants_more(&first);
                taken.push(first);
                while let Some(next) = state.items.front() {
                    if !wants_more(next) {
                        break;
                    }
                    taken.extend(state.items.pop_front());
                }
                return true;
            }
            if state.is_closed {
                return false;
            }
            state.sleepers += 1;
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sleepers -= 1;
        }
    }

    /// Takes no more items; what is in line is still given out.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.room.close();
        self.bell.notify_all();
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Nothing under this lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
