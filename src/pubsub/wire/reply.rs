//! Answers that are no lists: the payload of a result IQ, as bytes.

use bytes::Bytes;
use xmpp::form::FormType;
use xmpp::ns;

use super::Writer;
use super::form::{configuration_form, options_form};
use crate::decision::{Reply, Unmodified};
use crate::model::{Home, SubscriptionOptions};

/// What a reply is on the wire.
#[derive(Clone, Debug, PartialEq)]
pub enum Rendered<'a> {
    /// A result without payload.
    Empty,
    /// A result with this payload.
    Payload(Bytes),
    /// A list: whoever holds the rows writes it with [`super::lists`].
    List(&'a Reply),
}

/// Renders a reply of a home of that kind.
#[must_use]
pub fn render(reply: &Reply, home: Home) -> Rendered<'_> {
    let mut out = Writer::new(256);
    match reply {
        Reply::Empty => return Rendered::Empty,
        Reply::Created(node) => {
            open(&mut out, ns::PUBSUB).raw(b"<create").attr("node", node).raw(b"/></pubsub>");
        }
        Reply::Published { node, id } => {
            open(&mut out, ns::PUBSUB).raw(b"<publish").attr("node", node);
            match id {
                Some(id) => out.raw(b"><item").attr("id", id).raw(b"/></publish></pubsub>"),
                None => out.raw(b"/></pubsub>"),
            };
        }
        Reply::Subscription { node, jid, id, state, options } => {
            open(&mut out, ns::PUBSUB).raw(b"<subscription").attr("node", node).attr("jid", jid.as_str());
            out.attr("subid", &id.to_string()).attr("subscription", state.as_str()).raw(b"/>");
            if let Some(options) = options {
                out.raw(b"<options>").element(&options_form(*options, FormType::Result)).raw(b"</options>");
            }
            out.raw(b"</pubsub>");
        }
        Reply::Options { node, jid, id, options } => {
            open(&mut out, ns::PUBSUB).raw(b"<options").attr("node", node).attr("jid", jid.as_str());
            if let Some(id) = id {
                out.attr("subid", &id.to_string());
            }
            out.raw(b">").element(&options_form(*options, FormType::Form)).raw(b"</options></pubsub>");
        }
        Reply::DefaultOptions(node) => {
            open(&mut out, ns::PUBSUB).raw(b"<default");
            if let Some(node) = node {
                out.attr("node", node);
            }
            out.raw(b">").element(&options_form(SubscriptionOptions::default(), FormType::Result));
            out.raw(b"</default></pubsub>");
        }
        Reply::Configuration(node, config) => {
            open(&mut out, ns::PUBSUB_OWNER).raw(b"<configure").attr("node", node).raw(b">");
            out.element(&configuration_form(config, FormType::Form, home)).raw(b"</configure></pubsub>");
        }
        Reply::DefaultConfiguration(config) => {
            open(&mut out, ns::PUBSUB_OWNER).raw(b"<default>");
            out.element(&configuration_form(config, FormType::Form, home)).raw(b"</default></pubsub>");
        }
        Reply::Items(..)
        | Reply::OwnSubscriptions(_)
        | Reply::OwnAffiliations(_)
        | Reply::Subscribers(..)
        | Reply::Affiliated(..)
        | Reply::NodeInformation(_)
        | Reply::NodeItems(..)
        | Reply::Nodes(_) => return Rendered::List(reply),
    }
    Rendered::Payload(out.into_bytes())
}

/// What stands beside the error of [`crate::Refusal::Unmodified`]: the entries as they are.
#[must_use]
pub fn unmodified(unmodified: &Unmodified) -> Bytes {
    let mut out = Writer::new(256);
    open(&mut out, ns::PUBSUB_OWNER);
    match unmodified {
        Unmodified::Subscriptions(node, entries) => {
            out.raw(b"<subscriptions").attr("node", node).raw(b">");
            for (jid, id, state) in entries {
                super::lists::write_subscription(&mut out, jid, *id, *state);
            }
            out.raw(b"</subscriptions></pubsub>");
        }
        Unmodified::Affiliations(node, entries) => {
            out.raw(b"<affiliations").attr("node", node).raw(b">");
            for (jid, affiliation) in entries {
                out.raw(b"<affiliation").attr("jid", jid.as_str());
                out.attr("affiliation", affiliation.as_str()).raw(b"/>");
            }
            out.raw(b"</affiliations></pubsub>");
        }
    }
    out.into_bytes()
}

/// `<pubsub xmlns='…'>`
pub(super) fn open<'a>(out: &'a mut Writer, namespace: &str) -> &'a mut Writer {
    out.raw(b"<pubsub").attr("xmlns", namespace).raw(b">")
}
