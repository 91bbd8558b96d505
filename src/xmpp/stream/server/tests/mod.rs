//! Conversations between servers. Here is the house they happen in, `montague.example`; its peer is
//! `capulet.example`. The conversations are beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod acks;
mod dialback;
mod initiator;
mod joined;
mod management;
mod responder;
mod split;
mod stanzas;
mod starttls;

use super::*;
use crate::stanza::StanzaError;

pub(super) const OURS: &str = "montague.example";
pub(super) const CHAT: &str = "chat.montague.example";
pub(super) const PEER: &str = "capulet.example";

/// The header of `capulet.example` as the initiator.
pub(super) const HEADER: &str = "<?xml version='1.0'?><stream:stream from='capulet.example' to='montague.example' \
    version='1.0' xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
    xmlns:db='jabber:server:dialback'>";
/// The header of `capulet.example` as the responder.
pub(super) const ANSWER: &str = "<?xml version='1.0'?><stream:stream from='capulet.example' to='montague.example' \
    id='id1' version='1.0' xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
    xmlns:db='jabber:server:dialback'>";
pub(super) const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
pub(super) const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
pub(super) const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
pub(super) const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
pub(super) const BIDI: &str = "<bidi xmlns='urn:xmpp:bidi'/>";
pub(super) const MESSAGE: &str =
    "<message from='juliet@capulet.example/balcony' to='romeo@montague.example'><body>Ay me!</body></message>";
/// What a responder offers before authentication, under TLS.
pub(super) const OFFER: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
    <mechanism>EXTERNAL</mechanism></mechanisms><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>\
    <bidi xmlns='urn:xmpp:features:bidi'/><sm xmlns='urn:xmpp:sm:3'/></stream:features>";
/// And after SASL.
pub(super) const MORE: &str = "<stream:features><sm xmlns='urn:xmpp:sm:3'/></stream:features>";

pub(super) const BOTH: Permitted = Permitted { external: true, dialback: true };
pub(super) const DIALBACK: Permitted = Permitted { external: false, dialback: true };
pub(super) const EXTERNAL: Permitted = Permitted { external: true, dialback: false };

pub(super) fn settings() -> Settings {
    Settings::new([OURS, CHAT], Secret::new(b"d14lb4ck43v3r"))
}

pub(super) fn facts() -> TlsFacts {
    TlsFacts { exporter: None, server_end_point: None, version: "1.3", client_certificate: None }
}

/// `<db:result/>` of the peer for a pair, with some key.
pub(super) fn request(from: &str, to: &str) -> String {
    format!("<db:result from='{from}' to='{to}'>b4835385</db:result>")
}

/// One side of a stream, with somebody who answers what has an obvious answer.
pub(super) struct House {
    pub(super) stream: Stream,
    /// What was sent.
    pub(super) out: Vec<u8>,
    /// What happened, but for what the house answered itself.
    pub(super) events: Vec<Event>,
    /// What to answer to a header.
    pub(super) permitted: Permitted,
    /// Other domains that the peer's certificate is good for.
    pub(super) certified: Vec<&'static str>,
    /// What to answer to a request for a pair; `None` to leave it open.
    pub(super) verdict: Option<Verdict>,
}

impl House {
    pub(super) fn of(stream: Stream) -> Self {
        let verdict = Some(Verdict::Valid);
        Self { stream, out: Vec::new(), events: Vec::new(), permitted: BOTH, certified: Vec::new(), verdict }
    }

    /// The responder.
    pub(super) fn accept(settings: Settings, tls: Option<TlsFacts>) -> Self {
        let seed = Seed { stream_id: "one secret".into(), nonce: "another".into() };
        Self::of(Stream::accept(Arc::new(settings), seed, tls))
    }

    /// The initiator, from `montague.example` to `capulet.example` under TLS; its header forgotten.
    pub(super) fn open(settings: Settings, permitted: Permitted) -> Self {
        let stream = Stream::open(Arc::new(settings), OURS, PEER, Purpose::Stanzas, permitted, Some(facts()));
        let mut house = Self::of(stream);
        house.said();
        house
    }

    /// The responder under TLS, with all that was said; nothing remembered.
    pub(super) fn accepted(said: &[&str]) -> Self {
        let mut house = Self::accept(settings(), Some(facts()));
        house.hear(said.concat());
        house.said();
        house.events.clear();
        house
    }

    /// A responder to which `capulet.example` has proven itself by its certificate; nothing remembered.
    pub(super) fn trusting() -> Self {
        Self::accepted(&[HEADER, AUTH, HEADER])
    }

    /// An initiator that has proven itself by its certificate; nothing remembered.
    pub(super) fn trusted(settings: Settings) -> Self {
        let mut house = Self::open(settings, BOTH);
        house.hear([ANSWER, OFFER, SUCCESS, ANSWER, MORE].concat());
        assert!(matches!(house.events.last(), Some(Event::Ready(_))), "{:?}", house.events);
        house.said();
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
            Event::Opened { .. } => self.stream.handle_opened(self.permitted),
            Event::Authenticate { domain } => {
                let is_good = self.certified.contains(&&*domain);
                self.stream.handle_external(is_good);
            }
            Event::Dialback { ref pair, .. } if self.verdict.is_some() => {
                self.stream.handle_dialback(pair, self.verdict.clone().unwrap());
            }
            event => self.events.push(event),
        }
    }

    /// What was sent since the last time.
    pub(super) fn said(&mut self) -> String {
        self.stream.poll_transmit(&mut self.out);
        String::from_utf8(std::mem::take(&mut self.out)).unwrap()
    }

    /// What happened since the last time.
    pub(super) fn happened(&mut self) -> Vec<Event> {
        self.work();
        std::mem::take(&mut self.events)
    }

    /// The condition we ended the stream with, which must have been said last and followed by the closing tag.
    pub(super) fn ended(&mut self) -> Condition {
        let said = self.said();
        let Some(Event::Closed(Ending::Ours(error))) = self.events.last() else {
            panic!("not ended by an error of ours: {said} {:?}", self.events)
        };
        let element = format!("<{} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>", error.condition.name());
        assert!(said.contains(&format!("<stream:error>{element}")), "{said}");
        assert!(said.ends_with("</stream:error></stream:stream>"), "{said}");
        error.condition
    }

    /// How the stream ended, without an error of ours.
    pub(super) fn ending(&mut self) -> Ending {
        let said = self.said();
        assert!(said.ends_with("</stream:stream>") && !said.contains("<stream:error>"), "{said}");
        let Some(Event::Closed(ending)) = self.events.last() else { panic!("not ended: {:?}", self.events) };
        ending.clone()
    }
}

/// Asserts what a piece of what was said is, from a certain text on.
#[track_caller]
pub(super) fn assert_says(said: &str, from: &str, expected: &str) {
    let at = said.find(from).unwrap_or_else(|| panic!("no {from} in {said}"));
    assert_eq!(&said[at..], expected);
}
