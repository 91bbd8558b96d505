//! Streams between servers: both sides as one machine without sockets (RFC 6120 sections 4 to 6, XEP-0220).
//!
//! A [`Stream`] is accepted or opened, and is then driven as a client stream is: bytes in, events out, bytes out;
//! see [`crate::stream`]. The two sides differ while they negotiate. Afterwards either may ask for more pairs of
//! domains, and with bidi (XEP-0288) either may send stanzas, so they are one type.
//!
//! The machine knows what was proven and lets nothing else through: see [`Event::Heard`] for the one direction
//! and [`Event::Authenticated`] for the other. It answers questions about our own keys by itself. It does not
//! judge certificates, and it does not dial.

mod acks;
mod dialback;
mod event;
mod settings;

use std::sync::Arc;
use std::time::Duration;

pub use acks::Acks;
pub use dialback::Secret;
pub use event::{Ending, Event, Offered, Pair, PeerLimits, Proof, Refusal, Verdict};
pub use settings::{Permitted, Purpose, Settings};

use super::{Seed, StreamError, TlsFacts};
use crate::stanza::StanzaError;

/// One side of a stream between two servers.
#[derive(Debug)]
pub struct Stream {
    settings: Arc<Settings>,
    out: Vec<u8>,
    acks: Acks,
}

impl Stream {
    /// The responder's side: waits for the initiator's header. `tls` when the connection was encrypted from the
    /// start (XEP-0368).
    #[must_use]
    pub fn accept(settings: Arc<Settings>, _seed: Seed, _tls: Option<TlsFacts>) -> Self {
        Self { settings, out: Vec::new(), acks: Acks::default() }
    }

    /// The initiator's side: opens a stream from `local`, a domain of ours, to `remote`, both prepared. `tls`
    /// when the connection was encrypted from the start (XEP-0368).
    #[must_use]
    pub fn open(
        settings: Arc<Settings>,
        _local: &str,
        _remote: &str,
        _purpose: Purpose,
        _permitted: Permitted,
        _tls: Option<TlsFacts>,
    ) -> Self {
        Self { settings, out: Vec::new(), acks: Acks::default() }
    }

    /// Takes bytes that were read. Ask for events until there are none before giving more, and give none while
    /// [`Stream::wants_bytes`] says no: then memory is bounded by the limits and one read.
    pub fn handle_bytes(&mut self, _bytes: &[u8]) {}

    /// TLS has been negotiated after [`Event::StartTls`]. Everything learned in the clear is forgotten (RFC 6120
    /// section 5.4.3.3). At any other time this does nothing.
    pub fn handle_secured(&mut self, _tls: TlsFacts) {}

    /// How the initiator may authenticate, after [`Event::Opened`]. At any other time this does nothing.
    pub fn handle_opened(&mut self, _permitted: Permitted) {}

    /// Whether the certificate is good for the domain of [`Event::Authenticate`]. At any other time this does
    /// nothing.
    pub fn handle_external(&mut self, _is_good: bool) {}

    /// The answer to [`Event::Dialback`]. A pair that is not being asked for is ignored. An invalid key ends the
    /// stream unless another pair has been proven on it (XEP-0220 section 2.2.1).
    pub fn handle_dialback(&mut self, _pair: &Pair, _verdict: Verdict) {}

    /// The answer to [`Event::Enable`]: the identifier to resume the stream with and for how long, `None` if it
    /// cannot be resumed; or why there is no stream management. At any other time this does nothing.
    pub fn handle_enabled(&mut self, _outcome: Result<Option<(&str, Duration)>, StanzaError>) {}

    /// The answer to [`Event::Resume`]: the counters of the earlier stream, or, where that cannot be resumed, how
    /// many stanzas had been handled on it if that is known.
    ///
    /// The caller sees to it that the earlier stream was of the same peer (the pairs it had proven are among
    /// those of this one), that it is closed (with `conflict`), and that nothing that came on it is still being
    /// handled: what is not counted as handled will come again.
    pub fn handle_resumed(&mut self, _outcome: Result<Acks, Option<u32>>) {}

    /// The time of [`Stream::poll_timeout`] has come.
    pub fn handle_timeout(&mut self) {}

    /// Ends the stream from our side, with or without an error (RFC 6120 section 4.4). Without one, what has
    /// been handled is acknowledged first.
    pub fn close(&mut self, _error: Option<StreamError>) {}

    /// Asks the peer for one more pair by dialback (XEP-0220 section 2.6), from a domain of ours to one of the peer's, both
    /// prepared. The answer is [`Event::Authenticated`] or [`Event::NotAuthenticated`]. On the initiator's side
    /// after [`Event::Ready`], on the responder's with bidi once the target has been [heard](Event::Heard).
    ///
    /// Returns whether it was asked, or is being asked already: not where the stream is not ready for it, where [`Settings::pairs_max`] is
    /// reached, where dialback is not permitted, or for another target than those in use where the peer does
    /// not know dialback errors.
    pub fn authorize(&mut self, _pair: &Pair) -> bool {
        false
    }

    /// Asks the peer, as the authority for `pair.from`, whether a key shown to us for `pair` on the stream
    /// `stream_id` is its own: the fields of [`Event::Dialback`]. The answer is [`Event::Verified`]. Not to be
    /// asked on the stream the key came by (XEP-0288 section 2.2).
    ///
    /// Returns whether it was asked, or is being asked already: not before [`Event::Ready`], not on the responder's side, and no more than
    /// [`Settings::pairs_max`] at once.
    pub fn verify(&mut self, _pair: &Pair, _stream_id: &str, _key: &str) -> bool {
        false
    }

    /// Asks the responder to acknowledge stanzas, and to make the stream resumable if `resume` (XEP-0198 section
    /// 3). What is sent from now on counts. Does nothing but on the initiator's side after [`Event::Ready`],
    /// where stream management is offered, and once.
    pub fn enable_acks(&mut self, _resume: bool) {}

    /// Asks the responder to go on with an earlier stream (XEP-0198 section 5), whose identifier was `previous`
    /// and whose counters were `acks`. Nothing may be sent before the answer, [`Event::Resumed`] or
    /// [`Event::NotResumed`]. Does nothing but on the initiator's side after [`Event::Ready`] and before any
    /// stanza, where stream management is offered.
    pub fn resume(&mut self, _previous: &str, _acks: Acks) {}

    /// So many stanzas have been written after what [`Stream::poll_transmit`] gave. To be said whether or not
    /// stream management is enabled, so that it can be at any time.
    pub fn sent(&mut self, count: u32) {
        self.acks.sent(count);
    }

    /// So many more of the stanzas that were events have been dealt with, in the order in which they came. To be
    /// said whether or not stream management is enabled. A request for an acknowledgement that came before is
    /// answered again when all has been dealt with that had come by then.
    pub fn handled(&mut self, count: u32) {
        self.acks.handled(count);
    }

    /// Asks the peer how many stanzas it has handled, if stream management is enabled.
    pub fn request_ack(&mut self) {}

    /// Tells the peer how many stanzas have been handled, if stream management is enabled and there is news. Requests of the
    /// peer are answered without this.
    pub fn send_ack(&mut self) {}

    /// The counters; to be kept for resumption when the stream has ended.
    #[must_use]
    pub const fn acks(&self) -> &Acks {
        &self.acks
    }

    /// Whether stream management is enabled, so that what is sent will be acknowledged.
    #[must_use]
    pub const fn has_acks(&self) -> bool {
        false
    }

    /// What happened next, or `None` until the world does something.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// Appends what is to be sent and returns how many bytes that is. Stanzas are written after it.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> usize {
        let length = self.out.len();
        out.append(&mut self.out);
        length
    }

    /// How long after the beginning to call [`Stream::handle_timeout`]; `None` once a pair is proven or the
    /// stream is ready.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        Some(self.settings.negotiation_time_max)
    }

    /// Whether reading makes sense: not while an event waits for its answer.
    #[must_use]
    pub const fn wants_bytes(&self) -> bool {
        true
    }

    /// Whether both sides have closed the stream, or nothing more can come of it.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        true
    }

    /// Whether stanzas from addresses of `from`, a domain of ours, to addresses of `to` may be sent on this
    /// stream now.
    #[must_use]
    pub fn may_send(&self, _from: &str, _to: &str) -> bool {
        false
    }

    /// Whether the peer has proven this pair, from a domain of its own to one of ours.
    #[must_use]
    pub fn may_hear(&self, _from: &str, _to: &str) -> bool {
        false
    }

    /// Whether stanzas may go both ways (XEP-0288).
    #[must_use]
    pub const fn is_bidi(&self) -> bool {
        false
    }

    /// The domain of ours that the stream is to or from: the one asked for, or the first.
    #[must_use]
    pub fn local(&self) -> &str {
        ""
    }

    /// The domain the peer says it is, or that was dialled; not proven by itself.
    #[must_use]
    pub const fn remote(&self) -> Option<&str> {
        None
    }

    /// The stream's identifier, empty before the responder has sent one. Another after TLS and after SASL.
    #[must_use]
    pub const fn id(&self) -> &str {
        ""
    }
}
