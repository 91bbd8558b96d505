//! The mailbox by itself: what waits, what is replaced, what is kept until it is acknowledged, and who is told of the end.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use super::*;
use crate::runtime::SimulatedClock;
use crate::session::unacked::Window;

const MESSAGE: &str = "<message from='d@e/f' to='a@b/c'><body>x</body></message>";

fn presence(show: &str) -> Frame {
    Frame::Whole(format!("<presence from='d@e/f' to='a@b/c'><show>{show}</show></presence>").into())
}

fn take(mailbox: &Mailbox) -> Option<String> {
    let mut out = Vec::new();
    match mailbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut out, usize::MAX) {
        Poll::Ready(Taken::Frames) => Some(String::from_utf8(out).unwrap()),
        _ => None,
    }
}

#[test]
fn what_can_wait_does_while_nobody_looks() {
    let mailbox = Mailbox::new(1 << 20);
    mailbox.push(presence("before"));
    mailbox.set_inactive(true);
    assert!(take(&mailbox).unwrap().contains("before"), "what came earlier is on its way");
    for show in ["one", "two", "three"] {
        mailbox.push(presence(show));
    }
    assert_eq!(take(&mailbox), None);
    mailbox.push(Frame::Whole(MESSAGE.into()));
    let said = take(&mailbox).unwrap();
    assert!(said.starts_with("<presence") && said.contains("three") && said.ends_with(MESSAGE), "{said}");
    assert!(!said.contains("one") && !said.contains("two"), "{said}");
    mailbox.push(presence("four"));
    assert_eq!(take(&mailbox), None);
    mailbox.release();
    assert!(take(&mailbox).unwrap().contains("four"), "the client is awake at the moment");
    mailbox.push(presence("five"));
    mailbox.set_inactive(false);
    assert!(take(&mailbox).unwrap().contains("five"));
}

#[test]
fn what_waits_is_bounded_and_ends_with_the_stream() {
    let mailbox = Mailbox::new(1 << 20);
    mailbox.set_inactive(true);
    for number in 0..WAITING_FRAMES_MAX {
        assert_eq!(take(&mailbox), None);
        mailbox.push(Frame::Whole(format!("<presence from='d@e/{number}' to='a@b/c'/>").into()));
    }
    assert!(take(&mailbox).is_some());
    mailbox.push(presence("last"));
    mailbox.close(None);
    assert!(take(&mailbox).unwrap().contains("last"));
}

#[test]
fn no_more_is_written_than_may_be_unacknowledged() {
    let mailbox = Mailbox::new(1 << 20);
    let clock = SimulatedClock::new(7);
    let mut unacked = Unacked::new(Window { frames_max: 3, bytes_max: 1 << 20 });
    for _ in 0..5 {
        mailbox.push(Frame::Whole(MESSAGE.into()));
    }
    let poll = |unacked: &mut Unacked| {
        let mut out = Vec::new();
        let keeping = Keeping { unacked, clock: &clock, domain: "b" };
        let mut cx = Context::from_waker(Waker::noop());
        let taken = mailbox.poll_take_keeping(&mut cx, &mut out, usize::MAX, Some(keeping));
        (taken.is_ready(), out.len() / MESSAGE.len())
    };
    assert_eq!(poll(&mut unacked), (true, 3));
    assert_eq!(poll(&mut unacked), (false, 0));
    unacked.acked(1);
    assert_eq!(poll(&mut unacked), (true, 1));
    unacked.acked(3);
    assert_eq!(poll(&mut unacked), (true, 1));
    assert!(unacked.into_frames().iter().all(|(_, since)| *since == 7));
}

#[test]
fn a_session_without_a_stream_gathers_and_forgets_what_was_handled() {
    let mailbox = Mailbox::new(1 << 20);
    let clock = Arc::new(SimulatedClock::new(1_000_000));
    let dyn_clock = Arc::clone(&clock) as Arc<dyn Clock>;
    mailbox.push(presence("queued"));
    let unacked = ["a", "b", "c"].map(|show| (presence(show), 5)).into();
    assert!(mailbox.detach(unacked, &dyn_clock));
    assert!(mailbox.cut(Condition::Conflict).is_none(), "there is no stream to end");
    clock.advance(Duration::from_secs(1));
    mailbox.push(presence("d"));
    mailbox.push(presence("e"));
    let copy: Vec<u64> = mailbox.copy().into_iter().map(|(_, since)| since).collect();
    assert_eq!(copy, [5, 5, 5, 1_000_000, 2_000_000], "only what came while it gathered is replaced");
    mailbox.attach(2);
    let said = take(&mailbox).unwrap();
    assert_eq!(said.matches("<presence").count(), 3);
    assert!(said.contains('c') && said.contains("queued") && said.contains("<show>e"), "{said}");
}

#[test]
fn who_cuts_a_stream_learns_when_it_has_let_go() {
    let mailbox = Mailbox::new(1 << 20);
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(1));
    let mut first = mailbox.cut(Condition::Conflict).unwrap();
    let mut second = mailbox.cut(Condition::SystemShutdown).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let taken = mailbox.poll_take(&mut cx, &mut Vec::new(), 1);
    assert_eq!(taken, Poll::Ready(Taken::Cut(Condition::Conflict)));
    assert_eq!(mailbox.poll_failing(&mut cx), Poll::Ready(Taken::Cut(Condition::Conflict)));
    let is_over =
        |waiting: &mut oneshot::Receiver<()>| !matches!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    assert!(!is_over(&mut first) && !is_over(&mut second));
    assert!(mailbox.detach(VecDeque::new(), &clock));
    assert!(is_over(&mut first) && is_over(&mut second));
    mailbox.attach(0);
    assert!(mailbox.poll_take(&mut cx, &mut Vec::new(), 1).is_pending(), "the next stream is not meant");
    mailbox.close(None);
    let mut third = mailbox.cut(Condition::Conflict).unwrap();
    assert!(!mailbox.detach(VecDeque::new(), &clock), "it ends");
    assert!(!is_over(&mut third));
    mailbox.finish();
    assert!(is_over(&mut third) && mailbox.cut(Condition::Conflict).is_none());
}

#[test]
fn what_is_too_much_ends_it_with_a_stream_or_without() {
    let mailbox = Mailbox::new(200);
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(1));
    assert!(mailbox.detach([(Frame::Whole(MESSAGE.into()), 1)].into(), &clock));
    while mailbox.push(Frame::Whole(MESSAGE.into())) {}
    assert!(mailbox.is_closed());
    assert!(mailbox.drain().len() > 1, "nothing is lost");
}
