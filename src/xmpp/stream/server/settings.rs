//! What a server stream is told when it begins.

use std::time::Duration;

use bytes::Bytes;

use super::key::Secret;
use crate::limits::Limits;
use crate::stream::Tls;

/// What all server streams of a house have in common, in both directions.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domains served, prepared. The first speaks for us where the peer names none we know.
    pub domains: Vec<Box<str>>,
    /// Whether TLS is to be negotiated. Where it is required, nothing else happens before it.
    pub tls: Tls,
    /// Whether SASL EXTERNAL is offered and used at all; see [`Permitted`] for a stream.
    pub external: bool,
    /// Whether dialback is offered and used at all (XEP-0220); see [`Permitted`] for a stream.
    pub dialback: bool,
    /// Whether streams may be used in both directions (XEP-0288).
    pub bidi: bool,
    /// Whether stream management is offered and accepted (XEP-0198).
    pub acks: bool,
    /// Features offered where stanzas become possible: complete elements that say their namespace.
    pub features: Vec<Bytes>,
    /// Bounds on XML before authentication.
    pub limits_unauthenticated: Limits,
    /// Bounds on XML afterwards.
    pub limits: Limits,
    /// Bytes a peer may send before the first pair of domains is proven, in all.
    pub unauthenticated_bytes_max: usize,
    /// Time from the first byte to the first proven pair. Time is the caller's; see
    /// [`Stream::poll_timeout`](super::Stream::poll_timeout).
    pub negotiation_time_max: Duration,
    /// The silence after which the peer's streams are closed, to be announced (XEP-0478).
    pub idle_time_max: Option<Duration>,
    /// Pairs of domains that one stream may carry or ask for at once, in each direction (XEP-0220 section 2.6).
    pub pairs_max: usize,
    /// Requests to verify a key that are answered on a stream before any of its pairs is proven.
    pub verifications_max: u16,
    /// Failed SASL exchanges permitted before the stream is closed.
    pub authentications_max: u8,
    /// What our dialback keys are made from.
    pub secret: Secret,
}

impl Settings {
    /// Settings with the usual bounds: TLS required, everything offered.
    #[must_use]
    pub fn new(domains: impl IntoIterator<Item = impl Into<Box<str>>>, secret: Secret) -> Self {
        Self {
            domains: domains.into_iter().map(Into::into).collect(),
            tls: Tls::Required,
            external: true,
            dialback: true,
            bidi: true,
            acks: true,
            features: Vec::new(),
            limits_unauthenticated: Limits::unauthenticated(),
            limits: Limits::server(),
            unauthenticated_bytes_max: 64 * 1024,
            negotiation_time_max: Duration::from_secs(60),
            idle_time_max: None,
            pairs_max: 64,
            verifications_max: 32,
            authentications_max: 3,
            secret,
        }
    }

    /// Whether a prepared domain is one of ours.
    #[must_use]
    pub fn serves(&self, domain: &str) -> bool {
        self.domains.iter().any(|served| **served == *domain)
    }
}

/// How one stream may be authenticated: policy for the peer's domain, and what its certificate is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permitted {
    /// SASL EXTERNAL. As the responder: the peer's certificate is good for the domain it says it is. As the
    /// initiator: we have a certificate to show.
    pub external: bool,
    /// Dialback. As the responder: dialback is offered, and requests of the peer become events.
    pub dialback: bool,
}

/// What a stream is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To send stanzas.
    Stanzas,
    /// To ask about keys and nothing else (XEP-0220 section 2.1.2): the stream is ready without authentication.
    Verification,
}
