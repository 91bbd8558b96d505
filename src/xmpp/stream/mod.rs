//! How a conversation starts and ends: the stream as a machine without sockets (RFC 6120 sections 4 to 7).
//!
//! A [`Stream`] is told what the world did ([`Stream::handle_bytes`] and the other `handle_` calls) and asked
//! what happened ([`Stream::poll_event`]) and what to send ([`Stream::poll_transmit`]). It keeps no clock and
//! waits for nobody: where it needs something, it says so in an [`Event`] and reads no further until it is
//! told the outcome. Bytes are read as events are asked for, one frame at a time, so what is in hand is never
//! more than one read.
//!
//! What has to be negotiated is a table of features (`feature`), each saying for itself when it is necessary,
//! voluntary or prohibited, how it is advertised and how it is spoken. All state of the negotiation is dropped
//! when a resource is bound. Then a frame becomes an [`Event::Stanza`] with nothing in between but the parse.
//!
//! This is the responder of client streams; [`client`] is the initiator. [`server`] has both sides of server
//! streams. WebSocket framing is not here yet.

pub mod acks;
mod authentication;
mod binding;
pub mod client;
pub mod component;
pub mod entry;
mod error;
mod event;
mod feature;
mod line;
mod management;
mod negotiation;
mod sasl2;
pub mod server;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use acks::Acks;
use bytes::Bytes;

use crate::sasl::{Failure, Keys};
use crate::stanza::{Head, IqType, Kind, Stanza, StanzaError, Unparsable};
use crate::xml::{Context, Frame, parse_element_in};
use crate::{BareJid, FullJid, Jid, ns};

pub use entry::{Bound, Entered, Wishes};
pub use error::{Condition, StreamError};
pub use event::Event;
use line::Line;
use management::Management;
pub use management::{Enabled, ResumeFailed, Resumed};
use negotiation::Negotiation;
pub use settings::{Sasl2, Seed, Settings, Tls, TlsFacts};

/// The responder's side of one client stream.
#[derive(Debug)]
pub struct Stream {
    settings: Arc<Settings>,
    line: Line,
    /// An event that did not come from bytes. One place is enough: such an event is either the last, or
    /// follows a `handle_` call that an earlier event asked for.
    pending: Option<Box<Event>>,
    /// Stream management, once it is asked for on a bound stream.
    management: Option<Box<Management>>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Negotiating(Box<Negotiation>),
    Bound(FullJid),
    /// We have closed our side; the peer has not.
    Closing,
    Over,
}

impl Stream {
    /// A stream that waits for the initiator's header. `tls` when the connection was encrypted from the start
    /// (XEP-0368).
    #[must_use]
    pub fn accept(settings: Arc<Settings>, seed: Seed, tls: Option<TlsFacts>) -> Self {
        let line = Line::new(&settings.limits_unauthenticated, Context::client());
        let negotiation = Box::new(Negotiation::new(&settings, seed, tls));
        Self { settings, line, pending: None, management: None, phase: Phase::Negotiating(negotiation) }
    }

    /// Takes bytes that were read. Ask for events until there are none before giving more, and give none while
    /// [`Stream::wants_bytes`] says no: then memory is bounded by the limits and one read.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        match &mut self.phase {
            Phase::Negotiating(negotiation) => {
                let permitted = negotiation.permit(bytes);
                self.line.framer.push(permitted);
            }
            Phase::Bound(_) | Phase::Closing => self.line.framer.push(bytes),
            Phase::Over => {}
        }
    }

    /// TLS has been negotiated after [`Event::StartTls`]. Everything learned in the clear is forgotten
    /// (RFC 6120 section 5.4.3.3). At any other time this does nothing.
    pub fn handle_secured(&mut self, tls: TlsFacts) {
        if let Phase::Negotiating(negotiation) = &mut self.phase
            && negotiation.handle_secured(tls)
        {
            self.line.secured(Context::client());
        }
    }

    /// The keys asked for by [`Event::NeedCredentials`]. For an account that does not exist there are keys too,
    /// [`Keys::fake`], so that nobody learns which do. At any other time this does nothing.
    pub fn handle_credentials(&mut self, found: Result<Keys, Failure>) {
        let Phase::Negotiating(negotiation) = &mut self.phase else { return };
        let step = negotiation.handle_credentials(&self.settings, found, &mut self.line.out);
        self.take_step(step);
    }

    /// Whether the password of [`Event::CheckPassword`] is right. At any other time this does nothing.
    pub fn handle_password(&mut self, is_right: Result<bool, Failure>) {
        let Phase::Negotiating(negotiation) = &mut self.phase else { return };
        let step = negotiation.handle_password(&self.settings, is_right, &mut self.line.out);
        self.take_late(step);
    }

    /// What was found of [`Event::CheckToken`]: what [`crate::sasl::token::Shown::verify`] gave. At any other time this does nothing.
    pub fn handle_token(&mut self, answer: Result<Vec<u8>, Failure>) {
        let Phase::Negotiating(negotiation) = &mut self.phase else { return };
        let step = sasl2::take_token(negotiation, &self.settings, answer, &mut self.line.out);
        self.take_late(step);
    }

    /// Whose the certificate of [`Event::CheckCertificate`] is. At any other time this does nothing.
    pub fn handle_certificate(&mut self, found: Result<BareJid, Failure>) {
        let Phase::Negotiating(negotiation) = &mut self.phase else { return };
        let step = authentication::take_certificate(negotiation, &self.settings, found, &mut self.line.out);
        self.take_late(step);
    }

    /// Whether the keys of [`Event::WantsUpgrade`] are wanted, or that those of [`Event::Upgrade`] are stored. At any
    /// other time this does nothing.
    pub fn handle_upgrade(&mut self, outcome: Result<bool, Failure>) {
        let Phase::Negotiating(negotiation) = &mut self.phase else { return };
        let step = sasl2::take_upgrade(negotiation, &self.settings, outcome, &mut self.line.out);
        self.take_late(step);
    }

    /// What came of [`Event::Enter`]. With a resource bound or a stream resumed, negotiation is over. At any other time
    /// this does nothing.
    pub fn handle_entered(&mut self, outcome: Result<Entered, Failure>) {
        let Phase::Negotiating(negotiation) = &mut self.phase else { return };
        let step = sasl2::take_entered(negotiation, &self.settings, outcome, &mut self.line.out);
        self.take_late(step);
    }

    /// The resource chosen after [`Event::Bind`], or why there is none. At any other time this does nothing.
    pub fn handle_bound(&mut self, outcome: Result<FullJid, StanzaError>) {
        let Phase::Negotiating(negotiation) = &mut self.phase else { return };
        let step = negotiation.handle_bound(&self.settings, outcome, &mut self.line.out);
        self.take_step(step);
    }

    /// The time of [`Stream::poll_timeout`] has come.
    pub fn handle_timeout(&mut self) {
        if matches!(self.phase, Phase::Negotiating(_)) {
            self.fail(StreamError::new(Condition::ConnectionTimeout).with_text("negotiation takes too long"));
        }
    }

    /// Ends the stream from our side, with or without an error (RFC 6120 section 4.4).
    pub fn close(&mut self, error: Option<StreamError>) {
        match &mut self.phase {
            Phase::Over | Phase::Closing => return,
            // In the middle of a TLS handshake nothing can be said.
            Phase::Negotiating(negotiation) if negotiation.is_securing() => self.phase = Phase::Over,
            Phase::Negotiating(negotiation) => {
                negotiation.open(&self.settings, &mut self.line.out);
                self.phase = Phase::Closing;
            }
            Phase::Bound(_) => self.phase = Phase::Closing,
        }
        if matches!(self.phase, Phase::Closing) {
            self.line.end(error.as_ref());
        }
        self.pending = Some(Box::new(Event::Closed(error)));
    }

    /// Sends a stanza. Bound streams are usually written to by the connection itself, from rendered bytes.
    pub fn send(&mut self, stanza: &Stanza) {
        if matches!(self.phase, Phase::Negotiating(_) | Phase::Bound(_)) {
            stanza.render_into(&mut self.line.out);
        }
    }

    /// What happened next, or `None` until the world does something.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.take() {
                return Some(*event);
            }
            match &self.phase {
                Phase::Over => return None,
                Phase::Negotiating(negotiation) if negotiation.is_waiting() => return None,
                Phase::Bound(_) if self.is_enabling() => return None,
                _ => {}
            }
            let event = match self.line.framer.next() {
                Ok(Some(frame)) => self.take_frame(frame),
                Ok(None) => {
                    let Phase::Negotiating(negotiation) = &self.phase else { return None };
                    let exceeded = negotiation.allowance.exceeded()?;
                    self.fail(exceeded);
                    None
                }
                Err(error) => {
                    self.fail(error.into());
                    // What follows cannot be read, so the peer's closing tag cannot be waited for.
                    self.phase = Phase::Over;
                    None
                }
            };
            if event.is_some() {
                return event;
            }
        }
    }

    /// Appends what is to be sent and returns how many bytes that is.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> usize {
        self.line.transmit(out)
    }

    /// How long after [`Stream::accept`] to call [`Stream::handle_timeout`]; `None` once a resource is bound.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        matches!(self.phase, Phase::Negotiating(_)).then_some(self.settings.negotiation_time_max)
    }

    /// Whether reading makes sense: not while an event waits for its answer.
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        match &self.phase {
            Phase::Negotiating(negotiation) => !negotiation.is_waiting(),
            Phase::Bound(_) => !self.is_enabling(),
            Phase::Closing => true,
            Phase::Over => false,
        }
    }

    /// Whether both sides have closed the stream, or nothing more can come of it.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// The address bound to the stream.
    #[must_use]
    pub const fn jid(&self) -> Option<&FullJid> {
        match &self.phase {
            Phase::Bound(jid) => Some(jid),
            _ => None,
        }
    }

    /// The domain the initiator has asked for, or else the first of ours. Empty if there is none.
    #[must_use]
    pub fn domain(&self) -> &str {
        match &self.phase {
            Phase::Negotiating(negotiation) => negotiation.domain(&self.settings),
            Phase::Bound(jid) => jid.domain(),
            Phase::Closing | Phase::Over => self.settings.domains.first().map_or("", |domain| domain),
        }
    }

    fn is_enabling(&self) -> bool {
        self.management.as_ref().is_some_and(|management| management.is_waiting())
    }

    fn fail(&mut self, error: StreamError) {
        self.close(Some(error));
    }

    fn take_frame(&mut self, frame: Frame) -> Option<Event> {
        match (frame, &mut self.phase) {
            (Frame::Element(bytes), Phase::Bound(_)) => self.take_stanza(bytes),
            (Frame::Close, Phase::Closing) => {
                self.phase = Phase::Over;
                None
            }
            (Frame::Close, _) => {
                self.close(None);
                self.phase = Phase::Over;
                None
            }
            (Frame::Open(header), Phase::Negotiating(negotiation)) => {
                self.line.context = header.context.clone();
                let step = negotiation.take_header(&self.settings, &header, &mut self.line.out);
                self.take_step(step)
            }
            (Frame::Element(bytes), Phase::Negotiating(negotiation)) => {
                let limits = negotiation.limits(&self.settings);
                let step = match parse_element_in(&bytes, &self.line.context, limits) {
                    Ok(element) => negotiation.take_element(&self.settings, &element, &mut self.line.out),
                    Err(error) => Step::Fail(error.into()),
                };
                match step {
                    Step::Register => self.take_registration(bytes),
                    step => self.take_step(step),
                }
            }
            // The closing side listens for the peer's closing tag only.
            (_, Phase::Closing | Phase::Over) | (Frame::Open(_), Phase::Bound(_)) => None,
        }
    }

    fn take_stanza(&mut self, bytes: Bytes) -> Option<Event> {
        let has_prefix = has_prefix(&bytes);
        match Stanza::parse_in(bytes, &self.line.context, &self.settings.limits) {
            Ok(_) | Err(Unparsable::Malformed { .. }) if has_prefix => {
                self.fail(Condition::BadNamespacePrefix.into());
                None
            }
            Ok(stanza) => match self.check_from(&stanza.head) {
                Ok(()) if is_session_request(&stanza) => {
                    self.received(true);
                    Some(Event::Answered(Box::new(Stanza::iq_result(&stanza.head, None))))
                }
                Ok(()) => {
                    self.received(false);
                    Some(Event::Stanza(stanza))
                }
                Err(error) => {
                    self.fail(error);
                    None
                }
            },
            Err(Unparsable::Malformed { mut head, error }) => {
                if let Err(error) = self.check_from(&head) {
                    self.fail(error);
                    return None;
                }
                self.received(true);
                head.from = self.jid().cloned().map(Jid::from);
                let reply = Stanza::error_reply(&head, None, &error).map(Box::new);
                Some(Event::Malformed { reply, error })
            }
            Err(Unparsable::NotAStanza { name, ns, bytes }) => self.take_nonza(&name, &ns, &bytes),
            Err(Unparsable::Xml(error)) => {
                self.fail(error.into());
                None
            }
        }
    }

    fn take_nonza(&mut self, name: &str, ns: &str, bytes: &[u8]) -> Option<Event> {
        if ns == ns::ACKS {
            return self.take_management(bytes);
        }
        if ns == ns::CLIENT_STATES && self.settings.client_states {
            match name {
                "active" => return Some(Event::Active),
                "inactive" => return Some(Event::Inactive),
                _ => {}
            }
        }
        if (name, ns) == ("error", ns::STREAM) {
            let error = parse_element_in(bytes, &self.line.context, &self.settings.limits);
            let error = error.map_or_else(StreamError::from, |error| StreamError::parse(&error));
            // The side that receives an error closes its own (RFC 6120 section 4.9.1.1), without one.
            self.close(None);
            self.pending = Some(Box::new(Event::Closed(Some(error))));
        } else {
            self.fail(Condition::UnsupportedStanzaType.into());
        }
        None
    }

    /// RFC 6120 section 8.1.2.1: what a client writes as `from` must be itself.
    fn check_from(&self, head: &Head) -> Result<(), StreamError> {
        match (&head.from, &self.phase) {
            (Some(from), Phase::Bound(jid)) if from.as_str() != jid.as_str() && from.as_str() != jid.as_bare_str() => {
                Err(Condition::InvalidFrom.into())
            }
            _ => Ok(()),
        }
    }

    fn take_registration(&mut self, bytes: Bytes) -> Option<Event> {
        match Stanza::parse_in(bytes, &self.line.context, &self.settings.limits_unauthenticated) {
            Ok(stanza) => return Some(Event::Register(stanza)),
            Err(Unparsable::Malformed { head, error }) => {
                if let Some(reply) = Stanza::error_reply(&head, None, &error) {
                    self.send(&reply);
                }
            }
            Err(Unparsable::Xml(error)) => self.fail(error.into()),
            Err(Unparsable::NotAStanza { .. }) => self.fail(Condition::NotAuthorized.into()),
        }
        None
    }

    /// Takes what follows from an answer: an event of it is the next one.
    fn take_late(&mut self, step: Step) {
        if let Some(event) = self.take_step(step) {
            self.pending = Some(Box::new(event));
        }
    }

    fn take_step(&mut self, step: Step) -> Option<Event> {
        if let Phase::Negotiating(negotiation) = &self.phase
            && matches!(step, Step::Authenticated { .. } | Step::Entered { .. } | Step::Resumed(_))
            && let Some(exceeded) = negotiation.allowance.exceeded()
        {
            // Bytes are missing from what comes next.
            self.fail(exceeded);
            return None;
        }
        match step {
            Step::Stay | Step::Register => None,
            Step::Tell(event) => Some(event),
            Step::Fail(error) => {
                self.fail(error);
                None
            }
            Step::Close(error) => {
                self.close(None);
                self.pending = Some(Box::new(Event::Closed(error)));
                None
            }
            Step::StartTls => match self.line.check_nothing_follows() {
                Ok(()) => {
                    self.line.out.extend_from_slice(format!("<proceed xmlns='{}'/>", ns::TLS).as_bytes());
                    Some(Event::StartTls)
                }
                Err(error) => {
                    if let Phase::Negotiating(negotiation) = &mut self.phase {
                        negotiation.refuse_tls();
                    }
                    self.fail(error);
                    None
                }
            },
            Step::Authenticated { account, restart } => {
                if restart {
                    self.line.framer.restart();
                }
                self.line.framer.set_limits(&self.settings.limits);
                self.pending = Some(Box::new(Event::Authenticated(account)));
                None
            }
            Step::Entered { jid, acks, is_active } => {
                self.line.framer.set_limits(&self.settings.limits);
                self.phase = Phase::Bound(jid);
                if acks {
                    self.start_acks(Acks::default());
                }
                let state = |is_active| if is_active { Event::Active } else { Event::Inactive };
                self.pending = is_active.filter(|_| self.settings.client_states).map(|active| Box::new(state(active)));
                None
            }
            Step::Bound(jid) => {
                self.phase = Phase::Bound(jid);
                None
            }
            Step::Resumed(resumed) => {
                self.line.framer.set_limits(&self.settings.limits);
                self.phase = Phase::Bound(resumed.jid);
                self.start_acks(resumed.acks);
                None
            }
        }
    }
}

/// What the negotiation wants of the stream it is part of.
#[derive(Debug)]
enum Step {
    /// Nothing: go on reading, or wait.
    Stay,
    Tell(Event),
    Fail(StreamError),
    /// Close without an error of ours; the event carries the peer's.
    Close(Option<StreamError>),
    /// Make sure that nothing follows in the clear, and begin TLS.
    StartTls,
    /// A new header comes next, if the stream restarts.
    Authenticated {
        account: BareJid,
        restart: bool,
    },
    /// A resource was bound together with authentication; with the state of the client, if it said that.
    Entered {
        jid: FullJid,
        acks: bool,
        is_active: Option<bool>,
    },
    Bound(FullJid),
    /// An earlier stream goes on.
    Resumed(Resumed),
    /// The element is a request for registration.
    Register,
}

/// Whether an element's name has a prefix, which that of a stanza must not (RFC 6120 section 4.8.5).
fn has_prefix(element: &[u8]) -> bool {
    let end = element.iter().find(|&&b| matches!(b, b':' | b' ' | b'>' | b'/' | b'\t' | b'\r' | b'\n'));
    end == Some(&b':')
}

/// RFC 3921 section 3: a request that has meant nothing since RFC 6121, and that old clients wait for.
fn is_session_request(stanza: &Stanza) -> bool {
    stanza.head.kind == Kind::Iq(IqType::Set)
        && stanza.head.to.as_ref().is_none_or(Jid::is_domain)
        && stanza.content.has("session", ns::SESSION)
}

#[cfg(test)]
mod tests;
