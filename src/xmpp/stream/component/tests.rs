//! Conversations with the stream machine, as tables. The component is `plays.shakespeare.lit`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::sasl::plain::Password;

const HEADER: &str = "<stream:stream xmlns='jabber:component:accept' \
    xmlns:stream='http://etherx.jabber.org/streams' to='plays.shakespeare.lit'>";

fn stream() -> Stream {
    let component = Component { domain: "plays.shakespeare.lit".into(), secret: Password::new("test") };
    let seed = Seed { stream_id: "one secret".into(), nonce: "another".into() };
    Stream::accept(Arc::new(Settings::new(vec![component])), seed)
}

fn said(stream: &mut Stream) -> String {
    let mut out = Vec::new();
    stream.poll_transmit(&mut out);
    String::from_utf8(out).unwrap()
}

fn hear(stream: &mut Stream, text: &str) -> Vec<Event> {
    stream.handle_bytes(text.as_bytes());
    std::iter::from_fn(|| stream.poll_event()).collect()
}

fn handshake(header: &str) -> String {
    let id = header.split("id='").nth(1).unwrap().split('\'').next().unwrap();
    format!("<handshake>{}</handshake>", proof(id, "test"))
}

fn open() -> Stream {
    let mut stream = stream();
    hear(&mut stream, HEADER);
    let proof = handshake(&said(&mut stream));
    assert_eq!(hear(&mut stream, &proof), [Event::Authenticated("plays.shakespeare.lit".into())]);
    stream.handle_admitted(Ok(()));
    assert_eq!(said(&mut stream), "<handshake/>");
    stream
}

#[test]
fn the_proof_is_the_one_that_is_printed() {
    assert_eq!(proof("3BF96D32", "test"), "aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e");
}

#[test]
fn a_component_comes_in_and_says_something_however_the_bytes_are_split() {
    let message = "<message from='a@plays.shakespeare.lit' to='b@c'><body>x</body></message>";
    for size in [1, 2, 7, 1000] {
        let mut stream = stream();
        let mut events = Vec::new();
        let mut text = String::new();
        for piece in HEADER.as_bytes().chunks(size) {
            stream.handle_bytes(piece);
            while stream.poll_event().is_some() {}
        }
        text.push_str(&said(&mut stream));
        assert!(text.contains(" from='plays.shakespeare.lit' id='") && !text.contains("version='1.0' "), "{text}");
        for piece in [handshake(&text).as_str(), message].concat().as_bytes().chunks(size) {
            stream.handle_bytes(piece);
            while let Some(event) = stream.poll_event() {
                if matches!(event, Event::Authenticated(_)) {
                    stream.handle_admitted(Ok(()));
                }
                events.push(event);
            }
        }
        assert!(matches!(events.as_slice(), [Event::Authenticated(_), Event::Stanza(_)]), "{events:?}");
        assert_eq!(stream.domain(), Some("plays.shakespeare.lit"));
    }
}

#[test]
fn what_is_wrong_before_the_handshake_ends_the_stream() {
    let other = |from: &str, to: &str| HEADER.replace(from, to);
    let table = [
        (other("plays.", "songs."), "host-unknown"),
        (other(" to='plays.shakespeare.lit'", ""), "host-unknown"),
        (other("to='plays", "to='a@plays"), "host-unknown"),
        (other("jabber:component:accept", "jabber:client"), "invalid-namespace"),
        (other("jabber:component:accept", "jabber:component:connect"), "invalid-namespace"),
        (format!("{HEADER}<handshake>aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e</handshake>"), "not-authorized"),
        (format!("{HEADER}<handshake/>"), "not-authorized"),
        (format!("{HEADER}<handshake xmlns='jabber:client'/>"), "not-authorized"),
        (format!("{HEADER}<message from='plays.shakespeare.lit' to='a'/>"), "not-authorized"),
        (format!("{HEADER}<handshake>{}</handshake>", "a".repeat(20_000)), "policy-violation"),
        (format!("{HEADER}<!-- -->"), "restricted-xml"),
        ("<stream>".to_owned(), "invalid-namespace"),
    ];
    for (text, condition) in table {
        let mut stream = stream();
        let events = hear(&mut stream, &text);
        let Some(Event::Closed(Some(error))) = events.last() else { panic!("{text}: {events:?}") };
        assert_eq!(error.condition.name(), condition, "{text}");
        let said = said(&mut stream);
        assert!(said.contains("<stream:stream") && said.ends_with("</stream:error></stream:stream>"), "{said}");
    }
}

#[test]
fn the_caller_may_have_no_room() {
    let mut stream = stream();
    hear(&mut stream, HEADER);
    let proof = handshake(&said(&mut stream));
    hear(&mut stream, &proof);
    stream.handle_admitted(Err(Condition::Conflict.into()));
    assert!(matches!(stream.poll_event(), Some(Event::Closed(Some(error))) if error.condition == Condition::Conflict));
    assert!(said(&mut stream).contains("<conflict "));
    stream.handle_admitted(Ok(()));
    assert_eq!(stream.domain(), None, "once is enough");
}

#[test]
fn time_is_up_only_before_the_handshake() {
    let mut waiting = stream();
    assert!(waiting.poll_timeout().is_some());
    waiting.handle_timeout();
    assert!(said(&mut waiting).contains("<connection-timeout "));
    let mut open = open();
    assert_eq!(open.poll_timeout(), None);
    open.handle_timeout();
    assert_eq!(open.poll_event(), None);
}

#[test]
fn a_component_speaks_for_its_own_domain_only() {
    let own =
        ["plays.shakespeare.lit", "a@plays.shakespeare.lit", "a@plays.shakespeare.lit/b", "PLAYS.shakespeare.lit"];
    let foreign =
        ["shakespeare.lit", "a@shakespeare.lit", "x.plays.shakespeare.lit", "a@shakespeare.lit/plays.shakespeare.lit"];
    for from in own {
        let events = hear(&mut open(), &format!("<message from='{from}' to='b@c'/>"));
        assert!(matches!(events.as_slice(), [Event::Stanza(_)]), "{from}: {events:?}");
    }
    for from in foreign {
        for kind in ["message", "presence", "iq id='1' type='result'", "iq id='1' type='get'"] {
            let mut stream = open();
            let events = hear(&mut stream, &format!("<{kind} from='{from}' to='b@c'/>"));
            let [Event::Closed(Some(error))] = events.as_slice() else { panic!("{from}: {events:?}") };
            assert_eq!(error.condition, Condition::InvalidFrom, "{from}");
        }
    }
}

#[test]
fn what_is_left_out_of_a_stanza_is_filled_in_or_asked_for() {
    let mut stream = open();
    let events = hear(&mut stream, "<message to='b@c'/>");
    let [Event::Stanza(stanza)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(stanza.head.from.as_ref().unwrap().as_str(), "plays.shakespeare.lit");
    let events = hear(&mut stream, "<message from='a@plays.shakespeare.lit' id='7'/>");
    assert!(matches!(events.as_slice(), [Event::Malformed(_)]), "{events:?}");
    assert!(said(&mut stream).contains("<bad-request "));
    let events = hear(&mut stream, "<iq type='get' id='8' to='b@c'/>");
    assert!(matches!(events.as_slice(), [Event::Malformed(_)]), "{events:?}");
    assert!(said(&mut stream).contains("<bad-request "), "the stream lives");
}

#[test]
fn other_elements_and_endings() {
    let mut other = open();
    let events = hear(&mut other, "<handshake/>");
    assert!(
        matches!(events.as_slice(), [Event::Closed(Some(error))] if error.condition == Condition::UnsupportedStanzaType)
    );
    let mut theirs = open();
    let events = hear(
        &mut theirs,
        "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
    );
    assert!(matches!(events.as_slice(), [Event::Closed(Some(error))] if error.condition == Condition::Reset));
    assert!(theirs.is_over() && said(&mut theirs) == "</stream:stream>");
    let mut polite = open();
    assert_eq!(hear(&mut polite, "</stream:stream>"), [Event::Closed(None)]);
    assert!(polite.is_over());
}
