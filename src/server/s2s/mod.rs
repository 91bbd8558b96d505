//! Federation: streams to and from the servers of other domains (RFC 6120, XEP-0220, XEP-0288, XEP-0198).
//!
//! A stanza for another domain goes into the [`outbox`] of its pair of domains, which exists before its connection does.
//! A carrier empties it: a task that dials (`carry`, `dial`) and then becomes a `link`, or a link that the other
//! server opened and that may be used both ways. Stanzas that come in are handled in [`lanes`]. What was sent on a lost
//! link is sent again, resumed, or answered to its sender, and never lost without a word.
//!
//! Machines without sockets speak the protocol (`xmpp::stream::server`); finding, TLS and judging certificates are in
//! [`crate::net`].

mod accept;
mod bounce;
mod carry;
mod confirm;
mod dial;
mod events;
pub mod handle;
pub mod lanes;
mod link;
pub mod outbox;
mod part;
pub mod policy;
pub mod probe;
mod registry;
mod resume;
mod settings;
mod verify;
mod wire;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use xmpp::StanzaError;
use xmpp::stream::server::{Pair, Secret};
use xmpp::stream::{Condition, StreamError};

pub use self::accept::Door;
use self::handle::{Handle, Order, Status};
use self::outbox::{CarrierId, Outbox, Pushed};
use self::policy::Policy;
use self::registry::Registry;
use self::resume::Resumables;
use self::settings::AllSettings;
pub use self::settings::{SPEC, load_secret};
use crate::config::Config;
use crate::config::s2s::S2s;
use crate::net::seek::Seeker;
use crate::net::tls::Tls;
use crate::net::trust::Trust;
use crate::router::Router;
use crate::router::road::Road;
use crate::runtime::{self, Clock, Ids};
use crate::session::mailbox::Frame;

/// Connections being made at a time.
const DIALS_MAX: usize = 256;
/// The same, for verifying the keys of strangers: they must not keep our own stanzas from leaving.
const VERIFICATIONS_MAX: usize = 64;
/// How long a house that closes waits for what is on its way.
const GOODBYE: Duration = Duration::from_secs(8);
/// How long an outbox without use is remembered, in microseconds.
const STALE: u64 = 120_000_000;

/// All links of a house, and what waits for them.
pub struct Federation {
    me: Weak<Self>,
    router: Weak<Router>,
    config: S2s,
    policy: Policy,
    settings: AllSettings,
    tls: Arc<Tls>,
    trust: Trust,
    seeker: Seeker,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    registry: Registry,
    resumables: Resumables,
    next: AtomicU64,
    dials: Semaphore,
    verifications: Semaphore,
    closing: watch::Sender<bool>,
    tasks: AtomicUsize,
}

/// Somebody to wait for.
struct Running(Arc<Federation>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.tasks.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What federation is made of.
pub struct Parts {
    /// Where stanzas that come in go.
    pub router: Arc<Router>,
    /// Certificates and keys.
    pub tls: Arc<Tls>,
    /// Who is believed.
    pub trust: Trust,
    /// Where others are.
    pub seeker: Seeker,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub ids: Arc<dyn Ids>,
    /// What dialback keys are made from.
    pub secret: Secret,
}

impl Federation {
    /// Builds it, without a link. Opens the road of the router.
    ///
    /// # Errors
    /// A sentence that names the key of the configuration that is wrong.
    pub fn new(config: &Config, parts: Parts) -> Result<Arc<Self>, String> {
        let Parts { router, tls, trust, seeker, clock, ids, secret } = parts;
        let policy = Policy::new(&config.s2s)?;
        let settings = AllSettings::new(config, &router, &secret);
        let federation = Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            router: Arc::downgrade(&router),
            config: config.s2s.clone(),
            policy,
            settings,
            tls,
            trust,
            seeker,
            clock,
            ids,
            registry: Registry::default(),
            resumables: Resumables::default(),
            next: AtomicU64::new(1),
            dials: Semaphore::new(DIALS_MAX),
            verifications: Semaphore::new(VERIFICATIONS_MAX),
            closing: watch::Sender::new(false),
            tasks: AtomicUsize::new(0),
        });
        router.open_road(Arc::clone(&federation) as Arc<dyn Road>);
        Ok(federation)
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Every link, and every outbox that no link carries, sorted by domain.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.registry.status()
    }

    /// How many links there are, ready or not.
    #[must_use]
    pub fn links(&self) -> usize {
        self.registry.links().len()
    }

    /// Forgets what is of no use any more. Called now and then.
    pub fn tidy(&self) {
        let now = self.clock.now();
        self.registry.forget(now, now.saturating_sub(STALE));
    }

    /// Ends all streams with `system-shutdown` after what waits has left, as far as it does so in a moment; what does
    /// not is answered to its senders.
    pub async fn stop(&self) {
        self.closing.send_replace(true);
        for link in self.registry.links() {
            let _ending_already = link.order(Order::Close(Some(StreamError::new(Condition::SystemShutdown))));
        }
        let goodbye = async {
            while self.tasks.load(Ordering::Acquire) > 0 {
                runtime::pause(Duration::from_millis(10)).await;
            }
        };
        let _some_did_not_listen = tokio::time::timeout(GOODBYE, goodbye).await;
        for outbox in self.registry.outboxes() {
            self.bounce(outbox.drain(), &StanzaError::remote_server_timeout().with_text("the server stops")).await;
        }
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    fn next_id(&self) -> CarrierId {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// To be held by whoever [`Federation::stop`] is to wait for.
    fn running(self: &Arc<Self>) -> Running {
        self.tasks.fetch_add(1, Ordering::AcqRel);
        Running(Arc::clone(self))
    }

    /// Starts a task that [`Federation::stop`] waits for. None for a stanza.
    fn start(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let running = self.running();
        runtime::start(async move {
            if runtime::survive(task).await.is_none() {
                tracing::error!("a task of federation panicked");
            }
            drop(running);
        });
    }

    /// Finds somebody to empty `outbox`, which nobody carries: a link that is there, or a new one.
    fn find_carrier(self: &Arc<Self>, outbox: &Arc<Outbox>) {
        let pair = Pair::new(&outbox.local, &outbox.remote);
        for link in self.registry.offers(&pair) {
            if outbox.claim(link.id) && self.hand_to(outbox, &link, Order::Serve(Arc::clone(outbox))) {
                return;
            }
        }
        if self.policy.terms(&outbox.remote).dialback {
            for link in self.registry.links_to(&outbox.remote) {
                if link.can_authorize.load(Ordering::Acquire)
                    && outbox.claim(link.id)
                    && self.hand_to(outbox, &link, Order::Authorize(Arc::clone(outbox)))
                {
                    return;
                }
            }
        }
        self.dial_for(outbox);
    }

    /// Dials for `outbox`, if nobody carries it.
    fn dial_for(self: &Arc<Self>, outbox: &Arc<Outbox>) {
        let id = self.next_id();
        if outbox.claim(id) {
            self.start(carry::carry(Arc::clone(self), Arc::clone(outbox), id));
        }
    }

    fn hand_to(&self, outbox: &Outbox, link: &Handle, order: Order) -> bool {
        let is_given = link.order(order).is_ok();
        if !is_given {
            let _looking_already = outbox.release(link.id);
        }
        is_given
    }
}

impl Road for Federation {
    fn send(&self, local: &str, remote: &str, frame: Frame) -> Result<(), StanzaError> {
        let Some(me) = self.me.upgrade() else { return Err(StanzaError::remote_server_timeout()) };
        if self.is_closing() && self.registry.links_to(remote).is_empty() {
            return Err(StanzaError::remote_server_timeout().with_text("the server stops"));
        }
        let now = self.clock.now();
        let outbox = match self.registry.outbox(local, remote) {
            Some(outbox) => outbox,
            None => {
                let terms = self.policy.terms(remote);
                if !terms.is_allowed {
                    return Err(Policy::refusal());
                }
                self.registry
                    .open_outbox(local, remote, terms.queue_bytes_max, now, self.config.domains_max)
                    .ok_or_else(|| {
                        StanzaError::resource_constraint().with_text("stanzas wait for too many other domains")
                    })?
            }
        };
        if outbox.push(frame, now)? == Pushed::Forlorn {
            me.find_carrier(&outbox);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Federation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Federation").field("links", &self.links()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
