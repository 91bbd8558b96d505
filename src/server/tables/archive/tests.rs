//! Paging over an archive against a list, and what a ledger promises about order.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use proptest::prelude::*;
use store::{Batch, Memory, Store};
use xmpp::{BareJid, Jid};

use super::*;

const CONTACTS: [&str; 4] =
    ["romeo@montague.lit/orchard", "romeo@montague.lit/street", "nurse@capulet.lit", "paris.lit"];

fn account() -> BareJid {
    BareJid::new("juliet@capulet.lit").unwrap()
}

fn ledgers(store: &Arc<dyn Store>) -> Ledgers<Place> {
    Ledgers::new(Arc::clone(store), Preferences::default(), |_| false)
}

async fn add(ledgers: &Ledgers<Place>, ledger: &Ledger<Place>, now: u64, contact: usize, text: &str) -> Place {
    let mut batch = Batch::new();
    let chance = now.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ text.len() as u64;
    let arrival =
        Arrival { now, chance, contact: CONTACTS[contact], is_outgoing: contact == 1, message: text.as_bytes() };
    let place = ledger.add(&arrival, &mut batch).unwrap();
    ledgers.store.commit_durably(batch).await.unwrap();
    let mut out = Vec::new();
    assert!(matches!(ledger.land(place, Some(place), |place| out.push(place)), Landed::Done));
    assert_eq!(out, [place]);
    place
}

#[derive(Clone, Debug)]
enum Step {
    Add { contact: usize, later: u64, bytes: usize },
    Restart,
    Trim { since: u64, bytes_max: u64 },
    Read { from: usize, to: usize, with: usize, messages_max: usize, bytes_max: usize, is_from_end: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0..4_usize, 0..3_u64, 1..40_usize).prop_map(|(contact, later, bytes)| Step::Add { contact, later, bytes }),
        1 => Just(Step::Restart),
        1 => (0..200_u64, 0..20_000_u64).prop_map(|(since, bytes_max)| Step::Trim { since, bytes_max }),
        6 => (0..250_usize, 0..250_usize, 0..6_usize, 1..50_usize, 0..900_usize, any::<bool>()).prop_map(
            |(from, to, with, messages_max, bytes_max, is_from_end)| Step::Read {
                from, to, with, messages_max, bytes_max, is_from_end
            }
        ),
    ]
}

fn withs() -> Vec<Option<Jid>> {
    let mut withs = vec![None, Some(Jid::new("romeo@montague.lit").unwrap())];
    withs.extend(CONTACTS.iter().map(|contact| Some(Jid::new(contact).unwrap())));
    withs
}

/// What the specification says a page is.
fn expected(model: &[(Place, usize, usize)], want: &Want<'_>) -> (Vec<Place>, bool) {
    let is_with = |contact: usize| {
        want.with.is_none_or(|with| match with.is_full() {
            true => CONTACTS[contact] == with.as_str(),
            false => bare(CONTACTS[contact]) == with.as_str(),
        })
    };
    let mut all: Vec<_> =
        model.iter().filter(|(place, contact, _)| want.span.contains(*place) && is_with(*contact)).collect();
    if want.is_from_end {
        all.reverse();
    }
    let (mut page, mut bytes) = (Vec::new(), 0);
    for (place, _, len) in &all {
        if page.len() >= want.messages_max || (!page.is_empty() && bytes + len > want.bytes_max) {
            break;
        }
        bytes += len;
        page.push(*place);
    }
    let is_complete = page.len() == all.len();
    if want.is_from_end {
        page.reverse();
    }
    (page, is_complete)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn an_archive_is_a_list(steps in proptest::collection::vec(step(), 1..300)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let memory: Arc<dyn Store> = Arc::new(Memory::new());
            let mut archives = ledgers(&memory);
            let mut ledger = archives.open(&account()).await.unwrap();
            let mut model: Vec<(Place, usize, usize)> = Vec::new();
            let mut now = 10;
            let withs = withs();
            for step in steps {
                match step {
                    Step::Add { contact, later, bytes } => {
                        now += later;
                        let text = "x".repeat(bytes);
                        let place = add(&archives, &ledger, now, contact, &text).await;
                        if let Some((last, ..)) = model.last() {
                            assert!(last.time < place.time, "places only grow");
                        }
                        assert_eq!(Place::parse(&place.id()), Some(place));
                        model.push((place, contact, bytes));
                    }
                    Step::Restart => {
                        let before = ledger.size();
                        archives = ledgers(&memory);
                        ledger = archives.open(&account()).await.unwrap();
                        assert_eq!(ledger.size(), before);
                    }
                    Step::Trim { since, bytes_max } => {
                        archives.trim(&ledger, Keep { since, bytes_max }).await.unwrap();
                        let kept = read(&archives, &ledger, Want { span: Span::ALL, with: None, messages_max: 10_000,
                            bytes_max: usize::MAX, is_from_end: false }).await.0;
                        // The oldest go, a block at a time; what is left has no holes.
                        let gone = model.len() - kept.len();
                        assert_eq!(kept, model[gone..].iter().map(|(place, ..)| *place).collect::<Vec<_>>());
                        assert!(model[..gone].iter().all(|(place, ..)| place.time < since) || ledger.size().1 > 0 || bytes_max < 20_000);
                        model.drain(..gone);
                        assert_eq!(ledger.size().0, model.len() as u64);
                    }
                    Step::Read { from, to, with, messages_max, bytes_max, is_from_end } => {
                        let place = |at: usize| model.get(at).map_or(Place { time: at as u64, chance: 3 }, |(place, ..)| *place);
                        let span = Span::ALL.since(place(from).time).before(place(to)).after(Place::FIRST);
                        let want = Want { span, with: withs[with].as_ref(), messages_max, bytes_max, is_from_end };
                        assert_eq!(read(&archives, &ledger, want).await, expected(&model, &want), "{want:?}");
                    }
                }
            }
            // Whole archives, by pages in both directions.
            for with in &withs {
                for is_from_end in [false, true] {
                    let all = Want { span: Span::ALL, with: with.as_ref(), messages_max: 7, bytes_max: 200, is_from_end };
                    let (mut want, mut pages) = (all, Vec::new());
                    loop {
                        let (page, is_complete) = read(&archives, &ledger, want).await;
                        let next = if is_from_end { page.first() } else { page.last() }.copied();
                        if is_from_end { pages.splice(0..0, page); } else { pages.extend(page); }
                        if is_complete { break; }
                        let next = next.unwrap();
                        want.span = if is_from_end { want.span.before(next) } else { want.span.after(next) };
                    }
                    assert_eq!(pages, expected(&model, &Want { messages_max: 10_000, bytes_max: usize::MAX, ..all }).0);
                }
            }
            archives.delete(account().as_str()).await.unwrap();
            assert!(memory.scan(store::Range::all(), store::Page::rows(1)).await.unwrap().is_empty());
        });
    }
}

async fn read(archives: &Ledgers<Place>, ledger: &Ledger<Place>, want: Want<'_>) -> (Vec<Place>, bool) {
    let found = archives.read(ledger, want).await.unwrap();
    (found.entries.iter().map(|entry| entry.place).collect(), found.is_complete)
}

#[tokio::test]
async fn messages_are_handed_out_in_the_order_of_their_places() {
    let memory: Arc<dyn Store> = Arc::new(Memory::new());
    let archives = ledgers(&memory);
    let ledger = archives.open(&account()).await.unwrap();
    let mut batch = Batch::new();
    let arrival = |now| Arrival { now, chance: now, contact: CONTACTS[0], is_outgoing: false, message: b"x" };
    let places: Vec<Place> = (1..=4).map(|now| ledger.add(&arrival(now), &mut batch).unwrap()).collect();
    memory.commit_durably(batch).await.unwrap();
    assert_eq!(ledger.horizon(), places[0]);
    let all = Want { span: Span::ALL, with: None, messages_max: 9, bytes_max: 999, is_from_end: false };
    assert!(read(&archives, &ledger, all).await.0.is_empty(), "what is on its way is not served");

    let mut out = Vec::new();
    let Landed::Parked(mut third) = ledger.land(places[2], Some(places[2]), |place| out.push(place)) else {
        panic!("two are before it")
    };
    let Landed::Parked(mut second) = ledger.land(places[1], Some(places[1]), |place| out.push(place)) else {
        panic!("one is before it")
    };
    assert!(out.is_empty() && third.try_recv().is_err());
    assert!(matches!(ledger.land(places[0], Some(places[0]), |place| out.push(place)), Landed::Done));
    assert_eq!(out, places[..3], "who comes first brings those who wait");
    assert!(third.try_recv().is_ok() && second.try_recv().is_ok());
    assert!(matches!(ledger.go_on(places[2], |place| out.push(place)), Landed::Done));
    assert_eq!(read(&archives, &ledger, all).await.0, places[..3]);
    assert_eq!(ledger.horizon(), places[3]);
}

#[tokio::test]
async fn who_gives_up_lets_the_others_pass() {
    let memory: Arc<dyn Store> = Arc::new(Memory::new());
    let archives = ledgers(&memory);
    let ledger = archives.open(&account()).await.unwrap();
    let mut batch = Batch::new();
    let arrival = |now| Arrival { now, chance: now, contact: CONTACTS[0], is_outgoing: false, message: b"x" };
    let mut add = |now| ledger.add(&arrival(now), &mut batch).unwrap();
    let (one, two) = (add(1), add(2));
    let Landed::Parked(turn) = ledger.land(two, Some(two), |_| panic!("not yet")) else { panic!("one is before it") };
    ledger.abandon(one);
    turn.await.unwrap();
    let mut out = Vec::new();
    assert!(matches!(ledger.go_on(two, |place| out.push(place)), Landed::Done));
    assert_eq!(out, [two]);
    assert_eq!(ledger.horizon(), Place::LAST);
}

#[tokio::test]
async fn preferences_are_kept_and_the_lists_come_before_the_default() {
    let memory: Arc<dyn Store> = Arc::new(Memory::new());
    let archives = ledgers(&memory);
    let jid = |text: &str| Jid::new(text).unwrap();
    let preferences = Preferences {
        default: Policy::Roster,
        always: vec![jid("romeo@montague.lit"), jid("both@capulet.lit")],
        never: vec![jid("romeo@montague.lit/street"), jid("both@capulet.lit")],
        days_max: 30,
    };
    archives.prefer(&*archives.open(&account()).await.unwrap(), preferences.clone()).await.unwrap();
    let again = ledgers(&memory).open(&account()).await.unwrap().preferences();
    assert_eq!(*again, preferences);
    for (contact, expected) in [
        ("romeo@montague.lit", Policy::Always),
        ("romeo@montague.lit/orchard", Policy::Always),
        ("romeo@montague.lit/street", Policy::Never),
        ("both@capulet.lit/x", Policy::Never),
        ("nurse@capulet.lit", Policy::Roster),
    ] {
        assert_eq!(again.decide(&jid(contact)), expected, "{contact}");
    }
}

#[test]
fn what_is_no_id_is_none() {
    let id = Place { time: 5, chance: 6 }.id();
    for wrong in
        ["", "x", &id[1..], &id.to_uppercase(), &id.replace('a', "1"), &format!("{id}a"), "é23456789012345678901"]
    {
        assert_eq!(Place::parse(wrong), None, "{wrong}");
    }
}

#[tokio::test]
async fn nothing_gets_into_the_archive_of_who_was_removed() {
    let memory: Arc<dyn Store> = Arc::new(Memory::new());
    let archives = ledgers(&memory);
    let ledger = archives.open(&account()).await.unwrap();
    let arrival = Arrival { now: 1, chance: 1, contact: CONTACTS[0], is_outgoing: false, message: b"x" };
    let mut batch = Batch::new();
    ledger.add(&arrival, &mut batch).unwrap();
    let on_its_way = memory.commit(batch);
    archives.delete(account().as_str()).await.unwrap();
    on_its_way.await.unwrap().durable().await.unwrap();
    assert!(memory.scan(store::Range::all(), store::Page::rows(1)).await.unwrap().is_empty());
    assert!(ledger.add(&arrival, &mut Batch::new()).is_none());
}
