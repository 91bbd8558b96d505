//! What the initiator makes of features and of SASL (RFC 6120 sections 4.3 and 6, XEP-0178 section 3).

use super::*;
use crate::stream::Tls;

const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
/// `montague.example`
const IDENTITY: &str = "bW9udGFndWUuZXhhbXBsZQ==";

fn features(inside: &str) -> String {
    format!("<stream:features>{inside}</stream:features>")
}

fn asks_for_external(said: &str) -> bool {
    said.ends_with(&format!("<auth {SASL} mechanism='EXTERNAL'>{IDENTITY}</auth>"))
}

#[test]
fn external_comes_first_and_a_new_stream_follows() {
    let mut house = House::open(settings(), BOTH);
    house.hear([ANSWER, OFFER].concat());
    assert!(asks_for_external(&house.said()));
    let [Event::Features(offered), Event::Bidi(_)] = &house.events[..] else { panic!("{:?}", house.events) };
    let limits = PeerLimits::default();
    let (tls, external, dialback) = (false, true, true);
    let expected = Offered { tls, external, dialback, dialback_errors: true, bidi: true, acks: true, limits };
    assert_eq!(*offered, expected);
    house.events.clear();
    house.hear(SUCCESS);
    assert!(house.said().starts_with("<?xml version='1.0'?><stream:stream from='montague.example'"));
    assert!(!house.stream.may_send(OURS, PEER), "the stream is not there yet");
    house.hear([&ANSWER.replace("id1", "id2"), MORE].concat());
    let authenticated = Event::Authenticated { pair: Pair::new(OURS, PEER), by: Proof::External };
    let events = house.happened();
    assert!(matches!(&events[..], [Event::Features(_), two, Event::Ready(_)] if *two == authenticated), "{events:?}");
    assert!(house.stream.may_send(OURS, PEER) && !house.stream.may_send(CHAT, PEER));
    assert_eq!((house.said().as_str(), house.stream.id()), ("", "id2"));
    assert_eq!(house.stream.poll_timeout(), None);
}

#[test]
fn what_is_not_permitted_is_not_tried() {
    let mut house = House::open(settings(), DIALBACK);
    house.hear([ANSWER, OFFER].concat());
    assert!(house.said().contains("<db:result from='montague.example' to='capulet.example'>"));
    for (settings, permitted, offer) in [
        (settings(), Permitted::default(), OFFER),
        (Settings { dialback: false, ..settings() }, DIALBACK, OFFER),
        (Settings { external: false, ..settings() }, EXTERNAL, OFFER),
        (settings(), EXTERNAL, MORE),
        (settings(), EXTERNAL, "<stream:features/>"),
    ] {
        let mut house = House::open(settings, permitted);
        house.hear([ANSWER, offer].concat());
        assert_eq!(house.ending(), Ending::NoCommonFeature("authentication"));
    }
    // Dialback is announced by a feature, or by the namespace in the header; and it needs an identifier.
    let bare = ANSWER.replace(" xmlns:db='jabber:server:dialback'", "");
    let mut house = House::open(settings(), DIALBACK);
    house.hear([&bare, "<stream:features/>"].concat());
    assert_eq!(house.ending(), Ending::NoCommonFeature("authentication"));
    for said in [[&bare, OFFER].concat(), [ANSWER, "<stream:features/>"].concat()] {
        let mut house = House::open(settings(), DIALBACK);
        house.hear(&said);
        assert!(house.said().contains("<db:result"));
        let mut house = House::open(settings(), DIALBACK);
        house.hear(said.replace(" id='id1'", ""));
        assert_eq!(house.ending(), Ending::NoCommonFeature("authentication"));
    }
}

#[test]
fn a_challenge_is_answered_once_with_nothing() {
    let mut house = House::open(settings(), BOTH);
    house.hear([ANSWER, OFFER].concat());
    house.said();
    house.hear(format!("<challenge {SASL}/>"));
    assert_eq!(house.said(), format!("<response {SASL}/>"));
    house.hear(format!("<challenge {SASL}>=</challenge>"));
    assert_eq!(house.ended(), Condition::PolicyViolation);
}

#[test]
fn after_a_refused_certificate_comes_dialback_on_the_same_stream() {
    let text = format!("<text {SASL}>unable to verify</text>");
    let failure = format!("<failure {SASL}><not-authorized/>{text}</failure>");
    let mut house = House::open(settings(), BOTH);
    house.hear([ANSWER, OFFER].concat());
    house.said();
    house.events.clear();
    house.hear(&failure);
    let key = Secret::new(b"d14lb4ck43v3r").key(PEER, OURS, "id1");
    assert_eq!(house.said(), format!("<db:result from='{OURS}' to='{PEER}'>{key}</db:result>"));
    let refusal = Refusal::External("not-authorized (unable to verify)".into());
    let pair = Pair::new(OURS, PEER);
    assert_eq!(house.happened(), [Event::NotAuthenticated { pair, refusal: refusal.clone() }]);
    house.hear(format!("<db:result from='{PEER}' to='{OURS}' type='valid'/>"));
    assert!(matches!(house.happened()[..], [Event::Authenticated { .. }, Event::Ready(_)]));
    // Where dialback is not permitted, or not known, that was all.
    let without = OFFER.replace("<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>", "");
    let header = ANSWER.replace(" xmlns:db='jabber:server:dialback'", "");
    for (permitted, header, offer) in [(EXTERNAL, ANSWER, OFFER), (BOTH, &*header, &*without)] {
        let mut house = House::open(settings(), permitted);
        house.hear([header, offer, &failure].concat());
        assert_eq!(house.ending(), Ending::NotAuthenticated(refusal.clone()));
    }
    // However long the reason is.
    let mut house = House::open(settings(), EXTERNAL);
    house.hear([ANSWER, OFFER, &failure.replace("unable", &"\u{1f339}".repeat(1000))].concat());
    let Ending::NotAuthenticated(Refusal::External(why)) = house.ending() else { panic!("not refused") };
    assert!(why.len() <= 512);
}

#[test]
fn a_server_from_before_there_were_features_is_dialled_back_in_the_clear() {
    let old = ANSWER.replace(" version='1.0' xmlns=", " xmlns=");
    for header in [old, ANSWER.replace(" version='1.0' xmlns=", " version='0.9' xmlns=")] {
        let settings = Settings { tls: Tls::Optional, ..settings() };
        let stream = Stream::open(Arc::new(settings), OURS, PEER, Purpose::Stanzas, BOTH, None);
        let mut house = House::of(stream);
        house.hear(&header);
        assert!(house.said().contains("</db:result>") && !house.stream.is_bidi());
        house.hear(format!("<db:result from='{PEER}' to='{OURS}' type='valid'/>"));
        assert!(matches!(house.events[..], [Event::Authenticated { .. }, Event::Ready(_)]));
    }
}

#[test]
fn certificates_are_for_tls_only() {
    let settings = Settings { tls: Tls::Optional, ..settings() };
    let mut house = House::of(Stream::open(Arc::new(settings), OURS, PEER, Purpose::Stanzas, BOTH, None));
    house.hear([ANSWER, OFFER].concat());
    let said = house.said();
    assert!(!said.contains("<auth") && said.contains("<db:result"), "{said}");
}

#[test]
fn a_header_that_makes_no_sense_is_refused() {
    for (from, to, condition) in [
        ("xmlns='jabber:server'", "xmlns='jabber:client'", Condition::InvalidNamespace),
        (" version='1.0' xmlns=", " version='one' xmlns=", Condition::UnsupportedVersion),
        ("<stream:stream", "<stream:flow", Condition::BadFormat),
        ("http://etherx.jabber.org/streams", "urn:example", Condition::InvalidNamespace),
    ] {
        let mut house = House::open(settings(), BOTH);
        house.hear(ANSWER.replacen(from, to, 1));
        assert_eq!(house.ended(), condition);
    }
}

#[test]
fn what_comes_at_the_wrong_time_ends_the_stream() {
    let failure = format!("<failure {SASL}><not-authorized/></failure>");
    let starttls = features(STARTTLS);
    let sequences: [&[&str]; 15] = [
        &[ANSWER, SUCCESS],
        &[ANSWER, PROCEED],
        &[ANSWER, BIDI],
        &[ANSWER, "<db:result from='capulet.example' to='montague.example' type='valid'/>"],
        &[ANSWER, OFFER, OFFER],
        &[ANSWER, OFFER, PROCEED],
        &[ANSWER, OFFER, "<db:result from='capulet.example' to='montague.example' type='valid'/>"],
        &[ANSWER, OFFER, "<enabled xmlns='urn:xmpp:sm:3'/>"],
        &[ANSWER, OFFER, &failure, SUCCESS],
        &[ANSWER, OFFER, &failure, &failure],
        &[ANSWER, OFFER, SUCCESS, ANSWER, SUCCESS],
        &[ANSWER, OFFER, SUCCESS, ANSWER, MORE, MORE],
        &[ANSWER, OFFER, SUCCESS, ANSWER, MORE, SUCCESS],
        &[ANSWER, OFFER, SUCCESS, ANSWER, MORE, &starttls],
        &[ANSWER, OFFER, SUCCESS, ANSWER, MORE, AUTH],
    ];
    for sequence in sequences {
        let mut house = House::open(settings(), BOTH);
        house.hear(sequence.concat());
        assert_eq!(house.ended(), Condition::UnsupportedStanzaType, "{sequence:?}");
    }
    for sequence in [&[ANSWER, MESSAGE][..], &[ANSWER, OFFER, MESSAGE], &[ANSWER, OFFER, SUCCESS, ANSWER, MESSAGE]] {
        let mut house = House::open(settings(), BOTH);
        house.hear(sequence.concat());
        assert_eq!(house.ended(), Condition::NotAuthorized, "{sequence:?}");
    }
}

#[test]
fn errors_of_the_responder_are_told() {
    let error = "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
                 <text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>not here</text></stream:error></stream:stream>";
    for said in [&[ANSWER, error][..], &[ANSWER, OFFER, error], &[ANSWER, OFFER, SUCCESS, ANSWER, MORE, error]] {
        let mut house = House::open(settings(), BOTH);
        house.hear(said.concat());
        let expected = StreamError::new(Condition::HostUnknown).with_text("not here");
        assert_eq!(house.ending(), Ending::Theirs(expected));
        assert!(house.stream.is_over());
    }
}

#[test]
fn responders_are_bounded_in_bytes_and_time() {
    let mut house = House::open(settings(), BOTH);
    house.hear([ANSWER, "<stream:features>", &"<x xmlns='y'/>".repeat(4000)].concat());
    assert_eq!(house.ended(), Condition::PolicyViolation);
    let mut house = House::open(settings(), BOTH);
    house.hear(ANSWER);
    house.hear(" ".repeat(70_000));
    assert_eq!(house.ended(), Condition::PolicyViolation);
    let mut house = House::open(settings(), BOTH);
    assert!(house.stream.poll_timeout().is_some());
    house.stream.handle_timeout();
    house.work();
    assert_eq!(house.ended(), Condition::ConnectionTimeout);
    assert_eq!(house.stream.poll_timeout(), None);
}

#[test]
fn limits_are_read() {
    let limits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes>\
                  <idle-seconds>ten</idle-seconds></limits>";
    let mut house = House::open(settings(), BOTH);
    house.hear([ANSWER, &features(limits)].concat());
    let Some(Event::Features(offered)) = house.events.first() else { panic!("no features") };
    assert_eq!(offered.limits, PeerLimits { stanza_bytes_max: Some(10_000), idle_time_max: None });
}
