//! A session that can outlive its stream (XEP-0198 section 5): what it is resumed with, and the counters while it has
//! no stream.
//!
//! Between streams a session is *detached*: it stays bound and present, its mailbox gathers, nobody writes. Whoever
//! takes the counters out of it has it: the stream it is resumed on, or whoever ends it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use xmpp::stream::acks::Acks;
use xmpp::{BareJid, FullJid};

use super::{Session, Sessions};
use crate::runtime::Timestamp;

/// What makes a session resumable.
#[derive(Clone, Debug)]
pub struct Resumable {
    /// What the client names to resume it.
    pub id: Box<str>,
    /// For how many seconds after the loss of its stream.
    pub seconds_max: u32,
    /// There while the session has no stream.
    pub detached: Option<Detached>,
    /// Whether it was taken over from a server that stopped, and is written down still.
    pub is_written: bool,
}

/// A session without a stream.
#[derive(Clone, Debug)]
pub struct Detached {
    /// Since when.
    pub since: Timestamp,
    /// How far the lost stream was.
    pub acks: Acks,
}

impl Session {
    /// Whether the session waits for its client to come back.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        self.state().resumable.as_ref().is_some_and(|resumable| resumable.detached.is_some())
    }

    /// Whether it can be resumed, now or when it has lost its stream.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        self.state().resumable.is_some()
    }

    /// Takes the session away from everybody else, if it has no stream: to resume it, or to end it.
    #[must_use]
    pub fn take_detached(&self) -> Option<Detached> {
        self.state().resumable.as_mut()?.detached.take()
    }

    /// Whether it has waited long enough at `now`, or can wait no more.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        let until = {
            let state = self.state();
            let Some(resumable) = &state.resumable else { return false };
            let Some(detached) = &resumable.detached else { return false };
            detached.since.saturating_add(u64::from(resumable.seconds_max) * 1_000_000)
        };
        until < now || self.mailbox.is_closed()
    }
}

impl Sessions {
    /// The session of `account` that is resumed with `id`.
    #[must_use]
    pub fn resumable(&self, account: &str, id: &str) -> Option<std::sync::Arc<Session>> {
        let mut found = None;
        self.for_each_of(account, |session| {
            if session.state().resumable.as_ref().is_some_and(|resumable| *resumable.id == *id) {
                found = Some(std::sync::Arc::clone(session));
            }
        });
        found
    }

    /// Sessions without a stream that are in the way of one at `jid`: the one that has the address, and the one that
    /// has waited longest where the account has no room for more.
    #[must_use]
    pub fn in_the_way(&self, jid: &FullJid) -> Vec<std::sync::Arc<Session>> {
        let sessions = self.of(jid.as_bare_str());
        let mut found: Vec<_> = sessions.iter().filter(|session| session.jid == *jid).cloned().collect();
        if found.is_empty() && sessions.len() >= self.limits.sessions_per_account_max {
            let since = |session: &std::sync::Arc<Session>| {
                session.state().resumable.as_ref()?.detached.as_ref().map(|detached| detached.since)
            };
            let waiting = sessions.iter().filter_map(|session| Some((since(session)?, session)));
            found.extend(waiting.min_by_key(|(since, _)| *since).map(|(_, session)| std::sync::Arc::clone(session)));
        }
        found
    }
}

/// Sessions that are over, for who asks to resume one: how many stanzas of theirs had been handled.
#[derive(Debug, Default)]
pub struct Ended {
    last: Mutex<VecDeque<(BareJid, Box<str>, u32)>>,
}

/// So many are remembered.
const ENDED_MAX: usize = 4_096;

impl Ended {
    /// Remembers one.
    pub fn remember(&self, account: BareJid, id: Box<str>, h: u32) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= ENDED_MAX {
            last.pop_front();
        }
        last.push_back((account, id, h));
    }

    /// How many stanzas were handled on the stream that `account` could have resumed with `id`.
    #[must_use]
    pub fn handled(&self, account: &BareJid, id: &str) -> Option<u32> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().rev().find(|(of, ended, _)| **ended == *id && of == account).map(|(_, _, h)| *h)
    }
}
