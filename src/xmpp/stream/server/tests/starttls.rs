//! STARTTLS between servers, on both sides: nothing before it, nothing in the clear survives it (RFC 6120
//! section 5).

use super::*;
use crate::stream::Tls;

const FAILURE: &str = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>";

fn opened(settings: Settings, purpose: Purpose) -> House {
    House::of(Stream::open(Arc::new(settings), OURS, PEER, purpose, BOTH, None))
}

#[test]
fn nothing_else_is_offered_while_it_is_required() {
    let mut house = House::accept(settings(), None);
    house.hear(HEADER);
    let features = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
                    </stream:features>";
    assert_says(&house.said(), "<stream:features>", features);
    assert_eq!(house.events, []);
}

#[test]
fn what_comes_before_it_gets_the_error_for_it() {
    let clear = |element: &str| {
        let mut house = House::accept(settings(), None);
        house.hear(HEADER);
        house.said();
        house.hear(element);
        house
    };
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><encryption-required/></failure>";
    assert_eq!(clear(AUTH).said(), failure);
    let error = "type='error'><error type='modify'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
                 <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>TLS comes first</text></error>";
    let mut house = clear(&request(PEER, OURS));
    let result = format!("<db:result from='{OURS}' to='{PEER}' {error}</db:result>");
    assert_eq!((house.said(), house.happened()), (result, vec![]));
    let verify = format!("<db:verify from='{PEER}' to='{OURS}' id='x'>k</db:verify>");
    let result = format!("<db:verify from='{OURS}' id='x' to='{PEER}' {error}</db:verify>");
    assert_eq!(clear(&verify).said(), result);
    assert_eq!(clear(MESSAGE).ended(), Condition::NotAuthorized);
    assert_eq!(clear(BIDI).ended(), Condition::PolicyViolation);
    let failed = "<failed xmlns='urn:xmpp:sm:3'><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
                  </failed>";
    assert_eq!(clear("<enable xmlns='urn:xmpp:sm:3'/>").said(), failed);
}

#[test]
fn the_responder_forgets_what_was_said_in_the_clear() {
    let mut house = House::accept(settings(), None);
    house.hear([&HEADER.replace(PEER, "mallory.example"), STARTTLS].concat());
    assert_eq!(house.events, [Event::StartTls]);
    assert!(house.said().ends_with(PROCEED));
    assert!(!house.stream.wants_bytes());
    let before = house.stream.id().to_owned();
    // A loop that reads on by mistake does no harm.
    house.hear(AUTH);
    house.stream.handle_secured(facts());
    house.hear(HEADER);
    assert_eq!(house.stream.remote(), Some(PEER));
    let said = house.said();
    assert!(!said.contains("starttls") && said.contains("EXTERNAL"), "{said}");
    assert!(!before.is_empty() && before != house.stream.id());
}

#[test]
fn bidi_in_the_clear_is_forgotten_too() {
    let mut house = House::accept(Settings { tls: Tls::Optional, ..settings() }, None);
    house.hear([HEADER, BIDI, STARTTLS].concat());
    assert_eq!(house.happened(), [Event::Bidi(PeerLimits::default()), Event::StartTls]);
    house.stream.handle_secured(facts());
    house.hear([HEADER, &request(PEER, OURS)].concat());
    assert!(!house.stream.is_bidi() && !house.stream.may_send(OURS, PEER));
}

#[test]
fn nothing_may_follow_it_in_the_clear() {
    for injected in [HEADER, AUTH, "<", "\u{16}\u{3}\u{1}", "</stream:stream>"] {
        let mut house = House::accept(settings(), None);
        house.hear([HEADER, STARTTLS, injected].concat());
        assert!(!String::from_utf8_lossy(&house.out).contains(PROCEED));
        assert_eq!(house.ended(), Condition::PolicyViolation, "{injected}");
        house.stream.handle_secured(facts());
        house.hear(HEADER);
        assert_eq!((house.said().as_str(), house.events.len()), ("", 1));
    }
    for injected in [ANSWER, SUCCESS, "<", "\u{16}\u{3}\u{3}"] {
        let mut house = opened(settings(), Purpose::Stanzas);
        house.hear([ANSWER, "<stream:features>", STARTTLS, "</stream:features>", PROCEED, injected].concat());
        assert_eq!(house.ended(), Condition::PolicyViolation, "{injected}");
        assert!(!house.events.contains(&Event::StartTls));
    }
}

#[test]
fn it_fails_where_it_was_not_offered() {
    let unavailable = Settings { tls: Tls::Unavailable, ..settings() };
    for (settings, tls) in [(settings(), Some(facts())), (unavailable, None)] {
        let mut house = House::accept(settings, tls);
        house.hear([HEADER, STARTTLS].concat());
        assert!(house.said().ends_with(FAILURE));
        assert_eq!(house.events, [Event::Closed(Ending::Closed)]);
    }
}

#[test]
fn it_cannot_interrupt_a_dialback() {
    let mut house = House::accept(Settings { tls: Tls::Optional, ..settings() }, None);
    house.verdict = None;
    house.hear([HEADER, &request(PEER, OURS), STARTTLS].concat());
    assert!(house.said().ends_with(FAILURE));
    house.stream.handle_dialback(&Pair::new(PEER, OURS), Verdict::Valid);
    assert_eq!(house.said(), "");
}

#[test]
fn the_initiator_takes_it_and_begins_anew() {
    for tls in [Tls::Required, Tls::Optional] {
        let mut house = opened(Settings { tls, ..settings() }, Purpose::Stanzas);
        let header = "<?xml version='1.0'?><stream:stream from='montague.example' to='capulet.example' \
             version='1.0' xml:lang='en' xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
             xmlns:db='jabber:server:dialback'>";
        assert_eq!(house.said(), header);
        house.hear([ANSWER, "<stream:features>", STARTTLS, "</stream:features>"].concat());
        assert_eq!(house.said(), STARTTLS);
        assert_eq!(house.stream.id(), "id1");
        house.hear(PROCEED);
        assert_eq!(house.happened().last(), Some(&Event::StartTls));
        assert!(!house.stream.wants_bytes());
        house.hear(SUCCESS);
        house.stream.handle_secured(facts());
        assert_eq!((house.said().as_str(), house.stream.id()), (header, ""));
    }
}

#[test]
fn the_initiator_does_not_go_on_in_the_clear() {
    let offer = ["<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>"].concat();
    for said in [&[ANSWER, &offer].concat(), &ANSWER.replace(" version='1.0' xmlns=", " xmlns=")] {
        let mut house = opened(settings(), Purpose::Stanzas);
        house.hear(said);
        assert_eq!(house.ending(), Ending::NoCommonFeature("TLS"));
    }
    let mut house = opened(settings(), Purpose::Stanzas);
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>";
    house.hear([ANSWER, "<stream:features>", STARTTLS, "</stream:features>", failure].concat());
    assert_eq!(house.ending(), Ending::Refused("TLS"));
    assert!(house.stream.is_over());
}

#[test]
fn a_stream_closed_during_the_handshake_says_nothing() {
    let mut house = House::accept(settings(), None);
    house.hear([HEADER, STARTTLS].concat());
    house.said();
    house.stream.handle_timeout();
    house.work();
    assert_eq!(house.said(), "");
    assert!(matches!(house.events.last(), Some(Event::Closed(Ending::Ours(_)))));
    assert!(house.stream.is_over());
}
