//! From a domain to an authenticated stream to its server: places, connections, TLS, the certificate, negotiation.
//!
//! One attempt over all places a domain has, each within its time. What fails for good (no such domain, a certificate
//! that proves nothing, a peer that does not want us) is told from what may work in a minute.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use xmpp::StanzaError;
use xmpp::stream::server::{Ending, Event, Offered, Permitted, Proof, Purpose, Refusal, Stream};
use xmpp::stream::{Condition, StreamError};

use super::Federation;
use super::policy::{Policy, Terms};
use super::wire::Wire;
use crate::net::seek::Candidate;
use crate::net::tls::Start;
use crate::net::trace::Trace;
use crate::net::trust::{Judgement, Met, sentence};

/// How long one place may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(15);

/// A stream that is ready.
pub(super) struct Established {
    pub(super) wire: Wire,
    pub(super) stream: Stream,
    pub(super) offered: Offered,
    pub(super) address: SocketAddr,
    /// TLS version, if there is TLS.
    pub(super) tls: Option<&'static str>,
    /// What the peer's certificate is worth.
    pub(super) certificate: Option<String>,
    /// How we proved who we are; nothing on a stream for verification.
    pub(super) proof: Option<Proof>,
}

/// Why there is no stream, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no server for the domain.
    NotFound(String),
    /// There is one, and it cannot be reached now.
    Unreachable(String),
    /// Its certificate does not prove the domain.
    Certificate(String),
    /// It does not want us, or cannot do what policy asks for.
    Refused(String),
    /// Our policy forbids it.
    Blocked,
}

impl Failure {
    /// Whether trying again soon is of no use.
    pub(super) const fn is_permanent(&self) -> bool {
        !matches!(self, Self::Unreachable(_))
    }

    /// What the senders of stanzas are told (RFC 6120 sections 8.3.3.16 and 8.3.3.17).
    pub(super) fn error(&self) -> StanzaError {
        let error = match self {
            Self::NotFound(_) => StanzaError::remote_server_not_found(),
            Self::Unreachable(_) | Self::Certificate(_) | Self::Refused(_) => StanzaError::remote_server_timeout(),
            Self::Blocked => return Policy::refusal(),
        };
        error.with_text(self.to_string())
    }

    /// How telling it is, for choosing among those of several places.
    const fn weight(&self) -> u8 {
        match self {
            Self::NotFound(_) => 0,
            Self::Unreachable(_) => 1,
            Self::Refused(_) => 2,
            Self::Certificate(_) => 3,
            Self::Blocked => 4,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound(text) | Self::Unreachable(text) | Self::Refused(text) => f.write_str(text),
            Self::Certificate(text) => write!(f, "its certificate does not prove the domain: {text}"),
            Self::Blocked => f.write_str("the policy of this server forbids it"),
        }
    }
}

impl Federation {
    /// A stream from `local` to `remote`, ready for its purpose.
    pub(super) async fn establish(
        &self,
        local: &str,
        remote: &str,
        purpose: Purpose,
        trace: &Trace,
    ) -> Result<Established, Failure> {
        let terms = self.policy.terms(remote);
        if !terms.is_allowed {
            return Err(Failure::Blocked);
        }
        let turns = match purpose {
            Purpose::Stanzas => &self.dials,
            Purpose::Verification => &self.verifications,
        };
        let Ok(_permit) = turns.acquire().await else { return Err(Failure::Unreachable("closed".to_owned())) };
        let candidates = self.seeker.seek(remote, terms.chosen.as_ref(), trace).await.map_err(|error| {
            let text = format!("{remote}: {error}");
            if error.is_permanent() { Failure::NotFound(text) } else { Failure::Unreachable(text) }
        })?;
        let mut worst = Failure::NotFound(format!("{remote}: no place to connect to"));
        for candidate in &candidates {
            let connected = self.seeker.connect(candidate, CONNECT, trace).await.map_err(|error| {
                let text = format!("{candidate}: {error}");
                if error.is_permanent() { Failure::NotFound(text) } else { Failure::Unreachable(text) }
            });
            let outcome = match connected {
                Ok((transport, address)) => {
                    let attempt =
                        Attempt { federation: self, local, remote, purpose, terms, candidate, address, trace };
                    let within = Duration::from_secs(self.config.handshake_seconds_max);
                    match timeout(within, Box::pin(attempt.negotiate(Wire::new(transport)))).await {
                        Ok(outcome) => outcome,
                        Err(_) => Err(Failure::Unreachable(format!("{candidate}: negotiation takes too long"))),
                    }
                }
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok(established) => return Ok(established),
                Err(failure) => {
                    trace.say(|| format!("failed: {failure}"));
                    tracing::debug!(%local, %remote, %candidate, %failure, "no stream");
                    if failure.weight() >= worst.weight() {
                        worst = failure;
                    }
                }
            }
        }
        Err(worst)
    }
}

/// One connection on its way to being a stream.
struct Attempt<'a> {
    federation: &'a Federation,
    local: &'a str,
    remote: &'a str,
    purpose: Purpose,
    terms: &'a Terms,
    candidate: &'a Candidate,
    address: SocketAddr,
    trace: &'a Trace,
}

impl Attempt<'_> {
    async fn negotiate(&self, mut wire: Wire) -> Result<Established, Failure> {
        let is_direct = self.candidate.security == Start::Direct;
        // Where there is no TLS there is no certificate.
        let needs_tls = self.terms.tls_required || self.terms.require_valid_certificate;
        let settings = self.federation.settings.dialling(is_direct, needs_tls);
        let mut known = Known::default();
        let facts = match is_direct {
            true => Some(self.secure(&mut wire, Start::Direct, &mut known).await?),
            false => None,
        };
        let permitted = Permitted { external: true, dialback: self.terms.dialback };
        let mut stream = Stream::open(settings, self.local, self.remote, self.purpose, permitted, facts);
        loop {
            while let Some(event) = stream.poll_event() {
                match event {
                    Event::StartTls => {
                        wire.flush(&mut stream).await.map_err(|error| self.lost(&error))?;
                        let facts = self.secure(&mut wire, Start::StartTls, &mut known).await?;
                        stream.handle_secured(facts);
                    }
                    Event::Features(offered) => self.trace.say(|| format!("features: {}", described(&offered))),
                    Event::Authenticated { by, .. } => {
                        self.trace.say(|| format!("authenticated by {}", name(by)));
                        known.proof = Some(by);
                    }
                    Event::NotAuthenticated { refusal, .. } => self.trace.say(|| refusal.to_string()),
                    Event::Ready(offered) => {
                        if known.tls.is_none() && needs_tls {
                            return Err(Failure::Refused(format!("{}: no TLS", self.remote)));
                        }
                        return Ok(Established {
                            wire,
                            stream,
                            offered,
                            address: self.address,
                            tls: known.tls,
                            certificate: known.certificate,
                            proof: known.proof,
                        });
                    }
                    Event::Closed(ending) => {
                        let _unheard = timeout(Duration::from_secs(1), wire.flush(&mut stream)).await;
                        return Err(self.ended(&ending));
                    }
                    // Nothing else concerns a stream that is not ready; a bidi announcement is kept by the machine.
                    _ => {}
                }
            }
            wire.transmit(&mut stream);
            let read = std::future::poll_fn(|cx| match wire.poll_write(cx) {
                Ok(()) => wire.poll_read(cx, &mut stream),
                Err(error) => std::task::Poll::Ready(Err(error)),
            });
            match read.await {
                Ok(0) => return Err(self.lost(&"the connection was closed")),
                Ok(_) => {}
                Err(error) => return Err(self.lost(&error)),
            }
        }
    }

    /// Puts TLS over the wire, and judges what the peer shows.
    async fn secure(
        &self,
        wire: &mut Wire,
        start: Start,
        known: &mut Known,
    ) -> Result<xmpp::stream::TlsFacts, Failure> {
        let name = self.candidate.tls_name.as_deref().unwrap_or(self.remote);
        let plain = wire.take().map_err(|error| self.lost(&error))?;
        let deadline = Instant::now() + CONNECT;
        let handshake = self.federation.tls.connect_server(plain, self.local, name, start);
        let (transport, facts, peer) = match timeout_at(deadline, handshake).await {
            Ok(Ok(secured)) => secured,
            Ok(Err(error)) => return Err(Failure::Unreachable(format!("{}: TLS: {error}", self.candidate))),
            Err(_) => return Err(Failure::Unreachable(format!("{}: TLS takes too long", self.candidate))),
        };
        wire.put(transport);
        self.trace.say(|| format!("TLS {}", facts.version));
        known.tls = Some(facts.version);
        let judgement = self.federation.trust.judge(self.remote, &peer, Met::Dialled(self.candidate), self.trace).await;
        match &judgement {
            Judgement::Valid(proof) => known.certificate = Some(proof.by.name().to_owned()),
            Judgement::Invalid(reasons) => {
                let reasons = sentence(reasons);
                if self.terms.require_valid_certificate {
                    return Err(Failure::Certificate(reasons));
                }
                known.certificate = Some(reasons);
            }
        }
        Ok(facts)
    }

    fn lost(&self, why: &dyn std::fmt::Display) -> Failure {
        Failure::Unreachable(format!("{}: {why}", self.candidate))
    }

    fn ended(&self, ending: &Ending) -> Failure {
        let text = format!("{}: {ending}", self.candidate);
        match ending {
            Ending::Theirs(StreamError { condition, .. }) => match condition {
                Condition::HostUnknown | Condition::HostGone => Failure::NotFound(text),
                Condition::PolicyViolation
                | Condition::NotAuthorized
                | Condition::InvalidFrom
                | Condition::UnsupportedVersion => Failure::Refused(text),
                _ => Failure::Unreachable(text),
            },
            Ending::NotAuthenticated(Refusal::Error(error)) if error.type_ == xmpp::stanza::ErrorType::Wait => {
                Failure::Unreachable(text)
            }
            Ending::NotAuthenticated(_) | Ending::NoCommonFeature(_) | Ending::Refused(_) => Failure::Refused(text),
            Ending::Closed | Ending::Ours(_) => Failure::Unreachable(text),
        }
    }
}

/// What has been found out on the way.
#[derive(Default)]
struct Known {
    tls: Option<&'static str>,
    certificate: Option<String>,
    proof: Option<Proof>,
}

/// The common name of a proof.
pub(super) const fn name(proof: Proof) -> &'static str {
    match proof {
        Proof::External => "EXTERNAL",
        Proof::Dialback => "dialback",
    }
}

fn described(offered: &Offered) -> String {
    let all = [
        (offered.tls, "STARTTLS"),
        (offered.external, "SASL EXTERNAL"),
        (offered.dialback, "dialback"),
        (offered.dialback_errors, "dialback errors"),
        (offered.bidi, "bidi"),
        (offered.acks, "stream management"),
    ];
    let some: Vec<&str> = all.iter().filter(|(is_offered, _)| *is_offered).map(|(_, name)| *name).collect();
    if some.is_empty() { "none that are known here".to_owned() } else { some.join(", ") }
}
