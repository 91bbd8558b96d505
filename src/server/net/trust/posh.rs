//! Fingerprints a domain publishes over HTTPS (POSH, RFC 7711): for who has a web server in its own name, and its
//! XMPP server at a host whose certificate is in another.
//!
//! Asked for only when a certificate proves nothing by itself, since it means a connection to a machine of a
//! stranger's choice: few at a time, bounded in time and size, few redirects, HTTPS only, never to ourselves, and
//! remembered whatever came of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::Deserialize;
use sha2::{Digest, Sha256, Sha512};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::chain::Roots;
use crate::net::seek::{Candidate, Seeker, to_ascii};
use crate::net::tls::Start;
use crate::net::trace::Trace;
use crate::runtime::{Clock, Timestamp};

/// How long to wait for a turn, and then from the first question to the last byte.
const FETCH_MAX: Duration = Duration::from_secs(10);
/// Bytes of one document.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a response's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Redirects followed for one document. RFC 7711 section 10 recommends no more than 10.
const REDIRECTS_MAX: usize = 3;
/// Fingerprints looked at.
const FINGERPRINTS_MAX: usize = 32;
/// Domains asked at the same time.
const AT_ONCE_MAX: usize = 8;
/// Domains remembered.
const KEPT_MAX: usize = 1_000;
/// However long a document wants to be believed, it is fetched again after this, in microseconds.
const BELIEVED_MAX: Timestamp = 24 * 3600 * 1_000_000;
/// Until a domain that has no document, or one that makes no sense, is asked again, in microseconds.
const NOTHING_KEPT: Timestamp = 10 * 60 * 1_000_000;

/// Why a domain has no fingerprints for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Absent {
    /// It publishes none, or has no web server that we could reach: a sentence for the curious.
    Nothing(String),
    /// It publishes something that cannot be used: a sentence for its administrator.
    Wrong(String),
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(why) | Self::Wrong(why) => f.write_str(why),
        }
    }
}

/// The hashes one certificate may have.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fingerprint {
    sha256: Option<Vec<u8>>,
    sha512: Option<Vec<u8>>,
}

/// The certificates a domain publishes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fingerprints(Vec<Fingerprint>);

impl Fingerprints {
    /// Whether `certificate` is one of them, by any hash we know (RFC 7711 section 3.3).
    pub(super) fn hold(&self, certificate: &CertificateDer<'_>) -> bool {
        self.0.iter().any(|fingerprint| {
            fingerprint.sha256.as_ref().is_some_and(|hash| *hash == Sha256::digest(certificate).as_slice())
                || fingerprint.sha512.as_ref().is_some_and(|hash| *hash == Sha512::digest(certificate).as_slice())
        })
    }
}

type Outcome = Result<Arc<Fingerprints>, Absent>;

/// Asks web servers, and remembers.
pub(super) struct Posh {
    seeker: Seeker,
    clock: Arc<dyn Clock>,
    /// None when nothing is trusted: then no web server is.
    tls: Option<TlsConnector>,
    turns: Semaphore,
    kept: Mutex<HashMap<String, (Timestamp, Outcome)>>,
}

impl Posh {
    pub(super) fn new(seeker: Seeker, clock: Arc<dyn Clock>, roots: &Roots) -> Self {
        Self {
            seeker,
            tls: connector(roots, &clock),
            clock,
            turns: Semaphore::new(AT_ONCE_MAX),
            kept: Mutex::new(HashMap::new()),
        }
    }

    /// The fingerprints that `domain` (in A-labels) publishes for its server.
    pub(super) async fn ask(&self, domain: &str, trace: &Trace) -> Outcome {
        if let Some(outcome) = self.remembered(domain) {
            return outcome;
        }
        // Who gets no turn learns nothing about the domain, so that is not remembered.
        let Ok(Ok(_turn)) = tokio::time::timeout(FETCH_MAX, self.turns.acquire()).await else {
            return Err(Absent::Nothing("too many other domains are being asked".to_owned()));
        };
        // Somebody else may have asked while we waited.
        if let Some(outcome) = self.remembered(domain) {
            return outcome;
        }
        let fetched = tokio::time::timeout(FETCH_MAX, Box::pin(self.fetch(domain, trace))).await;
        let now = self.clock.now();
        let (until, outcome) = match fetched {
            Ok(Ok((fingerprints, until))) => (until, Ok(Arc::new(fingerprints))),
            Ok(Err(absent)) => (now + NOTHING_KEPT, Err(absent)),
            Err(_) => {
                let late = Absent::Nothing(format!("no answer within {} s", FETCH_MAX.as_secs()));
                (now + NOTHING_KEPT, Err(late))
            }
        };
        self.remember(domain, now, until, outcome.clone());
        outcome
    }

    fn remembered(&self, domain: &str) -> Option<Outcome> {
        let now = self.clock.now();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(domain).filter(|(until, _)| *until > now).map(|(_, outcome)| outcome.clone())
    }

    fn remember(&self, domain: &str, now: Timestamp, until: Timestamp, outcome: Outcome) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX && !kept.contains_key(domain) {
            kept.retain(|_, (until, _)| *until > now);
            if kept.len() >= KEPT_MAX
                && let Some(soonest) = kept.iter().min_by_key(|(_, (until, _))| *until).map(|(name, _)| name.clone())
            {
                kept.remove(&soonest);
            }
        }
        kept.insert(domain.to_owned(), (until, outcome));
    }

    /// A fingerprints document, or one that refers to one (RFC 7711 section 3); and until when to believe it.
    async fn fetch(&self, domain: &str, trace: &Trace) -> Result<(Fingerprints, Timestamp), Absent> {
        let well_known = format!("https://{domain}/.well-known/posh/xmpp-server.json");
        let mut document = self.document(&well_known, trace).await?;
        let mut expires = document.expires;
        if let Some(url) = document.url.take() {
            if document.fingerprints.is_some() {
                return Err(Absent::Wrong("the document holds both `url` and `fingerprints`".to_owned()));
            }
            trace.say(|| format!("POSH {well_known}: refers to {url}"));
            document = self.document(&url, trace).await.map_err(|absent| Absent::Wrong(absent.to_string()))?;
            if document.url.is_some() {
                return Err(Absent::Wrong(format!("{url} refers to yet another document")));
            }
            expires = expires.min(document.expires);
        }
        if expires == 0 {
            return Err(Absent::Wrong("the document says that it has expired".to_owned()));
        }
        let fingerprints = document.fingerprints.unwrap_or_default();
        let fingerprints: Vec<_> = fingerprints.iter().take(FINGERPRINTS_MAX).map(fingerprint).collect();
        if fingerprints.iter().all(|fingerprint| *fingerprint == Fingerprint::default()) {
            return Err(Absent::Wrong("the document holds no fingerprint that can be used".to_owned()));
        }
        let until = self.clock.now() + expires.saturating_mul(1_000_000).min(BELIEVED_MAX);
        Ok((Fingerprints(fingerprints), until))
    }

    async fn document(&self, url: &str, trace: &Trace) -> Result<Document, Absent> {
        let mut at: Uri = url.parse().map_err(|_| Absent::Wrong(format!("`{url}` is not an address")))?;
        for _ in 0..=REDIRECTS_MAX {
            let answered = self.get(&at).await;
            trace.say(|| match &answered {
                Ok(Got::Document(_)) => format!("POSH {at}: found"),
                Ok(Got::Elsewhere(to)) => format!("POSH {at}: redirects to {to}"),
                Err(absent) => format!("POSH {at}: {absent}"),
            });
            match answered? {
                Got::Document(bytes) => {
                    return serde_json::from_slice(&bytes)
                        .map_err(|error| Absent::Wrong(format!("{at} is not a POSH document: {error}")));
                }
                Got::Elsewhere(to) => at = to,
            }
        }
        Err(Absent::Wrong(format!("more than {REDIRECTS_MAX} redirects from {url}")))
    }

    async fn get(&self, at: &Uri) -> Result<Got, Absent> {
        let nothing = |why: &dyn fmt::Display| Absent::Nothing(why.to_string());
        if at.scheme_str() != Some("https") {
            return Err(Absent::Wrong(format!("{at} is not HTTPS")));
        }
        let Some(tls) = &self.tls else { return Err(nothing(&"no authority is trusted here")) };
        let host = at.host().ok_or_else(|| Absent::Wrong(format!("{at} names no host")))?;
        let host = to_ascii(host).map_err(|error| Absent::Wrong(error.to_string()))?;
        let name = ServerName::try_from(host.clone()).map_err(|error| nothing(&error))?;
        let candidate = Candidate {
            host,
            port: at.port_u16().unwrap_or(443),
            security: Start::Direct,
            is_secure: false,
            is_override: false,
            tls_name: None,
        };
        let silent = Trace::silent();
        let (wire, _) = self.seeker.connect(&candidate, FETCH_MAX, &silent).await.map_err(|error| nothing(&error))?;
        let secure = tls.connect(name, wire).await.map_err(|error| nothing(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_headers(64)
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(secure))
            .await
            .map_err(|error| nothing(&error))?;
        let authority = at.authority().map_or("", hyper::http::uri::Authority::as_str);
        let path = at.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
        let request = Request::get(path)
            .header(HOST, authority)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, "chirrup")
            .body(Empty::<Bytes>::new())
            .map_err(|error| nothing(&error))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| nothing(&error))?;
            let status = response.status();
            if status.is_redirection() {
                let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
                let to = target(at, to).ok_or_else(|| Absent::Wrong(format!("{at} redirects to nowhere: `{to}`")))?;
                return Ok(Got::Elsewhere(to));
            }
            if status != StatusCode::OK {
                return Err(nothing(&status));
            }
            let body = Limited::new(response.into_body(), DOCUMENT_BYTES_MAX).collect().await;
            let too_long = |_| Absent::Wrong(format!("{at} breaks off, or has more than {DOCUMENT_BYTES_MAX} bytes"));
            body.map(|body| Got::Document(body.to_bytes())).map_err(too_long)
        };
        // The connection is driven from here rather than by a task: when we lose patience, both end.
        let driving = async {
            let _its_end_shows_in_the_exchange = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            outcome = exchange => outcome,
            () = driving => Err(nothing(&"the connection ended")),
        }
    }
}

/// What a web server answered.
enum Got {
    Document(Bytes),
    Elsewhere(Uri),
}

/// A document of either kind (RFC 7711 sections 3.1 and 3.2). Members of other names are none of our business.
#[derive(Debug, Deserialize)]
struct Document {
    fingerprints: Option<Vec<BTreeMap<String, serde_json::Value>>>,
    url: Option<String>,
    expires: u64,
}

fn fingerprint(hashes: &BTreeMap<String, serde_json::Value>) -> Fingerprint {
    /// As published, with or without padding: the RFC's own examples have both.
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let hash = |name: &str, length: usize| {
        let text = hashes.get(name)?.as_str()?;
        BASE64.decode(text).ok().filter(|hash| hash.len() == length)
    };
    Fingerprint { sha256: hash("sha-256", 32), sha512: hash("sha-512", 64) }
}

/// Where a redirect leads: to an address of its own, or to another path of the same server.
fn target(from: &Uri, to: &str) -> Option<Uri> {
    let to: Uri = to.parse().ok()?;
    if to.scheme().is_some() {
        return Some(to);
    }
    let path = to.path_and_query().filter(|path| path.as_str().starts_with('/'))?;
    let authority = match to.authority() {
        Some(authority) => authority.clone(),
        None => from.authority()?.clone(),
    };
    Uri::builder().scheme("https").authority(authority).path_and_query(path.clone()).build().ok()
}

/// TLS towards web servers, which are judged as browsers judge them.
fn connector(roots: &Roots, clock: &Arc<dyn Clock>) -> Option<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let store = Arc::new(RootCertStore { roots: roots.anchors.clone() });
    let verifier = WebPkiServerVerifier::builder_with_provider(store, Arc::clone(&provider)).build().ok()?;
    let time = Arc::new(HouseTime(Arc::clone(clock)));
    let mut config = ClientConfig::builder_with_details(provider, time)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(TlsConnector::from(Arc::new(config)))
}

/// The house's clock, as rustls asks for it.
struct HouseTime(Arc<dyn Clock>);

impl fmt::Debug for HouseTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HouseTime")
    }
}

impl TimeProvider for HouseTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_micros(self.0.now())))
    }
}
