//! Who: addresses of entities (RFC 7622), prepared once and compared as bytes afterwards.
//!
//! A localpart is enforced by the PRECIS profile UsernameCaseMapped and without the characters RFC 7622
//! section 3.3.1 excludes, a resourcepart by OpaqueString (section 3.4), a domainpart is an IPv4 or IPv6
//! literal or a name by IDNA2008, in lower case and with U-labels (section 3.2). Plain ASCII takes a path
//! without tables. Each part is between 1 and [`PART_BYTES_MAX`] bytes long.
//!
//! Not here: escaping of spaces and the like in localparts (XEP-0106), which is presentation and nothing a
//! server should undo.

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

mod prepare;

#[cfg(test)]
mod tests;

/// The longest a part of an address may be, in bytes of prepared UTF-8 (RFC 7622 sections 3.2 to 3.4).
pub const PART_BYTES_MAX: usize = 1023;

/// Why a string is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JidError {
    /// There is an `@` and nothing before it, or the localpart breaks UsernameCaseMapped, or it contains
    /// one of the characters `"&'/:<>@`.
    Localpart,
    /// The domainpart is missing, no IP literal and no name by IDNA2008.
    Domain,
    /// There is a `/` and nothing after it, or the resourcepart breaks OpaqueString.
    Resource,
    /// A part is longer than [`PART_BYTES_MAX`] bytes.
    TooLong,
    /// A [`BareJid`] was asked for and there is a resourcepart.
    NotBare,
    /// A [`FullJid`] was asked for and there is no resourcepart.
    NotFull,
}

impl fmt::Display for JidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Localpart => "the part before @ is empty or has characters not allowed there",
            Self::Domain => "the domain is missing or not a valid name",
            Self::Resource => "the part after / is empty or has characters not allowed there",
            Self::TooLong => "a part of the address is longer than 1023 bytes",
            Self::NotBare => "the address has a resource and must not have one",
            Self::NotFull => "the address has no resource and needs one",
        })
    }
}

impl std::error::Error for JidError {}

/// The text all three address types share. `text` may be longer than the address: a bare address keeps the
/// text of the full one it was taken from, so that taking it costs a reference count.
#[derive(Clone)]
struct Parts {
    text: Arc<str>,
    /// Where the domain starts: 0 without a localpart, else after the `@`.
    domain_start: u16,
    /// Where the domain ends: the length of the bare address.
    domain_end: u16,
}

impl Parts {
    fn parse(text: &str) -> Result<Self, JidError> {
        // RFC 7622 section 3.2: the resource starts after the first slash, whatever it contains; only then
        // is the first `@` of the rest the end of the localpart.
        let (bare, resource) = match memchr::memchr(b'/', text.as_bytes()) {
            Some(at) => (text.get(..at).unwrap_or(""), text.get(at + 1..)),
            None => (text, None),
        };
        let (local, domain) = match memchr::memchr(b'@', bare.as_bytes()) {
            Some(at) => (bare.get(..at), bare.get(at + 1..).unwrap_or("")),
            None => (None, bare),
        };
        Self::from_parts(local, domain, resource)
    }

    fn from_parts(local: Option<&str>, domain: &str, resource: Option<&str>) -> Result<Self, JidError> {
        let local = local.map(prepare::localpart).transpose()?;
        let domain = prepare::domain(domain)?;
        let resource = resource.map(prepare::resource).transpose()?;
        Self::assemble(local.as_deref(), &domain, resource.as_deref())
    }

    /// All parts are prepared already.
    fn assemble(local: Option<&str>, domain: &str, resource: Option<&str>) -> Result<Self, JidError> {
        let domain_start = local.map_or(0, |local| local.len() + 1);
        let domain_end = domain_start + domain.len();
        let capacity = domain_end + resource.map_or(0, |resource| resource.len() + 1);
        let mut text = String::with_capacity(capacity);
        if let Some(local) = local {
            text.push_str(local);
            text.push('@');
        }
        text.push_str(domain);
        if let Some(resource) = resource {
            text.push('/');
            text.push_str(resource);
        }
        Ok(Self {
            text: Arc::from(text),
            domain_start: u16::try_from(domain_start).map_err(|_| JidError::TooLong)?,
            domain_end: u16::try_from(domain_end).map_err(|_| JidError::TooLong)?,
        })
    }

    fn local(&self) -> Option<&str> {
        let at = usize::from(self.domain_start).checked_sub(1)?;
        self.text.get(..at)
    }

    fn domain(&self) -> &str {
        self.text.get(usize::from(self.domain_start)..usize::from(self.domain_end)).unwrap_or("")
    }

    fn bare(&self) -> &str {
        self.text.get(..usize::from(self.domain_end)).unwrap_or("")
    }

    fn resource(&self) -> Option<&str> {
        self.text.get(usize::from(self.domain_end) + 1..)
    }

    fn has_resource(&self) -> bool {
        self.text.len() > usize::from(self.domain_end)
    }

    fn with_resource(&self, resource: &str) -> Result<Self, JidError> {
        let resource = prepare::resource(resource)?;
        Self::assemble(self.local(), self.domain(), Some(&resource))
    }
}

/// Any address: `[localpart@]domain[/resource]`.
#[derive(Clone)]
pub struct Jid {
    parts: Parts,
    /// Whether what `parts` has as resource belongs to the address.
    is_full: bool,
}

/// An address without a resource: an account or a domain.
#[derive(Clone)]
pub struct BareJid(Parts);

/// An address with a resource: a connected client, an occupant, a part of a service.
#[derive(Clone)]
pub struct FullJid(Parts);

impl Jid {
    /// Splits and prepares an address.
    ///
    /// # Errors
    /// Which part is not as RFC 7622 wants it.
    pub fn new(text: &str) -> Result<Self, JidError> {
        Parts::parse(text).map(|parts| Self { is_full: parts.has_resource(), parts })
    }

    /// Prepares the parts of an address.
    ///
    /// # Errors
    /// Which part is not as RFC 7622 wants it.
    pub fn from_parts(local: Option<&str>, domain: &str, resource: Option<&str>) -> Result<Self, JidError> {
        Parts::from_parts(local, domain, resource).map(|parts| Self { is_full: parts.has_resource(), parts })
    }

    /// The part before the `@`.
    #[must_use]
    pub fn localpart(&self) -> Option<&str> {
        self.parts.local()
    }

    /// The domain: a name in lower case with U-labels, or an IP literal.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.parts.domain()
    }

    /// The part after the `/`.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        if self.is_full { self.parts.resource() } else { None }
    }

    /// The whole address, prepared.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if self.is_full { &self.parts.text } else { self.parts.bare() }
    }

    /// The address without its resource, as text.
    #[must_use]
    pub fn as_bare_str(&self) -> &str {
        self.parts.bare()
    }

    /// The address without its resource. Costs a reference count.
    #[must_use]
    pub fn to_bare(&self) -> BareJid {
        BareJid(self.parts.clone())
    }

    /// The address without its resource.
    #[must_use]
    pub fn into_bare(self) -> BareJid {
        BareJid(self.parts)
    }

    /// The address, if it has a resource.
    #[must_use]
    pub fn to_full(&self) -> Option<FullJid> {
        self.is_full.then(|| FullJid(self.parts.clone()))
    }

    /// Whether there is no resource.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        !self.is_full
    }

    /// Whether there is a resource.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether there is neither localpart nor resource.
    #[must_use]
    pub fn is_domain(&self) -> bool {
        !self.is_full && self.parts.domain_start == 0
    }
}

impl BareJid {
    /// Splits and prepares an address that has no resource.
    ///
    /// # Errors
    /// Which part is not as RFC 7622 wants it; [`JidError::NotBare`] when there is a resource.
    pub fn new(text: &str) -> Result<Self, JidError> {
        let parts = Parts::parse(text)?;
        if parts.has_resource() { Err(JidError::NotBare) } else { Ok(Self(parts)) }
    }

    /// Prepares the parts of an address that has no resource.
    ///
    /// # Errors
    /// Which part is not as RFC 7622 wants it.
    pub fn from_parts(local: Option<&str>, domain: &str) -> Result<Self, JidError> {
        Parts::from_parts(local, domain, None).map(Self)
    }

    /// The part before the `@`.
    #[must_use]
    pub fn localpart(&self) -> Option<&str> {
        self.0.local()
    }

    /// The domain: a name in lower case with U-labels, or an IP literal.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.domain()
    }

    /// The whole address, prepared.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.bare()
    }

    /// Whether there is no localpart.
    #[must_use]
    pub fn is_domain(&self) -> bool {
        self.0.domain_start == 0
    }

    /// This address with a resource.
    ///
    /// # Errors
    /// When the resource is empty, too long or not an OpaqueString.
    pub fn with_resource(&self, resource: &str) -> Result<FullJid, JidError> {
        self.0.with_resource(resource).map(FullJid)
    }

    /// The domain alone.
    #[must_use]
    pub fn to_domain(&self) -> Self {
        if self.is_domain() {
            return self.clone();
        }
        let text: Arc<str> = Arc::from(self.domain());
        Self(Parts { domain_start: 0, domain_end: self.0.domain_end - self.0.domain_start, text })
    }
}

impl FullJid {
    /// Splits and prepares an address that has a resource.
    ///
    /// # Errors
    /// Which part is not as RFC 7622 wants it; [`JidError::NotFull`] when there is no resource.
    pub fn new(text: &str) -> Result<Self, JidError> {
        let parts = Parts::parse(text)?;
        if parts.has_resource() { Ok(Self(parts)) } else { Err(JidError::NotFull) }
    }

    /// Prepares the parts of an address that has a resource.
    ///
    /// # Errors
    /// Which part is not as RFC 7622 wants it.
    pub fn from_parts(local: Option<&str>, domain: &str, resource: &str) -> Result<Self, JidError> {
        Parts::from_parts(local, domain, Some(resource)).map(Self)
    }

    /// The part before the `@`.
    #[must_use]
    pub fn localpart(&self) -> Option<&str> {
        self.0.local()
    }

    /// The domain: a name in lower case with U-labels, or an IP literal.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.domain()
    }

    /// The part after the `/`.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.0.resource().unwrap_or("")
    }

    /// The whole address, prepared.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The address without its resource, as text.
    #[must_use]
    pub fn as_bare_str(&self) -> &str {
        self.0.bare()
    }

    /// The address without its resource. Costs a reference count.
    #[must_use]
    pub fn bare(&self) -> BareJid {
        BareJid(self.0.clone())
    }

    /// The address without its resource.
    #[must_use]
    pub fn into_bare(self) -> BareJid {
        BareJid(self.0)
    }
}

impl From<BareJid> for Jid {
    fn from(bare: BareJid) -> Self {
        Self { parts: bare.0, is_full: false }
    }
}

impl From<FullJid> for Jid {
    fn from(full: FullJid) -> Self {
        Self { parts: full.0, is_full: true }
    }
}

impl From<&BareJid> for Jid {
    fn from(bare: &BareJid) -> Self {
        bare.clone().into()
    }
}

impl From<&FullJid> for Jid {
    fn from(full: &FullJid) -> Self {
        full.clone().into()
    }
}

impl From<FullJid> for BareJid {
    fn from(full: FullJid) -> Self {
        full.into_bare()
    }
}

impl From<Jid> for BareJid {
    fn from(jid: Jid) -> Self {
        jid.into_bare()
    }
}

impl TryFrom<Jid> for FullJid {
    type Error = JidError;

    fn try_from(jid: Jid) -> Result<Self, JidError> {
        if jid.is_full { Ok(Self(jid.parts)) } else { Err(JidError::NotFull) }
    }
}

/// An address is its text: equality, order and hash are those of the string, so that maps can be asked with
/// a `&str`.
macro_rules! as_text {
    ($type:ident) => {
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.as_str() == other.as_str()
            }
        }

        impl Eq for $type {}

        impl PartialEq<str> for $type {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl PartialEq<&str> for $type {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $type {
            fn cmp(&self, other: &Self) -> Ordering {
                self.as_str().cmp(other.as_str())
            }
        }

        impl Hash for $type {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($type), self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = JidError;

            fn from_str(text: &str) -> Result<Self, JidError> {
                Self::new(text)
            }
        }
    };
}

as_text!(Jid);
as_text!(BareJid);
as_text!(FullJid);

/// Prepares a localpart alone, as registration and login need it (RFC 7622 section 3.3).
///
/// # Errors
/// [`JidError::Localpart`] or [`JidError::TooLong`].
pub fn prepare_localpart(text: &str) -> Result<Cow<'_, str>, JidError> {
    prepare::localpart(text)
}

/// Prepares a domain alone, as the configuration and stream headers need it (RFC 7622 section 3.2).
///
/// # Errors
/// [`JidError::Domain`] or [`JidError::TooLong`].
pub fn prepare_domain(text: &str) -> Result<Cow<'_, str>, JidError> {
    prepare::domain(text)
}
