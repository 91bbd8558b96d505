//! Stream management for clients, as far as it is more than words on a stream (XEP-0198 sections 3 to 7): what a session
//! is given when it is enabled, what becomes of it when its stream is lost, and how it goes on in another.
//!
//! Independent of who asks: the nonzas of XEP-0198 on a stream, or the same within SASL2 and Bind2. A session whose
//! stream is lost is *detached*: it stays bound and present and its mailbox gathers, until its client comes back, or
//! has not for too long, or another takes its place. No task and no timer waits for that: the house's rounds look.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use xmpp::stream::acks::Acks;
use xmpp::stream::{Condition, Enabled, ResumeFailed, Resumed};
use xmpp::{BareJid, FullJid, StanzaError, stanza};

use super::restore;
use crate::config::ResourceConflict;
use crate::house::House;
use crate::runtime::Timestamp;
use crate::session::Session;
use crate::session::mailbox::Frame;
use crate::session::management::{Detached, Resumable};

/// How long a stream may take to let go of a session that another wants.
const LET_GO: Duration = Duration::from_secs(10);

/// A session that goes on in another stream.
#[derive(Debug)]
pub struct Resumption {
    /// The session. Nobody else has it any more: whoever asked must write what is in its mailbox, or part with it.
    pub session: Arc<Session>,
    /// What the stream machine is told.
    pub resumed: Resumed,
}

/// Stream management is enabled for `session`: what its stream is to be told. `resume` when the client wants to be
/// able to resume, `max` for how many seconds, if it says.
pub fn enable(house: &House, session: &Session, resume: bool, max: Option<u32>) -> Enabled {
    let seconds_max = max.unwrap_or(u32::MAX).min(house.config.c2s.resume_seconds_max);
    if !resume || seconds_max == 0 {
        return Enabled::default();
    }
    let id: Box<str> = house.ids.id().into();
    session.state().resumable =
        Some(Box::new(Resumable { id: id.clone(), seconds_max, detached: None, is_written: false }));
    Enabled { id: Some(id), max: Some(seconds_max), location: None }
}

/// Resumes the session of `account` whose stream had the identifier `previd` and of which the client handled `h`
/// stanzas. If it has a stream still, that is ended with `conflict`.
///
/// # Errors
/// When there is no such session, or the client claims to have handled what it was not sent.
pub async fn resume(house: &Arc<House>, account: &BareJid, previd: &str, h: u32) -> Result<Resumption, ResumeFailed> {
    let sessions = &house.router.sessions;
    let gone = || ResumeFailed::not_found(sessions.ended.handled(account, previd));
    if house.is_closing() {
        let error = StanzaError::new(stanza::Condition::ResourceConstraint);
        return Err(ResumeFailed::Failed { h: None, error });
    }
    if house.config.c2s.resume_seconds_max == 0 {
        return Err(ResumeFailed::Failed { h: None, error: StanzaError::feature_not_implemented() });
    }
    let session = sessions.resumable(account.as_str(), previd).ok_or_else(gone)?;
    let Some(mut detached) = take(&session).await else { return Err(gone()) };
    if session.mailbox.is_closed() {
        end(house, &session, Some(detached.acks)).await;
        return Err(gone());
    }
    let before = detached.clone();
    match detached.acks.acked(h) {
        Ok(_) if !restore::forget(house, &session).await => {
            // As it was: the next try may find the store well.
            put_back(&session, before);
            Err(ResumeFailed::Failed { h: None, error: StanzaError::internal_server_error() })
        }
        Ok(acked) => {
            detached.acks.resume();
            session.mailbox.attach(acked);
            session.heard(house.clock.now());
            tracing::info!(session = %session.jid, "resumed");
            let resumed = Resumed { jid: session.jid.clone(), acks: detached.acks };
            Ok(Resumption { session, resumed })
        }
        Err(error) => {
            put_back(&session, detached);
            Err(ResumeFailed::Impossible(error))
        }
    }
}

fn put_back(session: &Session, detached: Detached) {
    if let Some(resumable) = &mut session.state().resumable {
        resumable.detached = Some(detached);
    }
}

/// Takes a session away from its stream, if it has one that will let go of it, or from nobody.
async fn take(session: &Session) -> Option<Detached> {
    for _ in 0..3 {
        if let Some(detached) = session.take_detached() {
            return Some(detached);
        }
        let Some(let_go) = session.mailbox.cut(Condition::Conflict) else { continue };
        let _too_slow = timeout(LET_GO, let_go).await;
    }
    session.take_detached()
}

/// Ends sessions that are in the way of a new one at `jid`: the one that has the address, where the newcomer gets it,
/// and the one that has waited longest for its client where the account may have no more.
pub async fn make_room(house: &Arc<House>, jid: &FullJid) {
    for session in house.router.sessions.in_the_way(jid) {
        if house.config.c2s.resource_conflict == ResourceConflict::Replace || session.is_detached() {
            // One that cannot be resumed ends by itself, and is over when it lets go.
            if let Some(detached) = take(&session).await {
                end(house, &session, Some(detached.acks)).await;
            }
        }
    }
}

/// Ends a session whose client has come back for another one.
pub async fn replace(house: &Arc<House>, session: &Arc<Session>) {
    match take(session).await {
        Some(detached) => end(house, session, Some(detached.acks)).await,
        None => session.mailbox.close(Some(Condition::Conflict)),
    }
}

/// A session has lost its stream. It waits for its client if it can; whether it does is returned. What was written and
/// not acknowledged is in its mailbox in any case.
pub fn detach(house: &House, session: &Session, acks: Option<&Acks>, unacked: VecDeque<(Frame, Timestamp)>) -> bool {
    session.answered();
    let mut state = session.state();
    let (Some(resumable), Some(acks)) = (&mut state.resumable, acks) else {
        session.mailbox.put_back(unacked);
        return false;
    };
    // Together: whoever finds the counters finds what they count.
    let stays = session.mailbox.detach(unacked, &house.clock);
    if stays {
        resumable.detached = Some(Detached { since: house.clock.now(), acks: acks.clone() });
    }
    stays
}

/// A session is over: whoever saw it hears of that, and what it was not given finds another way.
pub async fn end(house: &Arc<House>, session: &Arc<Session>, acks: Option<Acks>) {
    session.mailbox.close(None);
    let resumable = session.state().resumable.take();
    let is_written = resumable.as_ref().is_some_and(|resumable| resumable.is_written);
    if let (Some(resumable), Some(acks)) = (resumable, acks) {
        house.router.sessions.ended.remember(session.jid.bare(), resumable.id, acks.h());
    }
    match &house.router.wiring().presences {
        Some(presences) => presences.ended(Arc::clone(session)).await,
        None => drop(house.router.sessions.unbind(session)),
    }
    house.router.sessions.unbind(session);
    house.router.tell(|listener| listener.session_ended(session)).await;
    session.mailbox.finish();
    if is_written {
        restore::forget_jid(house, &session.jid).await;
    }
}

/// Ends those of `sessions` that have no stream and whose clients have not come back in time.
pub async fn expire(house: Arc<House>, sessions: Vec<Arc<Session>>) {
    for session in sessions {
        if let Some(detached) = session.take_detached() {
            tracing::info!(session = %session.jid, "not resumed in time");
            end(&house, &session, Some(detached.acks)).await;
        }
    }
}
