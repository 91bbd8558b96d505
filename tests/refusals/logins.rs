//! Clients that lie, replay, guess and flood, and what they get for it; `docs/refusals.md` is made of the same rows.
//!
//! Each is played against a whole house, over TLS. Romeo, Tybalt and Juliet have accounts, Juliet has registered a
//! certificate; she is there all the time, and must notice nothing but what a row says.

#[macro_use]
mod phrases;
pub mod counted;
pub mod shown;
pub mod tokens;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chirrup::house::House;
use chirrup::net::c2s::Door;
use xmpp::BareJid;
use xmpp::sasl::token::show;
use xmpp::stanza::IqType;

use super::certificates::Shown;
use super::street::{CAPULET, Guest, JULIET, Street};
use super::wire::Wire;

/// What a client does, one thing after the other. After each it hears what is said until that has been nothing for a
/// second.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Connects, with TLS from the first byte.
    Secures,
    /// The same, and shows a certificate if it is asked for one.
    Shows(Shown),
    /// Connects without TLS.
    InTheClear,
    /// Says this; what stands in braces is replaced ([`Stage::expand`]).
    Says(&'static str),
    /// Says this so many times.
    Repeats(usize, &'static str),
    /// Hears for so many seconds.
    Waits(u64),
    /// Vanishes.
    Cuts,
    /// Juliet writes so many messages to Romeo, and the house makes its rounds from then on.
    IsWrittenTo(usize),
    /// Romeo's password is changed to another.
    Forgets,
    /// These, one after the other.
    All(&'static [Act]),
}

/// A row: what a client does, and what it is told on all its streams.
pub struct Row {
    pub when: &'static str,
    /// Who says so.
    pub by: &'static str,
    /// Added to the configuration.
    pub policy: &'static str,
    pub does: &'static [Act],
    pub told: &'static [&'static str],
    /// What reaches Juliet.
    pub arrives: &'static [&'static str],
}

pub const ROW: Row = Row { when: "", by: "", policy: "", does: &[], told: &[], arrives: &[] };

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' to='capulet.lit' version='1.0'>";
const QUIET: Duration = Duration::from_secs(1);

struct Stage {
    street: Street,
    juliet: Guest,
    /// The last is the one that speaks; the others stay as they are.
    wires: Vec<Wire>,
}

impl Stage {
    async fn new(policy: &str) -> Self {
        let street = Street::new();
        let house = street.house(&["capulet.lit"], CAPULET, policy).await;
        for account in ["romeo@capulet.lit", "tybalt@capulet.lit", "juliet@capulet.lit"] {
            house.accounts.create(&BareJid::new(account).unwrap(), "secret", 0).await.unwrap();
        }
        let juliet = Guest::new(&house, JULIET);
        let stage = Self { street, juliet, wires: Vec::new() };
        stage.register().await;
        stage
    }

    fn house(&self) -> &Arc<House> {
        &self.juliet.house
    }

    /// Gives Juliet a certificate, so that clients are asked for theirs.
    async fn register(&self) {
        let der = STANDARD.encode(&self.street.foundry.good(&["juliet.lit"]).chain[0]);
        let append =
            format!("<append xmlns='urn:xmpp:saslcert:1'><name>Nurse</name><x509cert>{der}</x509cert></append>");
        self.juliet.ask(IqType::Set, &append.parse().unwrap(), "append").await;
        assert_eq!(self.heard(), ["append"]);
    }

    /// What has reached Juliet.
    fn heard(&self) -> Vec<String> {
        self.juliet.heard().into_iter().map(|(what, _)| what).collect()
    }

    fn wire(&mut self) -> &mut Wire {
        self.wires.last_mut().expect("somebody has connected")
    }

    /// What is said: `{header}`; `{romeo}` and `{tybalt}`, their names and passwords; `{id}`, by which the stream that
    /// had stream management last is resumed; `{token}` and `{first}`, the last and the first that Romeo was given, as
    /// they are shown; `{another's}`, the last as Tybalt would show it; `{invented}`, one nobody was given.
    fn expand(&self, text: &str) -> String {
        let said = |message: &[u8]| STANDARD.encode(message);
        let tokens: Vec<&String> = self.wires.iter().flat_map(|wire| &wire.tokens).collect();
        let shown = |name: &str, token: Option<&&String>| said(&show(name, token.map_or("", |token| token), b""));
        let id = self.wires.iter().rev().map(|wire| &wire.resumption).find(|id| !id.is_empty());
        text.replace("{header}", HEADER)
            .replace("{romeo}", &said(b"\0romeo\0secret"))
            .replace("{tybalt}", &said(b"\0tybalt\0secret"))
            .replace("{wrong}", &said(b"\0romeo\0another"))
            .replace("{id}", id.map_or("", String::as_str))
            .replace("{token}", &shown("romeo", tokens.last()))
            .replace("{first}", &shown("romeo", tokens.first()))
            .replace("{another's}", &shown("tybalt", tokens.last()))
            .replace("{invented}", &said(&show("romeo", "invented", b"")))
            .replace("{long}", &"x".repeat(8_000))
    }

    async fn connect(&mut self, door: Door) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let peer = "192.0.2.99".parse().unwrap();
        tokio::spawn(Arc::clone(self.house()).attach(Box::new(far), door, peer));
        self.wires.push(Wire::for_client(Box::new(near)));
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Secures => {
                self.connect(Door::DirectTls).await;
                self.wire().connect_tls(None, true).await;
            }
            Act::Shows(shown) => {
                let made = self.street.foundry.show(shown);
                self.connect(Door::DirectTls).await;
                self.wire().connect_tls(made.as_ref(), true).await;
            }
            Act::InTheClear => self.connect(Door::StartTls).await,
            Act::Says(text) => {
                let text = self.expand(text);
                self.wire().say(&text).await;
                self.wire().hear(QUIET).await;
            }
            Act::Repeats(times, text) => {
                let text = self.expand(text);
                for _ in 0..times {
                    self.wire().say(&text).await;
                    self.wire().hear(Duration::from_millis(1)).await;
                }
                self.wire().hear(QUIET).await;
            }
            Act::Waits(seconds) => self.wire().hear_for(Duration::from_secs(seconds)).await,
            Act::Cuts => {
                self.wire().cut();
                tokio::time::sleep(QUIET).await;
            }
            Act::IsWrittenTo(count) => {
                // Who does not answer is noticed in one of the house's rounds.
                tokio::spawn(Arc::clone(self.house()).keep());
                for number in 0..count {
                    self.juliet.say("romeo@capulet.lit", &number.to_string()).await;
                    if number % 100 == 0 {
                        self.wire().hear(Duration::from_millis(1)).await;
                    }
                }
                self.wire().hear(QUIET).await;
            }
            Act::All(acts) => {
                for act in acts {
                    Box::pin(self.act(*act)).await;
                }
            }
            Act::Forgets => {
                let romeo = BareJid::new("romeo@capulet.lit").unwrap();
                self.house().accounts.set_password(&romeo, "another").await.unwrap();
            }
        }
    }
}

impl Row {
    async fn play(&self) -> Result<(), String> {
        let mut stage = Stage::new(self.policy).await;
        for act in self.does {
            stage.act(*act).await;
        }
        for wire in &mut stage.wires {
            wire.hear(QUIET).await;
        }
        let told: Vec<&String> = stage.wires.iter().flat_map(|wire| &wire.told).collect();
        if told != self.told {
            return Err(format!("told {told:?}\n  not {:?}", self.told));
        }
        let mut expected = self.arrives.to_vec();
        expected.push("after");
        let ping = xmpp::Element::builder("ping", xmpp::ns::PING).build();
        stage.juliet.ask(IqType::Get, &ping, "after").await;
        let heard = stage.heard();
        if heard != expected {
            return Err(format!("{JULIET} hears {heard:?}, not {expected:?}"));
        }
        Ok(())
    }
}

async fn play(rows: &[Row]) {
    let mut wrong = Vec::new();
    for row in rows {
        if let Err(why) = row.play().await {
            wrong.push(format!("{}: {why}", row.when));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn what_is_shown() {
    play(shown::ROWS).await;
}

#[tokio::test(start_paused = true)]
async fn tokens_of_all_kinds() {
    play(tokens::ROWS).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_counted_and_resumed() {
    play(counted::ROWS).await;
}
