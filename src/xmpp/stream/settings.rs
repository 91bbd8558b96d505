//! What a stream is told when it is accepted.

use std::time::Duration;

use bytes::Bytes;

use crate::limits::Limits;
use crate::sasl::token::TokenMechanism;
use crate::sasl::{ChannelBinding, Hash, Mechanism};

/// Whether TLS is to be negotiated on the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Nothing but STARTTLS is offered until it is done.
    Required,
    /// STARTTLS is offered beside authentication.
    Optional,
    /// STARTTLS is not offered: TLS was there first, or there is none.
    Unavailable,
}

/// What all streams of a listener have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domains served, prepared. The first speaks for us when the initiator names none we know.
    pub domains: Vec<Box<str>>,
    /// Whether TLS is to be negotiated.
    pub tls: Tls,
    /// The mechanisms offered, most preferred first; what the channel does not permit is left out.
    pub mechanisms: Vec<Mechanism>,
    /// What is offered with SASL2 (XEP-0388), if that is. It is offered under TLS only.
    pub sasl2: Option<Sasl2>,
    /// Whether the bounds on stanzas are told (XEP-0478).
    pub tells_limits: bool,
    /// After how many silent seconds a client is asked for a sign of life, to be told with the bounds.
    pub idle_seconds: Option<u64>,
    /// Whether accounts can be opened before authentication (XEP-0077).
    pub registration: bool,
    /// Whether invitations to open one are accepted (XEP-0445).
    pub invitations: bool,
    /// Features offered beside resource binding: complete elements that say their namespace, such as
    /// `<c xmlns='http://jabber.org/protocol/caps' …/>`.
    pub features: Vec<Bytes>,
    /// Whether stream management is offered (XEP-0198).
    pub acks: bool,
    /// Whether client state indication is offered (XEP-0352).
    pub client_states: bool,
    /// Bounds on XML before authentication.
    pub limits_unauthenticated: Limits,
    /// Bounds on XML afterwards.
    pub limits: Limits,
    /// Bytes an initiator may send before it has authenticated, in all.
    pub unauthenticated_bytes_max: usize,
    /// Time from the first byte to a bound resource. Time is the caller's; see `Stream::poll_timeout`.
    pub negotiation_time_max: Duration,
    /// Failed authentications permitted before the stream is closed (RFC 6120 section 6.4.5: 3 to 6).
    pub authentications_max: u8,
    /// Failed bindings permitted before the stream is closed (RFC 6120 section 7.7.3: 6 to 11).
    pub bindings_max: u8,
    /// Registration requests permitted before authentication.
    pub registrations_max: u8,
}

/// What is offered with SASL2.
#[derive(Clone, Debug, Default)]
pub struct Sasl2 {
    /// The namespaces of what Bind 2 can enable with a resource (XEP-0386), such as `urn:xmpp:carbons:2`.
    pub bind_features: Vec<Box<str>>,
    /// Mechanisms for tokens (XEP-0484), as far as the channel has what they are bound to.
    pub tokens: Vec<TokenMechanism>,
    /// Hashes of SCRAM for which a client may leave keys (XEP-0480).
    pub upgrades: Vec<Hash>,
}

impl Settings {
    /// Settings with the usual bounds: TLS required, the usual mechanisms, no registration, nothing beyond RFC 6120.
    #[must_use]
    pub fn new(domains: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        Self {
            domains: domains.into_iter().map(Into::into).collect(),
            tls: Tls::Required,
            mechanisms: Mechanism::USUAL.to_vec(),
            sasl2: None,
            tells_limits: false,
            idle_seconds: None,
            registration: false,
            invitations: false,
            features: Vec::new(),
            acks: false,
            client_states: false,
            limits_unauthenticated: Limits::unauthenticated(),
            limits: Limits::client(),
            unauthenticated_bytes_max: 64 * 1024,
            negotiation_time_max: Duration::from_secs(60),
            authentications_max: 4,
            bindings_max: 6,
            registrations_max: 8,
        }
    }
}

/// Chance for one stream, from which its identifiers and nonces are made. Both parts are random, of 120 bits
/// or more; neither is ever sent.
#[derive(Clone)]
pub struct Seed {
    /// What stream identifiers are made from.
    pub stream_id: String,
    /// What nonces are made from.
    pub nonce: String,
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(…)")
    }
}

impl Seed {
    /// The `count`th stream identifier: unpredictable and never repeated (RFC 6120 section 4.7.3).
    pub(super) fn stream_id(&self, count: u32) -> String {
        Self::derive(&self.stream_id, "stream id", count)
    }

    /// The `count`th nonce: printable ASCII without commas.
    pub(super) fn nonce(&self, count: u32) -> String {
        Self::derive(&self.nonce, "nonce", count)
    }

    fn derive(secret: &str, what: &str, count: u32) -> String {
        const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mac = Hash::Sha256.hmac(secret.as_bytes(), &[what.as_bytes(), &count.to_be_bytes()]);
        let digits = mac.iter().filter_map(|byte| DIGITS.get(usize::from(byte & 31)));
        digits.map(|&digit| char::from(digit)).collect()
    }
}

/// What a finished TLS handshake tells about the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `tls-exporter` (RFC 9266): 32 bytes for the label `EXPORTER-Channel-Binding` and an empty context.
    /// `None` under TLS 1.2 without extended master secret, where they would bind nothing.
    pub exporter: Option<Vec<u8>>,
    /// `tls-server-end-point` (RFC 5929 section 4): the hash of our certificate.
    pub server_end_point: Option<Vec<u8>>,
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The certificate that the client has shown, in DER. That it has the key is proven, and nothing else.
    pub client_certificate: Option<Bytes>,
}

impl TlsFacts {
    /// The data of a channel-binding type, if the channel has it.
    #[must_use]
    pub fn binding(&self, kind: ChannelBinding) -> Option<&[u8]> {
        match kind {
            ChannelBinding::TlsExporter => self.exporter.as_deref(),
            ChannelBinding::TlsServerEndPoint => self.server_end_point.as_deref(),
        }
    }
}
