//! Streams of external components: the receiving side of `jabber:component:accept` (XEP-0114).
//!
//! A [`Stream`] is told what the world did and asked what happened, as [`super::Stream`] is for clients. A component
//! names itself in its header and proves that it may by hashing the stream's identifier with a shared secret, once.
//! From then on it may write any `from` of its own domain. There are no features and no TLS here, so a listener for
//! components belongs on loopback or on a network of one's own.
//!
//! Where the specification leaves a choice: a stanza without `from` is from the component's domain; one without `to` is
//! answered with `bad-request`, and the stream lives; one `from` another domain ends the stream with `invalid-from`.

mod settings;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use subtle::ConstantTimeEq;

pub use self::settings::{Component, Settings};
use super::line::{Allowance, Line};
use super::{Condition, Seed, StreamError};
use crate::sasl::Hash;
use crate::stanza::{Head, Stanza, StanzaError, Unparsable};
use crate::xml::{Context, Frame, StreamHeader, parse_element_in, write_attr};
use crate::{BareJid, Jid, ns};

/// What happened on a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A component has proven to be this domain. Call [`Stream::handle_admitted`].
    Authenticated(Box<str>),
    /// A stanza of an admitted component. `to` and `from` are set, and `from` is of its domain.
    Stanza(Stanza),
    /// A stanza with a good head and a bad body. It has been answered and the stream lives.
    Malformed(StanzaError),
    /// The stream has ended, with the error that either side sent. Send what is pending and close the connection.
    Closed(Option<StreamError>),
}

/// The receiving side of one component's stream.
#[derive(Debug)]
pub struct Stream {
    settings: Arc<Settings>,
    line: Line,
    pending: Option<Event>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Before the header.
    Opening {
        seed: Seed,
        allowance: Allowance,
    },
    /// Before the handshake. `index` says which component it wants to be.
    Proving {
        id: String,
        index: usize,
        allowance: Allowance,
    },
    /// The caller decides whether there is room for the component.
    Admitting {
        domain: Jid,
    },
    /// Stanzas.
    Open {
        domain: Jid,
    },
    /// We have closed our side; the peer has not.
    Closing,
    Over,
}

impl Stream {
    /// A stream that waits for the component's header.
    #[must_use]
    pub fn accept(settings: Arc<Settings>, seed: Seed) -> Self {
        let line = Line::new(&settings.limits_unauthenticated, Context::client());
        let allowance = Allowance::new(settings.unauthenticated_bytes_max);
        Self { settings, line, pending: None, phase: Phase::Opening { seed, allowance } }
    }

    /// Takes bytes that were read. Ask for events until there are none before giving more.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        match &mut self.phase {
            Phase::Opening { allowance, .. } | Phase::Proving { allowance, .. } => {
                let permitted = allowance.permit(bytes);
                self.line.framer.push(permitted);
            }
            Phase::Admitting { .. } | Phase::Open { .. } | Phase::Closing => self.line.framer.push(bytes),
            Phase::Over => {}
        }
    }

    /// Whether the component that [`Event::Authenticated`] named may come in; the error ends the stream. At any other
    /// time this does nothing.
    pub fn handle_admitted(&mut self, outcome: Result<(), StreamError>) {
        let Phase::Admitting { domain } = &self.phase else { return };
        match outcome {
            Ok(()) => {
                self.phase = Phase::Open { domain: domain.clone() };
                self.line.framer.set_limits(&self.settings.limits);
                self.line.out.extend_from_slice(b"<handshake/>");
            }
            Err(error) => self.close(Some(error)),
        }
    }

    /// The time of [`Stream::poll_timeout`] has come.
    pub fn handle_timeout(&mut self) {
        if self.poll_timeout().is_some() {
            self.fail(StreamError::new(Condition::ConnectionTimeout).with_text("no handshake came"));
        }
    }

    /// Ends the stream from our side, with or without an error.
    pub fn close(&mut self, error: Option<StreamError>) {
        match &self.phase {
            Phase::Over | Phase::Closing => return,
            // An error comes after a header (RFC 6120 section 4.9.1.2).
            Phase::Opening { .. } => self.answer_header(None, None),
            Phase::Proving { .. } | Phase::Admitting { .. } | Phase::Open { .. } => {}
        }
        self.phase = Phase::Closing;
        self.line.end(error.as_ref());
        self.pending = Some(Event::Closed(error));
    }

    /// Sends a stanza. Streams are usually written to by the connection itself, from rendered bytes.
    pub fn send(&mut self, stanza: &Stanza) {
        if matches!(self.phase, Phase::Open { .. }) {
            stanza.render_into(&mut self.line.out);
        }
    }

    /// What happened next, or `None` until the world does something.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.take() {
                return Some(event);
            }
            if matches!(self.phase, Phase::Over | Phase::Admitting { .. }) {
                return None;
            }
            match self.line.framer.next() {
                Ok(Some(frame)) => self.take_frame(frame),
                Ok(None) => {
                    let (Phase::Opening { allowance, .. } | Phase::Proving { allowance, .. }) = &self.phase else {
                        return None;
                    };
                    let exceeded = allowance.exceeded()?;
                    self.fail(exceeded);
                }
                Err(error) => {
                    self.fail(error.into());
                    // What follows cannot be read, so the peer's closing tag cannot be waited for.
                    self.phase = Phase::Over;
                }
            }
        }
    }

    /// Appends what is to be sent and returns how many bytes that is.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> usize {
        self.line.transmit(out)
    }

    /// How long after [`Stream::accept`] to call [`Stream::handle_timeout`]; `None` once a component has proven itself.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        matches!(self.phase, Phase::Opening { .. } | Phase::Proving { .. })
            .then_some(self.settings.negotiation_time_max)
    }

    /// Whether both sides have closed the stream, or nothing more can come of it.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// The domain of the component, once it was admitted.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        match &self.phase {
            Phase::Open { domain } => Some(domain.domain()),
            _ => None,
        }
    }

    fn fail(&mut self, error: StreamError) {
        self.close(Some(error));
    }

    fn take_frame(&mut self, frame: Frame) {
        match (frame, &self.phase) {
            (Frame::Element(bytes), Phase::Open { domain }) => {
                let domain = domain.clone();
                self.take_stanza(bytes, domain);
            }
            (Frame::Element(bytes), Phase::Proving { .. }) => self.take_handshake(&bytes),
            (Frame::Open(header), Phase::Opening { .. }) => self.take_header(&header),
            (Frame::Close, Phase::Closing) => self.phase = Phase::Over,
            (Frame::Close, _) => {
                self.close(None);
                self.phase = Phase::Over;
            }
            // The closing side listens for the peer's closing tag only.
            _ => {}
        }
    }

    fn answer_header(&mut self, from: Option<&str>, id: Option<&str>) {
        // As the specification prints it: without a version, since no features follow.
        let out = &mut self.line.out;
        out.extend_from_slice(b"<?xml version='1.0'?><stream:stream");
        write_attr(out, "xmlns:stream", ns::STREAM);
        write_attr(out, "xmlns", ns::COMPONENT_ACCEPT);
        for (name, value) in [("from", from), ("id", id)] {
            if let Some(value) = value {
                write_attr(out, name, value);
            }
        }
        out.push(b'>');
    }

    fn take_header(&mut self, header: &StreamHeader) {
        let Phase::Opening { seed, .. } = &self.phase else { return };
        let id = seed.stream_id(1);
        if header.context.content_ns != ns::COMPONENT_ACCEPT {
            return self.fail(Condition::InvalidNamespace.into());
        }
        let asked = header.to.as_deref().and_then(|to| BareJid::new(to).ok()).filter(BareJid::is_domain);
        let index = asked.and_then(|asked| {
            self.settings.components.iter().position(|component| *component.domain == *asked.domain())
        });
        let Some(index) = index else { return self.fail(Condition::HostUnknown.into()) };
        self.line.context = header.context.clone();
        let from = self.settings.components.get(index).map(|component| component.domain.clone());
        self.answer_header(from.as_deref(), Some(&id));
        if let Phase::Opening { allowance, .. } = std::mem::replace(&mut self.phase, Phase::Over) {
            self.phase = Phase::Proving { id, index, allowance };
        }
    }

    fn take_handshake(&mut self, bytes: &[u8]) {
        let element = match parse_element_in(bytes, &self.line.context, &self.settings.limits_unauthenticated) {
            Ok(element) => element,
            Err(error) => return self.fail(error.into()),
        };
        if element.is("error", ns::STREAM) {
            return self.take_error(StreamError::parse(&element));
        }
        let Phase::Proving { id, index, .. } = &self.phase else { return };
        let Some(component) = self.settings.components.get(*index) else { return };
        let expected = proof(id, component.secret.expose());
        // As long as what is expected, whatever was sent: only equality is learnt, and nothing from the time it takes.
        let is_right = element.is("handshake", ns::COMPONENT_ACCEPT)
            && bool::from(element.text().trim().as_bytes().ct_eq(expected.as_bytes()));
        match Jid::from_parts(None, &component.domain, None) {
            Ok(domain) if is_right => {
                self.pending = Some(Event::Authenticated(component.domain.clone()));
                self.phase = Phase::Admitting { domain };
            }
            _ => self.fail(Condition::NotAuthorized.into()),
        }
    }

    fn take_stanza(&mut self, bytes: Bytes, domain: Jid) {
        match Stanza::parse_in(bytes, &self.line.context, &self.settings.limits) {
            Ok(mut stanza) => {
                if self.check_from(&mut stanza.head, &domain) {
                    if stanza.head.to.is_none() {
                        return self.refuse(&stanza.head, StanzaError::bad_request().with_text("no `to`"));
                    }
                    self.pending = Some(Event::Stanza(stanza));
                }
            }
            Err(Unparsable::Malformed { mut head, error }) => {
                if self.check_from(&mut head, &domain) {
                    self.refuse(&head, error);
                }
            }
            Err(Unparsable::NotAStanza { name, ns, bytes }) if (&*name, &*ns) == ("error", ns::STREAM) => {
                let error = parse_element_in(&bytes, &self.line.context, &self.settings.limits);
                self.take_error(error.map_or_else(StreamError::from, |error| StreamError::parse(&error)));
            }
            Err(Unparsable::NotAStanza { .. }) => self.fail(Condition::UnsupportedStanzaType.into()),
            Err(Unparsable::Xml(error)) => self.fail(error.into()),
        }
    }

    /// "The domain identifier portion of the JID contained in the 'from' attribute MUST match the hostname of the
    /// component." Ends the stream where it does not.
    fn check_from(&mut self, head: &mut Head, domain: &Jid) -> bool {
        let from = head.from.get_or_insert_with(|| domain.clone());
        let is_own = from.domain() == domain.domain();
        if !is_own {
            self.fail(Condition::InvalidFrom.into());
        }
        is_own
    }

    /// Answers a stanza in the name of whom it was to, or else of the component's own domain.
    fn refuse(&mut self, head: &Head, error: StanzaError) {
        if let Some(reply) = Stanza::error_reply(head, None, &error) {
            self.send(&reply);
        }
        self.pending = Some(Event::Malformed(error));
    }

    /// The side that receives an error closes its own (RFC 6120 section 4.9.1.1), without one.
    fn take_error(&mut self, error: StreamError) {
        self.close(None);
        self.pending = Some(Event::Closed(Some(error)));
    }
}

/// What a component answers to the stream identifier `id` if it knows `secret`: their SHA-1, in lower case hexadecimal.
#[must_use]
pub fn proof(id: &str, secret: &str) -> String {
    use std::fmt::Write as _;
    let digest = Hash::Sha1.digest([id, secret].concat().as_bytes());
    digest.iter().fold(String::with_capacity(2 * digest.len()), |mut text, byte| {
        let _never_fails = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
