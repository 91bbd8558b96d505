//! `chirrup s2s`: the streams with other servers, as a running server has them now.

use chirrup::config::Config;
use chirrup::control::{self, Request, Response};
use chirrup::runtime::{Clock, SystemClock, Timestamp};
use chirrup::s2s::handle::{Direction, Status};
use clap::Args;

use super::{ConfigArgs, Outcome, block_on, say};

#[derive(Debug, Args)]
pub(super) struct S2sArgs {
    /// Print JSON, one array of objects.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Prints the table.
pub(super) fn run(args: &S2sArgs) -> Outcome {
    let config = args.config.load()?;
    let (links, is_complete) = block_on(ask(&config))?;
    if args.json {
        say(&serde_json::to_string_pretty(&links).map_err(|error| error.to_string())?);
        return Ok(());
    }
    table(&links, SystemClock.now()).iter().for_each(|line| say(line));
    if !is_complete {
        say("… and more");
    }
    Ok(())
}

async fn ask(config: &Config) -> Result<(Vec<Status>, bool), String> {
    match control::ask(&config.data_directory, &Request::S2s).await.map_err(|error| error.to_string())? {
        Some(Response::Links { links, is_complete }) => Ok((links, is_complete)),
        Some(Response::Refused { text }) => Err(text),
        Some(_) => Err("the server answered something else".to_owned()),
        None => Err(format!("no server is running on {}", config.data_directory.display())),
    }
}

fn table(links: &[Status], now: Timestamp) -> Vec<String> {
    if links.is_empty() {
        return vec!["no streams with other servers, and nothing waits for one".to_owned()];
    }
    let head = [
        "LOCAL",
        "REMOTE",
        "WAY",
        "STATE",
        "TLS",
        "AUTHENTICATED",
        "CERTIFICATE",
        "WITH",
        "QUEUE",
        "BYTES",
        "IN",
        "OUT",
        "AGE",
        "LAST ERROR",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(links.iter().map(|link| row(link, now)));
    let width = |column: usize| rows.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count())).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &[String; 14]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(link: &Status, now: Timestamp) -> [String; 14] {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let with = [(link.has_acks, "acks"), (link.is_bidi, "bidi")];
    let with: Vec<&str> = with.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    let way = match link.direction {
        Direction::In => "in",
        Direction::Out => "out",
    };
    [
        link.local.clone(),
        link.remote.clone(),
        way.to_owned(),
        link.state.clone(),
        or_dash(&link.tls),
        or_dash(&link.authenticated),
        or_dash(&link.certificate),
        if with.is_empty() { "-".to_owned() } else { with.join("+") },
        link.queue_stanzas.to_string(),
        link.queue_bytes.to_string(),
        link.received.to_string(),
        link.sent.to_string(),
        if link.since == 0 { "-".to_owned() } else { age(now.saturating_sub(link.since) / 1_000_000) },
        or_dash(&link.last_error),
    ]
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}
