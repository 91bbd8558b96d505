//! A world of names and machines written down in a table: for tests and simulations, never for a real server.
//!
//! What is not in the table does not exist: a name has no records, a connection is refused. Delays are in the
//! runtime's time, so under paused time they cost nothing.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::dialer::{Dialer, Transport};
use super::resolver::{Answer, Family, LookupError, Pending, Resolver, Srv, Tlsa};

/// Connections that may wait for a scripted listener to take them.
const BACKLOG_MAX: usize = 64;
/// Bytes an in-process wire holds in each direction.
const WIRE_BYTES_MAX: usize = 64 * 1024;

type Table<K, T> = Mutex<HashMap<K, (Duration, Result<Answer<T>, LookupError>)>>;

/// Answers from a table that can be changed while it is in use.
#[derive(Debug, Default)]
pub struct ScriptedResolver {
    srv: Table<String, Srv>,
    addresses: Table<(String, Family), IpAddr>,
    tlsa: Table<String, Tlsa>,
    asked: Mutex<Vec<String>>,
}

impl ScriptedResolver {
    /// Without any name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds SRV records, each as (priority, weight, port, target); `""` or `"."` as target means "no such service".
    #[must_use]
    pub fn with_srv(self, name: &str, is_secure: bool, records: &[(u16, u16, u16, &str)]) -> Self {
        let records = records.iter().map(|(priority, weight, port, target)| Srv {
            priority: *priority,
            weight: *weight,
            port: *port,
            target: key(target),
        });
        let answer = Answer { records: records.collect(), is_secure };
        self.set_srv(name, Duration::ZERO, Ok(answer));
        self
    }

    /// Adds a host's addresses, given as literals of either family.
    ///
    /// # Panics
    /// When a literal is none: a mistake in a script.
    #[must_use]
    #[expect(clippy::panic, reason = "a mistake in a test's script should end the test")]
    pub fn with_host(self, host: &str, is_secure: bool, addresses: &[&str]) -> Self {
        let addresses: Vec<IpAddr> = addresses
            .iter()
            .map(|text| text.parse().unwrap_or_else(|_| panic!("`{text}` is not an IP address")))
            .collect();
        for family in [Family::V6, Family::V4] {
            let records: Vec<IpAddr> =
                addresses.iter().copied().filter(|address| address.is_ipv6() == (family == Family::V6)).collect();
            let answer = if records.is_empty() {
                Err(LookupError::NoRecords { is_secure })
            } else {
                Ok(Answer { records, is_secure })
            };
            self.set_addresses(host, family, Duration::ZERO, answer);
        }
        self
    }

    /// Adds TLSA records.
    #[must_use]
    pub fn with_tlsa(self, name: &str, is_secure: bool, records: Vec<Tlsa>) -> Self {
        self.set_tlsa(name, Duration::ZERO, Ok(Answer { records, is_secure }));
        self
    }

    /// What to answer to a question for SRV records, after `delay`.
    pub fn set_srv(&self, name: &str, delay: Duration, answer: Result<Answer<Srv>, LookupError>) {
        lock(&self.srv).insert(key(name), (delay, answer));
    }

    /// What to answer to a question for addresses of one family, after `delay`.
    pub fn set_addresses(
        &self,
        host: &str,
        family: Family,
        delay: Duration,
        answer: Result<Answer<IpAddr>, LookupError>,
    ) {
        lock(&self.addresses).insert((key(host), family), (delay, answer));
    }

    /// What to answer to a question for TLSA records, after `delay`.
    pub fn set_tlsa(&self, name: &str, delay: Duration, answer: Result<Answer<Tlsa>, LookupError>) {
        lock(&self.tlsa).insert(key(name), (delay, answer));
    }

    /// The questions asked so far, as "SRV name", in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }

    async fn answer<K: Eq + Hash + Send, T: Clone + Send>(
        &self,
        question: String,
        table: &Table<K, T>,
        key: K,
    ) -> Result<Answer<T>, LookupError> {
        lock(&self.asked).push(question);
        let found = lock(table).get(&key).cloned();
        let Some((delay, answer)) = found else { return Err(LookupError::NoRecords { is_secure: false }) };
        if !delay.is_zero() {
            super::pause(delay).await;
        }
        answer
    }
}

impl Resolver for ScriptedResolver {
    /// Whether the script holds any answer that DNSSEC vouches for.
    fn is_validating(&self) -> bool {
        let is_secure = |answer: &Result<Answer<Srv>, LookupError>| match answer {
            Ok(answer) => answer.is_secure,
            Err(LookupError::NoRecords { is_secure }) => *is_secure,
            Err(why) => *why == LookupError::Bogus,
        };
        lock(&self.srv).values().any(|(_, answer)| is_secure(answer))
    }

    fn srv<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Answer<Srv>, LookupError>> {
        Box::pin(self.answer(format!("SRV {}", key(name)), &self.srv, key(name)))
    }

    fn addresses<'a>(&'a self, host: &'a str, family: Family) -> Pending<'a, Result<Answer<IpAddr>, LookupError>> {
        let question = format!("{} {}", family.record(), key(host));
        Box::pin(self.answer(question, &self.addresses, (key(host), family)))
    }

    fn tlsa<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Answer<Tlsa>, LookupError>> {
        Box::pin(self.answer(format!("TLSA {}", key(name)), &self.tlsa, key(name)))
    }
}

fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What happens to who connects to an address of a [`ScriptedDialer`].
enum Machine {
    /// Takes the connection after the delay.
    Listens(Duration, mpsc::Sender<Transport>),
    /// Refuses after the delay.
    Refuses(Duration),
    /// Never answers.
    Silent,
    /// Whatever a test wants.
    Does(Box<dyn Fn() -> Pending<'static, io::Result<Transport>> + Send>),
}

/// Joins both ends of an in-process wire, as a table says that can be changed while it is in use.
#[derive(Default)]
pub struct ScriptedDialer {
    machines: Mutex<HashMap<SocketAddr, Machine>>,
    dialled: Mutex<Vec<SocketAddr>>,
}

impl ScriptedDialer {
    /// Without any machine: every connection is refused at once.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a listener at `at`: each connection made from now on gives its far end to the receiver, after `delay`.
    /// More connections than can wait are refused.
    pub fn listen(&self, at: SocketAddr, delay: Duration) -> mpsc::Receiver<Transport> {
        let (sender, receiver) = mpsc::channel(BACKLOG_MAX);
        lock(&self.machines).insert(at, Machine::Listens(delay, sender));
        receiver
    }

    /// Makes `at` refuse connections after `delay`.
    pub fn refuse(&self, at: SocketAddr, delay: Duration) {
        lock(&self.machines).insert(at, Machine::Refuses(delay));
    }

    /// Makes `at` a machine that never answers.
    pub fn silence(&self, at: SocketAddr) {
        lock(&self.machines).insert(at, Machine::Silent);
    }

    /// Makes each connection to `at` what `connect` makes of it: wires with faults, for example.
    pub fn at(&self, at: SocketAddr, connect: impl Fn() -> Pending<'static, io::Result<Transport>> + Send + 'static) {
        lock(&self.machines).insert(at, Machine::Does(Box::new(connect)));
    }

    /// The addresses dialled so far, in order.
    #[must_use]
    pub fn dialled(&self) -> Vec<SocketAddr> {
        lock(&self.dialled).clone()
    }
}

impl std::fmt::Debug for ScriptedDialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedDialer").field("dialled", &self.dialled()).finish_non_exhaustive()
    }
}

impl Dialer for ScriptedDialer {
    fn connect(&self, to: SocketAddr) -> Pending<'_, io::Result<Transport>> {
        lock(&self.dialled).push(to);
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        match lock(&self.machines).get(&to) {
            None => Box::pin(async move { Err(refused()) }),
            Some(Machine::Silent) => Box::pin(std::future::pending()),
            Some(Machine::Does(connect)) => connect(),
            Some(Machine::Refuses(delay)) => {
                let delay = *delay;
                Box::pin(async move {
                    super::pause(delay).await;
                    Err(refused())
                })
            }
            Some(Machine::Listens(delay, listener)) => {
                let (delay, listener) = (*delay, listener.clone());
                Box::pin(async move {
                    if !delay.is_zero() {
                        super::pause(delay).await;
                    }
                    let (near, far) = tokio::io::duplex(WIRE_BYTES_MAX);
                    listener.try_send(Box::new(far)).map_err(|_| refused())?;
                    Ok(Box::new(near) as Transport)
                })
            }
        }
    }
}
