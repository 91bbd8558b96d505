//! Stanzas: what is spliced, what is rendered anew, what is answered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::limits::Limits;
use bytes::Bytes;

fn parse(text: &str) -> Result<Stanza, Unparsable> {
    Stanza::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::client())
}

#[test]
fn a_chat_message_is_head_and_slices() {
    let text = "<message to='Romeo@Example.net/Orchard' type='chat' id='a&amp;b' xml:lang='it'>\
                <body>Art thou &lt;not&gt; Romeo?</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>";
    let stanza = parse(text).unwrap();
    assert_eq!(stanza.head.to.as_ref().unwrap(), "romeo@example.net/Orchard");
    assert_eq!(stanza.head.id.as_deref(), Some("a&b"));
    assert_eq!(stanza.head.lang.as_deref(), Some("it"));
    assert_eq!(stanza.head.kind, Kind::Message(MessageType::Chat));
    let names: Vec<_> = stanza.content.children().map(|child| (child.name(), child.ns())).collect();
    assert_eq!(names, [("body", "jabber:client"), ("active", "http://jabber.org/protocol/chatstates")]);
    assert_eq!(stanza.content.first().unwrap().text().unwrap(), "Art thou <not> Romeo?");
    assert_eq!(stanza.content.first().unwrap().open().unwrap().text(), "Art thou <not> Romeo?");
    let again = Stanza::parse(stanza.render(), &Limits::client()).unwrap();
    assert_eq!(again, stanza);
}
