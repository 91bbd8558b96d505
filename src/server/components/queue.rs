//! What waits for one connection of a component: bounded in bytes, refusing the newest, woken once.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use xmpp::stream::StreamError;

use crate::session::mailbox::Frame;

/// What each frame costs beside its bytes.
const FRAME_BYTES: usize = 96;

/// Between everybody who has something for the component and the one loop that writes.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Set once; what comes afterwards is refused.
    closing: Option<Option<StreamError>>,
    waker: Option<Waker>,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no room.
    Full,
    /// The stream is ending.
    Closed,
}

/// What the loop gets.
#[derive(Debug)]
pub(super) enum Taken {
    /// A stanza.
    Frame(Frame),
    /// The stream is to end.
    Close(Option<StreamError>),
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { inner: Mutex::default(), bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a stanza, unless there is no room for it. One always fits an empty queue.
    pub(super) fn push(&self, frame: Frame) -> Result<(), (Refused, Frame)> {
        let cost = frame.len() + FRAME_BYTES;
        let mut inner = self.lock();
        if inner.closing.is_some() {
            return Err((Refused::Closed, frame));
        }
        if !inner.frames.is_empty() && inner.bytes + cost > self.bytes_max {
            return Err((Refused::Full, frame));
        }
        inner.bytes += cost;
        inner.frames.push_back(frame);
        wake(inner);
        Ok(())
    }

    /// Ends the stream. Later calls change nothing.
    pub(super) fn close(&self, error: Option<StreamError>) {
        let mut inner = self.lock();
        inner.closing.get_or_insert(error);
        wake(inner);
    }

    /// Takes the next stanza, or waits for one. What is queued comes before the end, but not before an end by error.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Taken> {
        let mut inner = self.lock();
        let is_failing = matches!(inner.closing, Some(Some(_)));
        if !is_failing && let Some(frame) = inner.frames.pop_front() {
            inner.bytes = inner.bytes.saturating_sub(frame.len() + FRAME_BYTES);
            if inner.frames.is_empty() {
                inner.frames = VecDeque::new();
            }
            return Poll::Ready(Taken::Frame(frame));
        }
        drop(inner);
        self.poll_close(cx).map(Taken::Close)
    }

    /// Waits for the end alone: for a loop whose output is full.
    pub(super) fn poll_close(&self, cx: &mut Context<'_>) -> Poll<Option<StreamError>> {
        let mut inner = self.lock();
        if let Some(error) = &inner.closing {
            return Poll::Ready(error.clone());
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Takes what is left when the stream is over.
    pub(super) fn drain(&self) -> VecDeque<Frame> {
        let mut inner = self.lock();
        inner.closing.get_or_insert(None);
        inner.bytes = 0;
        std::mem::take(&mut inner.frames)
    }

    /// How many stanzas wait, and bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.frames.len(), inner.bytes)
    }
}

fn wake(mut inner: MutexGuard<'_, Inner>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use bytes::Bytes;
    use xmpp::stream::Condition;

    #[test]
    fn the_newest_is_refused_and_what_waits_leaves_before_a_polite_end() {
        let queue = Queue::new(300);
        let frame = || Frame::Whole(Bytes::from_static(b"<presence/>"));
        let large = Frame::Whole(vec![b'x'; 1000].into());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(queue.push(large).is_ok(), "one always fits");
        assert_eq!(queue.push(frame()).unwrap_err().0, Refused::Full);
        assert!(matches!(queue.poll_take(&mut cx), Poll::Ready(Taken::Frame(_))));
        assert!(queue.poll_take(&mut cx).is_pending());
        assert!(queue.push(frame()).is_ok() && queue.push(frame()).is_ok());
        assert_eq!(queue.waiting(), (2, 2 * (11 + FRAME_BYTES)));
        queue.close(None);
        assert_eq!(queue.push(frame()).unwrap_err().0, Refused::Closed);
        assert!(matches!(queue.poll_take(&mut cx), Poll::Ready(Taken::Frame(_))));
        assert_eq!(queue.drain().len(), 1);
        assert!(matches!(queue.poll_take(&mut cx), Poll::Ready(Taken::Close(None))));
    }

    #[test]
    fn an_error_does_not_wait_for_what_is_queued() {
        let queue = Queue::new(300);
        let mut cx = Context::from_waker(Waker::noop());
        queue.push(Frame::Whole(Bytes::from_static(b"<presence/>"))).unwrap();
        queue.close(Some(Condition::Conflict.into()));
        let Poll::Ready(Taken::Close(Some(error))) = queue.poll_take(&mut cx) else { panic!("no end") };
        assert_eq!(error.condition, Condition::Conflict);
        assert_eq!(queue.drain().len(), 1);
    }
}
