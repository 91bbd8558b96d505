//! What has arrived at a server that does not acknowledge: asked by a ping behind it (XEP-0199, RFC 6120 section 10.1).
//!
//! Stanzas of a stream are handled in order, so whoever has answered a ping has taken what was sent before it. The
//! answer comes as any stanza does, mostly on another stream. When there is none in time, this link asks no more, and
//! what was wholly written counts as arrived. Not for streams with stream management (XEP-0198), which say it better.

use std::sync::Arc;

use xmpp::{Jid, ns};

use super::handle::Order;
use super::link::Link;
use super::resume::Sent;
use crate::session::mailbox::Frame;

/// Seconds an answer may take.
const PATIENCE_SECONDS: u64 = 20;

/// Whether a link asks by pings, and what the ping that is out will tell.
#[derive(Debug, Default)]
pub(super) struct Confirming {
    is_deaf: bool,
    /// The number of the ping that is out, and how many of the stanzas that were sent are before it.
    out: Option<(u32, usize)>,
    pings: u32,
}

impl Confirming {
    /// Whether a ping is out.
    pub(super) const fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// So many of the oldest stanzas are not waited for any more.
    pub(super) fn forget(&mut self, count: usize) {
        if let Some((_, before)) = &mut self.out {
            *before = before.saturating_sub(count);
        }
    }
}

/// Whether it is worth a ping to know that this has arrived. IQs have answers of their own, and those of pings would
/// have two servers that ask each other go on for ever.
pub(super) fn is_confirmed(sent: &Sent) -> bool {
    let start = match &sent.queued.frame {
        Frame::Whole(bytes) => bytes,
        Frame::Addressed { before, .. } => before.as_bytes(),
    };
    !start.starts_with(b"<iq")
}

impl Link {
    /// Whether what was sent on this link counts as arrived only when a ping behind it was answered.
    pub(super) fn confirms(&self) -> bool {
        self.federation.config.confirm_by_ping && !self.confirming.is_deaf && !self.stream.has_acks()
    }

    /// Asks whether what was sent so far has arrived. Without a pair to ask for, nothing happens.
    pub(super) fn ping(&mut self) {
        let Some(outbox) = self.outboxes.first() else { return };
        let Ok(to) = Jid::new(&outbox.remote) else { return };
        self.confirming.pings = self.confirming.pings.wrapping_add(1);
        let ping = self.confirming.pings;
        let handle = Arc::clone(&self.handle);
        let id = self.router.expect_answer(
            to,
            PATIENCE_SECONDS,
            Box::new(move |answer| {
                // A link that is over wants to know nothing.
                let _over = handle.order(Order::Arrived { ping, is_answered: answer.is_some() });
            }),
        );
        let text = format!(
            "<iq type='get' id='{id}' from='{}' to='{}'><ping xmlns='{}'/></iq>",
            outbox.local,
            outbox.remote,
            ns::PING
        );
        self.wire.transmit(&mut self.stream);
        self.wire.write(&Frame::Whole(text.into()));
        self.confirming.out = Some((ping, self.sent.len()));
    }

    /// A ping was answered, or was not in time.
    pub(super) fn take_arrived(&mut self, ping: u32, is_answered: bool) {
        let Some((_, count)) = self.confirming.out.take_if(|(out, _)| *out == ping) else { return };
        if !is_answered {
            tracing::info!(link = self.id, "pings are not answered: what is written counts as arrived");
            self.confirming.is_deaf = true;
        } else if self.confirms() {
            self.settle_arrived(count);
        }
    }
}
