//! Negotiation of client streams (RFC 6120 sections 4 to 7): from an accepted connection to a bound session, with one
//! deadline. What the machine asks for is looked up here; what a client asks for with SASL2 is done in `enter`.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use xmpp::sasl::{Failure, Hash};
use xmpp::stream::{Condition, Event, ResumeFailed, Seed, Stream, TlsFacts};
use xmpp::{BareJid, FullJid, StanzaError};

use super::c2s::Door;
use super::connection::{Connection, Transport, Woke};
use super::enter;
use super::resume::{self, Resumption};
use super::tls::Start;
use crate::extension::Application;
use crate::house::House;
use crate::session::Session;

/// A stream with a session.
pub(super) struct Negotiated {
    pub(super) connection: Connection,
    pub(super) session: Arc<Session>,
    /// Whether the session was bound on this stream; if not, it was resumed.
    pub(super) is_new: bool,
}

/// Negotiates until a resource is bound, or a session resumed. `None` when the stream ended before.
pub(super) async fn negotiate(
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
                Event::CheckToken { account, client, shown, count, invalidate } => {
                    let now = house.clock.now();
                    let checked = house.clients.check(&account, &client, &shown, count, invalidate, now).await;
                    connection.stream.handle_token(checked.unwrap_or_else(|fault| Err(unavailable(&fault))));
                }
                Event::CheckCertificate { .. } => connection.stream.handle_certificate(Err(Failure::NotAuthorized)),
                Event::WantsUpgrade { account, hash } => {
                    let lacks = house.accounts.lacks_keys(&account, hash).await;
                    connection.stream.handle_upgrade(lacks.map_err(|fault| unavailable(&fault)));
                }
                Event::Upgrade { account, hash: _, keys } => {
                    let added = house.accounts.add_keys(&account, *keys).await;
                    connection.stream.handle_upgrade(added.map(|()| true).map_err(|fault| unavailable(&fault)));
                }
                Event::Enter(wishes) => {
                    let entered = Box::pin(enter::enter(house, *wishes, peer)).await;
                    account = Some(entered.account);
                    connection.stream.handle_entered(entered.told);
                    if let Some((session, is_new)) = entered.session {
                        return Some(Negotiated { connection, session, is_new });
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
pub(super) fn unavailable(fault: &store::Fault) -> Failure {
    tracing::error!(%fault, "cannot read an account");
    Failure::TemporaryAuthFailure
}

pub(super) async fn bind(
    house: &Arc<House>,
    account: &BareJid,
    resource: Option<&str>,
) -> Result<Arc<Session>, StanzaError> {
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
