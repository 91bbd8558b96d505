//! Why a certificate does not prove a domain, in words an administrator can act on.

use std::fmt;

use crate::runtime::{Timestamp, rfc3339};

/// One reason against a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The peer showed none.
    NoCertificate,
    /// The first certificate is not X.509, or one in the chain is not.
    Unreadable,
    /// It ended at this time, in microseconds since the Unix epoch.
    Expired(Timestamp),
    /// It begins at this time.
    NotYetValid(Timestamp),
    /// It is signed with its own key, and nothing else vouches for it.
    SelfSigned,
    /// No chain leads from it to a certificate we trust; who signed the last certificate shown.
    UnknownIssuer(String),
    /// A signature in the chain is wrong.
    BadSignature,
    /// The chain does not hold for another reason, in words: a certificate used for what it is not meant for, mostly.
    Chain(String),
    /// It is for other names, which are listed (the first few), or for none.
    OtherName(Vec<String>),
    /// DNSSEC-validated TLSA records exist, and none of them matches.
    DaneMismatch,
    /// A question to the DNS on which the judgement hangs had no answer that can be believed.
    DaneUnknown(String),
    /// The domain publishes fingerprints over HTTPS (POSH), and this certificate is not among them, or they cannot be read.
    Posh(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("no certificate was shown"),
            Self::Unreadable => f.write_str("not an X.509 certificate"),
            Self::Expired(at) => write!(f, "expired at {}", rfc3339(*at)),
            Self::NotYetValid(at) => write!(f, "not valid before {}", rfc3339(*at)),
            Self::SelfSigned => f.write_str("self-signed"),
            Self::UnknownIssuer(issuer) => write!(f, "signed by an authority that is not trusted here: {issuer}"),
            Self::BadSignature => f.write_str("a signature in the chain is wrong"),
            Self::Chain(why) => f.write_str(why),
            Self::OtherName(names) if names.is_empty() => {
                f.write_str("it holds no name for XMPP (subjectAltName); the common name does not count")
            }
            Self::OtherName(names) => write!(f, "it is for {}", names.join(", ")),
            Self::DaneMismatch => f.write_str("it is not what the domain's TLSA records (DANE) say"),
            Self::DaneUnknown(why) => write!(f, "TLSA records (DANE) cannot be had: {why}"),
            Self::Posh(why) => write!(f, "POSH: {why}"),
        }
    }
}

/// All reasons in one sentence.
#[must_use]
pub fn sentence(reasons: &[Reason]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
