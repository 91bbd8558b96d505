//! What is known of an account, kept in memory: pinned while it is in use, and else for as long as there is room.
//!
//! One value for each account, loaded at most once at a time, so that everybody who changes it changes the same
//! one. A value that somebody holds, or whose account is online, is never let go; of the others the one used
//! longest ago goes first.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;
use xmpp::BareJid;

/// Something that takes room.
pub trait Weight {
    /// How much, in rows.
    fn weight(&self) -> usize;
}

struct Slot<V> {
    cell: Arc<OnceCell<Arc<V>>>,
    used: u64,
}

impl<V: Weight> Slot<V> {
    fn weigh(&self) -> usize {
        1 + self.cell.get().map_or(0, |value| value.weight())
    }

    /// A slot or value with a second owner is in use. Nobody can become one while the shard is locked.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.cell) == 1 && self.cell.get().is_none_or(|value| Arc::strong_count(value) == 1)
    }
}

const SHARDS: usize = 64;

/// Values by account, bounded.
#[expect(missing_debug_implementations, reason = "a closure has nothing to show")]
pub struct Cache<V> {
    shards: Vec<Mutex<HashMap<BareJid, Slot<V>>>>,
    hasher: RandomState,
    /// Counts uses, to tell which was the longer ago.
    uses: AtomicU64,
    rows_max: usize,
    is_online: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl<V: Weight> Cache<V> {
    /// Keeps values of accounts that are not online as long as all values together weigh at most `rows_max` rows.
    pub fn new(rows_max: usize, is_online: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            uses: AtomicU64::new(0),
            rows_max,
            is_online: Box::new(is_online),
        }
    }

    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the length")]
    fn shard(&self, account: &str) -> MutexGuard<'_, HashMap<BareJid, Slot<V>>> {
        let at = usize::try_from(self.hasher.hash_one(account) % SHARDS as u64).unwrap_or(0);
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of `account`, if it is here.
    pub fn get(&self, account: &str) -> Option<Arc<V>> {
        let mut shard = self.shard(account);
        let slot = shard.get_mut(account)?;
        slot.used = self.uses.fetch_add(1, Ordering::Relaxed);
        slot.cell.get().cloned()
    }

    /// The value of `account`; whoever asks first loads it, the others wait for that.
    pub async fn load<E>(&self, account: &BareJid, load: impl AsyncFnOnce() -> Result<V, E>) -> Result<Arc<V>, E>
    where
        V: Send + Sync,
    {
        let (cell, is_new) = {
            let mut shard = self.shard(account.as_str());
            let used = self.uses.fetch_add(1, Ordering::Relaxed);
            match shard.get_mut(account.as_str()) {
                Some(slot) => {
                    slot.used = used;
                    (Arc::clone(&slot.cell), false)
                }
                None => {
                    let cell = Arc::new(OnceCell::new());
                    shard.insert(account.clone(), Slot { cell: Arc::clone(&cell), used });
                    (cell, true)
                }
            }
        };
        if is_new {
            self.make_room(account.as_str());
        }
        cell.get_or_try_init(async || load().await.map(Arc::new)).await.cloned()
    }

    /// Forgets the value of `account`, so that it is loaded anew. Who holds the old one must not change it.
    pub fn forget(&self, account: &str) {
        self.shard(account).remove(account);
    }

    /// Lets go of what is idle in the shard of `account`, the longest unused first, until the rest fits.
    ///
    /// Who is online is asked without holding the shard: whoever knows that may be asking here meanwhile. What was
    /// used since is kept, so a value cannot go while its account comes.
    fn make_room(&self, account: &str) {
        let rows_max = self.rows_max / SHARDS;
        let (mut weight, mut idle) = {
            let shard = self.shard(account);
            let weight: usize = shard.values().map(Slot::weigh).sum();
            if weight <= rows_max {
                return;
            }
            let idle = shard.iter().filter(|(_, slot)| slot.is_idle());
            let idle: Vec<(u64, BareJid)> = idle.map(|(account, slot)| (slot.used, account.clone())).collect();
            (weight, idle)
        };
        idle.sort_unstable_by_key(|(used, _)| *used);
        for (used, candidate) in idle {
            if weight <= rows_max {
                return;
            }
            if (self.is_online)(candidate.as_str()) {
                continue;
            }
            let mut shard = self.shard(account);
            if let Some(slot) = shard.get(candidate.as_str())
                && slot.used == used
                && slot.is_idle()
            {
                weight = weight.saturating_sub(slot.weigh());
                shard.remove(candidate.as_str());
            }
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    struct Ten;
    impl Weight for Ten {
        fn weight(&self) -> usize {
            10
        }
    }

    fn account(number: usize) -> BareJid {
        BareJid::new(&format!("a{number}@example.net")).unwrap()
    }

    #[tokio::test]
    async fn the_idle_go_first_and_the_used_stay() {
        let cache = Cache::new(64 * 25, |account| account.starts_with("a1@"));
        let load = async || Ok::<_, ()>(Ten);
        let held = cache.load(&account(0), load).await.unwrap();
        cache.load(&account(1), load).await.unwrap();
        for number in 2..2_000 {
            cache.load(&account(number), load).await.unwrap();
        }
        assert!(cache.len() <= 64 * 4, "{} values are kept", cache.len());
        assert!(Arc::ptr_eq(&held, &cache.get("a0@example.net").unwrap()), "somebody holds it");
        assert!(cache.get("a1@example.net").is_some(), "it is online");
        assert!(cache.get("a2@example.net").is_none(), "it was used longest ago");
    }

    #[tokio::test]
    async fn a_failed_load_is_tried_again() {
        let cache: Cache<Ten> = Cache::new(100, |_| false);
        assert!(cache.load(&account(1), async || Err("no")).await.is_err());
        assert!(cache.get("a1@example.net").is_none());
        assert!(cache.load(&account(1), async || Ok::<_, ()>(Ten)).await.is_ok());
        cache.forget("a1@example.net");
        assert!(cache.get("a1@example.net").is_none());
    }
}
