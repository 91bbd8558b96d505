//! What other services tell our accounts (XEP-0060 sections 7 and 8): `<event/>` in a message, read.

use bytes::Bytes;
use xmpp::Element;
use xmpp::jid::{BareJid, Jid};
use xmpp::ns;

use super::parse::payload_bytes;
use crate::model::{NodeName, SubscriptionState};

/// What a service says has happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Items were published or retracted, in this order.
    Items(NodeName, Vec<ToldItem>),
    /// All items of a node were removed.
    Purged(NodeName),
    /// A node was deleted.
    Deleted(NodeName),
    /// A subscription is something else now.
    Subscription(NodeName, Jid, SubscriptionState),
}

/// One item, as it was told.
#[derive(Clone, Debug, PartialEq)]
pub enum ToldItem {
    /// It was published.
    Published {
        /// Its id.
        id: Box<str>,
        /// Who published it, as the service says.
        publisher: Option<BareJid>,
        /// The payload; `None` where the service tells only that there is one.
        payload: Option<Bytes>,
    },
    /// The item of this id was retracted.
    Retracted(Box<str>),
}

/// Reads an `<event xmlns='http://jabber.org/protocol/pubsub#event'/>` with at most `items_max` items; `None` for what says
/// nothing about a node's items or a subscription.
#[must_use]
pub fn parse_event(event: &Element, items_max: usize) -> Option<Told> {
    let child = event.children().find(|child| child.has_ns(ns::PUBSUB_EVENT))?;
    let node: NodeName = child.attr("node").filter(|node| !node.is_empty())?.into();
    Some(match child.name() {
        "items" => Told::Items(node, items(child, ns::PUBSUB_EVENT, items_max)),
        "purge" => Told::Purged(node),
        "delete" => Told::Deleted(node),
        "subscription" => {
            let jid = Jid::new(child.attr("jid")?).ok()?;
            Told::Subscription(node, jid, state(child)?)
        }
        _ => return None,
    })
}

/// Reads the answer to who asked for items, `<pubsub/>`: at most `items_max` of them.
#[must_use]
pub fn parse_items(pubsub: &Element, items_max: usize) -> Option<(NodeName, Vec<ToldItem>)> {
    let list = pubsub.get_child("items", ns::PUBSUB)?;
    Some((list.attr("node")?.into(), items(list, ns::PUBSUB, items_max)))
}

/// Reads the answer to who asked to be subscribed, `<pubsub/>`: what the subscription is now.
#[must_use]
pub fn parse_subscribed(pubsub: &Element) -> Option<SubscriptionState> {
    state(pubsub.get_child("subscription", ns::PUBSUB)?)
}

fn state(subscription: &Element) -> Option<SubscriptionState> {
    match subscription.attr("subscription")? {
        // What is not configured yet is told nothing yet.
        "pending" | "unconfigured" => Some(SubscriptionState::Pending),
        "subscribed" => Some(SubscriptionState::Subscribed),
        "none" => Some(SubscriptionState::None),
        _ => None,
    }
}

fn items(list: &Element, namespace: &str, items_max: usize) -> Vec<ToldItem> {
    let told = list.children().filter_map(|item| {
        let id = item.attr("id").filter(|id| !id.is_empty())?;
        if item.is("retract", namespace) {
            return Some(ToldItem::Retracted(id.into()));
        }
        let publisher = item.attr("publisher").and_then(|jid| Jid::new(jid).ok()).map(|jid| jid.to_bare());
        let payload = item.children().find(|child| !child.has_ns("")).map(payload_bytes);
        item.is("item", namespace).then(|| ToldItem::Published { id: id.into(), publisher, payload })
    });
    told.take(items_max).collect()
}
