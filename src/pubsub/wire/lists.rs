//! Answers that are lists, written row by row by who reads the rows.

use bytes::Bytes;
use xmpp::jid::{BareJid, Jid};
use xmpp::ns;
use xmpp::paging::Page;

use super::Writer;
use super::form::metadata_form;
use super::reply::open;
use crate::config::{ItemReply, NodeConfig};
use crate::decide::compare_value;
use crate::model::{Affiliation, Item, Node, SubId, Subscription, SubscriptionState};

/// The features of a node, besides those the service has (XEP-0060 section 5.3).
const NODE_FEATURES: &[&str] = &[ns::PUBSUB];
/// Those of a node that keeps its items: it is an archive (XEP-0442).
const ARCHIVE_FEATURES: &[&str] = &[ns::ARCHIVE, ns::ARCHIVE_EXTENDED];

/// `<item/>`, in the namespace of its parent, with or without payload.
pub(super) fn write_item(out: &mut Writer, item: &Item, config: &NodeConfig, has_payload: bool) {
    out.raw(b"<item").attr("id", &item.id);
    if config.itemreply == ItemReply::Publisher {
        out.attr("publisher", item.publisher.as_str());
    }
    if has_payload && !item.payload.is_empty() {
        out.raw(b">").raw(&item.payload).raw(b"</item>");
    } else {
        out.raw(b"/>");
    }
}

/// Items of a node (section 6.5), oldest first.
pub struct Items<'a> {
    out: Writer,
    config: &'a NodeConfig,
    /// The ids of items and the values to compare them by (XEP-0395), where they are said.
    values: Vec<(Box<str>, String)>,
}

impl<'a> Items<'a> {
    /// Begins the list.
    #[must_use]
    pub fn new(node: &str, config: &'a NodeConfig, capacity: usize) -> Self {
        let mut out = Writer::new(capacity + 160);
        open(&mut out, ns::PUBSUB).raw(b"<items").attr("node", node).raw(b">");
        Self { out, config, values: Vec::new() }
    }

    /// Adds an item.
    pub fn push(&mut self, item: &Item) {
        write_item(&mut self.out, item, self.config, true);
        if self.config.compare_values {
            self.values.push((item.id.clone(), compare_value(item.sequence, item.published)));
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.0.len()
    }

    /// Whether nothing was written; never, since a list begins with its node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Ends the list, and says which part of the node it is.
    #[must_use]
    pub fn finish(mut self, page: Option<&Page>) -> Bytes {
        if !self.values.is_empty() {
            self.out.raw(b"<cap-v-map").attr("xmlns", ns::COMPARE_AND_PUBLISH).raw(b">");
            for (id, value) in &self.values {
                self.out.raw(b"<cap-v-map-entry").attr("item-id", id).attr("cap-value", value).raw(b"/>");
            }
            self.out.raw(b"</cap-v-map>");
        }
        self.out.raw(b"</items>");
        end(&mut self.out, page, b"</pubsub>");
        self.out.into_bytes()
    }
}

fn end(out: &mut Writer, page: Option<&Page>, close: &[u8]) {
    if let Some(page) = page {
        out.element(&page.to_element());
    }
    out.raw(close);
}

fn with_node(out: &mut Writer, name: &[u8], node: Option<&str>) {
    out.raw(b"<").raw(name);
    if let Some(node) = node {
        out.attr("node", node);
    }
    out.raw(b">");
}

/// The caller's own subscriptions (section 5.6), each with its node.
pub fn own_subscriptions<'a>(node: Option<&str>, rows: impl IntoIterator<Item = (&'a str, &'a Subscription)>) -> Bytes {
    let mut out = Writer::new(512);
    open(&mut out, ns::PUBSUB);
    with_node(&mut out, b"subscriptions", node);
    for (node, row) in rows {
        out.raw(b"<subscription").attr("node", node).attr("jid", row.jid.as_str());
        out.attr("subid", &row.id.to_string()).attr("subscription", row.state.as_str()).raw(b"/>");
    }
    out.raw(b"</subscriptions></pubsub>");
    out.into_bytes()
}

/// The caller's own affiliations (section 5.7): node, affiliation.
pub fn own_affiliations<'a>(node: Option<&str>, rows: impl IntoIterator<Item = (&'a str, Affiliation)>) -> Bytes {
    let mut out = Writer::new(512);
    open(&mut out, ns::PUBSUB);
    with_node(&mut out, b"affiliations", node);
    for (node, affiliation) in rows {
        out.raw(b"<affiliation").attr("node", node).attr("affiliation", affiliation.as_str()).raw(b"/>");
    }
    out.raw(b"</affiliations></pubsub>");
    out.into_bytes()
}

/// `<subscription/>`, as an owner sees it.
pub(super) fn write_subscription(out: &mut Writer, jid: &Jid, id: Option<SubId>, state: SubscriptionState) {
    out.raw(b"<subscription").attr("jid", jid.as_str());
    if let Some(id) = id {
        out.attr("subid", &id.to_string());
    }
    out.attr("subscription", state.as_str()).raw(b"/>");
}

/// A node's subscribers, for an owner (section 8.8.1).
pub fn subscribers<'a>(node: &str, rows: impl IntoIterator<Item = &'a Subscription>, page: Option<&Page>) -> Bytes {
    let mut out = Writer::new(512);
    open(&mut out, ns::PUBSUB_OWNER);
    with_node(&mut out, b"subscriptions", Some(node));
    for row in rows {
        write_subscription(&mut out, &row.jid, Some(row.id), row.state);
    }
    out.raw(b"</subscriptions>");
    end(&mut out, page, b"</pubsub>");
    out.into_bytes()
}

/// A node's affiliations, for an owner (section 8.9.1).
pub fn affiliated<'a>(
    node: &str,
    rows: impl IntoIterator<Item = (&'a BareJid, Affiliation)>,
    page: Option<&Page>,
) -> Bytes {
    let mut out = Writer::new(512);
    open(&mut out, ns::PUBSUB_OWNER);
    with_node(&mut out, b"affiliations", Some(node));
    for (jid, affiliation) in rows {
        out.raw(b"<affiliation").attr("jid", jid.as_str()).attr("affiliation", affiliation.as_str()).raw(b"/>");
    }
    out.raw(b"</affiliations>");
    end(&mut out, page, b"</pubsub>");
    out.into_bytes()
}

/// disco#info of a node: identity, features, metadata (sections 5.3 and 5.4).
#[must_use]
pub fn node_information(node: &Node, owners: &[BareJid], publishers: &[BareJid]) -> Bytes {
    let mut out = Writer::new(2048);
    out.raw(b"<query").attr("xmlns", ns::DISCO_INFO).attr("node", &node.name).raw(b">");
    out.raw(b"<identity category='pubsub' type='leaf'");
    if let Some(title) = &node.config.title {
        out.attr("name", title);
    }
    out.raw(b"/>");
    let archive = ARCHIVE_FEATURES.iter().filter(|_| node.config.persist_items);
    let search = [ns::FULL_TEXT].into_iter().filter(|_| node.config.persist_items && node.config.full_text);
    let compare = [ns::COMPARE_AND_PUBLISH].into_iter().filter(|_| node.config.compare_values);
    for feature in NODE_FEATURES.iter().chain(archive).copied().chain(search).chain(compare) {
        out.raw(b"<feature").attr("var", feature).raw(b"/>");
    }
    out.element(&metadata_form(node, owners, publishers)).raw(b"</query>");
    out.into_bytes()
}

/// disco#items of a node: the ids of its items (section 5.5).
pub fn node_items<'a>(
    home: &BareJid,
    node: &str,
    ids: impl IntoIterator<Item = &'a str>,
    page: Option<&Page>,
) -> Bytes {
    let mut out = Writer::new(512);
    out.raw(b"<query").attr("xmlns", ns::DISCO_ITEMS).attr("node", node).raw(b">");
    for id in ids {
        out.raw(b"<item").attr("jid", home.as_str()).attr("name", id).raw(b"/>");
    }
    end(&mut out, page, b"</query>");
    out.into_bytes()
}

/// disco#items of a home: its nodes and their titles (section 5.2).
pub fn nodes<'a>(
    home: &BareJid,
    rows: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    page: Option<&Page>,
) -> Bytes {
    let mut out = Writer::new(512);
    out.raw(b"<query").attr("xmlns", ns::DISCO_ITEMS).raw(b">");
    for (node, title) in rows {
        out.raw(b"<item").attr("jid", home.as_str()).attr("node", node);
        if let Some(title) = title {
            out.attr("name", title);
        }
        out.raw(b"/>");
    }
    end(&mut out, page, b"</query>");
    out.into_bytes()
}
