//! Which messages belong into an archive (XEP-0313 section 6.1.1, XEP-0334 section 4).
//!
//! Chat and normal messages that say or change something: text, receipts, markers, reactions, corrections,
//! retractions, invitations, calls, and whatever is encrypted. Not headlines, errors, groupchat, nor chat states alone.

use xmpp::Stanza;
use xmpp::ns;
use xmpp::stanza::{Child, Kind, MessageType};

/// Namespaces whose every element is worth keeping.
const WORTHY: [&str; 12] = [
    ns::RECEIPTS,
    ns::RETRACT,
    ns::DIRECT_INVITATION,
    "urn:xmpp:message-retract:0",
    "urn:xmpp:message-correct:0",
    "urn:xmpp:reactions:0",
    "urn:xmpp:eme:0",
    "urn:xmpp:openpgp:0",
    "urn:xmpp:omemo:2",
    "eu.siacs.conversations.axolotl",
    "urn:xmpp:jingle-message:0",
    "urn:xmpp:call-invites:0",
];

/// Whether `stanza` is to be archived, as far as its sender and its contents have a say.
pub(in crate::extensions) fn is_worthy(stanza: &Stanza) -> bool {
    if !matches!(stanza.head.kind, Kind::Message(MessageType::Normal | MessageType::Chat)) {
        return false;
    }
    let mut is_worthy = false;
    for child in stanza.content.children() {
        match (child.name(), child.ns()) {
            ("no-store" | "no-permanent-store", ns::HINTS) => return false,
            ("store", ns::HINTS) | ("body" | "subject", ns::CLIENT) => is_worthy = true,
            // Every message may be marked; what says that it was is the one to keep.
            (name, ns::MARKERS) => is_worthy |= name != "markable",
            ("x", ns::MUC_USER) => is_worthy |= is_invitation(child),
            (_, ns) => is_worthy |= WORTHY.contains(&ns),
        }
    }
    is_worthy
}

/// Whether it is an invitation a room passes on (XEP-0045 section 7.8.2).
pub(in crate::extensions) fn is_invitation(child: &Child) -> bool {
    child.open().is_ok_and(|x| x.get_child("invite", ns::MUC_USER).is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use xmpp::limits::Limits;

    #[test]
    fn what_is_worth_archiving() {
        let hint = |name: &str| format!("<body>x</body><{name} xmlns='urn:xmpp:hints'/>");
        for (type_, content, expected) in [
            ("chat", "<body>Hello</body>", true),
            ("normal", "<body>Hello</body>", true),
            ("normal", "<subject>Hello</subject>", true),
            ("headline", "<body>Hello</body>", false),
            ("groupchat", "<body>Hello</body>", false),
            ("error", "<body>Hello</body>", false),
            ("chat", "", false),
            ("chat", "<thread>t</thread>", false),
            ("chat", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", false),
            ("chat", "<received xmlns='urn:xmpp:receipts' id='1'/>", true),
            ("chat", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", true),
            ("chat", "<markable xmlns='urn:xmpp:chat-markers:0'/>", false),
            ("chat", "<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>x</reaction></reactions>", true),
            ("chat", "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>", true),
            ("chat", "<encrypted xmlns='eu.siacs.conversations.axolotl'/>", true),
            ("normal", "<x xmlns='jabber:x:conference' jid='a@b'/>", true),
            ("normal", "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@b'/></x>", true),
            ("normal", "<x xmlns='http://jabber.org/protocol/muc#user'/>", false),
            ("normal", "<event xmlns='http://jabber.org/protocol/pubsub#event'/>", false),
            ("chat", "<composing xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/>", true),
            ("error", "<store xmlns='urn:xmpp:hints'/>", false),
            ("chat", &hint("no-store"), false),
            ("chat", &hint("no-permanent-store"), false),
            ("chat", &hint("no-copy"), true),
        ] {
            let stanza = format!("<message type='{type_}' to='a@b'>{content}</message>");
            let stanza = Stanza::parse(stanza.into(), &Limits::server()).unwrap();
            assert_eq!(is_worthy(&stanza), expected, "{type_} {content}");
        }
    }
}
