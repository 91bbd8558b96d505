//! RFC 6121 appendix A.2 and A.3: its eight tables as they are printed there, and the sentences of
//! section 3 about what goes with them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;

/// Tables 2 to 9, word for word.
const TABLES: &str = r#"
Table 2: Processing of outbound "subscribe" stanzas
   |  EXISTING STATE          |  ROUTE?   |  NEW STATE                |
   |  "None"                  |  MUST [1] |  "None + Pending Out"     |
   |  "None + Pending Out"    |  MUST     |  no state change          |
   |  "None + Pending In"     |  MUST [1] |  "None + Pending Out+In"  |
   |  "None + Pending Out+In" |  MUST     |  no state change          |
   |  "To"                    |  MUST     |  no state change          |
   |  "To + Pending In"       |  MUST     |  no state change          |
   |  "From"                  |  MUST [1] |  "From + Pending Out"     |
   |  "From + Pending Out"    |  MUST     |  no state change          |
   |  "Both"                  |  MUST     |  no state change          |
Table 3: Processing of outbound "unsubscribe" stanzas
   |  EXISTING STATE          |  ROUTE?  |  NEW STATE                |
   |  "None"                  |  MUST    |  no state change          |
   |  "None + Pending Out"    |  MUST    |  "None"                   |
   |  "None + Pending In"     |  MUST    |  no state change          |
   |  "None + Pending Out+In" |  MUST    |  "None + Pending In"      |
   |  "To"                    |  MUST    |  "None"                   |
   |  "To + Pending In"       |  MUST    |  "None + Pending In"      |
   |  "From"                  |  MUST    |  no state change          |
   |  "From + Pending Out"    |  MUST    |  "From"                   |
   |  "Both"                  |  MUST    |  "From"                   |
Table 4: Processing of outbound "subscribed" stanzas
   |  EXISTING STATE          |  ROUTE?  |  NEW STATE                |
   |  "None"                  |  M.N.    |  pre-approval [1]         |
   |  "None + Pending Out"    |  M.N.    |  pre-approval [1]         |
   |  "None + Pending In"     |  MUST    |  "From"                   |
   |  "None + Pending Out+In" |  MUST    |  "From + Pending Out"     |
   |  "To"                    |  M.N.    |  pre-approval [1]         |
   |  "To + Pending In"       |  MUST    |  "Both"                   |
   |  "From"                  |  M.N.    |  no state change          |
   |  "From + Pending Out"    |  M.N.    |  no state change          |
   |  "Both"                  |  M.N.    |  no state change          |
Table 5: Processing of outbound "unsubscribed" stanzas
   |  EXISTING STATE          |  ROUTE?  |  NEW STATE                |
   |  "None"                  |  S.N.    |  no state change [1]      |
   |  "None + Pending Out"    |  S.N.    |  no state change [1]      |
   |  "None + Pending In"     |  MUST    |  "None"                   |
   |  "None + Pending Out+In" |  MUST    |  "None + Pending Out"     |
   |  "To"                    |  S.N.    |  no state change [1]      |
   |  "To + Pending In"       |  MUST    |  "To"                     |
   |  "From"                  |  MUST    |  "None"                   |
   |  "From + Pending Out"    |  MUST    |  "None + Pending Out"     |
   |  "Both"                  |  MUST    |  "To"                     |
Table 6: Processing of inbound "subscribe" stanzas
   |  EXISTING STATE          |  DELIVER?  |  NEW STATE               |
   |  "None"                  |  MUST [1]  |  "None + Pending In"     |
   |  "None + Pending Out"    |  MUST      |  "None + Pending Out+In" |
   |  "None + Pending In"     |  S.N.      |  no state change         |
   |  "None + Pending Out+In" |  S.N.      |  no state change         |
   |  "To"                    |  MUST      |  "To + Pending In"       |
   |  "To + Pending In"       |  S.N.      |  no state change         |
   |  "From"                  |  S.N. [2]  |  no state change         |
   |  "From + Pending Out"    |  S.N. [2]  |  no state change         |
   |  "Both"                  |  S.N. [2]  |  no state change         |
Table 7: Processing of inbound "unsubscribe" stanzas
   |  EXISTING STATE          |  DELIVER?  |  NEW STATE               |
   |  "None"                  |  S.N.      |  no state change         |
   |  "None + Pending Out"    |  S.N.      |  no state change         |
   |  "None + Pending In"     |  MUST [1]  |  "None"                  |
   |  "None + Pending Out+In" |  MUST [1]  |  "None + Pending Out"    |
   |  "To"                    |  S.N.      |  no state change         |
   |  "To + Pending In"       |  MUST [1]  |  "To"                    |
   |  "From"                  |  MUST [1]  |  "None"                  |
   |  "From + Pending Out"    |  MUST [1]  |  "None + Pending Out"    |
   |  "Both"                  |  MUST [1]  |  "To"                    |
Table 8: Processing of inbound "subscribed" stanzas
   |  EXISTING STATE          |  DELIVER?  |  NEW STATE               |
   |  "None"                  |  S.N.      |  no state change         |
   |  "None + Pending Out"    |  MUST      |  "To"                    |
   |  "None + Pending In"     |  S.N.      |  no state change         |
   |  "None + Pending Out+In" |  MUST      |  "To + Pending In"       |
   |  "To"                    |  S.N.      |  no state change         |
   |  "To + Pending In"       |  S.N.      |  no state change         |
   |  "From"                  |  S.N.      |  no state change         |
   |  "From + Pending Out"    |  MUST      |  "Both"                  |
   |  "Both"                  |  S.N.      |  no state change         |
Table 9: Processing of inbound "unsubscribed" stanzas
   |  EXISTING STATE          |  DELIVER?  |  NEW STATE               |
   |  "None"                  |  S.N.      |  no state change         |
   |  "None + Pending Out"    |  MUST      |  "None"                  |
   |  "None + Pending In"     |  S.N.      |  no state change         |
   |  "None + Pending Out+In" |  MUST      |  "None + Pending In"     |
   |  "To"                    |  MUST      |  "None"                  |
   |  "To + Pending In"       |  MUST      |  "None + Pending In"     |
   |  "From"                  |  S.N.      |  no state change         |
   |  "From + Pending Out"    |  MUST      |  "From"                  |
   |  "Both"                  |  MUST      |  "From"                  |
"#;

fn state(name: &str) -> State {
    match name.trim_matches('"') {
        "None" => State::None,
        "None + Pending Out" => State::NonePendingOut,
        "None + Pending In" => State::NonePendingIn,
        "None + Pending Out+In" => State::NonePendingOutIn,
        "To" => State::To,
        "To + Pending In" => State::ToPendingIn,
        "From" => State::From,
        "From + Pending Out" => State::FromPendingOut,
        "Both" => State::Both,
        other => panic!("no such state: {other}"),
    }
}

fn action(name: &str) -> Action {
    match name {
        "subscribe" => Action::Subscribe,
        "subscribed" => Action::Subscribed,
        "unsubscribe" => Action::Unsubscribe,
        "unsubscribed" => Action::Unsubscribed,
        other => panic!("no such type: {other}"),
    }
}

type Step = fn(State, bool, Action) -> Transition;

/// One row of a printed table.
struct Row<'a> {
    step: Step,
    action: Action,
    is_inbound: bool,
    before: State,
    passes: &'a str,
    after: &'a str,
}

fn rows() -> Vec<Row<'static>> {
    let mut rows = Vec::new();
    let mut heading: Option<(Step, Action, bool)> = None;
    for line in TABLES.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(title) = line.strip_prefix("Table ") {
            let words: Vec<&str> = title.split_whitespace().collect();
            let is_inbound = words[3] == "inbound";
            let step: Step = if is_inbound { inbound } else { outbound };
            heading = Some((step, action(words[4].trim_matches('"')), is_inbound));
            continue;
        }
        let columns: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if columns[0] == "EXISTING STATE" {
            continue;
        }
        let (step, action, is_inbound) = heading.expect("a heading comes first");
        let [before, passes, after] = columns[..] else { panic!("three columns in {line}") };
        rows.push(Row { step, action, is_inbound, before: state(before), passes, after });
    }
    rows
}

#[test]
fn every_row_of_tables_2_to_9() {
    let rows = rows();
    assert_eq!(rows.len(), 8 * 9, "eight tables of nine states");
    for row in rows {
        let what = format!("{:?} in {:?}", row.action, row.before);
        let found = (row.step)(row.before, false, row.action);
        assert_eq!(found.passes, row.passes.starts_with("MUST"), "{what}: does it pass?");
        let after = match row.after {
            "no state change" | "no state change [1]" | "pre-approval [1]" => row.before,
            named => state(named),
        };
        assert_eq!(found.state, after, "{what}: the new state");
        assert_eq!(found.is_approved, row.after == "pre-approval [1]", "{what}: pre-approval");
        let reply = match (row.is_inbound, row.action, row.passes) {
            (true, Action::Subscribe, "S.N. [2]") => Some(Action::Subscribed),
            (true, Action::Unsubscribe, "MUST [1]") => Some(Action::Unsubscribed),
            _ => None,
        };
        assert_eq!(found.reply, reply, "{what}: the automatic reply");
    }
}

#[test]
fn a_pre_approved_request_is_granted_without_asking() {
    // Table 6, note 1, and section 3.4.2.
    for (before, after) in
        [(State::None, State::From), (State::NonePendingOut, State::FromPendingOut), (State::To, State::Both)]
    {
        let found = inbound(before, true, Action::Subscribe);
        assert_eq!(found.state, after);
        assert!(found.is_approved, "the approval is remembered");
        assert!(!found.passes, "the user is not asked");
        assert_eq!(found.reply, Some(Action::Subscribed));
        assert!(found.is_pushed);
        assert_eq!(found.disclosure, Disclosure::Current);
    }
}

#[test]
fn unsubscribed_takes_a_pre_approval_back_and_nothing_is_routed() {
    // Section 3.2.2, case 2.
    for before in [State::None, State::NonePendingOut, State::To] {
        let found = outbound(before, true, Action::Unsubscribed);
        assert_eq!(found.state, before);
        assert!(!found.is_approved && !found.passes);
        assert!(found.is_pushed, "the push without 'approved' (section 3.4.2)");
    }
    let withdrawn = outbound(State::Both, true, Action::Unsubscribed);
    assert!(!withdrawn.is_approved, "also along with the subscription itself");
}

#[test]
fn only_what_the_roster_shows_is_pushed() {
    for approved in [false, true] {
        for before in State::ALL {
            for action in [Action::Subscribe, Action::Subscribed, Action::Unsubscribe, Action::Unsubscribed] {
                for step in [inbound as Step, outbound as Step] {
                    let found = step(before, approved, action);
                    let shown = |state: State, approved: bool| (state.subscription(), state.pending_out(), approved);
                    assert_eq!(
                        found.is_pushed,
                        shown(before, approved) != shown(found.state, found.is_approved),
                        "{action:?} in {before:?}"
                    );
                }
            }
        }
    }
    assert!(!inbound(State::None, false, Action::Subscribe).is_pushed, "no item for a request (section 3.1.3)");
}

#[test]
fn presence_is_disclosed_exactly_with_the_contacts_subscription() {
    for before in State::ALL {
        for action in [Action::Subscribe, Action::Subscribed, Action::Unsubscribe, Action::Unsubscribed] {
            for step in [inbound as Step, outbound as Step] {
                let found = step(before, false, action);
                let had = before.subscription().has_from();
                let has = found.state.subscription().has_from();
                match found.disclosure {
                    Disclosure::Current => assert!(has, "never to who may not see it"),
                    Disclosure::Unavailable => assert!(had && !has),
                    Disclosure::Nothing => assert_eq!(had, has),
                }
            }
        }
    }
}

#[test]
fn a_state_is_its_three_facts() {
    for state in State::ALL {
        assert_eq!(State::new(state.subscription(), state.pending_out(), state.pending_in()), state);
    }
    assert_eq!(State::new(Subscription::Both, true, true), State::Both, "nothing is left to ask");
}

#[test]
fn removing_a_contact_ends_all_that_is_between_the_two() {
    // Section 2.5.2, cases 1 to 3, and requests under way.
    for (state, unsubscribe, unsubscribed, unavailable) in [
        (State::None, false, false, false),
        (State::NonePendingOut, true, false, false),
        (State::NonePendingIn, false, true, false),
        (State::NonePendingOutIn, true, true, false),
        (State::To, true, false, false),
        (State::ToPendingIn, true, true, false),
        (State::From, false, true, true),
        (State::FromPendingOut, true, true, true),
        (State::Both, true, true, true),
    ] {
        assert_eq!(removed(state), Removal { unsubscribe, unsubscribed, unavailable }, "{state:?}");
    }
}
