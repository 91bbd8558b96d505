//! Streams that other servers open to us: who they say they are, what proves it, and what they may then do.
//!
//! A domain is proven by a certificate that is good for it, or by dialback, which asks the domain's own server; see
//! `verify`. The first happens while nothing else does, the second beside everything else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use xmpp::StanzaError;
use xmpp::stream::server::{Pair, Permitted, Proof, Stream, Verdict};
use xmpp::stream::{Condition, Seed, StreamError};

use super::Federation;
use super::dial::name;
use super::handle::{Direction, Handle, Order};
use super::link::{End, Link};
use super::part::Parting;
use super::resume::{Earlier, Resumable};
use super::wire::Wire;
use crate::net::tls::Start;
use crate::net::trace::Trace;
use crate::net::trust::{Judgement, Met, Peer, sentence};
use crate::runtime::{Transport, pause};

/// How the bytes of a server reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Plain at first, TLS by STARTTLS.
    StartTls,
    /// TLS from the first byte (XEP-0368).
    DirectTls,
}

/// How long a lost stream may take to be given up to the one that goes on with it.
const SURRENDER: Duration = Duration::from_secs(35);
/// How long stanzas that were sent on a lost stream wait for its peer to come back, at most.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// What is known of who connected.
#[derive(Default)]
pub(super) struct Accepting {
    /// What it showed in TLS.
    peer: Arc<Peer>,
    tls: Option<&'static str>,
    judged: Vec<(Box<str>, Judgement)>,
}

impl Federation {
    /// Serves another server from its first byte to its last.
    pub async fn serve(self: &Arc<Self>, transport: Transport, door: Door, address: IpAddr) {
        let _running = self.running();
        let Some(router) = self.router.upgrade() else { return };
        let within = Duration::from_secs(self.config.handshake_seconds_max);
        let mut accepting = Accepting::default();
        let (transport, facts) = match door {
            Door::StartTls => (transport, None),
            Door::DirectTls => match timeout(within, self.tls.accept_server(transport, Start::Direct, None)).await {
                Ok(Ok((transport, facts, peer))) => {
                    accepting.tls = Some(facts.version);
                    accepting.peer = Arc::new(peer);
                    (transport, Some(facts))
                }
                Ok(Err(error)) => return tracing::debug!(%address, %error, "TLS failed"),
                Err(_) => return tracing::debug!(%address, "TLS takes too long"),
            },
        };
        let settings = self.settings.accepting(door == Door::DirectTls);
        let seed = Seed { stream_id: self.ids.id(), nonce: self.ids.id() };
        let stream = Stream::accept(settings, seed, facts);
        let id = self.next_id();
        let parts = Handle::new(id, Direction::In, "", "", address.to_string(), self.clock.now());
        parts.0.status().tls = accepting.tls.map(str::to_owned);
        let mut link = Link::new(Arc::clone(self), router, parts, Wire::new(transport), stream);
        link.accepting = Some(Box::new(accepting));
        if let Parting::Lost(earlier) = Box::pin(link.run(None)).await {
            self.park(earlier).await;
        }
    }

    /// Keeps what is left of a stream for its peer to come back.
    async fn park(self: &Arc<Self>, earlier: Box<Earlier>) {
        let resume = Duration::from_secs(self.config.resume_seconds_max);
        // Whoever has sent something wants to know what became of it.
        let within = if earlier.sent.is_empty() { resume } else { resume.min(UNACKNOWLEDGED) };
        if earlier.sent.is_empty() {
            for outbox in &earlier.outboxes {
                if outbox.release(earlier.carrier) == super::Pushed::Forlorn {
                    self.find_carrier(outbox);
                }
            }
        }
        let previous = earlier.previous.clone();
        if let Err(earlier) = self.resumables.park(earlier) {
            return self.settle(*earlier).await;
        }
        let me = Arc::clone(self);
        self.start(async move {
            let mut closing = me.closing.subscribe();
            tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => {}
                () = pause(within) => {}
            }
            let is_parked = |found: &Resumable| matches!(found, Resumable::Parked(_));
            if let Some(Resumable::Parked(earlier)) = me.resumables.take(&previous, is_parked) {
                me.settle(*earlier).await;
            }
        });
    }
}

impl Link {
    /// Puts TLS under the stream.
    pub(super) async fn start_tls(&mut self) -> Result<(), End> {
        let lost = |error: std::io::Error| End::Cut(error.to_string());
        let within = self.negotiation.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        let flushed = timeout(within, self.wire.flush(&mut self.stream)).await;
        flushed.unwrap_or(Err(std::io::ErrorKind::TimedOut.into())).map_err(lost)?;
        let plain = self.wire.take().map_err(lost)?;
        let addressed = self.stream.local();
        let handshake = self.federation.tls.accept_server(plain, Start::StartTls, Some(addressed));
        let (transport, facts, peer) = match timeout(within, handshake).await {
            Ok(secured) => secured.map_err(|error| End::Cut(format!("TLS: {error}")))?,
            Err(_) => return Err(End::Cut("TLS takes too long".to_owned())),
        };
        self.wire.put(transport);
        self.handle.status().tls = Some(facts.version.to_owned());
        self.accepting =
            Some(Box::new(Accepting { peer: Arc::new(peer), tls: Some(facts.version), judged: Vec::new() }));
        self.stream.handle_secured(facts);
        Ok(())
    }

    /// The peer's header has come.
    pub(super) async fn take_opened(&mut self, from: Option<&str>, to: &str) {
        let federation = Arc::clone(&self.federation);
        {
            let mut status = self.handle.status();
            to.clone_into(&mut status.local);
            from.unwrap_or_default().clone_into(&mut status.remote);
        }
        if federation.is_closing() {
            return self.refuse(Condition::SystemShutdown, "the server stops");
        }
        let is_secure = self.accepting.as_ref().is_some_and(|accepting| accepting.tls.is_some());
        let Some(from) = from else {
            let dialback = federation.config.dialback && (is_secure || !federation.config.tls_required);
            return self.stream.handle_opened(Permitted { external: false, dialback });
        };
        let terms = Arc::clone(federation.policy.terms(from));
        if !terms.is_allowed {
            return self.refuse(Condition::PolicyViolation, "this server does not talk to that domain");
        }
        if self.router.speaks_for(from) {
            return self.refuse(Condition::InvalidFrom, "that domain is served here");
        }
        if !is_secure && terms.tls_required {
            return self.stream.handle_opened(Permitted::default());
        }
        let external = is_secure && self.is_good_for(from).await;
        self.stream.handle_opened(Permitted { external, dialback: terms.dialback });
    }

    /// The peer wants to be another domain than its header said.
    pub(super) async fn take_authenticate(&mut self, domain: &str) {
        let is_allowed = self.federation.policy.terms(domain).is_allowed && !self.router.speaks_for(domain);
        let is_good = is_allowed && self.is_good_for(domain).await;
        self.stream.handle_external(is_good);
    }

    fn refuse(&mut self, condition: Condition, text: &'static str) {
        tracing::info!(link = self.id, from = self.stream.remote(), condition = condition.name(), text, "refused");
        self.close(Some(StreamError::new(condition).with_text(text)));
    }

    /// Whether the certificate that was shown proves `domain`.
    async fn is_good_for(&mut self, domain: &str) -> bool {
        let Some(accepting) = &mut self.accepting else { return false };
        if let Some((_, judgement)) = accepting.judged.iter().find(|(judged, _)| **judged == *domain) {
            return judgement.is_valid();
        }
        let within = self.negotiation.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        let peer = Arc::clone(&accepting.peer);
        let judging = async {
            let trace = Trace::default();
            self.federation.trust.judge(domain, &peer, Met::Accepted, &trace).await
        };
        let Ok(judgement) = timeout(within, judging).await else { return false };
        self.handle.status().certificate = Some(match &judgement {
            Judgement::Valid(proof) => proof.by.name().to_owned(),
            Judgement::Invalid(reasons) => sentence(reasons),
        });
        let is_valid = judgement.is_valid();
        accepting.judged.push((domain.into(), judgement));
        is_valid
    }

    /// The peer has shown a dialback key.
    pub(super) fn take_dialback(&mut self, pair: Pair, key: Box<str>, stream_id: Box<str>) {
        let terms = self.federation.policy.terms(&pair.from);
        let is_secure = self.handle.status().tls.is_some();
        let refusal = if !terms.is_allowed {
            Some(StanzaError::policy_violation().with_text("this server does not talk to that domain"))
        } else if !is_secure && terms.tls_required {
            Some(StanzaError::policy_violation().with_text("TLS comes first"))
        } else if self.router.speaks_for(&pair.from) {
            Some(StanzaError::not_acceptable().with_text("that domain is served here"))
        } else if !terms.dialback {
            Some(StanzaError::not_authorized().with_text("a certificate that is good for the domain is needed"))
        } else {
            None
        };
        if let Some(error) = refusal {
            tracing::info!(link = self.id, %pair, %error, "dialback refused");
            return self.stream.handle_dialback(&pair, Verdict::Error(error));
        }
        let max = self.federation.config.verifications_per_domain_max;
        if !self.federation.registry.begin_verifying(&pair.from, max) {
            let text = "too many keys of that domain are being verified";
            let error = StanzaError::resource_constraint().with_text(text);
            return self.stream.handle_dialback(&pair, Verdict::Error(error));
        }
        let peer = self.accepting.as_ref().map(|accepting| Arc::clone(&accepting.peer)).unwrap_or_default();
        let (federation, handle) = (Arc::clone(&self.federation), Arc::clone(&self.handle));
        self.federation.start(async move {
            let verdict = crate::runtime::survive(federation.verify(&pair, &stream_id, &key, &peer)).await;
            federation.registry.end_verifying(&pair.from);
            let verdict = verdict.unwrap_or_else(|| Verdict::Error(StanzaError::internal_server_error()));
            tracing::info!(link = handle.id, %pair, ?verdict, "dialback");
            let _gone_meanwhile = handle.order(Order::Verdict(pair, verdict));
        });
    }

    /// The peer has proven a pair.
    pub(super) fn take_heard(&mut self, from: &str, to: Option<&str>, by: Proof) {
        let to = to.unwrap_or(self.stream.local()).to_owned();
        let pair = Pair::new(from, &to);
        if self.heard.contains(&pair) {
            return;
        }
        let terms = Arc::clone(self.federation.policy.terms(from));
        if self.handle.direction == Direction::In {
            self.negotiation = None;
            if self.present.iter().all(|(domain, _)| **domain != *from) {
                let Some(present) = self.federation.registry.admit(from, terms.connections_max) else {
                    return self.refuse(Condition::ResourceConstraint, "too many streams from that domain");
                };
                self.present.push((from.into(), present));
            }
            let mut status = self.handle.status();
            if self.heard.is_empty() {
                from.clone_into(&mut status.remote);
                status.local.clone_from(&to);
            }
            status.state = "open".to_owned();
            status.authenticated.get_or_insert_with(|| name(by).to_owned());
            let (address, tls) = (&status.address, &status.tls);
            tracing::info!(
                link = self.id, direction = ?Direction::In, local = to, remote = from, address, tls,
                certificate = status.certificate, authenticated = name(by), "link up"
            );
        }
        if self.before.is_none() {
            self.before = self.federation.registry.peer(from).finished().map(|finished| Box::pin(finished) as _);
        }
        if self.pace.is_none() {
            self.pace = Some((self.federation.registry.peer(from), terms.read_bytes_per_second_max));
        }
        let (router, domain) = (Arc::clone(&self.router), from.to_owned());
        self.federation.start(async move { router.tell(|listener| listener.server_linked(&domain)).await });
        self.heard.push(pair);
    }

    /// The peer wants acknowledgements.
    pub(super) fn take_enable(&mut self, resume: bool, max: Option<Duration>) {
        let own = Duration::from_secs(self.federation.config.resume_seconds_max);
        let within = max.map_or(own, |max| max.min(own));
        self.uncounted = self.sent.len();
        self.handle.status().has_acks = true;
        if resume && !within.is_zero() {
            let id: Box<str> = self.federation.ids.id().into();
            self.federation.resumables.live(&id, &self.handle);
            self.stream.handle_enabled(Ok(Some((&id, within))));
            self.resumption = Some(id);
        } else {
            self.stream.handle_enabled(Ok(None));
        }
    }

    /// The peer wants to go on with an earlier stream.
    pub(super) async fn take_resume(&mut self, previous: &str) {
        let Some(mut earlier) = self.find_earlier(previous).await else {
            return self.stream.handle_resumed(Err(None));
        };
        for outbox in &earlier.outboxes {
            outbox.hand_over(earlier.carrier, self.id);
        }
        earlier.carrier = self.id;
        self.uncounted = 0;
        self.federation.resumables.live(previous, &self.handle);
        self.stream.handle_resumed(Ok(earlier.acks.clone()));
        self.resuming = Some(earlier);
    }

    async fn find_earlier(&mut self, previous: &str) -> Option<Box<Earlier>> {
        let taken = self.federation.resumables.take(previous, |found| match found {
            Resumable::Parked(earlier) => self.is_peer_of(earlier),
            // Whoever comes back before we noticed that it was gone.
            Resumable::Live(handle) => {
                handle.id != self.id && self.heard.iter().any(|pair| *pair.from == *handle.status().remote)
            }
        });
        match taken? {
            Resumable::Parked(earlier) => Some(earlier),
            Resumable::Live(handle) => {
                let (to, surrendered) = tokio::sync::oneshot::channel();
                handle.order(Order::Surrender(to)).ok()?;
                let earlier = timeout(SURRENDER, surrendered).await.ok()?.ok()?;
                if self.is_peer_of(&earlier) {
                    return Some(Box::new(earlier));
                }
                self.federation.settle(earlier).await;
                None
            }
        }
    }

    /// Whether the peer has proven here what it had proven there.
    fn is_peer_of(&self, earlier: &Earlier) -> bool {
        earlier.heard.iter().all(|pair| self.stream.may_hear(&pair.from, &pair.to))
    }
}
