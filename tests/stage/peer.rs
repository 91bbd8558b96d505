//! Staging over real sockets: ours or anybody's server, as environment variables name it.
//!
//! `PEER=127.0.0.1:5222` is the only one needed; `PEER_DOMAIN` (localhost), `PEER_TLS` (`plain`, `starttls` or
//! `direct`) and `PEER_NAME` (so that plays can say that this server differs) may be given. The server must let
//! accounts be registered in-band: each play gets fresh ones. Certificates are not checked here; the clients in
//! `tests/interop` do that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use xmpp::Element;

use super::actor::{Actor, Security, Wire};
use super::director::Theatre;

/// A server somewhere.
#[derive(Debug)]
pub struct Peer {
    address: String,
    domain: String,
    security: Security,
    suffix: String,
}

impl Peer {
    /// The server that the environment names, if it names one.
    pub fn from_environment() -> Option<Self> {
        static PLAY: AtomicU32 = AtomicU32::new(0);
        let address = std::env::var("PEER").ok()?;
        let security = match std::env::var("PEER_TLS").as_deref() {
            Ok("starttls") => Security::StartTls,
            Ok("direct") => Security::DirectTls,
            _ => Security::Plain,
        };
        let suffix = format!("-{}-{}", std::process::id(), PLAY.fetch_add(1, Ordering::Relaxed));
        Some(Self { address, domain: std::env::var("PEER_DOMAIN").unwrap_or("localhost".to_owned()), security, suffix })
    }
}

impl Theatre for Peer {
    fn domain(&self) -> &str {
        &self.domain
    }

    fn has_servers(&self) -> bool {
        false
    }

    fn name(&self) -> String {
        std::env::var("PEER_NAME").unwrap_or_default()
    }

    fn localpart(&self, written: &str) -> String {
        format!("{written}{}", self.suffix)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn quiet(&self) -> Duration {
        Duration::from_millis(250)
    }

    /// Prosody says that a contact is unavailable, without a resource, whenever nobody there is; it repeats the
    /// presence of one whose request is approved; and several accounts ask for the same capabilities.
    fn is_noise(&self, stanza: &Element) -> bool {
        let is_bare = |jid: &str| !jid.contains('/');
        let is_absence = stanza.attr("type") == Some("unavailable") && stanza.attr("from").is_some_and(is_bare);
        let is_repeated = stanza.has_child("delay", "urn:xmpp:delay");
        let is_question = stanza.has_child("query", "http://jabber.org/protocol/disco#info");
        self.name() == "prosody"
            && match stanza.name() {
                "presence" => is_absence || is_repeated,
                "iq" => stanza.attr("type") == Some("get") && is_question,
                _ => false,
            }
    }

    async fn admit(&self, localpart: &str, domain: &str, password: &str) -> Result<(), String> {
        let (wire, security) = self.dial(domain).await?;
        Actor::enter(wire, &self.domain, security).await?.register(localpart, password).await
    }

    async fn dial(&self, _domain: &str) -> Result<(Box<dyn Wire>, Security), String> {
        let stream = TcpStream::connect(&self.address).await.map_err(|error| format!("{}: {error}", self.address))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok((Box::new(stream), self.security))
    }
}

/// Puts TLS on a transport, with whatever certificate the server shows.
pub async fn secure(wire: Box<dyn Wire>, domain: &str) -> Result<Box<dyn Wire>, String> {
    secure_as(wire, domain, None).await
}

/// The same, with a certificate of our own if we are asked for one.
pub async fn secure_as(wire: Box<dyn Wire>, domain: &str, identity: Option<Identity>) -> Result<Box<dyn Wire>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone));
    let mut config = match identity {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"xmpp-client".to_vec()];
    let name = ServerName::try_from(domain.to_owned()).map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    Ok(Box::new(connector.connect(name, wire).await.map_err(|error| format!("TLS: {error}"))?))
}

/// Certificates and the key of the first.
pub type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Believes everyone.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
