//! STARTTLS: offered, required, refused, and nothing in the clear survives it (RFC 6120 section 5).

use super::*;

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const FAILURE: &str = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>";

#[test]
fn nothing_else_is_offered_while_it_is_required() {
    let mut house = House::new(Settings { registration: true, ..settings() }, None);
    house.hear(HEADER);
    let said = house.said();
    let features = said.split_once("<stream:features>").unwrap().1;
    let expected = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>";
    assert_eq!(features, expected);
    house.hear(PLAIN);
    let said = house.said();
    assert_eq!(said, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><encryption-required/></failure>");
}

#[test]
fn it_forgets_what_was_said_in_the_clear() {
    let mut house = House::new(settings(), None);
    house.hear(HEADER.replace("juliet", "mallory"));
    let before = house.said();
    house.hear(STARTTLS);
    assert_eq!(house.events, [Event::StartTls]);
    assert_eq!(house.said(), PROCEED);
    assert!(!house.stream.wants_bytes());
    // A loop that reads on by mistake does no harm.
    house.hear(PLAIN);
    house.stream.handle_secured(facts());
    house.hear(prelude());
    assert_eq!(house.stream.jid().unwrap().as_str(), "juliet@im.example.com/balcony");
    let after = house.said();
    assert!(!after.contains("starttls"));
    // Section 4.7.3: an identifier for each stream.
    let id = |text: &str| text.split_once(" id='").unwrap().1.split_once('\'').unwrap().0.to_owned();
    let (first, rest) = after.split_once("<success").unwrap();
    assert_eq!([id(&before), id(first), id(rest)].iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
}

#[test]
fn nothing_may_follow_it_in_the_clear() {
    for injected in [HEADER, PLAIN, "<", "\u{16}\u{3}\u{1}", "</stream:stream>"] {
        let mut house = House::new(settings(), None);
        house.hear([HEADER, STARTTLS, injected].concat());
        assert!(!String::from_utf8_lossy(&house.out).contains(PROCEED));
        assert_eq!(house.ended(), Condition::PolicyViolation, "{injected}");
        house.stream.handle_secured(facts());
        house.hear(HEADER);
        assert_eq!((house.said().as_str(), house.events.len()), ("", 1));
    }
    // White space is dropped.
    let mut house = House::new(settings(), None);
    house.hear([HEADER, STARTTLS, "\r\n"].concat());
    assert_eq!(house.events, [Event::StartTls]);
}

#[test]
fn it_fails_where_it_was_not_offered() {
    let unavailable = Settings { tls: Tls::Unavailable, ..settings() };
    for (settings, tls) in [(settings(), Some(facts())), (unavailable, None)] {
        let mut house = House::new(settings, tls);
        house.hear([HEADER, STARTTLS].concat());
        assert!(house.said().ends_with(FAILURE));
        assert_eq!(house.events, [Event::Closed(None)]);
    }
    let mut house = House::new(settings(), None);
    house.hear([HEADER, "<stoptls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"].concat());
    assert!(house.said().ends_with(FAILURE));
}

#[test]
fn it_cannot_interrupt_an_authentication() {
    let mut house = House::new(Settings { tls: Tls::Optional, ..settings() }, None);
    house.hear(HEADER);
    house.hear("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj1qdWxpZXQscj1h</auth>");
    house.hear(STARTTLS);
    assert!(house.said().ends_with(FAILURE));
}

#[test]
fn a_stream_closed_during_the_handshake_says_nothing() {
    let mut house = House::new(settings(), None);
    house.hear([HEADER, STARTTLS].concat());
    house.said();
    house.stream.handle_timeout();
    house.work();
    assert_eq!(house.said(), "");
    assert!(matches!(house.events.last(), Some(Event::Closed(Some(_)))));
    assert!(house.stream.is_over());
}

#[test]
fn without_tls_only_what_is_safe_is_offered() {
    for tls in [Tls::Optional, Tls::Unavailable] {
        let mut house = House::new(Settings { tls, registration: true, ..settings() }, None);
        house.hear(HEADER);
        let said = house.said();
        assert_eq!(said.contains("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), tls == Tls::Optional);
        assert!(said.contains(
            "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-256</mechanism>\
             <mechanism>SCRAM-SHA-1</mechanism></mechanisms>"
        ));
        assert!(!said.contains("PLUS") && !said.contains("PLAIN") && !said.contains("sasl-cb"));
        assert!(said.contains("<register xmlns='http://jabber.org/features/iq-register'/>"));
    }
}
