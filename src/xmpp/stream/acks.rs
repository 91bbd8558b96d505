//! Counting stanzas for stream management (XEP-0198 section 4): a value without a stream, for any stream.
//!
//! All is counted from the beginning; what was sent and received before stream management was enabled is
//! remembered as the point to count from, so that nobody has to know which stanzas are from before.

use crate::stream::{Condition, StreamError};

/// The four counters of one stream. They run on past 2³², and go around only on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acks {
    sent: u64,
    acked: u64,
    received: u64,
    handled: u64,
    /// How many of those sent were so before the peer counted.
    sent_before: u64,
    /// How many of those received were so before we counted.
    received_before: u64,
}

impl Acks {
    /// The counters as numbers, to be written down.
    #[must_use]
    pub const fn numbers(&self) -> [u64; 6] {
        [self.sent, self.acked, self.received, self.handled, self.sent_before, self.received_before]
    }

    /// The counters that were written down as these [numbers](Acks::numbers).
    #[must_use]
    pub const fn from_numbers(numbers: [u64; 6]) -> Self {
        let [sent, acked, received, handled, sent_before, received_before] = numbers;
        Self { sent, acked, received, handled, sent_before, received_before }
    }

    /// From the next stanza on those we send are counted: `<enable/>` or `<enabled/>` has been sent.
    pub fn start_sent(&mut self) {
        self.sent_before = self.sent;
        self.acked = self.sent;
    }

    /// From the next stanza on those we receive are counted: `<enable/>` or `<enabled/>` has come.
    pub fn start_received(&mut self) {
        self.received_before = self.received;
    }

    /// So many stanzas have been sent.
    pub fn sent(&mut self, count: u32) {
        self.sent += u64::from(count);
    }

    /// A stanza has come.
    pub fn received(&mut self) {
        self.received += 1;
    }

    /// So many more have been handled, in the order in which they came; never more than have come.
    pub fn handled(&mut self, count: u32) {
        self.handled = self.received.min(self.handled + u64::from(count));
    }

    /// How many have come and not been handled yet.
    #[must_use]
    pub fn unhandled(&self) -> u64 {
        self.received - self.handled
    }

    /// How many have been sent and not acknowledged yet, of those that are counted.
    #[must_use]
    pub fn unacked(&self) -> u64 {
        self.sent - self.acked
    }

    /// Our `h`: how many of those that are counted have been handled, modulo 2³².
    #[must_use]
    pub fn h(&self) -> u32 {
        wrapped(self.handled.saturating_sub(self.received_before))
    }

    /// Takes the peer's `h` and returns how many more it has handled.
    ///
    /// # Errors
    /// The stream error of section 6 when it claims more than were sent, or fewer than before.
    pub fn acked(&mut self, h: u32) -> Result<u32, StreamError> {
        let newly = h.wrapping_sub(self.last());
        if u64::from(newly) > self.unacked() {
            let sent = wrapped(self.sent - self.sent_before);
            let text = format!("{h} stanzas were acknowledged and {sent} sent");
            let mut error = StreamError::new(Condition::UndefinedCondition).with_text(text);
            error.specific = Some(("handled-count-too-high", crate::ns::ACKS));
            error.numbers = vec![("h", h), ("send-count", sent)];
            return Err(error);
        }
        self.acked += u64::from(newly);
        Ok(newly)
    }

    /// The peer's last `h`.
    pub(super) fn last(&self) -> u32 {
        wrapped(self.acked - self.sent_before)
    }

    /// The stream is resumed: what has not been acknowledged will be sent again and counts as not sent, and what
    /// has not been handled will come again and counts as not received.
    pub fn resume(&mut self) {
        self.sent = self.acked;
        self.received = self.handled;
    }

    /// Whether no stanza has gone either way.
    #[must_use]
    pub const fn is_fresh(&self) -> bool {
        self.sent == 0 && self.received == 0
    }

    /// How many will have been handled when all is that has come; `None` if all has been.
    pub(super) fn owed(&self) -> Option<u64> {
        (self.handled < self.received).then_some(self.received)
    }

    /// Whether so many have been handled.
    pub(super) const fn has_handled(&self, owed: u64) -> bool {
        self.handled >= owed
    }
}

/// Modulo 2³².
fn wrapped(count: u64) -> u32 {
    u32::try_from(count & u64::from(u32::MAX)).unwrap_or_default()
}
