//! Real DNS: asks the configured servers, or the system's, and remembers answers and absences for as long as they say.
//!
//! With `dns.dnssec` it checks signatures from the root, or from the keys in `dns.trust_anchor`, itself (RFC 4035);
//! what a server claims to have checked is not believed. Without it nothing is ever secure.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{RData, RecordType};
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
            Err(why) => return Ok(Self { inner: Err(why), is_validating: false, timeout }),
        };
        options.timeout = timeout / ATTEMPTS;
        options.attempts = usize::try_from(ATTEMPTS - 1).unwrap_or(1);
        options.cache_size = CACHE_ENTRIES_MAX;
        options.positive_max_ttl = Some(KEPT_MAX);
        options.negative_max_ttl = Some(ABSENCE_KEPT_MAX);
        options.use_hosts_file = if config.servers.is_empty() { ResolveHosts::Always } else { ResolveHosts::Never };
        options.validate = config.dnssec;
        let mut builder = Hickory::builder_with_config(settings, TokioRuntimeProvider::default()).with_options(options);
        if config.dnssec
            && let Some(file) = &config.trust_anchor
        {
            let anchors = hickory_resolver::proto::dnssec::TrustAnchors::from_file(file)
                .map_err(|error| format!("`dns.trust_anchor`: {}: {error}", file.display()))?;
            if anchors.is_empty() {
                return Err(format!("`dns.trust_anchor`: {}: holds no DNSKEY record", file.display()));
            }
            builder = builder.with_trust_anchor(std::sync::Arc::new(anchors));
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
        // Absolute, so that the system's search list is never tried: it would answer for other names.
        let name = format!("{}.", name.trim_end_matches('.'));
        match tokio::time::timeout(self.timeout, inner.lookup(name.as_str(), kind)).await {
            Ok(Ok(lookup)) => Ok(lookup),
            Ok(Err(error)) => Err(translate(&error)),
            Err(_) => Err(LookupError::TimedOut),
        }
    }

    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T> + Send,
    ) -> Result<Answer<T>, LookupError> {
        let lookup = self.ask(name, kind).await?;
        let records: Vec<T> = lookup.answers().iter().filter_map(|record| read(&record.data)).collect();
        // Aliases on the way stand among the answers, so they are looked at too.
        let is_secure = self.is_validating && lookup.answers().iter().all(|record| record.proof.is_secure());
        if self.is_validating && lookup.answers().iter().any(|record| record.proof.is_bogus()) {
            return Err(LookupError::Bogus);
        }
        if records.is_empty() {
            return Err(LookupError::NoRecords { is_secure: false });
        }
        Ok(Answer { records, is_secure })
    }
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

fn translate(error: &NetError) -> LookupError {
    match error {
        NetError::Timeout => LookupError::TimedOut,
        NetError::Dns(DnsError::NoRecordsFound(_)) => LookupError::NoRecords { is_secure: false },
        NetError::Dns(DnsError::Nsec { proof, .. }) if proof.is_bogus() => LookupError::Bogus,
        NetError::Dns(DnsError::Nsec { proof, .. }) => LookupError::NoRecords { is_secure: proof.is_secure() },
        NetError::Dns(DnsError::DnssecBogus) => LookupError::Bogus,
        NetError::Dns(DnsError::ResponseCode(code)) => LookupError::Failed(format!("the DNS server answered {code}")),
        other => LookupError::Failed(other.to_string()),
    }
}
