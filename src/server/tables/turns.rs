//! Turns: whoever reads and then writes what belongs to one account waits until nobody else does.
//!
//! A fixed number of locks shared by all accounts, so that nothing grows with them. Two accounts may meet at one of
//! them; that costs time and nothing else.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard};

const TURNS: usize = 64;

/// The locks.
#[derive(Debug)]
pub struct Turns {
    turns: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self { turns: (0..TURNS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl Turns {
    /// Waits until nobody else has the turn of `account`. Whoever holds one must not wait for another.
    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the length")]
    pub async fn of(&self, account: &str) -> MutexGuard<'_, ()> {
        let at = usize::try_from(self.hasher.hash_one(account) % TURNS as u64).unwrap_or(0);
        self.turns[at].lock().await
    }
}
