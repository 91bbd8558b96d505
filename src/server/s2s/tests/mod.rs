//! Two houses in one process that talk over pipes: names from a table, time that moves when everybody waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod authentication;
mod cuts;
mod delivery;
mod limits;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use xmpp::stanza::{Kind, MessageType};
use xmpp::{FullJid, Jid, Stanza};

use super::Door;
use crate::config::{Config, ResourceConflict};
use crate::house::{House, World};
use crate::runtime::{Clock, Dialer, Resolver, ScriptedDialer, ScriptedResolver, SeededIds, Timestamp};
use crate::session::Session;

/// What is said in a house that takes dialback in the clear.
pub(super) const CLEAR: &str = "tls_required = false\nrequire_valid_certificate = false\n";

/// The runtime's time as wall time, from a fixed moment on.
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        1_767_225_600_000_000 + u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

/// A street of houses.
pub(super) struct Street {
    pub(super) resolver: Arc<ScriptedResolver>,
    pub(super) dialer: Arc<ScriptedDialer>,
    /// The wires that are up: aborting one cuts it.
    pub(super) wires: Arc<Mutex<Vec<JoinHandle<()>>>>,
    folder: PathBuf,
}

impl Street {
    /// Without any house. `name` tells its folder from those of others.
    pub(super) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("chirrup-s2s-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            resolver: Arc::new(ScriptedResolver::new()),
            dialer: Arc::new(ScriptedDialer::new()),
            wires: Arc::default(),
            folder,
        }
    }

    /// A house for `domain` that is found at `address`; `s2s` is its section of the configuration, `more` the rest.
    pub(super) async fn house(&self, domain: &str, address: &str, s2s: &str, more: &str) -> Arc<House> {
        let folder = self.folder.join(domain).display().to_string();
        let host = if more.contains("[[host]]") { String::new() } else { format!("[[host]]\ndomain = \"{domain}\"\n") };
        let text = format!("data_directory = {folder:?}\n{more}\n{host}[s2s]\n{s2s}\n");
        let config = Config::parse(&text, None).unwrap();
        let world = World {
            clock: Arc::new(TestClock(Instant::now())),
            ids: Arc::new(SeededIds::new(domain.bytes().map(u64::from).sum())),
            store: Arc::new(store::Memory::new()),
            resolver: Arc::clone(&self.resolver) as Arc<dyn Resolver>,
            dialer: Arc::clone(&self.dialer) as Arc<dyn Dialer>,
        };
        let house = House::build(config, world).await.unwrap();
        self.put(&house, domain, address);
        house
    }

    /// Lets `domain` be found at `address`, in `house`.
    pub(super) fn put(&self, house: &Arc<House>, domain: &str, address: &str) {
        let ip: IpAddr = address.parse().unwrap();
        self.name(domain, address);
        for (port, door) in [(5269, Door::StartTls), (5270, Door::DirectTls)] {
            let (house, wires) = (Arc::clone(house), Arc::clone(&self.wires));
            self.dialer.at(SocketAddr::new(ip, port), move || {
                let (near, mut near_end) = tokio::io::duplex(16 * 1024);
                let (mut far_end, far) = tokio::io::duplex(16 * 1024);
                let wire = crate::runtime::start(async move {
                    let _cut = tokio::io::copy_bidirectional(&mut near_end, &mut far_end).await;
                });
                wires.lock().unwrap().push(wire);
                crate::runtime::start(Arc::clone(&house).attach_server(
                    Box::new(far),
                    door,
                    "192.0.2.99".parse().unwrap(),
                ));
                Box::pin(async move { Ok(Box::new(near) as _) })
            });
        }
    }

    /// Gives `domain` an address.
    pub(super) fn name(&self, domain: &str, address: &str) {
        use crate::runtime::{Answer, Family};
        let answer = Answer { records: vec![address.parse().unwrap()], is_secure: false };
        self.resolver.set_addresses(domain, Family::V4, Duration::ZERO, Ok(answer));
    }

    /// Cuts every wire.
    pub(super) fn cut(&self) {
        for wire in self.wires.lock().unwrap().drain(..) {
            wire.abort();
        }
    }
}

impl Drop for Street {
    fn drop(&mut self) {
        let _kept = std::fs::remove_dir_all(&self.folder);
    }
}

/// Somebody at home: what they are sent is read from their mailbox.
pub(super) struct Guest {
    house: Arc<House>,
    pub(super) session: Arc<Session>,
    heard: Mutex<VecDeque<Stanza>>,
}

impl Guest {
    pub(super) async fn new(house: &Arc<House>, jid: &str) -> Self {
        let jid = FullJid::new(jid).unwrap();
        let session = house.router.sessions.bind(jid, ResourceConflict::Replace, 0, String::new).unwrap();
        Self { house: Arc::clone(house), session, heard: Mutex::default() }
    }

    pub(super) async fn say(&self, to: &str, id: impl Into<Box<str>>) {
        let body = xmpp::Element::builder("body", xmpp::ns::CLIENT).append("Wherefore art thou?").build();
        let stanza = Stanza::new(Kind::Message(MessageType::Chat)).to(Jid::new(to).unwrap()).id(id).with(&body);
        self.house.router.from_session(&self.session, stanza).await;
    }

    /// The next stanza that is theirs, within a day.
    pub(super) async fn hear(&self) -> Stanza {
        for _ in 0..100_000 {
            if let Some(stanza) = self.take() {
                return stanza;
            }
            crate::runtime::pause(Duration::from_millis(500)).await;
        }
        panic!("nothing came");
    }

    /// The identifiers of the next stanzas, which are no errors.
    pub(super) async fn hear_ids(&self, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let stanza = self.hear().await;
            assert_eq!(stanza.error(), None, "{stanza:?}");
            ids.push(stanza.head.id.unwrap().into());
        }
        ids
    }

    pub(super) fn take(&self) -> Option<Stanza> {
        let mut heard = self.heard.lock().unwrap();
        let mut out = Vec::new();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        // One frame at a time: the mark is reached by the first.
        while self.session.mailbox.poll_take(&mut cx, &mut out, 1).is_ready() {
            let bytes = std::mem::take(&mut out);
            heard.push_back(Stanza::parse(bytes.into(), &xmpp::limits::Limits::server()).unwrap());
        }
        heard.pop_front()
    }
}

/// Two houses that take dialback in the clear, and somebody in each. `s2s` is added to both sections.
pub(super) async fn two(name: &str, s2s: &str) -> (Street, Guest, Guest) {
    let street = Street::new(name);
    let section = format!("{CLEAR}{s2s}");
    let capulet = street.house("capulet.lit", "192.0.2.1", &section, "").await;
    let montague = street.house("montague.lit", "192.0.2.2", &section, "").await;
    let juliet = Guest::new(&capulet, "juliet@capulet.lit/balcony").await;
    let romeo = Guest::new(&montague, "romeo@montague.lit/orchard").await;
    (street, juliet, romeo)
}

/// The links of a guest's house: (direction, remote, how authenticated, TLS).
pub(super) fn links(guest: &Guest) -> Vec<(String, String, Option<String>, Option<String>)> {
    let rows = guest.house.federation.status();
    let shown = rows.into_iter().filter(|row| row.id > 0);
    shown.map(|row| (format!("{:?}", row.direction), row.remote, row.authenticated, row.tls)).collect()
}
