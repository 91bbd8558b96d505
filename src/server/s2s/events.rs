//! What a link does about what happens on its stream and about what is asked of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;

use tokio::time::Instant;
use xmpp::Stanza;
use xmpp::stream::server::{Ending, Event, Pair, Proof, Verdict};
use xmpp::stream::{Condition, StreamError};

use super::handle::{Direction, Order};
use super::link::{CLOSE_PATIENCE, ERROR_PATIENCE, Enabling, End, Link, in_doubt};
use super::outbox::{Outbox, Pushed};
use super::resume::Earlier;
use crate::session::mailbox::Frame;

/// How long a peer that has opened a stream may take to its first word, before we use the stream, too.
const FIRST_WORD: std::time::Duration = std::time::Duration::from_secs(2);

impl Link {
    pub(super) async fn take_event(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Stanza(stanza) => {
                self.first_word = None;
                self.last_stanza = Instant::now();
                self.handle.received.fetch_add(1, Ordering::Relaxed);
                self.lanes.take(stanza);
                // Said at once, so that a request for an acknowledgement right behind it is answered once.
                self.stream.handled(self.lanes.news());
            }
            Event::Malformed { reply, error } => {
                tracing::debug!(link = self.id, %error, "a malformed stanza");
                self.lanes.skip();
                self.stream.handled(self.lanes.news());
                if let Some(reply) = reply {
                    self.relay(&reply);
                }
            }
            Event::Acked(count) => self.take_ack(count),
            Event::Closed(ending) => self.take_ending(ending),
            Event::Authenticated { pair, by } => self.take_authenticated(&pair, by),
            Event::NotAuthenticated { pair, refusal } => self.take_refusal(&pair, &refusal.to_string()),
            Event::Verified { pair, stream_id, verdict } => self.take_verdict(&pair, &stream_id, &verdict),
            Event::Heard { from, to, by } => self.take_heard(&from, to.as_deref(), by),
            Event::Bidi(_) => self.handle.status().is_bidi = true,
            Event::Enabled { resumption, .. } => {
                self.enabled = Enabling::Done;
                self.negotiation = None;
                self.resumption = resumption;
                self.handle.status().has_acks = true;
                if !self.sent.is_empty() {
                    self.ask_later();
                }
            }
            Event::NotEnabled(error) => {
                self.enabled = Enabling::No;
                self.negotiation = None;
                tracing::debug!(link = self.id, %error, "no stream management");
            }
            Event::Resumed { acked } => self.take_resumed(acked),
            Event::NotResumed { acked, error } => {
                tracing::info!(link = self.id, %error, "the earlier stream is not resumed");
                self.give_up_resuming(acked.unwrap_or(0)).await;
            }
            Event::Dialback { pair, key, stream_id } => self.take_dialback(pair, key, stream_id),
            Event::Enable { resume, max } => {
                self.first_word = None;
                self.take_enable(resume, max);
            }
            Event::Resume { previous } => {
                self.first_word = None;
                Box::pin(self.take_resume(&previous)).await;
            }
            Event::StartTls => return Box::pin(self.start_tls()).await,
            Event::Opened { from, to } => Box::pin(self.take_opened(from.as_deref(), &to)).await,
            Event::Authenticate { domain } => Box::pin(self.take_authenticate(&domain)).await,
            Event::Features(_) | Event::Ready(_) => {}
        }
        Ok(())
    }

    fn take_ending(&mut self, ending: Ending) {
        self.registry_closing();
        let patience = match &ending {
            Ending::Closed => CLOSE_PATIENCE,
            _ => ERROR_PATIENCE,
        };
        self.closing.get_or_insert(Instant::now() + patience);
        self.ending.get_or_insert(ending);
    }

    /// Sends what the machine wants said to a sender on the other side, by whatever way there is.
    fn relay(&self, reply: &Stanza) {
        if let Some(to) = &reply.head.to {
            let sent = self.router.relay_frame(reply.head.from.as_ref(), to.domain(), Frame::Whole(reply.render()));
            if let Err(error) = sent {
                tracing::debug!(link = self.id, %error, "an answer to a malformed stanza was not taken");
            }
        }
    }

    pub(super) fn take_order(&mut self, order: Order) -> Result<(), End> {
        match order {
            Order::Close(_) if self.closing.is_some() => {}
            Order::Close(error) => {
                // What waits leaves first, as far as the transport takes it now.
                let mut cx = Context::from_waker(std::task::Waker::noop());
                while self.take_frames(&mut cx) {
                    self.wire.transmit(&mut self.stream);
                    if self.wire.poll_write(&mut cx).is_err() {
                        break;
                    }
                    self.forget_written();
                }
                self.close(error);
            }
            Order::Serve(outbox) => self.serve(outbox),
            Order::Authorize(outbox) => {
                let pair = Pair::new(&outbox.local, &outbox.remote);
                if self.stream.may_send(&pair.from, &pair.to) {
                    self.serve(outbox);
                } else if self.closing.is_none() && self.stream.authorize(&pair) {
                    self.authorizing.push(outbox);
                } else {
                    self.return_to_sender(&outbox);
                }
            }
            Order::Verify { pair, stream_id, key, answer } => {
                if self.closing.is_none() && self.stream.verify(&pair, &stream_id, &key) {
                    self.verifying.push((pair, stream_id, answer));
                }
            }
            Order::Verdict(pair, verdict) => self.stream.handle_dialback(&pair, verdict),
            Order::Arrived { ping, is_answered } => self.take_arrived(ping, is_answered),
            Order::Surrender(to) => {
                self.stream.close(Some(StreamError::new(Condition::Conflict)));
                return Err(End::Surrendered(to));
            }
        }
        Ok(())
    }

    /// Empties `outbox` from now on.
    pub(super) fn serve(&mut self, outbox: Arc<Outbox>) {
        if self.closing.is_none() && self.stream.may_send(&outbox.local, &outbox.remote) && outbox.link(self.id) {
            if self.outboxes.iter().all(|other| !Arc::ptr_eq(other, &outbox)) {
                self.outboxes.push(outbox);
            }
        } else {
            self.return_to_sender(&outbox);
        }
    }

    /// Somebody else has to carry `outbox`.
    pub(super) fn return_to_sender(&self, outbox: &Arc<Outbox>) {
        if outbox.release(self.id) == Pushed::Forlorn {
            self.federation.dial_for(outbox);
        }
    }

    fn take_authenticated(&mut self, pair: &Pair, by: Proof) {
        {
            let mut status = self.handle.status();
            status.state = "open".to_owned();
            status.authenticated.get_or_insert_with(|| super::dial::name(by).to_owned());
        }
        if let Some(at) = self.authorizing.iter().position(|of| *of.local == *pair.from && *of.remote == *pair.to) {
            let outbox = self.authorizing.swap_remove(at);
            self.serve(outbox);
        } else if self.handle.direction == Direction::In {
            // A peer that goes on with an earlier stream must say so before any stanza (XEP-0198 section 5).
            if self.federation.config.stream_management
                && !self.stream.has_acks()
                && self.handle.received.load(Ordering::Relaxed) == 0
            {
                self.first_word.get_or_insert(Instant::now() + FIRST_WORD);
            }
            self.federation.registry.offer(pair, &self.handle);
            // Whoever dials for it is too late now.
            if let Some(outbox) = self.federation.registry.outbox(&pair.from, &pair.to)
                && self.resuming.is_none()
                && !outbox.is_empty()
                && outbox.link(self.id)
            {
                self.serve(outbox);
            }
        }
    }

    fn take_refusal(&mut self, pair: &Pair, why: &str) {
        tracing::info!(link = self.id, %pair, why, "the other server does not accept a pair of domains");
        self.handle.status().last_error = Some(why.to_owned());
        if let Some(at) = self.authorizing.iter().position(|of| *of.local == *pair.from && *of.remote == *pair.to) {
            let outbox = self.authorizing.swap_remove(at);
            self.return_to_sender(&outbox);
        }
    }

    fn take_verdict(&mut self, pair: &Pair, stream_id: &str, verdict: &Verdict) {
        for (_, _, answer) in self.verifying.extract_if(.., |(of, id, _)| of == pair && **id == *stream_id) {
            let _nobody_waits = answer.send(verdict.clone());
        }
    }

    /// Goes on with an earlier stream: what was not handled is sent again.
    fn take_resumed(&mut self, acked: u32) {
        let Some(earlier) = self.resuming.take() else { return };
        let Earlier { previous, mut sent, outboxes, .. } = *earlier;
        let acked = usize::try_from(acked).unwrap_or(usize::MAX).min(sent.len());
        sent.drain(..acked);
        tracing::info!(link = self.id, acked, again = sent.len(), "resumed");
        self.resumption = Some(previous);
        self.enabled = Enabling::Done;
        self.negotiation = None;
        self.handle.status().has_acks = true;
        self.wire.transmit(&mut self.stream);
        let count = sent.len();
        for mut one in sent {
            one.end = self.wire.write(&one.queued.frame);
            self.sent_bytes += one.queued.cost;
            self.sent.push_back(one);
        }
        if count > 0 {
            self.note_sent(count);
        }
        for outbox in outboxes {
            self.serve(outbox);
        }
    }

    /// The earlier stream cannot be resumed: nobody knows what became of what was not acknowledged.
    pub(super) async fn give_up_resuming(&mut self, acked: u32) {
        let Some(earlier) = self.resuming.take() else { return };
        let Earlier { mut sent, outboxes, .. } = *earlier;
        sent.drain(..usize::try_from(acked).unwrap_or(usize::MAX).min(sent.len()));
        self.federation.bounce(sent.into_iter().map(|sent| sent.queued), &in_doubt()).await;
        self.negotiation = None;
        self.enable();
        for outbox in outboxes {
            self.serve(outbox);
        }
    }
}
