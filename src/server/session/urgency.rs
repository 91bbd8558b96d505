//! What can wait while nobody looks at a client (XEP-0352), told from finished bytes.
//!
//! Whoever is told is a phone in a pocket: waking it costs battery. What a person would want to know at once is
//! urgent, and so is what answers the client itself. The rest waits, and of that only the latest is of use where one
//! stanza replaces another: somebody's presence, somebody's typing, an item of a node.
//!
//! Bytes are looked at without a parse. A tag or attribute with its opening bracket or quote cannot be part of anybody's
//! text; where the look is wrong nevertheless, something waits that need not, or the other way round, and nothing is
//! lost: what replaces another is found by its sender, which is ours to write.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::frame::Frame;

/// How a stanza bears waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Not at all.
    Now,
    /// It can wait.
    Later,
    /// It can wait, and replaces what has the same key and waits, too.
    Latest(u64),
}

/// Marks of a message somebody wants to see at once: text, encrypted or not, calls (XEP-0353), invitations, questions
/// (XEP-0070).
const URGENT: [&[u8]; 8] = [
    b"<body",
    b"<subject",
    b"<encrypted ",
    b"'urn:xmpp:eme:0'",
    b"'urn:xmpp:jingle-message:",
    b"'jabber:x:conference'",
    b"<invite",
    b"'http://jabber.org/protocol/http-auth'",
];

const EVENT: [&[u8]; 2] =
    [b"xmlns='http://jabber.org/protocol/pubsub#event'", b"xmlns=\"http://jabber.org/protocol/pubsub#event\""];
const MUC: &[u8] = b"http://jabber.org/protocol/muc#user";

impl Urgency {
    /// How `frame` bears waiting.
    #[must_use]
    pub(super) fn of(frame: &Frame) -> Self {
        let (before, bytes) = match frame {
            Frame::Whole(bytes) => (&bytes[..], &bytes[..]),
            Frame::Addressed { before, after, .. } => (before.as_bytes(), &after[..]),
        };
        if before.starts_with(b"<presence") {
            of_presence(bytes)
        } else if before.starts_with(b"<message") {
            of_message(bytes)
        } else {
            Self::Now
        }
    }
}

fn of_presence(bytes: &[u8]) -> Urgency {
    let head = head(bytes);
    match (attr(head, b" type='"), attr(head, b" from='")) {
        (None | Some(b"unavailable"), Some(from)) if !has(bytes, MUC) => Urgency::Latest(key(&[b"presence", from])),
        (None | Some(b"unavailable" | b"error"), _) => Urgency::Later,
        // Subscriptions.
        _ => Urgency::Now,
    }
}

fn of_message(bytes: &[u8]) -> Urgency {
    let head = head(bytes);
    let (type_, from) = (attr(head, b" type='"), attr(head, b" from='").unwrap_or_default());
    if type_ == Some(b"error") {
        return Urgency::Now;
    }
    if let Some(at) = EVENT.iter().find_map(|event| find(bytes, event)) {
        return of_event(from, bytes.get(at..).unwrap_or_default());
    }
    if URGENT.iter().any(|mark| has(bytes, mark)) {
        return Urgency::Now;
    }
    let says_more = [&b"'urn:xmpp:receipts'"[..], b"'urn:xmpp:chat-markers:0'", b"<store", b"<forwarded"];
    if has(bytes, b"'http://jabber.org/protocol/chatstates'") && !says_more.iter().any(|mark| has(bytes, mark)) {
        return Urgency::Latest(key(&[b"chat state", from]));
    }
    Urgency::Later
}

/// A notification of one item replaces an earlier one of the same item (XEP-0060).
fn of_event(from: &[u8], event: &[u8]) -> Urgency {
    let Some(node) = find(event, b"<items").and_then(|at| attr(self::head(event.get(at..)?), b" node='")) else {
        return Urgency::Later;
    };
    let named = |tag: &[u8]| {
        let at = find(event, tag)?;
        let rest = event.get(at..)?;
        // Of several items each may have been told of by itself.
        let is_alone = find(rest.get(tag.len()..)?, tag).is_none();
        attr(self::head(rest), b" id='").filter(|_| is_alone)
    };
    match (named(b"<item "), named(b"<retract ")) {
        (Some(id), None) | (None, Some(id)) => Urgency::Latest(key(&[b"item", from, node, id])),
        _ => Urgency::Later,
    }
}

/// The bytes up to the end of the first tag.
fn head(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == b'>').unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or(bytes)
}

/// The value of the attribute that begins with `name`, as it is written.
fn attr<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = head.get(find(head, name)? + name.len()..)?;
    rest.get(..rest.iter().position(|&byte| byte == b'\'')?)
}

fn has(bytes: &[u8], what: &[u8]) -> bool {
    find(bytes, what).is_some()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}

fn key(parts: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::{Frame, Urgency};
    use xmpp::Jid;

    fn of(stanza: &str) -> Urgency {
        let whole = Urgency::of(&Frame::Whole(stanza.to_owned().into()));
        // The same as one of many.
        for before in ["<message to='", "<presence to='"] {
            if let Some(rest) = stanza.strip_prefix(before) {
                let (to, after) = rest.split_once('\'').unwrap();
                let after = after.to_owned().into();
                assert_eq!(Urgency::of(&Frame::Addressed { before, to: Jid::new(to).unwrap(), after }), whole);
            }
        }
        whole
    }

    #[test]
    fn what_a_person_wants_to_know_is_urgent() {
        for stanza in [
            "<iq to='a@b/c' type='result' id='1'/>",
            "<iq to='a@b/c' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
            "<presence to='a@b' from='d@e' type='subscribe'/>",
            "<presence to='a@b' from='d@e' type='unsubscribed'/>",
            "<message to='a@b' from='d@e/f' type='chat'><body>x</body></message>",
            "<message to='a@b' from='d@e/f' type='groupchat'><body>x</body></message>",
            "<message to='a@b' from='d@e/f' type='error'><error type='cancel'/></message>",
            "<message to='a@b' from='d@e/f'><propose xmlns='urn:xmpp:jingle-message:0' id='1'/></message>",
            "<message to='a@b' from='d@e/f'><encrypted xmlns='eu.siacs.conversations.axolotl'/></message>",
            "<message to='a@b' from='d@e/f'><x xmlns='jabber:x:conference' jid='r@m'/></message>",
            "<message to='a@b' from='r@m'><x xmlns='http://jabber.org/protocol/muc#user'><invite from='d@e'/></x></message>",
            "<message to='a@b/c' from='a@b'><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
             <message xmlns='jabber:client' from='d@e/f'><body>x</body></message></forwarded></received></message>",
        ] {
            assert_eq!(of(stanza), Urgency::Now, "{stanza}");
        }
    }

    #[test]
    fn what_waits() {
        for stanza in [
            "<message to='a@b' from='d@e/f'><received xmlns='urn:xmpp:receipts' id='1'/></message>",
            "<message to='a@b' from='d@e/f'><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/></message>",
            "<message to='a@b' from='d@e/f'><active xmlns='http://jabber.org/protocol/chatstates'/>\
             <displayed xmlns='urn:xmpp:chat-markers:0' id='1'/></message>",
            "<message to='a@b' from='a@b'><sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
             <message from='a@b/x'><active xmlns='http://jabber.org/protocol/chatstates'/></message></forwarded></sent></message>",
            "<presence to='a@b' from='r@m/n'><x xmlns='http://jabber.org/protocol/muc#user'/></presence>",
            "<presence to='a@b' from='r@m/n' type='error'/>",
            "<message to='a@b' from='d@e' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'>\
             <purge node='n'/></event></message>",
            "<message to='a@b' from='d@e' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'>\
             <items node='n'><item id='1'/><item id='2'/></items></event></message>",
        ] {
            assert_eq!(of(stanza), Urgency::Later, "{stanza}");
        }
    }

    #[test]
    fn what_replaces_what() {
        let latest = |stanza: &str| match of(stanza) {
            Urgency::Latest(key) => key,
            other => panic!("{other:?}: {stanza}"),
        };
        let item = |from: &str, node: &str, item: &str| {
            latest(&format!(
                "<message to='a@b' from='{from}' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'>\
                 <items node='{node}'>{item}</items></event></message>"
            ))
        };
        let typing = |from: &str, state: &str| {
            latest(&format!(
                "<message to='a@b' from='{from}' type='chat'><{state} xmlns='http://jabber.org/protocol/chatstates'/></message>"
            ))
        };
        let presence = |rest: &str| latest(&format!("<presence to='a@b' {rest}"));
        assert_eq!(presence("from='d@e/f'/>"), presence("from='d@e/f' type='unavailable'/>"));
        assert_eq!(presence("from='d@e/f'/>"), presence("from='d@e/f'><show>away</show></presence>"));
        assert_eq!(typing("d@e/f", "composing"), typing("d@e/f", "paused"));
        let one = "<item id='1' publisher='x'><body>text is no message here</body></item>";
        assert_eq!(item("d@e", "n", one), item("d@e", "n", "<retract id='1'/>"));
        let all = [
            presence("from='d@e/f'/>"),
            presence("from='d@e/g'/>"),
            typing("d@e/f", "composing"),
            typing("d@e/g", "composing"),
            item("d@e", "n", one),
            item("d@e", "m", one),
            item("f@e", "n", one),
            item("d@e", "n", "<item id='2'/>"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
    }
}
