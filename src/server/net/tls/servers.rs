//! TLS between servers: both sides show certificates, and neither judges here.
//!
//! RFC 6120 section 5 and 13.7, RFC 7590, XEP-0368 (ALPN `xmpp-server`), XEP-0178 (certificates of both sides). A
//! handshake fails for a wrong signature, never for an untrusted or missing certificate: [`crate::net::trust`] judges
//! what was shown, and a peer it does not believe may still prove its domain by dialback. No resumption: each
//! connection proves possession of its key anew, which also makes TLS 1.2 without extended master secret harmless.

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{
    ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, ProtocolVersion, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};
use xmpp::stream::TlsFacts;

use super::{Start, TLS_OUTPUT_BYTES_MAX, Tls};
use crate::net::certificate::Certificate;
use crate::net::seek;
use crate::net::trust::Peer;
use crate::runtime::Transport;

/// Application protocol of a server stream (XEP-0368 section 4).
pub const ALPN_SERVER: &[u8] = b"xmpp-server";

/// Certificates of one chain that are kept to be judged.
const CHAIN_MAX: usize = 10;

/// A host's configurations towards other servers.
#[derive(Debug)]
pub(super) struct Servers {
    accept_starttls: Arc<ServerConfig>,
    accept_direct: Arc<ServerConfig>,
    connect_starttls: Arc<ClientConfig>,
    connect_direct: Arc<ClientConfig>,
}

impl Servers {
    pub(super) fn new(certificate: &Certificate, provider: &Arc<CryptoProvider>) -> Result<Self, rustls::Error> {
        let shown = Arc::new(SingleCertAndKey::from(Arc::clone(&certificate.certified)));
        let unjudged = Arc::new(Unjudged(Arc::clone(provider)));
        let mut accept = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::clone(&unjudged) as Arc<dyn ClientCertVerifier>)
            .with_cert_resolver(Arc::clone(&shown) as Arc<_>);
        accept.session_storage = Arc::new(NoServerSessionStorage {});
        accept.send_tls13_tickets = 0;
        let mut connect = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(unjudged)
            .with_client_cert_resolver(shown);
        connect.resumption = Resumption::disabled();
        let (mut accept_direct, mut connect_direct) = (accept.clone(), connect.clone());
        accept_direct.alpn_protocols = vec![ALPN_SERVER.to_vec()];
        connect_direct.alpn_protocols = vec![ALPN_SERVER.to_vec()];
        Ok(Self {
            accept_starttls: Arc::new(accept),
            accept_direct: Arc::new(accept_direct),
            connect_starttls: Arc::new(connect),
            connect_direct: Arc::new(connect_direct),
        })
    }
}

impl Tls {
    /// Does the handshake on a connection another server made to us: shows the certificate of the host it asks for, or
    /// else of the one it has `addressed` its stream to (Prosody asks for none after STARTTLS), asks for its own, and
    /// takes any or none. The caller sets the deadline.
    ///
    /// # Errors
    /// Whatever ends the handshake; the alert has then been sent as far as the wire allows.
    pub async fn accept_server<IO>(
        &self,
        wire: IO,
        start: Start,
        addressed: Option<&str>,
    ) -> io::Result<(Transport, TlsFacts, Peer)>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), wire).await?;
        let asked_for = handshake.client_hello().server_name().map(str::to_owned);
        let shown = self
            .choose(asked_for.as_deref(), addressed)
            .ok_or_else(|| io::Error::other("no host has a certificate"))?;
        let config = match start {
            Start::StartTls => Arc::clone(&shown.servers.accept_starttls),
            Start::Direct => Arc::clone(&shown.servers.accept_direct),
        };
        let stream = handshake
            .into_stream_with(config, |connection| connection.set_buffer_limit(Some(TLS_OUTPUT_BYTES_MAX)))
            .await?;
        let (_, connection) = stream.get_ref();
        let exporter = connection.export_keying_material(vec![0_u8; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok();
        let facts = facts(connection, exporter, shown.certificate.server_end_point.clone());
        let peer = Peer { chain: chain(connection), asked_for };
        Ok((Box::new(stream), facts, peer))
    }

    /// Does the handshake on a connection we made to another server: asks for the certificate of `remote` (a domain,
    /// or the name the administrator gave for it) and shows the one of our host `local` when asked for it. What the
    /// other side shows is for the caller to judge; so is how long this may take.
    ///
    /// # Errors
    /// Whatever ends the handshake, or when `remote` is no name at all or `local` no host of ours.
    pub async fn connect_server<IO>(
        &self,
        wire: IO,
        local: &str,
        remote: &str,
        start: Start,
    ) -> io::Result<(Transport, TlsFacts, Peer)>
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let invalid = |what: &str, name: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: `{name}`"));
        let ascii = seek::to_ascii(remote).map_err(|_| invalid("not a domain name", remote))?;
        let name = ServerName::try_from(ascii).map_err(|_| invalid("not a name TLS can ask for", remote))?;
        // A service or a component has no certificate of its own: that of its host, or of the first, may name it.
        let shown = self.choose(Some(local), None).ok_or_else(|| io::Error::other("no host has a certificate"))?;
        let config = match start {
            Start::StartTls => Arc::clone(&shown.servers.connect_starttls),
            Start::Direct => Arc::clone(&shown.servers.connect_direct),
        };
        let stream = TlsConnector::from(config)
            .connect_with(name, wire, |connection| connection.set_buffer_limit(Some(TLS_OUTPUT_BYTES_MAX)))
            .await?;
        let (_, connection) = stream.get_ref();
        let exporter = connection.export_keying_material(vec![0_u8; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok();
        let facts = facts(connection, exporter, None);
        let peer = Peer { chain: chain(connection), asked_for: None };
        Ok((Box::new(stream), facts, peer))
    }
}

fn facts(connection: &CommonState, exporter: Option<Vec<u8>>, server_end_point: Option<Vec<u8>>) -> TlsFacts {
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => {
            TlsFacts { exporter, server_end_point, version: "1.3", client_certificate: None }
        }
        // Extended master secret is not insisted on here, and without it the exporter binds nothing.
        _ => TlsFacts { exporter: None, server_end_point, version: "1.2", client_certificate: None },
    }
}

pub(super) fn chain(connection: &CommonState) -> Vec<CertificateDer<'static>> {
    let shown = connection.peer_certificates().unwrap_or_default();
    shown.iter().take(CHAIN_MAX).map(|certificate| certificate.clone().into_owned()).collect()
}

/// Who takes whatever certificate a client shows, or none.
pub(super) fn anyone(provider: &Arc<CryptoProvider>) -> Arc<dyn ClientCertVerifier> {
    Arc::new(Unjudged(Arc::clone(provider)))
}

/// Takes any certificate whose key made the handshake's signature.
#[derive(Debug)]
struct Unjudged(Arc<CryptoProvider>);

impl ServerCertVerifier for Unjudged {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Unjudged {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
