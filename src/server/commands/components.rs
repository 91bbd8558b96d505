//! `chirrup components`: the components of the configuration, as a running server has them now.

use chirrup::components::Status;
use chirrup::config::Config;
use chirrup::control::{self, Request, Response};
use chirrup::runtime::{Clock, SystemClock, Timestamp};
use clap::Args;

use super::{ConfigArgs, Outcome, block_on, say};

#[derive(Debug, Args)]
pub(super) struct ComponentsArgs {
    /// Print JSON, one array of objects.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Prints the table.
pub(super) fn run(args: &ComponentsArgs) -> Outcome {
    let config = args.config.load()?;
    let components = block_on(ask(&config))?;
    if args.json {
        say(&serde_json::to_string_pretty(&components).map_err(|error| error.to_string())?);
        return Ok(());
    }
    table(&components, SystemClock.now()).iter().for_each(|line| say(line));
    Ok(())
}

async fn ask(config: &Config) -> Result<Vec<Status>, String> {
    match control::ask(&config.data_directory, &Request::Components).await.map_err(|error| error.to_string())? {
        Some(Response::Components { components }) => Ok(components),
        Some(Response::Refused { text }) => Err(text),
        Some(_) => Err("the server answered something else".to_owned()),
        None => Err(format!("no server is running on {}", config.data_directory.display())),
    }
}

fn table(components: &[Status], now: Timestamp) -> Vec<String> {
    if components.is_empty() {
        return vec!["no components in the configuration".to_owned()];
    }
    let head = ["NAME", "HOST", "STATE", "ADDRESS", "QUEUE", "BYTES", "IN", "OUT", "SECONDS"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(components.iter().map(|one| row(one, now)));
    let width = |column: usize| rows.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count())).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &[String; 9]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(one: &Status, now: Timestamp) -> [String; 9] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        one.name.clone(),
        one.host.clone(),
        if one.is_connected { "connected" } else { "absent" }.to_owned(),
        or_dash(one.address.clone()),
        one.queue_stanzas.to_string(),
        one.queue_bytes.to_string(),
        one.received.to_string(),
        one.sent.to_string(),
        or_dash(one.is_connected.then(|| (now.saturating_sub(one.since) / 1_000_000).to_string())),
    ]
}
