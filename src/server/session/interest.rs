//! What entities want to be told: the `+notify` features behind each capabilities hash (XEP-0115, XEP-0163).
//!
//! Thousands of clients share a few dozen hashes, so the set of nodes is kept once per hash and shared.
//! Only hashes that were verified come in here; asking for and verifying them is the capabilities extension's work.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// The features of one kind of client, as far as the server cares.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Nodes whose notifications are wanted: features ending in `+notify`, without that ending.
    pub notify: BTreeSet<Box<str>>,
}

impl Interest {
    /// Reads the features of a disco#info answer.
    pub fn from_features<'a>(features: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            notify: features.into_iter().filter_map(|feature| feature.strip_suffix("+notify")).map(Box::from).collect(),
        }
    }

    /// Whether notifications of `node` are wanted.
    #[must_use]
    pub fn wants(&self, node: &str) -> bool {
        self.notify.contains(node)
    }
}

/// Verified capabilities, by hash, bounded.
#[derive(Debug)]
pub struct Interests {
    known: Mutex<HashMap<Box<str>, Arc<Interest>>>,
    hashes_max: usize,
}

impl Interests {
    /// Remembers at most `hashes_max` hashes; beyond that one is forgotten and asked for again when needed.
    #[must_use]
    pub fn new(hashes_max: usize) -> Self {
        Self { known: Mutex::default(), hashes_max }
    }

    /// What the entities with this hash want.
    #[must_use]
    pub fn get(&self, hash: &str) -> Option<Arc<Interest>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    /// Remembers a verified hash.
    pub fn learn(&self, hash: &str, interest: Interest) -> Arc<Interest> {
        let interest = Arc::new(interest);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.hashes_max
            && let Some(forgotten) = known.keys().next().cloned()
        {
            known.remove(&forgotten);
        }
        known.insert(hash.into(), Arc::clone(&interest));
        interest
    }
}
