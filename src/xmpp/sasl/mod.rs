//! SASL exchanges as values (RFC 4422, RFC 6120 section 6).
//!
//! SCRAM with SHA-1, SHA-256 and SHA-512, with and without channel binding, tokens (HT), EXTERNAL and PLAIN. An exchange is fed messages
//! and gives messages; it looks up nothing, draws no random number and stretches a password only where a
//! function says so, because stretching is slow and belongs on a worker thread. Offering mechanisms and
//! wrapping messages into XML is the work of `stream`.

pub mod client;
pub mod downgrade;
mod hash;
pub mod plain;
mod prepare;
pub mod scram;
pub mod token;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use hash::Hash;
pub use prepare::{PASSWORD_BYTES_MAX, prepare_password};
pub use scram::Keys;

/// Longest SASL message accepted from a peer, in bytes after base64 decoding. SCRAM messages are a few
/// hundred bytes; PLAIN is bounded by its three parts of at most 1023 bytes each.
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// A SASL mechanism, in the order in which a client should prefer them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mechanism {
    /// RFC 4422: the certificate that the client has shown in TLS says who it is.
    External,
    /// SCRAM with SHA-512 and channel binding.
    ScramSha512Plus,
    /// RFC 7677 with channel binding.
    ScramSha256Plus,
    /// RFC 5802 with channel binding.
    ScramSha1Plus,
    /// SCRAM with SHA-512.
    ScramSha512,
    /// RFC 7677.
    ScramSha256,
    /// RFC 5802.
    ScramSha1,
    /// RFC 4616. Offered under TLS only.
    Plain,
}

impl Mechanism {
    /// Every mechanism, most preferred first.
    pub const ALL: [Self; 8] = [
        Self::External,
        Self::ScramSha512Plus,
        Self::ScramSha256Plus,
        Self::ScramSha1Plus,
        Self::ScramSha512,
        Self::ScramSha256,
        Self::ScramSha1,
        Self::Plain,
    ];

    /// Those for which every account has what is needed.
    pub const USUAL: [Self; 5] =
        [Self::ScramSha256Plus, Self::ScramSha1Plus, Self::ScramSha256, Self::ScramSha1, Self::Plain];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::External => "EXTERNAL",
            Self::ScramSha512Plus => "SCRAM-SHA-512-PLUS",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::Plain => "PLAIN",
        }
    }

    /// Whether the mechanism binds to the TLS channel.
    pub const fn is_bound(self) -> bool {
        matches!(self, Self::ScramSha512Plus | Self::ScramSha256Plus | Self::ScramSha1Plus)
    }

    /// The hash of a SCRAM mechanism; `None` for the others.
    pub const fn hash(self) -> Option<Hash> {
        match self {
            Self::ScramSha512Plus | Self::ScramSha512 => Some(Hash::Sha512),
            Self::ScramSha256Plus | Self::ScramSha256 => Some(Hash::Sha256),
            Self::ScramSha1Plus | Self::ScramSha1 => Some(Hash::Sha1),
            Self::External | Self::Plain => None,
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The mechanism's name is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMechanism;

impl FromStr for Mechanism {
    type Err = UnknownMechanism;

    fn from_str(name: &str) -> Result<Self, UnknownMechanism> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name).ok_or(UnknownMechanism)
    }
}

/// A channel-binding type (RFC 5056 section 7 registry). `tls-unique` is absent: RFC 9266 replaces it and
/// it is undefined for TLS 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelBinding {
    /// RFC 9266.
    TlsExporter,
    /// RFC 5929 section 4.
    TlsServerEndPoint,
}

impl ChannelBinding {
    /// Both types, stronger first.
    pub const ALL: [Self; 2] = [Self::TlsExporter, Self::TlsServerEndPoint];

    /// The registered prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TlsExporter => "tls-exporter",
            Self::TlsServerEndPoint => "tls-server-end-point",
        }
    }

    /// The type with this name, if it is one of ours.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|binding| binding.name() == name)
    }
}

/// Why an authentication failed: the conditions of RFC 6120 section 6.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The initiating entity gave up.
    Aborted,
    /// The account exists but is switched off.
    AccountDisabled,
    /// The password must be changed first.
    CredentialsExpired,
    /// The mechanism needs TLS first.
    EncryptionRequired,
    /// Not base64.
    IncorrectEncoding,
    /// The authorization identity is not the authenticated one.
    InvalidAuthzid,
    /// A mechanism we did not offer.
    InvalidMechanism,
    /// The message breaks the mechanism's grammar.
    MalformedRequest,
    /// The mechanism is weaker than policy permits for this account.
    MechanismTooWeak,
    /// Wrong password, unknown account, or a broken channel binding; deliberately not told apart.
    NotAuthorized,
    /// Ours, and it may pass.
    TemporaryAuthFailure,
}

impl Failure {
    /// The element's name in the SASL namespace.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::AccountDisabled => "account-disabled",
            Self::CredentialsExpired => "credentials-expired",
            Self::EncryptionRequired => "encryption-required",
            Self::IncorrectEncoding => "incorrect-encoding",
            Self::InvalidAuthzid => "invalid-authzid",
            Self::InvalidMechanism => "invalid-mechanism",
            Self::MalformedRequest => "malformed-request",
            Self::MechanismTooWeak => "mechanism-too-weak",
            Self::NotAuthorized => "not-authorized",
            Self::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for Failure {}

/// Reads the character data of a SASL element (RFC 6120 sections 6.4.2 and 6.4.3): base64, or a lone `=`
/// for an empty message.
///
/// # Errors
/// [`Failure::IncorrectEncoding`] when it is not base64, [`Failure::MalformedRequest`] when the message is
/// longer than [`MESSAGE_BYTES_MAX`].
pub fn decode_message(text: &str) -> Result<Vec<u8>, Failure> {
    if text == "=" {
        return Ok(Vec::new());
    }
    if text.len() > MESSAGE_BYTES_MAX / 3 * 4 {
        return Err(Failure::MalformedRequest);
    }
    STANDARD.decode(text).map_err(|_| Failure::IncorrectEncoding)
}

/// Writes a SASL message as character data; an empty one as `=`.
pub fn encode_message(message: &[u8]) -> String {
    if message.is_empty() { "=".to_owned() } else { STANDARD.encode(message) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for mechanism in Mechanism::ALL {
            assert_eq!(mechanism.name().parse(), Ok(mechanism));
        }
        for binding in ChannelBinding::ALL {
            assert_eq!(ChannelBinding::named(binding.name()), Some(binding));
        }
        assert_eq!("scram-sha-1".parse::<Mechanism>(), Err(UnknownMechanism));
        assert_eq!(ChannelBinding::named("tls-unique"), None);
    }

    #[test]
    fn messages_are_base64_with_a_mark_for_empty() {
        assert_eq!(decode_message("=").unwrap(), b"");
        assert_eq!(decode_message("").unwrap(), b"");
        assert_eq!(encode_message(b""), "=");
        assert_eq!(decode_message(&encode_message(b"n,,n=romeo,r=x")).unwrap(), b"n,,n=romeo,r=x");
        for bad in ["===", "a", "ab c", "a\u{e9}==", "YQ", "YQ==\n"] {
            assert_eq!(decode_message(bad), Err(Failure::IncorrectEncoding), "{bad:?}");
        }
        assert_eq!(decode_message(&"A".repeat(MESSAGE_BYTES_MAX * 2)), Err(Failure::MalformedRequest));
    }
}
