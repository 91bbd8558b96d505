//! The `[s2s]` section: how this server talks to others, and what each of them may make it do.
//!
//! Bounds are named with their unit and end in `_max`; what happens at each stands beside it in the example below.
//! What holds for one domain alone is a `[[s2s.domain]]`. Which of those rules applies is for `s2s/policy.rs`.

use serde::Deserialize;

use super::ConfigError;

/// Streams with other servers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S2s {
    /// With whom.
    pub mode: Mode,
    /// Whether server streams must be encrypted. The log complains when not.
    pub tls_required: bool,
    /// Whether the other server's certificate must be good for its domain: by its authority, by DANE or by POSH.
    pub require_valid_certificate: bool,
    /// Whether a server that does not authenticate by its certificate may do so by dialback (XEP-0220).
    pub dialback: bool,
    /// Whether stanzas may go both ways on one stream (XEP-0288).
    pub bidi: bool,
    /// Whether stanzas are acknowledged, and streams resumed, where the other server can (XEP-0198).
    pub stream_management: bool,
    /// Whether other servers without that are asked by a ping (XEP-0199) what has arrived, so that what a broken
    /// connection has swallowed is answered to its sender.
    pub confirm_by_ping: bool,
    /// Whether what DNS says may lead to this machine itself. For tests.
    pub allow_loopback: bool,
    /// Seconds without a stanza after which a stream is closed, to be opened again when needed.
    pub idle_seconds: u64,
    /// Seconds a stanza waits for its stream before it is answered with `remote-server-timeout`.
    pub queue_seconds_max: u64,
    /// Bytes waiting for one domain; the next stanza is answered with `resource-constraint`.
    pub queue_bytes_max: usize,
    /// Seconds for which stanzas to a domain that could not be reached are answered at once.
    pub retry_seconds: u64,
    /// Domains that stanzas wait for or go to at a time; stanzas to more are answered with `resource-constraint`.
    pub domains_max: usize,
    /// Seconds from a connection to an authenticated stream.
    pub handshake_seconds_max: u64,
    /// Bytes read from a connection before it has authenticated.
    pub unauthenticated_bytes_max: usize,
    /// Bytes of one stanza from another server.
    pub stanza_bytes_max: usize,
    /// Bytes a second read from one domain on average; more is read later.
    pub read_bytes_per_second_max: u64,
    /// Connections from other servers at a time, in all.
    pub connections_max: usize,
    /// Connections from one address (IPv4) or one /64 (IPv6); loopback is not counted.
    pub connections_per_address_max: usize,
    /// Authenticated streams from one domain at a time.
    pub connections_per_domain_max: usize,
    /// Pairs of domains on one stream (dialback can prove several).
    pub pairs_per_connection_max: usize,
    /// Dialback keys of one domain being verified at a time.
    pub verifications_per_domain_max: usize,
    /// Seconds for which a lost stream can be resumed.
    pub resume_seconds_max: u64,
    /// Bytes sent and not acknowledged on one stream; no more is sent until some are.
    pub unacknowledged_bytes_max: usize,
    /// What holds for some domains alone. The most exact name counts.
    #[serde(rename = "domain")]
    pub domains: Vec<DomainRule>,
}

impl Default for S2s {
    fn default() -> Self {
        Self {
            mode: Mode::Open,
            tls_required: true,
            require_valid_certificate: true,
            dialback: true,
            bidi: true,
            stream_management: true,
            confirm_by_ping: true,
            allow_loopback: false,
            idle_seconds: 600,
            queue_seconds_max: 300,
            queue_bytes_max: 8 << 20,
            retry_seconds: 60,
            domains_max: 10_000,
            handshake_seconds_max: 60,
            unauthenticated_bytes_max: 65_536,
            stanza_bytes_max: 524_288,
            read_bytes_per_second_max: 8 << 20,
            connections_max: 10_000,
            connections_per_address_max: 128,
            connections_per_domain_max: 16,
            pairs_per_connection_max: 64,
            verifications_per_domain_max: 4,
            resume_seconds_max: 300,
            unacknowledged_bytes_max: 4 << 20,
            domains: Vec::new(),
        }
    }
}

/// With which servers this one talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// With all that no rule blocks.
    #[default]
    Open,
    /// With those alone that a rule allows.
    AllowList,
}

/// Whether a server is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is.
    #[default]
    Allow,
    /// It is not.
    Block,
}

/// What holds for one domain, or for all below one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainRule {
    /// `example.org`, or `*.example.org` for every domain below it.
    pub name: String,
    /// Whether to talk to it.
    #[serde(default)]
    pub action: Action,
    /// In place of `s2s.require_valid_certificate`.
    pub require_valid_certificate: Option<bool>,
    /// In place of `s2s.dialback`.
    pub dialback: Option<bool>,
    /// In place of `s2s.tls_required`.
    pub tls_required: Option<bool>,
    /// `host`, `host:port` or an address, dialled in place of what DNS says.
    pub address: Option<String>,
    /// Whether TLS begins with the first byte at `address`.
    #[serde(default)]
    pub direct_tls: bool,
    /// The name asked for in TLS and expected in the certificate, beside the domain.
    pub tls_name: Option<String>,
    /// In place of `s2s.queue_bytes_max`.
    pub queue_bytes_max: Option<usize>,
    /// In place of `s2s.read_bytes_per_second_max`.
    pub read_bytes_per_second_max: Option<u64>,
    /// In place of `s2s.connections_per_domain_max`.
    pub connections_max: Option<usize>,
}

impl S2s {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bounds = [
            ("idle_seconds", self.idle_seconds),
            ("queue_seconds_max", self.queue_seconds_max),
            ("queue_bytes_max", self.queue_bytes_max as u64),
            ("domains_max", self.domains_max as u64),
            ("handshake_seconds_max", self.handshake_seconds_max),
            ("unauthenticated_bytes_max", self.unauthenticated_bytes_max as u64),
            ("read_bytes_per_second_max", self.read_bytes_per_second_max),
            ("connections_max", self.connections_max as u64),
            ("connections_per_address_max", self.connections_per_address_max as u64),
            ("connections_per_domain_max", self.connections_per_domain_max as u64),
            ("pairs_per_connection_max", self.pairs_per_connection_max as u64),
            ("verifications_per_domain_max", self.verifications_per_domain_max as u64),
            ("unacknowledged_bytes_max", self.unacknowledged_bytes_max as u64),
        ];
        for (name, value) in bounds {
            if value == 0 {
                return Err(ConfigError::new(format!("`s2s.{name}` is 0, which would refuse everything"))
                    .with_hint("leave the key out for the default"));
            }
        }
        if self.stanza_bytes_max < 10_000 {
            return Err(ConfigError::new(format!("`s2s.stanza_bytes_max` is {}", self.stanza_bytes_max))
                .with_hint("RFC 6120 section 13.12 asks for at least 10000"));
        }
        for (index, rule) in self.domains.iter().enumerate() {
            let name = &rule.name;
            let bare = name.strip_prefix("*.").unwrap_or(name);
            if bare.is_empty() || bare.contains(['*', '@', '/', ' ']) {
                return Err(ConfigError::new(format!("`s2s.domain`: `{name}` is not a domain name"))
                    .with_hint("write `example.org`, or `*.example.org` for the domains below it"));
            }
            if self.domains.iter().take(index).any(|other| other.name.eq_ignore_ascii_case(name)) {
                return Err(ConfigError::new(format!("two [[s2s.domain]] sections for `{name}`")).with_hint("keep one"));
            }
        }
        Ok(())
    }
}
