//! Stanzas put together from bytes that are finished already: stanza-ids (XEP-0359), forwarding (XEP-0297).

use bytes::Bytes;
use xmpp::xml::escape_attr;
use xmpp::{Jid, ns};

use crate::runtime::{Timestamp, rfc3339};
use crate::tables::archive::Place;

const OPEN: &[u8] = b"<message";
const CLOSE: &[u8] = b"</message>";

/// `message`, a rendered one that is not empty, with `child` as its last child.
pub(in crate::extensions) fn with_child(message: &[u8], child: &[u8]) -> Bytes {
    let Some(open) = message.strip_suffix(CLOSE) else { return Bytes::copy_from_slice(message) };
    [open, child, CLOSE].concat().into()
}

/// `<stanza-id/>` of a message in the archive of `account`.
pub(in crate::extensions) fn stanza_id(account: &str, place: Place) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + account.len());
    out.extend_from_slice(b"<stanza-id xmlns='urn:xmpp:sid:0' by='");
    escape_attr(&mut out, account);
    out.extend_from_slice(b"' id='");
    out.extend_from_slice(place.id().as_bytes());
    out.extend_from_slice(b"'/>");
    out
}

/// Appends a rendered message as it is forwarded: in a namespace of its own.
fn push_forwarded(out: &mut Vec<u8>, message: &[u8]) {
    out.extend_from_slice(OPEN);
    out.extend_from_slice(b" xmlns='jabber:client'");
    out.extend_from_slice(message.strip_prefix(OPEN).unwrap_or(message));
}

/// What surrounds the results of one query.
pub(in crate::extensions) struct Wrapping {
    before: Vec<u8>,
}

impl Wrapping {
    /// Results for `to`, from the archive of `account`, for the query it called `query_id`.
    pub(in crate::extensions) fn new(to: &Jid, account: &str, query_id: Option<&str>) -> Self {
        let mut before = b"<message to='".to_vec();
        escape_attr(&mut before, to.as_str());
        before.extend_from_slice(b"' from='");
        escape_attr(&mut before, account);
        before.extend_from_slice(b"'><result xmlns='urn:xmpp:mam:2'");
        if let Some(query_id) = query_id {
            before.extend_from_slice(b" queryid='");
            escape_attr(&mut before, query_id);
            before.push(b'\'');
        }
        before.extend_from_slice(b" id='");
        Self { before }
    }

    /// Bytes that are added to each message.
    pub(in crate::extensions) fn len(&self) -> usize {
        self.before.len() + 224
    }

    /// Appends the result for `message`, which is known by `id` and came at `time`.
    pub(in crate::extensions) fn push(&self, out: &mut Vec<u8>, (id, time): (&str, Timestamp), message: &[u8]) {
        out.extend_from_slice(&self.before);
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(b"'>");
        push_kept(out, time, message);
        out.extend_from_slice(b"</result></message>");
    }
}

/// Appends `<forwarded/>` with a message, and when it came.
pub(in crate::extensions) fn push_kept(out: &mut Vec<u8>, time: Timestamp, message: &[u8]) {
    out.extend_from_slice(b"<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='");
    out.extend_from_slice(rfc3339(time).as_bytes());
    out.extend_from_slice(b"'/>");
    push_forwarded(out, message);
    out.extend_from_slice(b"</forwarded>");
}

/// The part of a carbon copy (XEP-0280) that is the same for all who get it: what follows the recipient's address.
pub(in crate::extensions) fn carbon(account: &str, type_: Option<&str>, direction: &str, message: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + 256);
    out.extend_from_slice(b" from='");
    escape_attr(&mut out, account);
    if let Some(type_) = type_ {
        out.extend_from_slice(b"' type='");
        out.extend_from_slice(type_.as_bytes());
    }
    for part in ["'><", direction, " xmlns='", ns::CARBONS, "'><forwarded xmlns='", ns::FORWARD, "'>"] {
        out.extend_from_slice(part.as_bytes());
    }
    push_forwarded(&mut out, message);
    for part in ["</forwarded></", direction, "></message>"] {
        out.extend_from_slice(part.as_bytes());
    }
    out.into()
}

/// XEP-0203: that `domain` held a message up since `received`, to the second: what matters is the day and the hour.
pub(in crate::extensions) fn delay(domain: &str, received: Timestamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(b"<delay xmlns='urn:xmpp:delay' from='");
    escape_attr(&mut out, domain);
    out.extend_from_slice(b"' stamp='");
    out.extend_from_slice(rfc3339(received - received % 1_000_000).as_bytes());
    out.extend_from_slice(b"'>Offline Storage</delay>");
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const PLACE: Place = Place { time: 1_031_699_305_000_007, chance: 7 };

    #[test]
    fn a_result_is_put_together() {
        let jid = Jid::new("juliet@capulet.com/bal'cony").unwrap();
        let mut out = Vec::new();
        Wrapping::new(&jid, "juliet@capulet.com", Some("<q>")).push(
            &mut out,
            (&PLACE.id(), PLACE.time),
            b"<message to='a'><body>x</body></message>",
        );
        let expected = format!(
            "<message to='juliet@capulet.com/bal&apos;cony' from='juliet@capulet.com'>\
             <result xmlns='urn:xmpp:mam:2' queryid='&lt;q&gt;' id='{}'><forwarded xmlns='urn:xmpp:forward:0'>\
             <delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25.000007Z'/>\
             <message xmlns='jabber:client' to='a'><body>x</body></message></forwarded></result></message>",
            PLACE.id()
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_carbon_is_put_together() {
        let shared = carbon("juliet@capulet.com", Some("chat"), "sent", b"<message to='a'><body>x</body></message>");
        assert_eq!(
            String::from_utf8(shared.to_vec()).unwrap(),
            " from='juliet@capulet.com' type='chat'><sent xmlns='urn:xmpp:carbons:2'>\
             <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' to='a'><body>x</body></message>\
             </forwarded></sent></message>"
        );
    }

    #[test]
    fn a_child_is_added_at_the_end() {
        let with = with_child(b"<message><body>x</body></message>", &stanza_id("a@b", PLACE));
        let expected = format!(
            "<message><body>x</body><stanza-id xmlns='urn:xmpp:sid:0' by='a@b' id='{}'/></message>",
            PLACE.id()
        );
        assert_eq!(String::from_utf8(with.to_vec()).unwrap(), expected);
        assert_eq!(Place::parse(&PLACE.id()), Some(PLACE));
    }

    #[test]
    fn the_delay_says_who_and_when() {
        assert_eq!(
            String::from_utf8(delay("capulet.com", 1_031_699_305_000_007)).unwrap(),
            "<delay xmlns='urn:xmpp:delay' from='capulet.com' stamp='2002-09-10T23:08:25Z'>Offline Storage</delay>"
        );
    }
}
