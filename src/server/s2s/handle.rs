//! What others know of a link: its number, how it is, and a way to ask something of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use xmpp::stream::StreamError;
use xmpp::stream::server::{Pair, Verdict};

use super::outbox::{CarrierId, Outbox};
use super::resume::Earlier;
use crate::runtime::Timestamp;

/// Orders that may wait for a link.
const ORDERS_MAX: usize = 64;

/// What can be asked of a link.
pub(super) enum Order {
    /// End the stream, after what waits has been written.
    Close(Option<StreamError>),
    /// Take what waits in an outbox that was claimed for this link, and whose pair it may carry.
    Serve(Arc<Outbox>),
    /// The same, and ask the peer for the pair first.
    Authorize(Arc<Outbox>),
    /// Ask the peer whether a dialback key is its own.
    Verify {
        /// From the asserted domain to ours.
        pair: Pair,
        /// The stream the key was shown on.
        stream_id: Box<str>,
        /// The key.
        key: Box<str>,
        /// Who wants to know. Dropped when there will be no answer.
        answer: oneshot::Sender<Verdict>,
    },
    /// What was found out about a key that was shown on this link.
    Verdict(Pair, Verdict),
    /// A ping behind what was sent was answered, or was not in time.
    Arrived {
        /// Its number.
        ping: u32,
        /// Whether there was an answer.
        is_answered: bool,
    },
    /// Give up what is needed to resume this stream: its peer has come back on another connection.
    Surrender(oneshot::Sender<Earlier>),
}

/// Which way stanzas go on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The other server connected to us.
    In,
    /// We connected to it.
    Out,
}

/// How a link is, for the administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The link's number; 0 for an outbox that no link carries.
    pub id: CarrierId,
    /// Our domain.
    pub local: String,
    /// Theirs; what it says it is, until it is proven.
    pub remote: String,
    /// Who connected.
    pub direction: Direction,
    /// Where it is connected to, or from.
    pub address: String,
    /// `negotiating`, `open`, `closing`; for an outbox without a link `dialling`, `settling`, `refusing`, `waiting`.
    pub state: String,
    /// `1.2`, `1.3`, or nothing in the clear.
    pub tls: Option<String>,
    /// How the other server was authenticated, or we to it: `EXTERNAL`, `dialback`.
    pub authenticated: Option<String>,
    /// What its certificate is worth: `PKIX`, `DANE`, `POSH`, or why it is worth nothing.
    pub certificate: Option<String>,
    /// Whether stanzas are acknowledged.
    pub has_acks: bool,
    /// Whether stanzas go both ways.
    pub is_bidi: bool,
    /// Stanzas that wait, or are not acknowledged.
    pub queue_stanzas: usize,
    /// Bytes of them.
    pub queue_bytes: usize,
    /// Stanzas received so far.
    pub received: u64,
    /// Stanzas sent so far.
    pub sent: u64,
    /// Since when there is this link, or since when the oldest stanza waits: microseconds since the Unix epoch.
    pub since: Timestamp,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// A link as others see it.
pub(super) struct Handle {
    pub(super) id: CarrierId,
    pub(super) direction: Direction,
    orders: mpsc::Sender<Order>,
    status: Mutex<Status>,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    /// Whether it is an outgoing link that is ready to be asked about keys.
    pub(super) is_ready: AtomicBool,
    /// Whether more pairs can be asked for on it by dialback.
    pub(super) can_authorize: AtomicBool,
}

impl Handle {
    /// A new link, and where its orders arrive.
    pub(super) fn new(
        id: CarrierId,
        direction: Direction,
        local: &str,
        remote: &str,
        address: String,
        since: Timestamp,
    ) -> (Arc<Self>, mpsc::Receiver<Order>) {
        let (orders, arriving) = mpsc::channel(ORDERS_MAX);
        let status = Status {
            id,
            local: local.to_owned(),
            remote: remote.to_owned(),
            direction,
            address,
            state: "negotiating".to_owned(),
            tls: None,
            authenticated: None,
            certificate: None,
            has_acks: false,
            is_bidi: false,
            queue_stanzas: 0,
            queue_bytes: 0,
            received: 0,
            sent: 0,
            since,
            last_error: None,
        };
        let handle = Self {
            id,
            direction,
            orders,
            status: Mutex::new(status),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            is_ready: AtomicBool::new(false),
            can_authorize: AtomicBool::new(false),
        };
        (Arc::new(handle), arriving)
    }

    /// Asks for something. An order that cannot be given is returned.
    pub(super) fn order(&self, order: Order) -> Result<(), Order> {
        self.orders.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(order) | mpsc::error::TrySendError::Closed(order) => order,
        })
    }

    /// The status, to be changed.
    pub(super) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status as it is now.
    pub(super) fn snapshot(&self) -> Status {
        let mut status = self.status().clone();
        status.received = self.received.load(Ordering::Relaxed);
        status.sent = self.sent.load(Ordering::Relaxed);
        status
    }
}
