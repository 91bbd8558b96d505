//! Messages that are archived: one batch for both sides, and delivered when it is durable.
//!
//! The sender's task waits for the disk, as it does for everything that is acknowledged; many tasks share one flush.
//! Each side's archive hands out its messages in the order it has them, whoever brings them.

use std::sync::Arc;

use bytes::Bytes;
use store::{Batch, CommitError};
use xmpp::stanza::Head;
use xmpp::{BareJid, Jid, Stanza, StanzaError};

use super::{Delivery, Present, copies, missing};
use crate::extensions::archive::retract::Retraction;
use crate::extensions::archive::{Account, InAir, splice};
use crate::router::Router;
use crate::router::rules::{Decision, decide};
use crate::session::Session;
use crate::tables::archive::{Landed, Place};

/// What is to be done for one account when a message is durable.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Ticket(Box<Errand>);

enum Errand {
    /// Deliver it.
    Received {
        head: Head,
        message: Bytes,
        place: Place,
        sender: Option<Arc<Session>>,
        is_copied: bool,
        /// Nobody was here: the message is among the offline messages, and only copies go out.
        is_kept: bool,
    },
    /// Tell the sender's other resources.
    Sent { sender: Arc<Session>, head: Head, message: Bytes, place: Place },
}

/// An archived message that nobody was left to take.
struct Left {
    account: BareJid,
    place: Place,
}

/// The two archives a message goes to.
struct Sides {
    sender: Option<Arc<Account>>,
    recipient: Option<Arc<Account>>,
}

impl Delivery {
    /// Archives and delivers a message to a local account.
    pub(super) async fn archived(&self, router: Arc<Router>, sender: Option<Arc<Session>>, stanza: Stanza) {
        let Some(to) = &stanza.head.to else { return };
        let account = to.to_bare();
        let present = Present::of(&router, to);
        let mut decision = present.decide(&stanza.head);
        if present.available.is_empty() && present.named.is_none() {
            match self.exists(&router, &account).await {
                Ok(true) => {}
                Ok(false) => {
                    let recipient = missing(present.recipient(present.availability()));
                    decision = decide(stanza.head.kind, recipient, || true);
                }
                Err(error) => return router.bounce(&stanza, &error).await,
            }
        }
        drop(present);
        // What is not accepted for delivery is in nobody's archive (XEP-0313 section 6.1).
        match decision {
            Decision::Bounce => return router.bounce(&stanza, &StanzaError::service_unavailable()).await,
            Decision::Drop | Decision::Handle => return,
            _ => {}
        }
        let sides = match self.sides(sender.as_deref(), &account, &stanza).await {
            Ok(sides) => sides,
            Err(error) => return self.failed(&router, &stanza, &error.into()).await,
        };
        if sides.sender.is_none() && sides.recipient.is_none() {
            return self.plain(router, sender, stanza).await;
        }
        self.commit(&router, sender, &account, stanza, sides, decision == Decision::Store).await;
    }

    /// The archives that want the message.
    async fn sides(&self, sender: Option<&Session>, account: &BareJid, stanza: &Stanza) -> Result<Sides, store::Fault> {
        let recipient = match &stanza.head.from {
            Some(from) => self.archive.open_for(account, from).await?,
            None => None,
        };
        let sender = match (sender, &stanza.head.to) {
            // What an account says to itself is archived once.
            (Some(sender), Some(to)) if sender.jid.as_bare_str() != account.as_str() => {
                self.archive.open_for(&sender.jid.bare(), to).await?
            }
            _ => None,
        };
        Ok(Sides { sender, recipient })
    }

    async fn commit(
        &self,
        router: &Arc<Router>,
        sender: Option<Arc<Session>>,
        account: &BareJid,
        stanza: Stanza,
        sides: Sides,
        is_away: bool,
    ) {
        let (Some(from), Some(to)) = (stanza.head.from.clone(), stanza.head.to.clone()) else { return };
        let (from, to) = (&from, &to);
        let message = stanza.render();
        let mut batch = Batch::new();
        let is_kept = is_away && sides.recipient.is_some();
        let room = match is_kept {
            true => match self.offline.room(account).await {
                Ok(room) => Some(room),
                Err(error) => return self.failed(router, &stanza, &error.into()).await,
            },
            false => None,
        };
        let [one, other] = self.archive.chances();
        let sent =
            sides.sender.as_ref().and_then(|ledger| self.archive.add(ledger, (to, true), one, &message, &mut batch));
        let received = sides.recipient.as_ref().and_then(|ledger| {
            let contact = if sender.as_ref().is_some_and(|sender| sender.jid.as_bare_str() == account.as_str()) {
                to
            } else {
                from
            };
            self.archive.add(ledger, (contact, false), other, &message, &mut batch)
        });
        let committed = match (room, &received) {
            (Some(room), Some(received)) => {
                room.put(received.place, &mut batch);
                match self.archive.store().commit(batch).await {
                    Ok(receipt) => {
                        drop(room);
                        receipt.durable().await.map_err(CommitError::from)
                    }
                    Err(error) => Err(error),
                }
            }
            _ => self.archive.store().commit_durably(batch).await,
        };
        if let Err(error) = committed {
            return self.failed(router, &stanza, &error).await;
        }
        // Whoever hears of a retraction finds the tombstone.
        if let Some(retraction) = Retraction::of(&stanza) {
            let places = [sent.as_ref().map(|sent| sent.place), received.as_ref().map(|received| received.place)];
            let ends = [(&sides.sender, to, true), (&sides.recipient, from, false)];
            for ((ledger, contact, is_outgoing), place) in ends.into_iter().zip(places) {
                if let (Some(ledger), Some(place)) = (ledger, place) {
                    self.archive.retract(ledger, contact, is_outgoing, (&retraction, place)).await;
                }
            }
        }
        let mut left = Vec::new();
        match (sent, &sender) {
            (Some(sent), Some(sender)) => {
                let is_copied = copies::of_sent(sender, &stanza);
                let ticket = is_copied.then(|| self.sent(sender, &stanza, &message, sent.place));
                self.land(router, sent, ticket, &mut left).await;
            }
            (_, Some(sender)) if copies::of_sent(sender, &stanza) => {
                copies::tell_senders(router, sender, &stanza.head, &mut || message.clone());
            }
            _ => {}
        }
        match received {
            Some(received) => {
                let ticket = Errand::Received {
                    head: stanza.head.clone(),
                    message,
                    place: received.place,
                    sender,
                    is_copied: copies::of_received(None, &stanza),
                    is_kept,
                };
                self.land(router, received, Some(Ticket(Box::new(ticket))), &mut left).await;
                if is_kept {
                    self.offline.somebody_came(account).await;
                }
                self.wake(router, &stanza, None).await;
            }
            None => {
                let is_copied = copies::of_received(None, &stanza);
                let present = Present::of(router, to);
                let given = present.give(&stanza.head, sender.as_deref(), is_copied, &mut || message.clone());
                if let Err(recipient) = given {
                    let undelivered = super::Undelivered { account: account.clone(), recipient, stanza, since: None };
                    self.otherwise(router, undelivered).await;
                }
            }
        }
        for Left { account, place } in left {
            self.offline.refer(&account, place).await;
        }
        for ledger in [sides.sender, sides.recipient].into_iter().flatten() {
            self.archive.make_room(&ledger).await;
        }
    }

    fn sent(&self, sender: &Arc<Session>, stanza: &Stanza, message: &Bytes, place: Place) -> Ticket {
        let (sender, head) = (Arc::clone(sender), stanza.head.clone());
        Ticket(Box::new(Errand::Sent { sender, head, message: message.clone(), place }))
    }

    /// Archives a message to another server, and sends it on its way.
    pub(super) async fn archived_departing(
        &self,
        router: &Arc<Router>,
        sender: &Arc<Session>,
        domain: &str,
        stanza: Stanza,
    ) {
        let Some(to) = &stanza.head.to else { return };
        let ledger = match self.archive.open_for(&sender.jid.bare(), to).await {
            Ok(ledger) => ledger,
            Err(error) => return self.failed(router, &stanza, &error.into()).await,
        };
        let is_copied = copies::of_sent(sender, &stanza);
        match ledger {
            Some(ledger) => {
                let (message, mut batch) = (stanza.render(), Batch::new());
                let [chance, _] = self.archive.chances();
                let sent = self.archive.add(&ledger, (to, true), chance, &message, &mut batch);
                let Some(sent) = sent else { return };
                if let Err(error) = self.archive.store().commit_durably(batch).await {
                    return self.failed(router, &stanza, &error).await;
                }
                let place = sent.place;
                if let Some(retraction) = Retraction::of(&stanza) {
                    self.archive.retract(&ledger, to, true, (&retraction, place)).await;
                }
                let ticket = is_copied.then(|| self.sent(sender, &stanza, &message, place));
                let mut left = Vec::new();
                self.land(router, sent, ticket, &mut left).await;
                for Left { account, place } in left {
                    self.offline.refer(&account, place).await;
                }
                self.archive.make_room(&ledger).await;
            }
            None if is_copied => copies::tell_senders(router, sender, &stanza.head, &mut || stanza.render()),
            None => {}
        }
        router.relay(domain, stanza).await;
    }

    /// Has a durable message handed out when it is next. What nobody took, of this message or those behind it, is
    /// added to `left`.
    async fn land(&self, router: &Router, in_air: InAir, ticket: Option<Ticket>, left: &mut Vec<Left>) {
        let mut landed = in_air.ledger.land(in_air.place, ticket, |ticket| left.extend(hand_out(router, ticket)));
        while let Landed::Parked(turn) = landed {
            // Whoever was to say so is gone: look again.
            let _gone = turn.await;
            landed = in_air.ledger.go_on(in_air.place, |ticket| left.extend(hand_out(router, ticket)));
        }
    }

    async fn failed(&self, router: &Router, stanza: &Stanza, error: &CommitError) {
        tracing::error!(%error, "a message could not be archived");
        router.bounce(stanza, &StanzaError::internal_server_error()).await;
    }
}

/// Does what a ticket says. A message that nobody took is returned.
fn hand_out(router: &Router, Ticket(errand): Ticket) -> Option<Left> {
    match *errand {
        Errand::Sent { sender, head, message, place } => {
            let with_id = || splice::with_child(&message, &splice::stanza_id(sender.jid.as_bare_str(), place));
            copies::tell_senders(router, &sender, &head, &mut || with_id());
            None
        }
        Errand::Received { head, message, place, sender, is_copied, is_kept } => {
            let to: &Jid = head.to.as_ref()?;
            let present = Present::of(router, to);
            let mut with_id: Option<Bytes> = None;
            let mut render = || {
                let id = || splice::with_child(&message, &splice::stanza_id(to.as_bare_str(), place));
                with_id.get_or_insert_with(id).clone()
            };
            if is_kept {
                if is_copied {
                    copies::tell_recipients(&present, &[], sender.as_deref(), &head, &mut render);
                }
                return None;
            }
            let given = present.give(&head, sender.as_deref(), is_copied, &mut render);
            given.err().map(|_| Left { account: to.to_bare(), place })
        }
    }
}
