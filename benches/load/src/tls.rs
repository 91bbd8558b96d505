//! TLS as the generator needs it: a client that accepts any certificate and makes a
//! full handshake each time, or resumes its session where that is measured, the two ends of streams between servers, and the
//! self-signed server the bare relay wears.

use crate::Res;
use crate::client::err;
use crate::far::authority::Identity;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

/// A benchmark on loopback has nobody to be deceived by.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

impl ServerCertVerifier for AnyCertificate {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for AnyCertificate {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Both ends of streams between servers, each showing the same certificate and
/// believing the other's; by ALPN if TLS comes first (XEP-0368).
pub(crate) fn servers((chain, key): Identity, direct: bool) -> Res<(TlsConnector, TlsAcceptor)> {
    let provider = Arc::new(ring::default_provider());
    let any = Arc::new(AnyCertificate(ring::default_provider()));
    let mut client = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(err)?
        .dangerous()
        .with_custom_certificate_verifier(any.clone())
        .with_client_auth_cert(chain.clone(), key.clone_key())
        .map_err(err)?;
    client.resumption = rustls::client::Resumption::disabled();
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(err)?
        .with_client_cert_verifier(any)
        .with_single_cert(chain, key)
        .map_err(err)?;
    if direct {
        client.alpn_protocols = vec![b"xmpp-server".to_vec()];
        server.alpn_protocols = vec![b"xmpp-server".to_vec()];
    }
    Ok((TlsConnector::from(Arc::new(client)), TlsAcceptor::from(Arc::new(server))))
}

fn client(resumption: rustls::client::Resumption) -> Res<TlsConnector> {
    let provider = ring::default_provider();
    let mut cfg = rustls::ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_safe_default_protocol_versions()
        .map_err(err)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    cfg.resumption = resumption;
    cfg.alpn_protocols = vec![b"xmpp-client".to_vec()];
    Ok(TlsConnector::from(Arc::new(cfg)))
}

/// A client of TLS 1.2 and 1.3, announcing XMPP by ALPN (XEP-0368), never resuming.
pub(crate) fn connector() -> Res<TlsConnector> {
    client(rustls::client::Resumption::disabled())
}

/// The same, resuming the sessions of its own earlier connections where the server lets it: one device.
pub(crate) fn resuming() -> Res<TlsConnector> {
    client(rustls::client::Resumption::in_memory_sessions(1))
}

/// The handshake.
pub(crate) async fn connect(c: &TlsConnector, domain: &str, tcp: TcpStream) -> Res<TlsStream<TcpStream>> {
    let name = ServerName::try_from(domain.to_string()).map_err(err)?;
    c.connect(name, tcp).await.map_err(|e| format!("TLS: {e}"))
}

/// A server with a certificate of its own making (P-256, as the peers have).
pub(crate) fn self_signed() -> Res<Arc<rustls::ServerConfig>> {
    let made = rcgen::generate_simple_self_signed(vec!["bench.test".to_string()]).map_err(err)?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(err)?;
    let mut cfg = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(err)?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(err)?;
    cfg.alpn_protocols = vec![b"xmpp-client".to_vec()];
    Ok(Arc::new(cfg))
}
