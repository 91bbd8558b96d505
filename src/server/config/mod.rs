//! The configuration: one TOML file in which every key is optional and none is unknown.
//!
//! This module reads the server's own keys and hands the other sections to the extensions that own them
//! ([`Sections`]). Without a file the defaults below serve `localhost` on loopback from `./data`.
//! It opens no socket, certificate or store: those who use a value say what is wrong with it, `chirrup check`
//! asks them all.

pub mod components;
mod error;
mod limits;
pub mod s2s;
mod sections;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

pub use error::ConfigError;
pub use limits::Limits;
pub use s2s::S2s;
pub use sections::Sections;

/// Top-level keys and sections the server reads itself.
pub(crate) const OWN_KEYS: [&str; 15] = [
    "data_directory",
    "admins",
    "registration",
    "trust_roots",
    "log",
    "host",
    "listen",
    "c2s",
    "s2s",
    "components",
    "component",
    "store",
    "dns",
    "limits",
    "tls",
];

/// Bytes a configuration file may have.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Everything the server itself is told, and the sections of its extensions.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from; none for the embedded defaults.
    pub file: Option<PathBuf>,
    /// Where accounts, posts, messages, self-made certificates and the control socket are.
    pub data_directory: PathBuf,
    /// The domains served, at least one; the first is the default when a client names none.
    pub hosts: Vec<Host>,
    /// Bare JIDs of administrators: who may create nodes wherever that is a matter of who one is.
    pub admins: Vec<String>,
    /// Who may open an account over XMPP (XEP-0077).
    pub registration: Registration,
    /// Addresses to listen on.
    pub listen: Listen,
    /// Client streams.
    pub c2s: C2s,
    /// Server streams.
    pub s2s: S2s,
    /// Where components connect.
    pub components: components::Components,
    /// The components.
    pub component: Vec<components::Component>,
    /// TLS towards everybody.
    pub tls: Tls,
    /// Where the data is kept, and how.
    pub store: StoreConfig,
    /// Name resolution.
    pub dns: Dns,
    /// PEM files with certificates to trust for other servers, besides the system's.
    pub trust_roots: Vec<PathBuf>,
    /// What is logged, in the words of tracing's `EnvFilter`; the environment variable `CHIRRUP_LOG` wins.
    pub log: String,
    /// Every bound.
    pub limits: Limits,
    /// The extensions' sections.
    pub sections: Sections,
}

/// One domain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The domain part of its accounts' addresses.
    pub domain: String,
    /// PEM file with the certificate, then its intermediates. None: a self-made certificate in the data directory.
    pub certificate: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    pub key: Option<PathBuf>,
}

/// Who may open an account over XMPP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Nobody; `chirrup user add` opens accounts.
    #[default]
    Closed,
    /// Whoever brings an invitation.
    Invite,
    /// Anybody.
    Open,
}

/// Addresses to listen on. An empty list switches a listener off.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Clients, TLS by STARTTLS (RFC 6120).
    pub c2s: Vec<SocketAddr>,
    /// Clients, TLS from the first byte (XEP-0368).
    pub c2s_tls: Vec<SocketAddr>,
    /// Servers, TLS by STARTTLS (RFC 6120).
    pub s2s: Vec<SocketAddr>,
    /// Servers, TLS from the first byte (XEP-0368).
    pub s2s_tls: Vec<SocketAddr>,
    /// HTTP. Not served by this version.
    pub http: Vec<SocketAddr>,
    /// HTTPS. Not served by this version.
    pub https: Vec<SocketAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            c2s: on_loopback(5222),
            c2s_tls: on_loopback(5223),
            s2s: on_loopback(5269),
            s2s_tls: on_loopback(5270),
            http: Vec::new(),
            https: Vec::new(),
        }
    }
}

fn on_loopback(port: u16) -> Vec<SocketAddr> {
    vec![
        SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port)),
    ]
}

/// Client streams.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct C2s {
    /// Whether a client on a `listen.c2s` address must use STARTTLS before it authenticates. The log complains when not.
    pub tls_required: bool,
    /// What happens when a resource is asked for that is in use.
    pub resource_conflict: ResourceConflict,
    /// Whether SCRAM with SHA-512 is offered.
    pub scram_sha_512: bool,
    /// Whether clients can log in with certificates (XEP-0257, XEP-0178).
    pub client_certificates: bool,
    /// PEM files with authorities that vouch for the addresses in clients' certificates.
    pub client_certificate_roots: Vec<PathBuf>,
    /// Certificates one account can register.
    pub client_certificates_per_account_max: usize,
    /// Whether clients can have stanzas acknowledged (XEP-0198).
    pub stream_management: bool,
    /// Seconds for which a session without a stream waits for its client. 0: clients cannot resume.
    pub resume_seconds_max: u32,
    /// Stanzas written to a client and not acknowledged, beyond which no more are written.
    pub unacknowledged_stanzas_max: usize,
    /// Bytes of them.
    pub unacknowledged_bytes_max: usize,
    /// Seconds a client may take to answer when it is asked how many stanzas it has handled.
    pub acknowledge_seconds_max: u64,
}

impl Default for C2s {
    fn default() -> Self {
        Self {
            tls_required: true,
            resource_conflict: ResourceConflict::Replace,
            scram_sha_512: false,
            client_certificates: true,
            client_certificate_roots: Vec::new(),
            client_certificates_per_account_max: 16,
            stream_management: true,
            resume_seconds_max: 600,
            unacknowledged_stanzas_max: 1_000,
            unacknowledged_bytes_max: 1 << 20,
            acknowledge_seconds_max: 60,
        }
    }
}

/// What happens when a resource is asked for that is in use (RFC 6120 section 7.7.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceConflict {
    /// The newcomer gets it, the stream that had it is closed with `conflict`.
    #[default]
    Replace,
    /// The newcomer is refused with `conflict`.
    Refuse,
    /// The newcomer gets another resource, made by the server.
    Rename,
}

/// TLS towards everybody.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Seconds between looks at the certificate files; a changed pair is used for new connections.
    pub certificate_check_seconds: u64,
}

impl Default for Tls {
    fn default() -> Self {
        Self { certificate_check_seconds: 60 }
    }
}

/// Which store engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreEngine {
    /// Nothing survives the process; for tests and trials.
    Memory,
    /// One log, read whole at open.
    #[default]
    Sled,
    /// A log-structured merge tree.
    Fjall,
}

impl StoreEngine {
    /// The word used in the configuration and for the engine's folder in the data directory.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sled => "sled",
            Self::Fjall => "fjall",
        }
    }
}

/// Where the data is kept, and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// The engine. Changing it does not move data: `chirrup store copy` does.
    pub engine: StoreEngine,
    /// Bytes of memory the engine may use as its cache.
    pub cache_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { engine: StoreEngine::Sled, cache_bytes: 64 << 20 }
    }
}

/// Name resolution.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// DNS servers to ask instead of the system's, as `address` with port 53 or `address:port`.
    #[serde(deserialize_with = "dns_servers")]
    pub servers: Vec<SocketAddr>,
    /// Seconds to wait for an answer before a question counts as unanswered.
    pub timeout_seconds: u64,
    /// Whether to check DNSSEC signatures (RFC 4035), without which DANE (RFC 7712) is not used.
    pub dnssec: bool,
    /// File with DNSKEY records to start from, in the form of a zone file. None: the root's.
    pub trust_anchor: Option<PathBuf>,
}

impl Default for Dns {
    fn default() -> Self {
        Self { servers: Vec::new(), timeout_seconds: 5, dnssec: false, trust_anchor: None }
    }
}

fn dns_servers<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<SocketAddr>, D::Error> {
    let mut servers = Vec::new();
    for text in Vec::<String>::deserialize(from)? {
        let server = text
            .parse::<SocketAddr>()
            .or_else(|_| text.parse::<std::net::IpAddr>().map(|address| SocketAddr::new(address, 53)))
            .map_err(|_| serde::de::Error::custom(format!("`dns.servers`: `{text}` is not an IP address")))?;
        servers.push(server);
    }
    Ok(servers)
}

/// The server's own keys as they stand in the file.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Own {
    data_directory: PathBuf,
    host: Vec<Host>,
    admins: Vec<String>,
    registration: Registration,
    listen: Listen,
    c2s: C2s,
    s2s: S2s,
    components: components::Components,
    component: Vec<components::Component>,
    tls: Tls,
    store: StoreConfig,
    dns: Dns,
    trust_roots: Vec<PathBuf>,
    log: String,
    limits: Limits,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            data_directory: PathBuf::from("./data"),
            host: Vec::new(),
            admins: Vec::new(),
            registration: Registration::default(),
            listen: Listen::default(),
            c2s: C2s::default(),
            s2s: S2s::default(),
            components: components::Components::default(),
            component: Vec::new(),
            tls: Tls::default(),
            store: StoreConfig::default(),
            dns: Dns::default(),
            trust_roots: Vec::new(),
            log: "info".to_owned(),
            limits: Limits::default(),
        }
    }
}

/// Makes a folder, and those above it, that only its owner can look into. One that is there stays as it is.
///
/// # Errors
/// What the operating system says.
pub fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

impl Default for Config {
    fn default() -> Self {
        Self::assemble(Own::default(), None, Sections::default())
    }
}

impl Config {
    /// The server's part of `config.example.toml`.
    pub const EXAMPLE: &str =
        concat!(include_str!("own.toml"), include_str!("s2s.toml"), include_str!("components.toml"));

    /// Reads a file.
    ///
    /// # Errors
    /// Names the file, the line, the key, and what was probably meant.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let unreadable = |error: std::io::Error| {
            ConfigError::new(format!("cannot read the configuration: {error}"))
                .with_hint("name another file with --config, or leave it out to serve localhost")
                .in_file(Some(file))
        };
        let length = std::fs::metadata(file).map_err(unreadable)?.len();
        if length > FILE_BYTES_MAX {
            return Err(
                ConfigError::new(format!("{length} bytes are too many for a configuration")).in_file(Some(file))
            );
        }
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        Self::parse(&text, Some(file))
    }

    /// Reads the text of a file. Relative paths in it are taken from the file's own folder.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, file: Option<&Path>) -> Result<Self, ConfigError> {
        let wrong = |error: &toml::de::Error| ConfigError::from_toml(error, text).in_file(file);
        let root = DeTable::parse(text).map_err(|error| wrong(&error))?;
        let whole = root.span();
        let mut own = DeTable::new();
        let mut sections = Sections::new(file, text);
        for (key, value) in root.into_inner() {
            if OWN_KEYS.contains(&key.get_ref().as_ref()) {
                own.insert(key, value);
            } else {
                sections.keep(key.get_ref().as_ref(), key.span().start);
            }
        }
        let own = Spanned::new(whole, DeValue::Table(own));
        let own = Own::deserialize(ValueDeserializer::from(own)).map_err(|error| wrong(&error))?;
        let config = Self::assemble(own, file, sections);
        config.check().map_err(|error| error.in_file(file))?;
        Ok(config)
    }

    fn assemble(mut own: Own, file: Option<&Path>, sections: Sections) -> Self {
        if own.host.is_empty() {
            own.host.push(Host { domain: "localhost".to_owned(), certificate: None, key: None });
        }
        if let Some(folder) = file.and_then(Path::parent) {
            let from_folder = |path: &mut PathBuf| *path = folder.join(&*path);
            own.host.iter_mut().flat_map(|host| [&mut host.certificate, &mut host.key]).flatten().for_each(from_folder);
            let roots = own.trust_roots.iter_mut().chain(&mut own.c2s.client_certificate_roots);
            roots.chain(&mut own.dns.trust_anchor).for_each(from_folder);
            from_folder(&mut own.data_directory);
        }
        Self {
            file: file.map(Path::to_path_buf),
            data_directory: own.data_directory,
            hosts: own.host,
            admins: own.admins,
            registration: own.registration,
            listen: own.listen,
            c2s: own.c2s,
            s2s: own.s2s,
            components: own.components,
            component: own.component,
            tls: own.tls,
            store: own.store,
            dns: own.dns,
            trust_roots: own.trust_roots,
            log: own.log,
            limits: own.limits,
            sections,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.limits.check()?;
        self.s2s.check()?;
        components::check(&self.components, &self.component, &self.hosts)?;
        for (index, host) in self.hosts.iter().enumerate() {
            let domain = &host.domain;
            if domain.is_empty() || domain.len() > 1023 || domain.contains(['@', '/', ' ', ':']) {
                return Err(ConfigError::new(format!("`host.domain`: `{domain}` is not a domain name")));
            }
            if self.hosts.iter().take(index).any(|other| other.domain.eq_ignore_ascii_case(domain)) {
                return Err(ConfigError::new(format!("two [[host]] sections for `{domain}`")).with_hint("keep one"));
            }
            match (&host.certificate, &host.key) {
                (Some(_), None) => {
                    return Err(ConfigError::new(format!("`{domain}` has a `certificate` and no `key`"))
                        .with_hint("add the PEM file of its private key"));
                }
                (None, Some(_)) => {
                    return Err(ConfigError::new(format!("`{domain}` has a `key` and no `certificate`"))
                        .with_hint("add the PEM file of its certificate chain"));
                }
                _ => {}
            }
        }
        for (key, is_zero) in [
            ("unacknowledged_stanzas_max", self.c2s.unacknowledged_stanzas_max == 0),
            ("unacknowledged_bytes_max", self.c2s.unacknowledged_bytes_max == 0),
            ("acknowledge_seconds_max", self.c2s.acknowledge_seconds_max == 0),
        ] {
            if is_zero {
                return Err(ConfigError::new(format!("`c2s.{key}` is 0, with which nothing could be sent"))
                    .with_hint("leave the key out for the default, or set `c2s.stream_management = false`"));
            }
        }
        for admin in &self.admins {
            if !admin.contains('@') || admin.contains(['/', ' ']) {
                return Err(ConfigError::new(format!("`admins`: `{admin}` is not a bare JID"))
                    .with_hint("write it as localpart@domain"));
            }
        }
        if self.listen.c2s.is_empty() && self.listen.c2s_tls.is_empty() {
            return Err(ConfigError::new("`listen.c2s` and `listen.c2s_tls` are both empty: no client could log in"));
        }
        // Refused rather than ignored: an administrator would count on them.
        let later = [("listen.http", self.listen.http.is_empty()), ("listen.https", self.listen.https.is_empty())];
        for (key, is_empty) in later {
            if !is_empty {
                return Err(ConfigError::new(format!("`{key}` is not served by this version"))
                    .with_hint("leave the list empty"));
            }
        }
        if self.dns.timeout_seconds == 0 || self.dns.timeout_seconds > 60 {
            return Err(ConfigError::new(format!("`dns.timeout_seconds` is {}", self.dns.timeout_seconds))
                .with_hint("choose 1 to 60"));
        }
        if self.dns.trust_anchor.is_some() && !self.dns.dnssec {
            return Err(ConfigError::new("`dns.trust_anchor` is named and `dns.dnssec` is false")
                .with_hint("set `dns.dnssec = true`, or leave the file out"));
        }
        if self.tls.certificate_check_seconds == 0 {
            return Err(ConfigError::new("`tls.certificate_check_seconds` is 0").with_hint("choose at least 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
