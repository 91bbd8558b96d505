//! Names: what the house asks of the DNS, and how the answers come.
//!
//! Three questions: which services a domain has (SRV, RFC 2782), where a host is (A and AAAA), which certificates a
//! service may show (TLSA, RFC 6698). Each answer says whether DNSSEC vouches for it. [`super::DnsResolver`] asks
//! real servers, [`super::ScriptedResolver`] answers from a table.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

/// A future behind a pointer, so that a trait with it can be an object.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// SRV records of one name that are looked at; those of lower priority are not.
pub const SRV_RECORDS_MAX: usize = 32;
/// Addresses of one host and family that are looked at.
pub const ADDRESSES_MAX: usize = 16;
/// TLSA records of one name that are looked at.
pub const TLSA_RECORDS_MAX: usize = 32;

/// Where names are looked up. Names are A-labels (RFC 5890), with or without the last dot, and are taken as absolute.
pub trait Resolver: Send + Sync + 'static {
    /// Whether DNSSEC is checked: without it no answer is ever secure.
    fn is_validating(&self) -> bool;

    /// The SRV records of `name`, at most [`SRV_RECORDS_MAX`], in no particular order.
    fn srv<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Answer<Srv>, LookupError>>;

    /// The addresses of `host` in one family, at most [`ADDRESSES_MAX`]. Follows aliases.
    fn addresses<'a>(&'a self, host: &'a str, family: Family) -> Pending<'a, Result<Answer<IpAddr>, LookupError>>;

    /// The TLSA records of `name`, at most [`TLSA_RECORDS_MAX`]. Follows aliases.
    fn tlsa<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Answer<Tlsa>, LookupError>>;
}

/// Records, at least one, and who vouches for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// What was found; never empty.
    pub records: Vec<T>,
    /// Whether DNSSEC proved every record, and every alias on the way, to be what the zone's owner wrote.
    pub is_secure: bool,
}

/// Which addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AAAA records.
    V6,
    /// A records.
    V4,
}

impl Family {
    /// The type of its records.
    #[must_use]
    pub fn record(self) -> &'static str {
        match self {
            Self::V6 => "AAAA",
            Self::V4 => "A",
        }
    }
}

/// One place where a service is offered (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Srv {
    /// Lower ones are tried first.
    pub priority: u16,
    /// Share among records of the same priority.
    pub weight: u16,
    /// TCP port.
    pub port: u16,
    /// Host name in A-labels without the last dot; empty for the root, which means "no such service here".
    pub target: String,
}

/// What one certificate may be (RFC 6698 section 2.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tlsa {
    /// 0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE; others are not usable.
    pub usage: u8,
    /// 0 the whole certificate, 1 its public key.
    pub selector: u8,
    /// 0 as it is, 1 its SHA-256, 2 its SHA-512.
    pub matching: u8,
    /// What to compare with.
    pub data: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupError {
    /// The name does not exist, or has no record of this type.
    NoRecords {
        /// Whether DNSSEC proved that.
        is_secure: bool,
    },
    /// There is an answer, and its signatures are wrong or missing where the parent zone promises them.
    Bogus,
    /// A server refused, failed, or could not be reached: a sentence.
    Failed(String),
    /// No server answered in time.
    TimedOut,
}

impl LookupError {
    /// Whether it is known that there is nothing, rather than unknown whether there is.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NoRecords { .. })
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecords { .. } => f.write_str("no record"),
            Self::Bogus => f.write_str("the answer's DNSSEC signatures are wrong or missing"),
            Self::Failed(why) => f.write_str(why),
            Self::TimedOut => f.write_str("no DNS server answered in time"),
        }
    }
}

impl std::error::Error for LookupError {}
