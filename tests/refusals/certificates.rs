//! Certificates of every kind, made by authorities of the test's own.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

type Authority = CertifiedIssuer<'static, KeyPair>;

/// What a hostile server that says it is montague.lit shows in TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// What montague.lit itself would show.
    Good,
    Nothing,
    OtherName,
    Expired,
    NotYet,
    SelfSigned,
    UnknownRoot,
    MissingIntermediate,
    /// Its common name is montague.lit, and it has no other name.
    CommonName,
    /// `*.montague.lit`.
    WildcardBelow,
    /// `*.lit` does match montague.lit.
    Wildcard,
    /// `m*.lit`.
    WildcardInside,
    /// For signing programs.
    ForPrograms,
    /// For TLS clients alone, which is good enough.
    ForClients,
    /// im.montague.lit.
    SubDomain,
    /// An authority's own.
    AnAuthority,
    /// By a server whose own certificate is good.
    ByAServer,
    /// By one that calls itself as the trusted authority does.
    Pretender,
    /// That of montague.lit, with another key.
    Stolen,
    /// For montague.lit and im.montague.lit.
    Both,
}

/// Two authorities, one of which all houses trust.
pub struct Foundry {
    pub trusted: Authority,
    unknown: Authority,
    between: Authority,
}

/// A chain and the key of its first.
pub struct Made {
    pub chain: Vec<CertificateDer<'static>>,
    pub pem: String,
    pub key: KeyPair,
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn authority(name: &str, by: Option<&Authority>) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().unwrap();
    match by {
        None => CertifiedIssuer::self_signed(params, key).unwrap(),
        Some(by) => CertifiedIssuer::signed_by(params, key, by).unwrap(),
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect();
    params.distinguished_name = named("a server");
    params.not_before = date_time_ymd(2025, 12, 1);
    params.not_after = date_time_ymd(2026, 3, 1);
    params
}

impl Foundry {
    pub fn new() -> Self {
        let trusted = authority("Trusted Root", None);
        let between = authority("Between", Some(&trusted));
        Self { unknown: authority("Nobody's Root", None), between, trusted }
    }

    /// A good certificate for some names.
    pub fn good(&self, names: &[&str]) -> Made {
        Self::make(&self.trusted, names, |_| {})
    }

    fn make(issuer: &Authority, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Made {
        let key = KeyPair::generate().unwrap();
        let mut params = params(names);
        change(&mut params);
        let made = params.signed_by(&key, issuer).unwrap();
        Made { chain: vec![made.der().clone()], pem: made.pem(), key }
    }

    /// What is shown; none for [`Shown::Nothing`].
    pub fn show(&self, shown: Shown) -> Option<Made> {
        const OWN: &[&str] = &["montague.lit"];
        let by = |names: &[&str]| Self::make(&self.trusted, names, |_| {});
        Some(match shown {
            Shown::Nothing => return None,
            Shown::Good => by(OWN),
            Shown::Both => by(&["montague.lit", "im.montague.lit"]),
            Shown::OtherName => by(&["paris.lit"]),
            Shown::WildcardBelow => by(&["*.montague.lit"]),
            Shown::Wildcard => by(&["*.lit"]),
            Shown::WildcardInside => by(&["m*.lit"]),
            Shown::SubDomain => by(&["im.montague.lit"]),
            Shown::Expired => Self::make(&self.trusted, OWN, |params| params.not_after = date_time_ymd(2025, 12, 31)),
            Shown::NotYet => Self::make(&self.trusted, OWN, |params| params.not_before = date_time_ymd(2026, 1, 2)),
            Shown::CommonName => {
                Self::make(&self.trusted, &[], |params| params.distinguished_name = named("montague.lit"))
            }
            Shown::ForPrograms => Self::make(&self.trusted, OWN, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
            }),
            Shown::ForClients => Self::make(&self.trusted, OWN, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
            Shown::AnAuthority => Self::make(&self.trusted, OWN, |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }),
            Shown::UnknownRoot => {
                let mut made = Self::make(&self.unknown, OWN, |_| {});
                made.chain.push(self.unknown.der().clone());
                made
            }
            Shown::MissingIntermediate => Self::make(&self.between, OWN, |_| {}),
            Shown::SelfSigned => {
                let key = KeyPair::generate().unwrap();
                let made = params(OWN).self_signed(&key).unwrap();
                Made { chain: vec![made.der().clone()], pem: made.pem(), key }
            }
            Shown::ByAServer => {
                let mut server = params(&["paris.lit"]);
                server.is_ca = IsCa::ExplicitNoCa;
                let server = CertifiedIssuer::signed_by(server, KeyPair::generate().unwrap(), &self.trusted).unwrap();
                let mut made = Self::make(&server, OWN, |_| {});
                made.chain.push(server.der().clone());
                made
            }
            Shown::Pretender => {
                let pretender = authority("Trusted Root", None);
                let mut made = Self::make(&pretender, OWN, |_| {});
                made.chain.push(pretender.der().clone());
                made
            }
            Shown::Stolen => Made { key: KeyPair::generate().unwrap(), ..by(OWN) },
        })
    }
}

impl Made {
    fn certified(&self) -> Arc<SingleCertAndKey> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(self.chain.clone(), key)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// TLS as somebody does it who believes everything.
pub fn client(shown: Option<&Made>, alpn: Option<&[u8]>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible(provider())));
    let mut config = match shown {
        Some(made) => builder.with_client_cert_resolver(made.certified()),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
    Arc::new(config)
}

/// TLS as a server does it that wants no certificates.
pub fn server(shown: &Made, alpn: Option<&[u8]>) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(shown.certified());
    config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
    // So that TLS is there when the other side says so.
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

#[derive(Debug)]
struct Gullible(Arc<CryptoProvider>);

impl ServerCertVerifier for Gullible {
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
