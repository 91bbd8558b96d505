//! What the certificate that a client shows says of it (XEP-0178 section 2, XEP-0257): whose it is, and who vouches for that.
//!
//! Addresses are its names of the kind xmppAddr (RFC 6120 section 13.7.1.4). Only authorities that the administrator has named
//! for clients vouch for them: those that sign for servers do not look at such names. Revocation is not looked at.

use std::path::PathBuf;

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use xmpp::Jid;

use super::chain::Roots;
use super::leaf::Leaf;
use crate::runtime::Timestamp;

/// Addresses of one certificate that are looked at.
const ADDRESSES_MAX: usize = 16;

/// A client's certificate.
#[derive(Debug)]
pub struct ClientCertificate {
    leaf: Leaf,
    /// What it goes by: SHA-256 of it.
    pub fingerprint: [u8; 32],
    /// The first few addresses it names.
    pub addresses: Vec<Jid>,
}

impl ClientCertificate {
    /// Reads a certificate; none when it is not X.509.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let leaf = Leaf::read(&CertificateDer::from(der))?;
        let fingerprint = Sha256::digest(der).into();
        let addresses = leaf.addresses().filter(|jid| !jid.is_domain()).take(ADDRESSES_MAX).collect();
        Some(Self { leaf, fingerprint, addresses })
    }

    /// When it ends.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.leaf.not_after
    }

    /// Whether it is in its time.
    #[must_use]
    pub fn is_in_time(&self, now: Timestamp) -> bool {
        self.leaf.out_of_date(now).is_none()
    }
}

/// Authorities that vouch for the addresses of clients.
#[derive(Debug, Default)]
pub struct ClientRoots(Roots);

impl ClientRoots {
    /// Reads those in `files`. Not for the runtime's own threads.
    ///
    /// # Errors
    /// Names the file that cannot be read or holds no certificate.
    pub fn load(files: &[PathBuf]) -> Result<Self, String> {
        let mut roots = Roots::default();
        roots.read(files, "c2s.client_certificate_roots")?;
        Ok(Self(roots))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.anchors.is_empty()
    }

    /// Whether one of them vouches for `certificate`, with which `chain` was shown.
    #[must_use]
    pub fn vouch(&self, certificate: &ClientCertificate, chain: &[CertificateDer<'_>], now: Timestamp) -> bool {
        !self.is_empty() && self.0.verify(&certificate.leaf, chain, now).is_ok()
    }
}
