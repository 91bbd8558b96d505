//! Conversations with the stream machine. Here is the house they happen in; the conversations are beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod authentication;
mod binding;
mod errors;
mod initiator;
mod joined;
mod management;
mod sasl2;
mod split;
mod starttls;

use std::sync::Arc;

use super::*;
use crate::sasl::plain::Password;
use crate::sasl::scram::SALT_BYTES;
use crate::sasl::{Hash, Mechanism};

pub(super) const PASSWORD: &str = "r0m30myr0m30";
/// Few, so that the tests are quick.
const ITERATIONS: u32 = 16;

/// The header of a client that says who it is.
pub(super) const HEADER: &str = "<?xml version='1.0'?><stream:stream from='juliet@im.example.com' \
    to='im.example.com' version='1.0' xml:lang='en' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";
/// `\0juliet\0r0m30myr0m30`
pub(super) const PLAIN: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' \
    mechanism='PLAIN'>AGp1bGlldAByMG0zMG15cjBtMzA=</auth>";
pub(super) const BIND: &str = "<iq id='b1' type='set'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
    <resource>balcony</resource></bind></iq>";
/// All that comes before the stanzas of a client under TLS.
pub(super) fn prelude() -> String {
    [HEADER, PLAIN, HEADER, BIND].concat()
}

pub(super) fn settings() -> Settings {
    Settings::new(["im.example.com", "chat.example"])
}

pub(super) fn facts() -> TlsFacts {
    TlsFacts {
        exporter: Some(vec![7; 32]),
        server_end_point: Some(vec![9; 32]),
        version: "1.3",
        client_certificate: None,
    }
}

/// A stream, and a server that answers its events.
pub(super) struct House {
    pub(super) stream: Stream,
    /// What was sent.
    pub(super) out: Vec<u8>,
    /// What happened, but for what the house answered itself.
    pub(super) events: Vec<Event>,
    /// What to answer when a resource is asked for.
    pub(super) refusal: Option<StanzaError>,
}

impl House {
    pub(super) fn new(settings: Settings, tls: Option<TlsFacts>) -> Self {
        let seed = Seed { stream_id: "one secret".into(), nonce: "another".into() };
        let stream = Stream::accept(Arc::new(settings), seed, tls);
        Self { stream, out: Vec::new(), events: Vec::new(), refusal: None }
    }

    /// A client under TLS that has bound `juliet@im.example.com/balcony`; nothing remembered.
    pub(super) fn bound() -> Self {
        let mut house = Self::new(settings(), Some(facts()));
        house.hear(prelude().as_bytes());
        assert_eq!(house.stream.jid().unwrap().as_str(), "juliet@im.example.com/balcony");
        house.out.clear();
        house.events.clear();
        house
    }

    pub(super) fn hear(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.handle_bytes(bytes.as_ref());
        self.work();
    }

    pub(super) fn work(&mut self) {
        while let Some(event) = self.stream.poll_event() {
            self.answer(event);
        }
        self.stream.poll_transmit(&mut self.out);
    }

    fn answer(&mut self, event: Event) {
        match event {
            Event::NeedCredentials { localpart, domain, mechanism } => {
                let hash = mechanism.hash().unwrap();
                let is_juliet = (&*localpart, &*domain) == ("juliet", "im.example.com");
                let fake = Keys::fake(hash, b"secret", &localpart, ITERATIONS);
                self.stream.handle_credentials(Ok(if is_juliet { keys(hash) } else { fake }));
            }
            Event::CheckPassword { localpart, password, .. } => {
                let is_right = &*localpart == "juliet" && keys(Hash::Sha256).verify(Hash::Sha256, password.expose());
                self.stream.handle_password(Ok(is_right));
            }
            Event::Bind { resource } => {
                let account = BareJid::new("juliet@im.example.com").unwrap();
                let outcome = match self.refusal.take() {
                    Some(refusal) => Err(refusal),
                    None => Ok(account.with_resource(resource.as_deref().unwrap_or("chosen")).unwrap()),
                };
                self.stream.handle_bound(outcome);
            }
            Event::AckWanted => self.stream.send_ack(),
            Event::CheckToken { account, client, shown, .. } => {
                let is_hers = account.as_str() == "juliet@im.example.com" && &*client == sasl2::CLIENT;
                let answer = shown.verify(sasl2::TOKEN).filter(|_| is_hers);
                self.stream.handle_token(answer.ok_or(Failure::NotAuthorized));
            }
            Event::WantsUpgrade { .. } => self.stream.handle_upgrade(Ok(true)),
            Event::Upgrade { account, hash, keys } => {
                self.stream.handle_upgrade(Ok(true));
                self.events.push(Event::Upgrade { account, hash, keys });
            }
            Event::Enter(wishes) => {
                let entered = sasl2::enter(&wishes);
                self.stream.handle_entered(entered);
                self.events.push(Event::Enter(wishes));
            }
            Event::Answered(stanza) => self.stream.send(&stanza),
            Event::Malformed { reply, error } => {
                if let Some(reply) = &reply {
                    self.stream.send(reply);
                }
                self.events.push(Event::Malformed { reply, error });
            }
            event => self.events.push(event),
        }
    }

    /// What was sent since the last time.
    pub(super) fn said(&mut self) -> String {
        self.stream.poll_transmit(&mut self.out);
        String::from_utf8(std::mem::take(&mut self.out)).unwrap()
    }

    /// The condition the stream ended with, which must have been said last and followed by the closing tag.
    pub(super) fn ended(&mut self) -> Condition {
        let said = self.said();
        let Some(Event::Closed(Some(error))) = self.events.last() else { panic!("not ended by an error: {said}") };
        let element = format!("<{} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>", error.condition.name());
        assert!(said.contains(&format!("<stream:error>{element}")), "{said}");
        assert!(said.ends_with("</stream:error></stream:stream>"), "{said}");
        error.condition
    }
}

pub(super) fn keys(hash: Hash) -> Keys {
    Keys::derive(hash, PASSWORD, &[3; SALT_BYTES], ITERATIONS).unwrap()
}
