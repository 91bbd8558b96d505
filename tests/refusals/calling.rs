//! Rows of the table that say what becomes of what is sent to another server that is not as it should be.

use std::time::Duration;

use tokio::time::Instant;

use super::called::{self, Manners};
use super::street::{MONTAGUE, Neighbours, Street};

/// A row: what another server is like when we dial it, and what comes of it.
pub struct Outbound {
    pub when: &'static str,
    /// Who says so.
    pub by: &'static str,
    /// What is added to `[s2s]`.
    pub policy: &'static str,
    /// To whom they are.
    pub to: &'static str,
    /// Who is found at the address of montague.lit.
    pub manners: Manners,
    /// Changes names and machines.
    pub street: fn(&Street),
    /// What the other server is told by its first visitor.
    pub told: &'static [&'static str],
    /// The error that senders get; empty if their stanzas arrive.
    pub senders: &'static str,
    /// Something of the text that comes with it.
    pub text: &'static str,
    /// When they get it.
    pub after: After,
}

/// When senders are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// One attempt.
    First,
    /// The time that stanzas may wait.
    Patience,
    /// Nothing: the domain is not even looked for.
    Nothing,
    /// The stream was lost on which their stanzas went; others may follow.
    Loss,
    /// When they have waited as long as they may, while stream after stream was made: that is no silence to be kept.
    Streams,
}

pub const ROW: Outbound = Outbound {
    when: "",
    by: "RFC 6120 8.3.3.17",
    policy: "",
    to: ROMEO,
    manners: called::GOOD,
    street: |_| {},
    told: &[],
    senders: "remote-server-timeout",
    text: "",
    after: After::Patience,
};

const ROMEO: &str = "romeo@montague.lit";
/// Long enough to arrive.
const SHORT: Duration = Duration::from_secs(20);
/// Longer than anything may take.
const LONG: Duration = Duration::from_secs(1000);

impl Outbound {
    /// Plays the row. What is not as it says is told.
    pub async fn play(&self) -> Result<(), String> {
        let street = Street::new();
        street.name("montague.lit", MONTAGUE);
        let port = if self.manners.is_direct { 5270 } else { 5269 };
        let visits = called::open(&street, &format!("{MONTAGUE}:{port}"), self.manners);
        (self.street)(&street);
        let neighbours = Neighbours::settle(&street, self.policy).await;
        let links = neighbours.links();
        let juliet = &neighbours.juliet;
        juliet.say_all(self.to, "m").await;
        let mut heard = Vec::new();
        let began = Instant::now();
        let patience = if self.senders.is_empty() { SHORT } else { LONG };
        while heard.len() < 2 && began.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(20)).await;
            heard.extend(juliet.heard());
        }
        // Nobody else notices, now or later.
        neighbours.greet("during").await;
        let attempts = visits.count();
        let expected: Vec<String> = match self.senders {
            "" => Vec::new(),
            error => ["m1", "m2"].map(|id| format!("{id}: {error}")).into(),
        };
        // While the domain is not talked to, senders are told at once, and nobody is dialled.
        if !self.senders.is_empty() && !matches!(self.after, After::Loss | After::Streams) {
            let dialled = street.dialer.dialled().len();
            let asked = street.resolver.asked().len();
            juliet.say(self.to, "again").await;
            let again: Vec<String> = juliet.heard().into_iter().map(|(what, _)| what).collect();
            let is_quiet = dialled == street.dialer.dialled().len() && asked == street.resolver.asked().len();
            if again != [format!("again: {}", self.senders)] || !is_quiet {
                return Err(format!("the next is told {again:?}"));
            }
        }
        tokio::time::sleep(Duration::from_secs(50)).await;
        heard.extend(juliet.heard());
        let what: Vec<&String> = heard.iter().map(|(what, _)| what).collect();
        if what != expected.iter().collect::<Vec<_>>() {
            return Err(format!("senders are told {what:?}, not {expected:?}"));
        }
        for (_, stanza) in &heard {
            let text = stanza.error().and_then(|error| error.text).unwrap_or_default();
            if !text.contains(self.text) {
                return Err(format!("the text is: {text}"));
            }
        }
        let told = visits.told.lock().unwrap().first().cloned().unwrap_or_default();
        if told != self.told {
            return Err(format!("told {told:?}\n  not {:?}", self.told));
        }
        if neighbours.links() != links {
            return Err(format!("other links change: {links:?}, then {:?}", neighbours.links()));
        }
        self.check_attempts(attempts, &street)
    }

    fn check_attempts(&self, attempts: usize, street: &Street) -> Result<(), String> {
        let is_so = match self.after {
            After::First => street.dialled(MONTAGUE) <= 1 && attempts <= 1,
            After::Loss => true,
            After::Patience | After::Streams => street.dialled(MONTAGUE) != 1 && attempts != 1,
            After::Nothing => {
                street.dialled(MONTAGUE) == 0 && street.resolver.asked().iter().all(|asked| !asked.contains("montague"))
            }
        };
        if is_so || self.senders.is_empty() {
            return Ok(());
        }
        Err(format!("{attempts} attempts, {} connections: not {:?}", street.dialled(MONTAGUE), self.after))
    }
}
