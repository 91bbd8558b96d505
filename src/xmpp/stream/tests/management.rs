//! Stream management on a client stream (XEP-0198) and client states (XEP-0352), byte by byte.

use super::*;
use crate::stream::acks::Acks;

const ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3'/>";
const ENABLED: &str = "<enabled xmlns='urn:xmpp:sm:3'/>";
const R: &str = "<r xmlns='urn:xmpp:sm:3'/>";

fn a(h: u32) -> String {
    format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>")
}

fn failed(condition: &str) -> String {
    format!("<failed xmlns='urn:xmpp:sm:3'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>")
}

fn offering() -> Settings {
    Settings { acks: true, client_states: true, ..settings() }
}

/// A client that has authenticated and seen the features.
fn authenticated(settings: Settings) -> House {
    let mut house = House::new(settings, Some(facts()));
    house.hear([HEADER, PLAIN, HEADER].concat());
    house.out.clear();
    house.events.clear();
    house
}

fn bound() -> House {
    let mut house = authenticated(offering());
    house.hear(BIND);
    house.out.clear();
    house.events.clear();
    house
}

/// A bound stream with stream management.
fn managed() -> House {
    let mut house = bound();
    house.hear(ENABLE);
    assert_eq!(house.events, [Event::Enable { resume: false, max: None }]);
    house.stream.handle_enabled(Ok(Enabled::default()));
    house.work();
    assert_eq!(house.said(), ENABLED);
    house.events.clear();
    house
}

#[test]
fn offered_after_authentication_only() {
    let mut house = House::new(offering(), Some(facts()));
    house.hear(HEADER);
    let said = house.said();
    assert!(!said.contains("urn:xmpp:sm:3") && !said.contains("urn:xmpp:csi:0"), "{said}");
    house.hear([PLAIN, HEADER].concat());
    let said = house.said();
    assert!(said.contains("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/>"), "{said}");
    assert!(said.contains("<csi xmlns='urn:xmpp:csi:0'/>"), "{said}");
}

#[test]
fn the_order_is_enforced() {
    let resume = "<resume xmlns='urn:xmpp:sm:3' h='0' previd='x'/>";
    for (input, answer) in [
        (ENABLE, failed("unexpected-request")),
        (resume, failed("unexpected-request")),
        (R, failed("unexpected-request")),
        ("<a xmlns='urn:xmpp:sm:3' h='7'/>", String::new()),
    ] {
        let mut house = House::new(offering(), Some(facts()));
        house.hear(HEADER);
        house.said();
        house.hear(input);
        assert_eq!(house.said(), answer, "before authentication: {input}");
        assert!(house.events.is_empty());
        if input != resume {
            let mut house = authenticated(offering());
            house.hear(input);
            assert_eq!(house.said(), answer, "before binding: {input}");
            house.hear(BIND);
            assert!(house.stream.jid().is_some(), "a resource can be bound nevertheless");
        }
    }
    let mut house = bound();
    house.hear(resume);
    assert_eq!(house.said(), failed("unexpected-request"), "after binding");
    house.hear(R);
    assert_eq!(house.said(), failed("unexpected-request"), "nothing is counted yet");
    house.hear("<a xmlns='urn:xmpp:sm:3' h='7'/>");
    assert_eq!((house.said().as_str(), house.events.len()), ("", 0));
    // Once is enough, and the stream is not as the client thinks.
    let mut house = managed();
    house.hear(ENABLE);
    assert!(house.out.starts_with(failed("unexpected-request").as_bytes()));
    assert_eq!(house.ended(), Condition::PolicyViolation);
}

#[test]
fn where_it_is_not_offered() {
    for input in [ENABLE, "<resume xmlns='urn:xmpp:sm:3' h='0' previd='x'/>"] {
        for mut house in [House::bound(), authenticated(settings())] {
            house.hear(input);
            assert_eq!(house.said(), failed("feature-not-implemented"));
            assert!(house.events.is_empty());
        }
    }
    let mut house = House::bound();
    house.hear("<inactive xmlns='urn:xmpp:csi:0'/>");
    assert_eq!(house.ended(), Condition::UnsupportedStanzaType);
}

#[test]
fn what_enabling_says() {
    for (input, resume, max) in [
        ("<enable xmlns='urn:xmpp:sm:3' resume='true'/>", true, None),
        ("<enable xmlns='urn:xmpp:sm:3' resume='1' max='600'/>", true, Some(600)),
        ("<enable xmlns='urn:xmpp:sm:3' resume='0' max='-1'/>", false, None),
        ("<enable xmlns='urn:xmpp:sm:3' resume='false' max='9999999999999'/>", false, None),
    ] {
        let mut house = bound();
        house.hear([input, "<presence/>"].concat());
        assert_eq!(house.events, [Event::Enable { resume, max }], "nothing is read until it is answered");
        assert!(!house.stream.wants_bytes());
        let enabled = Enabled { id: Some("an'id".into()), max: Some(300), location: Some("[::1]:9222".into()) };
        house.stream.handle_enabled(Ok(enabled));
        house.work();
        assert_eq!(
            house.said(),
            "<enabled xmlns='urn:xmpp:sm:3' id='an&apos;id' resume='true' max='300' location='[::1]:9222'/>"
        );
        assert!(matches!(house.events.last(), Some(Event::Stanza(_))));
        assert_eq!(house.stream.acks().unwrap().unhandled(), 1, "what comes after counts");
    }
    let mut house = bound();
    house.hear(ENABLE);
    house.stream.handle_enabled(Err(StanzaError::resource_constraint()));
    house.work();
    assert_eq!(house.said(), failed("resource-constraint"));
    assert!(house.stream.acks().is_none() && house.stream.wants_bytes());
    // Answers that nobody asked for.
    house.stream.handle_enabled(Ok(Enabled::default()));
    house.stream.handle_resumed(Err(ResumeFailed::not_found(None)));
    assert_eq!(house.said(), "");
}

#[test]
fn only_what_was_handled_is_acknowledged() {
    let mut house = managed();
    house.hear(R);
    assert_eq!(house.said(), a(0));
    house.hear("<presence/>");
    // It is being handled: a request that comes now is not read before that is over.
    house.stream.handled();
    house.hear(R);
    assert_eq!(house.said(), a(1));
    // What the machine answers itself is handled at once; nonzas do not count.
    house.hear(
        "<iq type='get' id='1'/><iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>",
    );
    house.said();
    house.hear([R, "<inactive xmlns='urn:xmpp:csi:0'/>", R, "\n", R].concat());
    assert_eq!(house.said(), a(3).repeat(3));
    house.stream.handled();
    house.hear(R);
    assert_eq!(house.said(), a(3), "never more than have come");
}

#[test]
fn the_client_acknowledges_what_it_was_sent() {
    let mut house = managed();
    house.stream.sent(5);
    house.stream.request_ack();
    assert_eq!(house.said(), R);
    house.hear([a(2), a(2), a(5)].concat());
    assert_eq!(house.events, [Event::Acked(2), Event::Acked(0), Event::Acked(3)]);
    for (h, text) in [(6, "h='6' send-count='5'"), (4, "h='4' send-count='5'"), (u32::MAX, "send-count='5'")] {
        let mut house = managed();
        house.stream.sent(5);
        house.hear(a(5));
        house.hear(a(h));
        let said = String::from_utf8(house.out.clone()).unwrap();
        assert!(said.contains("<handled-count-too-high xmlns='urn:xmpp:sm:3'") && said.contains(text), "{said}");
        assert_eq!(house.ended(), Condition::UndefinedCondition);
    }
    for nonsense in
        ["<a xmlns='urn:xmpp:sm:3'/>", "<a xmlns='urn:xmpp:sm:3' h='-1'/>", "<a xmlns='urn:xmpp:sm:3' h=''/>"]
    {
        let mut house = managed();
        house.hear(nonsense);
        assert_eq!(house.ended(), Condition::InvalidXml, "{nonsense}");
    }
    let mut house = managed();
    house.hear("<b xmlns='urn:xmpp:sm:3'/>");
    assert_eq!(house.ended(), Condition::UnsupportedStanzaType);
    let mut house = House::bound();
    house.stream.request_ack();
    assert_eq!(house.said(), "", "not without stream management");
}

#[test]
fn an_earlier_stream_goes_on() {
    let mut earlier = managed();
    earlier.hear("<presence/>");
    earlier.stream.handled();
    earlier.hear("<message/>");
    earlier.stream.sent(4);
    earlier.hear(a(1));
    let mut acks = earlier.stream.acks().unwrap().clone();

    let mut house = authenticated(offering());
    house.hear(["<resume xmlns='urn:xmpp:sm:3' h='3' previd='the&lt;id'/>", "<presence/>", R].concat());
    assert_eq!(house.events, [Event::Resume { previd: "the<id".into(), h: 3 }]);
    assert!(!house.stream.wants_bytes());
    assert_eq!(acks.acked(3), Ok(2));
    acks.resume();
    let jid = FullJid::new("juliet@im.example.com/balcony").unwrap();
    house.stream.handle_resumed(Ok(Resumed { jid: jid.clone(), acks }));
    assert_eq!(house.stream.jid(), Some(&jid));
    house.stream.sent(1);
    house.events.clear();
    assert!(matches!(house.stream.poll_event(), Some(Event::Stanza(_))));
    house.stream.handled();
    house.work();
    let resumed = "<resumed xmlns='urn:xmpp:sm:3' h='1' previd='the&lt;id'/>";
    assert_eq!(house.said(), [resumed, &a(2)].concat(), "the counters go on; the message was never handled");
    house.hear(a(4));
    assert_eq!(house.events, [Event::Acked(1)]);
    assert_eq!(house.stream.poll_timeout(), None);
}

#[test]
fn an_earlier_stream_that_is_not_found() {
    let mut house = authenticated(offering());
    house.hear("<resume xmlns='urn:xmpp:sm:3' h='3' previd='x'/>");
    house.stream.handle_resumed(Err(ResumeFailed::not_found(Some(17))));
    house.work();
    assert_eq!(house.said(), failed("item-not-found").replace("'urn:xmpp:sm:3'", "'urn:xmpp:sm:3' h='17'"));
    house.hear("<resume xmlns='urn:xmpp:sm:3' h='3' previd='x'/>");
    house.stream.handle_resumed(Err(ResumeFailed::not_found(None)));
    house.work();
    assert_eq!(house.said(), failed("item-not-found"));
    for (input, condition) in [
        ("<resume xmlns='urn:xmpp:sm:3' h='3'/>", "bad-request"),
        ("<resume xmlns='urn:xmpp:sm:3' h='3' previd=''/>", "bad-request"),
        ("<resume xmlns='urn:xmpp:sm:3' previd='x'/>", "bad-request"),
        ("<resume xmlns='urn:xmpp:sm:3' h='x' previd='x'/>", "bad-request"),
        ("<resume xmlns='urn:xmpp:sm:3' h='4294967296' previd='x'/>", "bad-request"),
        (&format!("<resume xmlns='urn:xmpp:sm:3' h='3' previd='{}'/>", "x".repeat(4001)), "item-not-found"),
    ] {
        house.events.clear();
        house.hear(input);
        assert_eq!((house.said(), house.events.len()), (failed(condition), 0), "{input}");
    }
    house.hear(BIND);
    assert!(house.stream.jid().is_some() && house.stream.acks().is_none());

    let mut house = authenticated(offering());
    house.hear("<resume xmlns='urn:xmpp:sm:3' h='3' previd='x'/>");
    let error = Acks::default().acked(3).unwrap_err();
    house.stream.handle_resumed(Err(ResumeFailed::Impossible(error)));
    house.work();
    assert!(String::from_utf8(house.out.clone()).unwrap().contains("<handled-count-too-high"));
    assert_eq!(house.ended(), Condition::UndefinedCondition);
}

#[test]
fn client_states() {
    let mut house = authenticated(offering());
    house.hear("<inactive xmlns='urn:xmpp:csi:0'/>");
    assert_eq!((house.said().as_str(), house.events.len()), ("", 0), "there is no session yet");
    house.hear(BIND);
    house.said();
    house.events.clear();
    house.hear("<inactive xmlns='urn:xmpp:csi:0'/><active xmlns='urn:xmpp:csi:0'/>");
    assert_eq!((house.said().as_str(), &house.events[..]), ("", &[Event::Inactive, Event::Active][..]));
    house.hear("<sleepy xmlns='urn:xmpp:csi:0'/>");
    assert_eq!(house.ended(), Condition::UnsupportedStanzaType);
}
