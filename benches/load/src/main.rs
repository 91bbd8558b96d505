//! `chirrup-load`: a load generator for any server of RFC 6120, with a bare relay as
//! physical yardstick and a report of what was measured. `benches/README.md` says how
//! it is used; `benches/run` uses it.
//!
//! Every scenario prints one line of JSON per measured window. A run that loses,
//! doubles, reorders or misfills anything is `"ok": false`, and the exit status 1.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks there")]

mod archive;
mod chat;
mod client;
mod context;
mod fanout;
mod far;
mod fast;
mod follow;
mod home;
mod measure;
mod microblog;
mod polite;
mod publish;
mod relay;
mod report;
mod requests;
mod resume;
mod s2s_chat;
mod s2s_fanout;
mod sasl;
mod sasl2;
mod sessions;
mod timeline;
mod tls;
mod xml;

use clap::{Parser, Subcommand};
use client::{Mech, Target, Tls};
use context::Context;
use measure::{Fields, Server};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A result whose error is a sentence for the result line.
pub(crate) type Res<T> = Result<T, String>;

/// The guarded value, whatever happened to another holder: a run with a panicked
/// task fails by its counts.
pub(crate) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Parser)]
#[command(about = "Load generator for XMPP servers", version)]
struct Cli {
    /// Server address, ip:port
    #[arg(long, global = true, default_value = "127.0.0.1:5222")]
    addr: std::net::SocketAddr,
    #[arg(long, global = true, default_value = "bench.test")]
    domain: String,
    #[arg(long, global = true, value_enum, default_value = "none")]
    tls: Tls,
    #[arg(long, global = true, value_enum, default_value = "scram-sha1")]
    mech: Mech,
    /// Pattern of localparts; {n} is the account's number
    #[arg(long, global = true, default_value = "u{n}")]
    user: String,
    /// Pattern of passwords
    #[arg(long, global = true, default_value = "p{n}")]
    pass: String,
    /// Number of the scenario's first account
    #[arg(long, global = true, default_value_t = 1)]
    first: usize,
    /// Server process ids to account for, with their descendants
    #[arg(long, global = true, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Logins in flight at once while setting up
    #[arg(long, global = true, default_value_t = 16)]
    concurrency: usize,
    /// Seconds one login may take
    #[arg(long, global = true, default_value_t = 60)]
    timeout: u64,
    /// Free text copied into the result lines: the server's name
    #[arg(long, global = true, default_value = "")]
    label: String,
    /// The server is the bare relay (chat and fanout only)
    #[arg(long, global = true)]
    bare: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// In-band registration (XEP-0077) of N accounts; existing ones are counted apart
    Register {
        /// Accounts
        n: usize,
    },
    /// Login storm: TCP connect to bind result, then close
    Login(sessions::Login),
    /// Login by token, with SASL2, Bind 2 and TLS session resumption
    FastLogin(fast::FastLogin),
    /// Streams that are cut and resumed (XEP-0198)
    Resume(resume::Resume),
    /// N idle sessions with presence: server memory, and CPU while they idle
    Idle(sessions::Idle),
    /// Pairs chatting, closed loop (--window) or open loop (--rate)
    Chat(chat::Chat),
    /// One publisher's posts to many online followers
    Fanout(fanout::Fanout),
    /// Messages between local clients and far domains, one way
    S2sChat(s2s_chat::S2sChat),
    /// One publisher's posts to followers on far domains
    S2sFanout(s2s_fanout::S2sFanout),
    /// Make certificates for --domain and the far domains, of an authority of their own
    Authority {
        /// Folder to write to
        dir: PathBuf,
        /// Far domains
        #[arg(long, default_value_t = 10)]
        domains: usize,
    },
    /// What one more follower costs, at growing numbers of them
    Follow(follow::Follow),
    /// Publishing, acknowledged when durable
    Publish(publish::Publish),
    /// Reading the newest posts of microblogs
    Timeline(timeline::Timeline),
    /// Reading the newest posts of home timelines (urn:chirrup:timeline:0)
    Home(home::Home),
    /// Reading the newest messages of archives (XEP-0313)
    Mam(archive::Mam),
    /// Be the bare relay on --addr, until killed
    Relay(relay::Relay),
    /// Write a Markdown table of result files
    Report {
        /// Files of result lines
        files: Vec<PathBuf>,
    },
}

/// As many descriptors as are allowed here.
fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let max = now.maximum.unwrap_or(1 << 20);
    let wanted = Rlimit { current: Some(max), maximum: now.maximum };
    if setrlimit(Resource::Nofile, wanted).is_ok() { max } else { now.current.unwrap_or(1024) }
}

fn context(cli: &Cli, sessions: usize) -> Res<Context> {
    Ok(Context {
        target: Target {
            addr: cli.addr,
            domain: cli.domain.clone(),
            tls: cli.tls,
            mech: cli.mech,
            user: cli.user.clone(),
            pass: cli.pass.clone(),
            bare: cli.bare,
            sources: u32::try_from(sessions / 25_000).unwrap_or(0) + 1,
            timeout: Duration::from_secs(cli.timeout),
            connector: tls::connector()?,
            salted: Arc::default(),
        },
        server: Server { roots: cli.pid.clone() },
        first: cli.first,
        concurrency: cli.concurrency,
    })
}

/// Run the scenario: its name, and the fields of its lines.
async fn run(cli: &Cli, x: &Context) -> (&'static str, Res<Vec<Fields>>) {
    let one = |r: Res<Fields>| r.map(|f| vec![f]);
    match &cli.command {
        Command::Register { n } => ("register", one(sessions::register(x, *n).await)),
        Command::Login(o) => ("login", one(sessions::login(x, o).await)),
        Command::FastLogin(o) => ("fast-login", one(Box::pin(fast::fast_login(x, o)).await)),
        Command::Resume(o) => ("resume", Box::pin(resume::resume(x, o)).await),
        Command::Idle(o) => ("idle", one(sessions::idle(x, o).await)),
        Command::Chat(o) => ("chat", one(chat::chat(x, o).await)),
        Command::Fanout(o) => ("fanout", Box::pin(fanout::fanout(x, o)).await),
        Command::Follow(o) => ("follow", Box::pin(follow::follow(x, o)).await),
        Command::Publish(o) => ("publish", one(publish::publish(x, o).await)),
        Command::Timeline(o) => ("timeline", one(Box::pin(timeline::timeline(x, o)).await)),
        Command::Home(o) => ("home", one(Box::pin(home::home(x, o)).await)),
        Command::Mam(o) => ("mam", one(archive::mam(x, o).await)),
        Command::S2sChat(o) => ("s2s-chat", one(Box::pin(s2s_chat::s2s_chat(x, o)).await)),
        Command::S2sFanout(o) => ("s2s-fanout", Box::pin(s2s_fanout::s2s_fanout(x, o)).await),
        Command::Relay(_) | Command::Report { .. } | Command::Authority { .. } => ("none", Ok(Vec::new())),
    }
}

/// Print the lines; whether all were ok.
fn print(cli: &Cli, scenario: &str, result: Res<Vec<Fields>>) -> bool {
    let lines = result.unwrap_or_else(|e| vec![Fields::from_iter([("errors".to_string(), json!([e]))])]);
    let mut all_ok = true;
    for fields in lines {
        let ok = fields.get("errors").and_then(Value::as_array).is_none_or(Vec::is_empty);
        all_ok &= ok;
        let mut line = Fields::new();
        line.insert("scenario".into(), json!(scenario));
        line.insert("label".into(), json!(cli.label));
        line.insert("tls".into(), json!(format!("{:?}", cli.tls).to_lowercase()));
        line.insert("mech".into(), json!(format!("{:?}", cli.mech)));
        line.insert("ok".into(), json!(ok));
        line.extend(fields);
        println!("{}", Value::Object(line));
    }
    if !all_ok {
        eprintln!("chirrup-load: FAILED {scenario} {}", cli.label);
    }
    all_ok
}

fn main() {
    let cli = Cli::parse();
    let done = |r: Res<()>| match r {
        Ok(()) => std::process::exit(0),
        Err(e) => {
            eprintln!("chirrup-load: {e}");
            std::process::exit(2)
        }
    };
    let descriptors = raise_descriptors();
    let sessions = match &cli.command {
        Command::Relay(o) => done(relay::serve(cli.addr, cli.tls != Tls::None, o)),
        Command::Authority { dir, domains } => done(far::authority::make(dir, &cli.domain, &far::domains(*domains))),
        Command::Report { files } => done(report::print(files)),
        Command::Idle(o) => o.n,
        Command::Fanout(o) => o.followers,
        Command::Follow(o) => o.followers,
        _ => 0,
    };
    if sessions as u64 + 50 > descriptors {
        done(Err(format!("{sessions} sessions need more than the {descriptors} descriptors allowed here")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ok = match (context(&cli, sessions), runtime) {
        (Ok(x), Ok(runtime)) => {
            let (scenario, result) = runtime.block_on(run(&cli, &x));
            let ok = print(&cli, scenario, result);
            // Not waiting for thousands of sockets to be closed one by one.
            std::process::exit(i32::from(!ok));
        }
        (Err(e), _) => Err(e),
        (_, Err(e)) => Err(e.to_string()),
    };
    done(ok);
}
