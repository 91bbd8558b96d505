//! Dialback on both sides: requests, questions, answers, and none that was not asked for (XEP-0220).

use super::*;
use crate::stanza;

const ROOMS: &str = "rooms.capulet.example";

fn result(from: &str, to: &str, type_: &str) -> String {
    format!("<db:result from='{from}' to='{to}' type='{type_}'/>")
}

fn refused(from: &str, to: &str, type_: &str, condition: &str) -> String {
    let error = format!("<error type='{type_}'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>");
    format!("<db:result from='{from}' to='{to}' type='error'>{error}</db:result>")
}

#[test]
fn a_request_is_for_the_caller_to_judge() {
    let mut house = House::accepted(&[HEADER]);
    house.verdict = None;
    house.hear(request(PEER, OURS));
    let stream_id = house.stream.id().into();
    let pair = Pair::new(PEER, OURS);
    let event = Event::Dialback { pair: pair.clone(), key: "b4835385".into(), stream_id };
    assert_eq!((house.said().as_str(), house.happened()), ("", vec![event]));
    assert!(house.stream.wants_bytes() && !house.stream.may_hear(PEER, OURS));
    // Asked twice, it is judged once.
    house.hear(request(PEER, OURS));
    assert_eq!(house.happened(), []);
    house.stream.handle_dialback(&pair, Verdict::Valid);
    assert_eq!(house.said(), result(OURS, PEER, "valid"));
    let heard = Event::Heard { from: PEER.into(), to: Some(OURS.into()), by: Proof::Dialback };
    assert_eq!(house.happened(), [heard]);
    assert!(house.stream.may_hear(PEER, OURS) && !house.stream.may_hear(PEER, CHAT));
    assert!(!house.stream.may_send(OURS, PEER));
    // Known, it is answered at once.
    house.hear(request(PEER, OURS));
    assert_eq!((house.said(), house.happened()), (result(OURS, PEER, "valid"), vec![]));
    // Judged unasked, nothing happens.
    house.stream.handle_dialback(&pair, Verdict::Invalid);
    house.stream.handle_dialback(&Pair::new("verona.example", OURS), Verdict::Valid);
    assert_eq!((house.said().as_str(), house.happened()), ("", vec![]));
    assert!(!house.stream.may_hear("verona.example", OURS));
}

#[test]
fn an_invalid_key_ends_a_stream_on_which_nothing_is_proven() {
    let mut house = House::accepted(&[HEADER]);
    house.verdict = Some(Verdict::Invalid);
    house.hear(request(PEER, OURS));
    assert!(house.stream.poll_timeout().is_none());
    assert_eq!(house.said(), result(OURS, PEER, "invalid") + "</stream:stream>");
    assert_eq!(house.happened(), [Event::Closed(Ending::Closed)]);
    // Elsewhere it is an error.
    let mut house = House::trusting();
    house.verdict = Some(Verdict::Invalid);
    house.hear(request(ROOMS, OURS));
    assert_eq!(house.said(), refused(OURS, ROOMS, "auth", "forbidden"));
    assert_eq!(house.happened(), []);
    house.hear(MESSAGE);
    assert!(matches!(house.events[..], [Event::Stanza(_)]));
}

#[test]
fn an_error_leaves_the_stream_alone() {
    let mut house = House::accepted(&[HEADER]);
    house.verdict = Some(Verdict::Error(StanzaError::remote_server_timeout()));
    house.hear(request(PEER, OURS));
    assert_eq!(house.said(), refused(OURS, PEER, "wait", "remote-server-timeout"));
    house.verdict = Some(Verdict::Valid);
    house.hear(request(PEER, OURS));
    assert_eq!(house.said(), result(OURS, PEER, "valid"));
}

#[test]
fn requests_that_cannot_be_granted_get_the_error_for_it() {
    for (from, to, key, type_, condition) in [
        (PEER, "verona.example", "k", "cancel", "item-not-found"),
        (OURS, OURS, "k", "modify", "not-acceptable"),
        (CHAT, OURS, "k", "modify", "not-acceptable"),
        (PEER, OURS, " ", "modify", "not-acceptable"),
        (PEER, OURS, &*"k".repeat(2000), "modify", "not-acceptable"),
    ] {
        let mut house = House::accepted(&[HEADER]);
        house.verdict = None;
        house.hear(format!("<db:result from='{from}' to='{to}'>{key}</db:result>"));
        assert_eq!((house.said(), house.happened()), (refused(to, from, type_, condition), vec![]));
    }
    let mut house = House::accept(settings(), Some(facts()));
    house.permitted = EXTERNAL;
    house.hear(HEADER);
    house.said();
    house.hear(request(PEER, OURS));
    assert!(house.said().contains("<error type='auth'><not-authorized xmlns="));
    let mut house = House::accept(Settings { pairs_max: 2, ..settings() }, Some(facts()));
    house.verdict = None;
    house.hear([HEADER, &request(PEER, OURS), &request(ROOMS, OURS)].concat());
    house.said();
    house.hear(request(PEER, CHAT));
    assert_eq!(house.said(), refused(CHAT, PEER, "wait", "resource-constraint"));
    house.stream.handle_dialback(&Pair::new(PEER, OURS), Verdict::Valid);
    house.said();
    house.hear(request(PEER, CHAT));
    assert_eq!(house.said(), refused(CHAT, PEER, "wait", "resource-constraint"));
}

#[test]
fn a_certificate_answers_for_its_domain() {
    let mut house = House::accepted(&[HEADER, BIDI, AUTH, HEADER]);
    house.verdict = None;
    house.hear(request(PEER, CHAT));
    assert_eq!(house.said(), result(CHAT, PEER, "valid"));
    assert!(matches!(house.happened()[..], [Event::Heard { .. }, Event::Authenticated { .. }]));
    assert!(house.stream.may_send(CHAT, PEER));
    house.hear(request(PEER, CHAT));
    assert_eq!((house.said(), house.happened()), (result(CHAT, PEER, "valid"), vec![]));
    house.hear(request(ROOMS, CHAT));
    assert!(matches!(house.happened()[..], [Event::Dialback { .. }]), "another is to be judged");
}

#[test]
fn elements_without_addresses_end_the_stream() {
    for element in [
        "<db:result from='capulet.example'>k</db:result>",
        "<db:result to='montague.example'>k</db:result>",
        "<db:result from='juliet@capulet.example' to='montague.example'>k</db:result>",
        "<db:verify from='' to='montague.example' id='x'>k</db:verify>",
        "<db:verify from='capulet.example' to='@' id='x'>k</db:verify>",
    ] {
        let mut house = House::accepted(&[HEADER]);
        house.hear(element);
        assert_eq!(house.ended(), Condition::ImproperAddressing, "{element}");
    }
    let long = "x".repeat(2000);
    for element in [
        "<db:verify from='capulet.example' to='montague.example'>k</db:verify>",
        "<db:verify from='capulet.example' to='montague.example' id=''>k</db:verify>",
        "<db:result from='capulet.example' to='montague.example' type='maybe'/>",
        &format!("<db:verify from='capulet.example' to='montague.example' id='{long}'>k</db:verify>"),
    ] {
        let mut house = House::accepted(&[HEADER]);
        house.hear(element);
        assert_eq!(house.ended(), Condition::InvalidXml, "{element}");
    }
}

#[test]
fn questions_about_our_keys_are_answered() {
    // The key of XEP-0220 sections 2.1.2 and 2.2.2.
    let key = "225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d";
    let ask = |to: &str, id: &str, key: &str| {
        let mut house = House::accepted(&[HEADER]);
        house.hear(format!("<db:verify from='{PEER}' id='{id}' to='{to}'>\n  {key}\n</db:verify>"));
        assert_eq!(house.happened(), []);
        house.said()
    };
    let answer = |id: &str, type_: &str| format!("<db:verify from='{OURS}' id='{id}' to='{PEER}' type='{type_}'/>");
    assert_eq!(ask(OURS, "417GAF25", key), answer("417GAF25", "valid"));
    assert_eq!(ask(OURS, "417GAF26", key), answer("417GAF26", "invalid"));
    assert_eq!(ask(OURS, "417GAF25", &key[1..]), answer("417GAF25", "invalid"));
    assert_eq!(ask(OURS, "417GAF25", ""), answer("417GAF25", "invalid"));
    let unknown = ask("verona.example", "417GAF25", key);
    let expected = "<db:verify from='verona.example' id='417GAF25' to='capulet.example' type='error'>\
        <error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>";
    assert_eq!(unknown, expected);
}

#[test]
fn questions_of_strangers_are_bounded() {
    let question = "<db:verify from='capulet.example' id='x' to='montague.example'>k</db:verify>";
    let mut house = House::accepted(&[HEADER]);
    house.hear(question.repeat(32));
    assert_eq!(house.said().matches("type='invalid'").count(), 32);
    house.hear(question);
    assert_eq!(house.ended(), Condition::PolicyViolation);
    let mut house = House::trusting();
    house.hear(question.repeat(100));
    assert_eq!(house.said().matches("type='invalid'").count(), 100);
}

#[test]
fn answers_that_were_not_asked_for_end_the_stream() {
    for type_ in ["valid", "invalid", "error"] {
        for element in [
            format!("<db:result from='{PEER}' to='{OURS}' type='{type_}'/>"),
            format!("<db:verify from='{PEER}' to='{OURS}' id='x' type='{type_}'/>"),
        ] {
            for mut house in [House::accepted(&[HEADER]), House::accepted(&[HEADER, BIDI]), House::trusting()] {
                house.hear(&element);
                assert_eq!(house.ended(), Condition::NotAuthorized, "{element}");
                assert!(!house.stream.may_hear(PEER, OURS) && !house.stream.may_send(OURS, PEER));
            }
            let mut house = House::open(settings(), DIALBACK);
            house.hear([ANSWER, OFFER].concat());
            house.said();
            house.hear(element.replace(PEER, ROOMS));
            assert_eq!(house.ended(), Condition::NotAuthorized, "{element}");
        }
    }
}

#[test]
fn the_initiator_shows_its_key_and_is_told() {
    let mut house = House::open(settings(), DIALBACK);
    house.hear([&ANSWER.replace("id1", "D60000229F"), OFFER].concat());
    let key = Secret::new(b"d14lb4ck43v3r").key(PEER, OURS, "D60000229F");
    let limits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>524288</max-bytes></limits>";
    let expected =
        format!("<bidi xmlns='urn:xmpp:bidi'>{limits}</bidi><db:result from='{OURS}' to='{PEER}'>{key}</db:result>");
    assert_eq!(house.said(), expected);
    assert!(!house.stream.may_send(OURS, PEER) && house.stream.poll_timeout().is_some());
    house.events.clear();
    house.hear(result(PEER, OURS, "valid"));
    let events = house.happened();
    let authenticated = Event::Authenticated { pair: Pair::new(OURS, PEER), by: Proof::Dialback };
    assert!(matches!(&events[..], [first, Event::Ready(offered)] if *first == authenticated && offered.acks));
    assert!(house.stream.may_send(OURS, PEER) && !house.stream.may_send(CHAT, PEER));
    assert_eq!(house.stream.poll_timeout(), None);
    // Said twice is no harm; taken back is not foreseen.
    house.hear(result(PEER, OURS, "valid"));
    assert_eq!((house.said().as_str(), house.happened()), ("", vec![]));
    house.hear(result(PEER, OURS, "invalid"));
    assert_eq!(house.ended(), Condition::NotAuthorized);
}

#[test]
fn the_initiator_gives_up_when_it_is_refused() {
    let opened = || {
        let mut house = House::open(settings(), DIALBACK);
        house.hear([ANSWER, OFFER].concat());
        house.said();
        house.events.clear();
        house
    };
    let mut house = opened();
    house.hear(result(PEER, OURS, "invalid"));
    let pair = Pair::new(OURS, PEER);
    assert_eq!(house.events[0], Event::NotAuthenticated { pair: pair.clone(), refusal: Refusal::Invalid });
    assert_eq!(house.ending(), Ending::NotAuthenticated(Refusal::Invalid));
    let mut house = opened();
    house.hear(refused(PEER, OURS, "cancel", "item-not-found"));
    let refusal = Refusal::Error(StanzaError::item_not_found());
    assert_eq!(house.events[0], Event::NotAuthenticated { pair, refusal: refusal.clone() });
    assert_eq!(house.ending(), Ending::NotAuthenticated(refusal));
    // An error without an error is one.
    let mut house = opened();
    house.hear(result(PEER, OURS, "error"));
    let Ending::NotAuthenticated(Refusal::Error(error)) = house.ending() else { panic!("not refused") };
    assert_eq!(error.condition, stanza::Condition::UndefinedCondition);
}

#[test]
fn more_pairs_share_a_stream() {
    let mut house = House::trusted(Settings { pairs_max: 3, ..settings() });
    let (sender, target) = (Pair::new(CHAT, PEER), Pair::new(OURS, ROOMS));
    assert!(house.stream.authorize(&sender) && house.stream.authorize(&target) && house.stream.authorize(&target));
    let said = house.said();
    assert_eq!(said.matches("<db:result").count(), 2, "{said}");
    assert!(!house.stream.authorize(&Pair::new(CHAT, ROOMS)), "no more than three");
    assert!(!house.stream.authorize(&Pair::new("verona.example", PEER)), "not one of ours");
    house.hear([result(PEER, CHAT, "valid"), refused(ROOMS, OURS, "cancel", "item-not-found")].concat());
    let refusal = Refusal::Error(StanzaError::item_not_found());
    let expected =
        [Event::Authenticated { pair: sender, by: Proof::Dialback }, Event::NotAuthenticated { pair: target, refusal }];
    assert_eq!(house.happened(), expected);
    assert!(house.stream.may_send(CHAT, PEER) && !house.stream.may_send(OURS, ROOMS));
    // What is there already is told again.
    assert!(house.stream.authorize(&Pair::new(OURS, PEER)));
    assert!(matches!(house.happened()[..], [Event::Authenticated { .. }]));
    // Section 2.6.2: other targets only where errors are known.
    let mut house = House::open(settings(), DIALBACK);
    house.hear([ANSWER, &OFFER.replace("<errors/>", ""), &result(PEER, OURS, "valid")].concat());
    assert!(!house.stream.authorize(&Pair::new(OURS, ROOMS)) && house.stream.authorize(&Pair::new(CHAT, PEER)));
    // Not before the first, nor where it is not permitted.
    let mut house = House::open(settings(), DIALBACK);
    house.hear([ANSWER, OFFER].concat());
    assert!(!house.stream.authorize(&Pair::new(CHAT, PEER)));
    let mut house = House::open(settings(), EXTERNAL);
    house.hear([ANSWER, OFFER, SUCCESS, ANSWER, OFFER].concat());
    assert!(!house.stream.authorize(&Pair::new(CHAT, PEER)));
}

#[test]
fn a_stream_for_verification_asks_and_nothing_else() {
    let stream = Stream::open(Arc::new(settings()), OURS, PEER, Purpose::Verification, BOTH, Some(facts()));
    let mut house = House::of(stream);
    let pair = Pair::new(PEER, OURS);
    assert!(!house.stream.verify(&pair, "x", "k"));
    house.hear([ANSWER, OFFER].concat());
    house.said();
    assert!(matches!(house.happened()[..], [Event::Features(_), Event::Ready(_)]));
    assert!(house.stream.verify(&pair, "x<", " k&\n") && house.stream.verify(&pair, "x<", "k"));
    assert!(house.stream.verify(&pair, "y", "k"));
    let said = house.said();
    let expected = "<db:verify from='montague.example' id='x&lt;' to='capulet.example'>k&amp;</db:verify>\
                    <db:verify from='montague.example' id='y' to='capulet.example'>k</db:verify>";
    assert_eq!(said, expected);
    assert!(!house.stream.authorize(&Pair::new(OURS, PEER)) && !house.stream.may_send(OURS, PEER));
    let answer = |id: &str, type_: &str| format!("<db:verify from='{PEER}' id='{id}' to='{OURS}' type='{type_}'/>");
    house.hear([answer("y", "invalid"), answer("x&lt;", "valid")].concat());
    let verified = |id: &str, verdict| Event::Verified { pair: pair.clone(), stream_id: id.into(), verdict };
    assert_eq!(house.happened(), [verified("y", Verdict::Invalid), verified("x<", Verdict::Valid)]);
    // An answer counts once, and nothing else may come.
    house.hear(answer("y", "valid"));
    assert_eq!(house.ended(), Condition::NotAuthorized);
    for (from, to) in [("verona.example", OURS), (PEER, CHAT)] {
        let mut house = House::trusted(settings());
        assert!(house.stream.verify(&pair, "x", "k"));
        house.hear(format!("<db:verify from='{from}' to='{to}' id='x' type='valid'/>"));
        assert_eq!(house.ended(), Condition::NotAuthorized, "the identifier is not all of the question");
    }
    for unasked in [MESSAGE, &request(PEER, OURS), "<db:verify from='capulet.example' to='montague.example' id='1'/>"] {
        let stream = Stream::open(Arc::new(settings()), OURS, PEER, Purpose::Verification, BOTH, Some(facts()));
        let mut house = House::of(stream);
        house.hear([ANSWER, OFFER, unasked].concat());
        assert_eq!(house.ended(), Condition::NotAuthorized);
    }
}

#[test]
fn questions_at_once_are_bounded() {
    let mut house = House::trusted(Settings { pairs_max: 2, ..settings() });
    let pair = Pair::new(PEER, OURS);
    let asked: Vec<bool> = ["a", "b", "c"].into_iter().map(|id| house.stream.verify(&pair, id, "k")).collect();
    assert_eq!(asked, [true, true, false]);
    assert!(!House::trusting().stream.verify(&pair, "a", "k"), "the responder does not ask");
}
