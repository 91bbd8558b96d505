//! `chirrup user`: accounts, through the control socket of a running server or, when none runs, on its store.

use std::io::BufRead;
use std::sync::Arc;

use chirrup::config::Config;
use chirrup::control::{self, Request, Response};
use chirrup::house::{House, World};
use clap::{Args, Subcommand};

use super::{ConfigArgs, Outcome, block_on, say};

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Open an account.
    Add(PasswordArgs),
    /// Give an account another password.
    Passwd(PasswordArgs),
    /// Close an account and remove everything kept for it.
    Delete(JidArgs),
    /// List the accounts of one domain, or of all.
    List(ListArgs),
    /// Make an invitation for one new account (`registration = "invite"`).
    Invite(InviteArgs),
}

#[derive(Debug, Args)]
pub(super) struct JidArgs {
    /// The account: localpart@domain.
    jid: String,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(super) struct PasswordArgs {
    #[command(flatten)]
    account: JidArgs,
    /// Take the password from the first line of standard input instead of asking for it.
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// The domain; all that are served when left out.
    domain: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(super) struct InviteArgs {
    /// The domain; the first that is served when left out.
    domain: Option<String>,
    /// Days the invitation is good for.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Does what the command says.
pub(super) fn run(command: UserCommand) -> Outcome {
    match command {
        UserCommand::Add(args) => {
            let config = args.account.config.load()?;
            let password = password(args.password_stdin)?;
            block_on(one(config, Request::UserAdd { jid: args.account.jid, password }))
        }
        UserCommand::Passwd(args) => {
            let config = args.account.config.load()?;
            let password = password(args.password_stdin)?;
            block_on(one(config, Request::UserPasswd { jid: args.account.jid, password }))
        }
        UserCommand::Delete(args) => block_on(one(args.config.load()?, Request::UserDelete { jid: args.jid })),
        UserCommand::List(args) => block_on(list(args.config.load()?, args.domain)),
        UserCommand::Invite(args) => {
            let config = args.config.load()?;
            let first = || config.hosts.first().map(|host| host.domain.clone()).unwrap_or_default();
            let domain = args.domain.unwrap_or_else(first);
            block_on(one(config, Request::UserInvite { domain, seconds: args.days * 86_400 }))
        }
    }
}

/// Asks twice on the terminal, or reads a line.
fn password(from_stdin: bool) -> Result<String, String> {
    if from_stdin {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line).map_err(|error| format!("standard input: {error}"))?;
        if read == 0 {
            return Err("standard input has no line with a password".to_owned());
        }
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let ask = |prompt| {
        rpassword::prompt_password(prompt)
            .map_err(|error| format!("no terminal to ask for the password on ({error}); use --password-stdin"))
    };
    let password = ask("Password: ")?;
    if password != ask("Once more: ")? {
        return Err("the two passwords differ; nothing was changed".to_owned());
    }
    Ok(password)
}

/// Who answers: a running server, or the house built over its store with all doors closed.
enum Office {
    Running(Box<Config>),
    Stopped(Arc<House>),
}

impl Office {
    async fn open(config: Config) -> Result<Self, String> {
        let asked = control::ask(&config.data_directory, &Request::Status).await;
        let is_running = asked
            .map_err(|error| {
                let socket = control::socket_path(&config.data_directory);
                format!("{}: the running server does not answer: {error}", socket.display())
            })?
            .is_some();
        if is_running {
            return Ok(Self::Running(Box::new(config)));
        }
        let world = World::real(&config).await?;
        Ok(Self::Stopped(House::build(config, world).await?))
    }

    async fn ask(&self, request: Request) -> Result<Response, String> {
        match self {
            Self::Running(config) => control::ask(&config.data_directory, &request)
                .await
                .map_err(|error| format!("the running server does not answer: {error}"))?
                .ok_or_else(|| "the server stopped meanwhile; try again".to_owned()),
            Self::Stopped(house) => Ok(control::answer(house, request).await),
        }
    }

    fn hosts(&self) -> Vec<String> {
        let config = match self {
            Self::Running(config) => config,
            Self::Stopped(house) => &house.config,
        };
        config.hosts.iter().map(|host| host.domain.clone()).collect()
    }

    async fn close(self) -> Outcome {
        match self {
            Self::Running(_) => Ok(()),
            Self::Stopped(house) => house.store.close().await.map_err(|fault| fault.to_string()),
        }
    }
}

async fn one(config: Config, request: Request) -> Outcome {
    let office = Office::open(config).await?;
    let said = match office.ask(request).await {
        Ok(Response::Done { text }) => {
            say(&text);
            Ok(())
        }
        Ok(Response::Refused { text }) | Err(text) => Err(text),
        Ok(_) => Err("the server answered something else".to_owned()),
    };
    office.close().await.and(said)
}

async fn list(config: Config, domain: Option<String>) -> Outcome {
    let office = Office::open(config).await?;
    let domains = domain.map_or_else(|| office.hosts(), |domain| vec![domain]);
    let mut said = Ok(());
    for domain in domains {
        let mut after = None;
        loop {
            match office.ask(Request::UserList { domain: domain.clone(), after: after.take() }).await {
                Ok(Response::Accounts { accounts, is_complete }) => {
                    accounts.iter().for_each(|account| say(account));
                    after = accounts.last().cloned();
                    if is_complete || after.is_none() {
                        break;
                    }
                }
                Ok(Response::Refused { text } | Response::Done { text }) | Err(text) => {
                    said = Err(text);
                    break;
                }
                Ok(_) => {
                    said = Err("the server answered something else".to_owned());
                    break;
                }
            }
        }
    }
    office.close().await.and(said)
}
