//! Handshakes over an in-process wire, with rustls as the client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::Path;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};

use super::*;

/// Accepts every certificate: the client's judgement is not what is tested.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
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
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

pub(super) fn client(versions: &[&'static rustls::SupportedProtocolVersion], alpn: &[&[u8]]) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything(provider)))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

pub(super) fn two_hosts(folder: &Path) -> Config {
    let host = |domain: &str| Host { domain: domain.to_owned(), certificate: None, key: None };
    Config {
        data_directory: folder.to_path_buf(),
        hosts: vec![host("capulet.example"), host("montague.example")],
        ..Config::default()
    }
}

/// A folder of its own for each test, removed when it ends.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("chirrup-tls-{}-{name}", std::process::id()));
        std::fs::remove_dir_all(&folder).ok();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Server's facts, and as the client sees it: certificate, exporter, protocol.
type Met = (TlsFacts, Vec<u8>, Vec<u8>, Option<Vec<u8>>);

async fn meet(tls: &Tls, start: Start, config: rustls::ClientConfig, name: &'static str) -> io::Result<Met> {
    let (near, far) = tokio::io::duplex(4096);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let connect = connector.connect(ServerName::try_from(name).unwrap(), near);
    let (served, connected) = tokio::join!(tls.accept(far, start, None, false), connect);
    let (Accepted { facts, .. }, stream) = (served?, connected?);
    let (_, connection) = stream.get_ref();
    let leaf = connection.peer_certificates().unwrap()[0].to_vec();
    let exporter = connection.export_keying_material(vec![0_u8; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
    Ok((facts, leaf, exporter, connection.alpn_protocol().map(<[u8]>::to_vec)))
}

#[tokio::test]
async fn both_ends_of_a_handshake_agree_on_what_binds_it() {
    let folder = Folder::new("bind");
    let tls = Tls::load(&two_hosts(&folder.0)).unwrap();
    let versions = [(&rustls::version::TLS12, "1.2"), (&rustls::version::TLS13, "1.3")];
    for (version, name) in versions {
        for start in [Start::StartTls, Start::Direct] {
            let met = meet(&tls, start, client(&[version], &[]), "montague.example").await.unwrap();
            let (facts, leaf, exporter, _) = met;
            assert_eq!(facts.version, name);
            assert_eq!(facts.exporter, Some(exporter));
            assert_eq!(facts.server_end_point, Some(Sha256::digest(&leaf).to_vec()));
            assert_eq!(leaf, tls.certificate("montague.example").unwrap().certified.cert[0].to_vec());
        }
    }
}

#[tokio::test]
async fn an_unknown_name_is_met_with_the_first_host() {
    let folder = Folder::new("unknown");
    let tls = Tls::load(&two_hosts(&folder.0)).unwrap();
    let (_, leaf, ..) = meet(&tls, Start::Direct, client(rustls::ALL_VERSIONS, &[]), "verona.example").await.unwrap();
    assert_eq!(leaf, tls.certificate("capulet.example").unwrap().certified.cert[0].to_vec());
}

#[tokio::test]
async fn direct_tls_speaks_xmpp_client_and_nothing_else() {
    let folder = Folder::new("alpn");
    let tls = Tls::load(&two_hosts(&folder.0)).unwrap();
    let with = |alpn: &[&[u8]]| client(rustls::ALL_VERSIONS, alpn);
    let met = meet(&tls, Start::Direct, with(&[b"h2", ALPN_CLIENT]), "capulet.example").await.unwrap();
    assert_eq!(met.3.as_deref(), Some(ALPN_CLIENT));
    meet(&tls, Start::Direct, with(&[b"h2"]), "capulet.example").await.expect_err("not a web server");
    let met = meet(&tls, Start::StartTls, with(&[b"h2"]), "capulet.example").await.unwrap();
    assert_eq!(met.3, None);
}

#[tokio::test]
async fn a_self_made_certificate_is_kept_and_a_changed_one_is_used() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("refresh");
    let tls = Tls::load(&two_hosts(&folder.0)).unwrap();
    let first = tls.certificate("capulet.example").unwrap();
    assert!(first.covers("capulet.example") && !first.covers("montague.example"));
    let again = Tls::load(&two_hosts(&folder.0)).unwrap();
    assert!(again.certificate("capulet.example").unwrap().is_same_as(&first));
    assert_eq!(tls.refresh().0, Vec::<String>::new());
    let key = folder.0.join("certificates/capulet.example.key.pem");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);

    std::fs::remove_file(&key).unwrap();
    assert_eq!(tls.refresh().0, ["capulet.example"]);
    assert!(!tls.certificate("capulet.example").unwrap().is_same_as(&first));

    // A torn file is reported and changes nothing.
    let before = tls.certificate("capulet.example").unwrap();
    std::fs::write(&key, "-----BEGIN").unwrap();
    let (changed, errors) = tls.refresh();
    assert!(changed.is_empty());
    assert!(errors[0].to_string().contains("capulet.example.key.pem: not a PEM private key"), "{}", errors[0]);
    assert!(tls.certificate("capulet.example").unwrap().is_same_as(&before));
}

#[test]
fn a_pair_that_does_not_belong_together_is_refused() {
    let folder = Folder::new("pair");
    let mut config = two_hosts(&folder.0);
    Tls::load(&config).unwrap();
    let kept = folder.0.join("certificates");
    config.hosts[0].certificate = Some(kept.join("capulet.example.crt.pem"));
    config.hosts[0].key = Some(kept.join("montague.example.key.pem"));
    let said = Tls::load(&config).expect_err("not its key").to_string();
    assert!(said.contains("montague.example.key.pem: is not the key of"), "{said}");
    config.hosts[0].key = Some(kept.join("nowhere.pem"));
    let said = Tls::load(&config).expect_err("no such file").to_string();
    assert!(said.contains("nowhere.pem: cannot be read: No such file"), "{said}");
}

#[test]
fn complaints_name_dates_and_names() {
    let folder = Folder::new("complaints");
    let tls = Tls::load(&two_hosts(&folder.0)).unwrap();
    let mut certificate = tls.certificate("capulet.example").unwrap();
    certificate.is_self_made = false;
    let now = certificate.not_after - 20 * 86_400;
    assert_eq!(certificate.complaints("capulet.example", now), Vec::<String>::new());
    let cases = [(15, "ends in 5 days"), (27, "ended 7 days ago")];
    for (days, part) in cases {
        let said = certificate.complaints("capulet.example", now + days * 86_400).join("\n");
        assert!(said.contains(part), "{said}");
    }
    assert!(
        certificate.complaints("verona.example", now)[0]
            .contains("not for `verona.example` (its names: capulet.example)")
    );
    certificate.names = vec!["*.example".to_owned()];
    assert!(certificate.covers("verona.example") && !certificate.covers("a.verona.example"));
}
