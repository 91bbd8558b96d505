//! Negotiation of client streams (RFC 6120 sections 4 to 7): from an accepted connection to a bound session, with one
//! deadline. What the machine asks for is looked up here; what a client asks for with SASL2 is done in `enter`.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use xmpp::sasl::{Failure, Hash, Mechanism};
use xmpp::stream::entry::Proof;
use xmpp::stream::{Condition, Event, ResumeFailed, Seed, Stream, TlsFacts};
use xmpp::{BareJid, StanzaError};

use super::c2s::Door;
use super::connection::{Connection, Transport, Woke};
use super::enter;
use super::external::{self, Certified, look_again};
use super::resume::{self, Resumption};
use super::tls::{Accepted, Start};
use crate::config::ResourceConflict;
use crate::extension::Application;
use crate::house::House;
use crate::session::{Login, Session};
use crate::tables::clients::{Certificate, Checked};

/// A stream with a session.
pub(super) struct Negotiated {
    pub(super) connection: Connection,
    pub(super) session: Arc<Session>,
    /// Whether the session was bound on this stream; if not, it was resumed.
    pub(super) is_new: bool,
}

/// Who the client of a stream is, and how it has logged in.
pub(super) struct Known {
    pub(super) account: BareJid,
    pub(super) login: Login,
}

impl Known {
    /// From the outcome of SASL as RFC 6120 has it. Nobody comes by EXTERNAL without a certificate.
    fn new(account: BareJid, mechanism: Mechanism, certified: Option<Certified>) -> Option<Self> {
        let certificate = certified.map(|certified| certified.certificate);
        let (proof, may_manage) = (Proof::Mechanism(mechanism), certificate.is_none());
        let is_proven = mechanism != Mechanism::External || certificate.is_some();
        is_proven.then_some(Self { account, login: Login { client: None, proof, certificate, may_manage } })
    }

    fn certificate(&self) -> Option<&Certificate> {
        self.login.certificate.as_ref()
    }
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
    // What was shown in TLS.
    let mut shown = None;
    let mut is_in_clear = door == Door::StartTls;
    let mut connection = match door {
        Door::StartTls => Connection::new(transport, Stream::accept(house.streams.start_tls(), seed(), None)),
        Door::DirectTls => {
            let (secure, told) =
                timeout_at(deadline, secure(house, transport, Start::Direct, None)).await.ok()?.ok()?;
            shown = told.shown;
            Connection::new(secure, Stream::accept(house.streams.direct_tls(), seed(), Some(told.facts)))
        }
    };
    // Whom a certificate, or a token given for one, lets in: said when it was looked at, used by the success that this
    // brings, and by no other.
    let mut certified: Option<Certified> = None;
    let mut tried = Mechanism::Plain;
    let mut known: Option<Known> = None;
    let mut invitation = None;
    loop {
        while let Some(event) = connection.stream.poll_event() {
            match event {
                Event::StartTls => {
                    connection.flush().await.ok()?;
                    let domain = connection.stream.domain().to_owned();
                    let secured = connection.upgrade(|plain| secure(house, plain, Start::StartTls, Some(&domain)));
                    let (secure, told) = timeout_at(deadline, secured).await.ok()?.ok()?;
                    connection = secure;
                    (shown, is_in_clear) = (told.shown, false);
                    connection.stream.handle_secured(told.facts);
                }
                Event::NeedCredentials { localpart, domain, mechanism } => {
                    (certified, tried) = (None, mechanism);
                    let hash = mechanism.hash().unwrap_or(Hash::Sha256);
                    // Keys come for accounts that do not exist, too: nobody knows a password for those.
                    let found = house.accounts.keys(&localpart, &domain, hash).await;
                    connection.stream.handle_credentials(found.map_err(|fault| unavailable(&fault)));
                }
                Event::CheckPassword { localpart, domain, password } => {
                    (certified, tried) = (None, Mechanism::Plain);
                    let is_right = house.accounts.check_password(&localpart, &domain, password.expose()).await;
                    connection.stream.handle_password(is_right.map_err(|fault| unavailable(&fault)));
                }
                Event::Authenticated(who) => {
                    // Said after SASL2, too, where more is known already.
                    if known.as_ref().is_none_or(|known| known.account != who) {
                        tracing::info!(account = %who, %peer, "logged in");
                        let certified = certified.take().filter(|certified| certified.account == who);
                        known = Known::new(who, tried, certified);
                    }
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
                    let bound = match &known {
                        Some(known) => bind(house, known, resource.as_deref()).await,
                        None => Err(StanzaError::not_allowed()),
                    };
                    match bound {
                        Ok(session) => {
                            session.state().is_in_clear = is_in_clear;
                            look_again(house, &session).await;
                            connection.stream.handle_bound(Ok(session.jid.clone()));
                            return Some(Negotiated { connection, session, is_new: true });
                        }
                        Err(error) => connection.stream.handle_bound(Err(error)),
                    }
                }
                Event::CheckToken { account, client, shown, count, invalidate } => {
                    certified = None;
                    let now = house.clock.now();
                    let checked = house.clients.check(&account, &client, &shown, count, invalidate, now).await;
                    let checked = checked.unwrap_or_else(|fault| Err(unavailable(&fault)));
                    let answer = checked.and_then(|Checked { answer, certificate }| {
                        if certificate.as_ref().is_some_and(|certificate| !external::takes(house, certificate)) {
                            return Err(Failure::NotAuthorized);
                        }
                        certified = certificate.map(|certificate| Certified { account, certificate });
                        Ok(answer)
                    });
                    connection.stream.handle_token(answer);
                }
                Event::CheckCertificate { domain, authzid, from } => {
                    (certified, tried) = (None, Mechanism::External);
                    let identified = match &shown {
                        Some(shown) => external::identify(house, shown, &domain, authzid.as_ref(), from.as_ref()).await,
                        None => Err(Failure::NotAuthorized),
                    };
                    let found = identified.map(|identified| certified.insert(identified).account.clone());
                    connection.stream.handle_certificate(found);
                }
                Event::WantsUpgrade { account, hash } => {
                    let lacks = house.accounts.lacks_keys(&account, hash).await;
                    connection.stream.handle_upgrade(lacks.map_err(|fault| unavailable(&fault)));
                }
                Event::Upgrade { account, hash: _, keys } => {
                    let added = house.accounts.add_keys(&account, *keys).await;
                    connection.stream.handle_upgrade(added.map(|()| true).map_err(|fault| unavailable(&fault)));
                }
                Event::Enter(wishes) => {
                    let certified = certified.take().filter(|certified| certified.account == wishes.account);
                    let entered = Box::pin(enter::enter(house, *wishes, certified, peer)).await;
                    known = entered.known;
                    connection.stream.handle_entered(entered.told);
                    if let Some((session, is_new)) = entered.session {
                        session.state().is_in_clear = is_in_clear;
                        return Some(Negotiated { connection, session, is_new });
                    }
                }
                Event::Closed(_) => {
                    connection.close(None).await;
                    return None;
                }
                Event::Resume { previd, h } => {
                    let resumed = match &known {
                        Some(known) => resume_known(house, known, (&previd, h)).await,
                        None => Err(ResumeFailed::not_found(None)),
                    };
                    match resumed {
                        Ok(Resumption { session, resumed }) => {
                            session.state().is_in_clear = is_in_clear;
                            look_again(house, &session).await;
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

/// What TLS tells.
struct Secured {
    facts: TlsFacts,
    /// The client's certificate, if it is worth something.
    shown: Option<external::Shown>,
}

async fn secure(
    house: &House,
    plain: Transport,
    start: Start,
    addressed: Option<&str>,
) -> io::Result<(Transport, Secured)> {
    let Accepted { stream, mut facts, chain } =
        house.tls.accept(plain, start, addressed, external::asks(house)).await?;
    let shown = external::judge(house, &chain).await;
    // No other lets anybody in, so EXTERNAL is not offered for it.
    facts.client_certificate = chain.first().filter(|_| shown.is_some()).map(|own| own.as_ref().to_vec().into());
    Ok((Box::new(stream), Secured { facts, shown }))
}

/// Authentication that fails for a reason of ours.
pub(super) fn unavailable(fault: &store::Fault) -> Failure {
    tracing::error!(%fault, "cannot read an account");
    Failure::TemporaryAuthFailure
}

/// Resumes a session, unless the client's certificate is for the resource of another.
pub(super) async fn resume_known(
    house: &Arc<House>,
    known: &Known,
    (previd, h): (&str, u32),
) -> Result<Resumption, ResumeFailed> {
    let wanted = house.router.sessions.resumable(known.account.as_str(), previd);
    if let (Some(certificate), Some(wanted)) = (known.certificate(), &wanted)
        && certificate.forbids(&wanted.jid)
    {
        return Err(ResumeFailed::not_found(None));
    }
    let resumption = resume::resume(house, &known.account, previd, h).await?;
    note(&resumption.session, &known.login);
    Ok(resumption)
}

/// Notes how the client of a session has logged in this time. What it is called stays where it has said nothing of itself.
fn note(session: &Session, login: &Login) {
    let mut state = session.state();
    let before = state.login.take().and_then(|before| before.client);
    state.login = Some(Box::new(Login { client: login.client.clone().or(before), ..login.clone() }));
}

async fn bind(house: &Arc<House>, known: &Known, resource: Option<&str>) -> Result<Arc<Session>, StanzaError> {
    let account = &known.account;
    if house.accounts.is_disabled(account) {
        return Err(StanzaError::not_allowed());
    }
    let only = known.certificate().and_then(|certificate| certificate.resource.as_deref());
    let jid = match resource.or(only) {
        Some(resource) => account.with_resource(resource).map_err(|_| StanzaError::bad_request())?,
        None => account.with_resource(&house.ids.id()).map_err(|_| StanzaError::internal_server_error())?,
    };
    if known.certificate().is_some_and(|certificate| certificate.forbids(&jid)) {
        return Err(StanzaError::not_allowed().with_text("The certificate is for another resource"));
    }
    resume::make_room(house, &jid).await;
    // XEP-0257 section "SASL EXTERNAL": whoever has the only resource it may have goes.
    let policy = only.map_or(house.config.c2s.resource_conflict, |_| ResourceConflict::Replace);
    let session = house.router.sessions.bind(jid, policy, house.clock.now(), || house.ids.id())?;
    note(&session, &known.login);
    Ok(session)
}
