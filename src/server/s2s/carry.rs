//! The task that carries an outbox: dials, talks, dials again, and gives up in time.
//!
//! One for each outbox that has something to send and no link of the other server to send it on; it ends when there is
//! nothing left to do. Attempts are made with growing pauses, differing by chance so that a thousand servers do not come
//! back in one moment. What cannot work is given up at once, everything else when stanzas have waited too long.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use xmpp::StanzaError;
use xmpp::stream::server::Purpose;

use super::Federation;
use super::dial::{Established, Failure, name};
use super::handle::{Direction, Handle};
use super::link::{Enabling, Link};
use super::outbox::{CarrierId, Outbox, Pushed};
use super::part::Parting;
use super::resume::Earlier;
use crate::net::trace::Trace;
use crate::runtime::{Timestamp, pause};

/// The first pause, and the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A link that lived shorter is not opened again at once.
const SHORT_LIFE: Duration = Duration::from_secs(5);

/// Carries `outbox`, which `id` has claimed.
pub(super) async fn carry(federation: Arc<Federation>, outbox: Arc<Outbox>, id: CarrierId) {
    let mut carrier = Carrier { federation, outbox, id, earlier: None, lost_at: None, failures: 0 };
    while carrier.round().await.is_some() {}
}

struct Carrier {
    federation: Arc<Federation>,
    outbox: Arc<Outbox>,
    id: CarrierId,
    /// What is to be resumed.
    earlier: Option<Box<Earlier>>,
    lost_at: Option<Timestamp>,
    failures: u32,
}

impl Carrier {
    /// One attempt and what follows from it. `None` when there is nothing more to do.
    async fn round(&mut self) -> Option<()> {
        if self.earlier.is_none() && !self.outbox.is_carried_by(self.id) {
            return None;
        }
        let trace = Trace::silent();
        let attempt = self.federation.establish(&self.outbox.local, &self.outbox.remote, Purpose::Stanzas, &trace);
        let mut closing = self.federation.closing.subscribe();
        let outcome = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => None,
            outcome = attempt => Some(outcome),
        };
        match outcome {
            Some(Ok(established)) => self.talk(established).await,
            Some(Err(failure)) => self.fail(failure).await,
            None => {
                self.give_up(StanzaError::remote_server_timeout().with_text("the server stops"), u64::MAX).await;
                None
            }
        }
    }

    async fn talk(&mut self, established: Established) -> Option<()> {
        let began = Instant::now();
        let router = self.federation.router.upgrade()?;
        let mut link = self.federation.link_out(router, established, self.id, &self.outbox);
        match self.earlier.take() {
            Some(earlier) if link.enabled == Enabling::Offered => {
                link.stream.resume(&earlier.previous, earlier.acks.clone());
                link.resuming = Some(earlier);
                link.resume_by();
            }
            Some(earlier) => {
                link.resuming = Some(earlier);
                link.give_up_resuming(0).await;
            }
            None => {
                // A link of the other server's may have taken over meanwhile. It may be counting on this one in turn:
                // stanzas can come on it, so it stays.
                if self.outbox.link(self.id) {
                    link.outboxes.push(Arc::clone(&self.outbox));
                }
                link.enable();
            }
        }
        match Box::pin(link.run(Some(&self.outbox))).await {
            Parting::Lost(earlier) => {
                self.lost_at = Some(self.federation.clock.now());
                self.earlier = Some(earlier);
            }
            Parting::Over => {
                self.lost_at = None;
                if self.outbox.release(self.id) == Pushed::Carried || !self.outbox.claim(self.id) {
                    return None;
                }
            }
        }
        if began.elapsed() < SHORT_LIFE {
            self.failures += 1;
            let limit = self.limit();
            let text = "its server ends every stream soon after it begins";
            let error = StanzaError::remote_server_timeout().with_text(text);
            self.federation.bounce(self.outbox.expire(limit), &error).await;
            self.pause().await;
        } else {
            self.failures = 0;
        }
        Some(())
    }

    /// What was queued before has waited too long.
    fn limit(&self) -> Timestamp {
        self.federation.clock.now().saturating_sub(self.federation.config.queue_seconds_max * 1_000_000)
    }

    async fn fail(&mut self, failure: Failure) -> Option<()> {
        self.failures += 1;
        self.outbox.note(&failure.to_string());
        let now = self.federation.clock.now();
        let federation = Arc::clone(&self.federation);
        let config = &federation.config;
        self.federation.bounce(self.outbox.expire(self.limit()), &failure.error()).await;
        let window = config.resume_seconds_max.min(config.queue_seconds_max) * 1_000_000;
        let is_late = self.lost_at.is_some_and(|at| at + window < now);
        if is_late || failure.is_permanent() {
            self.forget_earlier().await;
        }
        if failure.is_permanent() || (self.earlier.is_none() && self.outbox.is_empty()) {
            let (local, remote) = (&self.outbox.local, &self.outbox.remote);
            tracing::warn!(%local, %remote, why = %failure, attempts = self.failures, "given up");
            self.give_up(failure.error(), now + config.retry_seconds * 1_000_000).await;
            return None;
        }
        let (local, remote) = (&self.outbox.local, &self.outbox.remote);
        tracing::info!(%local, %remote, why = %failure, attempts = self.failures, "no stream yet");
        self.pause().await;
        Some(())
    }

    /// Tells all who wait, and whoever comes before `until`.
    async fn give_up(&mut self, error: StanzaError, until: Timestamp) {
        self.forget_earlier().await;
        let left = self.outbox.refuse(self.id, until, error.clone());
        self.federation.bounce(left, &error).await;
    }

    /// What was to be resumed will not be.
    async fn forget_earlier(&mut self) {
        let Some(earlier) = self.earlier.take() else { return };
        self.lost_at = None;
        let Earlier { sent, outboxes, carrier, .. } = *earlier;
        let error = super::link::in_doubt();
        self.federation.bounce(sent.into_iter().map(|sent| sent.queued), &error).await;
        for outbox in &outboxes {
            if Arc::ptr_eq(outbox, &self.outbox) {
                outbox.redial(self.id);
            } else if outbox.release(carrier) == Pushed::Forlorn {
                self.federation.find_carrier(outbox);
            }
        }
    }

    async fn pause(&self) {
        let doubled = PAUSE_MIN * (1 << self.failures.saturating_sub(1).min(6));
        let longest = doubled.min(PAUSE_MAX);
        let mut chance = [0_u8; 2];
        self.federation.ids.fill(&mut chance);
        let share = f64::from(u16::from_be_bytes(chance)) / f64::from(u16::MAX);
        let mut closing = self.federation.closing.subscribe();
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => {}
            () = pause(longest.mul_f64(0.5 + share / 2.0)) => {}
        }
    }
}

impl Federation {
    /// A link over a stream we have opened.
    fn link_out(
        self: &Arc<Self>,
        router: Arc<crate::router::Router>,
        established: Established,
        id: CarrierId,
        outbox: &Outbox,
    ) -> Link {
        let Established { wire, stream, offered, address, tls, certificate, proof } = established;
        let (local, remote) = (&outbox.local, &outbox.remote);
        let (handle, orders) = Handle::new(id, Direction::Out, local, remote, address.to_string(), self.clock.now());
        {
            let mut status = handle.status();
            status.state = "open".to_owned();
            status.tls = tls.map(str::to_owned);
            status.certificate.clone_from(&certificate);
            status.authenticated = proof.map(|proof| name(proof).to_owned());
            status.is_bidi = stream.is_bidi();
        }
        tracing::info!(
            link = id, direction = ?Direction::Out, %local, %remote, %address, tls, certificate,
            authenticated = proof.map(name), bidi = stream.is_bidi(), acks = offered.acks, "link up"
        );
        handle.is_ready.store(true, Ordering::Release);
        handle.can_authorize.store(offered.dialback && offered.dialback_errors, Ordering::Release);
        let mut link = Link::new(Arc::clone(self), router, (handle, orders), wire, stream);
        if offered.acks && self.config.stream_management {
            link.enabled = Enabling::Offered;
        }
        link
    }
}
