//! Which messages are worth waking a sleeping device for (XEP-0357 section 7 leaves that to the server): those that say
//! something to somebody, invitations and calls. Not receipts, markers, chat states or reactions.

use std::sync::Arc;

use xmpp::stanza::{Child, Kind, MessageType};
use xmpp::{Jid, Stanza, ns};

use super::Delivery;
use crate::extension::{Occasion, OccasionKind};
use crate::extensions::archive::worth::is_invitation;
use crate::router::Router;
use crate::session::Session;
use crate::tables::archive::is_encrypted;

const JINGLE_MESSAGE: &str = "urn:xmpp:jingle-message:0";
const CALL_INVITES: &str = "urn:xmpp:call-invites:0";
/// What only who it is for can read.
const ENCRYPTED: [&str; 5] = [
    "eu.siacs.conversations.axolotl",
    "urn:xmpp:omemo:1",
    "urn:xmpp:omemo:2",
    "urn:xmpp:openpgp:0",
    "jabber:x:encrypted",
];

/// What happens when `stanza` comes, if that is worth waking somebody.
fn kind_of(stanza: &Stanza) -> Option<OccasionKind> {
    let Kind::Message(MessageType::Chat | MessageType::Normal | MessageType::Groupchat) = stanza.head.kind else {
        return None;
    };
    let mut found = None;
    for child in stanza.content.children() {
        match (child.name(), child.ns()) {
            ("no-store", ns::HINTS) => return None,
            ("propose", JINGLE_MESSAGE) | ("invite", CALL_INVITES) => return Some(OccasionKind::Call),
            ("body", ns::CLIENT) | ("x", ns::DIRECT_INVITATION) => found = Some(OccasionKind::Message),
            ("x", ns::MUC_USER) if is_invitation(child) => found = Some(OccasionKind::Message),
            (_, namespace) if ENCRYPTED.contains(&namespace) => found = Some(OccasionKind::Message),
            _ => {}
        }
    }
    found
}

/// The same as an occasion for the account it is addressed to; `resource` if only that one gets it.
pub(in crate::extensions) fn occasion_of<'a>(
    stanza: &'a Stanza,
    resource: Option<&'a str>,
    text: &'a (dyn Fn() -> Option<String> + Sync),
) -> Option<Occasion<'a>> {
    let (Some(from), Some(to)) = (&stanza.head.from, &stanza.head.to) else { return None };
    let kind = kind_of(stanza)?;
    (from.as_bare_str() != to.as_bare_str()).then_some(Occasion { kind, from, resource, is_again: false, text })
}

/// The text that may be told to others than its recipient.
pub(in crate::extensions) fn text(stanza: &Stanza) -> Option<String> {
    if is_encrypted(&stanza.content) {
        return None;
    }
    stanza.content.child("body", ns::CLIENT).and_then(Child::text).map(std::borrow::Cow::into_owned)
}

/// Whether `stanza` tells of a new entry in a feed of another server.
pub(super) fn is_post_from_afar(router: &Router, stanza: &Stanza) -> bool {
    if stanza.head.from.as_ref().is_none_or(|from| router.serves(from.domain())) {
        return false;
    }
    let Some(event) = stanza.content.child("event", ns::PUBSUB_EVENT).and_then(|event| event.open().ok()) else {
        return false;
    };
    let items = event.get_child("items", ns::PUBSUB_EVENT);
    items.is_some_and(|items| {
        items.attr("node") == Some(ns::MICROBLOG) && items.get_child("item", ns::PUBSUB_EVENT).is_some()
    })
}

impl Delivery {
    /// Says that `stanza` came for the account it is addressed to; `resource` if only that one gets it.
    pub(super) async fn wake(&self, router: &Router, stanza: &Stanza, resource: Option<&str>) {
        let text = || text(stanza);
        let (Some(occasion), Some(to)) = (occasion_of(stanza, resource, &text), &stanza.head.to) else { return };
        let account = to.to_bare();
        router.tell(|listener| listener.deserves_waking(&account, &occasion)).await;
    }

    /// The same for what a lost session leaves, and its account may have been told to wake for already.
    pub(super) async fn wake_again(&self, router: &Router, stanza: &Stanza, resource: Option<&str>) {
        let text = || text(stanza);
        let (Some(occasion), Some(to)) = (occasion_of(stanza, resource, &text), &stanza.head.to) else { return };
        let (account, occasion) = (to.to_bare(), Occasion { is_again: true, ..occasion });
        router.tell(|listener| listener.deserves_waking(&account, &occasion)).await;
    }

    /// A post on a server elsewhere that an account here is told of (XEP-0277).
    pub(super) async fn post_came(&self, router: &Router, stanza: &Stanza) {
        let (Some(from), Some(to)) = (&stanza.head.from, &stanza.head.to) else { return };
        let occasion = Occasion::new(OccasionKind::Post, from);
        let account = to.to_bare();
        router.tell(|listener| listener.deserves_waking(&account, &occasion)).await;
    }

    /// The same for what was given to `named` alone, and nobody kept: only if that sleeps, and will get it later.
    pub(super) fn sleeps_through(named: Option<&Arc<Session>>, to: &Jid, stanza: &Stanza) -> bool {
        named.is_some_and(|named| named.jid.as_str() == to.as_str() && !named.is_awake()) && kind_of(stanza).is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use xmpp::limits::Limits;

    #[test]
    fn what_is_worth_waking_somebody() {
        let (message, call) = (Some(OccasionKind::Message), Some(OccasionKind::Call));
        let body = "<body>I sent you an encrypted message</body>";
        for (type_, content, expected, told) in [
            ("chat", "<body>Hello</body>", message, Some("Hello")),
            ("normal", "<body>Hello</body>", message, Some("Hello")),
            ("groupchat", "<body>Hello</body>", message, Some("Hello")),
            ("headline", "<body>Hello</body>", None, Some("Hello")),
            ("error", "<body>Hello</body>", None, Some("Hello")),
            ("chat", "<body>x</body><no-store xmlns='urn:xmpp:hints'/>", None, Some("x")),
            ("chat", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", None, None),
            ("chat", "<received xmlns='urn:xmpp:receipts' id='1'/>", None, None),
            ("chat", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", None, None),
            ("chat", "<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>x</reaction></reactions>", None, None),
            ("chat", &format!("<encrypted xmlns='eu.siacs.conversations.axolotl'/>{body}"), message, None),
            ("chat", "<encrypted xmlns='urn:xmpp:omemo:2'/>", message, None),
            ("chat", &format!("{body}<encryption xmlns='urn:xmpp:eme:0' namespace='x'/>"), message, None),
            ("chat", "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/><store xmlns='urn:xmpp:hints'/>", call, None),
            ("chat", "<accept xmlns='urn:xmpp:jingle-message:0' id='1'/>", None, None),
            ("chat", "<invite xmlns='urn:xmpp:call-invites:0'/>", call, None),
            ("normal", "<x xmlns='jabber:x:conference' jid='a@b'/>", message, None),
            ("normal", "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@b'/></x>", message, None),
            ("normal", "<event xmlns='http://jabber.org/protocol/pubsub#event'/>", None, None),
        ] {
            let stanza = format!("<message type='{type_}' to='a@b'>{content}</message>");
            let stanza = Stanza::parse(stanza.into(), &Limits::server()).unwrap();
            assert_eq!(kind_of(&stanza), expected, "{type_} {content}");
            assert_eq!(text(&stanza).as_deref(), told, "{type_} {content}");
        }
    }
}
