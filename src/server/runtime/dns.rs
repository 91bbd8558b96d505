//! Real DNS: asks the configured servers, or the system's, and remembers answers and absences for as long as they say.
//!
//! With `dns.dnssec` it checks signatures from the root, or from the keys in `dns.trust_anchor`, itself (RFC 4035);
//! what a server claims to have checked is not believed. Without it nothing is ever secure.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{Resolver as Hickory, TokioResolver};

use super::resolver::{
    ADDRESSES_MAX, Answer, Family, LookupError, Pending, Resolver, SRV_RECORDS_MAX, Srv, TLSA_RECORDS_MAX, Tlsa,
};
use crate::config::Dns;

/// Responses kept in memory.
const CACHE_ENTRIES_MAX: u64 = 8_192;
/// However long a zone wants its answers kept, they are asked for again after this.
const KEPT_MAX: Duration = Duration::from_secs(24 * 3600);
/// However long a zone wants an absence to be believed, it is asked for again after this.
const ABSENCE_KEPT_MAX: Duration = Duration::from_secs(15 * 60);
/// How often a question is sent before it counts as unanswered, the first time included.
const ATTEMPTS: u32 = 2;
/// Aliases followed from one name.
const ALIASES_MAX: usize = 8;
/// Bytes a trust anchor file may have.
const ANCHOR_BYTES_MAX: u64 = 1 << 16;

/// Asks DNS servers.
pub struct DnsResolver {
    /// The resolver, or why there is none.
    inner: Result<TokioResolver, String>,
    is_validating: bool,
    timeout: Duration,
}

impl DnsResolver {
    /// A resolver as configured. That the system names no DNS servers does not fail here but with every question, so
    /// that a server without any still serves its own users.
    ///
    /// # Errors
    /// When the trust anchor file cannot be read.
    pub fn new(config: &Dns) -> Result<Self, String> {
        let timeout = Duration::from_secs(config.timeout_seconds);
        let from_system = || hickory_resolver::system_conf::read_system_conf().map_err(|error| error.to_string());
        let settings = if config.servers.is_empty() {
            from_system()
        } else {
            Ok((
                ResolverConfig::from_name_servers(config.servers.iter().map(name_server).collect()),
                ResolverOpts::default(),
            ))
        };
        let (settings, mut options) = match settings {
            Ok(settings) => settings,
            Err(why) => return Ok(Self { inner: Err(why), is_validating: config.dnssec, timeout }),
        };
        options.timeout = timeout / ATTEMPTS;
        options.attempts = usize::try_from(ATTEMPTS - 1).unwrap_or(1);
        options.cache_size = CACHE_ENTRIES_MAX;
        options.positive_max_ttl = Some(KEPT_MAX);
        options.negative_max_ttl = Some(ABSENCE_KEPT_MAX);
        options.use_hosts_file = if config.servers.is_empty() { ResolveHosts::Always } else { ResolveHosts::Never };
        options.validate = config.dnssec;
        options.preserve_intermediates = true;
        let mut builder = Hickory::builder_with_config(settings, TokioRuntimeProvider::default()).with_options(options);
        if config.dnssec
            && let Some(file) = &config.trust_anchor
        {
            builder = builder.with_trust_anchor(std::sync::Arc::new(trust_anchors(file)?));
        }
        Ok(Self { inner: builder.build().map_err(|error| error.to_string()), is_validating: config.dnssec, timeout })
    }

    /// Why no question can be answered; none when they can.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.inner.as_ref().err().map(String::as_str)
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Lookup, LookupError> {
        let inner = self.inner.as_ref().map_err(|why| LookupError::Failed(why.clone()))?;
        match tokio::time::timeout(self.timeout, inner.lookup(absolute(name), kind)).await {
            Ok(Ok(lookup)) => Ok(lookup),
            Ok(Err(error)) => Err(translate(&error, self.is_validating)),
            Err(_) => Err(LookupError::TimedOut),
        }
    }

    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T> + Send,
    ) -> Result<Answer<T>, LookupError> {
        let mut lookup = self.ask(name, kind).await?;
        if !self.is_validating {
            let records: Vec<T> = lookup.answers().iter().filter_map(|record| read(&record.data)).collect();
            return if records.is_empty() {
                Err(LookupError::NoRecords { is_secure: false })
            } else {
                Ok(Answer { records, is_secure: false })
            };
        }
        // Aliases are followed here, one by one: the library follows them too, but loses them, and with them whether
        // they are proven, when it remembers where they lead. And only records about the very name count: a forger
        // could add others, perfectly signed, for a name of his own.
        let mut name = Name::from_ascii(absolute(name)).map_err(|error| LookupError::Failed(error.to_string()))?;
        let mut is_secure = true;
        for _ in 0..ALIASES_MAX {
            let own = || {
                let is_own = |record: &&Record| record.record_type() == kind && record.name == name;
                lookup.answers().iter().filter(is_own)
            };
            if own().any(|record| record.proof.is_bogus()) {
                return Err(LookupError::Bogus);
            }
            let records: Vec<T> = own().filter_map(|record| read(&record.data)).collect();
            if !records.is_empty() {
                is_secure &= own().all(|record| record.proof.is_secure());
                return Ok(Answer { records, is_secure });
            }
            let aliases = self.ask(&name.to_ascii(), RecordType::CNAME).await?;
            let alias = aliases.answers().iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == name => Some((record.proof, &target.0)),
                _ => None,
            });
            let Some((proof, target)) = alias else { break };
            if proof.is_bogus() {
                return Err(LookupError::Bogus);
            }
            is_secure &= proof.is_secure();
            name = target.clone();
            lookup = self.ask(&name.to_ascii(), kind).await?;
        }
        Err(LookupError::Failed("the answer is about other names".to_owned()))
    }
}

/// With the last dot, so that the system's search list is never tried: it would answer for other names.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

impl Resolver for DnsResolver {
    fn is_validating(&self) -> bool {
        self.is_validating
    }

    fn srv<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Answer<Srv>, LookupError>> {
        Box::pin(async move {
            let read = |data: &RData| match data {
                RData::SRV(srv) => Some(Srv {
                    priority: srv.priority,
                    weight: srv.weight,
                    port: srv.port,
                    target: srv.target.to_ascii().trim_end_matches('.').to_ascii_lowercase(),
                }),
                _ => None,
            };
            let mut answer = self.records(name, RecordType::SRV, read).await?;
            answer.records.sort_by_key(|srv| srv.priority);
            answer.records.truncate(SRV_RECORDS_MAX);
            Ok(answer)
        })
    }

    fn addresses<'a>(&'a self, host: &'a str, family: Family) -> Pending<'a, Result<Answer<IpAddr>, LookupError>> {
        Box::pin(async move {
            let kind = match family {
                Family::V6 => RecordType::AAAA,
                Family::V4 => RecordType::A,
            };
            let read = |data: &RData| match data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            };
            let mut answer = self.records(host, kind, read).await?;
            answer.records.truncate(ADDRESSES_MAX);
            Ok(answer)
        })
    }

    fn tlsa<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Answer<Tlsa>, LookupError>> {
        Box::pin(async move {
            let read = |data: &RData| match data {
                RData::TLSA(tlsa) => Some(Tlsa {
                    usage: tlsa.cert_usage.into(),
                    selector: tlsa.selector.into(),
                    matching: tlsa.matching.into(),
                    data: tlsa.cert_data.clone(),
                }),
                _ => None,
            };
            let mut answer = self.records(name, RecordType::TLSA, read).await?;
            answer.records.truncate(TLSA_RECORDS_MAX);
            Ok(answer)
        })
    }
}

fn name_server(server: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    NameServerConfig::new(server.ip(), true, connections.to_vec())
}

fn trust_anchors(file: &Path) -> Result<TrustAnchors, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("`dns.trust_anchor`: {}: {why}", file.display());
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(ANCHOR_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| wrong(&error))?;
    if !text.contains("DNSKEY") {
        return Err(wrong(&"holds no DNSKEY record"));
    }
    text.parse().map_err(|error: hickory_resolver::proto::serialize::txt::ParseError| wrong(&error))
}

fn translate(error: &NetError, is_validating: bool) -> LookupError {
    match error {
        NetError::Timeout => LookupError::TimedOut,
        NetError::Dns(DnsError::NoRecordsFound(absence)) if is_validating => proven(absence),
        NetError::Dns(DnsError::NoRecordsFound(_)) => LookupError::NoRecords { is_secure: false },
        NetError::Dns(DnsError::Nsec { proof, .. }) => match proof {
            Proof::Bogus => LookupError::Bogus,
            Proof::Indeterminate => LookupError::Failed("whether DNSSEC vouches for the answer is unknown".to_owned()),
            Proof::Secure | Proof::Insecure => LookupError::NoRecords { is_secure: proof.is_secure() },
        },
        NetError::Dns(DnsError::DnssecBogus) => LookupError::Bogus,
        NetError::Dns(DnsError::ResponseCode(code)) => LookupError::Failed(format!("the DNS server answered {code}")),
        other => LookupError::Failed(other.to_string()),
    }
}

/// What an absence is worth that passed validation. The library lets one pass when all that comes with it is from zones
/// proven to be unsigned, whether or not they have anything to do with the question; so we look whether they have.
fn proven(absence: &NoRecords) -> LookupError {
    let authorities = absence.authorities.as_deref().unwrap_or_default();
    let is_about_it = |record: &Record| record.name.zone_of(absence.query.name());
    let evidence = || authorities.iter().filter(|record| record.record_type() != RecordType::RRSIG);
    if absence.soa.as_ref().is_some_and(|soa| !soa.name.zone_of(absence.query.name()))
        || (!authorities.is_empty() && !authorities.iter().any(is_about_it))
    {
        return LookupError::Bogus;
    }
    let is_secure = evidence().next().is_some() && evidence().all(|record| record.proof.is_secure());
    LookupError::NoRecords { is_secure }
}

#[cfg(test)]
mod tests;
