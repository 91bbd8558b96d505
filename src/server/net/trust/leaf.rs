//! What a peer's own certificate says: its names, its time, its key, who signed it.
//!
//! Names for XMPP are RFC 6120 section 13.7.1.2's, compared as RFC 6125 section 6.4 (and RFC 9525 section 6.3) say:
//! dNSName, with a wildcard as the whole left-most label and for one label; SRVName for `_xmpp-server` and
//! `_xmpps-server` (RFC 4985); xmppAddr that is a domain. A common name is never a name.

use rustls_pki_types::CertificateDer;
use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::x509::X509Name;
use xmpp::Jid;

use super::reason::Reason;
use crate::net::seek;
use crate::runtime::Timestamp;

/// id-on-xmppAddr (RFC 6120 section 13.7.1.4).
const XMPP_ADDR: &str = "1.3.6.1.5.5.7.8.5";
/// id-on-dnsSRV (RFC 4985 section 2).
const DNS_SRV: &str = "1.3.6.1.5.5.7.8.7";
/// Services whose SRVName proves a server.
const SERVICES: [&str; 2] = ["_xmpp-server.", "_xmpps-server."];
/// Names shown to who asks why a certificate is for another domain.
const LISTED_MAX: usize = 5;
/// Characters of a stranger's name that are shown.
const SHOWN_CHARS_MAX: usize = 120;

/// One name of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Dns(String),
    Srv(String),
    Xmpp(String),
}

/// What a certificate says about itself.
#[derive(Debug)]
pub(super) struct Leaf {
    names: Vec<Name>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    /// Who signed it, for people.
    pub(super) issuer: String,
    pub(super) is_self_issued: bool,
}

/// Which domain a certificate has to be for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The domain itself, in A-labels: any kind of name proves it.
    pub(super) domain: String,
    /// Hosts the domain has securely delegated to, and what the administrator said: dNSName proves them.
    pub(super) hosts: Vec<String>,
}

impl Leaf {
    /// Reads a certificate; none when it is not X.509.
    pub(super) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (rest, x509) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let micros = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000);
        Some(Self {
            names: names(&x509),
            not_before: micros(x509.validity().not_before.timestamp()),
            not_after: micros(x509.validity().not_after.timestamp()),
            issuer: person(x509.issuer()),
            is_self_issued: x509.issuer().as_raw() == x509.subject().as_raw(),
        })
    }

    /// What speaks against its time.
    pub(super) fn out_of_date(&self, now: Timestamp) -> Option<Reason> {
        if now > self.not_after {
            Some(Reason::Expired(self.not_after))
        } else if now < self.not_before {
            Some(Reason::NotYetValid(self.not_before))
        } else {
            None
        }
    }

    /// Whether one of its names is what is wanted.
    pub(super) fn is_for(&self, wanted: &Wanted) -> bool {
        let dns = |name: &str| std::iter::once(&wanted.domain).chain(&wanted.hosts).any(|host| matches_dns(name, host));
        self.names.iter().any(|name| match name {
            Name::Dns(name) => dns(name),
            Name::Srv(name) => SERVICES.iter().any(|service| {
                let (head, tail) = name.split_at_checked(service.len()).unwrap_or(("", ""));
                head.eq_ignore_ascii_case(service) && tail.eq_ignore_ascii_case(&wanted.domain)
            }),
            Name::Xmpp(name) => seek::to_ascii(name).is_ok_and(|name| name == wanted.domain),
        })
    }

    /// The addresses that are among its names.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Jid> + '_ {
        self.names.iter().filter_map(|name| match name {
            Name::Xmpp(name) => Jid::new(name).ok(),
            Name::Dns(_) | Name::Srv(_) => None,
        })
    }

    /// The names for people: the first few, and how many more.
    pub(super) fn listed(&self) -> Vec<String> {
        let shown = self.names.iter().take(LISTED_MAX).map(|name| match name {
            Name::Dns(name) => printable(name),
            Name::Srv(name) => format!("SRVName {}", printable(name)),
            Name::Xmpp(name) => format!("xmppAddr {}", printable(name)),
        });
        let more = self.names.len().saturating_sub(LISTED_MAX);
        shown.chain((more > 0).then(|| format!("{more} more"))).collect()
    }
}

/// The public key as a TLSA record with selector 1 means it: SubjectPublicKeyInfo, whole.
pub(super) fn public_key(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, x509) = X509Certificate::from_der(der).ok()?;
    Some(x509.public_key().raw.to_vec())
}

fn names(x509: &X509Certificate<'_>) -> Vec<Name> {
    let Ok(Some(extension)) = x509.subject_alternative_name() else { return Vec::new() };
    let general = extension.value.general_names.iter();
    general
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(Name::Dns((*name).to_owned())),
            GeneralName::OtherName(kind, value) => {
                let text = text_of(value)?;
                match kind.to_id_string().as_str() {
                    XMPP_ADDR => Some(Name::Xmpp(text)),
                    DNS_SRV => Some(Name::Srv(text)),
                    _ => None,
                }
            }
            _ => None,
        })
        .collect()
}

/// The string inside `[0] EXPLICIT`: UTF8String for xmppAddr, IA5String for SRVName; other kinds are no names.
fn text_of(value: &[u8]) -> Option<String> {
    const UTF8_STRING: u32 = 12;
    const IA5_STRING: u32 = 22;
    let (_, outer) = Any::from_der(value).ok()?;
    let (_, inner) = Any::from_der(outer.data).ok()?;
    matches!(inner.tag().0, UTF8_STRING | IA5_STRING)
        .then(|| std::str::from_utf8(inner.data).ok().map(str::to_owned))
        .flatten()
}

fn matches_dns(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(first, parent)| {
            !first.is_empty() && !rest.contains('*') && parent.eq_ignore_ascii_case(rest)
        }),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// A distinguished name for people: common name and organisation, or all of it.
fn person(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|part| part.as_str().ok());
    let organisation = name.iter_organization().next().and_then(|part| part.as_str().ok());
    match (common, organisation) {
        (Some(common), Some(organisation)) => printable(&format!("{common} ({organisation})")),
        (Some(only), None) | (None, Some(only)) => printable(only),
        (None, None) => printable(&name.to_string()),
    }
}

/// What a stranger wrote, made fit for a log line.
fn printable(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}
