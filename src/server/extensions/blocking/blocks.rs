//! Who blocks whom: the blocklists in memory, and the one question everybody has.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use store::{CommitError, Fault};
use xmpp::{BareJid, Jid};

use crate::extension::{Kit, Pending};
use crate::router::Router;
use crate::tables::blocklist::Blocklists;
use crate::tables::cache::{Cache, Weight};

/// Addresses of all blocklists together that are kept in memory for accounts that are not online.
const ADDRESSES_MAX: usize = 200_000;

/// The blocklist of one account. Most are empty, and an empty one answers at once.
#[derive(Debug, Default)]
pub struct Blocklist {
    /// Replaced as a whole when it changes, so that whoever reads it holds no lock.
    addresses: Mutex<Arc<BTreeSet<Jid>>>,
    /// Held while a change is made durable, so that the list in memory and the one in the store change alike.
    turnstile: tokio::sync::Mutex<()>,
}

impl Weight for Blocklist {
    fn weight(&self) -> usize {
        self.addresses().len()
    }
}

impl Blocklist {
    /// The blocked addresses, in order.
    #[must_use]
    pub fn addresses(&self) -> Arc<BTreeSet<Jid>> {
        Arc::clone(&self.addresses.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Is `other` blocked by this list?
    #[must_use]
    pub fn blocks(&self, other: &Jid) -> bool {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        !addresses.is_empty() && covers(&addresses, other)
    }
}

/// Does one of `addresses` match `other` (XEP-0191, "JID Matching")? Any of these does: the very address, its bare
/// address, its domain.
#[must_use]
pub fn covers(addresses: &BTreeSet<Jid>, other: &Jid) -> bool {
    addresses.contains(other.as_str()) || addresses.contains(other.as_bare_str()) || addresses.contains(other.domain())
}

/// Is `other` so close to `account` that no list can block it: the account itself, or the server it lives on?
/// (XEP-0191 section 5, note; without it a list could lock its owner out.)
#[must_use]
pub fn is_exempt(account: &str, other: &Jid) -> bool {
    other.as_bare_str() == account
        || (other.localpart().is_none() && account.rsplit_once('@').is_some_and(|(_, domain)| domain == other.domain()))
}

/// Who of two blocks the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart {
    /// The first.
    Itself,
    /// The second.
    Other,
}

/// The blocklists.
#[expect(missing_debug_implementations, reason = "nobody prints blocklists")]
pub struct Blocks {
    router: Weak<Router>,
    cache: Cache<Blocklist>,
    table: Blocklists,
}

impl Blocks {
    /// The blocklists in the kit's store.
    #[must_use]
    pub fn new(kit: &Kit) -> Arc<Self> {
        let router = Arc::downgrade(&kit.router);
        let online = Weak::clone(&router);
        let is_online = move |account: &str| online.upgrade().is_some_and(|router| router.sessions.any(account));
        let table = Blocklists::new(Arc::clone(&kit.store));
        Arc::new(Self { router, cache: Cache::new(ADDRESSES_MAX, is_online), table })
    }

    /// The blocklist of `account`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open(&self, account: &BareJid) -> Result<Arc<Blocklist>, Fault> {
        let load = async || {
            let addresses = self.table.load(account.as_str()).await?;
            Ok(Blocklist { addresses: Mutex::new(Arc::new(addresses)), ..Blocklist::default() })
        };
        self.cache.load(account, load).await
    }

    /// Does `owner`, an account, block `other`? Answered at once for an account that is online.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_blocked(self: &Arc<Self>, owner: &BareJid, other: &Jid) -> Pending<Result<bool, Fault>> {
        if let Some(blocks) = self.is_blocked_at_hand(owner.as_str(), other) {
            return Pending::now(Ok(blocks));
        }
        let (blocks, owner, other) = (Arc::clone(self), owner.clone(), other.clone());
        Pending::later(async move {
            let list = blocks.open(&owner).await?;
            Ok(list.blocks(&other) && !is_exempt(owner.as_str(), &other))
        })
    }

    /// The same, if the list is in memory. That of an account with an available resource always is.
    #[must_use]
    pub fn is_blocked_at_hand(&self, owner: &str, other: &Jid) -> Option<bool> {
        let list = self.cache.get(owner)?;
        Some(list.blocks(other) && !is_exempt(owner, other))
    }

    /// Whether one of two blocks the other, as far as they are accounts here, and which.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn apart(self: &Arc<Self>, one: &BareJid, other: &BareJid) -> Result<Option<Apart>, Fault> {
        let Some(router) = self.router.upgrade().filter(|_| one != other) else { return Ok(None) };
        let is_here = |jid: &BareJid| jid.localpart().is_some() && router.serves(jid.domain());
        if is_here(one) && self.is_blocked(one, &Jid::from(other)).await? {
            return Ok(Some(Apart::Itself));
        }
        if is_here(other) && self.is_blocked(other, &Jid::from(one)).await? {
            return Ok(Some(Apart::Other));
        }
        Ok(None)
    }

    /// Whether one of two blocks the other, as far as they are accounts here.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn are_apart(self: &Arc<Self>, one: &BareJid, other: &BareJid) -> Result<bool, Fault> {
        Ok(self.apart(one, other).await?.is_some())
    }

    /// Adds and removes addresses. Resolves when that is durable, with what was not there before or is not now.
    ///
    /// # Errors
    /// `None` if the list would have more than `addresses_max`; else that the store failed.
    pub(super) async fn change(
        &self,
        account: &BareJid,
        add: BTreeSet<Jid>,
        remove: Removed,
        addresses_max: usize,
    ) -> Result<Changed, Option<Fault>> {
        let list = self.open(account).await?;
        let _turn = list.turnstile.lock().await;
        let before = list.addresses();
        let added: Vec<Jid> = add.into_iter().filter(|address| !before.contains(address.as_str())).collect();
        let removed: Vec<Jid> = match remove {
            Removed::Everything => before.iter().cloned().collect(),
            Removed::These(these) => these.into_iter().filter(|address| before.contains(address.as_str())).collect(),
        };
        let mut after = BTreeSet::clone(&before);
        after.extend(added.iter().cloned());
        for address in &removed {
            after.remove(address.as_str());
        }
        if after.len() > addresses_max && !added.is_empty() {
            return Err(None);
        }
        if !added.is_empty() || !removed.is_empty() {
            self.table.change(account.as_str(), &added, &removed).await.map_err(|error| match error {
                CommitError::Fault(fault) => fault,
                other => Fault::new(other.to_string()),
            })?;
        }
        let after = Arc::new(after);
        *list.addresses.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&after);
        Ok(Changed { before, after, added, removed })
    }

    /// Deletes the blocklist of an account.
    pub(super) async fn delete(&self, account: &BareJid) -> Result<(), Fault> {
        self.cache.forget(account.as_str());
        self.table.delete(account.as_str()).await.map_err(|error| Fault::new(error.to_string()))
    }
}

/// What to take off a list.
#[derive(Debug)]
pub(super) enum Removed {
    /// All of it.
    Everything,
    /// What of these is on it.
    These(BTreeSet<Jid>),
}

/// How a list changed.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) before: Arc<BTreeSet<Jid>>,
    pub(super) after: Arc<BTreeSet<Jid>>,
    pub(super) added: Vec<Jid>,
    pub(super) removed: Vec<Jid>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::runtime::{SeededIds, SimulatedClock};
    use crate::session::interest::Interests;
    use crate::session::{SessionLimits, Sessions};

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    #[test]
    fn the_four_ways_an_address_matches() {
        // XEP-0191, "JID Matching".
        let others =
            ["user@domain/resource", "user@domain/else", "user@domain", "other@domain", "domain", "domain/resource"];
        for (blocked, matched) in [
            ("user@domain/resource", &["user@domain/resource"][..]),
            ("user@domain", &["user@domain/resource", "user@domain/else", "user@domain"]),
            ("domain/resource", &["domain/resource"]),
            ("domain", &others),
            ("elsewhere", &[]),
        ] {
            let addresses = BTreeSet::from([jid(blocked)]);
            let found: Vec<&str> = others.into_iter().filter(|other| covers(&addresses, &jid(other))).collect();
            assert_eq!(found, matched, "{blocked}");
        }
    }

    #[tokio::test]
    async fn a_list_says_the_same_before_and_after_it_is_in_memory() {
        let clock = Arc::new(SimulatedClock::new(1));
        let ids = Arc::new(SeededIds::new(1));
        let sessions = Sessions::new(SessionLimits { sessions_per_account_max: 1, mailbox_bytes_max: 1_000 });
        let hosts = ["montague.net".into()];
        let router = Arc::new(Router::new(
            hosts,
            sessions,
            Interests::new(1),
            Arc::<SimulatedClock>::clone(&clock),
            Arc::<SeededIds>::clone(&ids),
        ));
        let kit = Kit { store: Arc::new(store::Memory::new()), router, clock, ids };
        let bare = |text: &str| BareJid::new(text).unwrap();
        let (romeo, paris) = (bare("romeo@montague.net"), bare("paris@capulet.com"));
        let add = ["montague.net", "capulet.com"].map(jid).into();
        let nobody = Removed::These(BTreeSet::new());
        Blocks::new(&kit).change(&romeo, add, nobody, 10).await.unwrap();
        let blocks = Blocks::new(&kit);
        for other in ["montague.net", "benvolio@montague.net", "paris@capulet.com"] {
            let again = Blocks::new(&kit);
            let first = again.is_blocked(&romeo, &jid(other)).await.unwrap();
            assert_eq!(first, other.contains('@'), "{other}");
            assert_eq!(again.is_blocked(&romeo, &jid(other)).await.unwrap(), first, "{other}");
        }
        assert_eq!(blocks.apart(&romeo, &paris).await.unwrap(), Some(Apart::Itself));
        assert_eq!(blocks.apart(&paris, &romeo).await.unwrap(), Some(Apart::Other));
        assert!(!blocks.are_apart(&romeo, &romeo).await.unwrap());
        assert!(!blocks.are_apart(&paris, &bare("tybalt@capulet.com")).await.unwrap(), "neither is here");
    }

    #[test]
    fn nobody_blocks_themselves_or_their_server() {
        for (other, expected) in [
            ("romeo@montague.net", true),
            ("romeo@montague.net/orchard", true),
            ("montague.net", true),
            ("montague.net/admin", true),
            ("benvolio@montague.net", false),
            ("capulet.com", false),
        ] {
            assert_eq!(is_exempt("romeo@montague.net", &jid(other)), expected, "{other}");
        }
    }
}
