//! Output leaves in its order, however little of it the transport takes at once.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use xmpp::Jid;

use super::*;

/// Takes up to so many bytes at once, of several pieces or of one.
struct Sip {
    bytes_max: usize,
    is_vectored: bool,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Sip {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Sip {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let count = buf.len().min(self.bytes_max);
        self.taken.lock().unwrap().extend_from_slice(&buf[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = match self.is_vectored {
            true => bufs.iter().flat_map(|buf| buf.iter().copied()).collect(),
            false => bufs.iter().find(|buf| !buf.is_empty()).map_or_else(Vec::new, |buf| buf.to_vec()),
        };
        self.poll_write(cx, &all)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn frames() -> Vec<Frame> {
    let shared = Bytes::from("x".repeat(SHARED_BYTES_MIN) + "</message>");
    let to = |n: usize| Jid::new(&format!("f{n}@far.example")).unwrap();
    let addressed = |n, after: &Bytes| Frame::Addressed { before: "<message to='", to: to(n), after: after.clone() };
    let short = Bytes::from_static(b"><body/></message>");
    let mut frames = vec![Frame::Whole(shared.clone()), Frame::Whole(short.clone())];
    frames.extend((0..100).map(|n| addressed(n, if n % 7 == 3 { &short } else { &shared })));
    frames.push(Frame::Whole(shared));
    frames
}

#[test]
fn everything_leaves_in_its_order() {
    let expected: Vec<u8> = frames().iter().fold(Vec::new(), |mut out, frame| {
        frame.write(&mut out);
        out
    });
    for bytes_max in [1, 7, 64, SHARED_BYTES_MIN, SHARED_BYTES_MIN + 20, 100_000] {
        for is_vectored in [true, false] {
            let taken = Arc::default();
            let mut wire = Wire::new(Box::new(Sip { bytes_max, is_vectored, taken: Arc::clone(&taken) }));
            let ends: Vec<u64> = frames().iter().map(|frame| wire.write(frame)).collect();
            assert_eq!(wire.waiting(), expected.len());
            wire.poll_write(&mut Context::from_waker(std::task::Waker::noop())).unwrap();
            assert_eq!((wire.waiting(), wire.flushed()), (0, expected.len() as u64));
            assert_eq!(ends.last(), Some(&wire.flushed()));
            assert!(*taken.lock().unwrap() == expected, "{bytes_max} bytes at once, vectored: {is_vectored}");
        }
    }
}
