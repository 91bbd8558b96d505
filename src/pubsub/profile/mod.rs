//! What other specifications say about particular nodes: their defaults, and what they hold.
//!
//! The engine asks three questions by a node's name; each profile answers for its own.

pub mod alternate;
pub mod attachments;
mod glance;
pub mod likes;
pub mod microblog;
pub mod public;
pub mod social;
pub mod spaces;
pub mod tags;
pub mod uri;
pub mod words;

use xmpp::ns;

use crate::config::{AccessModel, Bound, ItemReply, NodeConfig, SendLast};
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
    if home == Home::Account && node == ns::NOTIFICATIONS {
        return NodeConfig {
            access_model: AccessModel::Whitelist,
            max_items: Bound::At(NOTIFICATIONS_MAX),
            notify_retract: true,
            include_body: true,
            // What is there is from many; that the account's own server wrote it goes without saying.
            itemreply: ItemReply::None,
            send_last_published_item: SendLast::Never,
            payload_type: Some(ns::ATOM.into()),
            ..base
        };
    }
    if home == Home::Account && matches!(node, ns::BOOKMARK_STORAGE | ns::NOTIFICATIONS_READ) {
        // XEP-0048 section 3.1: one item, for oneself.
        return NodeConfig { access_model: AccessModel::Whitelist, ..base };
    }
    base
}

/// Whether every account has a node of that name, whether it has been made or not: its feed can be followed before the
/// first post.
#[must_use]
pub fn is_everybodys(home: Home, node: &str) -> bool {
    home == Home::Account && node == ns::MICROBLOG
}

/// Entries in an account's node of notifications; the oldest make room.
pub const NOTIFICATIONS_MAX: u64 = 500;

/// Nodes that are one person's own list: bookmarks (XEP-0402 section 3.2) and what was displayed (XEP-0490 section 3).
/// Their clients ask for this configuration themselves; one that forgets should not publish a private list.
const PRIVATE_LISTS: &[&str] = &[ns::BOOKMARKS, "urn:xmpp:mds:displayed:0"];

/// Nodes of accounts that hold one kind of element, which other protocols show in another form: what is no such element
/// could not be.
const KINDS: &[(&str, &str, &str)] = &[
    (ns::AVATAR_DATA, "data", ns::AVATAR_DATA),
    (ns::AVATAR_METADATA, "metadata", ns::AVATAR_METADATA),
    (ns::BOOKMARKS, "conference", ns::BOOKMARKS),
    (ns::BOOKMARK_STORAGE, "storage", ns::BOOKMARK_STORAGE),
    (ns::VCARD4_NODE, "vcard", ns::VCARD4),
    (ns::NOTIFICATIONS_READ, "read", ns::NOTIFICATIONS),
];

/// XEP-0346: nodes of forms to fill in, and of those that were.
fn is_form(node: &str) -> bool {
    node.starts_with("fdp/template/") || node.starts_with("fdp/submitted/")
}

/// XEP-0508 sections 5.1 and 5.2: nodes that order others, and have no items.
#[must_use]
pub fn takes_no_items(config: &NodeConfig) -> bool {
    matches!(config.payload_type.as_deref(), Some("urn:xmpp:forums:root:0" | "urn:xmpp:forums:category:0"))
}

/// Whether items of the node are never trimmed by count, whatever anyone configures.
#[must_use]
pub fn keeps_everything(node: &str) -> bool {
    microblog::is_feed(node)
}

/// Whether the node takes a payload of that name and namespace.
#[must_use]
pub fn takes_payload(node: &str, name: &str, namespace: &str) -> bool {
    let kind = KINDS.iter().find(|(known, ..)| *known == node);
    kind.is_none_or(|(_, wanted, ns)| name == *wanted && namespace == *ns)
        && (!is_form(node) || name == "x" && namespace == ns::DATA_FORMS)
        && microblog::takes_payload(node, name, namespace)
}
