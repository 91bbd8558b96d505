//! The directory of who is there elsewhere: what it tells, and that it stays within its bounds.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use xmpp::{BareJid, FullJid, Jid};

use super::{Noted, Remotes, RemotesLimits};
use crate::session::interest::{Claim, Interest};

const LIMITS: RemotesLimits = RemotesLimits { resources_max: 2, sightings_max: 5, sightings_per_domain_max: 3 };

fn bare(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

fn full(text: &str) -> FullJid {
    FullJid::new(text).unwrap()
}

fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

fn claim(ver: &str) -> Claim {
    Claim { node: "urn:client".into(), ver: ver.into(), is_verifiable: true }
}

#[test]
fn a_claim_is_asked_for_once_and_its_answer_is_for_all_who_see_it() {
    let remotes = Remotes::default();
    let (romeo, nurse) = (bare("romeo@here.example"), bare("nurse@here.example"));
    let balcony = full("juliet@there.example/balcony");
    let nothing_known = |_: &Claim| None;
    assert_eq!(remotes.note(&romeo, &balcony, 0, Some(claim("a")), nothing_known), Noted::Claims(claim("a")));
    assert_eq!(remotes.note(&romeo, &balcony, 0, Some(claim("a")), nothing_known), Noted::Nothing, "it is asked");
    assert_eq!(remotes.note(&nurse, &balcony, 0, Some(claim("a")), nothing_known), Noted::Nothing, "it is asked");
    let interest = Arc::new(Interest::from_features(["n+notify"]));
    assert!(remotes.learned(&balcony, &claim("b"), &interest).is_empty(), "an answer to something else");
    assert_eq!(remotes.learned(&balcony, &claim("a"), &interest).len(), 2);
    assert_eq!(remotes.note(&romeo, &balcony, 0, Some(claim("a")), nothing_known), Noted::Nothing, "no news");
    assert_eq!(
        remotes.note(&bare("peter@here.example"), &balcony, 0, Some(claim("a")), nothing_known),
        Noted::Wants(Arc::clone(&interest)),
        "news for who has not seen it"
    );
    assert_eq!(remotes.seen(&romeo, &balcony.bare(), |one| one.interest.is_some()).len(), 1);
    assert_eq!(remotes.note(&romeo, &balcony, 0, Some(claim("b")), nothing_known), Noted::Claims(claim("b")));
    assert_eq!(remotes.seen(&romeo, &balcony.bare(), |one| one.interest.is_some()).len(), 0, "another client now");
    let known = |_: &Claim| Some(Arc::clone(&interest));
    assert!(matches!(remotes.note(&romeo, &balcony, 0, Some(claim("c")), known), Noted::Wants(_)));
}

#[test]
fn who_is_lost_to_one_account_is_still_there_for_others() {
    let remotes = Remotes::default();
    let (romeo, nurse) = (bare("romeo@here.example"), bare("nurse@here.example"));
    for resource in ["balcony", "chamber"] {
        let juliet = bare("juliet@there.example").with_resource(resource).unwrap();
        remotes.note(&romeo, &juliet, 0, None, |_| None);
        remotes.note(&nurse, &juliet, 0, None, |_| None);
    }
    assert_eq!(remotes.lost(&romeo, &jid("juliet@there.example/balcony")).len(), 1);
    assert!(!remotes.is_seen(&romeo, &jid("juliet@there.example/balcony")));
    assert!(remotes.is_seen(&romeo, &jid("juliet@there.example")));
    assert!(remotes.is_seen(&nurse, &jid("juliet@there.example/balcony")));
    assert_eq!(remotes.lost(&nurse, &jid("juliet@there.example")).len(), 2);
    assert_eq!(remotes.sightings(), 1);
    remotes.forget(&romeo);
    assert_eq!(remotes.sightings(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Note(usize, usize, usize),
    Lost(usize, usize, Option<usize>),
    Forget(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4_usize, 0..4_usize, 0..4_usize).prop_map(|(a, c, r)| Step::Note(a, c, r)),
        2 => (0..4_usize, 0..4_usize, proptest::option::of(0..4_usize)).prop_map(|(a, c, r)| Step::Lost(a, c, r)),
        1 => (0..4_usize).prop_map(Step::Forget),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// Whatever comes: a plain set of sightings agrees, and no bound is passed.
    #[test]
    fn the_directory_is_a_bounded_set_of_sightings(steps in steps()) {
        let remotes = Remotes::new(LIMITS);
        let account = |at: usize| bare(&format!("a{at}@here.example"));
        let contact = |at: usize| bare(&format!("c{at}@{}.example", ["one", "two"][at % 2]));
        let resource = |at: usize, of: usize| contact(at).with_resource(&format!("r{of}")).unwrap();
        let mut model: BTreeSet<(usize, usize, usize)> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Note(a, c, r) => {
                    let of_contact: BTreeSet<usize> = model.iter().filter(|s| s.1 == c).map(|s| s.2).collect();
                    let of_domain = model.iter().filter(|s| s.1 % 2 == c % 2).count();
                    let has_room = model.contains(&(a, c, r))
                        || (of_contact.contains(&r) || of_contact.len() < LIMITS.resources_max)
                            && model.len() < LIMITS.sightings_max
                            && of_domain < LIMITS.sightings_per_domain_max;
                    remotes.note(&account(a), &resource(c, r), 0, None, |_| None);
                    if has_room {
                        model.insert((a, c, r));
                    }
                }
                Step::Lost(a, c, Some(r)) => {
                    remotes.lost(&account(a), &resource(c, r).into());
                    model.remove(&(a, c, r));
                }
                Step::Lost(a, c, None) => {
                    remotes.lost(&account(a), &contact(c).into());
                    model.retain(|s| !(s.0 == a && s.1 == c));
                }
                Step::Forget(a) => {
                    remotes.forget(&account(a));
                    model.retain(|s| s.0 != a);
                }
            }
            prop_assert_eq!(remotes.sightings(), model.len());
            for a in 0..4 {
                for c in 0..4 {
                    for r in 0..4 {
                        let seen = remotes.is_seen(&account(a), &resource(c, r).into());
                        prop_assert_eq!(seen, model.contains(&(a, c, r)));
                    }
                }
            }
        }
    }
}
