//! The loop of one stream between servers: what came is handled, what waits is written, until either side ends it.
//!
//! The same for streams we opened and for those opened to us; what only the latter do is in `accept`. Reads only while
//! its lanes have room and its domain is within its pace; takes stanzas only while the transport takes bytes and not
//! too much is unacknowledged. How it ends, and what becomes of what it had in hand, is in `part`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};
use xmpp::stream::StreamError;
use xmpp::stream::server::{Ending, Pair, Stream, Verdict};
use xmpp::{Stanza, StanzaError};

use super::Federation;
use super::accept::Accepting;
use super::confirm::{Confirming, is_confirmed};
use super::handle::{Handle, Order};
use super::lanes::Lanes;
use super::outbox::{CarrierId, Outbox};
use super::registry::{Peer, Present};
use super::resume::{Earlier, Sent};
use super::wire::{OUTPUT_MARK, Wire};
use crate::router::Router;

/// Output above which nothing is read: a peer that asks and does not listen.
const UNHEARD_MAX: usize = 1 << 20;
/// Stanzas, and bytes of them, after which an acknowledgement is asked for at once.
const ACK_STANZAS: usize = 64;
const ACK_BYTES: usize = 128 * 1024;
/// How long to wait before asking for fewer. What is lost meanwhile is in doubt, and told to its sender.
const ACK_PAUSE: Duration = Duration::from_millis(100);
/// How long a peer may leave that unanswered and say nothing else.
const ACK_PATIENCE: Duration = Duration::from_secs(60);
/// How long a peer may take to close its side, and how long after an error.
pub(super) const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
pub(super) const ERROR_PATIENCE: Duration = Duration::from_secs(2);

/// One stream, and all that belongs to it.
pub(super) struct Link {
    pub(super) federation: Arc<Federation>,
    pub(super) router: Arc<Router>,
    pub(super) id: CarrierId,
    pub(super) handle: Arc<Handle>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) wire: Wire,
    pub(super) stream: Stream,
    pub(super) lanes: Lanes,
    /// What is emptied into this stream.
    pub(super) outboxes: Vec<Arc<Outbox>>,
    /// What will be, when the peer says yes.
    pub(super) authorizing: Vec<Arc<Outbox>>,
    pub(super) verifying: Vec<(Pair, Box<str>, oneshot::Sender<Verdict>)>,
    /// What was written and may not have arrived, oldest first.
    pub(super) sent: VecDeque<Sent>,
    pub(super) sent_bytes: usize,
    /// How many of these were sent before acknowledgements were asked for.
    pub(super) uncounted: usize,
    /// The pairs the peer has proven.
    pub(super) heard: Vec<Pair>,
    pub(super) present: Vec<(Box<str>, Present)>,
    pub(super) pace: Option<(Arc<Peer>, u64)>,
    /// The identifier to resume this stream by.
    pub(super) resumption: Option<Box<str>>,
    /// What is being resumed: nothing is sent until that is settled.
    pub(super) resuming: Option<Box<Earlier>>,
    pub(super) accepting: Option<Box<Accepting>>,
    pub(super) negotiation: Option<Instant>,
    /// Until when the peer has the first word on a stream that it has opened.
    pub(super) first_word: Option<Instant>,
    pub(super) closing: Option<Instant>,
    pub(super) ending: Option<Ending>,
    pub(super) has_closed_first: bool,
    pub(super) last_stanza: Instant,
    read_after: Option<Instant>,
    /// Links of the same domain that are over: nothing is read until what came on them has been handled.
    pub(super) before: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pub(super) enabled: Enabling,
    pub(super) confirming: Confirming,
    ack: Ack,
    sleep: Pin<Box<Sleep>>,
}

/// How far we are with asking for acknowledgements.
#[derive(Debug, Default)]
struct Ack {
    /// When to ask.
    at: Option<Instant>,
    /// When we asked, and how many bytes had been read by then.
    asked: Option<(Instant, u64)>,
    /// Stanzas and bytes sent since we asked.
    stanzas: usize,
    bytes: usize,
}

/// How far we are with stream management on a stream we opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enabling {
    /// The peer does not offer it, or refuses, or it is the peer who asks for it.
    No,
    /// It is offered.
    Offered,
    /// We have asked; what is sent from then on counts.
    Asked,
    /// It is there.
    Done,
}

/// Why a conversation is over.
pub(super) enum End {
    /// The stream was closed, by whomever.
    Closed,
    /// The connection was lost.
    Cut(String),
    /// The peer goes on with this stream on another connection.
    Surrendered(oneshot::Sender<Earlier>),
}

enum Woke {
    Again,
    Order(Order),
    Time,
    Gone(String),
}

impl Link {
    /// A link over a stream that has just begun or is ready.
    pub(super) fn new(
        federation: Arc<Federation>,
        router: Arc<Router>,
        (handle, orders): (Arc<Handle>, mpsc::Receiver<Order>),
        wire: Wire,
        stream: Stream,
    ) -> Self {
        let handling = Arc::clone(&router);
        let lanes = Lanes::new(move |stanza: Stanza| {
            let router = Arc::clone(&handling);
            Box::pin(async move { router.from_remote(stanza).await })
        });
        let now = Instant::now();
        let negotiation = stream.poll_timeout().map(|within| now + within);
        federation.registry.add(&handle);
        Self {
            id: handle.id,
            federation,
            router,
            handle,
            orders,
            wire,
            stream,
            lanes,
            outboxes: Vec::new(),
            authorizing: Vec::new(),
            verifying: Vec::new(),
            sent: VecDeque::new(),
            sent_bytes: 0,
            uncounted: 0,
            heard: Vec::new(),
            present: Vec::new(),
            pace: None,
            resumption: None,
            resuming: None,
            accepting: None,
            negotiation,
            first_word: None,
            closing: None,
            ending: None,
            has_closed_first: false,
            last_stanza: now,
            read_after: None,
            before: None,
            enabled: Enabling::No,
            confirming: Confirming::default(),
            ack: Ack::default(),
            sleep: Box::pin(tokio::time::sleep_until(far())),
        }
    }

    /// Takes and gives stanzas until the stream is over.
    pub(super) async fn converse(&mut self) -> End {
        loop {
            while self.lanes.has_room()
                && let Some(event) = self.stream.poll_event()
            {
                if let Err(end) = self.take_event(event).await {
                    return end;
                }
            }
            if self.closing.is_some() && self.stream.is_over() && self.lanes.has_room() {
                self.wire.transmit(&mut self.stream);
                if self.wire.waiting() == 0 {
                    return End::Closed;
                }
            }
            let woke = std::future::poll_fn(|cx| self.poll(cx)).await;
            let outcome = match woke {
                Woke::Again => Ok(()),
                Woke::Order(order) => self.take_order(order),
                Woke::Time => self.take_time(),
                Woke::Gone(_) if self.closing.is_some() => Err(End::Closed),
                Woke::Gone(why) => Err(End::Cut(why)),
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Woke> {
        let had_room = self.lanes.has_room();
        if let Poll::Ready(handled) = self.lanes.poll(cx) {
            self.stream.handled(handled);
            if !had_room {
                return Poll::Ready(Woke::Again);
            }
        }
        loop {
            self.wire.transmit(&mut self.stream);
            if let Err(error) = self.wire.poll_write(cx) {
                return Poll::Ready(Woke::Gone(error.to_string()));
            }
            self.forget_written();
            if !self.take_frames(cx) {
                break;
            }
        }
        if let Poll::Ready(Some(order)) = self.orders.poll_recv(cx) {
            return Poll::Ready(Woke::Order(order));
        }
        if self.closing.is_some() && self.stream.is_over() && self.wire.waiting() == 0 {
            return Poll::Ready(Woke::Again);
        }
        if self.poll_time(cx) {
            return Poll::Ready(Woke::Time);
        }
        if let Some(before) = &mut self.before
            && before.as_mut().poll(cx).is_ready()
        {
            self.before = None;
        }
        let may_read = self.before.is_none()
            && self.lanes.has_room()
            && self.stream.wants_bytes()
            && self.wire.waiting() < UNHEARD_MAX
            && self.read_after.is_none();
        if !may_read {
            return Poll::Pending;
        }
        match self.wire.poll_read(cx, &mut self.stream) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0)) => Poll::Ready(Woke::Gone("the connection was closed".to_owned())),
            Poll::Ready(Ok(bytes)) => {
                self.keep_pace(bytes);
                Poll::Ready(Woke::Again)
            }
            Poll::Ready(Err(error)) => Poll::Ready(Woke::Gone(error.to_string())),
        }
    }

    fn keep_pace(&mut self, bytes: usize) {
        let Some((peer, rate)) = &self.pace else { return };
        if let Some(wait) = peer.pace(bytes, *rate, self.federation.clock.now()) {
            self.read_after = Some(Instant::now() + wait);
        }
    }

    /// Whether the time for something has come. The timer is moved only when something is due sooner.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> bool {
        let idle = Duration::from_secs(self.federation.config.idle_seconds);
        let patience = self.ack.asked.map(|(at, _)| at + ACK_PATIENCE);
        let due = [self.negotiation, self.first_word, self.closing, self.read_after, self.ack.at, patience]
            .into_iter()
            .flatten()
            .fold(if self.closing.is_some() { far() } else { self.last_stanza + idle }, Instant::min);
        if due < self.sleep.deadline() {
            self.sleep.as_mut().reset(due);
        }
        if self.sleep.as_mut().poll(cx).is_pending() {
            return false;
        }
        if due > Instant::now() {
            self.sleep.as_mut().reset(due);
            return self.sleep.as_mut().poll(cx).is_ready();
        }
        true
    }

    /// Does what is due.
    fn take_time(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let has_come = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        self.sleep.as_mut().reset(far());
        if has_come(self.closing) {
            return Err(End::Closed);
        }
        if has_come(self.read_after) {
            self.read_after = None;
        }
        if has_come(self.first_word) {
            self.first_word = None;
        }
        if has_come(self.negotiation) {
            self.negotiation = None;
            if self.enabled == Enabling::Asked || self.resuming.is_some() {
                return Err(End::Cut("no answer about stream management".to_owned()));
            }
            self.stream.handle_timeout();
        }
        if has_come(self.ack.at) {
            self.ask();
        }
        if let Some((at, read)) = self.ack.asked
            && at + ACK_PATIENCE <= now
        {
            if self.wire.read == read {
                return Err(End::Cut("no acknowledgement and no other sign of life".to_owned()));
            }
            self.ask();
        }
        let idle = Duration::from_secs(self.federation.config.idle_seconds);
        if self.closing.is_none() && self.last_stanza + idle <= now {
            if self.is_idle() {
                self.close(None);
            } else {
                self.last_stanza = now;
            }
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        let is_settled =
            if self.stream.has_acks() { self.sent.is_empty() } else { !self.sent.iter().any(is_confirmed) };
        is_settled
            && self.lanes.unfinished() == 0
            && self.resuming.is_none()
            && self.authorizing.is_empty()
            && self.verifying.is_empty()
            && self.outboxes.iter().all(|outbox| outbox.is_empty())
    }

    /// Ends the stream from our side. Nothing more is taken; what still comes is handled.
    pub(super) fn close(&mut self, error: Option<StreamError>) {
        self.registry_closing();
        self.has_closed_first |= self.closing.is_none();
        let patience = if error.is_some() { ERROR_PATIENCE } else { CLOSE_PATIENCE };
        self.closing.get_or_insert(Instant::now() + patience);
        if error.is_some() {
            self.stream.send_ack();
        }
        self.stream.close(error);
    }

    /// From now on nobody gives us anything.
    pub(super) fn registry_closing(&self) {
        self.handle.is_ready.store(false, Ordering::Release);
        self.handle.can_authorize.store(false, Ordering::Release);
        self.federation.registry.withdraw(&self.handle);
        for outbox in &self.outboxes {
            outbox.settle(self.id);
        }
        self.handle.status().state = "closing".to_owned();
    }

    /// Whether stanzas were taken, so that there is something to write.
    pub(super) fn take_frames(&mut self, cx: &mut Context<'_>) -> bool {
        let bytes_max = self.federation.config.unacknowledged_bytes_max;
        let is_full = self.wire.waiting() >= OUTPUT_MARK || (self.sent_bytes >= bytes_max && !self.sent.is_empty());
        // What is sent before it counts would be lost without a word if the connection were.
        let is_asking = self.enabled == Enabling::Asked || self.first_word.is_some();
        if self.closing.is_some() || self.resuming.is_some() || is_asking || is_full {
            if is_full && self.confirms() && self.wire.waiting() == 0 {
                self.ask();
            }
            return false;
        }
        let before = self.sent.len();
        let (wire, sent, sent_bytes) = (&mut self.wire, &mut self.sent, &mut self.sent_bytes);
        for outbox in &self.outboxes {
            let _waiting = outbox.poll_take(cx, self.id, |queued| {
                let end = wire.write(&queued.frame);
                *sent_bytes += queued.cost;
                sent.push_back(Sent { queued, outbox: Arc::clone(outbox), end });
                wire.waiting() < OUTPUT_MARK && *sent_bytes < bytes_max
            });
        }
        let count = self.sent.len() - before;
        if count == 0 {
            return false;
        }
        self.note_sent(count);
        true
    }

    /// So many stanzas have been written: to be counted, and an acknowledgement to be asked for some time.
    pub(super) fn note_sent(&mut self, count: usize) {
        let counted = u32::try_from(count).unwrap_or(u32::MAX);
        self.stream.sent(counted);
        self.handle.sent.fetch_add(u64::from(counted), Ordering::Relaxed);
        let now = Instant::now();
        self.last_stanza = now;
        if !self.stream.has_acks() && !self.confirms() {
            return;
        }
        let is_worth_it = self.stream.has_acks() || self.sent.iter().rev().take(count).any(is_confirmed);
        self.ack.stanzas += count;
        self.ack.bytes += self.sent.iter().rev().take(count).map(|sent| sent.queued.cost).sum::<usize>();
        if self.ack.asked.is_none() && !self.confirming.is_out() {
            if self.ack.stanzas >= ACK_STANZAS || self.ack.bytes >= ACK_BYTES {
                self.ask();
            } else if is_worth_it {
                self.ack.at.get_or_insert(now + ACK_PAUSE);
            }
        }
    }

    pub(super) fn ask(&mut self) {
        self.ack = Ack::default();
        if !self.sent.is_empty() && self.stream.has_acks() {
            self.stream.request_ack();
            self.ack.asked = Some((Instant::now(), self.wire.read));
        } else if !self.sent.is_empty() && self.confirms() && !self.confirming.is_out() {
            self.ping();
        }
    }

    /// An acknowledgement is to be asked for in a moment.
    pub(super) fn ask_later(&mut self) {
        self.ack.at.get_or_insert(Instant::now() + ACK_PAUSE);
    }

    /// The peer has handled so many more.
    pub(super) fn take_ack(&mut self, count: u32) {
        // What was sent before it counted came before.
        let count = std::mem::take(&mut self.uncounted) + usize::try_from(count).unwrap_or(usize::MAX);
        self.settle_arrived(count);
    }

    /// The `count` oldest of what was sent have arrived.
    pub(super) fn settle_arrived(&mut self, count: usize) {
        for sent in self.sent.drain(..count.min(self.sent.len())) {
            self.sent_bytes = self.sent_bytes.saturating_sub(sent.queued.cost);
        }
        self.ack.asked = None;
        self.ack.at = if self.sent.is_empty() {
            None
        } else if self.ack.stanzas >= ACK_STANZAS || self.ack.bytes >= ACK_BYTES {
            self.ask();
            None
        } else if self.confirms() && !self.sent.iter().any(is_confirmed) {
            None
        } else {
            Some(Instant::now() + ACK_PAUSE)
        };
    }

    /// Where nobody says what has arrived, what was wholly written counts as that.
    pub(super) fn forget_written(&mut self) {
        let counts = self.stream.has_acks() || self.enabled == Enabling::Asked || self.confirms();
        if self.sent.is_empty() || (counts && self.uncounted == 0) {
            return;
        }
        let flushed = self.wire.flushed();
        while (!counts || self.uncounted > 0)
            && self.sent.front().is_some_and(|sent| sent.end <= flushed)
            && let Some(sent) = self.sent.pop_front()
        {
            self.sent_bytes = self.sent_bytes.saturating_sub(sent.queued.cost);
            self.uncounted = self.uncounted.saturating_sub(1);
            self.confirming.forget(1);
        }
    }

    /// Asks for acknowledgements, if the peer offers them.
    pub(super) fn enable(&mut self) {
        if self.enabled == Enabling::Offered {
            self.enabled = Enabling::Asked;
            self.stream.enable_acks(true);
            self.resume_by();
        }
    }

    /// The peer has so long to answer what we have asked about stream management.
    pub(super) fn resume_by(&mut self) {
        self.negotiation = Some(Instant::now() + ACK_PATIENCE);
    }
}

/// Later than anything that is waited for here.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}

/// What senders are told of stanzas that may or may not have arrived.
pub(super) fn in_doubt() -> StanzaError {
    let text = "the connection was lost, and nobody knows whether this arrived";
    StanzaError::remote_server_timeout().with_text(text)
}
