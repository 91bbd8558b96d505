//! A character while it is connected: a small XMPP client (RFC 6120) that says what the play tells it.
//!
//! It logs in by itself with SCRAM or PLAIN, with or without TLS, and then neither answers nor interprets anything.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use xmpp::Element;
use xmpp::sasl::client::{Binding, ClientExchange};
use xmpp::sasl::token::show;
use xmpp::sasl::{Hash, decode_message, encode_message};

use super::frames::{Frame, Frames};
use super::peer;

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const SASL2: &str = "urn:xmpp:sasl:2";
const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";

/// Anything that carries bytes both ways.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// How the bytes are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Plain,
    /// By RFC 6120 section 5.
    StartTls,
    /// From the first byte (XEP-0368).
    DirectTls,
}

/// What a login by SASL2 says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sasl2<'a> {
    /// The id of the client.
    pub client: Option<&'a str>,
    /// A token, instead of the password.
    pub token: Option<&'a str>,
    /// What is in `<bind/>`, if that is asked for.
    pub bind: Option<&'a str>,
    /// What else is in `<authenticate/>`.
    pub beside: &'a str,
    /// What is said at once behind that.
    pub behind: &'a str,
}

/// Why a login did not work.
#[derive(Debug)]
pub enum LoginError {
    /// The server said no, in this element.
    Refused(Box<Element>),
    /// Something broke.
    Broken(String),
}

impl From<String> for LoginError {
    fn from(reason: String) -> Self {
        Self::Broken(reason)
    }
}

/// What came next.
#[derive(Debug)]
pub enum Heard {
    /// Something on the stream.
    Frame(Frame),
    /// The end of the transport.
    End,
    /// Nothing, for as long as we were willing to wait.
    Silence,
}

/// A connected character.
pub struct Actor {
    wire: Box<dyn Wire>,
    frames: Frames,
    domain: String,
    /// What was heard while logging in and is for the play.
    kept: Option<Frame>,
    /// The address the server bound.
    pub full_jid: String,
}

impl Actor {
    /// Takes a transport, and secures it if that is how it is done.
    pub async fn enter(wire: Box<dyn Wire>, domain: &str, security: Security) -> Result<Self, String> {
        let mut actor =
            Self { wire, frames: Frames::default(), domain: domain.to_owned(), kept: None, full_jid: String::new() };
        match security {
            Security::Plain => Ok(actor),
            Security::DirectTls => {
                actor.wire = peer::secure(actor.wire, domain).await?;
                Ok(actor)
            }
            Security::StartTls => {
                actor.open().await?;
                actor.write(format!("<starttls xmlns='{TLS}'/>").as_bytes()).await?;
                let answer = actor.element().await?;
                if !answer.is("proceed", TLS) {
                    return Err(format!("no TLS: {}", String::from(&answer)));
                }
                actor.wire = peer::secure(actor.wire, domain).await?;
                actor.frames = Frames::default();
                Ok(actor)
            }
        }
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.wire.write_all(bytes).await.map_err(|error| format!("cannot write: {error}"))?;
        self.wire.flush().await.map_err(|error| format!("cannot write: {error}"))
    }

    /// Waits for what comes next.
    pub async fn hear(&mut self, patience: Duration) -> Result<Heard, String> {
        let mut buffer = [0; 4096];
        if let Some(frame) = self.kept.take() {
            return Ok(Heard::Frame(frame));
        }
        loop {
            if let Some(frame) = self.frames.next()? {
                return Ok(Heard::Frame(frame));
            }
            match tokio::time::timeout(patience, self.wire.read(&mut buffer)).await {
                Err(_) => return Ok(Heard::Silence),
                Ok(Err(_) | Ok(0)) if self.frames.is_empty() => return Ok(Heard::End),
                Ok(Err(_) | Ok(0)) => return Err("the transport ended within a stanza".to_owned()),
                Ok(Ok(length)) => self.frames.push(buffer.get(..length).unwrap_or_default()),
            }
        }
    }

    async fn element(&mut self) -> Result<Element, String> {
        match self.hear(Duration::from_secs(20)).await? {
            Heard::Frame(Frame::Element(element)) => Ok(element),
            other => Err(format!("expected an element, got {other:?}")),
        }
    }

    fn header(&self) -> String {
        format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams' to='{}' version='1.0'>",
            self.domain
        )
    }

    /// Opens a stream and gives its features.
    async fn open(&mut self) -> Result<Element, String> {
        let header = self.header();
        self.write(header.as_bytes()).await?;
        self.features().await
    }

    /// The header of the server, and its features.
    pub async fn features(&mut self) -> Result<Element, String> {
        match self.hear(Duration::from_secs(20)).await? {
            Heard::Frame(Frame::Open(_)) => self.element().await,
            other => Err(format!("expected a stream header, got {other:?}")),
        }
    }

    /// Opens the stream of a component, and proves that it knows the secret (XEP-0114).
    pub async fn join(&mut self, name: &str, secret: &str) -> Result<(), LoginError> {
        let header = format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
             xmlns:stream='http://etherx.jabber.org/streams' to='{name}'>"
        );
        self.write(header.as_bytes()).await?;
        let id = match self.hear(Duration::from_secs(20)).await? {
            Heard::Frame(Frame::Open(header)) => header.attr("id").map(str::to_owned),
            other => return Err(LoginError::Broken(format!("expected a stream header, got {other:?}"))),
        };
        let Some(id) = id else { return Err(LoginError::Refused(Box::new(self.element().await?))) };
        self.write(format!("<handshake>{}</handshake>", xmpp::stream::component::proof(&id, secret)).as_bytes())
            .await?;
        let answer = self.element().await?;
        if answer.name() == "handshake" { Ok(()) } else { Err(LoginError::Refused(Box::new(answer))) }
    }

    /// Creates an account in-band (XEP-0077), on a stream of its own.
    pub async fn register(&mut self, username: &str, password: &str) -> Result<(), String> {
        self.open().await?;
        let request = format!(
            "<iq type='set' id='account'><query xmlns='jabber:iq:register'><username>{username}</username>\
             <password>{password}</password></query></iq>"
        );
        self.write(request.as_bytes()).await?;
        let answer = self.element().await?;
        if answer.attr("type") == Some("result") {
            Ok(())
        } else {
            Err(format!("no account: {}", String::from(&answer)))
        }
    }

    /// Authenticates, and opens the stream that follows.
    pub async fn authenticate(
        &mut self,
        username: &str,
        password: &str,
        authzid: Option<&str>,
    ) -> Result<(), LoginError> {
        let features = self.open().await?;
        let offered: Vec<String> = features
            .get_child("mechanisms", SASL)
            .map(|list| list.children().map(Element::text).collect())
            .unwrap_or_default();
        let offers = |name: &str| offered.iter().any(|offer| offer == name);
        if offers("SCRAM-SHA-256") {
            self.scram(Hash::Sha256, "SCRAM-SHA-256", authzid, username, password).await?;
        } else if offers("SCRAM-SHA-1") {
            self.scram(Hash::Sha1, "SCRAM-SHA-1", authzid, username, password).await?;
        } else {
            let message = encode_message(format!("{}\0{username}\0{password}", authzid.unwrap_or_default()).as_bytes());
            self.write(format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{message}</auth>").as_bytes()).await?;
            self.sasl("success").await?;
        }
        self.open().await?;
        Ok(())
    }

    /// Binds a resource.
    pub async fn bind(&mut self, resource: Option<&str>) -> Result<(), LoginError> {
        let wish = resource.map(|wish| format!("<resource>{wish}</resource>")).unwrap_or_default();
        self.write(format!("<iq type='set' id='bind'><bind xmlns='{BIND}'>{wish}</bind></iq>").as_bytes()).await?;
        let answer = self.element().await?;
        let jid = answer.get_child("bind", BIND).and_then(|bind| bind.get_child("jid", BIND)).map(Element::text);
        match jid {
            Some(jid) if answer.attr("type") == Some("result") => self.full_jid = jid,
            _ => return Err(LoginError::Refused(Box::new(answer))),
        }
        Ok(())
    }

    /// Authenticates by SASL2 (XEP-0388), with all that goes with it. What the server says in the end is the first that is
    /// heard afterwards. With a token nothing is waited for: all is said at once.
    pub async fn log_in_with(&mut self, username: &str, password: &str, wishes: &Sasl2<'_>) -> Result<(), LoginError> {
        let mut exchange = ClientExchange::new(
            Hash::Sha256,
            Binding::Unsupported,
            None,
            username,
            password,
            "rOprNGfwEbeRWgbNEkqO",
            None,
        );
        let (mechanism, first) = match wishes.token {
            Some(token) => ("HT-SHA-256-NONE", encode_message(&show(username, token, b""))),
            None => ("SCRAM-SHA-256", encode_message(exchange.first().as_bytes())),
        };
        let agent = wishes.client.map(|id| format!("<user-agent id='{id}'><software>Prompter</software></user-agent>"));
        let bind = wishes.bind.map(|inside| format!("<bind xmlns='urn:xmpp:bind:0'>{inside}</bind>"));
        let authenticate = format!(
            "<authenticate xmlns='{SASL2}' mechanism='{mechanism}'><initial-response>{first}</initial-response>\
             {}{}{}</authenticate>{}",
            agent.unwrap_or_default(),
            bind.unwrap_or_default(),
            wishes.beside,
            wishes.behind
        );
        if wishes.token.is_some() {
            let all = self.header() + &authenticate;
            self.write(all.as_bytes()).await?;
            self.features().await?;
        } else {
            self.open().await?;
            self.write(authenticate.as_bytes()).await?;
        }
        let mut answer = self.element().await?;
        if answer.is("challenge", SASL2) {
            let challenge = decode_message(&answer.text()).map_err(|failure| failure.to_string())?;
            let response = exchange.respond(&challenge).map_err(|error| error.to_string())?;
            let response = encode_message(response.as_bytes());
            self.write(format!("<response xmlns='{SASL2}'>{response}</response>").as_bytes()).await?;
            answer = self.element().await?;
        }
        if !answer.is("success", SASL2) {
            return Err(LoginError::Refused(Box::new(answer)));
        }
        self.full_jid = answer.get_child("authorization-identifier", SASL2).map(Element::text).unwrap_or_default();
        let features = self.element().await?;
        if !features.is("features", "http://etherx.jabber.org/streams") {
            return Err(LoginError::Broken(format!("expected features, got {}", String::from(&features))));
        }
        self.kept = Some(Frame::Element(answer));
        Ok(())
    }

    async fn sasl(&mut self, expected: &str) -> Result<Vec<u8>, LoginError> {
        let answer = self.element().await?;
        if !answer.is(expected, SASL) {
            return Err(LoginError::Refused(Box::new(answer)));
        }
        decode_message(&answer.text()).map_err(|_| LoginError::Broken("SASL message is not base64".to_owned()))
    }

    async fn scram(
        &mut self,
        hash: Hash,
        name: &str,
        authzid: Option<&str>,
        username: &str,
        password: &str,
    ) -> Result<(), LoginError> {
        let mut exchange =
            ClientExchange::new(hash, Binding::Unsupported, authzid, username, password, "rOprNGfwEbeRWgbNEkqO", None);
        let first = encode_message(exchange.first().as_bytes());
        self.write(format!("<auth xmlns='{SASL}' mechanism='{name}'>{first}</auth>").as_bytes()).await?;
        let challenge = self.sasl("challenge").await?;
        let response = exchange.respond(&challenge).map_err(|error| error.to_string())?;
        self.write(format!("<response xmlns='{SASL}'>{}</response>", encode_message(response.as_bytes())).as_bytes())
            .await?;
        let proof = self.sasl("success").await?;
        exchange.finish(&proof).map_err(|error| error.to_string())?;
        Ok(())
    }
}
