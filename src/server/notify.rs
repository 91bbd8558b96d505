//! Telling systemd how we are: sd_notify(3) without libsystemd. A datagram to the socket named in the environment;
//! where none is named, nothing happens.

use std::env;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    to: Option<SocketAddr>,
    watchdog: Option<Duration>,
}

/// What we tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// All listeners are open.
    Ready,
    /// A reload has begun; [`State::Ready`] ends it.
    Reloading,
    /// Streams are being ended.
    Stopping,
    /// Alive: the runtime runs and the store answers.
    Watchdog,
    /// A sentence for `systemctl status`.
    Status(String),
}

impl State {
    fn text(&self) -> String {
        match self {
            Self::Ready => "READY=1".to_owned(),
            Self::Reloading => "RELOADING=1".to_owned(),
            Self::Stopping => "STOPPING=1".to_owned(),
            Self::Watchdog => "WATCHDOG=1".to_owned(),
            // One assignment a line: a line break in the sentence would begin another.
            Self::Status(sentence) => format!("STATUS={}", sentence.replace(['\n', '\r'], " ")),
        }
    }
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn from_environment() -> Self {
        let to = env::var_os("NOTIFY_SOCKET").and_then(|name| address(name.as_bytes()).ok());
        let is_ours = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let usec = env::var("WATCHDOG_USEC").ok().and_then(|usec| usec.parse::<u64>().ok());
        let watchdog = usec.filter(|usec| is_ours && *usec > 0).map(Duration::from_micros);
        Self { to, watchdog }
    }

    /// How often to say [`State::Watchdog`]: half of what the service manager waits for it.
    pub fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog.map(|whole| whole / 2)
    }

    /// Tells it. A failure is logged: nothing else can be done about it.
    pub fn tell(&self, state: &State) {
        let Some(to) = &self.to else { return };
        let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to_addr(state.text().as_bytes(), to));
        if let Err(error) = sent {
            tracing::warn!(%error, ?state, "the service manager cannot be told");
        }
    }
}

/// A path, or after `@` a name in the abstract namespace.
fn address(name: &[u8]) -> io::Result<SocketAddr> {
    match name.strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        #[cfg(not(target_os = "linux"))]
        Some(_) => Err(io::ErrorKind::Unsupported.into()),
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn each_state_is_one_datagram() {
        let path = env::temp_dir().join(format!("chirrup-notify-{}", std::process::id()));
        std::fs::remove_file(&path).ok();
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier { to: address(path.as_os_str().as_bytes()).ok(), watchdog: None };
        let table = [
            (State::Ready, "READY=1"),
            (State::Reloading, "RELOADING=1"),
            (State::Stopping, "STOPPING=1"),
            (State::Watchdog, "WATCHDOG=1"),
            (State::Status("two\nlines".to_owned()), "STATUS=two lines"),
        ];
        for (state, text) in table {
            notifier.tell(&state);
            let mut buffer = [0_u8; 64];
            let length = manager.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], text.as_bytes());
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn without_a_service_manager_nothing_is_said() {
        let notifier = Notifier::default();
        notifier.tell(&State::Ready);
        assert_eq!(notifier.watchdog_period(), None);
    }
}
