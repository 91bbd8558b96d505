//! XEP-0503: spaces, nodes whose items are rooms, nodes and others that belong together. A node is one by its type.

use xmpp::ns;

use crate::config::{AccessModel, NodeConfig, PublishModel};
use crate::request::Values;

/// Whether a node is a space.
#[must_use]
pub fn is_space(config: &NodeConfig) -> bool {
    config.payload_type.as_deref() == Some(ns::SPACES)
}

/// Section 4: what a space must be is so, whatever was said; what it should be is so when nothing was said.
pub fn complete(config: &mut NodeConfig, said: &Values) {
    if !is_space(config) {
        return;
    }
    config.notify_retract = true;
    config.persist_items = true;
    // Those who are not in somebody's roster are not in a space by it.
    if matches!(config.access_model, AccessModel::Presence | AccessModel::Roster) {
        config.access_model = AccessModel::Whitelist;
    }
    let is_said = |var: &str| said.0.iter().any(|(other, _)| **other == *var);
    if is_said("pubsub#type") {
        config.notify_sub |= !is_said("pubsub#notify_sub");
        config.notify_config |= !is_said("pubsub#notify_config");
        config.notify_delete |= !is_said("pubsub#notify_delete");
        if !is_said("pubsub#publish_model") && config.publish_model == PublishModel::Open {
            config.publish_model = PublishModel::Publishers;
        }
    }
}
