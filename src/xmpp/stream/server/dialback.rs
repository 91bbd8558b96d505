//! The exchange of keys, questions and answers on a stream (XEP-0220 sections 2 and 3).
//!
//! Either side may be asked for a pair, and either may ask; on a stream that runs one way only the initiator
//! asks. An answer counts only where its question was asked on this stream: an unsolicited one ends it.

use super::event::{Event, Pair, Proof, Refusal, Verdict};
use super::pairs::Pairs;
use super::{End, Ending, Role, Step, Stream, error};
use crate::stanza::StanzaError;
use crate::stream::Condition;
use crate::stream::error::clipped;
use crate::xml::{escape_text, write_attr};
use crate::{BareJid, Element};

/// The longest key that is passed on, in bytes. By XEP-0185 they have 64.
const KEY_BYTES_MAX: usize = 1024;
/// The longest stream identifier that is asked about, in bytes.
const ID_BYTES_MAX: usize = 1024;

/// The two elements of dialback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Result,
    Verify,
}

impl Name {
    const fn tag(self) -> &'static str {
        match self {
            Self::Result => "db:result",
            Self::Verify => "db:verify",
        }
    }
}

impl Stream {
    /// The answer to [`Event::Dialback`]. A pair that is not being asked for is ignored. An invalid key ends the
    /// stream unless another pair has been proven on it (XEP-0220 section 2.2.1).
    pub fn handle_dialback(&mut self, pair: &Pair, verdict: Verdict) {
        if !self.is_open() || !Pairs::take(&mut self.pairs.asked_of_us, pair) {
            return;
        }
        match verdict {
            Verdict::Valid => {
                self.answer(Name::Result, pair, None, &Verdict::Valid);
                self.pairs.hear(pair.clone());
                self.trust();
                let (from, to) = (pair.from.clone(), Some(pair.to.clone()));
                self.pending.push_back(Event::Heard { from, to, by: Proof::Dialback });
                if self.pairs.is_bidi {
                    self.pending.push_back(Event::Authenticated { pair: pair.reversed(), by: Proof::Dialback });
                }
            }
            Verdict::Invalid if self.is_trusted() => {
                self.answer(Name::Result, pair, None, &Verdict::Error(StanzaError::forbidden()));
            }
            Verdict::Invalid => {
                self.answer(Name::Result, pair, None, &Verdict::Invalid);
                self.end(None, Ending::Closed);
            }
            verdict @ Verdict::Error(_) => self.answer(Name::Result, pair, None, &verdict),
        }
    }

    /// Asks the peer for one more pair by dialback (XEP-0220 section 2.6), from a domain of ours to one of the
    /// peer's, both prepared. The answer is [`Event::Authenticated`] or [`Event::NotAuthenticated`]. On the
    /// initiator's side after [`Event::Ready`], on the responder's with bidi once the target has been
    /// [heard](Event::Heard).
    ///
    /// Returns whether it was asked, or is being asked already: not where the stream is not ready for it or is
    /// not for stanzas, where [`Settings::pairs_max`](super::Settings) is reached, where dialback is not
    /// permitted, or for another target than those in use where the peer does not know dialback errors.
    pub fn authorize(&mut self, pair: &Pair) -> bool {
        let is_possible =
            self.is_open() && self.is_trusted() && self.may_dial_back() && self.settings.serves(&pair.from);
        if !is_possible {
            return false;
        }
        let is_target = match &self.role {
            Role::Responder(_) => self.pairs.is_bidi && self.pairs.is_peer(&pair.to),
            Role::Initiator(initiator) => {
                initiator.is_ready && (initiator.offered.dialback_errors || self.pairs.is_target(&pair.to))
            }
        };
        if !is_target {
            return false;
        }
        if self.may_send(&pair.from, &pair.to) {
            self.pending.push_back(Event::Authenticated { pair: pair.clone(), by: Proof::Dialback });
            return true;
        }
        if self.pairs.asked_by_us.contains(pair) {
            return true;
        }
        if self.pairs.of_us() >= self.settings.pairs_max {
            return false;
        }
        self.ask_for(pair.clone());
        true
    }

    /// Asks the peer, as the authority for `pair.from`, whether a key shown to us for `pair` on the stream
    /// `stream_id` is its own: the fields of [`Event::Dialback`]. The answer is [`Event::Verified`]. Not to be
    /// asked on the stream the key came by (XEP-0288 section 2.2).
    ///
    /// Returns whether it was asked, or is being asked already: not before [`Event::Ready`], not on the
    /// responder's side, and no more than [`Settings::pairs_max`](super::Settings) at once.
    pub fn verify(&mut self, pair: &Pair, stream_id: &str, key: &str) -> bool {
        let is_possible = self.is_open() && matches!(&self.role, Role::Initiator(initiator) if initiator.is_ready);
        if !is_possible {
            return false;
        }
        if self.pairs.questions.iter().any(|(asked, id)| asked == pair && **id == *stream_id) {
            return true;
        }
        if self.pairs.questions.len() >= self.settings.pairs_max {
            return false;
        }
        self.pairs.questions.push((pair.clone(), stream_id.into()));
        let out = &mut self.line.out;
        open(out, Name::Verify, &pair.to, &pair.from, Some(stream_id));
        out.push(b'>');
        escape_text(out, key.trim());
        close(out, Name::Verify);
        true
    }

    /// Sends a key of ours.
    pub(super) fn ask_for(&mut self, pair: Pair) {
        let key = self.settings.secret.key(&pair.to, &pair.from, &self.id);
        let out = &mut self.line.out;
        open(out, Name::Result, &pair.from, &pair.to, None);
        out.push(b'>');
        out.extend_from_slice(key.as_bytes());
        close(out, Name::Result);
        self.pairs.asked_by_us.push(pair);
    }

    pub(super) fn take_dialback(&mut self, element: &Element) -> Step {
        let name = match element.name() {
            "result" => Name::Result,
            "verify" => Name::Verify,
            _ => return Err(Condition::UnsupportedStanzaType.into()),
        };
        let pair = Pair { from: domain(element.attr("from"))?, to: domain(element.attr("to"))? };
        let id = element.attr("id").filter(|id| !id.is_empty());
        let verdict = match element.attr("type") {
            None => None,
            Some("valid") => Some(Verdict::Valid),
            Some("invalid") => Some(Verdict::Invalid),
            Some("error") => Some(Verdict::Error(error_of(element))),
            Some(_) => return Err(Condition::InvalidXml.into()),
        };
        match (name, verdict) {
            (Name::Result, Some(verdict)) => self.take_answer(&pair.reversed(), verdict),
            (Name::Verify, Some(verdict)) => self.take_verified(pair, id.unwrap_or_default(), verdict),
            (name, None) => {
                let is_permitted = match &self.role {
                    Role::Responder(_) => true,
                    Role::Initiator(initiator) => initiator.is_ready && self.pairs.is_bidi,
                };
                if !is_permitted {
                    return Err(error(Condition::NotAuthorized, "this stream runs one way"));
                }
                match (name, id) {
                    (Name::Result, _) => {
                        self.take_request(&pair, &element.text());
                        Ok(())
                    }
                    (Name::Verify, Some(id)) if id.len() <= ID_BYTES_MAX => {
                        self.take_question(&pair, id, &element.text())
                    }
                    (Name::Verify, _) => Err(Condition::InvalidXml.into()),
                }
            }
        }
    }

    /// The peer asks for a pair (section 2.2.1).
    fn take_request(&mut self, pair: &Pair, key: &str) {
        let key = key.trim();
        let refusal = if self.needs_tls() {
            StanzaError::policy_violation().with_text("TLS comes first")
        } else if !self.settings.serves(&pair.to) {
            StanzaError::item_not_found()
        } else if self.pairs.has_heard(&pair.from, &pair.to) {
            return self.answer(Name::Result, pair, None, &Verdict::Valid);
        } else if self.pairs.external.as_deref() == Some(&*pair.from) && self.pairs.of_peer() < self.settings.pairs_max
        {
            // The certificate has answered that already (XEP-0220 section 2.1.1, the first note).
            self.pairs.asked_of_us.push(pair.clone());
            return self.handle_dialback(pair, Verdict::Valid);
        } else if !self.permitted.dialback {
            StanzaError::not_authorized().with_text("dialback is not permitted")
        } else if self.settings.serves(&pair.from) || key.is_empty() || key.len() > KEY_BYTES_MAX {
            StanzaError::not_acceptable()
        } else if self.pairs.asked_of_us.contains(pair) {
            // There will be one answer, to the first.
            return;
        } else if self.pairs.of_peer() >= self.settings.pairs_max {
            StanzaError::resource_constraint()
        } else {
            self.pairs.asked_of_us.push(pair.clone());
            let event = Event::Dialback { pair: pair.clone(), key: key.into(), stream_id: self.id.clone() };
            self.pending.push_back(event);
            return;
        };
        self.answer(Name::Result, pair, None, &Verdict::Error(refusal));
    }

    /// The peer asks whether a key is ours (section 2.2.2).
    fn take_question(&mut self, pair: &Pair, id: &str, key: &str) -> Step {
        if !self.is_trusted()
            && let Role::Responder(responder) = &mut self.role
        {
            let left = responder.verifications_left.checked_sub(1);
            let text = "too many questions before authentication";
            responder.verifications_left = left.ok_or_else(|| error(Condition::PolicyViolation, text))?;
        }
        let verdict = if self.needs_tls() {
            Verdict::Error(StanzaError::policy_violation().with_text("TLS comes first"))
        } else if !self.settings.serves(&pair.to) {
            Verdict::Error(StanzaError::item_not_found())
        } else if self.settings.secret.is_key(key, &pair.from, &pair.to, id) {
            Verdict::Valid
        } else {
            Verdict::Invalid
        };
        self.answer(Name::Verify, pair, Some(id), &verdict);
        Ok(())
    }

    /// The peer answers what we have asked for (section 2.1.1).
    fn take_answer(&mut self, pair: &Pair, verdict: Verdict) -> Step {
        if !Pairs::take(&mut self.pairs.asked_by_us, pair) {
            // Said twice is no harm; said unasked is an attack (section 3.1).
            let is_known = self.pairs.has_spoken(&pair.from, &pair.to) && verdict == Verdict::Valid;
            return if is_known { Ok(()) } else { Err(unsolicited()) };
        }
        let is_first = !self.is_ready();
        let refusal = match verdict {
            Verdict::Valid => {
                self.pairs.speak(pair.clone());
                self.trust();
                self.pending.push_back(Event::Authenticated { pair: pair.clone(), by: Proof::Dialback });
                None
            }
            Verdict::Invalid => Some(Refusal::Invalid),
            Verdict::Error(error) => Some(Refusal::Error(error)),
        };
        if let Some(refusal) = &refusal {
            self.pending.push_back(Event::NotAuthenticated { pair: pair.clone(), refusal: refusal.clone() });
        }
        if is_first { self.take_first_answer(refusal) } else { Ok(()) }
    }

    /// The peer answers whether a key is its own (section 2.1.2).
    fn take_verified(&mut self, pair: Pair, id: &str, verdict: Verdict) -> Step {
        let questions = &mut self.pairs.questions;
        let found = questions.iter().position(|(asked, stream)| *asked == pair && **stream == *id);
        let (pair, stream_id) = found.map(|at| questions.swap_remove(at)).ok_or_else(unsolicited)?;
        self.pending.push_back(Event::Verified { pair, stream_id, verdict });
        Ok(())
    }

    /// Answers a request for a pair, or a question about one.
    fn answer(&mut self, name: Name, asked: &Pair, id: Option<&str>, verdict: &Verdict) {
        let out = &mut self.line.out;
        open(out, name, &asked.to, &asked.from, id);
        let (type_, error) = match verdict {
            Verdict::Valid => ("valid", None),
            Verdict::Invalid => ("invalid", None),
            Verdict::Error(error) => ("error", Some(error)),
        };
        write_attr(out, "type", type_);
        match error {
            Some(error) => {
                out.push(b'>');
                error.render_into(out);
                close(out, name);
            }
            None => out.extend_from_slice(b"/>"),
        }
    }
}

fn open(out: &mut Vec<u8>, name: Name, from: &str, to: &str, id: Option<&str>) {
    out.extend_from_slice(["<", name.tag()].concat().as_bytes());
    write_attr(out, "from", from);
    if let Some(id) = id {
        write_attr(out, "id", id);
    }
    write_attr(out, "to", to);
}

fn close(out: &mut Vec<u8>, name: Name) {
    out.extend_from_slice(["</", name.tag(), ">"].concat().as_bytes());
}

/// A domain in an attribute, prepared.
fn domain(attribute: Option<&str>) -> Result<Box<str>, End> {
    let jid = attribute.and_then(|text| BareJid::new(text).ok()).filter(BareJid::is_domain);
    jid.map(|jid| jid.domain().into()).ok_or_else(|| Condition::ImproperAddressing.into())
}

/// The `<error/>` in an answer (section 2.5), whatever namespace it is in.
fn error_of(element: &Element) -> StanzaError {
    let found = element.children().find_map(StanzaError::parse).unwrap_or_else(StanzaError::undefined_condition);
    let text = found.text.map(|text| clipped(&text).to_owned());
    StanzaError { text, specific: None, ..found }
}

fn unsolicited() -> End {
    error(Condition::NotAuthorized, "an answer to what was not asked")
}
