//! Staging in process: a house of its own for each play, on the memory store, pipes for wires, and paused time.
//!
//! Time moves when everyone waits, so a play in which days pass takes no time. Passwords are stretched on worker
//! threads, which tokio's paused clock waits for.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chirrup::config::Config;
use chirrup::house::{House, World};
use chirrup::net::c2s::Door;
use chirrup::runtime::{Clock, SeededIds, Timestamp};
use tokio::time::Instant;
use xmpp::jid::BareJid;

use super::actor::{Security, Wire};
use super::director::Theatre;

/// Bytes in flight on a wire before its writer has to wait.
const WIRE_BYTES: usize = 64 * 1024;
/// 2026-01-01T00:00:00Z.
const FIRST_MOMENT: Timestamp = 1_767_225_600_000_000;

/// The runtime's time as wall time, from a fixed moment on.
struct StageClock(Instant);

impl Clock for StageClock {
    fn now(&self) -> Timestamp {
        FIRST_MOMENT + u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// A house built for one play.
pub struct InProcess {
    house: Arc<House>,
    folder: PathBuf,
}

impl InProcess {
    /// Builds a house on the runtime that calls; `name` tells its folder from those of others.
    pub async fn build(name: &str) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("chirrup-play-{}-{name}", std::process::id()));
        let text = format!(
            "data_directory = {:?}\nregistration = \"open\"\n[c2s]\ntls_required = false\n[store]\nengine = \"memory\"\n",
            folder.display().to_string()
        );
        let config = Config::parse(&text, None).map_err(|error| error.to_string())?;
        let real = World::real(&config).await?;
        let world = World { clock: Arc::new(StageClock(Instant::now())), ids: Arc::new(SeededIds::new(1)), ..real };
        let house = House::build(config, world).await?;
        tokio::spawn(Arc::clone(&house).keep());
        Ok(Self { house, folder })
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        // The self-made certificate; whether it goes is the temporary folder's affair.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Theatre for InProcess {
    fn domain(&self) -> &str {
        "localhost"
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

    async fn admit(&self, localpart: &str, password: &str) -> Result<(), String> {
        let jid = BareJid::new(&format!("{localpart}@localhost")).map_err(|error| error.to_string())?;
        let now = self.house.clock.now();
        self.house.accounts.create(&jid, password, now).await.map_err(|error| format!("no account: {error}"))
    }

    async fn dial(&self) -> Result<(Box<dyn Wire>, Security), String> {
        let (ours, theirs) = tokio::io::duplex(WIRE_BYTES);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        tokio::spawn(Arc::clone(&self.house).attach(Box::new(theirs), Door::StartTls, peer));
        Ok((Box::new(ours), Security::Plain))
    }
}
