//! Who is there: outboxes by pair, links by number, what each domain has open. Looked up briefly, never held.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use xmpp::stream::server::Pair;

use super::handle::{Direction, Handle, Status};
use super::outbox::{CarrierId, Outbox, Road};
use crate::runtime::Timestamp;

/// Seconds at the allowed rate that a quiet domain may send at once.
const BURST_SECONDS: u64 = 4;

/// All of them.
#[derive(Default)]
pub(super) struct Registry {
    outboxes: RwLock<HashMap<Box<str>, Vec<Arc<Outbox>>>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    links: BTreeMap<CarrierId, Arc<Handle>>,
    /// Outgoing links by the domain they go to.
    outgoing: HashMap<Box<str>, Vec<Arc<Handle>>>,
    /// Links opened to us that may carry a pair, too.
    offers: HashMap<Pair, Vec<Arc<Handle>>>,
    peers: HashMap<Box<str>, Arc<Peer>>,
    /// Keys of a domain that are being verified.
    verifying: HashMap<Box<str>, usize>,
}

/// What is shared by all links of one domain.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Authenticated streams it has opened to us.
    links: AtomicUsize,
    /// Until when the bytes that came are paid for, in microseconds since the Unix epoch.
    paid_until: AtomicU64,
    /// Links that are over, and whose stanzas are still being handled.
    finishing: watch::Sender<usize>,
}

/// A link that is over and still has stanzas in hand, until it is dropped.
pub(super) struct Finishing(Arc<Peer>);

impl Drop for Finishing {
    fn drop(&mut self) {
        self.0.finishing.send_modify(|links| *links = links.saturating_sub(1));
    }
}

impl Peer {
    /// A link of the domain is over, and finishes what it has in hand.
    pub(super) fn finishing(self: Arc<Self>) -> Finishing {
        self.finishing.send_modify(|links| *links += 1);
        Finishing(self)
    }

    /// Waits for links that are over, if there are any: what comes next must not overtake what came on them.
    pub(super) fn finished(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let mut finishing = self.finishing.subscribe();
        let is_any = *finishing.borrow() > 0;
        is_any.then_some(async move {
            let _gone = finishing.wait_for(|links| *links == 0).await;
        })
    }

    /// How long to wait before reading on, after `bytes` were read.
    pub(super) fn pace(&self, bytes: usize, bytes_per_second_max: u64, now: Timestamp) -> Option<Duration> {
        let cost = (bytes as u64).saturating_mul(1_000_000) / bytes_per_second_max.max(1);
        let floor = now.saturating_sub(BURST_SECONDS * 1_000_000);
        let paid = self
            .paid_until
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid| Some(paid.max(floor) + cost))
            .unwrap_or(0);
        (paid.max(floor) + cost).checked_sub(now).filter(|wait| *wait > 0).map(Duration::from_micros)
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outbox of a pair.
    pub(super) fn outbox(&self, local: &str, remote: &str) -> Option<Arc<Outbox>> {
        let outboxes = self.outboxes.read().unwrap_or_else(PoisonError::into_inner);
        outboxes.get(remote)?.iter().find(|outbox| *outbox.local == *local).cloned()
    }

    /// The outbox of a pair, made if there is none; `None` when there are `domains_max` remote domains already.
    pub(super) fn open_outbox(
        &self,
        local: &str,
        remote: &str,
        bytes_max: usize,
        now: Timestamp,
        domains_max: usize,
    ) -> Option<Arc<Outbox>> {
        let mut outboxes = self.outboxes.write().unwrap_or_else(PoisonError::into_inner);
        if outboxes.len() >= domains_max && !outboxes.contains_key(remote) {
            outboxes.retain(|_, of| of.iter().any(|outbox| !outbox.is_stale(now, now)));
            if outboxes.len() >= domains_max {
                return None;
            }
        }
        let of = outboxes.entry(remote.into()).or_default();
        if let Some(outbox) = of.iter().find(|outbox| *outbox.local == *local) {
            return Some(Arc::clone(outbox));
        }
        let outbox = Arc::new(Outbox::new(local, remote, bytes_max, now));
        of.push(Arc::clone(&outbox));
        Some(outbox)
    }

    /// Every outbox.
    pub(super) fn outboxes(&self) -> Vec<Arc<Outbox>> {
        self.outboxes.read().unwrap_or_else(PoisonError::into_inner).values().flatten().cloned().collect()
    }

    /// Forgets outboxes and domains without use.
    pub(super) fn forget(&self, now: Timestamp, limit: Timestamp) {
        self.outboxes.write().unwrap_or_else(PoisonError::into_inner).retain(|_, of| {
            // Whoever holds one may be about to push.
            of.retain(|outbox| Arc::strong_count(outbox) > 1 || !outbox.is_stale(now, limit));
            !of.is_empty()
        });
        self.lock()
            .peers
            .retain(|_, peer| Arc::strong_count(peer) > 1 || peer.paid_until.load(Ordering::Relaxed) > limit);
    }

    /// A new link.
    pub(super) fn add(&self, handle: &Arc<Handle>) {
        let remote = match handle.direction {
            Direction::Out => Some(handle.status().remote.clone()),
            Direction::In => None,
        };
        let mut inner = self.lock();
        inner.links.insert(handle.id, Arc::clone(handle));
        if let Some(remote) = remote {
            inner.outgoing.entry(remote.into()).or_default().push(Arc::clone(handle));
        }
    }

    /// A link is no more.
    pub(super) fn remove(&self, handle: &Handle) {
        let remote = handle.status().remote.clone();
        let mut inner = self.lock();
        inner.links.remove(&handle.id);
        if let Some(of) = inner.outgoing.get_mut(&*remote) {
            of.retain(|other| other.id != handle.id);
            if of.is_empty() {
                inner.outgoing.remove(&*remote);
            }
        }
        drop(inner);
        self.withdraw(handle);
    }

    /// Every link.
    pub(super) fn links(&self) -> Vec<Arc<Handle>> {
        self.lock().links.values().cloned().collect()
    }

    /// Outgoing links to `remote` that are ready.
    pub(super) fn links_to(&self, remote: &str) -> Vec<Arc<Handle>> {
        let inner = self.lock();
        let of = inner.outgoing.get(remote).map(Vec::as_slice).unwrap_or_default();
        of.iter().filter(|link| link.is_ready.load(Ordering::Acquire)).cloned().collect()
    }

    /// A link opened to us may carry `pair`, too.
    pub(super) fn offer(&self, pair: &Pair, handle: &Arc<Handle>) {
        let mut inner = self.lock();
        let of = inner.offers.entry(pair.clone()).or_default();
        if of.iter().all(|other| other.id != handle.id) {
            of.push(Arc::clone(handle));
        }
    }

    /// A link offers nothing more.
    pub(super) fn withdraw(&self, handle: &Handle) {
        self.lock().offers.retain(|_, of| {
            of.retain(|other| other.id != handle.id);
            !of.is_empty()
        });
    }

    /// The links that offer to carry `pair`.
    pub(super) fn offers(&self, pair: &Pair) -> Vec<Arc<Handle>> {
        self.lock().offers.get(pair).cloned().unwrap_or_default()
    }

    /// What the links of `domain` share.
    pub(super) fn peer(&self, domain: &str) -> Arc<Peer> {
        let mut inner = self.lock();
        if let Some(peer) = inner.peers.get(domain) {
            return Arc::clone(peer);
        }
        let peer = Arc::<Peer>::default();
        inner.peers.insert(domain.into(), Arc::clone(&peer));
        peer
    }

    /// One more stream of a domain, unless it has `max` already. To be given back by dropping it.
    pub(super) fn admit(&self, domain: &str, max: usize) -> Option<Present> {
        let peer = self.peer(domain);
        let counted =
            peer.links.fetch_update(Ordering::AcqRel, Ordering::Acquire, |links| (links < max).then_some(links + 1));
        counted.ok().map(|_| Present(peer))
    }

    /// One more key of a domain to verify, unless `max` are being verified.
    pub(super) fn begin_verifying(&self, domain: &str, max: usize) -> bool {
        let mut inner = self.lock();
        let count = inner.verifying.entry(domain.into()).or_default();
        let may = *count < max;
        if may {
            *count += 1;
        }
        may
    }

    /// One key less.
    pub(super) fn end_verifying(&self, domain: &str) {
        let mut inner = self.lock();
        if let Some(count) = inner.verifying.get_mut(domain) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                inner.verifying.remove(domain);
            }
        }
    }

    /// Every link, and every outbox that no link carries.
    pub(super) fn status(&self) -> Vec<Status> {
        let links = self.links();
        let mut rows: Vec<Status> = links.iter().map(|link| link.snapshot()).collect();
        for outbox in self.outboxes() {
            let waiting = outbox.waiting();
            let state = match &waiting.road {
                Road::Linked(by) => {
                    if let Some(row) = rows.iter_mut().find(|row| row.id == *by) {
                        row.queue_stanzas += waiting.stanzas;
                        row.queue_bytes += waiting.bytes;
                    }
                    continue;
                }
                Road::Idle if waiting.stanzas == 0 => continue,
                Road::Idle => "waiting".to_owned(),
                Road::Dialling(_) => "dialling".to_owned(),
                Road::Settling(_) => "settling".to_owned(),
                Road::Refusing(..) => "refusing".to_owned(),
            };
            rows.push(Status {
                id: 0,
                local: outbox.local.to_string(),
                remote: outbox.remote.to_string(),
                direction: Direction::Out,
                address: String::new(),
                state,
                tls: None,
                authenticated: None,
                certificate: None,
                has_acks: false,
                is_bidi: false,
                queue_stanzas: waiting.stanzas,
                queue_bytes: waiting.bytes,
                received: 0,
                sent: 0,
                since: waiting.oldest.unwrap_or_default(),
                last_error: waiting.last_error.map(String::from),
            });
        }
        rows.sort_by(|a, b| (&a.remote, &a.local, a.id).cmp(&(&b.remote, &b.local, b.id)));
        rows
    }
}

/// A place among the streams of a domain; given back when dropped.
#[derive(Debug)]
pub(super) struct Present(pub(super) Arc<Peer>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.links.fetch_sub(1, Ordering::AcqRel);
    }
}
