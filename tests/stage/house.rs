//! Staging in process: houses of their own for each play, on memory stores, pipes for wires, and paused time.
//!
//! Every domain in the cast has a house, and `localhost` has one in any case. They are joined by `ways`, or by streams
//! of their own over pipes, found by names from a table.
//!
//! Time moves when everyone waits, so a play in which days pass takes no time. Passwords are stretched on worker
//! threads, which tokio's paused clock waits for.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chirrup::config::Config;
use chirrup::house::{House, World};
use chirrup::net::c2s::Door;
use chirrup::router::road::Road;
use chirrup::runtime::{
    Answer, Clock, Dialer, Family, Resolver, ScriptedDialer, ScriptedResolver, SeededIds, Timestamp,
};
use chirrup::s2s;
use tokio::time::Instant;
use xmpp::jid::BareJid;

use super::actor::{Security, Wire};
use super::director::Theatre;
use super::script::{Character, Kind, Script};
use super::ways::Ways;

/// Bytes in flight on a wire before its writer has to wait.
const WIRE_BYTES: usize = 64 * 1024;
/// 2026-01-01T00:00:00Z.
const FIRST_MOMENT: Timestamp = 1_767_225_600_000_000;

/// What the operator of every house says of it; `tests/interop/chirrup.toml` says the same.
const OPERATOR: &str = "[contacts]\noutage = [\"https://status.example/DOMAIN.json\"]\n\
    [[external_services]]\ntype = \"stun\"\nhost = \"stun.example\"\nport = 3478\ntransport = \"udp\"\n\
    [[external_services]]\ntype = \"turn\"\nhost = \"turn.example\"\nport = 3478\ntransport = \"udp\"\n\
    secret = \"north\"\n";

/// The runtime's time as wall time, from a fixed moment on.
struct StageClock(Instant);

impl Clock for StageClock {
    fn now(&self) -> Timestamp {
        FIRST_MOMENT + u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// The houses of one play.
pub struct InProcess {
    houses: BTreeMap<String, Arc<House>>,
    ways: Arc<Ways>,
    street: Option<Street>,
    folder: PathBuf,
}

/// Where houses find each other.
#[derive(Default)]
struct Street {
    resolver: Arc<ScriptedResolver>,
    dialer: Arc<ScriptedDialer>,
}

impl Street {
    /// Lets the house of `domain` be found; it is the `number`th.
    fn put(&self, house: &Arc<House>, domain: &str, number: u8) {
        let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, number));
        let answer = Answer { records: vec![ip], is_secure: false };
        self.resolver.set_addresses(domain, Family::V4, Duration::ZERO, Ok(answer));
        let house = Arc::clone(house);
        self.dialer.at(SocketAddr::new(ip, 5269), move || {
            let (near, far) = tokio::io::duplex(WIRE_BYTES);
            tokio::spawn(Arc::clone(&house).attach_server(Box::new(far), s2s::Door::StartTls, ip));
            Box::pin(async move { Ok(Box::new(near) as _) })
        });
    }
}

impl InProcess {
    /// Builds the houses a play needs on the runtime that calls; `name` tells their folder from those of others.
    pub async fn build(name: &str, text: &str) -> Result<Self, String> {
        Self::furnish(name, text, None).await
    }

    /// The same, with streams between the houses: TLS, and dialback, since their certificates are self-made.
    pub async fn linked(name: &str, text: &str) -> Result<Self, String> {
        Self::furnish(&format!("linked-{name}"), text, Some(Street::default())).await
    }

    async fn furnish(name: &str, text: &str, street: Option<Street>) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("chirrup-play-{}-{name}", std::process::id()));
        let mut theatre = Self { houses: BTreeMap::new(), ways: Ways::new(), street, folder };
        let cast = Script::parse(text).map_err(|error| error.to_string())?.cast;
        theatre.open("localhost", &cast).await?;
        for character in &cast {
            let domain = character.domain().unwrap_or("localhost");
            if character.kind != Kind::Server && !theatre.houses.contains_key(domain) {
                theatre.open(domain, &cast).await?;
            }
        }
        Ok(theatre)
    }

    async fn open(&mut self, domain: &str, cast: &[Character]) -> Result<(), String> {
        let folder = self.folder.join(domain);
        let text = format!(
            "data_directory = {:?}\nregistration = \"open\"\nadmins = [\"bard@{domain}\"]\n[[host]]\ndomain = {domain:?}\n[c2s]\n\
             tls_required = false\n[s2s]\nrequire_valid_certificate = false\n[store]\nengine = \"memory\"\n{}{}",
            folder.display().to_string(),
            OPERATOR.replace("DOMAIN", domain),
            components(domain, cast)
        );
        let config = Config::parse(&text, None).map_err(|error| error.to_string())?;
        let mut world = World::real(&config).await?;
        let number = 1 + self.houses.len() as u8;
        world.clock = Arc::new(StageClock(Instant::now()));
        world.ids = Arc::new(SeededIds::new(number.into()));
        if let Some(street) = &self.street {
            world.resolver = Arc::clone(&street.resolver) as Arc<dyn Resolver>;
            world.dialer = Arc::clone(&street.dialer) as Arc<dyn Dialer>;
        }
        let house = House::build(config, world).await?;
        tokio::spawn(Arc::clone(&house).keep());
        let behind = cast.iter().filter(|one| one.kind == Kind::Component && one.domain() == Some(domain));
        let services = ["pubsub", "comments", "spaces"].map(|label| format!("{label}.{domain}"));
        let own = services.iter().map(String::as_str).chain([domain]);
        let domains: Vec<&str> = behind.filter_map(|one| one.get("jid")).chain(own).collect();
        match &self.street {
            Some(street) => domains.iter().for_each(|domain| street.put(&house, domain, number)),
            None => {
                domains.iter().for_each(|domain| self.ways.join(domain, &house.router));
                house.router.open_detour(Arc::clone(&self.ways) as Arc<dyn Road>);
            }
        }
        self.houses.insert(domain.to_owned(), house);
        Ok(())
    }

    /// Streams with other servers that are open now, counted at the house of `localhost`.
    pub fn links(&self) -> usize {
        self.houses.get("localhost").map_or(0, |house| house.federation.links())
    }

    fn house(&self, domain: &str) -> Result<&Arc<House>, String> {
        self.houses.get(domain).ok_or_else(|| format!("nobody serves {domain}"))
    }
}

/// What the configuration of `host` says of the components in the cast: `configured: key = value, …` in their own words.
fn components(host: &str, cast: &[Character]) -> String {
    let mut text = String::new();
    let mut seen = Vec::new();
    for character in cast.iter().filter(|one| one.kind == Kind::Component && one.domain() == Some(host)) {
        let name = character.get("jid").unwrap_or_default();
        if character.get("configured") == Some("no") || seen.contains(&name) {
            continue;
        }
        seen.push(name);
        let secret = character.get("shared").or(character.get("secret")).unwrap_or_default();
        text.push_str(&format!("[[component]]\nname = {name:?}\nsecret = {secret:?}\nhost = {host:?}\n"));
        for key in ["connections_max", "label", "privileges", "delegation", "balance", "on_conflict"] {
            if let Some(value) = character.get(key) {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
    }
    let asked_for = cast.iter().find_map(|one| one.get("client_namespaces"));
    if let Some(namespaces) = asked_for {
        text.push_str(&format!("[delegation]\nclient_namespaces = {namespaces}\n"));
    }
    text
}

impl Drop for InProcess {
    fn drop(&mut self) {
        // The self-made certificates; whether they go is the temporary folder's affair.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Theatre for InProcess {
    fn domain(&self) -> &str {
        "localhost"
    }

    fn has_servers(&self) -> bool {
        true
    }

    fn name(&self) -> String {
        String::new()
    }

    fn localpart(&self, written: &str) -> String {
        written.to_owned()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }

    fn quiet(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn admit(&self, localpart: &str, domain: &str, password: &str) -> Result<(), String> {
        let jid = BareJid::new(&format!("{localpart}@{domain}")).map_err(|error| error.to_string())?;
        let house = self.house(domain)?;
        let now = house.clock.now();
        house.accounts.create(&jid, password, now).await.map_err(|error| format!("no account: {error}"))
    }

    async fn dial(&self, domain: &str) -> Result<(Box<dyn Wire>, Security), String> {
        let (ours, theirs) = tokio::io::duplex(WIRE_BYTES);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        tokio::spawn(Arc::clone(self.house(domain)?).attach(Box::new(theirs), Door::StartTls, peer));
        Ok((Box::new(ours), Security::Plain))
    }

    async fn gate(&self, host: &str) -> Result<Box<dyn Wire>, String> {
        let (ours, theirs) = tokio::io::duplex(WIRE_BYTES);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        tokio::spawn(Arc::clone(self.house(host)?).attach_component(Box::new(theirs), peer));
        Ok(Box::new(ours))
    }

    async fn dial_tls(&self, domain: &str) -> Result<(Box<dyn Wire>, Security), String> {
        let (ours, theirs) = tokio::io::duplex(WIRE_BYTES);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        tokio::spawn(Arc::clone(self.house(domain)?).attach(Box::new(theirs), Door::DirectTls, peer));
        Ok((Box::new(ours), Security::DirectTls))
    }

    async fn serve(&self, domain: &str) -> Result<Box<dyn Wire>, String> {
        if self.street.is_some() {
            return Err("a character would have to speak as servers do".to_owned());
        }
        let (ours, theirs) = tokio::io::duplex(WIRE_BYTES);
        self.ways.serve(domain, theirs);
        Ok(Box::new(ours))
    }
}
