//! From a domain name to a connection: which hosts and ports offer its server service, and which address answers.
//!
//! RFC 6120 section 3.2 with XEP-0368: SRV records for TLS from the first byte and for STARTTLS, merged by priority
//! and weight (RFC 2782); without any, the domain's own address and port 5269. Then RFC 8305 among the addresses of
//! one host. What TLS and certificates make of the connection is for [`super::tls`] and [`super::trust`].

mod allowed;
mod eyeballs;
mod order;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::tls::Start;
use super::trace::Trace;
use crate::runtime::{Answer, Dialer, Ids, LookupError, Resolver, SRV_RECORDS_MAX, Srv, Transport};

/// Where servers listen when no SRV record says otherwise (RFC 6120 section 14.7).
pub const SERVER_PORT: u16 = 5269;
/// Hosts tried for one domain.
pub const CANDIDATES_MAX: usize = 16;

/// One place where a domain's server may be reached, in the order to try them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Host name in A-labels without the last dot, or an IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How TLS begins there.
    pub security: Start,
    /// Whether DNSSEC vouches that this is the place: a certificate for `host` then proves the domain, too (RFC 7712
    /// section 3.2), and TLSA records are looked for.
    pub is_secure: bool,
    /// Whether the administrator named it; any address is then allowed.
    pub is_override: bool,
    /// The name its certificate is for, when the administrator says that it is not the domain's.
    pub tls_name: Option<String>,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let security = match self.security {
            Start::Direct => "TLS from the first byte",
            Start::StartTls => "STARTTLS",
        };
        write!(f, "{} port {} ({security})", self.host, self.port)
    }
}

/// Where a domain is, as the administrator says: no SRV record is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Override {
    /// Host name or IP address. None: as found in the DNS.
    pub host: Option<String>,
    /// TCP port; 5269 when none is named.
    pub port: Option<u16>,
    /// Whether TLS is expected from the first byte there.
    pub is_direct: bool,
    /// The name its certificate is for. None: the domain itself.
    pub tls_name: Option<String>,
}

/// Why there is no place to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeekError {
    /// Not a name the DNS can hold.
    NotADomain(String),
    /// The domain says that it has no server (the target `.`).
    NotOffered,
    /// DNSSEC says that the answers were forged or broken.
    Bogus,
    /// DNSSEC is checked, and without an answer it is unknown whether there is a place it vouches for.
    Unanswered(LookupError),
}

impl SeekError {
    /// Whether asking again soon makes no sense: `remote-server-not-found` rather than `remote-server-timeout`.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::NotADomain(_) | Self::NotOffered)
    }
}

impl fmt::Display for SeekError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADomain(name) => write!(f, "`{name}` is not a domain name"),
            Self::NotOffered => f.write_str("the domain's SRV records say that it has no XMPP server"),
            Self::Bogus => f.write_str("the DNSSEC signatures of the domain's SRV records are wrong or missing"),
            Self::Unanswered(why) => write!(f, "the domain's SRV records cannot be had: {why}"),
        }
    }
}

impl std::error::Error for SeekError {}

/// Why a candidate could not be connected to.
#[derive(Debug)]
pub enum ConnectError {
    /// It has no address, or none is known.
    NoAddress(LookupError),
    /// Each of its addresses is one where no other server can be, the first of them here.
    NotAllowed(IpAddr),
    /// No address accepted; what the last one said.
    Failed(SocketAddr, io::Error),
    /// The time was over first.
    TimedOut,
}

impl ConnectError {
    /// Whether there is no such host, rather than one that does not answer.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::NoAddress(why) => why.is_absence(),
            Self::NotAllowed(_) => true,
            Self::Failed(..) | Self::TimedOut => false,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress(why) => write!(f, "no address: {why}"),
            Self::NotAllowed(address) => write!(f, "its address {address} is not one where another server can be"),
            Self::Failed(address, why) => write!(f, "{address}: {why}"),
            Self::TimedOut => f.write_str("no connection in time"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Looks for other servers and connects to them.
#[derive(Clone)]
pub struct Seeker {
    resolver: Arc<dyn Resolver>,
    dialer: Arc<dyn Dialer>,
    ids: Arc<dyn Ids>,
    allow_loopback: bool,
}

impl Seeker {
    /// A seeker that asks `resolver`, dials by `dialer` and draws lots among equals with `ids`. With `allow_loopback`
    /// the DNS may point at this machine and its neighbours on the link: for tests, and servers behind one roof.
    pub fn new(resolver: Arc<dyn Resolver>, dialer: Arc<dyn Dialer>, ids: Arc<dyn Ids>, allow_loopback: bool) -> Self {
        Self { resolver, dialer, ids, allow_loopback }
    }

    /// Where the names are looked up.
    #[must_use]
    pub fn resolver(&self) -> &Arc<dyn Resolver> {
        &self.resolver
    }

    /// The places to try for `domain`, best first; at least one and at most [`CANDIDATES_MAX`].
    ///
    /// # Errors
    /// When there is none.
    pub async fn seek(
        &self,
        domain: &str,
        chosen: Option<&Override>,
        trace: &Trace,
    ) -> Result<Vec<Candidate>, SeekError> {
        let ascii = to_ascii(domain)?;
        let tls_name = match chosen.and_then(|chosen| chosen.tls_name.as_deref()) {
            Some(name) => Some(to_ascii(name)?),
            None => None,
        };
        if let Some(chosen) = chosen
            && let Some(host) = &chosen.host
        {
            let candidate = Candidate {
                host: to_ascii(host)?,
                port: chosen.port.unwrap_or(SERVER_PORT),
                security: if chosen.is_direct { Start::Direct } else { Start::StartTls },
                is_secure: false,
                is_override: true,
                tls_name,
            };
            trace.say(|| format!("{domain}: {candidate}, as configured"));
            return Ok(vec![candidate]);
        }
        let mut candidates = match literal(&ascii) {
            Some(address) => vec![fall_back(address.to_string())],
            None => self.by_srv(&ascii, trace).await?,
        };
        for candidate in &mut candidates {
            candidate.tls_name.clone_from(&tls_name);
        }
        Ok(candidates)
    }

    async fn by_srv(&self, domain: &str, trace: &Trace) -> Result<Vec<Candidate>, SeekError> {
        let direct_name = format!("_xmpps-server._tcp.{domain}");
        let starttls_name = format!("_xmpp-server._tcp.{domain}");
        let (direct, starttls) = tokio::join!(self.resolver.srv(&direct_name), self.resolver.srv(&starttls_name));
        say_srv(&direct_name, &direct, trace);
        say_srv(&starttls_name, &starttls, trace);
        // A forged "no such record" would send us to a place of the forger's choice.
        if matches!((&direct, &starttls), (Err(LookupError::Bogus), _) | (_, Err(LookupError::Bogus))) {
            return Err(SeekError::Bogus);
        }
        let mut is_denied = false;
        let mut unanswered = None;
        let mut all = Vec::new();
        for (answer, security) in [(direct, Start::Direct), (starttls, Start::StartTls)] {
            match answer {
                Ok(answer) => {
                    let is_secure = answer.is_secure;
                    let before = all.len();
                    all.extend(offered(&answer).take(SRV_RECORDS_MAX).map(|srv| (srv.clone(), security, is_secure)));
                    is_denied |= all.len() == before;
                }
                Err(why) if !why.is_absence() => unanswered = Some(why),
                Err(_) => {}
            }
        }
        if all.is_empty() {
            // XEP-0368: who says that one of the services is not provided knows SRV records, so no fall-back.
            if is_denied {
                return Err(SeekError::NotOffered);
            }
            // RFC 6120 section 3.2.1 falls back when nobody answers; RFC 7673 section 3.1 forbids it to who checks
            // DNSSEC, whom silence would otherwise talk out of DANE.
            if let Some(why) = unanswered.filter(|_| self.resolver.is_validating()) {
                return Err(SeekError::Unanswered(why));
            }
            let candidate = fall_back(domain.to_owned());
            trace.say(|| format!("{domain}: no SRV record to follow; trying {candidate}"));
            return Ok(vec![candidate]);
        }
        let mut candidates: Vec<Candidate> = order::sorted(all, |(srv, ..)| (srv.priority, srv.weight), &*self.ids)
            .into_iter()
            .map(|(srv, security, is_secure)| Candidate {
                host: srv.target,
                port: srv.port,
                security,
                is_secure,
                is_override: false,
                tls_name: None,
            })
            .collect();
        candidates.truncate(CANDIDATES_MAX);
        Ok(candidates)
    }

    /// Connects to one candidate: its addresses by RFC 8305, within `within` in all. Answers the address that won.
    ///
    /// # Errors
    /// When none of its addresses may be or could be connected to.
    pub async fn connect(
        &self,
        candidate: &Candidate,
        within: Duration,
        trace: &Trace,
    ) -> Result<(Transport, SocketAddr), ConnectError> {
        let may_dial = self.allow_loopback || candidate.is_override;
        let racing = eyeballs::connect(&*self.resolver, &*self.dialer, candidate, may_dial, trace);
        match tokio::time::timeout(within, racing).await {
            Ok(outcome) => outcome,
            Err(_) => {
                trace.say(|| format!("{candidate}: no connection within {} s", within.as_secs()));
                Err(ConnectError::TimedOut)
            }
        }
    }
}

impl fmt::Debug for Seeker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seeker").field("allow_loopback", &self.allow_loopback).finish_non_exhaustive()
    }
}

/// A domain as the DNS spells it: A-labels (RFC 5890), lower case, without the last dot. IP addresses stay as they
/// are, IPv6 ones with or without their brackets.
///
/// # Errors
/// When it is not a name the DNS can hold.
pub fn to_ascii(domain: &str) -> Result<String, SeekError> {
    let wrong = || SeekError::NotADomain(domain.to_owned());
    if let Some(address) = literal(domain) {
        return Ok(address.to_string());
    }
    let ascii = idna::domain_to_ascii_cow(domain.trim_end_matches('.').as_bytes(), idna::AsciiDenyList::URL)
        .map_err(|_| wrong())?
        .into_owned();
    let is_name =
        ascii.len() <= 253 && !ascii.is_empty() && ascii.split('.').all(|label| !label.is_empty() && label.len() <= 63);
    if is_name { Ok(ascii) } else { Err(wrong()) }
}

/// The address that a domain part or host consists of, if it does.
pub(super) fn literal(domain: &str) -> Option<IpAddr> {
    let bare = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(domain);
    bare.parse().ok()
}

fn fall_back(host: String) -> Candidate {
    Candidate {
        host,
        port: SERVER_PORT,
        security: Start::StartTls,
        is_secure: false,
        is_override: false,
        tls_name: None,
    }
}

/// The records that name a host; RFC 2782: the root as target says that there is none.
fn offered(answer: &Answer<Srv>) -> impl Iterator<Item = &Srv> {
    answer.records.iter().filter(|srv| !srv.target.trim_end_matches('.').is_empty())
}

fn say_srv(name: &str, answer: &Result<Answer<Srv>, LookupError>, trace: &Trace) {
    match answer {
        Err(why) => trace.say(|| format!("SRV {name}: {why}")),
        Ok(answer) => {
            let secure = if answer.is_secure { ", DNSSEC-validated" } else { "" };
            for srv in &answer.records {
                trace.say(|| {
                    let target = if srv.target.is_empty() { "no such service" } else { &srv.target };
                    let Srv { priority, weight, port, .. } = srv;
                    format!("SRV {name}: {target} port {port}, priority {priority}, weight {weight}{secure}")
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
