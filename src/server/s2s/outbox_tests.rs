//! Outboxes against a model: order, bounds, one carrier at a time, nothing lost and nothing twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use bytes::Bytes;
use proptest::prelude::*;
use xmpp::Jid;

use super::*;

fn frame(number: u32) -> Frame {
    Frame::Whole(Bytes::from(number.to_be_bytes().repeat(10)))
}

fn number(queued: &Queued) -> u32 {
    let Frame::Whole(bytes) = &queued.frame else { panic!("not ours") };
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

const COST: usize = 40 + FRAME_BYTES;

fn take(outbox: &Outbox, by: CarrierId, count: usize) -> Vec<Queued> {
    let mut taken = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    let _pending = outbox.poll_take(&mut cx, by, |queued| {
        taken.push(queued);
        taken.len() < count
    });
    taken
}

#[derive(Clone, Debug)]
enum Act {
    Push,
    Take(CarrierId, usize),
    PutBack(usize),
    Claim(CarrierId),
    Link(CarrierId),
    Settle(CarrierId),
    Release(CarrierId),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Push),
        3 => (1_u64..4, 1_usize..5).prop_map(|(by, count)| Act::Take(by, count)),
        1 => (0_usize..4).prop_map(Act::PutBack),
        1 => (1_u64..4).prop_map(Act::Claim),
        2 => (1_u64..4).prop_map(Act::Link),
        1 => (1_u64..4).prop_map(Act::Settle),
        1 => (1_u64..4).prop_map(Act::Release),
    ]
}

proptest! {
    /// Whoever takes, and whatever is put back: what leaves for good is what was accepted, in that order, once.
    #[test]
    fn what_was_accepted_leaves_in_order_and_once(acts in prop::collection::vec(act(), 0..200)) {
        let outbox = Outbox::new("capulet.lit", "montague.lit", COST * 8, 0);
        let (mut accepted, mut gone, mut next) = (Vec::new(), Vec::new(), 0);
        let mut carrier: Option<(CarrierId, bool)> = None;
        for act in acts {
            match act {
                Act::Push => {
                    let waits = outbox.waiting();
                    match outbox.push(frame(next), 0) {
                        Ok(pushed) => {
                            prop_assert!(waits.stanzas == 0 || waits.bytes + COST <= COST * 8);
                            prop_assert_eq!(pushed == Pushed::Forlorn, carrier.is_none());
                            accepted.push(next);
                        }
                        Err(error) => {
                            prop_assert_eq!(error.condition, xmpp::stanza::Condition::ResourceConstraint);
                            prop_assert!(waits.bytes + COST > COST * 8);
                        }
                    }
                    next += 1;
                }
                Act::Take(by, count) => {
                    let taken = take(&outbox, by, count);
                    prop_assert!(taken.is_empty() || outbox.waiting().road == Road::Linked(by));
                    gone.extend(taken);
                }
                Act::PutBack(count) => {
                    let back: Vec<_> = gone.split_off(gone.len().saturating_sub(count));
                    outbox.put_back(back.into_iter());
                }
                Act::Claim(by) => {
                    if outbox.claim(by) {
                        prop_assert!(carrier.is_none());
                        carrier = Some((by, false));
                    }
                }
                Act::Link(by) => {
                    let may = outbox.link(by);
                    prop_assert_eq!(may, carrier.is_none_or(|(other, is_firm)| other == by || !is_firm));
                    if may {
                        carrier = Some((by, true));
                    }
                }
                Act::Settle(by) => {
                    outbox.settle(by);
                    if let Some((other, is_firm)) = &mut carrier
                        && *other == by
                    {
                        *is_firm = true;
                    }
                }
                Act::Release(by) => {
                    let released = outbox.release(by);
                    if carrier.is_some_and(|(other, _)| other == by) {
                        carrier = None;
                        prop_assert_eq!(released == Pushed::Forlorn, !outbox.is_empty());
                    } else {
                        prop_assert_eq!(released, Pushed::Carried);
                    }
                }
            }
            prop_assert_eq!(outbox.waiting().bytes, outbox.waiting().stanzas * COST);
        }
        gone.extend(outbox.drain());
        prop_assert_eq!(gone.iter().map(number).collect::<Vec<_>>(), accepted);
    }
}

#[test]
fn ten_thousand_notifications_of_one_post_fit() {
    let outbox = Outbox::new("capulet.lit", "montague.lit", 8 << 20, 0);
    let after = Bytes::from(vec![b'x'; 100_000]);
    for number in 0..10_000 {
        let to = Jid::new(&format!("follower{number}@montague.lit")).unwrap();
        outbox.push(Frame::Addressed { before: "<message to='", to, after: after.clone() }, 0).unwrap();
    }
    assert!(outbox.waiting().bytes < 2 << 20);
    // Posts that share nothing count in full.
    let others = (0..100).map(|_| {
        let to = Jid::new("follower@montague.lit").unwrap();
        Frame::Addressed { before: "<message to='", to, after: Bytes::from(vec![b'x'; 100_000]) }
    });
    let refused = others.map(|frame| outbox.push(frame, 0)).filter(Result::is_err).count();
    assert!(refused > 20, "{refused}");
}

#[test]
fn after_giving_up_senders_are_told_at_once_and_for_a_while() {
    let outbox = Outbox::new("capulet.lit", "montague.lit", COST * 8, 0);
    assert_eq!(outbox.push(frame(0), 10).unwrap(), Pushed::Forlorn);
    assert!(outbox.claim(1) && !outbox.claim(2));
    assert_eq!(outbox.push(frame(1), 20).unwrap(), Pushed::Carried);
    assert_eq!(outbox.expire(15).iter().map(number).collect::<Vec<_>>(), [0]);
    let left = outbox.refuse(1, 100, StanzaError::remote_server_timeout());
    assert_eq!(left.iter().map(number).collect::<Vec<_>>(), [1]);
    assert_eq!(outbox.push(frame(2), 99).unwrap_err(), StanzaError::remote_server_timeout());
    assert_eq!(outbox.push(frame(3), 100).unwrap(), Pushed::Forlorn);
    assert!(!outbox.is_stale(1_000, 1_000), "something waits");
    drop(outbox.drain());
    assert!(outbox.is_stale(1_000, 1_000) && !outbox.is_stale(1_000, 50));
}

#[test]
fn a_link_that_is_there_takes_over_from_one_that_dials_and_not_from_one_that_settles() {
    let outbox = Outbox::new("capulet.lit", "montague.lit", COST * 8, 0);
    assert!(outbox.claim(1) && outbox.link(2));
    assert!(!outbox.is_carried_by(1) && !outbox.link(1));
    outbox.settle(2);
    assert!(!outbox.link(3));
    assert!(take(&outbox, 2, 1).is_empty());
    assert!(outbox.hand_over(2, 3) && outbox.link(3));
    assert_eq!(outbox.release(2), Pushed::Carried);
    assert!(outbox.is_carried_by(3));
}
