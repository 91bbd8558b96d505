//! The initiator with all that SASL2 brings, and with streams that are lost and resumed, against the responder.

use super::super::client::{Client, Earlier, Ending, Event as ClientEvent, KeptToken, Login};
use super::super::entry::UserAgent;
use super::*;
use crate::limits::Limits;
use crate::sasl::client::Distrust;
use crate::sasl::token::TokenMechanism;

/// Where bytes are cut: up and down, counted from the beginning.
#[derive(Clone, Copy)]
struct Cut {
    up: usize,
    down: usize,
    /// Whether nothing passes behind it.
    is_end: bool,
}

const WHOLE: Cut = Cut { up: usize::MAX, down: usize::MAX, is_end: false };

/// A server that counts, and the wire to it.
struct Far {
    house: House,
    /// Bytes that came up and went down.
    passed: (usize, usize),
    /// What was sent and not acknowledged.
    unacked: Vec<Stanza>,
    /// The bodies heard.
    heard: Vec<String>,
    /// What an earlier stream left.
    earlier: Option<(Acks, Vec<Stanza>)>,
}

fn body(text: &str) -> Stanza {
    let bytes = Bytes::from(format!("<message><body>{text}</body></message>"));
    Stanza::parse(bytes, &Limits::client()).unwrap()
}

fn text(stanza: &Stanza) -> String {
    let mut bytes = Vec::new();
    stanza.render_into(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    text.split_once("<body>").unwrap().1.split_once('<').unwrap().0.to_owned()
}

/// The part of `bytes`, which begin at `from`, before and behind the cut.
fn at(bytes: &[u8], from: usize, cut: usize, is_end: bool) -> Vec<&[u8]> {
    let (left, right) = bytes.split_at(cut.saturating_sub(from).min(bytes.len()));
    if is_end { vec![left] } else { vec![left, right] }
}

impl Far {
    fn new(settings: Settings) -> Self {
        let house = House::new(settings, Some(facts()));
        Self { house, passed: (0, 0), unacked: Vec::new(), heard: Vec::new(), earlier: None }
    }

    fn send(&mut self, stanza: &Stanza) {
        self.house.stream.send(stanza);
        self.house.stream.sent(1);
        self.unacked.push(stanza.clone());
    }

    /// Does what a house does of stream management.
    fn answer(&mut self) {
        for event in std::mem::take(&mut self.house.events) {
            match event {
                Event::Enable { .. } => {
                    let id = Some("old".into());
                    self.house.stream.handle_enabled(Ok(Enabled { id, ..Enabled::default() }));
                }
                Event::Resume { previd, h } => {
                    assert_eq!(&*previd, "old");
                    let outcome = self.earlier.take().ok_or_else(|| ResumeFailed::not_found(None));
                    let resumed = outcome.map(|(mut acks, mut unacked)| {
                        let newly = acks.acked(h).unwrap();
                        self.unacked = unacked.split_off(newly as usize);
                        acks.resume();
                        Resumed { jid: jid("balcony"), acks }
                    });
                    let again = resumed.is_ok();
                    self.house.stream.handle_resumed(resumed);
                    for stanza in std::mem::take(&mut self.unacked) {
                        assert!(again);
                        self.send(&stanza);
                    }
                }
                Event::Stanza(stanza) => {
                    self.heard.push(text(&stanza));
                    self.house.stream.handled();
                }
                Event::Acked(count) => drop(self.unacked.drain(..count as usize)),
                _ => {}
            }
            self.house.hear("");
        }
    }

    /// Lets both talk until neither has anything to say, or what they say does not pass any more.
    fn converse(&mut self, client: &mut Client, cut: Cut) -> Vec<ClientEvent> {
        let mut events = Vec::new();
        loop {
            let mut up = Vec::new();
            client.poll_transmit(&mut up);
            for piece in at(&up, self.passed.0, cut.up, cut.is_end) {
                self.house.hear(piece);
                self.answer();
            }
            self.passed.0 += up.len();
            let down = self.house.said();
            for piece in at(down.as_bytes(), self.passed.1, cut.down, cut.is_end) {
                client.handle_bytes(piece);
                events.extend(std::iter::from_fn(|| client.poll_event()));
            }
            self.passed.1 += down.len();
            if up.is_empty() && down.is_empty() {
                return events;
            }
        }
    }

    /// What the next stream finds.
    fn lost(self, settings: Settings) -> Self {
        let earlier = self.house.stream.acks().cloned().map(|acks| (acks, self.unacked));
        Self { heard: self.heard, earlier, ..Self::new(settings) }
    }
}

fn jid(resource: &str) -> FullJid {
    FullJid::new(&format!("juliet@im.example.com/{resource}")).unwrap()
}

fn bound(resource: &str) -> ClientEvent {
    ClientEvent::Bound(jid(resource))
}

fn login() -> Login {
    Login {
        resource: Some("balcony".into()),
        agent: UserAgent { id: Some(sasl2::CLIENT.into()), software: Some("Play & Co".into()), device: None },
        wants_token: true,
        wants_acks: true,
        ..Login::new(BareJid::new("juliet@im.example.com").unwrap(), PASSWORD, "clientnonce")
    }
}

fn token() -> KeptToken {
    KeptToken {
        mechanism: TokenMechanism::Exporter,
        secret: sasl2::TOKEN.into(),
        expiry: "2026-12-01T00:00:00Z".into(),
    }
}

fn open(login: Login) -> Client {
    Client::open(login, Some(facts()))
}

#[test]
fn all_in_one_request_however_the_bytes_are_cut() {
    for login in [login(), Login { token: Some(token()), ..login() }] {
        let meet = |cut: Cut| {
            // Stretching a password for keys thousands of times would take long.
            let sasl2 = sasl2::with_sasl2().sasl2.map(|sasl2| Sasl2 { upgrades: Vec::new(), ..sasl2 });
            let mut far = Far::new(Settings { sasl2, ..sasl2::with_sasl2() });
            let mut client = open(login.clone());
            let events = far.converse(&mut client, cut);
            assert_eq!(client.unacked(), Some(0), "counted");
            (events, far.passed)
        };
        let (events, passed) = meet(WHOLE);
        let given = Some(ClientEvent::Token(token())).filter(|_| login.token.is_none());
        assert_eq!(events, given.into_iter().chain([bound("balcony/1")]).collect::<Vec<_>>());
        for at in 0..passed.0.max(passed.1) {
            assert_eq!(meet(Cut { up: at, down: at, is_end: false }), (events.clone(), passed), "cut at {at}");
        }
    }
}

#[test]
fn a_token_that_is_refused_is_forgotten_and_the_password_tried() {
    let refused = KeptToken { secret: "another".into(), ..token() };
    let mut client = open(Login { token: Some(refused), ..login() });
    let events = Far::new(sasl2::with_sasl2()).converse(&mut client, WHOLE);
    assert_eq!(events, [ClientEvent::TokenRefused, ClientEvent::Token(token()), bound("balcony/1")]);
}

#[test]
fn a_server_that_has_not_the_token_is_not_trusted() {
    let mut client = open(Login { token: Some(token()), ..login() });
    client.handle_bytes(
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
          from='im.example.com' id='1' version='1.0'><stream:features><authentication xmlns='urn:xmpp:sasl:2'>\
          <mechanism>PLAIN</mechanism><inline><fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-EXPR</mechanism></fast>\
          </inline></authentication></stream:features><success xmlns='urn:xmpp:sasl:2'><authorization-identifier>\
          juliet@im.example.com/x</authorization-identifier></success>",
    );
    assert_eq!(client.poll_event(), Some(ClientEvent::Closed(Ending::Distrusted(Distrust::Signature))));
}

#[test]
fn keys_are_left_for_mechanisms_to_come() {
    let mut house = House::new(sasl2::with_sasl2(), Some(facts()));
    let mut client = open(login());
    loop {
        let mut up = Vec::new();
        client.poll_transmit(&mut up);
        house.hear(&up);
        client.handle_bytes(house.said().as_bytes());
        while client.poll_event().is_some() {}
        if up.is_empty() {
            break;
        }
    }
    let keys = house.events.iter().find_map(|event| match event {
        Event::Upgrade { hash, keys, .. } => Some((*hash, keys)),
        _ => None,
    });
    let (hash, keys) = keys.expect("they were wanted");
    assert!(hash == Hash::Sha512 && keys.verify(hash, PASSWORD));
}

#[test]
fn whoever_takes_away_the_better_part_of_an_offer_is_noticed() {
    for (from, to) in [
        ("<mechanism>SCRAM-SHA-256-PLUS</mechanism>", ""),
        ("<channel-binding type='tls-exporter'/>", ""),
        ("<mechanism>SCRAM-SHA-1</mechanism>", "<mechanism>SCRAM-SHA-2</mechanism>"),
    ] {
        for settings in [settings(), sasl2::with_sasl2()] {
            let mut house = House::new(settings, Some(facts()));
            let mut client = open(login());
            let mut ended = None;
            for _ in 0..6 {
                let mut up = Vec::new();
                client.poll_transmit(&mut up);
                house.hear(&up);
                client.handle_bytes(house.said().replace(from, to).as_bytes());
                while let Some(event) = client.poll_event() {
                    ended = Some(event);
                }
            }
            assert_eq!(ended, Some(ClientEvent::Closed(Ending::Distrusted(Distrust::Downgraded))), "{from}");
        }
    }
}

fn classic() -> Settings {
    Settings { acks: true, ..settings() }
}

fn bodies(events: &[ClientEvent]) -> Vec<String> {
    let stanzas = events.iter().filter_map(|event| match event {
        ClientEvent::Stanza(stanza) => Some(text(stanza)),
        _ => None,
    });
    stanzas.collect()
}

/// Three messages each way over a stream that is lost at `cut`, and over the one that follows. Bytes that passed.
fn lose(cut: Cut) -> (usize, usize) {
    let mut far = Far::new(classic());
    let mut client = open(login());
    assert_eq!(far.converse(&mut client, WHOLE), [bound("balcony")]);
    let begun = far.passed;
    let cut = Cut { up: cut.up.saturating_add(begun.0), down: cut.down.saturating_add(begun.1), is_end: true };
    for said in ["one", "two", "three"] {
        client.send(&body(said));
        far.send(&body(said));
    }
    client.request_ack();
    far.house.stream.request_ack();
    let mut events = far.converse(&mut client, cut);
    let passed = (far.passed.0 - begun.0, far.passed.1 - begun.1);

    let mut far = far.lost(classic());
    let mut client = open(Login { earlier: client.into_earlier(), ..login() });
    let again = far.converse(&mut client, WHOLE);
    assert_eq!(again.first(), Some(&ClientEvent::Resumed(jid("balcony"))));
    events.extend(again);
    client.send(&body("four"));
    far.send(&body("four"));
    events.extend(far.converse(&mut client, WHOLE));
    client.request_ack();
    far.converse(&mut client, WHOLE);
    assert_eq!(bodies(&events), ["one", "two", "three", "four"], "the client, {} {}", cut.up, cut.down);
    assert_eq!(far.heard, ["one", "two", "three", "four"], "the server, {} {}", cut.up, cut.down);
    assert_eq!(client.unacked(), Some(0));
    passed
}

#[test]
fn a_stream_lost_at_any_byte_goes_on_with_everything_once() {
    let (up, down) = lose(Cut { is_end: true, ..WHOLE });
    for at in 0..up.max(down) {
        lose(Cut { up: at, down: usize::MAX, is_end: true });
        lose(Cut { up: usize::MAX, down: at, is_end: true });
        lose(Cut { up: at, down: at, is_end: true });
    }
}

/// What a client has of a stream on which two messages were sent and none acknowledged.
fn two_unacked() -> Box<Earlier> {
    let mut client = open(login());
    Far::new(classic()).converse(&mut client, WHOLE);
    client.send(&body("one"));
    client.send(&body("two"));
    client.into_earlier().unwrap()
}

#[test]
fn an_earlier_stream_goes_on_within_the_request() {
    for login in [login(), Login { token: Some(token()), ..login() }] {
        let mut client = open(Login { earlier: Some(two_unacked()), wants_token: false, ..login });
        let mut far = Far::new(sasl2::with_sasl2());
        assert_eq!(far.converse(&mut client, WHOLE), [ClientEvent::Resumed(jid("balcony"))]);
        assert_eq!(far.heard, ["one", "two"]);
        assert_eq!(client.unacked(), Some(2));
        client.request_ack();
        assert_eq!(far.converse(&mut client, WHOLE), [ClientEvent::Acked(2)]);
    }
}

#[test]
fn what_was_not_handled_is_given_back_where_a_stream_does_not_go_on() {
    for settings in [classic(), sasl2::with_sasl2(), settings()] {
        let has_sasl2 = settings.sasl2.is_some();
        let mut earlier = two_unacked();
        earlier.id = if has_sasl2 { "gone".into() } else { earlier.id };
        let mut client = open(Login { earlier: Some(earlier), wants_token: false, ..login() });
        let events = Far::new(settings).converse(&mut client, WHOLE);
        // `gone` is a stream of which that house knows that it handled three: more than were sent, which says nothing.
        let resource = if has_sasl2 { "balcony/1" } else { "balcony" };
        assert_eq!(events, [ClientEvent::NotResumed(vec![body("one"), body("two")]), bound(resource)]);
    }
}

#[test]
fn a_server_that_counts_more_than_was_sent_is_left() {
    let mut client = open(login());
    Far::new(classic()).converse(&mut client, WHOLE);
    client.handle_bytes(b"<a xmlns='urn:xmpp:sm:3' h='1'/>");
    assert_eq!(client.poll_event(), Some(ClientEvent::Closed(Ending::Miscounted)));
}

#[test]
fn no_more_is_kept_than_may_be() {
    let mut client = open(login());
    Far::new(classic()).converse(&mut client, WHOLE);
    for _ in 0..=super::super::client::UNACKED_MAX {
        client.send(&body("again"));
    }
    assert_eq!(client.into_earlier(), None);
}
