//! Whether a certificate proves a domain, as RFC 6120 section 13.7 and RFC 7712 ask it.
//!
//! Three ways: a chain to an authority the system or the administrator trusts, with the domain among the
//! certificate's names (PKIX); TLSA records that DNSSEC vouches for (DANE, RFC 6698, 7673, 7712); fingerprints the
//! domain publishes over HTTPS (POSH, RFC 7711). Judging is separate from TLS, so that dialback may still prove the
//! domain of a peer whose certificate does not, and so that the reasons can be told.
//! Revocation is not looked at.

mod chain;
mod client;
mod dane;
mod leaf;
mod posh;
mod reason;

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;

pub use client::{ClientCertificate, ClientRoots};
pub use reason::{Reason, sentence};

use self::chain::Roots;
use self::dane::{Case, Published};
use self::leaf::{Leaf, Wanted};
use self::posh::{Absent, Posh};
use super::seek::{Candidate, Seeker, to_ascii};
use super::trace::Trace;
use crate::config::Config;
use crate::runtime::{Clock, Timestamp, rfc3339};

/// What a peer showed in its TLS handshake. That it holds the first certificate's key has been proven there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its certificate, then whatever it sent with it; empty when it sent none.
    pub chain: Vec<CertificateDer<'static>>,
    /// The name it asked for (SNI), when it dialled us and named one.
    pub asked_for: Option<String>,
}

/// How we met the peer whose certificate is judged.
#[derive(Debug, Clone, Copy)]
pub enum Met<'a> {
    /// We dialled this place for the domain.
    Dialled(&'a Candidate),
    /// It dialled us and says that it is the domain.
    Accepted,
}

/// What a certificate is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It proves the domain.
    Valid(Proof),
    /// It does not; at least one reason.
    Invalid(Vec<Reason>),
}

impl Judgement {
    /// Whether the domain is proven.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        matches!(self, Self::Valid(_))
    }
}

/// How a domain was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// By what.
    pub by: By,
    /// When the certificate ends, in microseconds since the Unix epoch; the largest number when its end does not matter
    /// (TLSA usage 3). A stream that lives longer should be authenticated anew (RFC 6120 section 13.7.2.3).
    pub until: Timestamp,
    /// Who signed it: the issuer's name as written in it.
    pub signed_by: String,
}

/// What vouches for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// An authority we trust.
    Pkix,
    /// TLSA records.
    Dane,
    /// Fingerprints published over HTTPS.
    Posh,
}

impl By {
    /// `PKIX`, `DANE` or `POSH`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pkix => "PKIX",
            Self::Dane => "DANE",
            Self::Posh => "POSH",
        }
    }
}

/// Places of a domain that dials us at which its certificate is looked up.
const PLACES_MAX: usize = 4;
/// How long that may take.
const VOUCHING_MAX: Duration = Duration::from_secs(10);

/// What we trust, and whom we ask about the rest. Shared by all links.
pub struct Trust {
    roots: Roots,
    seeker: Seeker,
    clock: Arc<dyn Clock>,
    posh: Posh,
}

impl Trust {
    /// Whether those of `config.trust_roots` read.
    ///
    /// # Errors
    /// As [`Trust::load`].
    pub fn read_roots(config: &Config) -> Result<(), String> {
        Roots::default().read(&config.trust_roots, "trust_roots")
    }

    /// Reads the system's trusted certificates and those of `config.trust_roots`. Reads files: not for the runtime's
    /// own threads.
    ///
    /// # Errors
    /// Names the file that cannot be read or holds no certificate. That the system has none is only logged.
    pub fn load(config: &Config, seeker: Seeker, clock: Arc<dyn Clock>) -> Result<Self, String> {
        Ok(Self::new(Roots::load(&config.trust_roots)?, seeker, clock))
    }

    /// Trusts these certificates and no others: for simulations.
    #[must_use]
    pub fn only(certificates: Vec<CertificateDer<'static>>, seeker: Seeker, clock: Arc<dyn Clock>) -> Self {
        let mut roots = Roots::default();
        roots.add(certificates);
        Self::new(roots, seeker, clock)
    }

    fn new(roots: Roots, seeker: Seeker, clock: Arc<dyn Clock>) -> Self {
        let posh = Posh::new(seeker.clone(), Arc::clone(&clock), &roots);
        Self { roots, seeker, clock, posh }
    }

    /// Whether what `peer` showed proves `domain`. May ask the DNS and, where the chain proves nothing, the domain's
    /// web server; both bounded in time and size, and remembered.
    pub async fn judge(&self, domain: &str, peer: &Peer, met: Met<'_>, trace: &Trace) -> Judgement {
        let judgement = self.weigh(domain, peer, met, trace).await;
        trace.say(|| match &judgement {
            Judgement::Valid(Proof { by, until, signed_by }) => {
                let until = if *until == Timestamp::MAX { "withdrawn".to_owned() } else { rfc3339(*until) };
                format!("certificate: valid for {domain} by {}, signed by {signed_by}, until {until}", by.name())
            }
            Judgement::Invalid(reasons) => format!("certificate: not valid for {domain}: {}", sentence(reasons)),
        });
        judgement
    }

    async fn weigh(&self, domain: &str, peer: &Peer, met: Met<'_>, trace: &Trace) -> Judgement {
        let Some(own) = peer.chain.first() else { return Judgement::Invalid(vec![Reason::NoCertificate]) };
        let Some(leaf) = Leaf::read(own) else { return Judgement::Invalid(vec![Reason::Unreadable]) };
        let Ok(ascii) = to_ascii(domain) else {
            return Judgement::Invalid(vec![Reason::OtherName(leaf.listed())]);
        };
        let now = self.clock.now();
        let mut wanted = Wanted { domain: ascii, hosts: Vec::new() };
        let valid = |by, until| Judgement::Valid(Proof { by, until, signed_by: leaf.issuer.clone() });
        if let Met::Dialled(candidate) = met {
            wanted.hosts.extend(candidate.tls_name.clone());
            if candidate.is_secure {
                wanted.hosts.push(candidate.host.clone());
            }
            // The domain's own word about this place: where there is one, nothing else counts (RFC 6698 section 4.1).
            match dane::published(&**self.seeker.resolver(), candidate, trace).await {
                Published::Nothing => {}
                Published::Unknown(why) => return Judgement::Invalid(vec![Reason::DaneUnknown(why.to_string())]),
                Published::Records(records) => {
                    let case = Case { roots: &self.roots, leaf: &leaf, chain: &peer.chain, wanted: &wanted, now };
                    return match dane::judge(case, &records) {
                        Ok(until) => valid(By::Dane, until),
                        Err(reasons) => Judgement::Invalid(reasons),
                    };
                }
            }
        }
        let mut reasons = Vec::new();
        let out_of_date = leaf.out_of_date(now);
        match &out_of_date {
            Some(reason) => reasons.push(reason.clone()),
            None => reasons.extend(self.roots.verify(&leaf, &peer.chain, now).err()),
        }
        if !leaf.is_for(&wanted) {
            reasons.push(Reason::OtherName(leaf.listed()));
        }
        if reasons.is_empty() {
            return valid(By::Pkix, leaf.not_after);
        }
        if let Met::Accepted = met
            && let Ok(Some(until)) =
                tokio::time::timeout(VOUCHING_MAX, self.vouched(&leaf, peer, &wanted, now, trace)).await
        {
            return valid(By::Dane, until);
        }
        // RFC 7711 section 6: a certificate that is out of date is not made good by its fingerprint.
        if out_of_date.is_none() {
            match self.posh.ask(&wanted.domain, trace).await {
                Ok(fingerprints) if fingerprints.hold(own) => return valid(By::Posh, leaf.not_after),
                Ok(_) => {
                    reasons.push(Reason::Posh("the domain publishes fingerprints of other certificates".to_owned()))
                }
                Err(Absent::Wrong(why)) => reasons.push(Reason::Posh(why)),
                Err(Absent::Nothing(_)) => {}
            }
        }
        Judgement::Invalid(reasons)
    }

    /// Whether a server that dialled us shows the certificate that DNSSEC vouches for at a place where we would dial
    /// it. Its records are about those places and bind nobody who dials from elsewhere, so a mismatch proves nothing.
    async fn vouched(
        &self,
        leaf: &Leaf,
        peer: &Peer,
        wanted: &Wanted,
        now: Timestamp,
        trace: &Trace,
    ) -> Option<Timestamp> {
        if !self.seeker.resolver().is_validating() {
            return None;
        }
        let candidates = self.seeker.seek(&wanted.domain, None, trace).await.ok()?;
        for candidate in candidates.iter().filter(|candidate| candidate.is_secure).take(PLACES_MAX) {
            if let Published::Records(records) = dane::published(&**self.seeker.resolver(), candidate, trace).await {
                let hosts = vec![candidate.host.clone()];
                let wanted = Wanted { domain: wanted.domain.clone(), hosts };
                let case = Case { roots: &self.roots, leaf, chain: &peer.chain, wanted: &wanted, now };
                if let Ok(until) = dane::judge(case, &records) {
                    return Some(until);
                }
            }
        }
        None
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").field("anchors", &self.roots.anchors.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
