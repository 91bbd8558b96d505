//! What may come as a stanza: from whom, to whom, and which way (RFC 6120 sections 8.1 and 4.9.3, XEP-0288).

use super::*;
use crate::stanza;

const ROOMS: &str = "rooms.capulet.example";

fn message(from: &str, to: &str) -> String {
    format!("<message from='{from}' to='{to}'><body>Ay me!</body></message>")
}

/// What becomes of a stanza: `None` if it is taken, or the condition that ends the stream.
fn fate(mut house: House, stanza: &str) -> Option<Condition> {
    house.hear(stanza);
    match house.events.as_slice() {
        [Event::Stanza(_)] => None,
        _ => Some(house.ended()),
    }
}

#[test]
fn before_authentication_there_are_none() {
    for said in [&[HEADER][..], &[HEADER, BIDI], &[HEADER, AUTH]] {
        let mut house = House::accepted(said);
        house.verdict = None;
        let condition = fate(house, MESSAGE);
        // After SASL a header comes first.
        let expected = if said.contains(&AUTH) { Condition::BadFormat } else { Condition::NotAuthorized };
        assert_eq!(condition, Some(expected));
    }
    let mut house = House::accepted(&[HEADER]);
    house.verdict = None;
    assert_eq!(fate(house, &[&request(PEER, OURS), MESSAGE].concat()), Some(Condition::NotAuthorized));
}

#[test]
fn a_certificate_opens_the_way_to_all_of_ours() {
    for (from, to, condition) in [
        ("juliet@capulet.example/b", "romeo@montague.example", None),
        ("capulet.example", "chat.montague.example", None),
        ("juliet@CAPULET.example", "room@chat.montague.example/nick", None),
        ("juliet@capulet.example", "romeo@verona.example", Some(Condition::HostUnknown)),
        ("juliet@rooms.capulet.example", "romeo@montague.example", Some(Condition::InvalidFrom)),
        ("juliet@rooms.capulet.example", "romeo@verona.example", Some(Condition::InvalidFrom)),
        ("romeo@montague.example", "romeo@montague.example", Some(Condition::InvalidFrom)),
        ("@", "romeo@montague.example", Some(Condition::ImproperAddressing)),
    ] {
        assert_eq!(fate(House::trusting(), &message(from, to)), condition, "{from} {to}");
    }
    for stanza in [
        "<message to='romeo@montague.example'/>",
        "<message from='juliet@capulet.example'/>",
        "<presence/>",
        "<iq type='get' from='juliet@capulet.example'><x xmlns='y'/></iq>",
    ] {
        assert_eq!(fate(House::trusting(), stanza), Some(Condition::ImproperAddressing), "{stanza}");
    }
    let other = MESSAGE.replacen("<message", "<message xmlns='jabber:client'", 1);
    assert_eq!(fate(House::trusting(), &other), Some(Condition::InvalidNamespace));
}

#[test]
fn dialback_opens_the_way_for_exactly_the_pair() {
    let proven = || House::accepted(&[HEADER, &request(PEER, OURS), &request(ROOMS, CHAT)]);
    for (from, to, condition) in [
        (PEER, OURS, None),
        (ROOMS, CHAT, None),
        (PEER, CHAT, Some(Condition::InvalidFrom)),
        (ROOMS, OURS, Some(Condition::InvalidFrom)),
        ("verona.example", OURS, Some(Condition::InvalidFrom)),
        (PEER, "verona.example", Some(Condition::HostUnknown)),
    ] {
        assert_eq!(fate(proven(), &message(from, to)), condition, "{from} {to}");
    }
}

#[test]
fn a_stanza_says_the_same_as_on_a_client_stream() {
    let mut house = House::trusting();
    house.hear(MESSAGE);
    let [Event::Stanza(taken)] = &house.events[..] else { panic!("{:?}", house.events) };
    assert!(taken.content.child("body", ns::CLIENT).is_some());
    assert_eq!(String::from_utf8_lossy(&taken.render()), message_rendered());
    // Prefixes and declarations of the peer's header do not leak.
    let prefixed = "<n:message xmlns:n='jabber:server' from='juliet@capulet.example/balcony' \
        to='romeo@montague.example'><n:body>Ay me!</n:body></n:message>";
    let mut other = House::trusting();
    other.hear(prefixed);
    let [Event::Stanza(again)] = &other.events[..] else { panic!("{:?}", other.events) };
    assert_eq!(again.content, taken.content);
}

fn message_rendered() -> String {
    "<message to='romeo@montague.example' from='juliet@capulet.example/balcony'><body>Ay me!</body></message>".into()
}

#[test]
fn a_header_without_a_default_namespace_is_one_of_servers() {
    let header = HEADER.replace("xmlns='jabber:server' ", "");
    let mut house = House::accepted(&[HEADER, AUTH, &header]);
    house.hear(MESSAGE.replacen("<message", "<message xmlns='jabber:server'", 1));
    assert!(matches!(house.events[..], [Event::Stanza(_)]));
}

#[test]
fn a_bad_body_is_answered_by_the_caller() {
    let iq = "<iq from='juliet@capulet.example/b' to='romeo@montague.example' id='1' type='get'/>";
    let mut house = House::trusting();
    house.hear(iq);
    let [Event::Malformed { reply: Some(reply), error }] = &house.events[..] else { panic!("{:?}", house.events) };
    assert_eq!(error.condition, stanza::Condition::BadRequest);
    let expected = "<iq to='juliet@capulet.example/b' from='romeo@montague.example' type='error' id='1'>";
    assert!(reply.render().starts_with(expected.as_bytes()));
    assert_eq!(house.said(), "");
    house.hear(MESSAGE);
    assert_eq!(house.events.len(), 2);
    // Whom it was to cannot be read, so the domain answers.
    let mut house = House::trusting();
    house.hear(MESSAGE.replace("romeo@montague.example", "@"));
    let [Event::Malformed { reply: Some(reply), .. }] = &house.events[..] else { panic!("{:?}", house.events) };
    assert!(reply.render().starts_with(b"<message to='juliet@capulet.example/balcony' from='montague.example' type="));
    // An error is not answered.
    let mut house = House::trusting();
    house.hear("<iq from='juliet@capulet.example/b' to='romeo@montague.example' type='error'/>");
    assert!(matches!(house.events[..], [Event::Malformed { reply: None, .. }]));
    // Nor is who may not speak.
    let foreign = iq.replace(PEER, ROOMS);
    assert_eq!(fate(House::trusting(), &foreign), Some(Condition::InvalidFrom));
    assert_eq!(fate(House::accepted(&[HEADER]), iq), Some(Condition::NotAuthorized));
    let unaddressed = iq.replace(" to='romeo@montague.example'", "");
    assert_eq!(fate(House::trusting(), &unaddressed), Some(Condition::ImproperAddressing));
    // A pair that was not proven does not become so by an address that cannot be read.
    let house = House::accepted(&[HEADER, &request(PEER, CHAT)]);
    assert_eq!(fate(house, &MESSAGE.replace("romeo@montague.example", "@")), Some(Condition::ImproperAddressing));
}

#[test]
fn broken_xml_ends_the_stream_at_once() {
    for (bytes, condition) in [
        ("<message><body></message>", Condition::NotWellFormed),
        ("<!-- -->", Condition::RestrictedXml),
        ("nonsense", Condition::BadFormat),
        ("<message from='&x;'/>", Condition::RestrictedXml),
    ] {
        let mut house = House::trusting();
        house.hear(bytes);
        assert_eq!(house.ended(), condition);
        assert!(bytes.starts_with("<message from") || house.stream.is_over());
    }
}

#[test]
fn without_bidi_a_stream_runs_one_way() {
    let mut house = House::trusted(Settings { bidi: false, ..settings() });
    assert!(!house.stream.is_bidi() && !house.stream.may_hear(PEER, OURS));
    house.hear(MESSAGE);
    assert_eq!(house.ended(), Condition::NotAuthorized);
    let mut house = House::trusted(Settings { bidi: false, ..settings() });
    house.hear(request(PEER, OURS));
    assert_eq!(house.ended(), Condition::NotAuthorized);
    let house = House::trusting();
    assert!(!house.stream.is_bidi() && !house.stream.may_send(OURS, PEER));
}

#[test]
fn with_bidi_the_initiator_hears_the_peer_it_speaks_to() {
    for (from, to, condition) in [
        (PEER, OURS, None),
        (PEER, CHAT, Some(Condition::InvalidFrom)),
        (ROOMS, OURS, Some(Condition::InvalidFrom)),
        (PEER, "verona.example", Some(Condition::HostUnknown)),
    ] {
        let house = House::trusted(settings());
        assert!(house.stream.is_bidi());
        assert_eq!(fate(house, &message(from, to)), condition, "{from} {to}");
    }
    // Not before it has proven itself: neither side has said that the other is who it should be.
    let mut house = House::open(settings(), DIALBACK);
    house.hear([ANSWER, OFFER, MESSAGE].concat());
    assert_eq!(house.ended(), Condition::NotAuthorized);
}

#[test]
fn with_bidi_the_responder_may_answer_who_has_proven_itself() {
    let mut house = House::accepted(&[HEADER]);
    let limits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes>\
                  <idle-seconds>1800</idle-seconds></limits>";
    house.hear(format!("<bidi xmlns='urn:xmpp:bidi'>{limits}</bidi>"));
    let limits = PeerLimits { stanza_bytes_max: Some(10_000), idle_time_max: Some(Duration::from_secs(1800)) };
    assert_eq!((house.happened(), house.said().as_str()), (vec![Event::Bidi(limits)], ""));
    assert!(!house.stream.may_send(OURS, PEER));
    house.hear(request(PEER, OURS));
    let authenticated = Event::Authenticated { pair: Pair::new(OURS, PEER), by: Proof::Dialback };
    assert_eq!(house.happened().last(), Some(&authenticated));
    assert!(house.stream.may_send(OURS, PEER) && !house.stream.may_send(CHAT, PEER));
    // With a certificate: the domain the stream is to, once the new stream is there.
    let mut house = House::accepted(&[HEADER, BIDI, AUTH]);
    assert!(!house.stream.may_send(OURS, PEER));
    house.hear(HEADER);
    let authenticated = Event::Authenticated { pair: Pair::new(OURS, PEER), by: Proof::External };
    assert_eq!(house.happened().last(), Some(&authenticated));
    assert!(house.stream.may_send(OURS, PEER) && !house.stream.may_send(CHAT, PEER));
}

#[test]
fn bidi_is_asked_for_once_and_early() {
    for said in [&[HEADER, BIDI][..], &[HEADER, AUTH, HEADER]] {
        let mut house = House::accepted(said);
        house.hear(BIDI);
        assert_eq!(house.ended(), Condition::PolicyViolation);
    }
    let mut house = House::trusted(settings());
    house.hear(BIDI);
    assert_eq!(house.ended(), Condition::UnsupportedStanzaType);
}

#[test]
fn with_bidi_the_responder_may_ask_for_more() {
    // The end of the second example of XEP-0288.
    let mut responder = House::accepted(&[HEADER, BIDI, &request(PEER, OURS)]);
    let pair = Pair::new(CHAT, PEER);
    assert!(!responder.stream.authorize(&Pair::new(CHAT, "verona.example")));
    assert!(responder.stream.authorize(&pair));
    let key = Secret::new(b"d14lb4ck43v3r").key(PEER, CHAT, responder.stream.id());
    let asked = format!("<db:result from='{CHAT}' to='{PEER}'>{key}</db:result>");
    assert_eq!(responder.said(), asked);
    responder.hear(format!("<db:result from='{PEER}' to='{CHAT}' type='valid'/>"));
    assert_eq!(responder.happened(), [Event::Authenticated { pair, by: Proof::Dialback }]);
    assert!(responder.stream.may_send(CHAT, PEER) && responder.stream.may_hear(PEER, CHAT));
    // And the initiator is asked.
    let mut initiator = House::trusted(settings());
    initiator.hear(request(ROOMS, OURS));
    assert_eq!(initiator.said(), format!("<db:result from='{OURS}' to='{ROOMS}' type='valid'/>"));
    assert!(initiator.stream.may_hear(ROOMS, OURS) && initiator.stream.may_send(OURS, ROOMS));
    initiator.events.clear();
    assert_eq!(fate(initiator, &message(ROOMS, OURS)), None);
    assert!(!House::trusting().stream.authorize(&Pair::new(CHAT, PEER)), "not without bidi");
}

#[test]
fn what_was_on_its_way_when_we_closed_is_heard_and_nothing_after_an_error_is() {
    let mut house = House::trusting();
    house.stream.close(None);
    house.hear(MESSAGE);
    // What is wrong now is nobody's business any more.
    house.hear("<message from='juliet@verona.example' to='romeo@montague.example'/><nonsense xmlns='urn:x'/>");
    let happened = house.happened();
    assert!(matches!(&happened[..], [Event::Closed(Ending::Closed), Event::Stanza(_)]), "{happened:?}");
    assert!(!house.stream.is_over());
    house.hear("</stream:stream>");
    assert!(house.stream.is_over() && house.said().ends_with("</stream:stream>"));

    let mut house = House::trusting();
    house.stream.close(Some(Condition::SystemShutdown.into()));
    house.hear(MESSAGE);
    assert!(matches!(&house.happened()[..], [Event::Closed(Ending::Ours(_))]));
}
