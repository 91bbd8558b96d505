//! Client streams: from an accepted connection to a bound session, and then the loop of stanzas.
//!
//! Negotiation (RFC 6120 sections 4 to 7) has one deadline; afterwards nothing here keeps a timer.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use xmpp::sasl::{Failure, Hash};
use xmpp::stanza::{Kind, PresenceType};
use xmpp::stream::{Condition, Event, ResumeFailed, Seed, Stream, TlsFacts};
use xmpp::{BareJid, FullJid, Stanza, StanzaError};

use super::connection::{Connection, Talk, Transport, Woke};
use super::resume::{self, Resumption};
use super::tls::Start;
use crate::extension::Application;
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

/// A stream with a session.
struct Negotiated {
    connection: Connection,
    session: Arc<Session>,
    /// Whether the session was bound on this stream; if not, it was resumed.
    is_new: bool,
}

/// Negotiates until a resource is bound, or a session resumed. `None` when the stream ended before.
async fn negotiate(
    house: &Arc<House>,
    transport: Transport,
    door: Door,
    peer: IpAddr,
    deadline: Instant,
) -> Option<Negotiated> {
    let seed = || Seed { stream_id: house.ids.id(), nonce: house.ids.id() };
    let mut connection = match door {
        Door::StartTls => Connection::new(transport, Stream::accept(house.streams.start_tls(), seed(), None)),
        Door::DirectTls => {
            let (secure, facts) =
                timeout_at(deadline, secure(house, transport, Start::Direct, None)).await.ok()?.ok()?;
            Connection::new(secure, Stream::accept(house.streams.direct_tls(), seed(), Some(facts)))
        }
    };
    let mut account: Option<BareJid> = None;
    let mut invitation = None;
    loop {
        while let Some(event) = connection.stream.poll_event() {
            match event {
                Event::StartTls => {
                    connection.flush().await.ok()?;
                    let domain = connection.stream.domain().to_owned();
                    let secured = connection.upgrade(|plain| secure(house, plain, Start::StartTls, Some(&domain)));
                    let (secure, facts) = timeout_at(deadline, secured).await.ok()?.ok()?;
                    connection = secure;
                    connection.stream.handle_secured(facts);
                }
                Event::NeedCredentials { localpart, domain, mechanism } => {
                    let hash = mechanism.hash().unwrap_or(Hash::Sha256);
                    // Keys come for accounts that do not exist, too: nobody knows a password for those.
                    let found = house.accounts.keys(&localpart, &domain, hash).await;
                    connection.stream.handle_credentials(found.map_err(|fault| unavailable(&fault)));
                }
                Event::CheckPassword { localpart, domain, password } => {
                    let is_right = house.accounts.check_password(&localpart, &domain, password.expose()).await;
                    connection.stream.handle_password(is_right.map_err(|fault| unavailable(&fault)));
                }
                Event::Authenticated(who) => {
                    tracing::info!(account = %who, %peer, "logged in");
                    account = Some(who);
                }
                Event::Register(stanza) => {
                    let domain = connection.stream.domain().into();
                    let application = Application { domain, peer, invitation: invitation.take(), stanza };
                    let Some(registrar) = &house.router.wiring().registrar else { return None };
                    let applied = registrar.apply(application).await;
                    invitation = applied.invitation;
                    connection.stream.send(&applied.reply);
                }
                Event::Bind { resource } => {
                    let bound = match &account {
                        Some(account) => bind(house, account, resource.as_deref()).await,
                        None => Err(StanzaError::not_allowed()),
                    };
                    match bound {
                        Ok(session) => {
                            connection.stream.handle_bound(Ok(session.jid.clone()));
                            return Some(Negotiated { connection, session, is_new: true });
                        }
                        Err(error) => connection.stream.handle_bound(Err(error)),
                    }
                }
                Event::Closed(_) => {
                    connection.close(None).await;
                    return None;
                }
                Event::Resume { previd, h } => {
                    let resumed = match &account {
                        Some(account) => resume::resume(house, account, &previd, h).await,
                        None => Err(ResumeFailed::not_found(None)),
                    };
                    match resumed {
                        Ok(Resumption { session, resumed }) => {
                            connection.stream.handle_resumed(Ok(resumed));
                            return Some(Negotiated { connection, session, is_new: false });
                        }
                        Err(failed) => connection.stream.handle_resumed(Err(failed)),
                    }
                }
                // Of a bound stream only.
                Event::Stanza(_)
                | Event::Malformed { .. }
                | Event::Answered(_)
                | Event::Enable { .. }
                | Event::AckWanted
                | Event::Acked(_)
                | Event::Active
                | Event::Inactive => {}
            }
        }
        match timeout_at(deadline, connection.wait(None)).await {
            Ok(Woke::Read(_)) => {}
            Ok(Woke::Close(condition)) => {
                connection.close(condition).await;
                return None;
            }
            Ok(Woke::Gone | Woke::Cut(_)) => return None,
            Err(_) => {
                connection.close(Some(Condition::ConnectionTimeout)).await;
                return None;
            }
        }
    }
}

async fn secure(
    house: &House,
    plain: Transport,
    start: Start,
    addressed: Option<&str>,
) -> io::Result<(Transport, TlsFacts)> {
    let (secure, facts) = house.tls.accept(plain, start, addressed).await?;
    Ok((Box::new(secure), facts))
}

/// Authentication that fails for a reason of ours.
fn unavailable(fault: &store::Fault) -> Failure {
    tracing::error!(%fault, "cannot read an account");
    Failure::TemporaryAuthFailure
}

async fn bind(house: &Arc<House>, account: &BareJid, resource: Option<&str>) -> Result<Arc<Session>, StanzaError> {
    if house.accounts.is_disabled(account) {
        return Err(StanzaError::not_allowed());
    }
    let jid: FullJid = match resource {
        Some(resource) => account.with_resource(resource).map_err(|_| StanzaError::bad_request())?,
        None => account.with_resource(&house.ids.id()).map_err(|_| StanzaError::internal_server_error())?,
    };
    resume::make_room(house, &jid).await;
    house.router.sessions.bind(jid, house.config.c2s.resource_conflict, house.clock.now(), || house.ids.id())
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
