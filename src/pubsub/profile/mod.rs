//! What other specifications say about particular nodes: their defaults, and what they hold.
//!
//! The engine asks three questions by a node's name; each profile answers for its own.

pub mod microblog;

use crate::config::{AccessModel, Bound, NodeConfig, SendLast};
use crate::model::{Home, Limits};

/// The configuration a new node of that name gets when its creator says nothing.
#[must_use]
pub fn default_config(home: Home, node: &str, limits: &Limits) -> NodeConfig {
    let base = match home {
        Home::Account => NodeConfig::account(limits.payload_bytes_max),
        Home::Service => NodeConfig::service(limits.payload_bytes_max),
    };
    if let Some(config) = microblog::default_config(node, &base) {
        return config;
    }
    if home == Home::Account && PRIVATE_LISTS.contains(&node) {
        return NodeConfig {
            access_model: AccessModel::Whitelist,
            max_items: Bound::Max,
            send_last_published_item: SendLast::Never,
            ..base
        };
    }
    base
}

/// Nodes that are one person's own list: bookmarks (XEP-0402 section 3.2) and what was displayed (XEP-0490 section 3).
/// Their clients ask for this configuration themselves; one that forgets should not publish a private list.
const PRIVATE_LISTS: &[&str] = &["urn:xmpp:bookmarks:1", "urn:xmpp:mds:displayed:0"];

/// Whether items of the node are never trimmed by count, whatever anyone configures.
#[must_use]
pub fn keeps_everything(node: &str) -> bool {
    microblog::is_feed(node)
}

/// Whether the node takes a payload of that name and namespace.
#[must_use]
pub fn takes_payload(node: &str, name: &str, namespace: &str) -> bool {
    microblog::takes_payload(node, name, namespace)
}
