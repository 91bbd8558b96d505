//! What was written to a stream and has not been acknowledged (XEP-0198 section 4): the frames themselves, which share
//! their bytes with whoever else they go to, and when to ask for an acknowledgement.
//!
//! A connection has one only if its client wants stanzas acknowledged. It asks for that when something was written that
//! matters, or enough of what does not, and then not again before there is an answer. When too much has not been
//! acknowledged, nothing more is written until some of it is: the mailbox has its bound, and what ends there.

use std::collections::VecDeque;

use super::frame::Frame;
use crate::runtime::Timestamp;

/// Frames that matter little, after which an acknowledgement is asked for.
const ASK_AFTER_FRAMES: usize = 8;
/// Bytes of them.
const ASK_AFTER_BYTES: usize = 16 * 1024;

/// Bounds on what has not been acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Stanzas; at least 1.
    pub frames_max: usize,
    /// Bytes; one stanza is always permitted.
    pub bytes_max: usize,
}

/// Stanzas that were written and not acknowledged, oldest first.
#[derive(Debug)]
pub struct Unacked {
    window: Window,
    frames: VecDeque<(Frame, Timestamp)>,
    bytes: usize,
    /// How many of the last ones were not asked about, how many bytes that is, and whether one of them matters.
    unasked: usize,
    unasked_bytes: usize,
    is_pressing: bool,
    is_asked: bool,
}

/// An empty one keeps at most room for this many frames.
const KEPT_FRAMES: usize = 8;

impl Unacked {
    /// Nothing written yet.
    #[must_use]
    pub fn new(window: Window) -> Self {
        Self {
            window,
            frames: VecDeque::new(),
            bytes: 0,
            unasked: 0,
            unasked_bytes: 0,
            is_pressing: false,
            is_asked: false,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether nothing more may be written.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.frames.len() >= self.window.frames_max || self.bytes >= self.window.bytes_max
    }

    /// A frame is written, which came `at` that time.
    pub fn push(&mut self, frame: Frame, at: Timestamp) {
        let len = frame.len();
        self.is_pressing |= is_message(&frame);
        self.bytes += len;
        self.unasked += 1;
        self.unasked_bytes += len;
        self.frames.push_back((frame, at));
    }

    /// Whether to ask for an acknowledgement now.
    #[must_use]
    pub fn wants_ack(&self) -> bool {
        let is_enough = self.unasked >= ASK_AFTER_FRAMES || self.unasked_bytes >= ASK_AFTER_BYTES || self.is_full();
        !self.is_asked && self.unasked > 0 && (self.is_pressing || is_enough)
    }

    /// It was asked for.
    pub fn asked(&mut self) {
        self.is_asked = true;
        self.is_pressing = false;
        self.unasked = 0;
        self.unasked_bytes = 0;
    }

    /// The client has handled `count` more, the oldest ones.
    pub fn acked(&mut self, count: u32) {
        self.is_asked = false;
        for (frame, _) in self.frames.drain(..self.frames.len().min(count as usize)) {
            self.bytes = self.bytes.saturating_sub(frame.len());
        }
        self.unasked = self.unasked.min(self.frames.len());
        if self.frames.is_empty() {
            self.is_pressing = false;
            self.unasked_bytes = 0;
            if self.frames.capacity() > KEPT_FRAMES {
                self.frames = VecDeque::new();
            }
        }
    }

    /// The frames, each with when it came.
    #[must_use]
    pub fn into_frames(self) -> VecDeque<(Frame, Timestamp)> {
        self.frames
    }
}

fn is_message(frame: &Frame) -> bool {
    match frame {
        Frame::Whole(bytes) => bytes.starts_with(b"<message"),
        Frame::Addressed { before, .. } => before.starts_with("<message"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, Unacked, Window};

    fn unacked(frames_max: usize, bytes_max: usize) -> Unacked {
        Unacked::new(Window { frames_max, bytes_max })
    }

    fn push(unacked: &mut Unacked, stanza: &'static str) {
        unacked.push(Frame::Whole(stanza.into()), 1);
    }

    #[test]
    fn a_message_is_asked_about_at_once_and_not_twice() {
        let mut unacked = unacked(100, 100_000);
        assert!(!unacked.wants_ack());
        push(&mut unacked, "<presence/>");
        assert!(!unacked.wants_ack(), "it can wait");
        push(&mut unacked, "<message/>");
        assert!(unacked.wants_ack());
        unacked.asked();
        push(&mut unacked, "<message/>");
        assert!(!unacked.wants_ack(), "there is no answer yet");
        unacked.acked(2);
        assert!(unacked.wants_ack(), "the last one was not asked about");
        unacked.asked();
        unacked.acked(1);
        assert!(!unacked.wants_ack() && unacked.is_empty());
        for _ in 0..7 {
            push(&mut unacked, "<presence/>");
            assert!(!unacked.wants_ack());
        }
        push(&mut unacked, "<presence/>");
        assert!(unacked.wants_ack(), "enough of them");
        unacked.asked();
        unacked.acked(0);
        assert!(!unacked.wants_ack(), "they were asked about, and the client takes its time");
    }

    #[test]
    fn the_window_is_bounded_in_stanzas_and_bytes() {
        let mut unacked = unacked(2, 100);
        push(&mut unacked, "<presence/>");
        assert!(!unacked.is_full());
        push(&mut unacked, "<presence/>");
        assert!(unacked.is_full() && unacked.wants_ack());
        unacked.acked(1);
        assert!(!unacked.is_full());
        unacked.push(Frame::Whole(vec![b'x'; 1000].into()), 1);
        assert!(unacked.is_full());
        unacked.acked(7);
        assert!(!unacked.is_full() && unacked.is_empty());
        assert_eq!(unacked.bytes, 0);
    }
}
