//! Who is there on other servers, as far as their presence tells accounts here (RFC 6121 section 4).
//!
//! For each contact elsewhere its resources, with what their capabilities say (XEP-0115) and which accounts here were
//! told of them. Kept in memory only, and bounded: presence that finds no room is still delivered, but its sender is
//! then told of nodes by subscription alone. Who may be told what is not decided here.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xmpp::{BareJid, FullJid, Jid};

use super::interest::{Claim, Interest};

const SHARDS: usize = 64;

/// Bounds on what is remembered of other servers.
#[derive(Clone, Copy, Debug)]
pub struct RemotesLimits {
    /// Resources of one contact.
    pub resources_max: usize,
    /// Resources times the accounts that see them, in all.
    pub sightings_max: usize,
    /// The same, of one domain: so that no server takes the room of all others.
    pub sightings_per_domain_max: usize,
}

impl Default for RemotesLimits {
    fn default() -> Self {
        Self { resources_max: 32, sightings_max: 1_000_000, sightings_per_domain_max: 250_000 }
    }
}

/// One resource of a contact elsewhere.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its address.
    pub jid: FullJid,
    /// RFC 6121 section 4.7.2.3, as it says.
    pub priority: i8,
    /// What it wants to be told, once its capabilities are known.
    pub interest: Option<Arc<Interest>>,
}

#[derive(Debug)]
struct Resource {
    remote: Remote,
    claim: Option<Claim>,
    seen_by: HashSet<BareJid>,
}

/// What presence from elsewhere changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Noted {
    /// Nothing anybody need act upon, or there is no room.
    Nothing,
    /// The account sees a resource, or capabilities, that it did not see before; this is what they want to be told.
    Wants(Arc<Interest>),
    /// It claims capabilities nobody has asked for yet.
    Claims(Claim),
}

/// The directory.
#[derive(Debug)]
pub struct Remotes {
    shards: Vec<Mutex<HashMap<BareJid, Vec<Resource>>>>,
    hasher: RandomState,
    counts: Mutex<Counts>,
    limits: RemotesLimits,
}

#[derive(Debug, Default)]
struct Counts {
    sightings: usize,
    by_domain: HashMap<Box<str>, usize>,
}

impl Counts {
    fn take(&mut self, domain: &str, limits: &RemotesLimits) -> bool {
        let of_domain = self.by_domain.get(domain).copied().unwrap_or(0);
        if self.sightings >= limits.sightings_max || of_domain >= limits.sightings_per_domain_max {
            return false;
        }
        self.sightings += 1;
        self.by_domain.insert(domain.into(), of_domain + 1);
        true
    }

    fn give_back(&mut self, domain: &str, count: usize) {
        self.sightings = self.sightings.saturating_sub(count);
        if let Some(of_domain) = self.by_domain.get_mut(domain) {
            *of_domain = of_domain.saturating_sub(count);
            if *of_domain == 0 {
                self.by_domain.remove(domain);
            }
        }
    }
}

impl Default for Remotes {
    fn default() -> Self {
        Self::new(RemotesLimits::default())
    }
}

impl Remotes {
    /// Knows nobody.
    #[must_use]
    pub fn new(limits: RemotesLimits) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new(), counts: Mutex::default(), limits }
    }

    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the length")]
    fn shard(&self, contact: &str) -> MutexGuard<'_, HashMap<BareJid, Vec<Resource>>> {
        let at = usize::try_from(self.hasher.hash_one(contact) % SHARDS as u64).unwrap_or(0);
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `account` was sent available presence by `jid`. `known` looks up what is wanted by who makes a claim.
    pub fn note(
        &self,
        account: &BareJid,
        jid: &FullJid,
        priority: i8,
        claim: Option<Claim>,
        known: impl FnOnce(&Claim) -> Option<Arc<Interest>>,
    ) -> Noted {
        let bare = jid.bare();
        let mut shard = self.shard(bare.as_str());
        let resources = shard.entry(bare.clone()).or_default();
        let at = match resources.iter().position(|resource| resource.remote.jid == *jid) {
            Some(at) => at,
            None if resources.len() >= self.limits.resources_max => return Noted::Nothing,
            None => {
                let remote = Remote { jid: jid.clone(), priority, interest: None };
                resources.push(Resource { remote, claim: None, seen_by: HashSet::new() });
                resources.len() - 1
            }
        };
        let Some(resource) = resources.get_mut(at) else { return Noted::Nothing };
        let is_new = !resource.seen_by.contains(account);
        if is_new && !self.counts().take(jid.domain(), &self.limits) {
            if resource.seen_by.is_empty() {
                resources.swap_remove(at);
            }
            if resources.is_empty() {
                shard.remove(&bare);
            }
            return Noted::Nothing;
        }
        resource.seen_by.insert(account.clone());
        resource.remote.priority = priority;
        let is_changed = resource.claim != claim;
        if is_changed {
            resource.claim.clone_from(&claim);
            resource.remote.interest = None;
        }
        if resource.remote.interest.is_none()
            && let Some(claim) = &claim
        {
            resource.remote.interest = known(claim);
        }
        match (&resource.remote.interest, claim) {
            (Some(interest), _) if is_new || is_changed => Noted::Wants(Arc::clone(interest)),
            // Asked by whoever saw the claim first; who comes later hears of it as well.
            (None, Some(claim)) if is_changed => Noted::Claims(claim),
            _ => Noted::Nothing,
        }
    }

    /// What `jid`, which makes `claim`, wants is known now. Who sees it is returned; nobody if it claims something
    /// else by now.
    pub fn learned(&self, jid: &FullJid, claim: &Claim, interest: &Arc<Interest>) -> Vec<BareJid> {
        let mut shard = self.shard(jid.as_bare_str());
        let resource = shard.get_mut(jid.as_bare_str()).into_iter().flatten().find(|one| one.remote.jid == *jid);
        match resource.filter(|resource| resource.claim.as_ref() == Some(claim)) {
            Some(resource) => {
                resource.remote.interest = Some(Arc::clone(interest));
                resource.seen_by.iter().cloned().collect()
            }
            None => Vec::new(),
        }
    }

    /// Nobody answered for `claim`: it is asked for again with the next presence of `jid`.
    pub fn unanswered(&self, jid: &FullJid, claim: &Claim) {
        let mut shard = self.shard(jid.as_bare_str());
        let resource = shard.get_mut(jid.as_bare_str()).into_iter().flatten().find(|one| one.remote.jid == *jid);
        if let Some(resource) = resource.filter(|resource| resource.claim.as_ref() == Some(claim)) {
            resource.claim = None;
        }
    }

    /// Somebody who sees `jid`, if it still makes `claim`.
    #[must_use]
    pub fn viewer(&self, jid: &FullJid, claim: &Claim) -> Option<BareJid> {
        let shard = self.shard(jid.as_bare_str());
        let resource = shard.get(jid.as_bare_str())?.iter().find(|one| one.remote.jid == *jid)?;
        resource.seen_by.iter().next().filter(|_| resource.claim.as_ref() == Some(claim)).cloned()
    }

    /// `account` no longer sees `jid`: one resource, or all of a contact. Those it saw are returned.
    pub fn lost(&self, account: &BareJid, jid: &Jid) -> Vec<FullJid> {
        let mut shard = self.shard(jid.as_bare_str());
        let Some(resources) = shard.get_mut(jid.as_bare_str()) else { return Vec::new() };
        let is_meant = |one: &FullJid| jid.is_bare() || one.as_str() == jid.as_str();
        let lost: Vec<FullJid> = resources
            .iter_mut()
            .filter(|one| is_meant(&one.remote.jid))
            .filter_map(|one| one.seen_by.remove(account).then(|| one.remote.jid.clone()))
            .collect();
        resources.retain(|one| !one.seen_by.is_empty());
        if resources.is_empty() {
            shard.remove(jid.as_bare_str());
        }
        drop(shard);
        if !lost.is_empty() {
            self.counts().give_back(jid.domain(), lost.len());
        }
        lost
    }

    /// `account` is gone, and sees nobody.
    pub fn forget(&self, account: &BareJid) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|contact, resources| {
                let before = resources.len();
                let lost = resources.iter_mut().filter_map(|one| one.seen_by.remove(account).then_some(())).count();
                if lost > 0 {
                    self.counts().give_back(contact.domain(), lost);
                    resources.retain(|one| !one.seen_by.is_empty());
                }
                before == 0 || !resources.is_empty()
            });
        }
    }

    /// The resources of `contact` that `account` sees and `wanted` picks.
    pub fn seen(&self, account: &BareJid, contact: &BareJid, mut wanted: impl FnMut(&Remote) -> bool) -> Vec<Remote> {
        let shard = self.shard(contact.as_str());
        let resources = shard.get(contact.as_str()).into_iter().flatten();
        let seen = resources.filter(|one| one.seen_by.contains(account)).map(|one| &one.remote);
        seen.filter(|remote| wanted(remote)).cloned().collect()
    }

    /// Whether `account` sees `jid`, one resource or any of a contact.
    #[must_use]
    pub fn is_seen(&self, account: &BareJid, jid: &Jid) -> bool {
        let shard = self.shard(jid.as_bare_str());
        let mut resources = shard.get(jid.as_bare_str()).into_iter().flatten();
        let is_meant = |one: &FullJid| jid.is_bare() || one.as_str() == jid.as_str();
        resources.any(|one| is_meant(&one.remote.jid) && one.seen_by.contains(account))
    }

    /// Resources times the accounts that see them.
    #[must_use]
    pub fn sightings(&self) -> usize {
        self.counts().sightings
    }
}

#[cfg(test)]
#[path = "remotes_test.rs"]
mod tests;
