//! The initiator's side of a client stream: header, STARTTLS, SASL, binding (RFC 6120 sections 4 to 7), or all of
//! that at once by SASL2 (XEP-0388); stream management (XEP-0198).
//!
//! Small, for the demonstration and tests, and built like the responder's side: bytes in, events out, no socket and no
//! clock. It takes the strongest mechanism both sides have, binds it to the channel where it can (XEP-0440), and
//! refuses to go on in the clear unless it is told otherwise.

mod authentication;
mod login;
mod management;
mod sasl2;

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use self::authentication::{Offer, Proof};
pub use self::login::{Earlier, KeptToken, Login};
use self::management::Management;
pub use self::management::UNACKED_MAX;
use super::line::Header;
use super::{StreamError, TlsFacts};
use crate::limits::Limits;
use crate::sasl::Hash;
use crate::sasl::client::{Distrust, Salted};
use crate::sasl::token::TokenMechanism;
use crate::stanza::{Stanza, Unparsable};
use crate::xml::{Context, Frame, Framer, StreamHeader, XmlError, escape_text, parse_element_in};
use crate::{Element, FullJid, ns};

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Send what is pending, begin TLS, and call [`Client::handle_secured`].
    StartTls,
    /// The stream is ready for stanzas.
    Bound(FullJid),
    /// An earlier stream goes on, ready for stanzas. What the server had not handled has been sent again.
    Resumed(FullJid),
    /// The earlier stream does not go on; a resource is bound next. What was sent on it and may not have been handled.
    NotResumed(Vec<Stanza>),
    /// The server gave a token: to be kept, in place of an earlier one.
    Token(KeptToken),
    /// The token shown is of no use any more, and is to be forgotten. The password is tried next.
    TokenRefused,
    /// The server has handled so many more of the stanzas sent.
    Acked(u32),
    /// A stanza.
    Stanza(Stanza),
    /// The stream has ended.
    Closed(Ending),
}

/// Why a stream ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// One side has closed it.
    Closed,
    /// The server sent an error.
    Refused(StreamError),
    /// The server refused the login: the name of the condition.
    NotAuthenticated(String),
    /// The server could not prove that it knows the password's keys, or said what it must not.
    Distrusted(Distrust),
    /// The server offers nothing we could go on with.
    NoCommonFeature(&'static str),
    /// The server refused to bind a resource.
    NotBound,
    /// The server claims to have handled what it was not sent (XEP-0198 section 6).
    Miscounted,
    /// What the server sent is not XMPP.
    Garbled(XmlError),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the stream was closed"),
            Self::Refused(error) => write!(f, "the server ended the stream: {error}"),
            Self::NotAuthenticated(condition) => write!(f, "the server refused the login: {condition}"),
            Self::Distrusted(distrust) => distrust.fmt(f),
            Self::NoCommonFeature(what) => write!(f, "the server offers no {what} that can be used"),
            Self::NotBound => f.write_str("the server refused to bind a resource"),
            Self::Miscounted => f.write_str("the server claims to have handled what it was not sent"),
            Self::Garbled(error) => write!(f, "the server's answer makes no sense: {error}"),
        }
    }
}

/// The initiator's side of one client stream.
#[derive(Debug)]
pub struct Client {
    login: Login,
    framer: Framer,
    context: Context,
    out: Vec<u8>,
    tls: Option<TlsFacts>,
    step: Step,
    /// What happened and was not asked for yet.
    events: VecDeque<Event>,
    offer: Offer,
    proof: Option<Proof>,
    /// Whether the server has proven itself, as far as it could.
    is_proven: bool,
    is_authenticated: bool,
    /// Whether stream management is offered on the stream.
    can_count: bool,
    /// The keys that were offered, and those to be left next.
    upgrades: Vec<Hash>,
    task: Option<Hash>,
    /// The mechanism that a token is due for.
    asked: Option<TokenMechanism>,
    jid: Option<FullJid>,
    management: Option<Management>,
    limits: Limits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The server's header or features come next.
    Features,
    /// `<proceed/>` comes next.
    Proceed,
    Securing,
    Authenticating,
    Resuming,
    Binding,
    /// What came of `<enable/>` comes next.
    Enabling,
    Bound,
    Over,
}

impl Client {
    /// Opens a stream. `tls` when the connection was encrypted from the start.
    #[must_use]
    pub fn open(login: Login, tls: Option<TlsFacts>) -> Self {
        let limits = Limits::server();
        let mut client = Self {
            framer: Framer::new(&limits),
            login,
            context: Context::client(),
            out: Vec::new(),
            tls,
            step: Step::Features,
            events: VecDeque::new(),
            offer: Offer::default(),
            proof: None,
            is_proven: false,
            is_authenticated: false,
            can_count: false,
            upgrades: Vec::new(),
            task: None,
            asked: None,
            jid: None,
            management: None,
            limits,
        };
        client.send_header();
        client
    }

    fn send_header(&mut self) {
        let account = &self.login.account;
        // Section 4.7.1: who we are is nobody's business before.
        let from = self.tls.as_ref().map(|_| account.as_str());
        let header = Header { from, id: None, to: Some(account.domain()), content_ns: ns::CLIENT };
        header.render_into(&mut self.out);
    }

    /// Takes bytes that were read. Ask for events until there are none before giving more.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        if !matches!(self.step, Step::Securing | Step::Over) {
            self.framer.push(bytes);
        }
    }

    /// TLS has been negotiated after [`Event::StartTls`].
    pub fn handle_secured(&mut self, tls: TlsFacts) {
        if self.step == Step::Securing {
            self.framer.reset();
            self.tls = Some(tls);
            self.step = Step::Features;
            self.send_header();
        }
    }

    /// What happened next. Stretches the password when the server's challenge comes, which is slow.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if matches!(self.step, Step::Securing | Step::Over) {
                return None;
            }
            let taken = match self.framer.next() {
                Ok(Some(Frame::Open(header))) => self.take_header(&header),
                Ok(Some(Frame::Element(bytes))) => self.take(bytes),
                Ok(Some(Frame::Close)) => Err(Ending::Closed),
                Ok(None) => return None,
                Err(error) => Err(Ending::Garbled(error)),
            };
            if let Err(ending) = taken {
                self.close();
                self.events.push_back(Event::Closed(ending));
            }
        }
    }

    /// Appends what is to be sent and returns how many bytes that is.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> usize {
        let length = self.out.len();
        out.append(&mut self.out);
        length
    }

    /// Sends a stanza. With stream management it is kept until the server has handled it.
    pub fn send(&mut self, stanza: &Stanza) {
        stanza.render_into(&mut self.out);
        self.keep(stanza);
    }

    /// Ends the stream from our side.
    pub fn close(&mut self) {
        if !matches!(self.step, Step::Securing | Step::Over) {
            self.out.extend_from_slice(b"</stream:stream>");
        }
        self.step = Step::Over;
    }

    /// The address bound.
    #[must_use]
    pub const fn jid(&self) -> Option<&FullJid> {
        self.jid.as_ref()
    }

    /// After SCRAM: what makes the next login fast.
    pub fn take_salted(&mut self) -> Option<(Hash, Salted)> {
        self.login.salted.take()
    }

    fn take_header(&mut self, header: &StreamHeader) -> Result<(), Ending> {
        self.context = header.context.clone();
        Ok(())
    }

    fn take(&mut self, bytes: Bytes) -> Result<(), Ending> {
        if matches!(self.step, Step::Bound | Step::Enabling) {
            return self.take_stanza(bytes);
        }
        let element = parse_element_in(&bytes, &self.context, &self.limits).map_err(Ending::Garbled)?;
        self.take_element(&element)
    }

    fn take_stanza(&mut self, bytes: Bytes) -> Result<(), Ending> {
        match Stanza::parse_in(bytes, &self.context, &self.limits) {
            Ok(stanza) => {
                self.count();
                self.events.push_back(Event::Stanza(stanza));
            }
            Err(Unparsable::Malformed { .. }) => self.count(),
            Err(Unparsable::Xml(error)) => return Err(Ending::Garbled(error)),
            Err(Unparsable::NotAStanza { bytes, .. }) => {
                let Ok(element) = parse_element_in(&bytes, &self.context, &self.limits) else { return Ok(()) };
                if element.is("error", ns::STREAM) {
                    return Err(Ending::Refused(StreamError::parse(&element)));
                }
                match element.name() {
                    "enabled" | "failed" if self.step == Step::Enabling && element.has_ns(ns::ACKS) => {
                        if element.name() == "enabled" {
                            self.take_enabled(&element);
                        }
                        let jid = self.jid.clone().ok_or(Ending::NotBound)?;
                        self.arrive(jid);
                    }
                    _ if element.has_ns(ns::ACKS) => self.take_management(&element)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn take_element(&mut self, element: &Element) -> Result<(), Ending> {
        if element.is("error", ns::STREAM) {
            return Err(Ending::Refused(StreamError::parse(element)));
        }
        match (self.step, element.name()) {
            (Step::Features, "features") => self.take_features(element),
            (Step::Proceed, "proceed") => {
                // Whatever followed in the clear is not to be believed.
                self.framer.reset();
                self.step = Step::Securing;
                self.events.push_back(Event::StartTls);
                Ok(())
            }
            (Step::Proceed, _) => Err(Ending::NoCommonFeature("TLS")),
            (Step::Authenticating, _) if self.offer.sasl2.is_some() => self.take_sasl2(element),
            (Step::Authenticating, _) => self.take_sasl(element),
            (Step::Resuming, "resumed") => self.take_resumed(element).map(drop),
            (Step::Resuming, "failed") => {
                self.give_up_earlier(Some(element));
                self.bind();
                Ok(())
            }
            (Step::Binding, "iq") => self.take_bound(element),
            _ => Ok(()),
        }
    }

    fn take_features(&mut self, features: &Element) -> Result<(), Ending> {
        if self.is_authenticated {
            return self.go_on(features);
        }
        if self.tls.is_none() && features.has_child("starttls", ns::TLS) {
            self.out.extend_from_slice(format!("<starttls xmlns='{}'/>", ns::TLS).as_bytes());
            self.step = Step::Proceed;
            return Ok(());
        }
        if self.tls.is_none() && !self.login.may_be_clear {
            return Err(Ending::NoCommonFeature("TLS"));
        }
        self.authenticate(features)
    }

    /// The server knows who we are.
    fn go_on(&mut self, features: &Element) -> Result<(), Ending> {
        self.can_count = features.has_child("sm", ns::ACKS);
        if let (Some(earlier), true) = (&self.login.earlier, self.can_count) {
            management::render_resume(&mut self.out, earlier);
            self.step = Step::Resuming;
            return Ok(());
        }
        if !features.has_child("bind", ns::BIND) {
            return Err(Ending::NoCommonFeature("resource binding"));
        }
        self.bind();
        Ok(())
    }

    fn bind(&mut self) {
        self.out.extend_from_slice(format!("<iq type='set' id='bind'><bind xmlns='{}'>", ns::BIND).as_bytes());
        if let Some(resource) = &self.login.resource {
            self.out.extend_from_slice(b"<resource>");
            escape_text(&mut self.out, resource);
            self.out.extend_from_slice(b"</resource>");
        }
        self.out.extend_from_slice(b"</bind></iq>");
        self.step = Step::Binding;
    }

    fn take_bound(&mut self, iq: &Element) -> Result<(), Ending> {
        let jid = iq.get_child("bind", ns::BIND).and_then(|bind| bind.get_child("jid", ns::BIND));
        let jid = jid.and_then(|jid| FullJid::new(jid.text().trim()).ok()).ok_or(Ending::NotBound)?;
        if self.login.wants_acks && self.can_count {
            management::render_enable(&mut self.out);
            self.jid = Some(jid);
            self.step = Step::Enabling;
        } else {
            self.arrive(jid);
        }
        Ok(())
    }

    /// The stream is ready.
    fn arrive(&mut self, jid: FullJid) {
        if self.login.earlier.is_some() {
            // It could not even be asked for.
            self.give_up_earlier(None);
        }
        self.jid = Some(jid.clone());
        self.step = Step::Bound;
        self.events.push_back(Event::Bound(jid));
    }
}
