//! The counters of stream management by themselves (XEP-0198 section 4).

use super::*;

#[test]
fn what_was_before_does_not_count() {
    let mut acks = Acks::default();
    assert!(acks.is_fresh());
    acks.sent(3);
    acks.received();
    acks.received();
    assert!(!acks.is_fresh());
    acks.start_sent();
    acks.start_received();
    assert_eq!((acks.h(), acks.unacked(), acks.unhandled()), (0, 0, 2));
    acks.received();
    // The two from before come first.
    acks.handled(2);
    assert_eq!(acks.h(), 0);
    acks.handled(1);
    assert_eq!(acks.h(), 1);
    // More than have come cannot have been handled.
    acks.handled(5);
    assert_eq!((acks.h(), acks.unhandled()), (1, 0));
    acks.sent(2);
    assert_eq!(acks.acked(1), Ok(1));
    assert_eq!(acks.acked(1), Ok(0));
    assert_eq!(acks.acked(2), Ok(1));
    assert_eq!(acks.unacked(), 0);
}

#[test]
fn an_impossible_count_is_an_error() {
    for (sent, acked, h) in [(8, 0, 10), (8, 5, 4), (0, 0, 1), (0, 0, u32::MAX), (1, 1, 0)] {
        let mut acks = Acks::default();
        acks.sent(sent);
        assert_eq!(acks.acked(acked), Ok(acked));
        let error = acks.acked(h).unwrap_err();
        let mut said = Vec::new();
        error.render_into(&mut said);
        let expected = format!(
            "<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>{h} stanzas were acknowledged and \
             {sent} sent</text><handled-count-too-high xmlns='urn:xmpp:sm:3' h='{h}' send-count='{sent}'/>\
             </stream:error>"
        );
        assert_eq!(String::from_utf8(said).unwrap(), expected);
    }
}

#[test]
fn counts_go_around() {
    let mut acks = Acks::default();
    for _ in 0..3 {
        acks.sent(u32::MAX);
        let half = u32::MAX / 2;
        let first = acks.acked(wrapping(&acks, half)).unwrap();
        assert_eq!(first, half);
        assert_eq!(acks.acked(wrapping(&acks, u32::MAX - half)), Ok(u32::MAX - half));
        acks.sent(2);
        assert_eq!(acks.acked(wrapping(&acks, 2)), Ok(2));
    }
    assert_eq!(acks.unacked(), 0);
    assert!(acks.acked(4).is_err(), "three rounds of 2\u{b3}\u{b2} + 1 make 3");
    assert_eq!(acks.acked(3), Ok(0));
}

/// What a peer says that has handled so many more.
fn wrapping(acks: &Acks, more: u32) -> u32 {
    acks.last().wrapping_add(more)
}

#[test]
fn a_resumed_stream_sends_again_what_was_not_acknowledged() {
    let mut acks = Acks::default();
    acks.sent(1);
    acks.start_sent();
    acks.start_received();
    acks.sent(5);
    for _ in 0..4 {
        acks.received();
    }
    acks.handled(3);
    assert_eq!(acks.acked(2), Ok(2));
    acks.resume();
    assert_eq!((acks.unacked(), acks.unhandled(), acks.h()), (0, 0, 3));
    assert!(acks.acked(3).is_err(), "nothing has been sent again yet");
    acks.sent(3);
    assert_eq!(acks.acked(5), Ok(3));
}
