//! A session's mailbox: what others want written to its stream, bounded in bytes, woken once.
//!
//! Whoever delivers pushes [`Frame`]s; only the connection's own loop takes them. Nobody waits for a full
//! mailbox: it is closed with `resource-constraint`, so that one slow reader never stalls a publisher.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use xmpp::stream::Condition;
use xmpp::{Jid, xml};

/// One stanza on its way out: whole, or shared by many recipients but for its `to`.
#[derive(Clone, Debug)]
pub enum Frame {
    /// A finished stanza.
    Whole(Bytes),
    /// `<message to='…'` and then bytes that are the same for all recipients.
    Addressed {
        /// What stands before the address, up to and including the quote, as `<message to='`.
        before: &'static str,
        /// The recipient.
        to: Jid,
        /// Everything after the closing quote of the address.
        after: Bytes,
    },
}

impl Frame {
    /// Bytes this frame will take on the wire, near enough to bound a queue by.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Addressed { before, to, after } => before.len() + to.as_str().len() + 1 + after.len(),
        }
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the stanza to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let rest = self.write_own(out);
        out.extend_from_slice(rest);
    }

    /// Appends what is this recipient's own to `out`, and returns what follows it, which many may share.
    pub fn write_own(&self, out: &mut Vec<u8>) -> &Bytes {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Addressed { before, to, after } => {
                out.extend_from_slice(before.as_bytes());
                xml::escape_attr(out, to.as_str());
                out.push(b'\'');
                after
            }
        }
    }
}

/// What the connection loop gets from its mailbox.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Frames were appended to the output.
    Frames,
    /// The stream is to end, with this condition if it is an error; every frame before was taken.
    Close(Option<Condition>),
}

/// The queue between everybody who delivers and the one loop that writes.
#[derive(Debug)]
pub struct Mailbox {
    queue: Mutex<Queue>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    /// Each with the bytes it counts for.
    frames: VecDeque<(Frame, usize)>,
    bytes: usize,
    /// Set once; frames pushed afterwards are refused.
    closing: Option<Option<Condition>>,
    /// The stream ends because it takes too little: what is queued is left for [`Mailbox::drain`].
    is_overflowing: bool,
    waker: Option<Waker>,
}

/// An empty queue keeps at most room for this many frames: an idle session should be small.
const KEPT_FRAMES: usize = 8;

impl Mailbox {
    /// An empty mailbox that holds at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { queue: Mutex::default(), bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues `frame` and wakes the connection.
    ///
    /// Returns whether it was taken. It is not when the mailbox is closed already, or when it is full: then the
    /// stream is closed with `resource-constraint` (RFC 6120 section 4.9.3.17). One frame always fits an empty box.
    pub fn push(&self, frame: Frame) -> bool {
        let len = frame.len();
        self.push_counted(frame, len)
    }

    /// Queues a frame whose bytes are kept elsewhere as long as this one is of use, such as the presence of
    /// somebody who is here. What is shared is not counted, so that a login is not refused to who has many friends.
    pub fn push_shared(&self, frame: Frame) -> bool {
        let own = match &frame {
            Frame::Whole(_) => frame.len(),
            Frame::Addressed { to, .. } => to.as_str().len(),
        };
        self.push_counted(frame, own)
    }

    fn push_counted(&self, frame: Frame, len: usize) -> bool {
        let mut queue = self.lock();
        if queue.closing.is_some() {
            return false;
        }
        let fits = queue.frames.is_empty() || queue.bytes + len <= self.bytes_max;
        if fits {
            queue.bytes += len;
            queue.frames.push_back((frame, len));
        } else {
            queue.is_overflowing = true;
            queue.closing = Some(Some(Condition::ResourceConstraint));
        }
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        fits
    }

    /// Whether `bytes` more leave the box at most half full: for what can wait until there is more room.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let queue = self.lock();
        queue.closing.is_none() && queue.bytes + bytes <= self.bytes_max / 2
    }

    /// Ends the stream after what is queued, with `condition` if it is an error. Later calls change nothing.
    pub fn close(&self, condition: Option<Condition>) {
        let mut queue = self.lock();
        if queue.closing.is_none() {
            queue.closing = Some(condition);
        }
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the stream is ending, so that nothing more is taken.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().closing.is_some()
    }

    /// Appends queued frames to `out` until it holds `mark` bytes, or waits for the first one.
    pub fn poll_take(&self, cx: &mut Context<'_>, out: &mut Vec<u8>, mark: usize) -> Poll<Taken> {
        let mut queue = self.lock();
        if queue.frames.is_empty() || queue.is_overflowing {
            if let Some(condition) = queue.closing {
                return Poll::Ready(Taken::Close(condition));
            }
            match &mut queue.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        while out.len() < mark
            && let Some((frame, counted)) = queue.frames.pop_front()
        {
            queue.bytes = queue.bytes.saturating_sub(counted);
            frame.write(out);
        }
        if queue.frames.is_empty() && queue.frames.capacity() > KEPT_FRAMES {
            queue.frames = VecDeque::new();
        }
        Poll::Ready(Taken::Frames)
    }

    /// Waits for the stream to be told to end with an error. For a loop whose output is full, so that it takes no
    /// frames: a peer that reads nothing must not keep such a stream.
    pub fn poll_failing(&self, cx: &mut Context<'_>) -> Poll<Condition> {
        let mut queue = self.lock();
        if let Some(Some(condition)) = queue.closing {
            return Poll::Ready(condition);
        }
        match &mut queue.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Takes what is left after the stream is gone, so that it can be answered, stored or dropped.
    pub fn drain(&self) -> Vec<Frame> {
        let mut queue = self.lock();
        queue.closing.get_or_insert(None);
        queue.bytes = 0;
        std::mem::take(&mut queue.frames).into_iter().map(|(frame, _)| frame).collect()
    }
}
