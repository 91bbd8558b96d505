//! Questions the house itself asks other entities, parked until the answer comes as a stanza or the time is up.
//!
//! No handler awaits another entity: it leaves a question here together with what to do with the answer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use xmpp::{Jid, Stanza};

use crate::runtime::Timestamp;

/// What to do with the answer: a result or error IQ, or `None` when none came in time.
pub type Then = Box<dyn FnOnce(Option<Stanza>) + Send>;

/// The questions that are out.
#[derive(Default)]
pub struct Awaiting {
    questions: Mutex<HashMap<(Jid, Box<str>), Question>>,
}

struct Question {
    deadline: Timestamp,
    then: Then,
}

/// Questions out at once; beyond that new ones count as unanswered.
const QUESTIONS_MAX: usize = 100_000;

impl Awaiting {
    /// Parks a question to `to` with the IQ id `id`, until `deadline` (microseconds since the Unix epoch).
    pub fn park(&self, to: Jid, id: Box<str>, deadline: Timestamp, then: Then) {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        if questions.len() >= QUESTIONS_MAX {
            drop(questions);
            then(None);
            return;
        }
        questions.insert((to, id), Question { deadline, then });
    }

    /// Hands an answer to who asked. `false` if nobody did: only the entity asked can answer.
    pub fn answer(&self, from: &Jid, id: &str, answer: Stanza) -> bool {
        let key = (from.clone(), id.into());
        let question = self.questions.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        question.is_some_and(|question| {
            (question.then)(Some(answer));
            true
        })
    }

    /// Gives up on questions whose time is up.
    pub fn expire(&self, now: Timestamp) {
        let expired: Vec<Question> = {
            let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
            questions.extract_if(|_, question| question.deadline <= now).map(|(_, question)| question).collect()
        };
        for question in expired {
            (question.then)(None);
        }
    }
}
