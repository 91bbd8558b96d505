//! What a client asks for with SASL2, done in one go: an earlier stream goes on, or a resource is bound with all that is to
//! be enabled with it, and a token is given (XEP-0388, XEP-0386, XEP-0198 section 9, XEP-0484).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use xmpp::sasl::{Failure, Mechanism};
use xmpp::stream::ResumeFailed;
use xmpp::stream::entry::{Bind2, Bound, Entered, Proof, Wishes};
use xmpp::{FullJid, StanzaError};

use super::external::{Certified, look_again};
use super::negotiate::{Known, resume_known, unavailable};
use super::resume::{self, Resumption};
use crate::house::House;
use crate::session::{Login, Session};

/// What came of it.
pub(super) struct Done {
    /// Who it is, if it is let in.
    pub(super) known: Option<Known>,
    /// What the stream machine is told.
    pub(super) told: Result<Entered, Failure>,
    /// The session, and whether it is new.
    pub(super) session: Option<(Arc<Session>, bool)>,
}

impl Done {
    fn refused(failure: Failure) -> Self {
        Self { known: None, told: Err(failure), session: None }
    }
}

/// Does what a client asks for that has proven who it is: `certified` by a certificate, or by a token given for one.
pub(super) async fn enter(house: &Arc<House>, wishes: Wishes, certified: Option<Certified>, peer: IpAddr) -> Done {
    let Wishes { account, proof, agent, resume, bind, token } = wishes;
    if house.accounts.is_disabled(&account) {
        return Done::refused(Failure::AccountDisabled);
    }
    tracing::info!(%account, %peer, ?proof, "logged in");
    let mut told = Entered::default();
    let certificate = certified.map(|certified| certified.certificate);
    if proof == Proof::Mechanism(Mechanism::External) && certificate.is_none() {
        return Done::refused(Failure::NotAuthorized);
    }
    let shown = (proof, certificate.clone());
    let entered = match house.clients.entered(&account, &agent, shown, token, house.clock.now()).await {
        Ok(Ok(entered)) => entered,
        Ok(Err(failure)) => return Done::refused(failure),
        Err(fault) => return Done::refused(unavailable(&fault)),
    };
    told.token = entered.token;
    let may_manage = certificate.is_none();
    let known = Known { account, login: Login { client: entered.name, proof, certificate, may_manage } };
    let mut session = None;
    if let Some((previd, h)) = resume {
        told.resumed = Some(match resume_known(house, &known, (&previd, h)).await {
            Ok(Resumption { session: earlier, resumed }) => {
                session = Some((earlier, false));
                Ok(resumed)
            }
            Err(failed) => Err(failed),
        });
    }
    let is_over = matches!(told.resumed, Some(Err(ResumeFailed::Impossible(_))));
    if let (Some(wish), None, false) = (bind, &session, is_over) {
        let bound = bind2(house, &known, agent.id.as_deref(), wish).await;
        told.bound = Some(bound.map(|(fresh, bound)| {
            session = Some((fresh, true));
            bound
        }));
    }
    if let Some((session, _)) = &session
        && !look_again(house, session).await
    {
        told.token = None;
    }
    Done { known: Some(known), told: Ok(told), session }
}

/// Binds a resource that begins with the client's tag and is the same each time for the same client; or the only one that
/// its certificate lets it have.
async fn bind2(
    house: &Arc<House>,
    known: &Known,
    id: Option<&str>,
    wish: Bind2,
) -> Result<(Arc<Session>, Bound), StanzaError> {
    let Known { account, login } = known;
    let tag = wish.tag.as_deref();
    let ending = match id {
        Some(id) => house.clients.resource(account, id, tag.unwrap_or_default()),
        None => house.ids.id(),
    };
    let tagged = tag.and_then(|tag| account.with_resource(&format!("{tag}/{ending}")).ok());
    let only = login.certificate.as_ref().and_then(|certificate| certificate.resource.as_deref());
    let only = only.map(|only| account.with_resource(only)).transpose();
    let jid: FullJid = match only.map_err(|_| StanzaError::internal_server_error())?.or(tagged) {
        Some(jid) => jid,
        None => account.with_resource(&ending).map_err(|_| StanzaError::internal_server_error())?,
    };
    // The section "Performing the bind": earlier sessions of the same client end, whatever their resource.
    if let Some(client) = &login.client {
        let is_earlier = |session: &&Arc<Session>| {
            session.state().login.as_ref().is_some_and(|other| other.client.as_ref() == Some(client))
        };
        for session in house.router.sessions.of(account.as_str()).iter().filter(is_earlier) {
            resume::replace(house, session).await;
        }
    }
    resume::make_room(house, &jid).await;
    // Only this client is given this resource, so whoever has it is an earlier session of it.
    let policy = crate::config::ResourceConflict::Replace;
    let session = house.router.sessions.bind(jid, policy, house.clock.now(), || house.ids.id())?;
    session.state().login = Some(Box::new(login.clone()));
    let acks = wish.acks.filter(|_| house.config.c2s.stream_management);
    let acks = acks.map(|(resume, max)| resume::enable(house, &session, resume, max));
    let mut inside: Vec<Bytes> = Vec::new();
    for (ns, _, part) in &house.router.wiring().bind2 {
        let asked = wish.features.iter().find(|feature| feature.has_ns(*ns));
        inside.extend(part.bound(&session, asked).await);
    }
    let bound = Bound { jid: session.jid.clone(), acks, inside };
    Ok((session, bound))
}
