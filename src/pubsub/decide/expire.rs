//! Items whose time is over (`pubsub#item_expire`): nobody asks for it, the server does it.

use super::Draft;
use crate::decision::{Change, Decision, Event, Reply};
use crate::model::{ItemHead, Node};

/// Removes items. The caller has found that they are [`crate::model::is_expired`].
///
/// Subscribers are told if the owner wants them told of retractions.
#[must_use]
pub fn expire(node: &Node, items: &[ItemHead]) -> Decision {
    let mut draft = Draft::new(node);
    for item in items {
        draft.changes.push(Change::DropItem { sequence: item.sequence, id: item.id.clone() });
        draft.tally.items = draft.tally.items.saturating_sub(1);
        if node.config.notify_retract {
            draft.tell_subscribers(Event::Retracted(item.id.clone()));
        }
    }
    draft.finish(Reply::Empty)
}
