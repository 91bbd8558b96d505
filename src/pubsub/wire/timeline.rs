//! Home timelines (`xeps/chirrup-timeline.md`): items of many nodes in one, each with where it is from.
//!
//! An item keeps its payload, so that who reads feeds reads this one too; its id is its place in the timeline. Where it
//! is from stands beside, in attributes of a namespace of their own.

use bytes::Bytes;
use xmpp::jid::BareJid;
use xmpp::ns;
use xmpp::paging::Page;

use super::Writer;
use super::reply::open;
use crate::config::{ItemReply, NodeConfig};
use crate::model::Item;

/// An item, and where it is from.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its place in the timeline, as its id.
    pub id: &'a str,
    /// The account or service it is from.
    pub home: &'a BareJid,
    /// The node.
    pub node: &'a str,
    /// The node's configuration.
    pub config: &'a NodeConfig,
    /// The item.
    pub item: &'a Item,
}

fn write(out: &mut Writer, entry: &Entry<'_>) {
    out.raw(b"<item").attr("id", entry.id);
    if entry.config.itemreply == ItemReply::Publisher {
        out.attr("publisher", entry.item.publisher.as_str());
    }
    out.attr("xmlns:t", ns::TIMELINE).attr("t:service", entry.home.as_str());
    out.attr("t:node", entry.node).attr("t:item", &entry.item.id);
    if entry.item.payload.is_empty() {
        out.raw(b"/>");
    } else {
        out.raw(b">").raw(&entry.item.payload).raw(b"</item>");
    }
}

/// The answer to who asks for items of a timeline, oldest first.
pub fn page<'a>(entries: impl IntoIterator<Item = Entry<'a>>, page: Option<&Page>) -> Bytes {
    let mut out = Writer::new(4096);
    open(&mut out, ns::PUBSUB).raw(b"<items").attr("node", ns::TIMELINE).raw(b">");
    for entry in entries {
        write(&mut out, &entry);
    }
    out.raw(b"</items>");
    if let Some(page) = page {
        out.element(&page.to_element());
    }
    out.raw(b"</pubsub>");
    out.into_bytes()
}

/// What a client of the account is told of a new entry: everything after the addresses of the message.
#[must_use]
pub fn notification(entry: &Entry<'_>) -> Bytes {
    let mut out = Writer::new(512 + entry.item.payload.len());
    out.raw(b" type='headline'><event").attr("xmlns", ns::PUBSUB_EVENT).raw(b"><items");
    out.attr("node", ns::TIMELINE).raw(b">");
    write(&mut out, entry);
    out.raw(b"</items></event></message>");
    out.into_bytes()
}
