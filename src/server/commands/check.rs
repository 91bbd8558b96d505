//! `chirrup check`: prints what was found and fails when something would not work.

use chirrup::check::{self, Finding, Weight};
use chirrup::control::{self, Request};
use chirrup::house::House;
use chirrup::runtime::{Clock, SystemClock};
use chirrup::tables;
use clap::{Args, ValueEnum};

use super::{ConfigArgs, Outcome, block_on, say};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// What to look at instead of the configuration.
    what: Option<What>,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Read every row of a stopped server's store.
    Store,
    /// Look the hosts up as a client would.
    Dns,
}

/// Prints the findings.
pub(super) fn run(args: &CheckArgs) -> Outcome {
    let config = args.config.load()?;
    let findings = block_on(async {
        House::rehearse(&config).await?;
        let asked = control::ask(&config.data_directory, &Request::Status).await;
        let is_running = matches!(asked, Ok(Some(_)));
        match args.what {
            None => {
                let now = i64::try_from(SystemClock.now() / 1_000_000).unwrap_or(i64::MAX);
                Ok(check::look(&config, is_running, now))
            }
            Some(What::Dns) => Ok(check::dns::look(&config).await),
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
