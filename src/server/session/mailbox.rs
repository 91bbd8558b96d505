//! A session's mailbox: what others want written to its stream, bounded in bytes, woken once.
//!
//! Whoever delivers pushes [`Frame`]s; only the connection's own loop takes them. Nobody waits for a full
//! mailbox: it is closed with `resource-constraint`, so that one slow reader never stalls a publisher.
//!
//! The loop is not woken for what can wait while the client says that nobody looks at it (XEP-0352), and there is none
//! while the session waits for its client to come back (XEP-0198): then the box only gathers, and of what replaces
//! each other keeps the latest.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;
use xmpp::stream::Condition;

pub use super::frame::Frame;
use super::unacked::Unacked;
use super::urgency::Urgency;
use crate::runtime::{Clock, Timestamp};

/// What the connection loop gets from its mailbox.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Frames were appended to the output.
    Frames,
    /// The stream is to end, with this condition if it is an error; every frame before was taken.
    Close(Option<Condition>),
    /// The stream is to end now, and the session need not.
    Cut(Condition),
}

/// How frames are taken from a session whose client acknowledges them.
#[expect(missing_debug_implementations, reason = "a clock has nothing to show")]
pub struct Keeping<'a> {
    /// Where those go that were written.
    pub unacked: &'a mut Unacked,
    /// When that was.
    pub clock: &'a dyn Clock,
    /// Who says of what was held up that it was.
    pub domain: &'a str,
}

/// The queue between everybody who delivers and the one loop that writes.
#[derive(Debug)]
pub struct Mailbox {
    queue: Mutex<Queue>,
    bytes_max: usize,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Entry>,
    bytes: usize,
    /// Set once; frames pushed afterwards are refused.
    closing: Option<Option<Condition>>,
    /// The stream ends because it takes too little: what is queued is left for [`Mailbox::drain`].
    is_overflowing: bool,
    /// Nobody looks at the client: what can wait does.
    is_inactive: bool,
    /// Something in the box cannot wait, or too much does.
    is_released: bool,
    /// There while there is no loop: what came when.
    gathering: Option<Arc<dyn Clock>>,
    /// Nobody will take from here any more.
    is_over: bool,
    /// The loop is to end, and whoever wants that waits for it.
    cut: Option<Box<Cut>>,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Entry {
    frame: Frame,
    /// The bytes it counts for.
    counted: usize,
    /// When it came, if it has been here longer than it takes to write it; else 0.
    since: Timestamp,
    urgency: Urgency,
}

#[derive(Debug, Default)]
struct Cut {
    condition: Option<Condition>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("frames", &self.frames.len()).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// An empty queue keeps at most room for this many frames: an idle session should be small.
const KEPT_FRAMES: usize = 8;
/// What waits for somebody to look at the client, at most.
const WAITING_FRAMES_MAX: usize = 256;
const WAITING_BYTES_MAX: usize = 64 * 1024;
/// So many of the last frames are looked at for one that a new one replaces.
const REPLACED_AMONG: usize = 256;

impl Queue {
    fn put(&mut self, frame: Frame, counted: usize) {
        let (mut since, mut urgency) = (0, Urgency::Now);
        if self.is_inactive || self.gathering.is_some() {
            urgency = Urgency::of(&frame);
            if let Urgency::Latest(_) = urgency {
                let last = self.frames.len().saturating_sub(REPLACED_AMONG);
                if let Some(at) = self.frames.iter().skip(last).rposition(|entry| entry.urgency == urgency)
                    && let Some(replaced) = self.frames.remove(last + at)
                {
                    self.bytes = self.bytes.saturating_sub(replaced.counted);
                }
            }
            since = self.gathering.as_ref().map_or(0, |clock| clock.now());
        }
        self.bytes += counted;
        self.frames.push_back(Entry { frame, counted, since, urgency });
        let is_much = self.frames.len() >= WAITING_FRAMES_MAX || self.bytes >= WAITING_BYTES_MAX;
        self.is_released |= urgency == Urgency::Now || is_much;
    }

    /// Whether what is here waits for something that cannot.
    const fn is_waiting(&self) -> bool {
        self.is_inactive && !self.is_released && self.closing.is_none()
    }

    fn watch(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    fn cut_with(&self) -> Option<Condition> {
        self.cut.as_ref().and_then(|cut| cut.condition)
    }

    fn wake(mut queue: MutexGuard<'_, Self>) {
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Puts frames in front that were written and not acknowledged.
    fn put_back(&mut self, unacked: VecDeque<(Frame, Timestamp)>) {
        for (frame, since) in unacked.into_iter().rev() {
            let counted = frame.len();
            self.bytes += counted;
            // The client counts them: none may be replaced.
            self.frames.push_front(Entry { frame, counted, since, urgency: Urgency::Now });
        }
    }
}

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
            queue.put(frame, len);
        } else {
            queue.is_overflowing = true;
            queue.closing = Some(Some(Condition::ResourceConstraint));
        }
        if !queue.is_waiting() {
            Queue::wake(queue);
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
        queue.closing.get_or_insert(condition);
        Queue::wake(queue);
    }

    /// Whether the stream is ending, so that nothing more is taken.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().closing.is_some()
    }

    /// Appends queued frames to `out` until it holds `mark` bytes, or waits for the first one.
    pub fn poll_take(&self, cx: &mut Context<'_>, out: &mut Vec<u8>, mark: usize) -> Poll<Taken> {
        self.poll_take_keeping(cx, out, mark, None)
    }

    /// The same, and what is taken is kept until it is acknowledged, as far as its window is open.
    pub fn poll_take_keeping(
        &self,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
        mark: usize,
        mut keeping: Option<Keeping<'_>>,
    ) -> Poll<Taken> {
        let mut queue = self.lock();
        if let Some(condition) = queue.cut_with() {
            return Poll::Ready(Taken::Cut(condition));
        }
        let is_shut = keeping.as_ref().is_some_and(|keeping| keeping.unacked.is_full());
        if queue.frames.is_empty() || queue.is_overflowing || is_shut || queue.is_waiting() {
            if let Some(condition) = queue.closing {
                return Poll::Ready(Taken::Close(condition));
            }
            queue.watch(cx);
            return Poll::Pending;
        }
        while out.len() < mark
            && !keeping.as_ref().is_some_and(|keeping| keeping.unacked.is_full())
            && let Some(Entry { mut frame, counted, since, .. }) = queue.frames.pop_front()
        {
            queue.bytes = queue.bytes.saturating_sub(counted);
            if let Some(keeping) = &mut keeping {
                if since > 0 {
                    frame = frame.delayed(keeping.domain, since);
                }
                frame.write(out);
                keeping.unacked.push(frame, if since > 0 { since } else { keeping.clock.now() });
            } else {
                frame.write(out);
            }
        }
        if queue.frames.is_empty() {
            queue.is_released = false;
            if queue.frames.capacity() > KEPT_FRAMES {
                queue.frames = VecDeque::new();
            }
        }
        Poll::Ready(Taken::Frames)
    }

    /// Waits for the stream to be told to end with an error, or at once. For a loop whose output is full, so that it
    /// takes no frames: a peer that reads nothing must not keep such a stream.
    pub fn poll_failing(&self, cx: &mut Context<'_>) -> Poll<Taken> {
        let mut queue = self.lock();
        if let Some(condition) = queue.cut_with() {
            return Poll::Ready(Taken::Cut(condition));
        }
        if let Some(Some(condition)) = queue.closing {
            return Poll::Ready(Taken::Close(Some(condition)));
        }
        queue.watch(cx);
        Poll::Pending
    }

    /// Takes what is left after the stream is gone, so that it can be answered, stored or dropped; each with the time
    /// since when it was held up, or 0.
    pub fn drain(&self) -> Vec<(Frame, Timestamp)> {
        let mut queue = self.lock();
        queue.closing.get_or_insert(None);
        queue.bytes = 0;
        std::mem::take(&mut queue.frames).into_iter().map(|entry| (entry.frame, entry.since)).collect()
    }

    /// What is here, with the times since when, and left here: to be remembered over a restart.
    #[must_use]
    pub fn copy(&self) -> Vec<(Frame, Timestamp)> {
        self.lock().frames.iter().map(|entry| (entry.frame.clone(), entry.since)).collect()
    }

    /// Puts frames in front that were written and not acknowledged, each with when it came.
    pub fn put_back(&self, unacked: VecDeque<(Frame, Timestamp)>) {
        self.lock().put_back(unacked);
    }

    /// Nobody looks at the client any more, or somebody does again (XEP-0352): then what waited is written.
    pub fn set_inactive(&self, is_inactive: bool) {
        let mut queue = self.lock();
        queue.is_inactive = is_inactive;
        queue.is_released = !queue.frames.is_empty();
        if !is_inactive {
            Queue::wake(queue);
        }
    }

    /// Whether nobody looks at the client.
    #[must_use]
    pub fn is_inactive(&self) -> bool {
        self.lock().is_inactive
    }

    /// The client is awake at the moment, so what waits need not: called by its own loop, which looks here next.
    pub fn release(&self) {
        let mut queue = self.lock();
        queue.is_released |= !queue.frames.is_empty();
    }

    /// Ends the stream now, with `condition`; the session may outlive it. What is returned resolves when the stream has
    /// let go of the session; `None` if it has none.
    pub fn cut(&self, condition: Condition) -> Option<oneshot::Receiver<()>> {
        let mut queue = self.lock();
        if queue.gathering.is_some() || queue.is_over {
            return None;
        }
        let (done, waiting) = oneshot::channel();
        let cut = queue.cut.get_or_insert_default();
        cut.condition.get_or_insert(condition);
        cut.waiting.push(done);
        Queue::wake(queue);
        Some(waiting)
    }

    /// Resolves when the stream has let go of the session; `None` if it has none.
    pub fn let_go(&self) -> Option<oneshot::Receiver<()>> {
        let mut queue = self.lock();
        if queue.gathering.is_some() || queue.is_over {
            return None;
        }
        let (done, waiting) = oneshot::channel();
        queue.cut.get_or_insert_default().waiting.push(done);
        Some(waiting)
    }

    /// The stream is gone, and the session waits for its client to come back. `unacked` was written and not
    /// acknowledged. `false` if the session is to end meanwhile.
    pub fn detach(&self, unacked: VecDeque<(Frame, Timestamp)>, clock: &Arc<dyn Clock>) -> bool {
        let mut queue = self.lock();
        let now = clock.now();
        for entry in queue.frames.iter_mut().filter(|entry| entry.since == 0) {
            entry.since = now;
        }
        queue.put_back(unacked);
        queue.is_inactive = false;
        if queue.closing.is_some() {
            return false;
        }
        queue.gathering = Some(Arc::clone(clock));
        queue.waker = None;
        queue.cut = None;
        true
    }

    /// The client came back. It has handled the first `acked` of the frames that were put back.
    pub fn attach(&self, acked: u32) {
        let mut queue = self.lock();
        for _ in 0..acked {
            let Some(entry) = queue.frames.pop_front() else { break };
            queue.bytes = queue.bytes.saturating_sub(entry.counted);
        }
        queue.gathering = None;
        queue.is_inactive = false;
        queue.cut = None;
    }

    /// The session is over: whoever waits for that need not any more.
    pub fn finish(&self) {
        let mut queue = self.lock();
        queue.closing.get_or_insert(None);
        queue.is_over = true;
        queue.cut = None;
    }
}

#[cfg(test)]
#[path = "mailbox_test.rs"]
mod tests;
