//! Client streams: the loop of stanzas, once a resource is bound (`negotiate`), and what becomes of a session when its
//! stream is over. Nothing here keeps a timer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use xmpp::Stanza;
use xmpp::stanza::{Kind, PresenceType};
use xmpp::stream::{Condition, Event};

use super::connection::{Connection, Talk, Transport, Woke};
use super::negotiate::{Negotiated, negotiate};
use super::resume;
use crate::house::House;
use crate::runtime::survive;
use crate::session::Session;
use crate::session::unacked::Window;

/// How the bytes of a client reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Plain at first, TLS by STARTTLS.
    StartTls,
    /// TLS from the first byte (XEP-0368).
    DirectTls,
}

/// Serves one client from its first byte to its last.
pub async fn serve(house: Arc<House>, transport: Transport, door: Door, peer: IpAddr) {
    let deadline = Instant::now() + Duration::from_secs(house.config.limits.unauthenticated_seconds_max);
    // The negotiation is large and over soon: on the heap it leaves nothing behind in an idle session.
    let negotiated = Box::pin(negotiate(&house, transport, door, peer, deadline)).await;
    let Some(Negotiated { mut connection, session, is_new }) = negotiated else { return };
    if is_new {
        Box::pin(house.router.tell(|listener| listener.session_bound(&session))).await;
    } else {
        Box::pin(house.router.tell(|listener| listener.session_resumed(&session))).await;
    }
    let parting = match house.is_closing() {
        true => Parting::Cut(Condition::SystemShutdown),
        false => converse(&house, &mut connection, &session).await,
    };
    Box::pin(part(&house, connection, &session, parting)).await;
}

/// A stream is over: its session waits for another one, or ends. The client hears of that last, so that it finds what
/// it left when it comes back at once.
async fn part(house: &Arc<House>, mut connection: Connection, session: &Arc<Session>, parting: Parting) {
    settle(house, &mut connection).await;
    let (acks, unacked) = (connection.stream.acks().cloned(), connection.take_unacked());
    let may_stay = matches!(parting, Parting::Gone | Parting::Cut(_));
    if !may_stay {
        // Nothing more comes, and whoever knocks now waits for the end.
        session.mailbox.close(None);
    }
    if resume::detach(house, session, acks.as_ref(), unacked) {
        house.router.tell(|listener| listener.session_detached(session)).await;
    } else {
        resume::end(house, session, acks).await;
    }
    match parting {
        Parting::Gone => {}
        Parting::Close(condition) => connection.close(condition).await,
        Parting::Cut(condition) => connection.close(Some(condition)).await,
    }
}

/// Waits until what was handled is durable, as far as that is not so by itself.
async fn settle(house: &House, connection: &mut Connection) {
    if std::mem::take(&mut connection.is_unsettled)
        && let Some(presences) = &house.router.wiring().presences
    {
        presences.settled().await;
    }
}

/// How a conversation ended.
enum Parting {
    /// The peer is gone: there is nobody to say anything to.
    Gone,
    /// Politely, or with an error.
    Close(Option<Condition>),
    /// With an error, and the session may be wanted still.
    Cut(Condition),
}

/// Takes stanzas and writes what the mailbox holds, until either side ends the stream.
///
/// Everything rare or large is on the heap: what this future holds, every idle session holds.
async fn converse(house: &Arc<House>, connection: &mut Connection, session: &Arc<Session>) -> Parting {
    let c2s = &house.config.c2s;
    let window = Window { frames_max: c2s.unacknowledged_stanzas_max, bytes_max: c2s.unacknowledged_bytes_max };
    loop {
        while let Some(event) = connection.stream.poll_event() {
            match event {
                Event::Stanza(stanza) => {
                    connection.is_unsettled |= is_about_subscription(&stanza);
                    let handled = survive(house.router.from_session(session, stanza)).await;
                    if handled.is_none() {
                        tracing::error!(session = %session.jid, "handling a stanza panicked; its stream is closed");
                        return Parting::Close(Some(Condition::InternalServerError));
                    }
                    connection.stream.handled();
                }
                Event::Malformed { reply: Some(reply), .. } | Event::Answered(reply) => {
                    session.deliver(reply.render());
                }
                Event::Enable { resume, max } => {
                    connection.stream.handle_enabled(Ok(resume::enable(house, session, resume, max)));
                }
                Event::AckWanted => {
                    Box::pin(settle(house, connection)).await;
                    connection.stream.send_ack();
                }
                Event::Acked(count) => {
                    session.answered();
                    connection.acked(count);
                }
                Event::Active => session.mailbox.set_inactive(false),
                Event::Inactive => session.mailbox.set_inactive(true),
                Event::Closed(_) => return Parting::Close(None),
                // The rest belongs to negotiation.
                _ => {}
            }
        }
        let talk = Talk { session, clock: house.clock.as_ref(), window };
        match connection.wait(Some(talk)).await {
            Woke::Read(bytes) => {
                // Its radio is on, so what waits for that need not (XEP-0352).
                session.mailbox.release();
                session.heard(house.clock.now());
                if let Some(wait) = house.pace(session, bytes) {
                    Box::pin(crate::runtime::pause(wait)).await;
                }
            }
            Woke::Close(condition) => return Parting::Close(condition),
            Woke::Cut(condition) => return Parting::Cut(condition),
            Woke::Gone => return Parting::Gone,
        }
    }
}

/// Whether the decision that a stanza asks for is made durable after it was handled.
fn is_about_subscription(stanza: &Stanza) -> bool {
    use PresenceType::{Subscribe, Subscribed, Unsubscribe, Unsubscribed};
    matches!(stanza.head.kind, Kind::Presence(Subscribe | Subscribed | Unsubscribe | Unsubscribed))
}
