//! A server that dials the house, and the rows of the table that say what it does then.

use std::sync::Arc;
use std::time::Duration;

use chirrup::house::House;
use chirrup::s2s::Door;

use super::called::{self, Manners};
use super::certificates::{Made, Shown};
use super::street::{JULIET, MONTAGUE, Neighbours, Street, enter};
use super::wire::Wire;

/// What the caller does, one thing after the other. After each it hears what is said until that has been nothing for a
/// second.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// The header of montague.lit to capulet.lit.
    Opens,
    /// Says this; `{id}` is the stream identifier it was given last.
    Says(&'static str),
    /// Header, STARTTLS, TLS.
    Secures,
    /// The same with the certificate, EXTERNAL, and the header that follows.
    LogsIn,
    /// Says this so many times.
    Repeats(usize, &'static str),
    /// Hears for so many seconds.
    Waits(u64),
    /// TLS without STARTTLS.
    TlsAtOnce,
    /// Vanishes.
    Cuts,
}

/// A row: what another server does to us, and what comes of it.
pub struct Inbound {
    pub when: &'static str,
    /// Who says so.
    pub by: &'static str,
    /// What is added to `[s2s]`.
    pub policy: &'static str,
    pub shows: Shown,
    pub door: Door,
    /// Changes names and machines.
    pub street: fn(&Street),
    /// Who is found at montague.lit; nobody if there is none.
    pub authority: Option<Manners>,
    /// Who is found at paris.lit.
    pub paris: Manners,
    pub does: &'static [Act],
    /// What the other server is told.
    pub told: &'static [&'static str],
    /// What reaches Juliet.
    pub arrives: &'static [&'static str],
}

pub const ROW: Inbound = Inbound {
    when: "",
    by: "",
    policy: "",
    street: |_| {},
    shows: Shown::Good,
    door: Door::StartTls,
    authority: Some(called::GOOD),
    paris: Manners { shows: Shown::OtherName, ..called::GOOD },
    does: &[],
    told: &[],
    arrives: &[],
};

pub const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
                          xmlns:stream='http://etherx.jabber.org/streams' from='montague.lit' to='capulet.lit' \
                          version='1.0'>";
pub const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const QUIET: Duration = Duration::from_secs(1);

/// The hostile server as a caller.
pub struct Caller {
    pub wire: Wire,
    shown: Option<Arc<Made>>,
}

impl Caller {
    pub fn at(house: &Arc<House>, door: Door, shown: Option<Arc<Made>>) -> Self {
        Self::over(Wire::new(enter(house, door)), shown)
    }

    /// Over any wire.
    pub fn over(wire: Wire, shown: Option<Arc<Made>>) -> Self {
        Self { wire, shown }
    }

    pub async fn act(&mut self, act: Act) {
        match act {
            Act::Opens => self.say(HEADER).await,
            Act::Says(text) => self.say(text).await,
            Act::Repeats(times, text) => {
                for _ in 0..times {
                    self.wire.say(&text.replace("{id}", &self.wire.id)).await;
                }
                self.wire.hear(QUIET).await;
            }
            Act::Secures => {
                self.say(HEADER).await;
                self.say(STARTTLS).await;
                self.wire.connect_tls(self.shown.as_deref(), false).await;
            }
            Act::TlsAtOnce => self.wire.connect_tls(self.shown.as_deref(), true).await,
            Act::LogsIn => {
                self.say(HEADER).await;
                self.say(STARTTLS).await;
                self.wire.connect_tls(self.shown.as_deref(), false).await;
                for text in [HEADER, AUTH, HEADER] {
                    self.say(text).await;
                }
            }
            Act::Waits(seconds) => self.wire.hear_for(Duration::from_secs(seconds)).await,
            Act::Cuts => self.wire.cut(),
        }
    }

    pub async fn say(&mut self, text: &str) {
        self.wire.say(&text.replace("{id}", &self.wire.id)).await;
        self.wire.hear(QUIET).await;
    }
}

impl Inbound {
    /// Plays the row. What is not as it says is told.
    pub async fn play(&self) -> Result<(), String> {
        let street = Street::new();
        if let Some(manners) = self.authority {
            street.name("montague.lit", MONTAGUE);
            called::open(&street, "192.0.2.2:5269", manners);
        }
        street.name("paris.lit", "192.0.2.4");
        called::open(&street, "192.0.2.4:5269", self.paris);
        (self.street)(&street);
        let neighbours = Neighbours::settle(&street, self.policy).await;
        let links = neighbours.links();
        let house = &neighbours.juliet.house;
        let shown = street.foundry.show(self.shows).map(Arc::new);
        let mut caller = Caller::at(house, self.door, shown);
        for act in self.does {
            caller.act(*act).await;
        }
        let arrived: Vec<String> = neighbours.juliet.heard().into_iter().map(|(what, _)| what).collect();
        neighbours.greet("after").await;
        if caller.wire.told != self.told {
            return Err(format!("told {:?}\n  not {:?}", caller.wire.told, self.told));
        }
        if arrived != self.arrives {
            return Err(format!("{JULIET} hears {arrived:?}, not {:?}", self.arrives));
        }
        if neighbours.links() != links {
            return Err(format!("other links change: {links:?}, then {:?}", neighbours.links()));
        }
        Ok(())
    }
}
