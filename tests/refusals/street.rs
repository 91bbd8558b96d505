//! The street: houses on pipes with paused time, names from a table, and two that are on good terms throughout.
//!
//! `capulet.lit` (and `rosaline.lit`, beside it) is the house that is tried. `verona.lit` has a link with it before
//! anything happens, and must not notice any of it.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use chirrup::config::{Config, Listen, ResourceConflict};
use chirrup::house::{House, World};
use chirrup::runtime::{
    Answer, Clock, Dialer, Family, Resolver, ScriptedDialer, ScriptedResolver, SeededIds, Timestamp, Transport,
};
use chirrup::s2s::Door;
use chirrup::session::Session;
use chirrup::session::mailbox::Taken;
use tokio::time::Instant;
use xmpp::stanza::{IqType, Kind, MessageType};
use xmpp::{FullJid, Jid, Stanza};

use super::certificates::{Foundry, Made};

/// 2026-01-01T00:00:00Z.
const FIRST_MOMENT: Timestamp = 1_767_225_600_000_000;
/// Bytes in flight on a wire before its writer has to wait.
const WIRE_BYTES: usize = 64 * 1024;

pub const JULIET: &str = "juliet@capulet.lit/balcony";
pub const BENVOLIO: &str = "benvolio@verona.lit/square";
const OURS: [&str; 2] = ["capulet.lit", "rosaline.lit"];
pub const CAPULET: &str = "192.0.2.1";
pub const MONTAGUE: &str = "192.0.2.2";

/// The runtime's time as wall time, from a fixed moment on.
struct StreetClock(Instant);

impl Clock for StreetClock {
    fn now(&self) -> Timestamp {
        FIRST_MOMENT + u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

/// Names, machines and houses.
pub struct Street {
    pub foundry: Foundry,
    pub resolver: Arc<ScriptedResolver>,
    pub dialer: Arc<ScriptedDialer>,
    since: Instant,
    folder: PathBuf,
}

static STREETS: AtomicUsize = AtomicUsize::new(0);

impl Street {
    pub fn new() -> Self {
        let number = STREETS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("chirrup-refusals-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            foundry: Foundry::new(),
            resolver: Arc::default(),
            dialer: Arc::default(),
            since: Instant::now(),
            folder,
        }
    }

    fn keep(&self, file: &str, text: &str) -> String {
        let path = self.folder.join(file);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// The configuration of a house for `domains`, with good certificates; `s2s` is added to its section.
    pub fn config(&self, domains: &[&str], s2s: &str) -> Config {
        let own = self.folder.join(domains[0]).display().to_string();
        let roots = self.keep("root.pem", &self.foundry.trusted.pem());
        let mut text = format!("data_directory = {own:?}\ntrust_roots = [{roots:?}]\n");
        for domain in domains {
            let Made { pem, key, .. } = self.foundry.good(&[domain]);
            let chain = self.keep(&format!("{domain}.crt"), &pem);
            let key = self.keep(&format!("{domain}.key"), &key.serialize_pem());
            text += &format!("[[host]]\ndomain = {domain:?}\ncertificate = {chain:?}\nkey = {key:?}\n");
        }
        // The strangers of these tables answer no pings.
        Config::parse(&format!("{text}[s2s]\nconfirm_by_ping = false\n{s2s}\n"), None).unwrap()
    }

    /// A house on this street.
    pub async fn house(&self, domains: &[&str], address: &str, s2s: &str) -> Arc<House> {
        self.build(domains, address, self.config(domains, s2s)).await
    }

    async fn build(&self, domains: &[&str], address: &str, config: Config) -> Arc<House> {
        let world = World {
            clock: Arc::new(StreetClock(self.since)),
            ids: Arc::new(SeededIds::new(domains[0].bytes().map(u64::from).sum())),
            store: Arc::new(store::Memory::new()),
            resolver: Arc::clone(&self.resolver) as Arc<dyn Resolver>,
            dialer: Arc::clone(&self.dialer) as Arc<dyn Dialer>,
        };
        let house = House::build(config, world).await.unwrap();
        let ip: IpAddr = address.parse().unwrap();
        domains.iter().for_each(|domain| self.name(domain, address));
        for (port, door) in [(5269, Door::StartTls), (5270, Door::DirectTls)] {
            let house = Arc::clone(&house);
            self.dialer.at(SocketAddr::new(ip, port), move || {
                let wire = enter(&house, door);
                Box::pin(async move { Ok(wire) })
            });
        }
        house
    }

    /// Gives a host an address.
    pub fn name(&self, host: &str, address: &str) {
        let answer = Answer { records: vec![address.parse().unwrap()], is_secure: false };
        self.resolver.set_addresses(host, Family::V4, Duration::ZERO, Ok(answer));
    }

    /// How often somebody was connected to, web servers aside.
    pub fn dialled(&self, address: &str) -> usize {
        let ip: IpAddr = address.parse().unwrap();
        self.dialer.dialled().iter().filter(|dialled| dialled.ip() == ip && dialled.port() != 443).count()
    }
}

impl Drop for Street {
    fn drop(&mut self) {
        let _kept = std::fs::remove_dir_all(&self.folder);
    }
}

/// A new connection to a house.
pub fn enter(house: &Arc<House>, door: Door) -> Transport {
    let (near, far) = tokio::io::duplex(WIRE_BYTES);
    tokio::spawn(Arc::clone(house).attach_server(Box::new(far), door, "192.0.2.99".parse().unwrap()));
    Box::new(near)
}

/// Somebody at home: what they are sent is read from their mailbox.
pub struct Guest {
    pub house: Arc<House>,
    pub session: Arc<Session>,
    heard: Mutex<VecDeque<Stanza>>,
}

impl Guest {
    pub fn new(house: &Arc<House>, jid: &str) -> Self {
        let jid = FullJid::new(jid).unwrap();
        let session =
            house.router.sessions.bind(jid, ResourceConflict::Replace, house.clock.now(), String::new).unwrap();
        Self { house: Arc::clone(house), session, heard: Mutex::default() }
    }

    pub async fn send(&self, kind: Kind, to: &str, id: &str) {
        let body = xmpp::Element::builder("body", xmpp::ns::CLIENT).append("Wherefore art thou?").build();
        let query = xmpp::Element::builder("ping", xmpp::ns::PING).build();
        let inside = if matches!(kind, Kind::Iq(_)) { query } else { body };
        self.hand_over(Stanza::new(kind).to(Jid::new(to).unwrap()).id(id).with(&inside)).await;
    }

    pub async fn say(&self, to: &str, id: &str) {
        self.send(Kind::Message(MessageType::Chat), to, id).await;
    }

    /// Asks one's own server.
    pub async fn ask(&self, type_: IqType, inside: &xmpp::Element, id: &str) {
        self.hand_over(Stanza::new(Kind::Iq(type_)).id(id).with(inside)).await;
    }

    async fn hand_over(&self, stanza: Stanza) {
        self.session.heard(self.house.clock.now());
        self.house.router.from_session(&self.session, stanza).await;
    }

    /// One of each kind, of which the message and the question must be answered when they cannot arrive: `id`1 and
    /// `id`2.
    pub async fn say_all(&self, to: &str, id: &str) {
        self.say(to, &format!("{id}1")).await;
        self.send(Kind::Message(MessageType::Error), to, &format!("{id}-error")).await;
        self.send(Kind::Iq(IqType::Get), to, &format!("{id}2")).await;
        self.send(Kind::Iq(IqType::Result), to, &format!("{id}-result")).await;
        self.send(Kind::Iq(IqType::Error), to, &format!("{id}-iq-error")).await;
    }

    /// What has come: `id`, or `id: condition` for an error, and who says so.
    pub fn heard(&self) -> Vec<(String, Stanza)> {
        let mut all = Vec::new();
        while let Some(stanza) = self.take() {
            let id = stanza.head.id.as_deref().unwrap_or("?").to_owned();
            let what = match stanza.error() {
                Some(error) => format!("{id}: {}", error.condition.name()),
                None => id,
            };
            all.push((what, stanza));
        }
        all
    }

    pub fn take(&self) -> Option<Stanza> {
        let mut heard = self.heard.lock().unwrap();
        let mut out = Vec::new();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        // One frame at a time: the mark is reached by the first.
        while let Poll::Ready(Taken::Frames) = self.session.mailbox.poll_take(&mut cx, &mut out, 1) {
            let bytes = std::mem::take(&mut out);
            heard.push_back(Stanza::parse(bytes.into(), &xmpp::limits::Limits::server()).unwrap());
        }
        heard.pop_front()
    }
}

/// Two houses that talk, and somebody in each.
pub struct Neighbours {
    pub juliet: Guest,
    pub benvolio: Guest,
}

impl Neighbours {
    /// Builds both; `s2s` is added to the section of capulet.lit.
    pub async fn settle(street: &Street, s2s: &str) -> Self {
        Self::settle_with(street, street.config(&OURS, s2s)).await
    }

    /// The same, with a door on a real socket once the house is opened.
    pub async fn settle_listening(street: &Street, s2s: &str, at: SocketAddr) -> Self {
        let mut config = street.config(&OURS, s2s);
        let none = Vec::new;
        config.listen =
            Listen { c2s: none(), c2s_tls: none(), s2s: vec![at], s2s_tls: none(), http: none(), https: none() };
        Self::settle_with(street, config).await
    }

    async fn settle_with(street: &Street, config: Config) -> Self {
        let capulet = street.build(&OURS, CAPULET, config).await;
        let verona = street.house(&["verona.lit"], "192.0.2.3", "").await;
        let neighbours = Self { juliet: Guest::new(&capulet, JULIET), benvolio: Guest::new(&verona, BENVOLIO) };
        neighbours.greet("before").await;
        neighbours
    }

    /// Says something in both directions, and sees to it that it arrives.
    pub async fn greet(&self, id: &str) {
        for (one, other, to) in [(&self.juliet, &self.benvolio, BENVOLIO), (&self.benvolio, &self.juliet, JULIET)] {
            one.say(to, id).await;
            let mut left = 100;
            let heard = loop {
                if let Some(stanza) = other.take() {
                    break stanza;
                }
                left -= 1;
                assert!(left > 0, "{id}: nothing arrives");
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            assert_eq!((heard.head.id.as_deref(), heard.error()), (Some(id), None));
        }
    }

    /// The links between the two, as capulet.lit sees them: their numbers.
    pub fn links(&self) -> Vec<u64> {
        let rows = self.juliet.house.federation.status();
        rows.into_iter().filter(|row| row.id > 0 && row.remote == "verona.lit").map(|row| row.id).collect()
    }
}
