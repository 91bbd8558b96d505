//! Nodes that the service keeps about others: attachments and their summaries (XEP-0470 section 4.2).
//!
//! People publish to and retract from an attachment node like any other, once [`check`] has nothing against it; what
//! follows from that for the summary is [`resummarize`]. The nodes themselves come and go by the service's hand.

use std::sync::Arc;

use bytes::Bytes;
use xmpp::jid::BareJid;

use super::{Draft, standing};
use crate::access::{may_read, may_subscribe};
use crate::config::Bound;
use crate::decision::{Audience, Change, Decision, Event, Notice, Reply};
use crate::model::{Item, ItemHead, Limits, Node, NodeName, SubscriptionState, Tally};
use crate::profile::attachments::{Attached, config, is_attachments, is_kept};
use crate::profile::public::is_guarded;
use crate::refusal::Refusal;
use crate::request::{Caller, NewItem, NewPayload, Request, View};
use crate::time::Timestamp;

/// What must not be done to a kept node, by anyone, and what may be published to one; and who may subscribe to a node
/// whose readers are another's.
pub(super) fn check(view: &View, caller: &Caller, request: &Request) -> Result<(), Refusal> {
    let Some(name) = request.node().filter(|name| is_guarded(name)) else { return Ok(()) };
    match request {
        // Who must be approved is approved for what the node is about, and then for this.
        Request::Subscribe { .. } => {
            let node = super::existing(view)?;
            match may_subscribe(&node.config, &standing(view, caller))? {
                SubscriptionState::Pending => Err(Refusal::NotSubscribed),
                SubscriptionState::Subscribed | SubscriptionState::None => Ok(()),
            }
        }
        _ if !is_kept(name) => Ok(()),
        // Section 4.2.2: whoever it is, "a fully-compliant service MUST reject it".
        Request::Create { .. } => Err(Refusal::KeptByService),
        Request::Configure { .. } | Request::Delete { .. } | Request::Purge { .. } | Request::SetAffiliated { .. } => {
            super::owned(view, caller)?;
            Err(Refusal::KeptByService)
        }
        Request::Publish { item, .. } => {
            let node = super::existing(view)?;
            may_read(&node.config, &standing(view, caller))?;
            if !is_attachments(name) {
                return Err(Refusal::KeptByService);
            }
            publishable(caller, item.as_ref())
        }
        Request::Retract { .. } if !is_attachments(name) => {
            super::owned(view, caller)?;
            Err(Refusal::KeptByService)
        }
        _ => Ok(()),
    }
}

/// Section 4.2.3.
fn publishable(caller: &Caller, item: Option<&NewItem>) -> Result<(), Refusal> {
    let item = item.ok_or(Refusal::ItemRequired)?;
    if item.id.as_deref() != Some(caller.bare.as_str()) {
        return Err(Refusal::AttachmentId);
    }
    match &item.payload {
        NewPayload::One { bytes, .. } => Attached::parse(bytes).map(drop),
        NewPayload::None => Err(Refusal::PayloadRequired),
        NewPayload::Bad => Err(Refusal::InvalidPayload),
    }
}

/// A kept node that follows the access of `guard`.
#[must_use]
pub fn create_kept(guard: &Node, name: &str, limits: &Limits, now: Timestamp) -> Node {
    Node {
        name: NodeName::from(name),
        creator: guard.creator.clone(),
        created: now,
        config: Arc::new(config(&guard.config, name, limits.payload_bytes_max)),
        tally: Tally { version: now.0, ..Tally::default() },
    }
}

/// The kept node goes, with what it is about. Its subscribers are told.
#[must_use]
pub fn drop_kept(node: &Node) -> Decision {
    let version = node.tally.version.saturating_add(1);
    let notices = vec![Notice { audience: Audience::Subscribers, event: Event::Deleted(None), version }];
    Decision { changes: vec![Change::DeleteNode], reply: Reply::Empty, notices }
}

/// The new sum of what is attached to the item `id`, in the place of `previous`. `is_told` says whether subscribers are
/// told at once; if not, the caller sees to it that they are told soon.
#[must_use]
pub fn resummarize(
    node: &Node,
    id: &str,
    previous: Option<&ItemHead>,
    payload: Bytes,
    home: &BareJid,
    now: Timestamp,
    is_told: bool,
) -> Decision {
    let mut draft = Draft::new(node);
    draft.tally.sequence = draft.tally.sequence.saturating_add(1);
    let item = Item {
        sequence: draft.tally.sequence,
        id: id.into(),
        publisher: home.clone(),
        published: previous.map_or(now, |previous| previous.published),
        updated: now,
        payload,
    };
    match previous {
        Some(previous) => draft.changes.push(Change::DropItem { sequence: previous.sequence, id: id.into() }),
        None => draft.tally.items = draft.tally.items.saturating_add(1),
    }
    draft.changes.push(Change::PutItem(item.clone()));
    if is_told {
        draft.tell_subscribers(Event::Published(item));
    }
    draft.finish(Reply::Empty)
}

/// A copy of somebody's item in a list that the service keeps, in the place of `previous`. The oldest make room.
#[must_use]
pub fn enlist(node: &Node, previous: Option<&ItemHead>, item: Item) -> Decision {
    let mut draft = Draft::new(node);
    draft.tally.sequence = draft.tally.sequence.saturating_add(1);
    let item = Item { sequence: draft.tally.sequence, ..item };
    match previous {
        Some(previous) => {
            draft.changes.push(Change::DropItem { sequence: previous.sequence, id: previous.id.clone() });
        }
        None => draft.tally.items = draft.tally.items.saturating_add(1),
    }
    draft.changes.push(Change::PutItem(item.clone()));
    if let Bound::At(max) = node.config.max_items
        && draft.tally.items > max
    {
        draft.changes.push(Change::TrimTo(max));
        draft.tally.items = max;
    }
    draft.tell_subscribers(Event::Published(item));
    draft.finish(Reply::Empty)
}

/// An item of a summary or a list goes, with the item it is about.
#[must_use]
pub fn forget(node: &Node, item: &ItemHead) -> Decision {
    let mut draft = Draft::new(node);
    draft.changes.push(Change::DropItem { sequence: item.sequence, id: item.id.clone() });
    draft.tally.items = draft.tally.items.saturating_sub(1);
    draft.tell_subscribers(Event::Retracted(item.id.clone()));
    draft.finish(Reply::Empty)
}
