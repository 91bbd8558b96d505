//! Publish an item (XEP-0060 section 7.1), creating the node when there is none (section 7.1.4).
//!
//! Needs the node's counters, at most one item's head, and the head of the oldest item when the node is full. What it
//! costs does not depend on how many items or subscribers there are.

use std::sync::Arc;

use super::compare::compared;
use super::configure::{Unknown, apply, check_preconditions};
use super::create::is_unposted;
use super::{Draft, standing};
use crate::access::{may_publish, may_touch};
use crate::config::{Bound, NodeConfig, NodeFull};
use crate::decision::{Audience, Change, Decision, Event, Notice, Reply};
use crate::model::{Affiliation, Home, Item, Node, NodeName};
use crate::profile::uri::Place;
use crate::profile::{self, alternate};
use crate::refusal::Refusal;
use crate::request::{Caller, NewItem, NewPayload, Values, View};
use crate::time::Timestamp;

pub(super) fn publish(
    view: &View,
    caller: &Caller,
    name: &NodeName,
    item: Option<&NewItem>,
    options: Option<&Values>,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let Some(node) = &view.node else {
        let options = compared(options, None)?;
        return publish_to_new(view, caller, name, item, options.as_ref(), now);
    };
    let standing = standing(view, caller);
    may_publish(&node.config, &standing)?;
    let (mut node, first) = (node, first_options(view, caller, node, options)?);
    // XEP-0470 section 4.2.1: where attachments are published, "publishing options … are ignored".
    if let Some(first) = &first {
        node = first;
    } else if let Some(options) = options.filter(|_| !profile::attachments::is_attachments(name))
        && let Some(options) = compared(Some(options), view.newest.as_ref())?
    {
        check_preconditions(&node.config, &options, view, name)?;
    }
    let mut draft = Draft::new(node);
    if first.is_some() {
        draft.changes.push(Change::Configure((*node.config).clone()));
    }
    let Some(item) = checked(&node.config, name, item, view)? else {
        draft.tell_subscribers(Event::Pinged);
        return Ok(draft.finish(Reply::Published { node: name.clone(), id: None }));
    };
    let previous = if item.id.is_some() { view.item.as_ref() } else { None };
    if let Some(previous) = previous {
        may_touch(standing.affiliation, previous.publisher == caller.bare)?;
    }
    let (id, payload) = placed(view, name, &node.config, item);
    let item = Item {
        sequence: draft.tally.sequence.saturating_add(1),
        id,
        publisher: caller.bare.clone(),
        published: previous.map_or(now, |previous| previous.published),
        updated: now,
        payload,
    };
    if keeps_items(&node.config) {
        store(&mut draft, view, item.clone(), previous.map(|previous| previous.sequence))?;
    }
    let reply = Reply::Published { node: name.clone(), id: Some(item.id.clone()) };
    // The item first: who sees the retraction of the oldest should know what took its place.
    if node.config.deliver_notifications {
        let version = draft.tally.version;
        draft.notices.insert(0, Notice { audience: Audience::Subscribers, event: Event::Published(item), version });
    }
    Ok(draft.finish(reply))
}

/// A feed that its followers made before its owner posted there, with the configuration that the first post asks for: to
/// its owner it is new. How it is related to others is asked for by configuring it.
fn first_options(view: &View, caller: &Caller, node: &Node, options: Option<&Values>) -> Result<Option<Node>, Refusal> {
    let Some(options) = options.filter(|_| caller.bare == view.address && is_unposted(view, node)) else {
        return Ok(None);
    };
    let Some(options) = compared(Some(options), None)? else { return Ok(None) };
    let mut config = (*node.config).clone();
    apply(&mut config, &options, view, &node.name, Unknown::Refused)?;
    let is_other = config != *node.config && config.parent == node.config.parent && config.link == node.config.link;
    Ok(is_other.then(|| Node { config: Arc::new(config), ..node.clone() }))
}

/// Puts the item in the place of an older one of its id, and makes room.
fn store(draft: &mut Draft<'_>, view: &View, item: Item, previous: Option<u64>) -> Result<(), Refusal> {
    let config = Arc::clone(&draft.node.config);
    draft.tally.sequence = item.sequence;
    match previous {
        Some(sequence) => draft.changes.push(Change::DropItem { sequence, id: item.id.clone() }),
        None => draft.tally.items = draft.tally.items.saturating_add(1),
    }
    draft.changes.push(Change::PutItem(item));
    if draft.tally.items > view.limits.items_per_node_max {
        // What was asked to be kept is not thrown away for what comes after it.
        return Err(Refusal::NodeFull);
    }
    let is_more = previous.is_none() && !matches!(config.max_items, Bound::At(max) if draft.tally.items > max);
    if is_more && view.home == Home::Service && view.creators_items >= view.limits.items_per_creator_max {
        return Err(Refusal::CreatorFull(view.limits.items_per_creator_max));
    }
    let Bound::At(max) = config.max_items else { return Ok(()) };
    if draft.tally.items <= max {
        return Ok(());
    }
    if config.node_full == NodeFull::Reject {
        return Err(Refusal::NodeFull);
    }
    draft.changes.push(Change::TrimTo(max));
    draft.tally.items = max;
    // Where one item is kept, each replaces the one before it, and to say so would only be noise.
    let is_told = config.node_full == NodeFull::RetractOldest && config.notify_retract && max > 1;
    if let Some(oldest) = view.oldest.as_ref().filter(|_| is_told) {
        draft.tell_subscribers(Event::Retracted(oldest.id.clone()));
    }
    Ok(())
}

/// Section 7.1.4: "the service SHOULD apply the default node configuration", changed by the publish options (7.1.5).
fn publish_to_new(
    view: &View,
    caller: &Caller,
    name: &NodeName,
    item: Option<&NewItem>,
    options: Option<&Values>,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let (mut node, changes) = match super::create::new_node(view, caller, name, options, Unknown::Refused, now) {
        // Who may not create is told what anyone is told about a node that is not there.
        Err(Refusal::MayNotCreate) => return Err(Refusal::ItemNotFound),
        other => other?,
    };
    let notices = Vec::from_iter(super::create::appears(&node));
    let Some(item) = checked(&node.config, name, item, view)? else {
        return Ok(Decision { changes, reply: Reply::Published { node: name.clone(), id: None }, notices });
    };
    let (id, payload) = placed(view, name, &node.config, item);
    let item = Item { sequence: 1, id, publisher: caller.bare.clone(), published: now, updated: now, payload };
    let reply = Reply::Published { node: name.clone(), id: Some(item.id.clone()) };
    let mut decision = Decision { notices, ..Decision::reply(reply) };
    if keeps_items(&node.config) {
        node.tally.items = 1;
        node.tally.sequence = 1;
    }
    decision.changes = created(node.clone(), changes);
    if keeps_items(&node.config) {
        decision.changes.push(Change::PutItem(item.clone()));
    }
    if node.config.deliver_notifications {
        let version = node.tally.version;
        decision.notices.push(Notice { audience: Audience::Subscribers, event: Event::Published(item), version });
    }
    debug_assert!(view.home == Home::Account || decision.changes.iter().any(is_owner));
    Ok(decision)
}

fn created(node: Node, mut changes: Vec<Change>) -> Vec<Change> {
    changes.retain(|change| !matches!(change, Change::CreateNode(_)));
    changes.insert(0, Change::CreateNode(node));
    changes
}

fn is_owner(change: &Change) -> bool {
    matches!(change, Change::SetAffiliation(_, Affiliation::Owner))
}

/// Whether items stay.
fn keeps_items(config: &NodeConfig) -> bool {
    config.persist_items && config.max_items != Bound::At(0)
}

/// The item's id, and its payload as it is kept and told: a post says where it stands.
fn placed(view: &View, node: &NodeName, config: &NodeConfig, item: Checked) -> (Box<str>, bytes::Bytes) {
    let id = item.id.unwrap_or_else(|| view.fresh.clone());
    if !item.lacks_place || !alternate::is_of_posts(node, config) {
        return (id, item.payload);
    }
    let place = Place { service: view.address.clone(), node: (**node).into(), item: Some(id.clone()) };
    (id, alternate::linked(&item.payload, &place))
}

/// An item that fits the node.
struct Checked {
    id: Option<Box<str>>,
    payload: bytes::Bytes,
    lacks_place: bool,
}

/// Sections 7.1.3.4 to 7.1.3.7: whether an item is there when it must be, and what it must be.
fn checked(config: &NodeConfig, node: &str, item: Option<&NewItem>, view: &View) -> Result<Option<Checked>, Refusal> {
    if profile::takes_no_items(config) {
        return Err(Refusal::ItemForbidden);
    }
    let takes_no_item = !config.persist_items && !config.deliver_payloads;
    let item = match item {
        Some(_) if takes_no_item => return Err(Refusal::ItemForbidden),
        None if takes_no_item => return Ok(None),
        None => return Err(Refusal::ItemRequired),
        Some(item) => item,
    };
    if item.id.as_ref().is_some_and(|id| id.len() > view.limits.name_bytes_max) {
        return Err(Refusal::NameTooLong(view.limits.name_bytes_max));
    }
    let (payload, lacks_place) = match &item.payload {
        NewPayload::None if config.deliver_payloads => return Err(Refusal::PayloadRequired),
        NewPayload::None => (bytes::Bytes::new(), false),
        NewPayload::Bad => return Err(Refusal::InvalidPayload),
        NewPayload::One { name, namespace, bytes, lacks_place } => {
            let bytes_max = config.payload_bytes_max.min(view.limits.payload_bytes_max);
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if size > bytes_max {
                return Err(Refusal::PayloadTooBig { bytes: size, bytes_max });
            }
            if !profile::takes_payload(node, name, namespace) {
                return Err(Refusal::InvalidPayload);
            }
            (bytes.clone(), *lacks_place)
        }
    };
    Ok(Some(Checked { id: item.id.clone(), payload, lacks_place }))
}
