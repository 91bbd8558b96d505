//! Stream management as it is spoken, on both sides (XEP-0198).

use super::*;
use crate::stanza;

const ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
const R: &str = "<r xmlns='urn:xmpp:sm:3'/>";

fn failed(condition: &str) -> String {
    let condition = format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>");
    format!("<failed xmlns='urn:xmpp:sm:3'>{condition}</failed>")
}

fn a(h: u32) -> String {
    format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>")
}

fn resume(previous: &str, h: &str) -> String {
    format!("<resume xmlns='urn:xmpp:sm:3' h='{h}' previd='{previous}'/>")
}

/// A responder that acknowledges.
fn acknowledging() -> House {
    let mut house = House::trusting();
    house.hear(ENABLE);
    house.stream.handle_enabled(Ok(None));
    house.said();
    house.events.clear();
    house
}

/// Counters of a stream on which so many were sent, received and handled.
fn earlier(sent: u32, received: u32, handled: u32) -> Acks {
    let mut acks = Acks::default();
    acks.start_sent();
    acks.start_received();
    acks.sent(sent);
    (0..received).for_each(|_| acks.received());
    acks.handled(handled);
    acks
}

#[test]
fn the_caller_says_whether_a_stream_can_be_resumed() {
    for (asked, max) in [("", None), (" resume='true'", None), (" resume='1' max='60'", Some(60))] {
        let mut house = House::trusting();
        house.hear(format!("<enable xmlns='urn:xmpp:sm:3'{asked}/>"));
        let max = max.map(Duration::from_secs);
        assert_eq!(house.happened(), [Event::Enable { resume: !asked.is_empty(), max }]);
        assert!(!house.stream.wants_bytes() && !house.stream.has_acks());
        house.stream.handle_enabled(Ok(Some(("some'id", Duration::from_secs(300)))));
        let enabled = "<enabled xmlns='urn:xmpp:sm:3' id='some&apos;id' resume='true' max='300'/>";
        assert_eq!(house.said(), enabled);
        assert!(house.stream.wants_bytes() && house.stream.has_acks());
    }
    let mut house = House::trusting();
    house.hear(ENABLE);
    house.stream.handle_enabled(Ok(None));
    assert_eq!(house.said(), "<enabled xmlns='urn:xmpp:sm:3'/>");
    let mut house = House::trusting();
    house.hear(ENABLE);
    house.stream.handle_enabled(Err(StanzaError::internal_server_error()));
    assert_eq!(house.said(), failed("internal-server-error"));
    house.stream.handle_enabled(Ok(None));
    assert_eq!((house.said().as_str(), house.stream.has_acks()), ("", false));
}

#[test]
fn it_is_for_peers_and_for_once() {
    for element in [ENABLE, &resume("x", "0"), R] {
        let mut house = House::accepted(&[HEADER]);
        house.hear(element);
        assert_eq!((house.said(), house.happened()), (failed("unexpected-request"), vec![]));
    }
    for element in [ENABLE, &resume("x", "0")] {
        let mut house = acknowledging();
        house.hear(element);
        assert_eq!((house.said(), house.happened()), (failed("unexpected-request"), vec![]));
        let mut house = House::accept(Settings { acks: false, ..settings() }, Some(facts()));
        house.hear([HEADER, AUTH, HEADER].concat());
        house.said();
        house.hear(element);
        assert_eq!(house.said(), failed("feature-not-implemented"));
    }
    // Dialback is authentication too.
    let mut house = House::accepted(&[HEADER, &request(PEER, OURS)]);
    house.hear(ENABLE);
    assert!(matches!(house.happened()[..], [Event::Enable { resume: true, max: None }]));
}

#[test]
fn requests_are_answered_at_once_and_again_when_all_is_done() {
    let mut house = House::trusting();
    house.hear([MESSAGE, ENABLE].concat());
    house.stream.handle_enabled(Ok(None));
    house.hear([MESSAGE, MESSAGE, R].concat());
    house.said();
    house.hear(R);
    assert_eq!(house.said(), a(0));
    // The first was from before.
    house.stream.handled(2);
    assert_eq!(house.said(), "");
    house.hear(MESSAGE);
    house.stream.handled(1);
    assert_eq!(house.said(), a(2));
    house.stream.handled(1);
    assert_eq!(house.said(), "");
    house.stream.send_ack();
    house.stream.send_ack();
    assert_eq!(house.said(), a(3));
    house.hear(R);
    assert_eq!(house.said(), a(3));
    // What cannot be read has come as well.
    house.hear("<iq from='juliet@capulet.example/b' to='romeo@montague.example' id='1' type='get'/>");
    house.stream.handled(1);
    house.stream.close(None);
    assert_eq!(house.said(), a(4) + "</stream:stream>");
}

#[test]
fn acknowledgements_are_counted_and_checked() {
    let mut house = acknowledging();
    house.stream.sent(3);
    house.stream.request_ack();
    assert_eq!(house.said(), R);
    house.hear([a(1), a(1), a(3)].concat());
    assert_eq!(house.happened(), [Event::Acked(1), Event::Acked(2)]);
    house.hear(a(4));
    let said = String::from_utf8(house.out.clone()).unwrap();
    assert!(said.contains("<handled-count-too-high xmlns='urn:xmpp:sm:3' h='4' send-count='3'/>"), "{said}");
    assert_eq!(house.ended(), Condition::UndefinedCondition);
    for wrong in ["<a xmlns='urn:xmpp:sm:3'/>", "<a xmlns='urn:xmpp:sm:3' h='-1'/>", "<a xmlns='urn:xmpp:sm:3' h=''/>"]
    {
        let mut house = acknowledging();
        house.hear(wrong);
        assert_eq!(house.ended(), Condition::InvalidXml);
    }
}

#[test]
fn without_it_acknowledgements_mean_nothing() {
    let mut house = House::trusting();
    house.stream.sent(1);
    house.hear(a(7));
    house.stream.request_ack();
    house.stream.send_ack();
    assert_eq!((house.said().as_str(), house.happened()), ("", vec![]));
}

#[test]
fn an_earlier_stream_is_resumed() {
    let mut house = House::trusting();
    house.hear(resume("before", "4"));
    assert_eq!(house.happened(), [Event::Resume { previous: "before".into() }]);
    assert!(!house.stream.wants_bytes());
    house.stream.handle_resumed(Ok(earlier(6, 5, 3)));
    assert_eq!(house.said(), "<resumed xmlns='urn:xmpp:sm:3' h='3' previd='before'/>");
    assert_eq!(house.happened(), [Event::Resumed { acked: 4 }]);
    assert!(house.stream.has_acks());
    // Two are sent again, and two come again.
    house.stream.sent(2);
    house.hear([&a(6), MESSAGE, MESSAGE].concat());
    assert!(matches!(house.happened()[..], [Event::Acked(2), Event::Stanza(_), Event::Stanza(_)]));
    house.stream.handled(2);
    house.stream.send_ack();
    assert_eq!(house.said(), a(5));
}

#[test]
fn an_earlier_stream_is_not_resumed() {
    let mut house = House::trusting();
    house.hear(resume("before", "4"));
    house.stream.handle_resumed(Err(None));
    assert_eq!(house.said(), failed("item-not-found"));
    house.hear(resume("before", "4"));
    house.stream.handle_resumed(Err(Some(7)));
    assert_eq!(house.said(), failed("item-not-found").replacen("sm:3'", "sm:3' h='7'", 1));
    // It can still be managed.
    house.hear(ENABLE);
    house.stream.handle_enabled(Ok(None));
    assert_eq!(house.said(), "<enabled xmlns='urn:xmpp:sm:3'/>");
    // The peer claims what cannot be.
    let mut house = House::trusting();
    house.hear(resume("before", "7"));
    house.stream.handle_resumed(Ok(earlier(6, 5, 3)));
    house.work();
    assert_eq!(house.ended(), Condition::UndefinedCondition);
    // What makes no sense.
    let long = "x".repeat(5000);
    for (element, condition) in [
        (resume("before", ""), "bad-request"),
        (resume("", "4"), "bad-request"),
        (resume(&long, "4"), "item-not-found"),
    ] {
        let mut house = House::trusting();
        house.hear(&element);
        assert_eq!((house.said(), house.happened()), (failed(condition), vec![]));
    }
    // Too late: stanzas have come.
    let mut house = House::trusting();
    house.hear(MESSAGE);
    house.hear(resume("before", "4"));
    assert_eq!(house.said(), failed("unexpected-request"));
}

#[test]
fn the_initiator_enables_it() {
    let mut house = House::trusted(settings());
    house.stream.sent(1);
    house.stream.enable_acks(true);
    house.stream.enable_acks(true);
    assert_eq!(house.said(), ENABLE);
    house.stream.sent(2);
    assert!(!house.stream.has_acks());
    house.hear("<enabled xmlns='urn:xmpp:sm:3' id='some-id' resume='1' max='300'/>");
    let max = Some(Duration::from_secs(300));
    assert_eq!(house.happened(), [Event::Enabled { resumption: Some("some-id".into()), max }]);
    assert!(house.stream.has_acks());
    house.hear(a(2));
    assert_eq!(house.happened(), [Event::Acked(2)]);
    // With bidi the other way too.
    house.hear([MESSAGE, R].concat());
    assert_eq!(house.said(), a(0));
    house.stream.handled(1);
    assert_eq!(house.said(), a(1));
    for enabled in ["<enabled xmlns='urn:xmpp:sm:3' id='x'/>", "<enabled xmlns='urn:xmpp:sm:3' resume='true'/>"] {
        let mut house = House::trusted(settings());
        house.stream.enable_acks(true);
        house.hear(enabled);
        assert_eq!(house.happened(), [Event::Enabled { resumption: None, max: None }]);
    }
}

#[test]
fn the_initiator_is_refused() {
    let mut house = House::trusted(settings());
    house.stream.enable_acks(false);
    assert_eq!(house.said(), "<enable xmlns='urn:xmpp:sm:3'/>");
    house.hear(failed("unexpected-request"));
    assert_eq!(house.happened(), [Event::NotEnabled(StanzaError::unexpected_request())]);
    house.stream.enable_acks(false);
    assert_eq!(house.said(), "");
    house.hear(failed("unexpected-request"));
    assert_eq!(house.happened(), []);
}

#[test]
fn it_is_not_asked_for_where_it_is_not_offered() {
    let mut house = House::open(settings(), BOTH);
    house.hear([ANSWER, OFFER, SUCCESS, ANSWER, "<stream:features/>"].concat());
    house.said();
    house.stream.enable_acks(true);
    house.stream.resume("x", earlier(1, 0, 0));
    assert_eq!(house.said(), "");
    let mut house = House::trusting();
    house.stream.enable_acks(true);
    assert_eq!(house.said(), "", "the responder does not ask");
}

#[test]
fn the_initiator_resumes() {
    let resuming = || {
        let mut house = House::trusted(settings());
        house.stream.resume("before", earlier(6, 5, 3));
        assert_eq!(house.said(), resume("before", "3"));
        house
    };
    let mut house = resuming();
    house.hear("<resumed xmlns='urn:xmpp:sm:3' h='4' previd='before'/>");
    assert_eq!(house.happened(), [Event::Resumed { acked: 4 }]);
    house.stream.sent(2);
    house.hear(a(6));
    assert_eq!(house.happened(), [Event::Acked(2)]);
    let mut house = resuming();
    house.hear(failed("item-not-found").replacen("sm:3'", "sm:3' h='5'", 1));
    let error = StanzaError::new(stanza::Condition::ItemNotFound);
    assert_eq!(house.happened(), [Event::NotResumed { acked: Some(5), error: error.clone() }]);
    house.stream.enable_acks(true);
    assert_eq!(house.said(), ENABLE);
    let mut house = resuming();
    house.hear(failed("item-not-found"));
    assert_eq!(house.happened(), [Event::NotResumed { acked: None, error }]);
    for (wrong, condition) in [
        ("<resumed xmlns='urn:xmpp:sm:3' h='7' previd='before'/>", Condition::UndefinedCondition),
        ("<resumed xmlns='urn:xmpp:sm:3' h='4' previd='other'/>", Condition::UnsupportedStanzaType),
        ("<resumed xmlns='urn:xmpp:sm:3' previd='before'/>", Condition::InvalidXml),
        ("<enabled xmlns='urn:xmpp:sm:3'/>", Condition::UnsupportedStanzaType),
    ] {
        let mut house = resuming();
        house.hear(wrong);
        assert_eq!(house.ended(), condition, "{wrong}");
    }
    let mut house = House::trusted(settings());
    house.stream.sent(1);
    house.stream.resume("before", earlier(6, 5, 3));
    assert_eq!(house.said(), "", "too late");
}
