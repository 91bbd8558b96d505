//! TLS: one configuration for each host and certificate, chosen by the name the client asks for. Between servers: see
//! `servers`; what follows is about clients.
//!
//! RFC 6120 section 5, RFC 7590, XEP-0368 (ALPN) and what channel binding needs: `tls-exporter` (RFC 9266) and
//! `tls-server-end-point` (RFC 5929). TLS 1.2 and 1.3; 1.2 only with the extended master secret (RFC 7627), without
//! which its exporter binds nothing. The host is chosen before the handshake goes on, so a connection knows exactly
//! which certificate it has shown, also while certificates are being replaced. Clients are asked for one only where it may
//! be of use to somebody, and what they show is not judged here.

mod servers;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{ProtocolVersion, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use xmpp::stream::TlsFacts;

pub use servers::ALPN_SERVER;

use super::certificate::{Certificate, CertificateError};
use crate::config::{Config, Host};

/// Application protocol of a client stream (XEP-0368 section 4).
pub const ALPN_CLIENT: &[u8] = b"xmpp-client";

/// Bytes of finished TLS records a connection may hold before its writer has to wait.
const TLS_OUTPUT_BYTES_MAX: usize = 32 * 1024;

/// How TLS came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After `<starttls/>`; application protocols are not negotiated.
    StartTls,
    /// From the first byte; a client may name `xmpp-client`, a server `xmpp-server`, and nothing else.
    Direct,
}

/// One host's certificate and the configurations made of it.
#[derive(Debug)]
struct Shown {
    certificate: Certificate,
    /// For clients that are not asked for a certificate.
    silent: Clients,
    /// For those that are.
    asking: Clients,
    servers: servers::Servers,
}

/// Configurations towards clients.
#[derive(Debug)]
struct Clients {
    starttls: Arc<ServerConfig>,
    direct: Arc<ServerConfig>,
}

/// A client that has done its handshake.
#[derive(Debug)]
pub struct Accepted<IO> {
    /// The encrypted stream.
    pub stream: TlsStream<IO>,
    /// What the handshake tells about the channel. No certificate is among it: that is for whoever judges the chain.
    pub facts: TlsFacts,
    /// The client's certificate and what it sent with it. Nothing, where it was not asked or has none.
    pub chain: Vec<CertificateDer<'static>>,
}

/// TLS for all hosts of a server. Shared by its listeners.
#[derive(Debug)]
pub struct Tls {
    provider: Arc<CryptoProvider>,
    data_directory: PathBuf,
    hosts: Vec<Host>,
    /// Replaced whole when a certificate changes; the lock is held to clone one reference.
    by_domain: Mutex<Arc<HashMap<String, Arc<Shown>>>>,
}

impl Tls {
    /// Reads or makes the certificates of all hosts.
    ///
    /// # Errors
    /// Names the file at fault and what to do.
    pub fn load(config: &Config) -> Result<Self, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut by_domain = HashMap::new();
        for host in &config.hosts {
            let certificate = Certificate::load(host, &config.data_directory, &provider)?;
            by_domain.insert(host.domain.to_ascii_lowercase(), Arc::new(shown(certificate, &provider)?));
        }
        Ok(Self {
            provider,
            data_directory: config.data_directory.clone(),
            hosts: config.hosts.clone(),
            by_domain: Mutex::new(Arc::new(by_domain)),
        })
    }

    /// Looks at all files again. A pair that changed is used for connections from now on; one that cannot be used is
    /// reported and the one before it stays. Answers the domains whose certificate changed. Reads files: not for the
    /// runtime's own threads.
    pub fn refresh(&self) -> (Vec<String>, Vec<CertificateError>) {
        let mut by_domain = HashMap::clone(&self.shown());
        let (mut changed, mut errors) = (Vec::new(), Vec::new());
        for host in &self.hosts {
            let domain = host.domain.to_ascii_lowercase();
            let outcome = Certificate::load(host, &self.data_directory, &self.provider).and_then(|certificate| {
                if by_domain.get(&domain).is_some_and(|old| old.certificate.is_same_as(&certificate)) {
                    return Ok(None);
                }
                shown(certificate, &self.provider).map(Some)
            });
            match outcome {
                Ok(None) => {}
                Ok(Some(new)) => {
                    by_domain.insert(domain, Arc::new(new));
                    changed.push(host.domain.clone());
                }
                Err(error) => errors.push(error),
            }
        }
        if !changed.is_empty() {
            *self.by_domain.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(by_domain);
        }
        (changed, errors)
    }

    /// The certificate in use for `domain`.
    pub fn certificate(&self, domain: &str) -> Option<Certificate> {
        self.shown().get(&domain.to_ascii_lowercase()).map(|shown| shown.certificate.clone())
    }

    fn shown(&self) -> Arc<HashMap<String, Arc<Shown>>> {
        Arc::clone(&self.by_domain.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The host for a name asked for in TLS (SNI), its own or that of a service of it (`pubsub.HOST`); where none or an
    /// unknown one was, the one the stream was addressed to before; else the first.
    fn choose(&self, asked: Option<&str>, addressed: Option<&str>) -> Option<Arc<Shown>> {
        let shown = self.shown();
        let first = self.hosts.first().map(|host| host.domain.as_str());
        [asked, addressed, first].into_iter().flatten().find_map(|name| {
            let name = name.to_ascii_lowercase();
            let of_its_host = || shown.get(name.split_once('.')?.1);
            shown.get(&name).or_else(of_its_host).cloned()
        })
    }

    /// Does the handshake on an accepted connection. `addressed` is the host the stream was for until now, if there was
    /// one: not every client asks for a name. Where the client `is_asked` for a certificate it may show any, or none. The
    /// caller sets the deadline.
    ///
    /// # Errors
    /// Whatever ends the handshake; the alert has then been sent as far as the wire allows.
    pub async fn accept<IO>(
        &self,
        wire: IO,
        start: Start,
        addressed: Option<&str>,
        is_asked: bool,
    ) -> io::Result<Accepted<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), wire).await?;
        let shown = self
            .choose(handshake.client_hello().server_name(), addressed)
            .ok_or_else(|| io::Error::other("no host has a certificate"))?;
        let clients = if is_asked { &shown.asking } else { &shown.silent };
        let config = match start {
            Start::StartTls => Arc::clone(&clients.starttls),
            Start::Direct => Arc::clone(&clients.direct),
        };
        let stream = handshake
            .into_stream_with(config, |connection| connection.set_buffer_limit(Some(TLS_OUTPUT_BYTES_MAX)))
            .await?;
        let (_, connection) = stream.get_ref();
        let exporter = connection.export_keying_material(vec![0_u8; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok();
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        };
        let server_end_point = shown.certificate.server_end_point.clone();
        let facts = TlsFacts { exporter, server_end_point, version, client_certificate: None };
        let chain = servers::chain(connection);
        Ok(Accepted { stream, facts, chain })
    }
}

fn shown(certificate: Certificate, provider: &Arc<CryptoProvider>) -> Result<Shown, CertificateError> {
    let unusable = |error: rustls::Error| CertificateError {
        file: certificate.file.clone(),
        message: format!("cannot be used for TLS: {error}"),
    };
    let silent = Clients::new(&certificate, provider, None).map_err(unusable)?;
    let asking = Clients::new(&certificate, provider, Some(servers::anyone(provider))).map_err(unusable)?;
    let servers = servers::Servers::new(&certificate, provider).map_err(unusable)?;
    Ok(Shown { silent, asking, servers, certificate })
}

impl Clients {
    /// With `judge`, clients are asked for a certificate.
    fn new(
        certificate: &Certificate,
        provider: &Arc<CryptoProvider>,
        judge: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Result<Self, rustls::Error> {
        let resolver = SingleCertAndKey::from(Arc::clone(&certificate.certified));
        let config = ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
        let config = match judge {
            Some(judge) => config.with_client_cert_verifier(judge),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(Arc::new(resolver));
        config.require_ems = true;
        // Resumption without state of ours: tickets under keys that change every few hours. One is enough for a client
        // that holds one connection, and each costs an encryption at login. A ticket remembers the certificate that was
        // shown; the keys are not those of connections where none was asked for, so that it will be asked for again.
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        config.send_tls13_tickets = 1;
        let mut direct = config.clone();
        direct.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
        Ok(Self { starttls: Arc::new(config), direct: Arc::new(direct) })
    }
}

#[cfg(test)]
mod tests;
