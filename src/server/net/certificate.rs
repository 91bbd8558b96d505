//! A host's certificate: read from PEM files or made by the server itself, and what must be known about it.
//!
//! Follows RFC 5929 section 4.1 for the hash that channel binding uses. Whether a certificate is trusted is for the
//! client to judge (RFC 7590, RFC 6125); here we only say when it plainly cannot be: wrong name, out of date.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_parser::oid_registry as oid;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::config::{Host, make_private_folder};

/// Bytes a PEM file may have.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// Why a host's certificate cannot be used. Names the file and says what to do.
#[derive(Debug)]
pub struct CertificateError {
    /// The file at fault.
    pub file: PathBuf,
    /// What is wrong with it and what to do.
    pub message: String,
}

impl CertificateError {
    fn new(file: &Path, message: impl Into<String>) -> Self {
        Self { file: file.to_path_buf(), message: message.into() }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.message)
    }
}

impl std::error::Error for CertificateError {}

/// A certificate chain with its key, ready for handshakes.
#[derive(Clone)]
pub struct Certificate {
    /// Where the chain came from.
    pub file: PathBuf,
    /// Whether the server made it itself.
    pub is_self_made: bool,
    /// Chain and signing key.
    pub certified: Arc<CertifiedKey>,
    /// The `tls-server-end-point` value (RFC 5929 section 4.1); none where that is not defined (Ed25519).
    pub server_end_point: Option<Vec<u8>>,
    /// DNS names it is good for; may hold wildcards.
    pub names: Vec<String>,
    /// First second it is valid, in Unix time.
    pub not_before: i64,
    /// Last second it is valid, in Unix time.
    pub not_after: i64,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("file", &self.file).field("names", &self.names).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads the pair a host names, or the self-made one, which is made when it is not there yet and then kept.
    ///
    /// # Errors
    /// Names the file that is missing, unreadable, not PEM, or does not belong to the other.
    pub fn load(host: &Host, data_directory: &Path, provider: &CryptoProvider) -> Result<Self, CertificateError> {
        match (&host.certificate, &host.key) {
            (Some(certificate), Some(key)) => Self::read(certificate, key, false, provider),
            _ => {
                let (certificate, key) = self_made_files(&host.domain, data_directory);
                if !certificate.exists() || !key.exists() {
                    make(&host.domain, &certificate, &key)?;
                }
                Self::read(&certificate, &key, true, provider)
            }
        }
    }

    fn read(file: &Path, key: &Path, is_self_made: bool, provider: &CryptoProvider) -> Result<Self, CertificateError> {
        let pem = read_bounded(file)?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| CertificateError::new(file, format!("not a PEM certificate: {error}")))?;
        let Some(leaf) = chain.first().cloned() else {
            return Err(CertificateError::new(file, "holds no certificate; expected -----BEGIN CERTIFICATE-----"));
        };
        let private = PrivateKeyDer::from_pem_slice(&read_bounded(key)?)
            .map_err(|error| CertificateError::new(key, format!("not a PEM private key: {error}")))?;
        let signing = provider
            .key_provider
            .load_private_key(private)
            .map_err(|error| CertificateError::new(key, format!("this kind of key cannot be used: {error}")))?;
        let certified = CertifiedKey::new(chain, signing);
        if matches!(certified.keys_match(), Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)))
        {
            return Err(CertificateError::new(key, format!("is not the key of {}", file.display())));
        }
        let (_, x509) = X509Certificate::from_der(&leaf)
            .map_err(|error| CertificateError::new(file, format!("not an X.509 certificate: {error}")))?;
        Ok(Self {
            file: file.to_path_buf(),
            is_self_made,
            certified: Arc::new(certified),
            server_end_point: server_end_point(&leaf, &x509),
            names: dns_names(&x509),
            not_before: x509.validity().not_before.timestamp(),
            not_after: x509.validity().not_after.timestamp(),
        })
    }

    /// Whether one of its names is `domain`, or a wildcard for it (RFC 6125 section 6.4.3: one label, leftmost).
    pub fn covers(&self, domain: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(rest) => domain.split_once('.').is_some_and(|(_, parent)| parent.eq_ignore_ascii_case(rest)),
            None => name.eq_ignore_ascii_case(domain),
        })
    }

    /// What an administrator should hear about it, at `now` in Unix time.
    pub fn complaints(&self, domain: &str, now: i64) -> Vec<String> {
        const DAY: i64 = 86_400;
        let file = self.file.display();
        let mut complaints = Vec::new();
        if self.not_after < now {
            complaints.push(format!(
                "{file}: the certificate ended {} days ago; clients will refuse it",
                (now - self.not_after) / DAY
            ));
        } else if self.not_after - now < 14 * DAY {
            complaints.push(format!("{file}: the certificate ends in {} days; renew it", (self.not_after - now) / DAY));
        }
        if self.not_before > now {
            complaints.push(format!("{file}: the certificate is not valid yet; is the clock right?"));
        }
        if !self.covers(domain) {
            let names = if self.names.is_empty() { "none".to_owned() } else { self.names.join(", ") };
            complaints.push(format!("{file}: the certificate is not for `{domain}` (its names: {names})"));
        }
        if self.is_self_made {
            complaints.push(format!(
                "{file}: self-made, so clients will ask their users about it; name `certificate` and `key` for `{domain}` to end that"
            ));
        }
        complaints
    }

    /// Whether `other` is the same chain, so that a reload changes nothing.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }
}

/// Where a host's self-made certificate and key are kept.
pub(crate) fn self_made_files(domain: &str, data_directory: &Path) -> (PathBuf, PathBuf) {
    let folder = data_directory.join("certificates");
    (folder.join(format!("{domain}.crt.pem")), folder.join(format!("{domain}.key.pem")))
}

fn read_bounded(file: &Path) -> Result<Vec<u8>, CertificateError> {
    let wrong = |error: io::Error| CertificateError::new(file, format!("cannot be read: {error}"));
    let mut bytes = Vec::new();
    fs::File::open(file).map_err(wrong)?.take(PEM_BYTES_MAX).read_to_end(&mut bytes).map_err(wrong)?;
    Ok(bytes)
}

/// Makes an ECDSA P-256 key and a certificate for it. Valid to 2050: nobody renews it, and clients that accept it
/// remember this very certificate.
fn make(domain: &str, certificate: &Path, key: &Path) -> Result<(), CertificateError> {
    let wrong = |error: rcgen::Error| CertificateError::new(certificate, format!("cannot make a certificate: {error}"));
    let unwritable = |error: io::Error| CertificateError::new(certificate, format!("cannot be written: {error}"));
    let mut params = rcgen::CertificateParams::new(vec![domain.to_owned()]).map_err(wrong)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, domain);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 12, 31);
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let pair = rcgen::KeyPair::generate().map_err(wrong)?;
    let made = params.self_signed(&pair).map_err(wrong)?;
    if let Some(folder) = certificate.parent() {
        make_private_folder(folder).map_err(unwritable)?;
    }
    // The key first: a certificate without its key would be made again, and its keepers asked again.
    write_whole(key, pair.serialize_pem().as_bytes()).map_err(unwritable)?;
    write_whole(certificate, made.pem().as_bytes()).map_err(unwritable)
}

/// Writes a file that only we may read, whole or not at all.
fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = file.with_extension("unfinished");
    let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&unfinished, file)
}

fn dns_names(x509: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = x509.subject_alternative_name() else { return Vec::new() };
    names
        .value
        .general_names
        .iter()
        .filter_map(|name| if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None })
        .collect()
}

/// RFC 5929 section 4.1: the hash of the whole certificate by the hash of its own signature; MD5 and SHA-1 become SHA-256.
fn server_end_point(der: &[u8], x509: &X509Certificate<'_>) -> Option<Vec<u8>> {
    let signature = &x509.signature_algorithm;
    if signature.algorithm == oid::OID_PKCS1_RSASSAPSS {
        let parameters = signature.parameters.as_ref()?;
        let pss = x509_parser::signature_algorithm::RsaSsaPssParams::try_from(parameters).ok()?;
        return hash_named(pss.hash_algorithm_oid(), der);
    }
    hash_named(&signature.algorithm, der)
}

/// The hash for a signature's or a hash's own identifier.
fn hash_named(name: &oid::Oid<'_>, der: &[u8]) -> Option<Vec<u8>> {
    let sha256 = [
        oid::OID_PKCS1_MD5WITHRSAENC,
        oid::OID_PKCS1_SHA1WITHRSA,
        oid::OID_PKCS1_SHA256WITHRSA,
        oid::OID_SIG_ECDSA_WITH_SHA256,
        oid::OID_HASH_SHA1,
        oid::OID_NIST_HASH_SHA256,
    ];
    let sha384 = [oid::OID_PKCS1_SHA384WITHRSA, oid::OID_SIG_ECDSA_WITH_SHA384, oid::OID_NIST_HASH_SHA384];
    let sha512 = [oid::OID_PKCS1_SHA512WITHRSA, oid::OID_SIG_ECDSA_WITH_SHA512, oid::OID_NIST_HASH_SHA512];
    if sha256.contains(name) {
        Some(Sha256::digest(der).to_vec())
    } else if sha384.contains(name) {
        Some(Sha384::digest(der).to_vec())
    } else if sha512.contains(name) {
        Some(Sha512::digest(der).to_vec())
    } else {
        None
    }
}
