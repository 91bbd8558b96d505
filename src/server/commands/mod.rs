//! One file for each command; here, what they share: arguments, configuration, where sentences go.

mod check;
mod components;
mod demo;
mod s2s;
mod serve;
mod store;
mod user;

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use chirrup::config::Config;
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::filter::EnvFilter;

/// An XMPP server for open, federated microblogging.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server. Without a configuration it serves localhost on loopback, from ./data.
    Serve(ConfigArgs),
    /// Show the main job: alice posts, bob follows and reads; then keep the server up to log in to.
    Demo(demo::DemoArgs),
    /// Open, change, close or list accounts, of a running server or a stopped one.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Say what is wrong with the configuration, the certificates, the data directory, the ports.
    Check(check::CheckArgs),
    /// List the streams with other servers: how they are secured, what waits, what went wrong.
    S2s(s2s::S2sArgs),
    /// List the components: whether they are connected, what waits for them.
    Components(components::ComponentsArgs),
    /// Work on a stopped server's store.
    #[command(subcommand)]
    Store(store::StoreCommand),
}

/// Which configuration.
#[derive(Debug, Clone, Args)]
struct ConfigArgs {
    /// The configuration file (TOML). Without it: embedded defaults.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    fn load(&self) -> Result<Config, String> {
        match &self.config {
            Some(file) => Config::load(file).map_err(|error| error.to_string()),
            None => Ok(Config::default()),
        }
    }
}

/// How a command ends: what to say when it did not do what was asked.
type Outcome = Result<(), String>;

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::User(command) => user::run(command),
        Command::Check(args) => check::run(&args),
        Command::S2s(args) => s2s::run(&args),
        Command::Components(args) => components::run(&args),
        Command::Store(command) => store::run(command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            let _closed = writeln!(std::io::stderr(), "chirrup: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// Says a line on standard output. That nobody listens any more is no error.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _closed = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Runs a command that waits for things.
fn block_on<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime cannot start: {error}"))?;
    let outcome = runtime.block_on(work);
    // Threads that wait for a disk or a terminal are not waited for.
    runtime.shutdown_background();
    outcome
}

/// The DNS library warns of every odd answer, whole, and strangers decide what is asked: silent unless named in the filter.
const QUIET: &str = "hickory_net=off,hickory_proto=off,hickory_resolver=off";

/// Reads a filter of what is logged.
fn filter(written: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(format!("{QUIET},{written}"))
        .map_err(|error| format!("`log`: `{written}` is not a filter: {error}"))
}

/// Sends what is logged to standard error. Answers how to change the filter later.
fn log(written: &str) -> Result<impl Fn(&str) -> Outcome + use<>, String> {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    let parse = |written: &str| filter(&std::env::var("CHIRRUP_LOG").unwrap_or_else(|_| written.to_owned()));
    let (layer, handle) = tracing_subscriber::reload::Layer::new(parse(written)?);
    tracing_subscriber::registry()
        .with(layer)
        .with(
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false),
        )
        .try_init()
        .map_err(|error| format!("the log cannot start: {error}"))?;
    Ok(move |written: &str| handle.reload(parse(written)?).map_err(|error| error.to_string()))
}
