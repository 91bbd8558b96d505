//! A loop waits for a peer that takes only some of its output: it neither spins nor gathers more and more.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use xmpp::FullJid;
use xmpp::stream::{Seed, Settings};

use super::*;
use crate::config::ResourceConflict;
use crate::runtime::SystemClock;
use crate::session::{SessionLimits, Sessions};

/// Says nothing, and takes so many bytes as there is room for.
struct Narrow {
    room: Arc<AtomicUsize>,
    taken: usize,
}

impl AsyncRead for Narrow {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Narrow {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let count = buf.len().min(self.room.load(Ordering::Relaxed));
        if count == 0 {
            return Poll::Pending;
        }
        assert!(buf[..count].iter().enumerate().all(|(at, byte)| *byte == ((self.taken + at) % 251) as u8));
        self.taken += count;
        self.room.fetch_sub(count, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_peer_that_takes_a_little_at_a_time_is_waited_for() {
    let room = Arc::new(AtomicUsize::new(0));
    let seed = Seed { stream_id: "1".into(), nonce: "2".into() };
    let stream = Stream::accept(Arc::new(Settings::new(["capulet.lit".to_owned()])), seed, None);
    let mut connection = Connection::new(Box::new(Narrow { room: Arc::clone(&room), taken: 0 }), stream);
    let sessions = Sessions::new(SessionLimits { sessions_per_account_max: 1, mailbox_bytes_max: 1 << 20 });
    let jid = FullJid::new("romeo@capulet.lit/orchard").unwrap();
    let session = sessions.bind(jid, ResourceConflict::Replace, 0, String::new).unwrap();
    let window = Window { frames_max: 1, bytes_max: 1 };
    let talk = Talk { session: &session, clock: &SystemClock, window };
    let mut given = 0;
    for _ in 0..1_000 {
        while session.mailbox.has_room(1_000) {
            let bytes: Vec<u8> = (given..given + 1_000).map(|at| (at % 251) as u8).collect();
            assert!(session.mailbox.push(Frame::Whole(bytes.into())));
            given += 1_000;
        }
        room.store(7_001, Ordering::Relaxed);
        assert!(connection.poll(&mut Context::from_waker(Waker::noop()), Some(talk)).is_pending());
        assert_eq!(room.load(Ordering::Relaxed), 0, "it was written what could be");
        assert!(connection.out.len() < 2 * OUTPUT_MARK + 1_000, "{}", connection.out.len());
    }
}
