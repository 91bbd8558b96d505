//! External components: programs beside the server that serve domains of their own (XEP-0114).
//!
//! To the router a component's domain is one of another server, reached by this road and not by the one to the world: so
//! presence, subscriptions, errors and archives work with it as with remote contacts. Other servers find it here, since
//! its domain is one of those we speak for (see `crate::s2s`).
//!
//! A stanza for a component whose connection is not there is answered with `remote-server-timeout`, of type `wait`; one
//! for a component that does not take what it gets, with `resource-constraint`. Nothing is kept for later. What was
//! not written when a connection ends goes to another one of the component, or is answered.

mod link;
mod queue;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xmpp::limits::Limits;
use xmpp::sasl::plain::Password;
use xmpp::stream::component::{self, Settings};
use xmpp::stream::{Condition, Seed, StreamError};
use xmpp::{Jid, Stanza, StanzaError};

use self::link::Link;
use self::queue::{Queue, Refused};
use crate::config::Config;
use crate::config::components::{Balance, Component, OnConflict};
use crate::extension::{Spec, Xep};
use crate::router::Router;
use crate::router::road::Road;
use crate::runtime::{self, Clock, Ids, Timestamp, Transport};
use crate::session::mailbox::Frame;

/// What belongs to component streams rather than to an extension.
pub static SPEC: Spec =
    Spec { name: "components", xeps: &[Xep::complete(114, "1.6"), Xep::declined(225, "0.2")], config: "" };

/// How long a house that closes waits for what is on its way.
const GOODBYE: Duration = Duration::from_secs(5);
/// Seconds at the allowed rate that a quiet component may send at once.
const BURST_SECONDS: u64 = 4;

/// All components of a house.
pub struct Components {
    router: Weak<Router>,
    settings: Arc<Settings>,
    places: BTreeMap<Box<str>, Place>,
    read_bytes_per_second_max: u64,
    queue_bytes_max: usize,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    next: AtomicU64,
    running: AtomicUsize,
}

/// One component, connected or not.
struct Place {
    rule: Component,
    host: Box<str>,
    present: Mutex<Vec<Arc<Present>>>,
    /// Until when the bytes that came are paid for, in microseconds since the Unix epoch.
    paid_until: AtomicU64,
    hasher: RandomState,
}

/// One connection of a component.
#[derive(Debug)]
struct Present {
    id: u64,
    queue: Queue,
    address: IpAddr,
    since: Timestamp,
    received: AtomicU64,
    sent: AtomicU64,
}

/// How a component is, for the administrator: one row for each connection, and one for each component without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its domain.
    pub name: String,
    /// The host whose service it is.
    pub host: String,
    /// Whether it is connected.
    pub is_connected: bool,
    /// From where.
    pub address: Option<String>,
    /// Stanzas that wait to be written.
    pub queue_stanzas: usize,
    /// Bytes of them.
    pub queue_bytes: usize,
    /// Stanzas received from it on this connection.
    pub received: u64,
    /// Stanzas sent to it on this connection.
    pub sent: u64,
    /// Since when it is connected, in microseconds since the Unix epoch; 0 if it is not.
    pub since: Timestamp,
}

impl Components {
    /// Those of `config`, none of them connected. Opens their gate in the router.
    ///
    /// # Errors
    /// A sentence that names the component whose domain is taken.
    pub fn new(
        config: &Config,
        router: &Arc<Router>,
        clock: &Arc<dyn Clock>,
        ids: &Arc<dyn Ids>,
    ) -> Result<Arc<Self>, String> {
        let mut places = BTreeMap::new();
        let mut accepted = Vec::new();
        for rule in &config.component {
            let domain = rule.domain().ok_or_else(|| format!("`component.name`: `{}`", rule.name))?;
            if router.serves(&domain) {
                return Err(format!("`component.name`: `{domain}` is served by the server itself"));
            }
            accepted.push(component::Component { domain: domain.clone(), secret: Password::new(&*rule.secret) });
            let place = Place {
                rule: rule.clone(),
                host: rule.host_in(config),
                present: Mutex::default(),
                paid_until: AtomicU64::new(0),
                hasher: RandomState::new(),
            };
            places.insert(domain, place);
        }
        let section = &config.components;
        let mut settings = Settings::new(accepted);
        settings.limits = Limits {
            stanza_bytes_max: section.stanza_bytes_max,
            depth_max: config.limits.depth_max,
            attributes_max: config.limits.attributes_max,
            elements_max: config.limits.elements_max,
            ..Limits::server()
        };
        settings.unauthenticated_bytes_max = section.unauthenticated_bytes_max;
        settings.negotiation_time_max = Duration::from_secs(section.handshake_seconds_max);
        let domains = places.keys().cloned().collect();
        let components = Arc::new(Self {
            router: Arc::downgrade(router),
            settings: Arc::new(settings),
            places,
            read_bytes_per_second_max: section.read_bytes_per_second_max,
            queue_bytes_max: section.queue_bytes_max,
            clock: Arc::clone(clock),
            ids: Arc::clone(ids),
            next: AtomicU64::new(1),
            running: AtomicUsize::new(0),
        });
        router.open_gate(domains, Arc::clone(&components) as Arc<dyn Road>);
        Ok(components)
    }

    /// Every component, by domain.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let mut rows = Vec::new();
        for (domain, place) in &self.places {
            let row = Status {
                name: domain.to_string(),
                host: place.host.to_string(),
                is_connected: false,
                address: None,
                queue_stanzas: 0,
                queue_bytes: 0,
                received: 0,
                sent: 0,
                since: 0,
            };
            let present = place.present();
            rows.extend(present.iter().map(|present| {
                let (queue_stanzas, queue_bytes) = present.queue.waiting();
                Status {
                    is_connected: true,
                    address: Some(present.address.to_string()),
                    queue_stanzas,
                    queue_bytes,
                    received: present.received.load(Ordering::Relaxed),
                    sent: present.sent.load(Ordering::Relaxed),
                    since: present.since,
                    ..row.clone()
                }
            }));
            if present.is_empty() {
                rows.push(row);
            }
        }
        rows
    }

    /// Serves a component from its first byte to its last.
    pub async fn serve(self: &Arc<Self>, transport: Transport, address: IpAddr) {
        let Some(router) = self.router.upgrade() else { return };
        self.running.fetch_add(1, Ordering::AcqRel);
        let seed = Seed { stream_id: self.ids.id(), nonce: self.ids.id() };
        let stream = component::Stream::accept(Arc::clone(&self.settings), seed);
        let link = Link::new(Arc::clone(self), router, transport, stream, address);
        if runtime::survive(link.run()).await.is_none() {
            tracing::error!(%address, "serving a component panicked");
        }
        self.running.fetch_sub(1, Ordering::AcqRel);
    }

    /// Ends all streams with `system-shutdown`.
    pub async fn stop(&self) {
        for place in self.places.values() {
            for present in &*place.present() {
                present.queue.close(Some(StreamError::new(Condition::SystemShutdown)));
            }
        }
        let goodbye = async {
            while self.running.load(Ordering::Acquire) > 0 {
                runtime::pause(Duration::from_millis(10)).await;
            }
        };
        let _some_did_not_listen = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    /// A place for a connection that has proven to be `domain`.
    fn admit(&self, domain: &str, address: IpAddr) -> Result<Arc<Present>, StreamError> {
        let Some(place) = self.places.get(domain) else { return Err(Condition::HostUnknown.into()) };
        let addresses = &place.rule.addresses;
        if !addresses.is_empty() && !addresses.iter().any(|other| other.to_canonical() == address.to_canonical()) {
            return Err(StreamError::new(Condition::NotAuthorized).with_text("not from this address"));
        }
        let mut all = place.present();
        if all.len() >= place.rule.connections_max {
            match place.rule.on_conflict {
                OnConflict::Refuse => {
                    return Err(StreamError::new(Condition::Conflict).with_text("the component is connected already"));
                }
                OnConflict::Replace => {
                    let text = "another connection of the component takes its place";
                    let oldest = all.remove(0);
                    oldest.queue.close(Some(StreamError::new(Condition::Conflict).with_text(text)));
                }
            }
        }
        let present = Arc::new(Present {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            queue: Queue::new(self.queue_bytes_max),
            address,
            since: self.clock.now(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        });
        all.push(Arc::clone(&present));
        Ok(present)
    }

    /// A connection is over. What it had in hand goes to another one, or is answered.
    async fn leave(&self, domain: &str, present: &Arc<Present>, unwritten: impl IntoIterator<Item = Frame> + Send) {
        self.vacate(domain, present);
        let (Some(place), Some(router)) = (self.places.get(domain), self.router.upgrade()) else { return };
        for frame in unwritten.into_iter().chain(present.queue.drain()) {
            let Some(stanza) = parsed(&frame) else { continue };
            if let Err(error) = self.pass(place, frame) {
                router.undelivered(&stanza, &error).await;
            }
        }
    }

    /// Gives a place back, whatever became of who had it.
    fn vacate(&self, domain: &str, present: &Present) {
        if let Some(place) = self.places.get(domain) {
            place.present().retain(|other| other.id != present.id);
        }
    }

    fn pass(&self, place: &Place, frame: Frame) -> Result<(), StanzaError> {
        let chosen = place.choose(&frame).ok_or_else(absent)?;
        chosen.queue.push(frame).map_err(|(refused, _)| match refused {
            Refused::Full => StanzaError::resource_constraint().with_text("the component does not take what it gets"),
            Refused::Closed => absent(),
        })
    }

    /// How long to wait before reading on, after `bytes` were read from a component.
    fn pace(&self, domain: &str, bytes: usize) -> Option<Duration> {
        let place = self.places.get(domain)?;
        let now = self.clock.now();
        let cost = (bytes as u64).saturating_mul(1_000_000) / self.read_bytes_per_second_max.max(1);
        let floor = now.saturating_sub(BURST_SECONDS * 1_000_000);
        let paid = place
            .paid_until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid| Some(paid.max(floor) + cost))
            .unwrap_or(0);
        (paid.max(floor) + cost).checked_sub(now).filter(|wait| *wait > 0).map(Duration::from_micros)
    }
}

impl Place {
    fn present(&self) -> MutexGuard<'_, Vec<Arc<Present>>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection for a stanza: always the same one for the same addresses, as long as it is there.
    fn choose(&self, frame: &Frame) -> Option<Arc<Present>> {
        let all = self.present();
        if all.len() < 2 {
            return all.first().cloned();
        }
        let key = self.key(frame);
        all.iter().max_by_key(|present| self.hasher.hash_one((key, present.id))).cloned()
    }

    fn key(&self, frame: &Frame) -> u64 {
        let stanza = parsed(frame);
        let head = stanza.as_ref().map(|stanza| &stanza.head);
        let from = head.and_then(|head| head.from.as_ref()).map(Jid::as_bare_str);
        let to = head.and_then(|head| head.to.as_ref()).map(Jid::as_bare_str);
        match self.rule.balance {
            Balance::Sender => self.hasher.hash_one(from),
            Balance::Recipient => self.hasher.hash_one(to),
            Balance::Pair => self.hasher.hash_one((from, to)),
        }
    }
}

impl Road for Components {
    fn send(&self, _local: &str, remote: &str, frame: Frame) -> Result<(), StanzaError> {
        let place = self.places.get(remote).ok_or_else(StanzaError::remote_server_not_found)?;
        self.pass(place, frame)
    }
}

impl std::fmt::Debug for Components {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Components").field("domains", &self.places.keys()).finish_non_exhaustive()
    }
}

fn absent() -> StanzaError {
    StanzaError::remote_server_timeout().with_text("the component is not connected")
}

fn parsed(frame: &Frame) -> Option<Stanza> {
    let mut bytes = Vec::with_capacity(frame.len());
    frame.write(&mut bytes);
    Stanza::parse(bytes.into(), &Limits { stanza_bytes_max: usize::MAX, ..Limits::server() }).ok()
}

#[cfg(test)]
mod tests;
