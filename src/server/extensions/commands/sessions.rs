//! Commands that wait for their next stage: bounded in number, in all and by account, and in time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use xmpp::form::Form;
use xmpp::{BareJid, Element, Jid, StanzaError, ns};

use crate::runtime::Timestamp;

/// Sessions at a time, in all and of one bare address.
const SESSIONS_MAX: usize = 4_096;
const SESSIONS_PER_CALLER_MAX: usize = 16;
/// How long a session waits for its next stage, in microseconds.
const PATIENCE: Timestamp = 15 * 60 * 1_000_000;

/// Where somebody stands with a command.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Whose it is, to the resource.
    pub(super) caller: Jid,
    /// Where the command runs.
    pub(super) at: BareJid,
    /// Which command it is.
    pub(super) node: &'static str,
    /// What was submitted so far.
    pub(super) forms: Vec<Form>,
    /// Whether the form that was asked for is the last.
    pub(super) is_last: bool,
    /// When it is forgotten.
    pub(super) expires: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: Mutex<HashMap<Box<str>, Session>>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Session>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a session out, so that nobody else goes on with it at the same time.
    ///
    /// # Errors
    /// `bad-sessionid` where there is none, `session-expired` where it has waited too long.
    pub(super) fn take(&self, id: &str, now: Timestamp) -> Result<Session, StanzaError> {
        let specific = |condition: &str| Element::bare(condition, ns::COMMANDS);
        match self.lock().remove(id) {
            Some(session) if session.expires > now => Ok(session),
            Some(_) => Err(StanzaError::not_allowed().with_specific(specific("session-expired"))),
            None => Err(StanzaError::bad_request().with_specific(specific("bad-sessionid"))),
        }
    }

    /// Whether there is such a session, waiting or expired.
    pub(super) fn has(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// Puts back a session as it was taken.
    pub(super) fn put_back(&self, id: &str, session: Session) {
        self.lock().insert(id.into(), session);
    }

    /// Keeps a session for its next stage.
    ///
    /// # Errors
    /// `resource-constraint` when there are too many, in all or of one address.
    pub(super) fn keep(&self, id: &str, mut session: Session, now: Timestamp) -> Result<(), StanzaError> {
        session.expires = now + PATIENCE;
        let mut all = self.lock();
        if all.len() >= SESSIONS_MAX {
            all.retain(|_, other| other.expires > now);
        }
        let own = session.caller.as_bare_str();
        let is_full = all.len() >= SESSIONS_MAX
            || all.values().filter(|other| other.caller.as_bare_str() == own).count() >= SESSIONS_PER_CALLER_MAX;
        if is_full {
            return Err(StanzaError::resource_constraint().with_text("too many commands wait for an answer"));
        }
        all.insert(id.into(), session);
        Ok(())
    }

    /// Forgets what has waited too long. An hour later than it is refused, so that the refusal says why.
    pub(super) fn expire(&self, now: Timestamp) {
        self.lock().retain(|_, session| session.expires + 4 * PATIENCE > now);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use xmpp::stanza::Condition;

    fn session(caller: &str) -> Session {
        Session {
            caller: Jid::new(caller).unwrap(),
            at: BareJid::new("localhost").unwrap(),
            node: "n",
            forms: Vec::new(),
            is_last: true,
            expires: 0,
        }
    }

    #[test]
    fn sessions_are_bounded_by_caller_and_in_all_and_expire() {
        let sessions = Sessions::default();
        for number in 0..SESSIONS_PER_CALLER_MAX {
            sessions.keep(&number.to_string(), session(&format!("a@b/{number}")), 1).unwrap();
        }
        let error = sessions.keep("x", session("a@b/c"), 1).unwrap_err();
        assert_eq!(error.condition, Condition::ResourceConstraint);
        sessions.take("0", 1).unwrap();
        sessions.keep("x", session("a@b/c"), 1).unwrap();
        for number in 0..SESSIONS_MAX - SESSIONS_PER_CALLER_MAX {
            sessions.keep(&format!("o{number}"), session(&format!("u{number}@b")), 1).unwrap();
        }
        assert!(sessions.keep("y", session("z@b/c"), 1).is_err());
        sessions.keep("y", session("z@b/c"), 2 + PATIENCE).unwrap();
        assert_eq!(sessions.lock().len(), 1, "what has expired makes room");
        assert_eq!(sessions.take("y", 3 + 2 * PATIENCE).unwrap_err().condition, Condition::NotAllowed);
        sessions.keep("y", session("z@b/c"), 2 + PATIENCE).unwrap();
        sessions.expire(3 + 6 * PATIENCE);
        assert_eq!(sessions.take("y", 1).unwrap_err().condition, Condition::BadRequest);
    }
}
