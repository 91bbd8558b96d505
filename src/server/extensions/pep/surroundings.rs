//! The nodes around one (XEP-0499), one after the other, in the order in which they are discovered: what is linked to a
//! node, then each of its children with what is around it in the same way, all by name.
//!
//! What is tied to a node is read as far as it is gone along, and a walk can begin behind any node on it, so that a page
//! costs what is on it and not what came before. Of a node that its walker may not know of, what is below is not looked
//! at; what is linked to it is, since that stands beside it and has an access model of its own (XEP-0496 section 4.3).

use std::collections::VecDeque;
use std::sync::Arc;

use pubsub::access::may_see;
use pubsub::model::{TIES_MAX, Tie};
use pubsub::request::Relation;
use store::Fault;
use xmpp::BareJid;

use super::Pep;
use crate::tables::nodes::Held;

/// Names read at once.
const PAGE: usize = 100;

/// How far it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// Whether to what is linked.
    pub(super) has_linked: bool,
    /// Layers of children.
    pub(super) depth: usize,
}

/// A node on the way.
#[derive(Clone)]
struct Spot {
    held: Arc<Held>,
    /// Layers of children between it and where it began.
    layer: usize,
    /// Whether its walker may know of it.
    is_known: bool,
}

/// What is tied to a node in one way, as far as it is not gone along yet.
struct Branch {
    of: Spot,
    tie: Tie,
    /// The name that was read last.
    after: Option<Box<str>>,
    names: VecDeque<Box<str>>,
    is_complete: bool,
}

/// Who goes from node to node.
pub(super) struct Walk<'a> {
    pep: &'a Pep,
    home: &'a BareJid,
    walker: &'a BareJid,
    relation: Relation,
    reach: Reach,
    /// What is next is at the end.
    branches: Vec<Branch>,
    /// Nodes looked at, whether they may be known of or not.
    pub(super) looked_at: usize,
}

impl<'a> Walk<'a> {
    /// From a node that `walker` may know of.
    pub(super) async fn from(
        pep: &'a Pep,
        home: &'a BareJid,
        walker: &'a BareJid,
        reach: Reach,
    ) -> Result<Self, Fault> {
        let relation = pep.relation(home, walker).await?;
        Ok(Self { pep, home, walker, relation, reach, branches: Vec::new(), looked_at: 0 })
    }

    /// Begins at `top`.
    pub(super) fn begin(&mut self, top: &Arc<Held>) {
        self.branch_out(Spot { held: Arc::clone(top), layer: 0, is_known: true });
    }

    /// Goes on behind the node of that name, which is given back; `None` when the way from `top` does not lead there.
    pub(super) async fn resume(&mut self, top: &Arc<Held>, name: &str) -> Result<Option<Arc<Held>>, Fault> {
        // From there upwards.
        let mut line: Vec<(Tie, Spot)> = Vec::new();
        let mut at: Box<str> = name.into();
        while *at != *top.node.name {
            let Some(spot) = self.spot(&at, 0).await? else { return Ok(None) };
            // Only what is linked to it leads on from a node that may not be known of.
            if !spot.is_known && line.last().is_none_or(|(tie, _)| *tie != Tie::Link) {
                return Ok(None);
            }
            let Some((tie, to)) = spot.held.node.config.tie() else { return Ok(None) };
            at = to.into();
            line.push((tie, spot.clone()));
            if line.len() > TIES_MAX {
                return Ok(None);
            }
        }
        let mut spot = Spot { held: Arc::clone(top), layer: 0, is_known: true };
        for (tie, next) in line.into_iter().rev() {
            let layer = spot.layer + usize::from(tie == Tie::Child);
            if layer > self.reach.depth || (tie == Tie::Link && !self.reach.has_linked) {
                return Ok(None);
            }
            let after = Some(Box::from(&*next.held.node.name));
            if tie == Tie::Link {
                self.branch(&spot, Tie::Child, None);
            }
            self.branch(&spot, tie, after);
            spot = Spot { layer, ..next };
        }
        let held = Arc::clone(&spot.held);
        self.branch_out(spot);
        Ok(Some(held))
    }

    /// The next node. `None` when there is no other; nothing inside for one that its walker may not know of.
    pub(super) async fn next(&mut self) -> Result<Option<Option<Arc<Held>>>, Fault> {
        while let Some(branch) = self.branches.last_mut() {
            if branch.names.is_empty() && !branch.is_complete {
                let (name, after) = (&branch.of.held.node.name, branch.after.as_deref());
                let names = self.pep.nodes.below(self.home, name, branch.tie, after, PAGE).await?;
                branch.is_complete = names.len() < PAGE;
                branch.after = names.last().cloned().or(branch.after.take());
                branch.names = names.into();
            }
            let Some(name) = branch.names.pop_front() else {
                self.branches.pop();
                continue;
            };
            let layer = branch.of.layer + usize::from(branch.tie == Tie::Child);
            self.looked_at += 1;
            let Some(spot) = self.spot(&name, layer).await? else { return Ok(Some(None)) };
            let held = spot.is_known.then(|| Arc::clone(&spot.held));
            self.branch_out(spot);
            return Ok(Some(held));
        }
        Ok(None)
    }

    /// A node, if it is there; that its walker may know of those above is known.
    async fn spot(&self, name: &str, layer: usize) -> Result<Option<Spot>, Fault> {
        let nodes = &self.pep.nodes;
        let Some(held) = nodes.held(&nodes.entry(self.home, name)).await? else { return Ok(None) };
        let is_known = nodes.lets(self.home, &held, self.walker, &self.relation, may_see).await?;
        Ok(Some(Spot { held, layer, is_known }))
    }

    fn branch_out(&mut self, spot: Spot) {
        self.branch(&spot, Tie::Child, None);
        self.branch(&spot, Tie::Link, None);
    }

    fn branch(&mut self, of: &Spot, tie: Tie, after: Option<Box<str>>) {
        let is_wanted = match tie {
            Tie::Child => of.is_known && of.layer < self.reach.depth,
            Tie::Link => self.reach.has_linked,
        };
        if is_wanted {
            let of = of.clone();
            self.branches.push(Branch { of, tie, after, names: VecDeque::new(), is_complete: false });
        }
    }
}
