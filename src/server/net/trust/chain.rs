//! Whether a chain of signatures leads from a certificate to one we trust (RFC 5280, by rustls-webpki).
//!
//! Names and the certificate's own time are looked at elsewhere. A certificate for servers or for clients will do on
//! either side (RFC 5280 section 4.2.1.12): public authorities no longer issue both in one. Revocation is not looked at.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, VerifiedPath};

use super::leaf::Leaf;
use super::reason::Reason;
use crate::runtime::Timestamp;

/// Bytes a PEM file may have.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// What else a path has to fulfil.
type PathCheck<'a> = dyn Fn(&VerifiedPath<'_>) -> Result<(), Error> + 'a;

/// Certificates that are trusted.
#[derive(Debug, Default)]
pub(super) struct Roots {
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    /// The same, whole, in the same order.
    whole: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// The system's and those in `files`.
    pub(super) fn load(files: &[PathBuf]) -> Result<Self, String> {
        let mut roots = Self::default();
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!(%error, "the system's trusted certificates do not all read");
        }
        roots.add(system.certs);
        if roots.anchors.is_empty() && files.is_empty() {
            tracing::warn!("the system trusts no certificates, so none of another server will be; see `trust_roots`");
        }
        roots.read(files, "trust_roots")?;
        Ok(roots)
    }

    /// Adds those in `files`, which the configuration names in `option`.
    pub(super) fn read(&mut self, files: &[PathBuf], option: &str) -> Result<(), String> {
        for file in files {
            let wrong = |why: &dyn std::fmt::Display| format!("`{option}`: {}: {why}", file.display());
            let pem = read(file).map_err(|error| wrong(&error))?;
            let found = CertificateDer::pem_slice_iter(&pem)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| wrong(&format_args!("not PEM certificates: {error}")))?;
            if self.add(found) == 0 {
                return Err(wrong(&"holds no certificate; expected -----BEGIN CERTIFICATE-----"));
            }
        }
        Ok(())
    }

    /// Adds those that can be used and answers how many.
    pub(super) fn add(&mut self, certificates: Vec<CertificateDer<'static>>) -> usize {
        let before = self.anchors.len();
        for certificate in certificates {
            // Systems carry a few that are no longer X.509 as it is understood today.
            if let Ok(anchor) = webpki::anchor_from_trusted_cert(&certificate) {
                self.anchors.push(anchor.to_owned());
                self.whole.push(certificate);
            }
        }
        self.anchors.len() - before
    }

    /// Whether the administrator trusts this very certificate.
    fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        self.whole.iter().any(|whole| whole == certificate)
    }

    /// The whole certificates that an anchor was made of.
    fn whole<'a>(&'a self, anchor: &'a TrustAnchor<'_>) -> impl Iterator<Item = &'a CertificateDer<'static>> {
        let same = |known: &TrustAnchor<'_>| {
            known.subject == anchor.subject && known.subject_public_key_info == anchor.subject_public_key_info
        };
        self.anchors.iter().zip(&self.whole).filter(move |(known, _)| same(known)).map(|(_, whole)| whole)
    }

    /// Whether a chain leads from the first of `chain` to a trusted one.
    pub(super) fn verify(&self, leaf: &Leaf, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), Reason> {
        self.verify_through(leaf, chain, now, None)
    }

    /// As [`Roots::verify`], and the chain must hold an authority that `is_wanted` (TLSA usage 0).
    pub(super) fn verify_through(
        &self,
        leaf: &Leaf,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
        is_wanted: Option<&dyn Fn(&CertificateDer<'_>) -> bool>,
    ) -> Result<(), Reason> {
        let Some(first) = chain.first() else { return Err(Reason::NoCertificate) };
        if is_wanted.is_none() && self.holds(first) {
            return Ok(());
        }
        let check = is_wanted.map(|is_wanted| {
            move |path: &VerifiedPath<'_>| {
                let found = path.intermediate_certificates().any(|authority| is_wanted(&authority.der()))
                    || self.whole(path.anchor()).any(is_wanted);
                if found { Ok(()) } else { Err(Error::UnknownIssuer) }
            }
        });
        let check = check.as_ref().map(|check| check as &PathCheck<'_>);
        verify(&self.anchors, leaf, chain, now, check)
    }
}

/// Whether a chain leads from the first of `chain` to one of `anchors`.
pub(super) fn verify(
    anchors: &[TrustAnchor<'_>],
    leaf: &Leaf,
    chain: &[CertificateDer<'_>],
    now: Timestamp,
    check: Option<&PathCheck<'_>>,
) -> Result<(), Reason> {
    let Some((first, others)) = chain.split_first() else { return Err(Reason::NoCertificate) };
    let translate = |error: Error| translate(&error, leaf, chain);
    let entity = EndEntityCert::try_from(first).map_err(translate)?;
    let now = UnixTime::since_unix_epoch(Duration::from_micros(now));
    entity
        .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, anchors, others, now, ForServers, None, check)
        .map(drop)
        .map_err(translate)
}

fn translate(error: &Error, leaf: &Leaf, chain: &[CertificateDer<'_>]) -> Reason {
    match error {
        Error::UnknownIssuer | Error::CaUsedAsEndEntity if leaf.is_self_issued => Reason::SelfSigned,
        Error::UnknownIssuer => {
            // Of the last one shown: that is whose issuer is missing.
            let last = chain.last().and_then(Leaf::read);
            Reason::UnknownIssuer(last.map_or_else(|| leaf.issuer.clone(), |last| last.issuer))
        }
        Error::BadDer | Error::BadDerTime | Error::MalformedExtensions | Error::TrailingData(_) => Reason::Unreadable,
        Error::InvalidSignatureForPublicKey => Reason::BadSignature,
        Error::CertExpired { not_after, .. } => Reason::Expired(micros(*not_after)),
        Error::CertNotValidYet { not_before, .. } => Reason::NotYetValid(micros(*not_before)),
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            Reason::Chain("its extended key usage allows neither TLS servers nor TLS clients".to_owned())
        }
        Error::CaUsedAsEndEntity => Reason::Chain("it is an authority's certificate, not a server's".to_owned()),
        Error::EndEntityUsedAsCa => Reason::Chain("it is signed by one that may not sign others".to_owned()),
        Error::NameConstraintViolation => {
            Reason::Chain("the authority that signed it may not sign for this name".to_owned())
        }
        other => Reason::Chain(format!("the chain does not verify: {other}")),
    }
}

fn micros(time: UnixTime) -> Timestamp {
    time.as_secs().saturating_mul(1_000_000)
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(PEM_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Extended key usage, if there is any: TLS servers, TLS clients, or anything.
struct ForServers;

impl ExtendedKeyUsageValidator for ForServers {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        const SERVER_AUTH: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 3, 1];
        const CLIENT_AUTH: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 3, 2];
        const ANY: [u8; 4] = [0x55, 0x1d, 0x25, 0];
        let wanted = [&SERVER_AUTH[..], &CLIENT_AUTH, &ANY].map(KeyPurposeId::new);
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            if wanted.contains(&purpose) {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        if present.is_empty() {
            return Ok(());
        }
        let required = webpki::KeyUsage::server_auth();
        Err(Error::RequiredEkuNotFoundContext(webpki::RequiredEkuNotFoundContext { required, present }))
    }
}
