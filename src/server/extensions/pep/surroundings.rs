//! The nodes around one (XEP-0499), one after the other, in the order in which they are discovered: what is linked to a
//! node, then each of its children with what is around it in the same way, all by name.
//!
//! What is tied to a node is read as far as it is gone along, and a walk can begin behind any node on it, so that a page
//! costs what is on it and not what came before. Only what its walker may know of is on the way: what is below of a node
//! that it may not know of is not looked at.

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
        self.branch_out(Spot { held: Arc::clone(top), layer: 0 });
    }

    /// Goes on behind the node of that name, which is given back; `None` when the way from `top` does not lead there.
    pub(super) async fn resume(&mut self, top: &Arc<Held>, name: &str) -> Result<Option<Arc<Held>>, Fault> {
        // From there upwards.
        let mut line: Vec<(Tie, Arc<Held>)> = Vec::new();
        let mut at: Box<str> = name.into();
        while *at != *top.node.name {
            let Some(held) = self.visible(&at).await? else { return Ok(None) };
            let Some((tie, to)) = held.node.config.tie() else { return Ok(None) };
            at = to.into();
            line.push((tie, Arc::clone(&held)));
            if line.len() > TIES_MAX {
                return Ok(None);
            }
        }
        let mut spot = Spot { held: Arc::clone(top), layer: 0 };
        for (tie, held) in line.into_iter().rev() {
            let layer = spot.layer + usize::from(tie == Tie::Child);
            if layer > self.reach.depth || (tie == Tie::Link && !self.reach.has_linked) {
                return Ok(None);
            }
            let after = Some(Box::from(&*held.node.name));
            if tie == Tie::Link {
                self.branch(&spot, Tie::Child, None);
            }
            self.branch(&spot, tie, after);
            spot = Spot { held, layer };
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
            let held = self.visible(&name).await?;
            if let Some(held) = &held {
                self.branch_out(Spot { held: Arc::clone(held), layer });
            }
            return Ok(Some(held));
        }
        Ok(None)
    }

    /// A node, if its walker may know of it; that it may know of those above is known.
    async fn visible(&self, name: &str) -> Result<Option<Arc<Held>>, Fault> {
        let nodes = &self.pep.nodes;
        let Some(held) = nodes.held(&nodes.entry(self.home, name)).await? else { return Ok(None) };
        let is_visible = nodes.lets(self.home, &held, self.walker, &self.relation, may_see).await?;
        Ok(Some(held).filter(|_| is_visible))
    }

    fn branch_out(&mut self, spot: Spot) {
        self.branch(&spot, Tie::Child, None);
        self.branch(&spot, Tie::Link, None);
    }

    fn branch(&mut self, of: &Spot, tie: Tie, after: Option<Box<str>>) {
        let is_wanted = match tie {
            Tie::Child => of.layer < self.reach.depth,
            Tie::Link => self.reach.has_linked,
        };
        if is_wanted {
            let of = of.clone();
            self.branches.push(Branch { of, tie, after, names: VecDeque::new(), is_complete: false });
        }
    }
}
