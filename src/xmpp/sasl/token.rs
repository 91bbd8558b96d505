//! Hashed tokens (draft-schmaus-kitten-sasl-ht): one message each way, for secrets that a server has given out itself.
//!
//! `HT-SHA-256-EXPR`, `-ENDP` and `-NONE`, as XEP-0484 (FAST) uses them: the suffix names what the hash is bound to. A
//! token is compared as text; where it comes from, how long it is good and for whom is the caller's.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;

use super::{ChannelBinding, Failure, Hash, UnknownMechanism};

/// A mechanism, by what it is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TokenMechanism {
    /// `tls-exporter`.
    Exporter,
    /// `tls-server-end-point`.
    EndPoint,
    /// Nothing.
    Unbound,
}

impl TokenMechanism {
    /// All of them, stronger first.
    pub const ALL: [Self; 3] = [Self::Exporter, Self::EndPoint, Self::Unbound];

    /// The registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exporter => "HT-SHA-256-EXPR",
            Self::EndPoint => "HT-SHA-256-ENDP",
            Self::Unbound => "HT-SHA-256-NONE",
        }
    }

    /// What it is bound to.
    #[must_use]
    pub const fn binding(self) -> Option<ChannelBinding> {
        match self {
            Self::Exporter => Some(ChannelBinding::TlsExporter),
            Self::EndPoint => Some(ChannelBinding::TlsServerEndPoint),
            Self::Unbound => None,
        }
    }
}

impl fmt::Display for TokenMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TokenMechanism {
    type Err = UnknownMechanism;

    fn from_str(name: &str) -> Result<Self, UnknownMechanism> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name).ok_or(UnknownMechanism)
    }
}

/// Who a client says it is and what it shows for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown {
    /// How.
    pub mechanism: TokenMechanism,
    /// The name, as sent.
    pub authcid: String,
    hash: Vec<u8>,
    channel: Vec<u8>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl Shown {
    /// Reads `authcid NUL hash`; `channel` is the data of [`TokenMechanism::binding`], empty for none.
    ///
    /// # Errors
    /// [`Failure::MalformedRequest`] for anything else.
    pub fn parse(mechanism: TokenMechanism, message: &[u8], channel: &[u8]) -> Result<Self, Failure> {
        let read = || {
            let end = message.iter().position(|&byte| byte == 0)?;
            let (authcid, rest) = message.split_at_checked(end)?;
            let hash = rest.get(1..).filter(|hash| hash.len() == Hash::Sha256.len())?;
            let authcid = std::str::from_utf8(authcid).ok().filter(|name| !name.is_empty())?;
            Some(Self { mechanism, authcid: authcid.to_owned(), hash: hash.to_vec(), channel: channel.to_vec() })
        };
        read().ok_or(Failure::MalformedRequest)
    }

    /// Whether the client has this token, and then what proves that we have it, too. Takes as long either way.
    #[must_use]
    pub fn verify(&self, token: &str) -> Option<Vec<u8>> {
        let expected = Hash::Sha256.hmac(token.as_bytes(), &[b"Initiator", &self.channel]);
        let answer = Hash::Sha256.hmac(token.as_bytes(), &[b"Responder", &self.channel]);
        bool::from(expected.ct_eq(&self.hash)).then_some(answer)
    }
}

/// What a client shows.
#[must_use]
pub fn show(authcid: &str, token: &str, channel: &[u8]) -> Vec<u8> {
    let mut message = authcid.as_bytes().to_vec();
    message.push(0);
    message.extend_from_slice(&Hash::Sha256.hmac(token.as_bytes(), &[b"Initiator", channel]));
    message
}

/// Whether a server has the token, by its answer.
#[must_use]
pub fn is_answered(answer: &[u8], token: &str, channel: &[u8]) -> bool {
    bool::from(Hash::Sha256.hmac(token.as_bytes(), &[b"Responder", channel]).ct_eq(answer))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn both_sides_prove_that_they_have_the_token() {
        let message = show("juliet", "a token", b"channel");
        let shown = Shown::parse(TokenMechanism::Exporter, &message, b"channel").unwrap();
        assert_eq!(shown.authcid, "juliet");
        let answer = shown.verify("a token").unwrap();
        assert!(is_answered(&answer, "a token", b"channel"));
        assert!(!is_answered(&answer, "a token", b"other") && !is_answered(&answer, "another", b"channel"));
        assert_eq!(shown.verify("another token"), None);
        let elsewhere = Shown::parse(TokenMechanism::Exporter, &message, b"another channel").unwrap();
        assert_eq!(
            elsewhere.verify("a token"),
            None,
            "a hash that was read on the way is of no use on another channel"
        );
    }

    #[test]
    fn everything_else_is_malformed() {
        let good = show("juliet", "t", b"");
        for bad in [&b""[..], b"juliet", b"juliet\0", &good[..good.len() - 1], &good[6..], &[&good[..], b"x"].concat()]
        {
            let read = Shown::parse(TokenMechanism::Unbound, bad, b"");
            assert_eq!(read, Err(Failure::MalformedRequest), "{bad:?}");
        }
    }

    /// HMAC-SHA-256 with the key `secret` over `Initiator`, computed with another implementation.
    #[test]
    fn the_hash_is_what_the_draft_says() {
        let hash = show("u", "secret", b"").split_off(2);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "080d9fa917c6da67702df4ff5090d8693b5f8c838c832d6f3662b6822cc7a6b9");
    }
}
