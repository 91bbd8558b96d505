//! Certificates of every kind, and what each is worth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod dane;
mod pkix;
mod posh;

use std::sync::Mutex;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, OtherNameValue, SanType, date_time_ymd,
};

use super::*;
use crate::net::tls::Start;
use crate::runtime::{ScriptedDialer, ScriptedResolver, SeededIds, SimulatedClock};

type Authority = CertifiedIssuer<'static, KeyPair>;

/// 2026-06-15T00:00:00Z.
const NOW: Timestamp = 1_781_481_600_000_000;
const DAY: Timestamp = 86_400_000_000;

/// Two authorities, one of which is trusted, and one the trusted one has signed.
struct Foundry {
    trusted: Authority,
    unknown: Authority,
    between: Authority,
}

/// A certificate and its key.
struct Made {
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Foundry {
    fn new() -> Self {
        let trusted = authority("Trusted Root", None);
        let between = authority("Between", Some(&trusted));
        Self { unknown: authority("Nobody's Root", None), between, trusted }
    }

    /// A certificate for `names`, valid now, by `issuer`; `change` makes it special.
    fn make(issuer: &Authority, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Made {
        let key = KeyPair::generate().unwrap();
        let params = params(names, change);
        Made { der: params.signed_by(&key, issuer).unwrap().der().clone(), key }
    }

    fn good(&self) -> Made {
        Self::make(&self.trusted, &["capulet.example"], |_| {})
    }
}

fn params(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = named("a server");
    params.not_before = date_time_ymd(2026, 6, 1);
    params.not_after = date_time_ymd(2026, 8, 30);
    change(&mut params);
    params
}

fn self_signed(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Made {
    let key = KeyPair::generate().unwrap();
    Made { der: params(names, change).self_signed(&key).unwrap().der().clone(), key }
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

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// A judge with its own names, machines and time.
struct Court {
    resolver: Arc<ScriptedResolver>,
    dialer: Arc<ScriptedDialer>,
    clock: Arc<SimulatedClock>,
    trust: Arc<Trust>,
    trace: Trace,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Court {
    fn new(foundry: &Foundry, resolver: ScriptedResolver) -> Self {
        Self::trusting(vec![foundry.trusted.der().clone()], resolver)
    }

    fn trusting(roots: Vec<CertificateDer<'static>>, resolver: ScriptedResolver) -> Self {
        let (resolver, dialer) = (Arc::new(resolver), Arc::new(ScriptedDialer::new()));
        let clock = Arc::new(SimulatedClock::new(NOW));
        let ids = Arc::new(SeededIds::new(1));
        let seeker = Seeker::new(Arc::clone(&resolver) as _, Arc::clone(&dialer) as _, ids, false);
        let trust = Arc::new(Trust::only(roots, seeker, Arc::clone(&clock) as _));
        let (trace, lines) = Trace::kept();
        Self { resolver, dialer, clock, trust, trace, lines }
    }

    async fn judge(&self, domain: &str, chain: &[&CertificateDer<'static>], met: Met<'_>) -> Judgement {
        let peer = Peer { chain: chain.iter().map(|der| (*der).clone()).collect(), asked_for: None };
        self.trust.judge(domain, &peer, met, &self.trace).await
    }

    /// What is said of a server that dialled us as `capulet.example`.
    async fn accepted(&self, chain: &[&CertificateDer<'static>]) -> String {
        verdict(&self.judge("capulet.example", chain, Met::Accepted).await)
    }

    async fn dialled(&self, chain: &[&CertificateDer<'static>], candidate: &Candidate) -> String {
        verdict(&self.judge("capulet.example", chain, Met::Dialled(candidate)).await)
    }

    fn said(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}

/// `PKIX`, `DANE`, `POSH`, or the reasons.
fn verdict(judgement: &Judgement) -> String {
    match judgement {
        Judgement::Valid(proof) => proof.by.name().to_owned(),
        Judgement::Invalid(reasons) => {
            assert!(!reasons.is_empty());
            sentence(reasons)
        }
    }
}

fn place(host: &str, is_secure: bool) -> Candidate {
    Candidate {
        host: host.to_owned(),
        port: 5269,
        security: Start::StartTls,
        is_secure,
        is_override: false,
        tls_name: None,
    }
}
