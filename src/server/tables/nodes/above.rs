//! Nodes below others, and nodes that belong to others (XEP-0496).
//!
//! Each node has at most one tie: to the node it is linked to, or else to its parent. So ties lead upwards in one line,
//! and what is above a node is found by a bounded number of steps. It is never stored with the node: it is looked up
//! each time, so it cannot be out of step. A linked node has the parents of the node it is linked to.

use std::sync::Arc;

use pubsub::access::{Above, May, may_pass, may_read};
use pubsub::config::{AccessModel, PublishModel};
use pubsub::model::{TIES_MAX, Tie};
use pubsub::request::{Relation, effective};
use pubsub::{Home, NodeConfig, SubscriptionState};
use store::{Fault, KeyBuilder, KeyReader, Page};
use xmpp::BareJid;

use super::super::Table;
use super::{Entry, Held, Nodes};

/// Subscriptions of one address looked at.
const SUBSCRIPTIONS_MAX: usize = 100;

impl Nodes {
    /// `held` with what is above it now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn raised(&self, entry: &Entry, held: Arc<Held>) -> Result<Arc<Held>, Fault> {
        if held.node.config.tie().is_none() {
            return Ok(match held.above.is_empty() && held.linked.is_none() {
                true => held,
                false => Arc::new(Held { above: Vec::new(), linked: None, ..Held::clone(&held) }),
            });
        }
        let linked = match &held.node.config.link {
            Some(name) => self.stored(&self.entry(&entry.home, name)).await?,
            None => None,
        };
        let above = self.nodes_above(&entry.home, &held).await?;
        let mut held = Held::clone(&held);
        if held.node.config.link.is_some() {
            // "The pubsub service MUST set the same parent to the linking node" (section 4.2).
            let parent = above.iter().flatten().next().map(|held| Box::from(&*held.node.name));
            if parent != held.node.config.parent {
                held.node.config = Arc::new(NodeConfig { parent, ..(*held.node.config).clone() });
            }
        }
        (held.above, held.linked) = (above, linked);
        Ok(Arc::new(held))
    }

    /// The parents of a node, nearest first; `None` in the place of what is not there.
    async fn nodes_above(&self, home: &BareJid, held: &Held) -> Result<Vec<Option<Arc<Held>>>, Fault> {
        let mut above = Vec::new();
        let mut at = Arc::clone(&held.node.config);
        for _ in 0..TIES_MAX {
            let Some((tie, name)) = at.tie() else { return Ok(above) };
            let Some(next) = self.stored(&self.entry(home, name)).await? else {
                above.push(None);
                return Ok(above);
            };
            at = Arc::clone(&next.node.config);
            if tie == Tie::Child {
                above.push(Some(next));
            }
        }
        if at.tie().is_some() {
            above.push(None);
        }
        Ok(above)
    }

    /// What an entity is to the nodes above one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn above(&self, home: &BareJid, held: &Held, entity: &BareJid) -> Result<Vec<Above>, Fault> {
        let mut found = Vec::with_capacity(held.above.len());
        for above in &held.above {
            found.push(match above {
                Some(above) => self.standing_above(home, above, entity).await?,
                None => Above::Missing,
            });
        }
        Ok(found)
    }

    /// What an entity is to a node, as one that is above others.
    async fn standing_above(&self, home: &BareJid, held: &Held, entity: &BareJid) -> Result<Above, Fault> {
        let kind = if home.localpart().is_some() { Home::Account } else { Home::Service };
        let affiliation = effective(kind, home, entity, self.affiliation(held, entity).await?);
        let config = Arc::clone(&held.node.config);
        let counts = config.access_model == AccessModel::Authorize || config.publish_model == PublishModel::Subscribers;
        let is_subscribed = counts
            && self
                .subscriptions_of(held, entity, SUBSCRIPTIONS_MAX)
                .await?
                .iter()
                .any(|one| one.state == SubscriptionState::Subscribed);
        Ok(Above::Node { config, affiliation, is_subscribed })
    }

    /// Whether all nodes above one let an entity read.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn lets_pass(
        &self,
        home: &BareJid,
        held: &Held,
        entity: &BareJid,
        relation: &Relation,
    ) -> Result<bool, Fault> {
        Ok(held.above.is_empty() || may_pass(&self.above(home, held, entity).await?, relation, may_read).is_ok())
    }

    /// Whether a node lets an entity do something, whatever those above it do.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn lets(
        &self,
        home: &BareJid,
        held: &Held,
        entity: &BareJid,
        relation: &Relation,
        may: May,
    ) -> Result<bool, Fault> {
        let standing = self.standing_above(home, held, entity).await?;
        Ok(may_pass(&[standing], relation, may).is_ok())
    }

    /// Whether a node, and all nodes above it, let an entity do something.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn passes(
        &self,
        home: &BareJid,
        held: &Held,
        entity: &BareJid,
        relation: &Relation,
        may: May,
    ) -> Result<bool, Fault> {
        if !self.lets(home, held, entity, relation, may).await? {
            return Ok(false);
        }
        Ok(held.above.is_empty() || may_pass(&self.above(home, held, entity).await?, relation, may).is_ok())
    }

    /// Up to `rows_max` nodes that are tied to `name`, by name, behind `after`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn below(
        &self,
        home: &BareJid,
        name: &str,
        tie: Tie,
        after: Option<&str>,
        rows_max: usize,
    ) -> Result<Vec<Box<str>>, Fault> {
        let prefix = Table::NodesBelow.key().str(home.as_str()).str(name).u8(tie as u8).build();
        let mut range = KeyBuilder::extend(&prefix).range();
        if let Some(after) = after {
            range = range.after(&super::below_key(home.as_str(), name, tie, after));
        }
        let rows = self.store.scan(range, Page::rows(rows_max)).await?;
        rows.into_iter().map(|(key, _)| Ok(KeyReader::after(&key, prefix.len()).str()?.into())).collect()
    }
}

impl Held {
    /// Whether others than its own configuration and affiliations decide who may read it.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.guard.is_some() || !self.above.is_empty()
    }

    /// Whether anybody may read it who is not shut out by name.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let is_open = |held: &Self| held.node.config.access_model == AccessModel::Open;
        is_open(self) && self.above.iter().all(|above| above.as_deref().is_some_and(is_open))
    }
}
