//! One end of a wire to the house, for somebody who reads everything and believes nothing of its own.
//!
//! What the house says is told in short lines; what is no refusal is not told.

use std::sync::Arc;
use std::time::Duration;

use chirrup::runtime::Transport;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use xmpp::Element;

use super::certificates::{self, Made};
use crate::stage::frames::{Frame, Frames};

/// The wire, and what was read from it.
pub struct Wire {
    transport: Option<Transport>,
    /// How TLS is told what is spoken.
    alpn: &'static [u8],
    frames: Frames,
    /// The last stream identifier the house gave.
    pub id: String,
    /// What the house gave to resume the stream by.
    pub resumption: String,
    /// The tokens that the house gave (XEP-0484).
    pub tokens: Vec<String>,
    pub is_secure: bool,
    /// Whether the house has said that we are who we say.
    is_authenticated: bool,
    /// Whether there is nothing more to come.
    pub is_over: bool,
    /// Whether the house has closed the stream.
    is_closed: bool,
    /// What was told, in order.
    pub told: Vec<String>,
}

impl Wire {
    /// Of a server.
    pub fn new(transport: Transport) -> Self {
        Self {
            transport: Some(transport),
            alpn: b"xmpp-server",
            frames: Frames::default(),
            id: String::new(),
            resumption: String::new(),
            tokens: Vec::new(),
            is_secure: false,
            is_authenticated: false,
            is_over: false,
            is_closed: false,
            told: Vec::new(),
        }
    }

    /// Of a client.
    pub fn for_client(transport: Transport) -> Self {
        Self { alpn: b"xmpp-client", ..Self::new(transport) }
    }

    fn is_client(&self) -> bool {
        self.alpn == b"xmpp-client"
    }

    /// Says something; nobody may be there to hear it.
    pub async fn say(&mut self, text: &str) {
        if let Some(transport) = &mut self.transport {
            let saying = async {
                transport.write_all(text.as_bytes()).await?;
                transport.flush().await
            };
            // Who does not read any more must not keep us.
            let _unheard = tokio::time::timeout(Duration::from_secs(1), saying).await;
        }
    }

    pub async fn hang_up(&mut self) {
        if let Some(mut transport) = self.transport.take() {
            let _anyway = transport.shutdown().await;
        }
        self.is_over = true;
    }

    /// Vanishes without a word.
    pub fn cut(&mut self) {
        self.transport = None;
        self.is_over = true;
    }

    /// The next thing the house says within so long.
    pub async fn next(&mut self, within: Duration) -> Option<Frame> {
        loop {
            match self.frames.next() {
                Ok(Some(frame)) => {
                    self.note(&frame);
                    return Some(frame);
                }
                Ok(None) => {}
                Err(error) => panic!("{error}; so far {:?}", self.told),
            }
            let transport = self.transport.as_mut()?;
            let mut bytes = [0; 4096];
            match tokio::time::timeout(within, transport.read(&mut bytes)).await {
                Ok(Ok(count @ 1..)) => self.frames.push(&bytes[..count]),
                Ok(_) => {
                    if !self.is_over && !self.is_closed {
                        self.told.push("cut".to_owned());
                    }
                    self.is_over = true;
                    return None;
                }
                Err(_) => return None,
            }
        }
    }

    /// Hears until nothing is said for so long.
    pub async fn hear(&mut self, quiet: Duration) {
        while self.next(quiet).await.is_some() {}
    }

    /// Hears for so long.
    pub async fn hear_for(&mut self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        while self.next(until.saturating_duration_since(tokio::time::Instant::now())).await.is_some() {}
        tokio::time::sleep_until(until).await;
    }

    /// TLS as the one who connected; nothing more comes if it fails.
    pub async fn connect_tls(&mut self, shown: Option<&Made>, is_direct: bool) {
        let Some(transport) = self.transport.take() else { return };
        let config = certificates::client(shown, is_direct.then_some(self.alpn));
        let name = ServerName::try_from("capulet.lit").unwrap();
        match TlsConnector::from(config).connect(name, transport).await {
            Ok(secure) => self.secured(Box::new(secure)),
            Err(_) => self.fail(),
        }
    }

    /// TLS as the one who was connected to. Whether it came about.
    pub async fn accept_tls(&mut self, shown: &Made, is_direct: bool) -> bool {
        let Some(transport) = self.transport.take() else { return false };
        let config = certificates::server(shown, is_direct.then_some(self.alpn));
        match TlsAcceptor::from(Arc::clone(&config)).accept(transport).await {
            Ok(secure) => self.secured(Box::new(secure)),
            Err(_) => self.fail(),
        }
        !self.is_over
    }

    fn secured(&mut self, transport: Transport) {
        self.transport = Some(transport);
        self.frames = Frames::default();
        self.is_secure = true;
    }

    fn fail(&mut self) {
        self.told.push("TLS fails".to_owned());
        self.is_over = true;
    }

    fn note(&mut self, frame: &Frame) {
        match frame {
            Frame::Open(header) => header.attr("id").unwrap_or_default().clone_into(&mut self.id),
            Frame::Close => {
                self.is_closed = true;
                if !self.told.last().is_some_and(|told| told.starts_with("stream error")) {
                    self.told.push("closed".to_owned());
                }
            }
            Frame::Element(element) => self.note_element(element),
        }
    }

    fn note_element(&mut self, element: &Element) {
        let name = element.name();
        let ns = element.ns();
        let first = || element.children().next().map_or("nothing", |child| child.name());
        let told = match (name, ns.as_str()) {
            ("success", _) => {
                self.is_authenticated = true;
                return self.note_success(element);
            }
            ("features", _) => return self.note_features(element),
            ("enabled", _) => {
                element.attr("id").unwrap_or_default().clone_into(&mut self.resumption);
                return;
            }
            ("error", "http://etherx.jabber.org/streams") => {
                let more =
                    element.children().find(|child| !child.ns().starts_with("urn:ietf:params:xml:ns:xmpp-streams"));
                let more = more.map(|child| format!(" ({})", child.name())).unwrap_or_default();
                format!("stream error {}{more}", first())
            }
            ("failure", "urn:ietf:params:xml:ns:xmpp-sasl" | "urn:xmpp:sasl:2") => {
                let more = element.children().nth(1).map(|child| format!(" ({})", child.name()));
                format!("SASL failure {}{}", first(), more.unwrap_or_default())
            }
            ("failure", _) => "TLS failure".to_owned(),
            ("failed", _) => format!("failed {}", first()),
            ("resumed", _) => "resumed".to_owned(),
            ("result" | "verify", "jabber:server:dialback") => match element.attr("type") {
                None => return,
                Some("error") => {
                    let error = element.children().next().and_then(|error| error.children().next());
                    format!("{name} error {}", error.map_or("nothing", |condition| condition.name()))
                }
                Some(type_) => format!("{name} {type_}"),
            },
            ("message" | "presence" | "iq", _) => match element.attr("type") {
                Some("error") => {
                    let error = element.children().find(|child| child.name() == "error");
                    let condition = error.and_then(|error| error.children().next());
                    format!("{name} error {}", condition.map_or("", |condition| condition.name())).trim_end().to_owned()
                }
                // A client is told so much that only refusals matter.
                _ if self.is_client() => return,
                _ => name.to_owned(),
            },
            _ => return,
        };
        self.told.push(told);
    }

    /// What came with being let in (XEP-0388).
    fn note_success(&mut self, success: &Element) {
        let bound = success.children().find(|child| child.name() == "bound");
        for child in success.children().chain(bound.iter().flat_map(|bound| bound.children())) {
            match child.name() {
                "token" => self.tokens.extend(child.attr("token").map(str::to_owned)),
                "resumed" | "enabled" | "failed" => self.note_element(child),
                _ => {}
            }
        }
    }

    /// What is missing among features, or should be.
    fn note_features(&mut self, features: &Element) {
        let has = |name: &str| features.children().any(|child| child.name() == name);
        if !self.is_secure {
            // What a server takes (XEP-0478) may be said before.
            for child in features.children().filter(|child| !matches!(child.name(), "starttls" | "limits")) {
                self.told.push(format!("offered in the clear: {}", child.name()));
            }
        } else if !self.is_authenticated && !self.is_client() {
            if !has("mechanisms") {
                self.told.push("EXTERNAL is not offered".to_owned());
            }
            if !has("dialback") {
                self.told.push("dialback is not offered".to_owned());
            }
        }
    }
}
