//! What subscribers are told, rendered once for all of them.
//!
//! A notification is `<message to='…'` and a tail. The tail begins right after the `to` attribute, ends with the
//! message, and is the same for every reader: the payload says its own namespace, and `<message/>` inherits that of
//! the stream it is written to, so the same bytes serve clients and servers.

use bytes::Bytes;
use xmpp::form::FormType;
use xmpp::jid::BareJid;
use xmpp::ns;

use super::Writer;
use super::form::{authorization_request, configuration_form, updated_form};
use super::lists::write_item;
use crate::config::{NodeConfig, NotificationType};
use crate::decision::Event;
use crate::model::{Home, Item, SubId, SubscriptionState};
use crate::profile::microblog;
use crate::time::Timestamp;

/// Characters of a readable text at most.
const BODY_CHARS_MAX: usize = 1000;

/// Where an event happened, and what the message is called.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The account or service; the `from` of the message.
    pub home: &'a BareJid,
    /// The node.
    pub node: &'a str,
    /// Its configuration.
    pub config: &'a NodeConfig,
    /// The `id` of the message, the same for everyone (section 12.4: unique for the service).
    pub id: &'a str,
}

/// The beginning: `<message to='…'`. Appended, so that many can share one buffer.
pub fn prefix(out: &mut Vec<u8>, to: &str) {
    out.extend_from_slice(b"<message to='");
    xmpp::xml::escape_attr(out, to);
    out.push(b'\'');
}

/// The tail for an event. `has_body` asks for a readable text, which is there if the payload has one to offer.
///
/// [`Event::LastItem`] is rendered by [`last_item`], since it needs the item.
#[must_use]
pub fn tail(origin: &Origin<'_>, event: &Event, has_body: bool) -> Bytes {
    match event {
        Event::Published(item) => published(origin, item, has_body, None),
        Event::Pinged | Event::LastItem => items(origin, |_| {}),
        Event::Retracted(id) => items(origin, |out| {
            out.raw(b"<retract").attr("id", id).raw(b"/>");
        }),
        Event::Purged => event_of(origin, |out| {
            out.raw(b"<purge").attr("node", origin.node).raw(b"/>");
        }),
        Event::Deleted(redirect) => event_of(origin, |out| {
            out.raw(b"<delete").attr("node", origin.node);
            match redirect {
                Some(uri) => out.raw(b"><redirect").attr("uri", uri).raw(b"/></delete>"),
                None => out.raw(b"/>"),
            };
        }),
        Event::Configured => event_of(origin, |out| {
            out.raw(b"<configuration").attr("node", origin.node);
            if origin.config.deliver_payloads {
                out.raw(b">").element(&configuration_form(origin.config, FormType::Result, Home::Account));
                out.raw(b"</configuration>");
            } else {
                out.raw(b"/>");
            }
        }),
        Event::Metadata(fields) => event_of(origin, |out| {
            out.raw(b"<configuration").attr("node", origin.node).raw(b">");
            out.element(&updated_form(fields)).raw(b"</configuration>");
        }),
        Event::Subscription { jid, id, state } => subscription(origin, jid.as_str(), *id, *state, None),
        Event::LeaseEnds { jid, id, end } => {
            subscription(origin, jid.as_str(), *id, SubscriptionState::Subscribed, Some(*end))
        }
        Event::Affiliation { jid, affiliation } => {
            let mut out = head(origin, None, 512);
            super::reply::open(&mut out, ns::PUBSUB).raw(b"<affiliations").attr("node", origin.node).raw(b">");
            out.raw(b"<affiliation").attr("jid", jid.as_str()).attr("affiliation", affiliation.as_str());
            out.raw(b"/></affiliations></pubsub></message>");
            out.into_bytes()
        }
        Event::AuthorizationWanted { jid, id } => {
            let mut out = head(origin, None, 1024);
            out.element(&authorization_request(origin.node, jid, *id)).raw(b"</message>");
            out.into_bytes()
        }
    }
}

/// Whether a reader with several subscriptions is told by which of them it hears of an event: what is about items may
/// come by one and not by another, what is about the node comes by all (section 12.14).
#[must_use]
pub fn names_subscriptions(event: &Event) -> bool {
    matches!(event, Event::Published(_) | Event::Pinged | Event::Retracted(_) | Event::LastItem)
}

/// A tail that says by which subscriptions it came (section 7.1.2.4, XEP-0131).
#[must_use]
pub fn by_subscriptions(tail: &[u8], ids: &[SubId]) -> Bytes {
    const END: &[u8] = b"</message>";
    let mut out = Writer::new(tail.len() + 160);
    out.raw(tail.strip_suffix(END).unwrap_or(tail)).raw(b"<headers").attr("xmlns", ns::SHIM).raw(b">");
    for id in ids {
        out.raw(b"<header name='SubID'>").text(&id.to_string()).raw(b"</header>");
    }
    out.raw(b"</headers>").raw(END);
    out.into_bytes()
}

/// Whether the message for an event is a headline: for who is there, and not to be kept for who is away.
#[must_use]
pub fn is_headline(event: &Event, config: &NodeConfig) -> bool {
    match event {
        Event::Subscription { .. }
        | Event::LeaseEnds { .. }
        | Event::Affiliation { .. }
        | Event::AuthorizationWanted { .. } => false,
        _ => config.notification_type == NotificationType::Headline,
    }
}

/// The newest item, sent because somebody subscribed or came online, and not because it is new (XEP-0203).
#[must_use]
pub fn last_item(origin: &Origin<'_>, item: &Item, has_body: bool) -> Bytes {
    published(origin, item, has_body, Some(item.updated))
}

fn published(origin: &Origin<'_>, item: &Item, has_body: bool, delay: Option<Timestamp>) -> Bytes {
    let has_payload = origin.config.deliver_payloads;
    let payload_bytes = if has_payload { item.payload.len() } else { 0 };
    let mut out = head(origin, Some(origin.config.notification_type), 384 + payload_bytes);
    if has_body && let Some(body) = microblog::summary(&item.payload, BODY_CHARS_MAX) {
        out.raw(b"<body>").text(&body).raw(b"</body>");
    }
    out.raw(b"<event").attr("xmlns", ns::PUBSUB_EVENT).raw(b"><items").attr("node", origin.node).raw(b">");
    write_item(&mut out, item, origin.config, has_payload);
    out.raw(b"</items></event>");
    if let Some(stamp) = delay {
        out.raw(b"<delay").attr("xmlns", ns::DELAY).attr("from", origin.home.as_str());
        out.attr("stamp", &stamp.to_string()).raw(b"/>");
    }
    out.raw(b"</message>");
    out.into_bytes()
}

/// The attributes after `to`. A message about the reader's own standing is of no type, so that it waits for who is
/// away; one about the node's contents is of the type its owner chose.
fn head(origin: &Origin<'_>, notification_type: Option<NotificationType>, capacity: usize) -> Writer {
    let mut out = Writer::new(capacity);
    out.attr("from", origin.home.as_str()).attr("id", origin.id);
    if notification_type == Some(NotificationType::Headline) {
        out.raw(b" type='headline'");
    }
    out.raw(b">");
    out
}

fn event_of(origin: &Origin<'_>, write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut out = head(origin, Some(origin.config.notification_type), 512);
    out.raw(b"<event").attr("xmlns", ns::PUBSUB_EVENT).raw(b">");
    write(&mut out);
    out.raw(b"</event></message>");
    out.into_bytes()
}

fn items(origin: &Origin<'_>, write: impl FnOnce(&mut Writer)) -> Bytes {
    event_of(origin, |out| {
        out.raw(b"<items").attr("node", origin.node).raw(b">");
        write(out);
        out.raw(b"</items>");
    })
}

fn subscription(
    origin: &Origin<'_>,
    jid: &str,
    id: SubId,
    state: SubscriptionState,
    expiry: Option<Timestamp>,
) -> Bytes {
    let mut out = head(origin, None, 384);
    out.raw(b"<event").attr("xmlns", ns::PUBSUB_EVENT).raw(b"><subscription").attr("node", origin.node);
    out.attr("jid", jid).attr("subid", &id.to_string());
    if let Some(end) = expiry {
        out.attr("expiry", &end.to_string());
    }
    out.attr("subscription", state.as_str()).raw(b"/></event></message>");
    out.into_bytes()
}
