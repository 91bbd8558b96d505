//! `chirrup check`: prints what was found and fails when something would not work.

use std::sync::Arc;

use chirrup::check::{self, Finding, Weight};
use chirrup::config::Config;
use chirrup::control::{self, Request, Response};
use chirrup::house::{House, World};
use chirrup::runtime::{Clock, DnsResolver, SystemClock, TcpDialer};
use chirrup::tables;
use clap::{Args, ValueEnum};

use super::{ConfigArgs, Outcome, block_on, filter, say};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// What to look at instead of the configuration.
    what: Option<What>,
    /// For `connectivity`: the domain to reach.
    #[arg(required_if_eq("what", "connectivity"))]
    domain: Option<String>,
    /// For `connectivity`: our domain to reach it from; the first one when left out.
    #[arg(long, value_name = "DOMAIN")]
    from: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Read every row of a stopped server's store.
    Store,
    /// Look the hosts up as a client would.
    Dns,
    /// Try to reach another server, and say how far it goes: DNS, connection, TLS, certificate, features, authentication.
    Connectivity,
}

/// Prints the findings.
pub(super) fn run(args: &CheckArgs) -> Outcome {
    let config = args.config.load()?;
    if args.what == Some(What::Connectivity) {
        let domain = args.domain.clone().unwrap_or_default();
        return block_on(connectivity(config, domain, args.from.clone()));
    }
    if let Some(domain) = &args.domain {
        return Err(format!("`{domain}` is one argument too many"));
    }
    let findings = block_on(async {
        House::rehearse(&config).await?;
        let asked = control::ask(&config.data_directory, &Request::Status).await;
        let is_running = matches!(asked, Ok(Some(_)));
        match args.what {
            None => {
                let now = i64::try_from(SystemClock.now() / 1_000_000).unwrap_or(i64::MAX);
                let mut findings = check::look(&config, is_running, now);
                if let Err(text) = filter(&config.log) {
                    findings.push(Finding { weight: Weight::Bad, text });
                }
                Ok(findings)
            }
            Some(What::Dns) => Ok(check::dns::look(&config).await),
            // Answered above.
            Some(What::Connectivity) => Ok(Vec::new()),
            Some(What::Store) if is_running => {
                Err("a server is running on this data directory; stop it to check its store".to_owned())
            }
            Some(What::Store) => {
                let store = tables::open_existing_store(&config).await?;
                let mut findings = check::verify(store.as_ref()).await;
                if let Err(fault) = store.close().await {
                    findings.push(Finding { weight: Weight::Bad, text: fault.to_string() });
                }
                Ok(findings)
            }
        }
    })?;
    for finding in &findings {
        say(&finding.to_string());
    }
    match findings.iter().filter(|finding| finding.weight == Weight::Bad).count() {
        0 => Ok(()),
        1 => Err("one thing is wrong".to_owned()),
        count => Err(format!("{count} things are wrong")),
    }
}

/// Has the running server try, or tries without one.
async fn connectivity(config: Config, domain: String, from: Option<String>) -> Outcome {
    let request = Request::Connectivity { domain: domain.clone(), from };
    let asked = control::ask(&config.data_directory, &request).await.map_err(|error| error.to_string())?;
    let response = match asked {
        Some(response) => response,
        None => {
            say("no server is running here: dialback will not work, since nobody answers for this domain");
            let world = World {
                resolver: Arc::new(DnsResolver::new(&config.dns)?),
                dialer: Arc::new(TcpDialer),
                ..World::alone()
            };
            let house = House::build(config, world).await?;
            control::answer(&house, request).await
        }
    };
    match response {
        Response::Probed(probed) => {
            probed.steps.iter().for_each(|step| say(step));
            match probed.failure {
                None => Ok(()),
                Some(failure) => Err(format!("{domain} cannot be reached: {failure}")),
            }
        }
        Response::Refused { text } => Err(text),
        _ => Err("the server answered something else".to_owned()),
    }
}
