//! The initiator's side of a client stream: header, STARTTLS, SASL, binding (RFC 6120 sections 4 to 7).
//!
//! Small, for the demonstration, the load generator and tests, and built like the responder's side: bytes in,
//! events out, no socket and no clock. It takes the strongest mechanism both sides have, binds it to the
//! channel where it can (XEP-0440), and refuses to go on in the clear unless it is told otherwise.

use std::fmt;

use bytes::Bytes;

use super::line::Header;
use super::{StreamError, TlsFacts};
use crate::limits::Limits;
use crate::sasl::client::{Binding, ClientExchange, Distrust, Salted};
use crate::sasl::plain::{Message, Password};
use crate::sasl::{ChannelBinding, Hash, Mechanism, decode_message, encode_message};
use crate::stanza::{Stanza, Unparsable};
use crate::xml::{Context, Frame, Framer, StreamHeader, XmlError, escape_text, parse_element_in, write_attr};
use crate::{BareJid, Element, FullJid, ns};

/// What to log in with.
#[derive(Clone)]
pub struct Login {
    /// The account.
    pub account: BareJid,
    /// Its password.
    pub password: Password,
    /// The resource to ask for; `None` leaves it to the server.
    pub resource: Option<String>,
    /// The mechanisms to use, most preferred first.
    pub mechanisms: Vec<Mechanism>,
    /// Random, printable ASCII without commas.
    pub nonce: String,
    /// Whether to go on where there is no TLS.
    pub may_be_clear: bool,
    /// What [`Client::take_salted`] gave after an earlier login: saves stretching the password again.
    pub salted: Option<(Hash, Salted)>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("account", &self.account).finish_non_exhaustive()
    }
}

impl Login {
    /// A login with every mechanism, TLS required, the resource left to the server.
    #[must_use]
    pub fn new(account: BareJid, password: &str, nonce: &str) -> Self {
        Self {
            account,
            password: Password::new(password),
            resource: None,
            mechanisms: Mechanism::ALL.into_iter().filter(|mechanism| *mechanism != Mechanism::External).collect(),
            nonce: nonce.to_owned(),
            may_be_clear: false,
            salted: None,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Send what is pending, begin TLS, and call [`Client::handle_secured`].
    StartTls,
    /// The stream is ready for stanzas.
    Bound(FullJid),
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
    exchange: Option<(Hash, ClientExchange)>,
    jid: Option<FullJid>,
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
    Binding,
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
            exchange: None,
            jid: None,
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
        while !matches!(self.step, Step::Securing | Step::Over) {
            let taken = match self.framer.next() {
                Ok(Some(Frame::Open(header))) => self.take_header(&header),
                Ok(Some(Frame::Element(bytes))) if self.step == Step::Bound => self.take_stanza(bytes),
                Ok(Some(Frame::Element(bytes))) => match parse_element_in(&bytes, &self.context, &self.limits) {
                    Ok(element) => self.take_element(&element),
                    Err(error) => Err(Ending::Garbled(error)),
                },
                Ok(Some(Frame::Close)) => Err(Ending::Closed),
                Ok(None) => return None,
                Err(error) => Err(Ending::Garbled(error)),
            };
            match taken {
                Ok(None) => {}
                Ok(event) => return event,
                Err(ending) => {
                    self.close();
                    return Some(Event::Closed(ending));
                }
            }
        }
        None
    }

    /// Appends what is to be sent and returns how many bytes that is.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> usize {
        let length = self.out.len();
        out.append(&mut self.out);
        length
    }

    /// Sends a stanza.
    pub fn send(&mut self, stanza: &Stanza) {
        stanza.render_into(&mut self.out);
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

    fn take_header(&mut self, header: &StreamHeader) -> Result<Option<Event>, Ending> {
        self.context = header.context.clone();
        Ok(None)
    }

    fn take_stanza(&mut self, bytes: Bytes) -> Result<Option<Event>, Ending> {
        match Stanza::parse_in(bytes, &self.context, &self.limits) {
            Ok(stanza) => Ok(Some(Event::Stanza(stanza))),
            Err(Unparsable::Malformed { .. }) => Ok(None),
            Err(Unparsable::Xml(error)) => Err(Ending::Garbled(error)),
            Err(Unparsable::NotAStanza { bytes, .. }) => match parse_element_in(&bytes, &self.context, &self.limits) {
                Ok(element) if element.is("error", ns::STREAM) => Err(Ending::Refused(StreamError::parse(&element))),
                _ => Ok(None),
            },
        }
    }

    fn take_element(&mut self, element: &Element) -> Result<Option<Event>, Ending> {
        if element.is("error", ns::STREAM) {
            return Err(Ending::Refused(StreamError::parse(element)));
        }
        match (self.step, element.name()) {
            (Step::Features, "features") => self.take_features(element),
            (Step::Proceed, "proceed") => {
                // Whatever followed in the clear is not to be believed.
                self.framer.reset();
                self.step = Step::Securing;
                Ok(Some(Event::StartTls))
            }
            (Step::Proceed, _) => Err(Ending::NoCommonFeature("TLS")),
            (Step::Authenticating, _) => self.take_sasl(element),
            (Step::Binding, "iq") => self.take_bound(element),
            _ => Ok(None),
        }
    }

    fn take_features(&mut self, features: &Element) -> Result<Option<Event>, Ending> {
        if features.has_child("bind", ns::BIND) {
            return self.bind();
        }
        if self.tls.is_none() && features.has_child("starttls", ns::TLS) {
            self.out.extend_from_slice(format!("<starttls xmlns='{}'/>", ns::TLS).as_bytes());
            self.step = Step::Proceed;
            return Ok(None);
        }
        if self.tls.is_none() && !self.login.may_be_clear {
            return Err(Ending::NoCommonFeature("TLS"));
        }
        self.authenticate(features)
    }

    fn authenticate(&mut self, features: &Element) -> Result<Option<Event>, Ending> {
        let Some(mechanisms) = features.get_child("mechanisms", ns::SASL) else {
            return Err(Ending::NoCommonFeature("authentication"));
        };
        let offered: Vec<Mechanism> = mechanisms.children().filter_map(|child| child.text().parse().ok()).collect();
        let channel = self.channel(features);
        let can_use = |mechanism: &Mechanism| {
            offered.contains(mechanism)
                && (!mechanism.is_bound() || channel.is_some())
                && (*mechanism != Mechanism::Plain || self.tls.is_some())
        };
        let mechanism = self.login.mechanisms.iter().copied().find(can_use);
        let mechanism = mechanism.ok_or(Ending::NoCommonFeature("SASL mechanism"))?;
        let username = self.login.account.localpart().unwrap_or_default().to_owned();
        let message = match mechanism.hash() {
            Some(hash) => {
                let may_bind = self.login.mechanisms.iter().any(|mechanism| mechanism.is_bound());
                let binding = match channel.filter(|_| mechanism.is_bound()) {
                    Some((kind, data)) => Binding::Bound(kind, data),
                    // Only who could have bound and was offered nothing to bind to says so.
                    None if may_bind && self.tls.is_some() && !offered.iter().any(|offer| offer.is_bound()) => {
                        Binding::Unoffered
                    }
                    None => Binding::Unsupported,
                };
                let salted = self.login.salted.take().filter(|(of, _)| *of == hash).map(|(_, salted)| salted);
                let password = self.login.password.expose();
                let nonce = &self.login.nonce;
                let exchange = ClientExchange::new(hash, binding, None, &username, password, nonce, salted);
                let first = exchange.first().into_bytes();
                self.exchange = Some((hash, exchange));
                first
            }
            None => Message { authzid: None, authcid: username, password: self.login.password.clone() }.render(),
        };
        self.out.extend_from_slice(format!("<auth xmlns='{}'", ns::SASL).as_bytes());
        write_attr(&mut self.out, "mechanism", mechanism.name());
        self.out.extend_from_slice(format!(">{}</auth>", encode_message(&message)).as_bytes());
        self.step = Step::Authenticating;
        Ok(None)
    }

    /// The channel to bind to: the strongest type the server announces and we have data for. A server that
    /// announces none is taken to have the one that all must have (XEP-0440 section 3).
    fn channel(&self, features: &Element) -> Option<(ChannelBinding, Vec<u8>)> {
        let facts = self.tls.as_ref()?;
        let announced = features.get_child("sasl-channel-binding", ns::SASL_CB);
        let is_announced = |kind: ChannelBinding| match announced {
            Some(announced) => announced.children().any(|child| child.attr("type") == Some(kind.name())),
            None => kind == ChannelBinding::TlsServerEndPoint,
        };
        let mut kinds = ChannelBinding::ALL.into_iter().filter(|kind| is_announced(*kind));
        kinds.find_map(|kind| Some((kind, facts.binding(kind)?.to_vec())))
    }

    fn take_sasl(&mut self, element: &Element) -> Result<Option<Event>, Ending> {
        let message = decode_message(&element.text()).unwrap_or_default();
        match element.name() {
            "challenge" => {
                let Some((_, exchange)) = &mut self.exchange else {
                    return Err(Ending::Distrusted(Distrust::Malformed));
                };
                let answer = exchange.respond(&message).map_err(Ending::Distrusted)?;
                let answer = encode_message(answer.as_bytes());
                let text = ["<response xmlns='", ns::SASL, "'>", &answer, "</response>"].concat();
                self.out.extend_from_slice(text.as_bytes());
                Ok(None)
            }
            "success" => {
                if let Some((hash, exchange)) = self.exchange.take() {
                    let salted = exchange.finish(&message).map_err(Ending::Distrusted)?;
                    self.login.salted = Some((hash, salted));
                }
                self.framer.restart();
                self.step = Step::Features;
                self.send_header();
                Ok(None)
            }
            _ => {
                let condition = element.children().next().map_or("not-authorized", Element::name);
                Err(Ending::NotAuthenticated(condition.to_owned()))
            }
        }
    }

    fn bind(&mut self) -> Result<Option<Event>, Ending> {
        self.out.extend_from_slice(format!("<iq type='set' id='bind'><bind xmlns='{}'>", ns::BIND).as_bytes());
        if let Some(resource) = &self.login.resource {
            self.out.extend_from_slice(b"<resource>");
            escape_text(&mut self.out, resource);
            self.out.extend_from_slice(b"</resource>");
        }
        self.out.extend_from_slice(b"</bind></iq>");
        self.step = Step::Binding;
        Ok(None)
    }

    fn take_bound(&mut self, iq: &Element) -> Result<Option<Event>, Ending> {
        let jid = iq.get_child("bind", ns::BIND).and_then(|bind| bind.get_child("jid", ns::BIND));
        let jid = jid.and_then(|jid| FullJid::new(jid.text().trim()).ok()).ok_or(Ending::NotBound)?;
        self.jid = Some(jid.clone());
        self.step = Step::Bound;
        Ok(Some(Event::Bound(jid)))
    }
}
