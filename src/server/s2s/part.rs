//! How a link ends: what came is handled to the end, and what was sent is resumed, sent again, or answered.
//!
//! | the stream was | and the peer | then what was not acknowledged, or not wholly written, |
//! |---|---|---|
//! | cut | can resume it | is kept, and sent again when it is resumed |
//! | ended otherwise | acknowledges | is answered with `remote-server-timeout`, unless it cannot have left |
//! | ended, but not by us and in order | answers pings | is answered in the same way |
//! | ended otherwise | does neither | is sent again if it was not wholly written, else counts as arrived |

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Federation;
use super::handle::Order;
use super::link::{End, Link, in_doubt};
use super::outbox::{Outbox, Pushed};
use super::resume::{Earlier, Resumable, Sent};

/// How long what has come may take to be handled after the end.
const HANDLING: Duration = Duration::from_secs(30);
/// How long the last bytes may take.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// What is left of a link.
pub(super) enum Parting {
    /// Nothing.
    Over,
    /// What is needed to go on with it.
    Lost(Box<Earlier>),
}

impl Link {
    /// Talks until the end, and settles what is left. `own` is the outbox whose carrier we are, and stay.
    pub(super) async fn run(mut self, own: Option<&Arc<Outbox>>) -> Parting {
        let end = match crate::runtime::survive(self.converse()).await {
            Some(end) => end,
            None => {
                tracing::error!(link = self.id, "a link between servers panicked");
                End::Cut("an error of this server".to_owned())
            }
        };
        self.part(end, own).await
    }

    async fn part(mut self, end: End, own: Option<&Arc<Outbox>>) -> Parting {
        for outbox in &self.outboxes {
            outbox.settle(self.id);
        }
        self.federation.registry.remove(&self.handle);
        let mut finishing = Vec::new();
        if self.lanes.unfinished() > 0 {
            let domains: BTreeSet<&str> = self.heard.iter().map(|pair| &*pair.from).collect();
            finishing.extend(domains.into_iter().map(|domain| self.federation.registry.peer(domain).finishing()));
        }
        let handling = std::future::poll_fn(|cx| {
            if let std::task::Poll::Ready(handled) = self.lanes.poll(cx) {
                self.stream.handled(handled);
            }
            if self.lanes.unfinished() == 0 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        });
        if timeout(HANDLING, handling).await.is_err() {
            tracing::error!(link = self.id, "stanzas were still being handled when their link was given up");
        }
        drop(finishing);
        self.say_why(&end);
        if !matches!(end, End::Cut(_)) {
            let _unheard = timeout(LAST_BYTES, self.wire.flush(&mut self.stream)).await;
        }
        let surrender = self.return_orders();
        let flushed = self.wire.flushed();
        let earlier = self.earlier(&end);
        if let Some(id) = &self.resumption {
            // It has ended for good.
            let is_own = |found: &Resumable| matches!(found, Resumable::Live(handle) if handle.id == self.id);
            drop(self.federation.resumables.take(id, is_own));
        }
        // Who answers our closing tag with its own has taken all that was before it.
        let is_confirmed = self.confirms() && !(self.has_closed_first && self.stream.is_over());
        let Self { federation, stream, wire, sent, outboxes, id, .. } = self;
        let has_acks = stream.has_acks() || is_confirmed;
        if let Some(earlier) = earlier {
            let to = match end {
                End::Surrendered(to) => Some(to),
                _ => surrender,
            };
            // Its peer may be back already: it must not have to wait for the old connection's goodbye.
            let Some(to) = to else { return Parting::Lost(earlier) };
            if let Err(earlier) = to.send(*earlier) {
                federation.settle(earlier).await;
            }
            wire.shutdown().await;
            return Parting::Over;
        }
        wire.shutdown().await;
        federation.settle_sent(sent, has_acks, flushed).await;
        for outbox in &outboxes {
            if own.is_none_or(|own| !Arc::ptr_eq(own, outbox)) && outbox.release(id) == Pushed::Forlorn {
                federation.find_carrier(outbox);
            }
        }
        Parting::Over
    }

    /// What is needed to go on with the stream, if that is possible.
    fn earlier(&mut self, end: &End) -> Option<Box<Earlier>> {
        if matches!(end, End::Closed) || self.federation.is_closing() {
            // What was to be resumed will not be, either.
            if let Some(earlier) = self.resuming.take() {
                self.sent.extend(earlier.sent);
            }
            return None;
        }
        if let Some(mut earlier) = self.resuming.take() {
            earlier.carrier = self.id;
            return Some(earlier);
        }
        let before = self.uncounted.min(self.sent.len());
        let has_arrived = |sent: &Sent| sent.end <= self.wire.flushed();
        if !self.stream.has_acks() || !self.sent.iter().take(before).all(has_arrived) {
            return None;
        }
        let previous = self.resumption.take()?;
        let mut sent = std::mem::take(&mut self.sent);
        // What was sent before it counted is not the peer's to acknowledge.
        sent.drain(..before);
        Some(Box::new(Earlier {
            previous,
            acks: self.stream.acks().clone(),
            sent,
            heard: std::mem::take(&mut self.heard),
            outboxes: std::mem::take(&mut self.outboxes),
            carrier: self.id,
        }))
    }

    /// Answers the orders that came too late, but for a wish to go on with this stream, which is returned.
    fn return_orders(&mut self) -> Option<tokio::sync::oneshot::Sender<Earlier>> {
        let mut surrender = None;
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Serve(outbox) | Order::Authorize(outbox) => self.authorizing.push(outbox),
                // Whoever waits for an answer learns that there will be none.
                Order::Verify { .. } | Order::Close(_) | Order::Verdict(..) | Order::Arrived { .. } => {}
                Order::Surrender(to) => surrender = Some(to),
            }
        }
        for outbox in std::mem::take(&mut self.authorizing) {
            self.return_to_sender(&outbox);
        }
        surrender
    }

    fn say_why(&self, end: &End) {
        let status = self.handle.snapshot();
        let why = match (end, &self.ending) {
            (End::Cut(why), _) => why.clone(),
            (End::Surrendered(_), _) => "resumed on another connection".to_owned(),
            (End::Closed, Some(ending)) => ending.to_string(),
            (End::Closed, None) => "closed".to_owned(),
        };
        let (local, remote, received, sent) = (status.local, status.remote, status.received, status.sent);
        tracing::info!(
            link = self.id, direction = ?status.direction, %local, %remote, address = %status.address,
            received, sent, unacknowledged = self.sent.len(), why, "link down"
        );
        for outbox in &self.outboxes {
            outbox.note(&why);
        }
    }
}

impl Federation {
    /// What becomes of stanzas that were given to a connection that is no more.
    async fn settle_sent(&self, sent: VecDeque<Sent>, has_acks: bool, flushed: u64) {
        let mut doubtful = Vec::new();
        let mut again: Vec<(Arc<Outbox>, Vec<super::outbox::Queued>)> = Vec::new();
        for Sent { queued, outbox, end } in sent {
            if has_acks && end <= flushed {
                doubtful.push(queued);
            } else if end > flushed {
                match again.iter_mut().find(|(of, _)| Arc::ptr_eq(of, &outbox)) {
                    Some((_, frames)) => frames.push(queued),
                    None => again.push((outbox, vec![queued])),
                }
            }
        }
        for (outbox, frames) in again {
            outbox.put_back(frames.into_iter());
        }
        self.bounce(doubtful, &in_doubt()).await;
    }

    /// A lost stream will not be resumed: its stanzas are answered, and its outboxes go on.
    pub(super) async fn settle(self: &Arc<Self>, earlier: Earlier) {
        self.bounce(earlier.sent.into_iter().map(|sent| sent.queued), &in_doubt()).await;
        for outbox in &earlier.outboxes {
            if outbox.release(earlier.carrier) == Pushed::Forlorn {
                self.find_carrier(outbox);
            }
        }
    }
}
