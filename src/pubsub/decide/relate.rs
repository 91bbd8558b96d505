//! Relate a node to another (XEP-0496 section 4.2).
//!
//! A node has one tie at most: to the node it is linked to, or else to its parent, since who is linked has no parent of
//! its own. So ties lead upwards in one line, and a new one closes a circle only if the line leads through the node.

use crate::config::NodeConfig;
use crate::model::{TIED_MAX, TIES_MAX};
use crate::refusal::Refusal;

/// What must be known of the node that one is to be tied to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Related {
    /// It, and the nodes above it by ties, nearest first; at most one more than there may be. Empty where there is no
    /// such node.
    pub line: Vec<Box<str>>,
    /// Its parent, or that of the node it is linked to.
    pub parent: Option<Box<str>>,
    /// Whether the caller may publish in it: who may puts no more before its readers than it could anyway.
    pub may_publish: bool,
    /// Nodes that are tied to it in the same way.
    pub tied: usize,
    /// Ties between the node that is to be tied and what is furthest below it.
    pub height: usize,
}

/// Whether the node `name` may be tied as `wanted` has it.
///
/// # Errors
/// [`Refusal::InvalidRelationship`] and [`Refusal::TooManyRelated`].
pub fn relate(name: &str, wanted: &NodeConfig, to: &Related) -> Result<(), Refusal> {
    let Some((_, target)) = wanted.tie() else { return Ok(()) };
    let no = |why| Err(Refusal::InvalidRelationship(why));
    if target == name {
        return no("A node is not related to itself.");
    }
    if to.line.is_empty() || !to.may_publish {
        return no("There is no such node to be related to.");
    }
    if wanted.link.is_some() && wanted.parent.is_some() && wanted.parent != to.parent {
        return no("A linked node has the parent of the node it is linked to.");
    }
    if to.line.iter().any(|above| **above == *name) {
        return no("The relationships between nodes must not lead round in a circle.");
    }
    if to.line.len() + to.height > TIES_MAX {
        return no("Nodes are related over 16 steps at most.");
    }
    if to.tied >= TIED_MAX { Err(Refusal::TooManyRelated(TIED_MAX)) } else { Ok(()) }
}
