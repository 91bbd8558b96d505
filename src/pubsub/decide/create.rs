//! Create a node, with or without a configuration (XEP-0060 section 8.1).
//!
//! In an account the account alone creates; in a service whoever the server's policy lets. The creator of a service's
//! node is its first owner. Nodes are leaves: there are no collections (XEP-0248).

use std::sync::Arc;

use xmpp::BareJid;

use super::configure::{Unknown, apply};
use crate::config::NodeConfig;
use crate::decision::{Audience, Change, Decision, Event, Notice, Reply};
use crate::extended::updated;
use crate::model::{Affiliation, Home, Limits, Node, NodeName, Tally};
use crate::profile::is_everybodys;
use crate::profile::microblog::typed_config;
use crate::refusal::Refusal;
use crate::request::{Caller, Values, View};
use crate::time::Timestamp;

pub(super) fn create(
    view: &View,
    caller: &Caller,
    name: Option<&NodeName>,
    config: Option<&Values>,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    if view.home == Home::Account && caller.bare != view.address {
        return Err(Refusal::MayNotCreate);
    }
    if view.node.is_some() {
        return Err(Refusal::NodeExists);
    }
    let generated: NodeName;
    let (name, reply) = match name {
        Some(name) => (name, Reply::Empty),
        None => {
            generated = NodeName::from(&*view.fresh);
            (&generated, Reply::Created(generated.clone()))
        }
    };
    let (node, changes) = new_node(view, caller, name, config, Unknown::Ignored, now)?;
    Ok(Decision { changes, reply, notices: Vec::from_iter(appears(&node)) })
}

/// A new node is told of to who is subscribed to what is above it, if something is (XEP-0497 section 1).
pub(super) fn appears(node: &Node) -> Option<Notice> {
    let config = &node.config;
    let is_related = config.parent.is_some() || config.link.is_some();
    (is_related && config.deliver_notifications).then(|| Notice {
        audience: Audience::Extended,
        event: Event::Metadata(updated(None, config)),
        version: node.tally.version,
    })
}

/// A feed that nobody has posted to, as it is for who follows or reads it: with what its first post would make it, if
/// that says nothing of its own.
#[must_use]
pub fn unposted(address: &BareJid, name: &NodeName, limits: &Limits, now: Timestamp) -> Node {
    Node {
        name: name.clone(),
        creator: address.clone(),
        created: now,
        config: Arc::new(crate::profile::default_config(Home::Account, name, limits)),
        tally: Tally { version: now.0, ..Tally::default() },
    }
}

/// Whether a node is such a feed still: nothing was ever published there, and nobody configured it.
pub(super) fn is_unposted(view: &View, node: &Node) -> bool {
    is_everybodys(view.home, &node.name) && node.tally.sequence == 0 && {
        let default = crate::profile::default_config(view.home, &node.name, &view.limits);
        *node.config == NodeConfig { payload_bytes_max: node.config.payload_bytes_max, ..default }
    }
}

/// The node, and the changes that make it. Used by publish as well, for automatic creation (section 7.1.4).
pub(super) fn new_node(
    view: &View,
    caller: &Caller,
    name: &NodeName,
    values: Option<&Values>,
    unknown: Unknown,
    now: Timestamp,
) -> Result<(Node, Vec<Change>), Refusal> {
    let may_create = match view.home {
        Home::Account => caller.bare == view.address,
        Home::Service => view.may_create,
    };
    if !may_create {
        return Err(Refusal::MayNotCreate);
    }
    if view.nodes >= view.limits.nodes_max {
        return Err(Refusal::MaxNodesExceeded);
    }
    let mut config = crate::profile::default_config(view.home, name, &view.limits);
    if let Some(values) = values {
        let kind = values.0.iter().find(|(var, _)| **var == *"pubsub#type").and_then(|(_, kind)| kind.first());
        if let Some(typed) = kind.and_then(|kind| typed_config(name, kind, &config)) {
            config = typed;
        }
        apply(&mut config, values, view, name, unknown)?;
    }
    let mut node = Node {
        name: name.clone(),
        creator: caller.bare.clone(),
        created: now,
        config: Arc::new(config),
        // A node deleted and made again goes on counting above the old one, so that a notice still on its way is
        // never older than the new node's first subscription.
        tally: Tally { version: now.0, ..Tally::default() },
    };
    let mut changes = Vec::with_capacity(3);
    if view.home == Home::Service {
        node.tally.owners = 1;
        node.tally.affiliations = 1;
        changes.push(Change::SetAffiliation(caller.bare.clone(), Affiliation::Owner));
    }
    changes.insert(0, Change::CreateNode(node.clone()));
    Ok((node, changes))
}
