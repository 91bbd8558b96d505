//! `chirrup serve`: the server until a signal ends it.
//!
//! SIGTERM and Ctrl-C end streams politely; a second one does not wait for them. SIGHUP looks at certificates and
//! the log filter again. systemd is told of each (sd_notify), and that we are alive as long as the store answers.

use std::sync::Arc;
use std::time::Duration;

use chirrup::control::{self, Control};
use chirrup::house::{House, Server};
use chirrup::notify::{Notifier, State};
use chirrup::runtime::Stop;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::{ConfigArgs, Outcome, block_on, log};

/// Runs until told to stop.
pub(super) fn run(args: &ConfigArgs) -> Outcome {
    let config = args.load()?;
    let relog = log(&config.log)?;
    let read = format!("{config:?}");
    block_on(async {
        let signals = Signals::new()?;
        let server = Server::start(config).await?;
        let reread = || reread(args, &read, &relog);
        keep(server, signals, &reread).await
    })
}

/// Keeps a server up until a signal ends it.
pub(super) async fn keep(server: Server, mut signals: Signals, reread: &impl Fn()) -> Outcome {
    let notifier = Notifier::from_environment();
    let house = Arc::clone(server.house());
    let control = match open_control(&house) {
        Ok(control) => control,
        Err(error) => {
            server.stop().await;
            return Err(error);
        }
    };
    complain(&house);
    let hosts = house.config.hosts.iter().map(|host| host.domain.as_str()).collect::<Vec<_>>().join(", ");
    let listen = &house.config.listen;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %hosts, c2s = ?listen.c2s, c2s_tls = ?listen.c2s_tls, s2s = ?listen.s2s, s2s_tls = ?listen.s2s_tls, "serving");
    notifier.tell(&State::Status(format!("serving {hosts}")));
    notifier.tell(&State::Ready);

    let mut alive = every(notifier.watchdog_period().unwrap_or(Duration::from_secs(3600)));
    let mut certificates = every(Duration::from_secs(house.config.tls.certificate_check_seconds));
    let mut restart = false;
    loop {
        tokio::select! {
            biased;
            heard = signals.next() => {
                if let Heard::Stop(name) = heard {
                    tracing::info!(signal = name, "stopping; once more to stop at once");
                    break;
                }
                notifier.tell(&State::Reloading);
                reread();
                refresh(&house).await;
                tracing::info!("looked at certificates and log filter again");
                notifier.tell(&State::Ready);
            }
            _ = alive.tick(), if notifier.watchdog_period().is_some() => {
                match tokio::time::timeout(Duration::from_secs(30), house.store.get(b"\x03alive")).await {
                    Ok(Ok(_)) => notifier.tell(&State::Watchdog),
                    Ok(Err(fault)) => tracing::error!(%fault, "the store does not answer"),
                    Err(_) => tracing::error!("the store has not answered for 30 seconds"),
                }
            }
            _ = certificates.tick() => refresh(&house).await,
            stop = house.switch.thrown() => {
                tracing::info!(?stop, "stopping, as an administrator wants it");
                restart = stop == Stop::Restart;
                break;
            }
        }
    }
    notifier.tell(&State::Stopping);
    drop(control);
    tokio::select! {
        () = server.stop() => tracing::info!("stopped"),
        () = signals.stop() => tracing::warn!("stopped at once"),
    }
    if restart { begin_anew() } else { Ok(()) }
}

/// Puts this program anew in the place of this process, as it was called; does not return when that works.
fn begin_anew() -> Outcome {
    use std::os::unix::process::CommandExt;
    let program = std::env::current_exe().map_err(|error| format!("cannot restart: {error}"))?;
    // So the kernel calls a file that was replaced, as an upgrade does: the new one is where the old one was.
    let program = match program.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => path.into(),
        None => program,
    };
    let error = std::process::Command::new(program).args(std::env::args_os().skip(1)).exec();
    Err(format!("cannot restart: {error}"))
}

fn open_control(house: &Arc<House>) -> Result<Control, String> {
    let answering = Arc::clone(house);
    control::listen(&house.config.data_directory, move |request| {
        let house = Arc::clone(&answering);
        async move { control::answer(&house, request).await }
    })
    .map_err(|error| error.to_string())
}

/// Says what about the certificates an administrator should know.
fn complain(house: &House) {
    let now = i64::try_from(house.clock.now() / 1_000_000).unwrap_or(i64::MAX);
    for host in &house.config.hosts {
        let complaints = house.tls.certificate(&host.domain).map(|one| one.complaints(&host.domain, now));
        for complaint in complaints.unwrap_or_default() {
            tracing::warn!("{complaint}");
        }
    }
}

/// Looks at the certificate files, and says what came of it.
async fn refresh(house: &Arc<House>) {
    let tls = Arc::clone(&house.tls);
    let Ok((changed, errors)) = tokio::task::spawn_blocking(move || tls.refresh()).await else { return };
    for domain in &changed {
        tracing::info!(%domain, "new certificate in use");
    }
    for error in errors {
        tracing::error!("{error}; the certificate before it stays in use");
    }
    if !changed.is_empty() {
        complain(house);
    }
}

/// Reads the file again for what can change while running: the log filter. Says so when more has changed.
fn reread(args: &ConfigArgs, read: &str, relog: &impl Fn(&str) -> Outcome) {
    let said = args.load().and_then(|config| {
        relog(&config.log)?;
        if format!("{config:?}") != *read {
            tracing::warn!("the configuration has changed: the log filter is in use, all else waits for a restart");
        }
        Ok(())
    });
    if let Err(error) = said {
        tracing::error!("{error}; the configuration before it stays in use");
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The signals we listen to.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from now on; what comes before it is looked at is not lost.
    pub(super) fn new() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("signals cannot be heard: {error}"));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Heard::Stop("SIGINT"),
            _ = self.terminate.recv() => Heard::Stop("SIGTERM"),
            _ = self.hangup.recv() => Heard::Reload,
        }
    }

    /// Waits for one that says to stop.
    async fn stop(&mut self) {
        while self.next().await == Heard::Reload {}
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Stop(&'static str),
    Reload,
}
