//! Streams between servers: both sides as one machine without sockets (RFC 6120 sections 4 to 6, XEP-0220).
//!
//! A [`Stream`] is accepted or opened, and is then driven as a client stream is: bytes in, events out, bytes out;
//! see [`crate::stream`]. The two sides differ while they negotiate (`responder`, `initiator`). Afterwards either
//! may ask for more pairs of domains (`dialback`), and with bidi (XEP-0288) either may send stanzas, so they are
//! one type.
//!
//! The machine knows what was proven and lets nothing else through: see [`Event::Heard`] for the one direction
//! and [`Event::Authenticated`] for the other. It answers questions about our own keys by itself. It does not
//! judge certificates, and it does not dial.

mod dialback;
mod event;
mod initiator;
mod key;
mod management;
mod offer;
mod pairs;
mod responder;
mod settings;
mod stanzas;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub use super::acks::Acks;
pub use event::{Ending, Event, Offered, Pair, PeerLimits, Proof, Refusal, Verdict};
pub use key::Secret;
pub use settings::{Permitted, Purpose, Settings};

use super::line::{Allowance, Line};
use super::{Condition, Seed, StreamError, TlsFacts};
use crate::limits::Limits;
use crate::xml::{Context, Frame, StreamHeader};
use crate::{Element, ns};
use initiator::Initiator;
use management::Management;
use pairs::Pairs;
use responder::Responder;

/// One side of a stream between two servers.
#[derive(Debug)]
pub struct Stream {
    settings: Arc<Settings>,
    line: Line,
    /// Events that were not asked for yet: those that one frame or one call made.
    pending: VecDeque<Event>,
    phase: Phase,
    role: Role,
    tls: Option<TlsFacts>,
    permitted: Permitted,
    /// What a stranger may still send.
    allowance: Allowance,
    local: Box<str>,
    remote: Option<Box<str>>,
    id: Box<str>,
    pairs: Pairs,
    acks: Acks,
    management: Management,
    /// We have closed our side without an error: what the peer says until it closes its own is heard.
    hears_late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The peer's header comes next.
    Header,
    /// R: the caller says how the initiator may authenticate.
    Opened,
    /// I: features come next.
    Features,
    /// I: the answer to STARTTLS comes next.
    Proceed,
    /// TLS is being negotiated.
    Securing,
    /// I: SASL is under way.
    Sasl,
    /// Negotiated, or to be negotiated by dialback.
    Open,
    /// We have closed our side; the peer has not.
    Closing,
    Over,
}

#[derive(Debug)]
enum Role {
    Responder(Box<Responder>),
    Initiator(Box<Initiator>),
}

/// A step that may end the stream.
type Step = Result<(), End>;

/// What ends a stream from within.
#[derive(Debug)]
enum End {
    /// An error of the peer's, which it is told.
    Error(StreamError),
    /// Anything else: our side is closed without an error.
    Quietly(Ending),
}

impl<E: Into<StreamError>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// A condition with words.
fn error(condition: Condition, text: &'static str) -> End {
    End::Error(StreamError::new(condition).with_text(text))
}

impl Stream {
    /// The responder's side: waits for the initiator's header. `tls` when the connection was encrypted from the
    /// start (XEP-0368).
    #[must_use]
    pub fn accept(settings: Arc<Settings>, seed: Seed, tls: Option<TlsFacts>) -> Self {
        let local = settings.domains.first().cloned().unwrap_or_default();
        let role = Role::Responder(Box::new(Responder::new(seed, settings.verifications_max)));
        Self::new(settings, role, Permitted::default(), local, None, tls)
    }

    /// The initiator's side: opens a stream from `local`, a domain of ours, to `remote`, both prepared. `tls`
    /// when the connection was encrypted from the start (XEP-0368).
    #[must_use]
    pub fn open(
        settings: Arc<Settings>,
        local: &str,
        remote: &str,
        purpose: Purpose,
        permitted: Permitted,
        tls: Option<TlsFacts>,
    ) -> Self {
        let permitted = Permitted {
            external: permitted.external && settings.external,
            dialback: permitted.dialback && settings.dialback,
        };
        let role = Role::Initiator(Box::new(Initiator::new(purpose)));
        let mut stream = Self::new(settings, role, permitted, local.into(), Some(remote.into()), tls);
        stream.send_header();
        stream
    }

    fn new(
        settings: Arc<Settings>,
        role: Role,
        permitted: Permitted,
        local: Box<str>,
        remote: Option<Box<str>>,
        tls: Option<TlsFacts>,
    ) -> Self {
        Self {
            line: Line::new(&settings.limits_unauthenticated, Context::server()),
            pending: VecDeque::new(),
            phase: Phase::Header,
            role,
            tls,
            permitted,
            allowance: Allowance::new(settings.unauthenticated_bytes_max),
            local,
            remote,
            id: Box::default(),
            pairs: Pairs::default(),
            acks: Acks::default(),
            management: Management::default(),
            hears_late: false,
            settings,
        }
    }

    /// Takes bytes that were read. Ask for events until there are none before giving more, and give none while
    /// [`Stream::wants_bytes`] says no: then memory is bounded by the limits and one read.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        match self.phase {
            Phase::Over | Phase::Securing => {}
            _ if self.is_trusted() => self.line.framer.push(bytes),
            _ => {
                let permitted = self.allowance.permit(bytes);
                self.line.framer.push(permitted);
            }
        }
    }

    /// TLS has been negotiated after [`Event::StartTls`]. Everything learned in the clear is forgotten (RFC 6120
    /// section 5.4.3.3). At any other time this does nothing.
    pub fn handle_secured(&mut self, tls: TlsFacts) {
        if self.phase != Phase::Securing {
            return;
        }
        self.line.secured(Context::server());
        self.tls = Some(tls);
        self.phase = Phase::Header;
        self.id = Box::default();
        match &mut self.role {
            Role::Responder(responder) => {
                responder.secured();
                self.remote = None;
                self.pairs.is_bidi = false;
            }
            Role::Initiator(_) => self.send_header(),
        }
    }

    /// The time of [`Stream::poll_timeout`] has come.
    pub fn handle_timeout(&mut self) {
        if self.poll_timeout().is_some() {
            let error = StreamError::new(Condition::ConnectionTimeout).with_text("negotiation takes too long");
            self.close(Some(error));
        }
    }

    /// Ends the stream from our side, with or without an error (RFC 6120 section 4.4). Without one, what has
    /// been handled is acknowledged first.
    pub fn close(&mut self, error: Option<StreamError>) {
        let ending = error.clone().map_or(Ending::Closed, Ending::Ours);
        self.end(error.as_ref(), ending);
    }

    fn end(&mut self, error: Option<&StreamError>, ending: Ending) {
        match self.phase {
            Phase::Over | Phase::Closing => return,
            // In the middle of a TLS handshake nothing can be said.
            Phase::Securing => self.phase = Phase::Over,
            _ => {
                self.answer_header();
                if error.is_none() {
                    self.send_ack();
                }
                self.hears_late = error.is_none() && self.phase == Phase::Open;
                self.phase = Phase::Closing;
                self.line.end(error);
            }
        }
        self.pending.push_back(Event::Closed(ending));
    }

    /// What happened next, or `None` until the world does something.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            if self.phase == Phase::Over || self.is_waiting() {
                return None;
            }
            let step = match self.line.framer.next() {
                Ok(Some(frame)) => self.take_frame(frame),
                Ok(None) => match self.allowance.exceeded() {
                    Some(error) if !self.is_trusted() && self.phase != Phase::Closing => Err(error.into()),
                    _ => return None,
                },
                Err(error) => {
                    self.close(Some(error.into()));
                    // What follows cannot be read, so the peer's closing tag cannot be waited for.
                    self.phase = Phase::Over;
                    Ok(())
                }
            };
            match step {
                Ok(()) => {}
                Err(End::Error(error)) => self.close(Some(error)),
                Err(End::Quietly(ending)) => self.end(None, ending),
            }
        }
    }

    /// Appends what is to be sent and returns how many bytes that is. Stanzas are written after it.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> usize {
        self.line.transmit(out)
    }

    /// How long after the beginning to call [`Stream::handle_timeout`]; `None` once a pair is proven or the
    /// stream is ready.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let is_done = match &self.role {
            Role::Responder(_) => self.is_trusted() && self.is_open(),
            Role::Initiator(initiator) => initiator.is_ready,
        };
        (!is_done && !matches!(self.phase, Phase::Closing | Phase::Over)).then_some(self.settings.negotiation_time_max)
    }

    /// Whether reading makes sense: not while an event waits for its answer.
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        self.phase != Phase::Over && !self.is_waiting()
    }

    /// Whether both sides have closed the stream, or nothing more can come of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether stanzas from addresses of `from`, a domain of ours, to addresses of `to` may be sent on this
    /// stream now.
    #[must_use]
    pub fn may_send(&self, from: &str, to: &str) -> bool {
        self.is_open() && self.pairs.may_send(from, to, &self.local)
    }

    /// Whether stanzas of this pair are taken, from a domain of the peer's to one of ours: proven, or with bidi
    /// the other direction of what we have proven.
    #[must_use]
    pub fn may_hear(&self, from: &str, to: &str) -> bool {
        self.is_open() && self.settings.serves(to) && self.pairs.may_hear(from, to)
    }

    /// Whether stanzas may go both ways (XEP-0288).
    #[must_use]
    pub const fn is_bidi(&self) -> bool {
        self.pairs.is_bidi
    }

    /// The domain of ours that the stream is to or from: the one asked for, or the first.
    #[must_use]
    pub const fn local(&self) -> &str {
        &self.local
    }

    /// The domain the peer says it is, or that was dialled; not proven by itself.
    #[must_use]
    pub fn remote(&self) -> Option<&str> {
        self.remote.as_deref()
    }

    /// The stream's identifier, empty before the responder has sent one. Another after TLS and after SASL.
    #[must_use]
    pub const fn id(&self) -> &str {
        &self.id
    }

    /// Whether TLS is to be negotiated before anything else.
    fn needs_tls(&self) -> bool {
        self.tls.is_none() && self.settings.tls == super::Tls::Required
    }

    /// Whether the peer is more than a stranger: it has proven a pair, or has taken us for who we are.
    const fn is_trusted(&self) -> bool {
        self.pairs.is_any_proven()
    }

    /// Whether elements can be exchanged.
    fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether an event waits for its answer.
    fn is_waiting(&self) -> bool {
        let is_judging = matches!(&self.role, Role::Responder(responder) if responder.is_waiting());
        let is_over = matches!(self.phase, Phase::Closing | Phase::Over);
        matches!(self.phase, Phase::Opened | Phase::Securing)
            || !is_over && (is_judging || self.management.is_waiting())
    }

    fn limits(&self) -> &Limits {
        if self.is_trusted() { &self.settings.limits } else { &self.settings.limits_unauthenticated }
    }

    /// More may come from now on: a first pair has been proven.
    fn trust(&mut self) {
        self.line.framer.set_limits(&self.settings.limits);
    }

    fn send(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.line.out.extend_from_slice(part.as_bytes()));
    }

    fn take_frame(&mut self, frame: Frame) -> Step {
        match (frame, self.phase) {
            (Frame::Close, Phase::Closing) => {
                self.phase = Phase::Over;
                Ok(())
            }
            (Frame::Close, _) => {
                self.close(None);
                self.phase = Phase::Over;
                Ok(())
            }
            // RFC 6120 section 4.4: what was on its way when we closed is not lost.
            (Frame::Element(bytes), Phase::Closing) if self.hears_late => {
                self.take_late(bytes);
                Ok(())
            }
            // What comes after our error is not for anybody.
            (_, Phase::Closing) => Ok(()),
            (Frame::Open(header), _) => self.take_header(&header),
            (Frame::Element(bytes), _) => self.take_element(bytes),
        }
    }

    fn take_header(&mut self, header: &StreamHeader) -> Step {
        self.line.context = header.context.clone();
        if matches!(&*header.content_ns, "" | ns::STREAM) {
            // Each stanza says its namespace then, and there is only one it can be in.
            self.line.context.content_ns = Context::server().content_ns;
        }
        match self.role {
            Role::Responder(_) => self.take_initiator_header(header),
            Role::Initiator(_) => self.take_responder_header(header),
        }
    }

    /// An element that is no stanza.
    fn take_nonza(&mut self, element: &Element) -> Step {
        if element.is("error", ns::STREAM) {
            // The side that receives an error closes its own (RFC 6120 section 4.9.1.1), without one.
            return Err(End::Quietly(Ending::Theirs(StreamError::parse(element))));
        }
        let is_responder = matches!(self.role, Role::Responder(_));
        match (element.ns().as_str(), self.phase) {
            (ns::TLS, Phase::Open) if is_responder => self.take_starttls(element),
            (ns::SASL, Phase::Open) if is_responder => self.take_auth(element),
            (ns::BIDI, Phase::Open) if is_responder => self.take_bidi(element),
            (ns::STREAM, Phase::Features) if element.name() == "features" => self.take_features(element),
            (ns::TLS, Phase::Proceed) => self.take_proceed(element),
            (ns::SASL, Phase::Sasl) => self.take_sasl(element),
            (ns::DIALBACK, Phase::Open) => self.take_dialback(element),
            (ns::ACKS, Phase::Open) => self.take_management(element),
            _ => Err(Condition::UnsupportedStanzaType.into()),
        }
    }
}

/// Appends an empty element.
fn empty(out: &mut Vec<u8>, name: &str, ns: &str) {
    out.extend_from_slice(["<", name, " xmlns='", ns, "'/>"].concat().as_bytes());
}

#[cfg(test)]
mod tests;
