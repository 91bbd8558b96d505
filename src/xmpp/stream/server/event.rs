//! What can happen on a server stream.

use std::fmt;
use std::time::Duration;

use crate::stanza::{Stanza, StanzaError};
use crate::stream::StreamError;

/// Two domains and a direction: stanzas from addresses of the one to addresses of the other ("domain pair",
/// XEP-0220 section 1.3). Both prepared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// The sender domain.
    pub from: Box<str>,
    /// The target domain.
    pub to: Box<str>,
}

impl Pair {
    /// The pair of two prepared domains.
    #[must_use]
    pub fn new(from: &str, to: &str) -> Self {
        Self { from: from.into(), to: to.into() }
    }

    /// The same domains, the other way round.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self { from: self.to.clone(), to: self.from.clone() }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.to)
    }
}

/// How a pair was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// SASL EXTERNAL: the certificate (RFC 6120 section 6, XEP-0178).
    External,
    /// Dialback (XEP-0220).
    Dialback,
}

/// What dialback says about a pair or a key (XEP-0220 section 2).
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The key is good.
    Valid,
    /// The key is not one of the domain's.
    Invalid,
    /// It could not be found out, or is not permitted (XEP-0220 section 2.5).
    Error(StanzaError),
}

/// What a peer says that it bears (XEP-0478).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerLimits {
    /// The longest top-level element, in bytes.
    pub stanza_bytes_max: Option<usize>,
    /// The silence after which it may close the stream.
    pub idle_time_max: Option<Duration>,
}

/// What a responder offers, of what we know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// STARTTLS.
    pub tls: bool,
    /// SASL EXTERNAL.
    pub external: bool,
    /// Dialback, by feature or by the namespace in the header.
    pub dialback: bool,
    /// Dialback with errors, so that several targets can share the stream (XEP-0220 section 2.6.2).
    pub dialback_errors: bool,
    /// Use of the stream in both directions (XEP-0288).
    pub bidi: bool,
    /// Stream management (XEP-0198).
    pub acks: bool,
    /// What the responder bears.
    pub limits: PeerLimits,
}

/// Why a pair we have asked for is not ours to send from.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// SASL: the name of the condition and the text, bounded. Dialback may follow by itself.
    External(Box<str>),
    /// Dialback: the key is said to be wrong. The peer most likely closes the stream.
    Invalid,
    /// Dialback: an error; the stream lives.
    Error(StanzaError),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External(condition) => write!(f, "SASL EXTERNAL was refused: {condition}"),
            Self::Invalid => f.write_str("dialback: the key was called invalid"),
            Self::Error(error) => write!(f, "dialback: {error}"),
        }
    }
}

/// Why a stream has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// One side has closed it, without an error.
    Closed,
    /// We ended it with an error.
    Ours(StreamError),
    /// The peer ended it with an error.
    Theirs(StreamError),
    /// The responder offers nothing we could go on with; says what was missing.
    NoCommonFeature(&'static str),
    /// The responder refuses what it was to do, TLS for instance; says what.
    Refused(&'static str),
    /// The last way to prove who we are has failed.
    NotAuthenticated(Refusal),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the stream was closed"),
            Self::Ours(error) => write!(f, "we ended the stream: {error}"),
            Self::Theirs(error) => write!(f, "the peer ended the stream: {error}"),
            Self::NoCommonFeature(what) => write!(f, "the peer offers no {what} that can be used"),
            Self::Refused(what) => write!(f, "the peer refuses {what}"),
            Self::NotAuthenticated(refusal) => refusal.fmt(f),
        }
    }
}

/// What happened on a server stream. Each says which side it happens on: R for the responder, I for the
/// initiator, B for both.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// B. Send what is pending, then negotiate TLS (as the TLS client on the initiator's side), then call
    /// [`Stream::handle_secured`](super::Stream::handle_secured). Nothing that was read in the clear may be
    /// given to the stream any more.
    StartTls,
    /// R. The peer's header has come, and TLS is there or not required; where it is not, this may happen again after
    /// it has been negotiated. Say how it may authenticate with
    /// [`Stream::handle_opened`](super::Stream::handle_opened), or close the stream if it is not wanted. Nothing
    /// is read until then.
    Opened {
        /// The domain the peer says it is, prepared; not proven. Some ask about keys without saying it.
        from: Option<Box<str>>,
        /// Which of our domains it wants.
        to: Box<str>,
    },
    /// R. The peer wants to act as another domain than its header says. Answer whether its certificate is good
    /// for that too with [`Stream::handle_external`](super::Stream::handle_external). Nothing is read until then.
    Authenticate {
        /// The domain, prepared.
        domain: Box<str>,
    },
    /// B (I: with bidi). The peer asks for a pair by dialback. Find out whether the key is good, by a
    /// [`Purpose::Verification`](super::Purpose) stream to the pair's `from` or by its certificate, and call
    /// [`Stream::handle_dialback`](super::Stream::handle_dialback). Reading goes on meanwhile; no more than
    /// [`Settings::pairs_max`](super::Settings) are asked for at once, and each only once at a time.
    Dialback {
        /// From a domain of the peer's to one of ours.
        pair: Pair,
        /// The key, at most 1024 bytes.
        key: Box<str>,
        /// The stream's identifier, which belongs to the question.
        stream_id: Box<str>,
    },
    /// B (I: with bidi). The peer has proven a pair: its stanzas are taken from now on. With bidi those of the
    /// other direction of what is [authenticated](Event::Authenticated) are taken too, without this event.
    Heard {
        /// The sender domain.
        from: Box<str>,
        /// The target domain; `None` for every domain of ours.
        to: Option<Box<str>>,
        /// How.
        by: Proof,
    },
    /// B. We may send stanzas of this pair on this stream. On the initiator's side for what it has proven; with
    /// bidi on either side for the other direction of what the peer has proven, or for what was
    /// [asked for](super::Stream::authorize). With [`Proof::External`] other targets of the same peer must be
    /// asked for.
    Authenticated {
        /// From a domain of ours to one of the peer's.
        pair: Pair,
        /// How.
        by: Proof,
    },
    /// B. The peer refuses a pair. The stream lives, unless an [`Event::Closed`] follows.
    NotAuthenticated {
        /// From a domain of ours to one of the peer's.
        pair: Pair,
        /// Why.
        refusal: Refusal,
    },
    /// I. What the responder offers, each time it does. Nothing to do.
    Features(Offered),
    /// I. Negotiation is over. For stanzas: the stream's own pair has just been
    /// [authenticated](Event::Authenticated); now is the time for [`Stream::resume`](super::Stream::resume) or [`Stream::enable_acks`](super::Stream::enable_acks). For
    /// verification: [`Stream::verify`](super::Stream::verify) can be called.
    Ready(Offered),
    /// B. Bidi is on (XEP-0288): R on the peer's wish, I because it was offered.
    Bidi(PeerLimits),
    /// B. The answer to [`Stream::verify`](super::Stream::verify).
    Verified {
        /// The pair asked about, as it was given to `verify`: from the asserted domain to ours.
        pair: Pair,
        /// The identifier of the stream asked about.
        stream_id: Box<str>,
        /// What the authoritative server says.
        verdict: Verdict,
    },
    /// B (I: with bidi). A stanza. Both of its addresses are there and within what the peer has proven. Say
    /// when it has been dealt with: [`Stream::handled`](super::Stream::handled).
    Stanza(Stanza),
    /// B (I: with bidi). A stanza with good addresses and a bad body. It counts as a stanza does.
    Malformed {
        /// The answer, from us to the sender, where there must be one. The stream may run one way only, so it is
        /// the caller's to route.
        reply: Option<Box<Stanza>>,
        /// What is wrong.
        error: StanzaError,
    },
    /// R. The peer wants stanzas acknowledged (XEP-0198 section 3). Answer with
    /// [`Stream::handle_enabled`](super::Stream::handle_enabled). Nothing is read until then.
    Enable {
        /// Whether it wants to be able to resume.
        resume: bool,
        /// For how long, if it says.
        max: Option<Duration>,
    },
    /// R. The peer wants to go on with an earlier stream (XEP-0198 section 5). Answer with
    /// [`Stream::handle_resumed`](super::Stream::handle_resumed); see there. Nothing is read until then.
    Resume {
        /// The identifier given with the earlier stream.
        previous: Box<str>,
    },
    /// I. The responder acknowledges stanzas from now on.
    Enabled {
        /// The identifier to resume with, if it can be resumed.
        resumption: Option<Box<str>>,
        /// For how long it can be resumed, if the responder says.
        max: Option<Duration>,
    },
    /// I. The responder does not.
    NotEnabled(StanzaError),
    /// B. The earlier stream goes on in this one. The first `acked` stanzas of those not acknowledged on it have
    /// been handled; send the others again before anything else, and count them as
    /// [sent](super::Stream::sent) when that is done.
    Resumed {
        /// How many.
        acked: u32,
    },
    /// I. It does not. Acks can still be enabled.
    NotResumed {
        /// How many stanzas of those not acknowledged had been handled after all, if the responder knows.
        acked: Option<u32>,
        /// Why.
        error: StanzaError,
    },
    /// B. The peer has handled this many more of the stanzas sent, 1 or more: the oldest ones.
    Acked(u32),
    /// B. The stream has ended. Send what is pending and close the connection; see
    /// [`Stream::is_over`](super::Stream::is_over) for waiting until the peer has closed its side too.
    Closed(Ending),
}
