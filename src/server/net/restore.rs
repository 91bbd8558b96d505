//! Sessions that outlive the house: written down when it stops in good order, taken up by the next one on the same
//! memory (XEP-0198 section 5; docs/decisions).
//!
//! What was written is taken up once. If the house that took it up did not stop in good order, its sessions may have
//! gone on, so nothing can be resumed; what they had not got then goes the way of all that is not resumed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use xmpp::stanza::Content;
use xmpp::stream::Condition;
use xmpp::{FullJid, Jid};

use super::resume;
use crate::config::ResourceConflict;
use crate::house::House;
use crate::session::interest::Interest;
use crate::session::mailbox::Frame;
use crate::session::management::{Detached, Resumable};
use crate::session::{ArchiveRead, Available, Session, show_in};
use crate::tables::sessions::{self, Presence, Row};

/// How long streams may take to let go of their sessions.
const LET_GO: Duration = Duration::from_secs(10);

/// Ends the streams of all sessions, and writes those down that can be resumed.
pub async fn close(house: &Arc<House>) {
    let all = house.router.sessions.all();
    let mut waiting = Vec::new();
    for session in &all {
        if session.is_resumable() {
            waiting.extend(session.mailbox.cut(Condition::SystemShutdown));
        } else {
            session.mailbox.close(Some(Condition::SystemShutdown));
            // What it leaves may go to one that is written down.
            waiting.extend(session.mailbox.let_go());
        }
    }
    let let_go = async {
        for stream in waiting {
            let _over_or_not = stream.await;
        }
    };
    if timeout(LET_GO, let_go).await.is_err() {
        tracing::warn!("some streams did not let go of their sessions in time");
    }
    // What did not fit into a mailbox went nowhere: that session is over, and what it has may go to another.
    for session in &all {
        if session.mailbox.is_closed()
            && let Some(detached) = session.take_detached()
        {
            resume::end(house, session, Some(detached.acks)).await;
        }
    }
    let mut written = 0_usize;
    for session in all {
        let Some(detached) = session.take_detached() else { continue };
        match write(house, &session, detached).await {
            Ok(()) => written += 1,
            Err(error) => tracing::error!(session = %session.jid, %error, "a session could not be written down"),
        }
    }
    match sessions::close(house.store.as_ref()).await {
        Ok(()) => tracing::info!(sessions = written, "sessions are written down to be resumed"),
        Err(error) => tracing::error!(%error, "no session can be resumed after this"),
    }
}

async fn write(house: &House, session: &Session, detached: Detached) -> Result<(), store::CommitError> {
    // What was written earlier may be longer.
    forget_jid(house, &session.jid).await;
    let row = {
        let state = session.state();
        let Some(resumable) = &state.resumable else { return Ok(()) };
        let presence = |available: &Available| Presence {
            priority: available.priority,
            content: available.content.clone(),
            shared: available.shared.clone(),
            since: available.since,
            notify: available.interest.as_ref().map(|interest| interest.notify.iter().cloned().collect()),
            manages_account: available.interest.as_ref().is_some_and(|interest| interest.manages_account),
        };
        Row {
            account: session.jid.as_bare_str().into(),
            resource: session.jid.resource().into(),
            id: resumable.id.clone(),
            seconds_max: resumable.seconds_max,
            since: detached.since,
            acks: detached.acks,
            available: state.available.as_ref().map(presence),
            wishes: [state.interested, state.blocklist_interested, state.wants_carbons],
            archive_read: state.archive_read.map(|read| (read.to, read.reached_end)),
            directed: state.directed.iter().map(|jid| jid.as_str().into()).collect(),
            frames: Vec::new(),
        }
    };
    let frames = session.mailbox.drain().into_iter().map(|(frame, since)| (since, frame.to_bytes())).collect();
    sessions::save(house.store.as_ref(), &Row { frames, ..row }).await
}

/// Takes up the sessions that an earlier house wrote down.
///
/// # Errors
/// A sentence, when they cannot be read.
pub async fn restore(house: &Arc<House>) -> Result<(), String> {
    let (rows, is_whole) = sessions::open(house.store.as_ref()).await.map_err(|error| error.to_string())?;
    let may_resume = is_whole && house.config.c2s.resume_seconds_max > 0 && house.config.c2s.stream_management;
    for row in rows {
        let jid = FullJid::new(&format!("{}/{}", row.account, row.resource)).ok();
        let jid =
            jid.filter(|jid| house.config.hosts.iter().any(|host| host.domain.eq_ignore_ascii_case(jid.domain())));
        let Some(session) = jid.and_then(|jid| take_up(house, jid, &row)) else {
            forget_row(house, &row.account, &row.resource).await;
            continue;
        };
        house.router.tell(|listener| listener.session_bound(&session)).await;
        if !may_resume && let Some(detached) = session.take_detached() {
            resume::end(house, &session, Some(detached.acks)).await;
        }
    }
    Ok(())
}

/// Binds a session as it was, without a stream.
fn take_up(house: &Arc<House>, jid: FullJid, row: &Row) -> Option<Arc<Session>> {
    let sessions = &house.router.sessions;
    let session = sessions.bind(jid, ResourceConflict::Refuse, house.clock.now(), String::new).ok()?;
    let available = row.available.as_ref().map(|presence| Available {
        priority: presence.priority,
        show: Content::from_bytes_checked(presence.content.clone()).map_or("online", |content| show_in(&content)),
        content: presence.content.clone(),
        shared: presence.shared.clone(),
        since: presence.since,
        interest: presence.notify.as_ref().map(|notify| {
            let (notify, manages_account) = (notify.iter().cloned().collect(), presence.manages_account);
            Arc::new(Interest { notify, manages_account })
        }),
    });
    let frames = row.frames.iter().map(|(since, bytes)| (Frame::Whole(bytes.clone()), *since)).collect();
    let mut state = session.state();
    [state.interested, state.blocklist_interested, state.wants_carbons] = row.wishes;
    state.available = available;
    state.archive_read = row.archive_read.map(|(to, reached_end)| ArchiveRead { to, reached_end });
    state.directed = row.directed.iter().filter_map(|jid| Jid::new(jid).ok()).collect();
    let detached = session.mailbox.detach(frames, &house.clock);
    state.resumable = Some(Box::new(Resumable {
        id: row.id.clone(),
        seconds_max: row.seconds_max,
        detached: detached.then(|| Detached { since: row.since, acks: row.acks.clone() }),
        is_written: true,
    }));
    drop(state);
    Some(session)
}

/// Asks other servers for what an earlier house knew of them, for the sake of sessions that do not ask again.
pub async fn look_around(house: &Arc<House>) {
    let Some(presences) = &house.router.wiring().presences else { return };
    for session in house.router.sessions.all() {
        let was_written = session.state().resumable.as_ref().is_some_and(|resumable| resumable.is_written);
        if was_written && session.priority().is_some() {
            presences.restored(session).await;
        }
    }
}

/// What is written down of `session` is true no longer. `false` if it cannot be forgotten.
pub async fn forget(house: &House, session: &Session) -> bool {
    let is_written = session.state().resumable.as_ref().is_some_and(|resumable| resumable.is_written);
    if !is_written {
        return true;
    }
    let is_forgotten = forget_jid(house, &session.jid).await;
    if is_forgotten && let Some(resumable) = &mut session.state().resumable {
        resumable.is_written = false;
    }
    is_forgotten
}

/// Forgets what is written down of the session at `jid`; whether it is forgotten.
pub async fn forget_jid(house: &House, jid: &FullJid) -> bool {
    forget_row(house, jid.as_bare_str(), jid.resource()).await
}

async fn forget_row(house: &House, account: &str, resource: &str) -> bool {
    let forgotten = sessions::forget(house.store.as_ref(), account, resource).await;
    forgotten.inspect_err(|error| tracing::error!(account, resource, %error, "a session cannot be forgotten")).is_ok()
}
