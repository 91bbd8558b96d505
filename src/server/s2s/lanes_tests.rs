//! Lanes against a model: order by pair, the prefix that is done, and bounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;
use tokio::sync::oneshot;
use xmpp::stanza::{Kind, MessageType};

use super::*;

/// What the handler did: (sender, stanza) begun and ended, in order; and the stanzas that wait to be let go.
#[derive(Default)]
struct Desk {
    begun: Vec<(u8, u64)>,
    ended: Vec<(u8, u64)>,
    held: HashMap<u64, oneshot::Sender<()>>,
}

fn stanza(sender: u8, number: u64) -> Stanza {
    Stanza::new(Kind::Message(MessageType::Chat))
        .from(Jid::new(&format!("s{sender}@montague.lit/r{number}")).unwrap())
        .to(Jid::new("juliet@capulet.lit").unwrap())
        .id(number.to_string())
}

/// Lanes whose handler waits for each odd stanza to be let go.
fn lanes() -> (Lanes, Arc<Mutex<Desk>>) {
    let desk = Arc::new(Mutex::new(Desk::default()));
    let seen = Arc::clone(&desk);
    let lanes = Lanes::new(move |stanza| {
        let seen = Arc::clone(&seen);
        Box::pin(async move {
            let number: u64 = stanza.head.id.unwrap().parse().unwrap();
            let from = stanza.head.from.unwrap();
            let sender: u8 = from.localpart().unwrap()[1..].parse().unwrap();
            seen.lock().unwrap().begun.push((sender, number));
            if number % 2 == 1 {
                let (free, held) = oneshot::channel();
                seen.lock().unwrap().held.insert(number, free);
                held.await.ok();
            }
            seen.lock().unwrap().ended.push((sender, number));
        })
    });
    (lanes, desk)
}

fn poll(lanes: &mut Lanes) -> u64 {
    match lanes.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => u64::from(done),
        Poll::Pending => 0,
    }
}

proptest! {
    #[test]
    fn pairs_keep_their_order_and_the_prefix_is_what_is_done(
        acts in prop::collection::vec(prop_oneof![2 => (0_u8..6).prop_map(Some), 1 => Just(None)], 0..300),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 300),
    ) {
        let (mut lanes, desk) = lanes();
        let (mut taken, mut done, mut picks) = (0, 0, picks.into_iter());
        let let_go = |pick: prop::sample::Index| {
            let mut desk = desk.lock().unwrap();
            let mut held: Vec<u64> = desk.held.keys().copied().collect();
            held.sort_unstable();
            if !held.is_empty() {
                let number = held[pick.index(held.len())];
                drop(desk.held.remove(&number));
            }
        };
        for act in acts {
            match act {
                Some(sender) if lanes.has_room() => {
                    lanes.take(stanza(sender, taken));
                    taken += 1;
                }
                _ => let_go(picks.next().unwrap()),
            }
            done += poll(&mut lanes);
            let ended = desk.lock().unwrap().ended.clone();
            let prefix = (0..taken).take_while(|number| ended.iter().any(|(_, ended)| ended == number)).count();
            prop_assert_eq!(done, prefix as u64);
            prop_assert_eq!(lanes.unfinished(), taken - ended.len() as u64);
        }
        while lanes.unfinished() > 0 {
            let Some(number) = desk.lock().unwrap().held.keys().next().copied() else { panic!("stuck") };
            drop(desk.lock().unwrap().held.remove(&number));
            done += poll(&mut lanes);
        }
        prop_assert_eq!(done, taken);
        let desk = desk.lock().unwrap();
        for sender in 0..6 {
            let of = |list: &[(u8, u64)]| list.iter().filter(|(who, _)| *who == sender).map(|(_, n)| *n).collect::<Vec<_>>();
            prop_assert!(of(&desk.begun).is_sorted());
            prop_assert_eq!(of(&desk.begun), of(&desk.ended));
        }
        prop_assert!(lanes.behind.is_empty() && lanes.free == u64::MAX && lanes.waiting == 0 && lanes.waiting_bytes == 0);
    }
}

#[test]
fn one_slow_pair_fills_its_lane_and_others_pass_until_then() {
    let (mut lanes, desk) = lanes();
    let mut number = 1;
    lanes.take(stanza(0, number));
    for _ in 0..WAITING_MAX {
        assert!(lanes.has_room());
        number += 2;
        lanes.take(stanza(0, number));
        if lanes.has_room() {
            lanes.take(stanza(1, number + 1));
        }
    }
    assert!(!lanes.has_room());
    assert_eq!(desk.lock().unwrap().ended.len(), WAITING_MAX - 1, "the others passed");
    assert_eq!(poll(&mut lanes), 0, "and wait to be counted");
}

#[test]
fn there_is_room_for_so_many_pairs() {
    let (mut lanes, desk) = lanes();
    for sender in 0..LANES_MAX {
        assert!(lanes.has_room());
        lanes.take(stanza(u8::try_from(sender).unwrap(), sender as u64 * 2 + 1));
    }
    assert!(!lanes.has_room());
    desk.lock().unwrap().held.remove(&1);
    assert_eq!(poll(&mut lanes), 1);
    assert!(lanes.has_room());
}

#[test]
fn room_is_told_of_also_when_the_first_is_not_done() {
    let (mut lanes, desk) = lanes();
    for sender in 0..LANES_MAX {
        lanes.take(stanza(u8::try_from(sender).unwrap(), sender as u64 * 2 + 1));
    }
    let mut poll = || lanes.poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(poll(), Poll::Pending);
    desk.lock().unwrap().held.remove(&3);
    assert_eq!(poll(), Poll::Ready(0), "the second is done, which counts for nothing yet");
    assert_eq!(poll(), Poll::Pending, "it is said once");
    desk.lock().unwrap().held.remove(&1);
    assert_eq!(poll(), Poll::Ready(2));
}

#[test]
fn a_panic_is_the_end_of_one_stanza_and_of_nothing_else() {
    let mut lanes = Lanes::new(|stanza| {
        Box::pin(async move {
            assert_ne!(stanza.head.id.as_deref(), Some("0"), "on purpose");
        })
    });
    lanes.take(stanza(0, 0));
    lanes.take(stanza(0, 1));
    assert_eq!(poll(&mut lanes), 2);
}
