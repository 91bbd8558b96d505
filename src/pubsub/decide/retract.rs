//! Delete an item from a node (XEP-0060 section 7.2).
//!
//! Owners remove any item, others the items they published. Subscribers are told when the publisher asks for it
//! (`notify`) or the owner does (`pubsub#notify_retract`, which XEP-0472 requires of feeds).

use super::{Draft, existing};
use crate::access::may_touch;
use crate::decision::{Change, Decision, Event, Reply};
use crate::refusal::Refusal;
use crate::request::{Caller, View};

pub(super) fn retract(view: &View, caller: &Caller, id: &str, notify: bool) -> Result<Decision, Refusal> {
    let node = existing(view)?;
    let affiliation = view.affiliation_of(caller);
    let Some(item) = &view.item else {
        // Who could not remove it if it were there learns nothing about what is there.
        crate::access::may_publish(&node.config, &super::standing(view, caller))?;
        return Err(if node.config.persist_items {
            Refusal::ItemNotFound
        } else {
            Refusal::Unsupported("persistent-items")
        });
    };
    may_touch(affiliation, item.publisher == caller.bare)?;
    let mut draft = Draft::new(node);
    draft.changes.push(Change::DropItem { sequence: item.sequence, id: id.into() });
    draft.tally.items = draft.tally.items.saturating_sub(1);
    if notify || node.config.notify_retract {
        draft.tell_subscribers(Event::Retracted(id.into()));
    }
    Ok(draft.finish(Reply::Empty))
}
