//! Stream management on a client stream, the responder's side (XEP-0198 sections 3 to 6): what is said about
//! enabling, acknowledging and resuming.
//!
//! What is kept for a client that went away, and how it is found again, is the caller's; so is sending again what
//! the client has not handled. The counters are [`Acks`].

use super::acks::Acks;
use super::feature::State;
use super::negotiation::Negotiation;
use super::{Condition, Event, Phase, Settings, Step, Stream, StreamError};
use crate::stanza::{self, StanzaError};
use crate::xml::{parse_element_in, write_attr};
use crate::{Element, FullJid, ns};

/// The longest identifier of an earlier stream, in bytes (section 5: they should not be longer).
const ID_BYTES_MAX: usize = 4000;

/// What `<enabled/>` says (section 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enabled {
    /// What to resume the stream with; `None` if it cannot be resumed.
    pub id: Option<Box<str>>,
    /// For how many seconds it can be resumed.
    pub max: Option<u32>,
    /// Where to connect to first, as `host:port`.
    pub location: Option<Box<str>>,
}

/// An earlier stream that goes on in this one (section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The address bound to it.
    pub jid: FullJid,
    /// Its counters, after the client's `h` was taken with [`Acks::acked`] and [`Acks::resume`] was called. What has
    /// not been acknowledged is to be sent again, before anything else.
    pub acks: Acks,
}

/// Why an earlier stream does not go on.
#[derive(Clone, Debug, PartialEq)]
pub enum ResumeFailed {
    /// There is nothing to resume, or not now. The client may bind a resource instead.
    Failed {
        /// How many stanzas of the client had been handled on it, if that is known.
        h: Option<u32>,
        /// Why.
        error: StanzaError,
    },
    /// The client says that it handled what it was never sent (section 6): the stream ends.
    Impossible(StreamError),
}

impl ResumeFailed {
    /// No such stream, or it is over (section 5); `h` if it is known.
    #[must_use]
    pub fn not_found(h: Option<u32>) -> Self {
        Self::Failed { h, error: StanzaError::item_not_found() }
    }
}

/// Stream management on a bound stream.
#[derive(Debug)]
pub(super) struct Management {
    acks: Acks,
    /// `<enable/>` has come, and the caller has not said what to answer.
    is_enabling: bool,
}

impl Management {
    pub(super) const fn is_waiting(&self) -> bool {
        self.is_enabling
    }
}

/// Whether there is stream management: after authentication.
pub(super) fn state(negotiation: &Negotiation, settings: &Settings) -> State {
    let is_open = settings.acks && negotiation.account.is_some() && !negotiation.is_managed;
    if is_open { State::Voluntary } else { State::Prohibited }
}

/// Takes an element of stream management before a resource is bound: resumption, or a mistake.
pub(super) fn take(negotiation: &mut Negotiation, settings: &Settings, element: &Element, out: &mut Vec<u8>) -> Step {
    let condition = match element.name() {
        "resume" if negotiation.account.is_some() && settings.acks => match Resume::of(element) {
            Ok(Resume { previd, h }) => {
                negotiation.resumption = Some(previd.clone());
                return Event::Resume { previd, h }.into();
            }
            Err(condition) => condition,
        },
        "resume" | "enable" if !settings.acks => stanza::Condition::FeatureNotImplemented,
        // Section 3: the order is enforced, and the client told.
        "resume" | "enable" | "r" => stanza::Condition::UnexpectedRequest,
        // Nothing has been counted yet.
        "a" => return Step::Stay,
        _ => return Step::Fail(Condition::UnsupportedStanzaType.into()),
    };
    render_failed(out, None, condition);
    Step::Stay
}

/// What `<resume/>` asks for.
#[derive(Debug)]
pub(super) struct Resume {
    pub(super) previd: Box<str>,
    pub(super) h: u32,
}

impl Resume {
    /// Reads the element; the error is what to answer.
    pub(super) fn of(element: &Element) -> Result<Self, stanza::Condition> {
        let h = element.attr("h").and_then(|h| h.parse().ok());
        let previd = element.attr("previd").filter(|id| !id.is_empty());
        match (h, previd) {
            (Some(h), Some(previd)) if previd.len() <= ID_BYTES_MAX => Ok(Self { previd: previd.into(), h }),
            (Some(_), Some(_)) => Err(stanza::Condition::ItemNotFound),
            _ => Err(stanza::Condition::BadRequest),
        }
    }
}

/// The caller has found the earlier stream, or has not.
pub(super) fn take_outcome(
    negotiation: &mut Negotiation,
    outcome: Result<Resumed, ResumeFailed>,
    out: &mut Vec<u8>,
) -> Step {
    let Some(previd) = negotiation.resumption.take() else { return Step::Stay };
    match outcome {
        Ok(resumed) => {
            render_resumed(out, resumed.acks.h(), &previd);
            Step::Resumed(resumed)
        }
        Err(ResumeFailed::Failed { h, error }) => {
            render_failed(out, h, error.condition);
            Step::Stay
        }
        Err(ResumeFailed::Impossible(error)) => Step::Fail(error),
    }
}

/// Whether `<enable/>` asks for resumption, and for how many seconds if it says.
pub(super) fn read_enable(element: &Element) -> (bool, Option<u32>) {
    let is_true = matches!(element.attr("resume"), Some("true" | "1"));
    (is_true, element.attr("max").and_then(|max| max.parse().ok()))
}

/// Appends `<enabled/>`.
pub(super) fn render_enabled(out: &mut Vec<u8>, enabled: &Enabled) {
    begin(out, "enabled");
    if let Some(id) = &enabled.id {
        write_attr(out, "id", id);
        write_attr(out, "resume", "true");
        if let Some(max) = enabled.max {
            write_attr(out, "max", &max.to_string());
        }
    }
    if let Some(location) = &enabled.location {
        write_attr(out, "location", location);
    }
    out.extend_from_slice(b"/>");
}

/// Appends `<resumed/>`.
pub(super) fn render_resumed(out: &mut Vec<u8>, h: u32, previd: &str) {
    begin(out, "resumed");
    write_attr(out, "h", &h.to_string());
    write_attr(out, "previd", previd);
    out.extend_from_slice(b"/>");
}

/// Appends `<failed/>`.
pub(super) fn render_failed(out: &mut Vec<u8>, h: Option<u32>, condition: stanza::Condition) {
    begin(out, "failed");
    if let Some(h) = h {
        write_attr(out, "h", &h.to_string());
    }
    let condition = ["><", condition.name(), " xmlns='", ns::STANZA_ERRORS, "'/></failed>"].concat();
    out.extend_from_slice(condition.as_bytes());
}

fn begin(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(["<", name, " xmlns='", ns::ACKS, "'"].concat().as_bytes());
}

impl Stream {
    /// The answer to [`Event::Enable`]: what was agreed to, or why there is no stream management. At any other time
    /// this does nothing.
    pub fn handle_enabled(&mut self, outcome: Result<Enabled, StanzaError>) {
        if !self.management.as_ref().is_some_and(|management| management.is_waiting()) {
            return;
        }
        self.management = None;
        if !matches!(self.phase, Phase::Bound(_)) {
            return;
        }
        match outcome {
            Ok(enabled) => {
                render_enabled(&mut self.line.out, &enabled);
                self.start_acks(Acks::default());
            }
            Err(error) => render_failed(&mut self.line.out, None, error.condition),
        }
    }

    /// The answer to [`Event::Resume`]. If the earlier stream goes on, this one is bound to its address now. At any
    /// other time this does nothing.
    ///
    /// The caller sees to it that the earlier stream was of the same account, that it is closed, and that nothing
    /// that came on it is still being handled: what is not counted as handled will come again.
    pub fn handle_resumed(&mut self, outcome: Result<Resumed, ResumeFailed>) {
        let Phase::Negotiating(negotiation) = &mut self.phase else { return };
        let step = take_outcome(negotiation, outcome, &mut self.line.out);
        self.take_step(step);
    }

    /// From now on stanzas are counted.
    pub(super) fn start_acks(&mut self, acks: Acks) {
        self.management = Some(Box::new(Management { acks, is_enabling: false }));
    }

    /// The counters, if stream management is enabled.
    #[must_use]
    pub fn acks(&self) -> Option<&Acks> {
        self.management.as_ref().filter(|management| !management.is_enabling).map(|management| &management.acks)
    }

    fn acks_mut(&mut self) -> Option<&mut Acks> {
        self.management.as_mut().filter(|management| !management.is_enabling).map(|management| &mut management.acks)
    }

    /// So many stanzas have been written after what [`Stream::poll_transmit`] gave.
    pub fn sent(&mut self, count: u32) {
        if let Some(acks) = self.acks_mut() {
            acks.sent(count);
        }
    }

    /// The stanza of the last [`Event::Stanza`] has been dealt with: what it changed is durable, and whoever it was
    /// for has it. To be said before the next event is asked for; what is not said so will come again when the
    /// stream is resumed.
    pub fn handled(&mut self) {
        if let Some(acks) = self.acks_mut() {
            acks.handled(1);
        }
    }

    /// Tells the client how many stanzas have been handled, if stream management is enabled.
    pub fn send_ack(&mut self) {
        let Some(h) = self.acks().map(Acks::h) else { return };
        if matches!(self.phase, Phase::Bound(_)) {
            let out = &mut self.line.out;
            begin(out, "a");
            write_attr(out, "h", &h.to_string());
            out.extend_from_slice(b"/>");
        }
    }

    /// Asks the client how many stanzas it has handled, if stream management is enabled.
    pub fn request_ack(&mut self) {
        if self.acks().is_some() && matches!(self.phase, Phase::Bound(_)) {
            begin(&mut self.line.out, "r");
            self.line.out.extend_from_slice(b"/>");
        }
    }

    /// A stanza has come on a bound stream. With `is_handled`, nobody else will deal with it.
    pub(super) fn received(&mut self, is_handled: bool) {
        if let Some(acks) = self.acks_mut() {
            acks.received();
            if is_handled {
                acks.handled(1);
            }
        }
    }

    /// Takes an element of stream management on a bound stream.
    pub(super) fn take_management(&mut self, bytes: &[u8]) -> Option<Event> {
        let element = match parse_element_in(bytes, &self.line.context, &self.settings.limits) {
            Ok(element) => element,
            Err(error) => return self.refuse(error.into()),
        };
        let is_offered = self.settings.acks;
        match (element.name(), self.acks_mut()) {
            ("r", Some(_)) => Some(Event::AckWanted),
            ("a", Some(acks)) => {
                let Some(h) = element.attr("h").and_then(|h| h.parse().ok()) else {
                    return self.refuse(StreamError::new(Condition::InvalidXml).with_text("an ack without a count"));
                };
                match acks.acked(h) {
                    Ok(count) => Some(Event::Acked(count)),
                    Err(error) => self.refuse(error),
                }
            }
            // Before stream management it means nothing.
            ("a", None) => None,
            ("enable", None) if is_offered => {
                self.management = Some(Box::new(Management { acks: Acks::default(), is_enabling: true }));
                let (resume, max) = read_enable(&element);
                Some(Event::Enable { resume, max })
            }
            ("enable" | "resume", None) if !is_offered => {
                self.fail_management(stanza::Condition::FeatureNotImplemented)
            }
            ("enable", Some(_)) => {
                // Section 3: once only.
                self.fail_management(stanza::Condition::UnexpectedRequest);
                self.refuse(StreamError::new(Condition::PolicyViolation).with_text("stream management is enabled"))
            }
            // Section 5: instead of binding a resource, not after.
            ("resume" | "r", _) => self.fail_management(stanza::Condition::UnexpectedRequest),
            _ => self.refuse(Condition::UnsupportedStanzaType.into()),
        }
    }

    fn fail_management(&mut self, condition: stanza::Condition) -> Option<Event> {
        render_failed(&mut self.line.out, None, condition);
        None
    }

    fn refuse(&mut self, error: StreamError) -> Option<Event> {
        self.fail(error);
        None
    }
}
