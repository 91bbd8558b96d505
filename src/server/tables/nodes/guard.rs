//! Nodes whose readers are another node's readers: what is attached to items, and the sums of it (XEP-0470 section 4.2);
//! the list of a node's public subscribers (XEP-0465).
//!
//! Their access is never stored. It is looked up where it belongs each time, so it cannot be out of step: who is shut
//! out of a feed is shut out of its likes at once, and where there is no feed any more there are no likes.

use std::sync::Arc;

use pubsub::config::AccessModel;
use pubsub::profile::attachments::{self, is_kept};
use pubsub::profile::public;
use pubsub::{NodeConfig, SubscriptionState};
use store::Fault;
use xmpp::BareJid;

use super::{Entry, Held, Nodes, Number};

/// The node that decides who may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Its number: its affiliations and subscriptions count.
    pub number: Number,
    /// How many affiliations it has.
    pub affiliations: u64,
}

/// Subscriptions of one address looked at.
const SUBSCRIPTIONS_MAX: usize = 100;

impl Nodes {
    /// The node, if it exists. One that follows another's access does not exist without that one, and has its access.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn held(&self, entry: &Entry) -> Result<Option<Arc<Held>>, Fault> {
        if let Some(name) = public::listed(&entry.name) {
            return self.list(entry, name).await;
        }
        if !is_kept(&entry.name) {
            return match self.stored(entry).await? {
                Some(held) => Ok(Some(self.raised(entry, held).await?)),
                None => Ok(None),
            };
        }
        let Some(name) = attachments::guard(&entry.home, &entry.name) else { return Ok(None) };
        let Some(held) = self.stored(entry).await? else { return Ok(None) };
        let theirs = self.entry(&entry.home, &name);
        let guard = match public::listed(&name) {
            Some(of) => self.list(&theirs, of).await?,
            None => match self.stored(&theirs).await? {
                Some(guard) => Some(self.raised(&theirs, guard).await?),
                None => None,
            },
        };
        Ok(guard.map(|guard| guarded(held, &guard)))
    }

    /// The list of the public subscribers of the node `name`, which is there as long as that node is: one from before it
    /// was made is another node's.
    async fn list(&self, entry: &Entry, name: &str) -> Result<Option<Arc<Held>>, Fault> {
        let Some(held) = self.stored(entry).await? else { return Ok(None) };
        if held.is_copy(&entry.home) {
            return Ok(Some(held));
        }
        if public::subscribers_of(name).is_none() {
            return Ok(None);
        }
        let theirs = self.entry(&entry.home, name);
        let Some(guard) = self.stored(&theirs).await?.filter(|guard| guard.node.created <= held.node.created) else {
            return Ok(None);
        };
        let guard = self.raised(&theirs, guard).await?;
        Ok(Some(guarded(held, &guard)))
    }

    /// Whether an entity is subscribed to the node that decides who may read this one, if another does; asked only where
    /// that is what decides.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_admitted(&self, held: &Held, bare: &BareJid) -> Result<Option<bool>, Fault> {
        let Some(guard) = held.guard else { return Ok(None) };
        if held.node.config.access_model != AccessModel::Authorize {
            return Ok(Some(false));
        }
        let rows = super::load::subscriptions_of(self.store.as_ref(), &guard.number, bare, SUBSCRIPTIONS_MAX).await?;
        Ok(Some(rows.iter().any(|one| one.state == SubscriptionState::Subscribed)))
    }
}

/// `held` with the access of `guard`.
pub(super) fn guarded(held: Arc<Held>, guard: &Held) -> Arc<Held> {
    // What decides about the one decides about the other.
    let own = Guard { number: guard.number, affiliations: guard.node.tally.affiliations };
    let now = guard.guard.unwrap_or(own);
    let (theirs, ours) = (&guard.node.config, &held.node.config);
    let is_same =
        theirs.access_model == ours.access_model && theirs.roster_groups_allowed == ours.roster_groups_allowed;
    if is_same && held.guard == Some(now) && held.above == guard.above {
        return held;
    }
    let mut held = Held::clone(&held);
    held.guard = Some(now);
    held.above.clone_from(&guard.above);
    if !is_same {
        held.node.config = Arc::new(NodeConfig {
            access_model: theirs.access_model,
            roster_groups_allowed: theirs.roster_groups_allowed.clone(),
            ..(**ours).clone()
        });
    }
    Arc::new(held)
}

impl Held {
    /// Whether this is what another server has, kept for its followers here: it takes nothing from anybody, which no node
    /// of this house does, and who was sent it reads it.
    fn is_copy(&self, home: &BareJid) -> bool {
        self.node.creator == *home && self.node.config.payload_bytes_max == 0
    }

    /// Where the affiliations that count are, and how many.
    pub(super) fn affiliated(&self) -> (&Number, u64) {
        let own = (&self.number, self.node.tally.affiliations);
        self.guard.as_ref().map_or(own, |guard| (&guard.number, guard.affiliations))
    }

    /// A node that is about to be: one that `guard` decides about.
    #[must_use]
    pub fn coming(node: pubsub::Node, number: Number, guard: &Self) -> Arc<Self> {
        guarded(Arc::new(Self { node, number, floor: 0, guard: None, above: Vec::new(), linked: None }), guard)
    }
}
