//! RFC 6121 Table 1 as it is printed there, and the sentences of section 8.5 about presence and IQs.
//!
//! A cell with a choice ("O/E") passes with either; the choices made are pinned by their own test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;

/// RFC 6121 section 8.5.4, Table 1, word for word.
const TABLE_1: &str = "
   | Condition        | Normal | Chat  | Groupchat | Headline |
   | ACCOUNT DOES NOT EXIST                                   |
   |  bare            |  S/E   |  S/E  |     E     |    S     |
   |  full            |  S/E   |  S/E  |    S/E    |   S/E    |
   | ACCOUNT EXISTS, BUT NO ACTIVE RESOURCES                  |
   |  bare            |  O/E   |  O/E  |     E     |    S     |
   |  full (no match) |  S/E   |  O/E  |    S/E    |   S/E    |
   | 1+ NEGATIVE RESOURCES BUT ZERO NON-NEGATIVE RESOURCES    |
   |  bare            |  O/E   |  O/E  |     E     |    S     |
   |  full match      |   D    |   D   |     D     |    D     |
   |  full no match   |  S/E   |  O/E  |    S/E    |   S/E    |
   | 1 NON-NEGATIVE RESOURCE                                  |
   |  bare            |   D    |   D   |     E     |    D     |
   |  full match      |   D    |   D   |     D     |    D     |
   |  full no match   |  S/E   |   D   |    S/E    |   S/E    |
   | 1+ NON-NEGATIVE RESOURCES                                |
   |  bare            |  M/A   |  M/A* |     E     |    A     |
   |  full match      |   D    |  D/A* |     D     |    D     |
   |  full no match   |  S/E   |  M/A* |    S/E    |   S/E    |
";

fn never() -> bool {
    panic!("asked about presence where it does not matter")
}

/// The letter of Table 1 for a decision. `alone`: is there exactly one resource to deliver to?
fn letter(decision: Decision, alone: bool) -> char {
    match decision {
        Decision::ToResource => 'D',
        Decision::ToMostAvailable | Decision::ToNonNegative if alone => 'D',
        Decision::ToMostAvailable => 'M',
        Decision::ToNonNegative => 'A',
        Decision::Store => 'O',
        Decision::Bounce => 'E',
        Decision::Drop => 'S',
        other => panic!("{other:?} is no decision about a message"),
    }
}

#[test]
fn messages_go_where_table_1_says() {
    let mut section = None;
    let mut cells = 0;
    for line in TABLE_1.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let columns: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [row, normal, chat, groupchat, headline] = columns[..] else {
            section = Some(match columns[0] {
                "ACCOUNT DOES NOT EXIST" => None,
                "ACCOUNT EXISTS, BUT NO ACTIVE RESOURCES" => Some(Availability::None),
                "1+ NEGATIVE RESOURCES BUT ZERO NON-NEGATIVE RESOURCES" => Some(Availability::NegativeOnly),
                "1 NON-NEGATIVE RESOURCE" => Some(Availability::One),
                "1+ NON-NEGATIVE RESOURCES" => Some(Availability::Many),
                other => panic!("a section the table does not have: {other}"),
            });
            continue;
        };
        if row == "Condition" {
            continue;
        }
        let recipient = match (section.expect("a section comes first"), row) {
            (None, "bare") => Recipient::NoAccountBare,
            (None, "full") => Recipient::NoAccountFull,
            (Some(here), "bare") => Recipient::Bare(here),
            (Some(_), "full match") => Recipient::Resource,
            (Some(here), "full no match" | "full (no match)") => Recipient::NoResource(here),
            other => panic!("a row the table does not have: {other:?}"),
        };
        let alone = section == Some(Some(Availability::One));
        for (allowed, type_) in [
            (normal, MessageType::Normal),
            (chat, MessageType::Chat),
            (groupchat, MessageType::Groupchat),
            (headline, MessageType::Headline),
        ] {
            let decision = decide(Kind::Message(type_), recipient, never);
            assert!(
                allowed.contains(letter(decision, alone)),
                "{type_:?} to {recipient:?}: {decision:?}, but the table says {allowed}"
            );
            cells += 1;
        }
    }
    assert_eq!(cells, 52, "the table has 13 rows of 4 cells");
}

#[test]
fn our_choices_where_the_table_leaves_one() {
    use Availability as A;
    use MessageType::{Chat, Headline, Normal};
    for (type_, recipient, decision) in [
        (Normal, Recipient::NoAccountBare, Decision::Bounce),
        (Chat, Recipient::NoAccountFull, Decision::Bounce),
        (Headline, Recipient::NoAccountFull, Decision::Drop),
        (Normal, Recipient::Bare(A::None), Decision::Store),
        (Chat, Recipient::Bare(A::NegativeOnly), Decision::Store),
        (Chat, Recipient::NoResource(A::None), Decision::Store),
        (Normal, Recipient::NoResource(A::Many), Decision::Bounce),
        (Normal, Recipient::Bare(A::Many), Decision::ToMostAvailable),
        (Chat, Recipient::Bare(A::Many), Decision::ToMostAvailable),
        (Chat, Recipient::NoResource(A::Many), Decision::ToMostAvailable),
    ] {
        assert_eq!(decide(Kind::Message(type_), recipient, never), decision, "{type_:?} {recipient:?}");
    }
}

/// Every meaning an address can have.
fn recipients() -> Vec<Recipient> {
    use Availability as A;
    let mut all = vec![Recipient::NoAccountBare, Recipient::NoAccountFull, Recipient::Resource];
    for here in [A::None, A::NegativeOnly, A::One, A::Many] {
        all.extend([Recipient::Bare(here), Recipient::NoResource(here)]);
    }
    all
}

#[test]
fn error_messages_reach_a_matching_resource_or_nobody() {
    for recipient in recipients() {
        let expected = match recipient {
            Recipient::Resource => Decision::ToResource,
            _ => Decision::Drop,
        };
        assert_eq!(decide(Kind::Message(MessageType::Error), recipient, never), expected);
    }
}

#[test]
fn presence_goes_where_sections_8_5_1_to_8_5_3_say() {
    use Decision::*;
    use PresenceType as P;
    use Recipient::*;
    for recipient in recipients() {
        for type_ in [
            P::Available,
            P::Unavailable,
            P::Error,
            P::Probe,
            P::Subscribe,
            P::Subscribed,
            P::Unsubscribe,
            P::Unsubscribed,
        ] {
            let expected = match (type_, recipient) {
                (P::Probe, _) => Handle,
                (_, NoAccountBare | NoAccountFull) => Drop,
                (P::Available | P::Unavailable | P::Error, Bare(_)) => ToAvailable,
                (P::Available | P::Unavailable | P::Error, Resource) => ToResource,
                (P::Available | P::Unavailable | P::Error, NoResource(_)) => Drop,
                (P::Subscribe, _) => Handle,
                (_, NoResource(_)) => Drop,
                (_, Bare(_) | Resource) => Handle,
            };
            assert_eq!(decide(Kind::Presence(type_), recipient, never), expected, "{type_:?} {recipient:?}");
        }
    }
}

#[test]
fn iqs_go_where_sections_8_5_1_to_8_5_3_say() {
    use Decision::*;
    use IqType::*;
    for recipient in recipients() {
        for type_ in [Get, Set, Result, Error] {
            for sees in [true, false] {
                let expected = match (recipient, type_) {
                    (Recipient::Bare(_), _) => Handle,
                    (Recipient::Resource, Get | Set) if !sees => Bounce,
                    (Recipient::Resource, _) => ToResource,
                    (_, Get | Set) => Bounce,
                    (_, Result | Error) => Drop,
                };
                assert_eq!(decide(Kind::Iq(type_), recipient, || sees), expected, "{type_:?} {recipient:?}");
            }
        }
    }
}

#[test]
fn availability_counts_priorities_by_their_sign() {
    for (priorities, expected) in [
        (&[][..], Availability::None),
        (&[-1, -128], Availability::NegativeOnly),
        (&[0], Availability::One),
        (&[-5, 3], Availability::One),
        (&[3, -5], Availability::One),
        (&[0, 127, -1], Availability::Many),
    ] {
        assert_eq!(Availability::of(priorities.iter().copied()), expected, "{priorities:?}");
    }
}

#[test]
fn a_tie_for_the_highest_priority_delivers_to_all_who_tie() {
    let priorities = [5, 5, 1, -1];
    let chosen =
        |decision| -> Vec<i8> { priorities.into_iter().filter(|priority| includes(decision, *priority, 5)).collect() };
    assert_eq!(chosen(Decision::ToMostAvailable), [5, 5]);
    assert_eq!(chosen(Decision::ToNonNegative), [5, 5, 1]);
    assert_eq!(chosen(Decision::ToAvailable), [5, 5, 1, -1]);
    assert!(!includes(Decision::ToMostAvailable, -1, -1), "a negative priority is never the most available");
}

#[test]
fn errors_results_and_headlines_are_never_answered() {
    assert!(!may_be_answered(Kind::Message(MessageType::Error)));
    assert!(!may_be_answered(Kind::Message(MessageType::Headline)));
    assert!(may_be_answered(Kind::Message(MessageType::Chat)));
    assert!(!may_be_answered(Kind::Presence(PresenceType::Error)));
    assert!(!may_be_answered(Kind::Iq(IqType::Result)));
    assert!(!may_be_answered(Kind::Iq(IqType::Error)));
    assert!(may_be_answered(Kind::Iq(IqType::Set)));
}
