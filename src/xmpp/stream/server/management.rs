//! Stream management on a stream: enabling, acknowledging, resuming (XEP-0198 sections 3 to 6).
//!
//! What is to be resumed is the caller's to keep and to find; here is what is said about it.

use std::time::Duration;

use super::Acks;
use super::event::Event;
use super::{End, Role, Step, Stream};
use crate::stanza::{self, StanzaError};
use crate::stream::Condition;
use crate::xml::write_attr;
use crate::{Element, ns};

/// The longest identifier of an earlier stream, in bytes (section 5: they should not be longer).
const ID_BYTES_MAX: usize = 4000;

/// How far stream management is.
#[derive(Debug, Default)]
pub(super) struct Management {
    progress: Progress,
    /// Our `h` when it was last said.
    told: u32,
    /// A request that was answered before all had been handled that had come: to be answered again then.
    owed: Option<u64>,
}

#[derive(Debug, Default)]
enum Progress {
    #[default]
    Off,
    /// R: the caller answers `<enable/>`.
    Enabling,
    /// R: the caller answers `<resume/>`, which had this `h`.
    Finding {
        h: u32,
        previous: Box<str>,
    },
    /// I: `<enable/>` has been sent.
    Asked,
    /// I: `<resume/>` has been sent.
    Resuming {
        previous: Box<str>,
        acks: Box<Acks>,
    },
    On,
    /// I: refused, and not to be asked for again.
    Refused,
}

impl Management {
    pub(super) const fn is_waiting(&self) -> bool {
        matches!(self.progress, Progress::Enabling | Progress::Finding { .. })
    }

    pub(super) const fn is_on(&self) -> bool {
        matches!(self.progress, Progress::On)
    }
}

impl Stream {
    /// The answer to [`Event::Enable`]: the identifier to resume the stream with and for how long, `None` if it
    /// cannot be resumed; or why there is no stream management. At any other time this does nothing.
    pub fn handle_enabled(&mut self, outcome: Result<Option<(&str, Duration)>, StanzaError>) {
        if !self.is_open() || !matches!(self.management.progress, Progress::Enabling) {
            return;
        }
        match outcome {
            Ok(resumption) => {
                let out = &mut self.line.out;
                out.extend_from_slice(["<enabled xmlns='", ns::ACKS, "'"].concat().as_bytes());
                if let Some((id, max)) = resumption {
                    write_attr(out, "id", id);
                    write_attr(out, "resume", "true");
                    write_attr(out, "max", &max.as_secs().to_string());
                }
                out.extend_from_slice(b"/>");
                self.acks.start_received();
                self.acks.start_sent();
                self.management.progress = Progress::On;
            }
            Err(error) => {
                self.management.progress = Progress::Off;
                self.send_failed(error.condition, None);
            }
        }
    }

    /// The answer to [`Event::Resume`]: the counters of the earlier stream, or, where that cannot be resumed,
    /// how many stanzas had been handled on it if that is known. At any other time this does nothing.
    ///
    /// The caller sees to it that the earlier stream was of the same peer (the pairs it had proven are among
    /// those of this one), that it is closed (with `conflict`), and that nothing that came on it is still being
    /// handled: what is not counted as handled will come again.
    pub fn handle_resumed(&mut self, outcome: Result<Acks, Option<u32>>) {
        if !self.is_open() || !matches!(self.management.progress, Progress::Finding { .. }) {
            return;
        }
        let Progress::Finding { h, previous } = std::mem::take(&mut self.management.progress) else { return };
        match outcome {
            Ok(acks) => {
                let our_h = acks.h();
                if let Err(error) = self.take_over(acks, h) {
                    self.close(Some(error));
                    return;
                }
                let out = &mut self.line.out;
                out.extend_from_slice(["<resumed xmlns='", ns::ACKS, "'"].concat().as_bytes());
                write_attr(out, "h", &our_h.to_string());
                write_attr(out, "previd", &previous);
                out.extend_from_slice(b"/>");
            }
            Err(h) => self.send_failed(stanza::Condition::ItemNotFound, h),
        }
    }

    /// Goes on with the counters of an earlier stream, of which the peer has handled `h`.
    fn take_over(&mut self, mut acks: Acks, h: u32) -> Result<(), crate::stream::StreamError> {
        let acked = acks.acked(h)?;
        acks.resume();
        self.management = Management { progress: Progress::On, told: acks.h(), owed: None };
        self.acks = acks;
        self.pending.push_back(Event::Resumed { acked });
        Ok(())
    }

    /// Asks the responder to acknowledge stanzas, and to make the stream resumable if `resume` (XEP-0198 section
    /// 3). What is sent from now on counts. Does nothing but on the initiator's side after [`Event::Ready`],
    /// where stream management is offered, and once.
    pub fn enable_acks(&mut self, resume: bool) {
        if !self.may_ask_for_acks() {
            return;
        }
        let resume = if resume { " resume='true'" } else { "" };
        self.send(&["<enable xmlns='", ns::ACKS, "'", resume, "/>"]);
        self.acks.start_sent();
        self.management.progress = Progress::Asked;
    }

    /// Asks the responder to go on with an earlier stream (XEP-0198 section 5), whose identifier was `previous`
    /// and whose counters were `acks`. Nothing may be sent before the answer, [`Event::Resumed`] or
    /// [`Event::NotResumed`]. Does nothing but on the initiator's side after [`Event::Ready`] and before any
    /// stanza, where stream management is offered.
    pub fn resume(&mut self, previous: &str, acks: Acks) {
        if !self.may_ask_for_acks() || !self.acks.is_fresh() {
            return;
        }
        let out = &mut self.line.out;
        out.extend_from_slice(["<resume xmlns='", ns::ACKS, "'"].concat().as_bytes());
        write_attr(out, "h", &acks.h().to_string());
        write_attr(out, "previd", previous);
        out.extend_from_slice(b"/>");
        self.management.progress = Progress::Resuming { previous: previous.into(), acks: Box::new(acks) };
    }

    fn may_ask_for_acks(&self) -> bool {
        let Role::Initiator(initiator) = &self.role else { return false };
        let is_wanted = self.settings.acks && initiator.offered.acks && initiator.is_ready;
        is_wanted && self.is_open() && self.is_trusted() && matches!(self.management.progress, Progress::Off)
    }

    /// So many stanzas have been written after what [`Stream::poll_transmit`] gave. To be said whether or not
    /// stream management is enabled, so that it can be at any time.
    pub fn sent(&mut self, count: u32) {
        self.acks.sent(count);
    }

    /// So many more of the stanzas that were events have been dealt with, in the order in which they came. To be
    /// said whether or not stream management is enabled. A request for an acknowledgement that came before is
    /// answered again when all has been dealt with that had come by then.
    pub fn handled(&mut self, count: u32) {
        self.acks.handled(count);
        if self.management.owed.is_some_and(|owed| self.acks.has_handled(owed)) {
            self.management.owed = None;
            self.send_ack();
        }
    }

    /// Asks the peer how many stanzas it has handled, if stream management is enabled.
    pub fn request_ack(&mut self) {
        if self.is_open() && self.management.is_on() {
            self.send(&["<r xmlns='", ns::ACKS, "'/>"]);
        }
    }

    /// Tells the peer how many stanzas have been handled, if stream management is enabled and there is news.
    /// Requests of the peer are answered without this.
    pub fn send_ack(&mut self) {
        if self.is_open() && self.management.is_on() && self.management.told != self.acks.h() {
            self.answer_ack();
        }
    }

    fn answer_ack(&mut self) {
        let h = self.acks.h();
        self.management.told = h;
        self.send(&["<a xmlns='", ns::ACKS, "' h='", &h.to_string(), "'/>"]);
    }

    /// The counters; to be kept for resumption when the stream has ended.
    #[must_use]
    pub const fn acks(&self) -> &Acks {
        &self.acks
    }

    /// Whether stream management is enabled, so that what is sent will be acknowledged.
    #[must_use]
    pub const fn has_acks(&self) -> bool {
        self.management.is_on()
    }

    fn send_failed(&mut self, condition: stanza::Condition, h: Option<u32>) {
        let out = &mut self.line.out;
        out.extend_from_slice(["<failed xmlns='", ns::ACKS, "'"].concat().as_bytes());
        if let Some(h) = h {
            write_attr(out, "h", &h.to_string());
        }
        self.send(&["><", condition.name(), " xmlns='", ns::STANZA_ERRORS, "'/></failed>"]);
    }

    pub(super) fn take_management(&mut self, element: &Element) -> Step {
        let is_responder = matches!(self.role, Role::Responder(_));
        match element.name() {
            "enable" if is_responder => self.take_enable(element),
            "resume" if is_responder => self.take_resume(element),
            "enabled" if matches!(self.management.progress, Progress::Asked) => {
                self.management.progress = Progress::On;
                self.acks.start_received();
                let is_resumable = is_true(element.attr("resume"));
                let id = element.attr("id").filter(|id| is_resumable && !id.is_empty() && id.len() <= ID_BYTES_MAX);
                self.pending.push_back(Event::Enabled { resumption: id.map(Into::into), max: seconds(element) });
                Ok(())
            }
            "resumed" => self.take_resumed(element),
            "failed" => self.take_failed(element),
            "r" if self.management.is_on() => {
                self.answer_ack();
                self.management.owed = self.acks.owed();
                Ok(())
            }
            "r" if is_responder => {
                self.send_failed(stanza::Condition::UnexpectedRequest, None);
                Ok(())
            }
            "a" if self.management.is_on() => {
                let acked = self.acks.acked(h(element)?)?;
                if acked > 0 {
                    self.pending.push_back(Event::Acked(acked));
                }
                Ok(())
            }
            // Before stream management these mean nothing.
            "a" | "r" => Ok(()),
            _ => Err(Condition::UnsupportedStanzaType.into()),
        }
    }

    /// Why stream management cannot be negotiated now (section 3).
    fn refusal(&self) -> Option<stanza::Condition> {
        let is_too_early = !self.pairs.is_any_heard();
        if is_too_early || !matches!(self.management.progress, Progress::Off) {
            Some(stanza::Condition::UnexpectedRequest)
        } else if !self.settings.acks {
            Some(stanza::Condition::FeatureNotImplemented)
        } else {
            None
        }
    }

    fn take_enable(&mut self, element: &Element) -> Step {
        if let Some(condition) = self.refusal() {
            self.send_failed(condition, None);
            return Ok(());
        }
        self.management.progress = Progress::Enabling;
        let resume = is_true(element.attr("resume"));
        self.pending.push_back(Event::Enable { resume, max: seconds(element) });
        Ok(())
    }

    fn take_resume(&mut self, element: &Element) -> Step {
        let h = element.attr("h").and_then(|h| h.parse::<u32>().ok());
        let previous = element.attr("previd").filter(|id| !id.is_empty());
        let refusal =
            self.refusal().or_else(|| (!self.acks.is_fresh()).then_some(stanza::Condition::UnexpectedRequest));
        match (refusal, h, previous) {
            (Some(condition), _, _) => self.send_failed(condition, None),
            (None, Some(h), Some(previous)) if previous.len() <= ID_BYTES_MAX => {
                self.management.progress = Progress::Finding { h, previous: previous.into() };
                self.pending.push_back(Event::Resume { previous: previous.into() });
            }
            (None, Some(_), Some(_)) => self.send_failed(stanza::Condition::ItemNotFound, None),
            (None, _, _) => self.send_failed(stanza::Condition::BadRequest, None),
        }
        Ok(())
    }

    fn take_resumed(&mut self, element: &Element) -> Step {
        match std::mem::take(&mut self.management.progress) {
            Progress::Resuming { previous, acks } if element.attr("previd").is_none_or(|id| *id == *previous) => {
                self.take_over(*acks, h(element)?)?;
                Ok(())
            }
            _ => Err(Condition::UnsupportedStanzaType.into()),
        }
    }

    fn take_failed(&mut self, element: &Element) -> Step {
        let condition = element.children().find(|child| child.has_ns(ns::STANZA_ERRORS) && child.name() != "text");
        let condition = condition.and_then(|child| stanza::Condition::from_name(child.name()));
        let error = StanzaError::new(condition.unwrap_or(stanza::Condition::UndefinedCondition));
        match std::mem::take(&mut self.management.progress) {
            Progress::Asked => {
                self.management.progress = Progress::Refused;
                self.pending.push_back(Event::NotEnabled(error));
            }
            Progress::Resuming { mut acks, .. } => {
                let acked = match element.attr("h") {
                    Some(_) => Some(acks.acked(h(element)?)?),
                    None => None,
                };
                self.pending.push_back(Event::NotResumed { acked, error });
            }
            // An answer to a request for an acknowledgement that came too early.
            progress => self.management.progress = progress,
        }
        Ok(())
    }
}

/// The number of stanzas handled, which must be there (section 4).
fn h(element: &Element) -> Result<u32, End> {
    element.attr("h").and_then(|h| h.parse().ok()).ok_or_else(|| Condition::InvalidXml.into())
}

/// A boolean as XML Schema writes it.
fn is_true(attribute: Option<&str>) -> bool {
    matches!(attribute, Some("true" | "1"))
}

/// The `max` attribute.
fn seconds(element: &Element) -> Option<Duration> {
    element.attr("max").and_then(|max| max.parse().ok()).map(Duration::from_secs)
}
