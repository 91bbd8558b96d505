//! What entities want to be told: the `+notify` features behind each capabilities hash (XEP-0115, XEP-0163).
//!
//! Thousands of clients share a few dozen hashes, so the set of nodes is kept once per hash and shared.
//! Only hashes that were verified come in here; asking for and verifying them is the capabilities extension's work.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use xmpp::ns;
use xmpp::stanza::Content;

/// Nodes one kind of client may want to be told of, and bytes of their names: what is beyond is not remembered.
const NODES_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 16 * 1024;

/// What a presence says of its sender's capabilities (XEP-0115 section 4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The software.
    pub node: Box<str>,
    /// The hash of what it can do.
    pub ver: Box<str>,
    /// Whether the hash is one we can compute: only then is what we learn remembered for others.
    pub is_verifiable: bool,
}

impl Claim {
    /// Reads the `<c/>` of a presence, if it has a sensible one.
    #[must_use]
    pub fn of(content: &Content) -> Option<Self> {
        let caps = content.child("c", ns::CAPS)?.open().ok()?;
        let (node, ver, hash) = (caps.attr("node")?, caps.attr("ver")?, caps.attr("hash")?);
        let is_sensible = ver.len() <= 128 && node.len() <= 1024;
        is_sensible.then(|| Self { node: node.into(), ver: ver.into(), is_verifiable: hash == "sha-1" })
    }
}

/// The features of one kind of client, as far as the server cares.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Nodes whose notifications are wanted: features ending in `+notify`, without that ending.
    pub notify: BTreeSet<Box<str>>,
    /// Whether it wants to hear what its account follows (XEP-0376).
    pub manages_account: bool,
}

impl Interest {
    /// Reads the features of a disco#info answer.
    pub fn from_features<'a>(features: impl IntoIterator<Item = &'a str>) -> Self {
        let mut bytes = 0;
        let mut manages_account = false;
        let features = features.into_iter().inspect(|feature| manages_account |= *feature == ns::ACCOUNT_MANAGEMENT);
        let nodes = features.filter_map(|feature| feature.strip_suffix("+notify"));
        let bounded = nodes.take(NODES_MAX).take_while(|node| {
            bytes += node.len();
            bytes <= NAME_BYTES_MAX
        });
        let notify = bounded.map(Box::from).collect();
        Self { notify, manages_account }
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
