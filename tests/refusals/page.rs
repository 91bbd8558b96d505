//! `docs/refusals.md`: the rows as a page. Generated from them, so what it says has been played.

use std::fmt::Write;

use super::caller::Inbound;
use super::calling::{After, Outbound};
use super::components::{self, Row};
use super::plays::{self, Play};
use super::{crowd, inbound, logins, nodes, outbound, posts, timelines};
use crate::tidy;

const INTRODUCTION: &str = "\
# Refusals

What other servers, components, clients and strangers may try, and what they get. Every row is a test (`tests/refusals`),
played against a whole server, with TLS and certificates of the test's own where they matter; this page is generated from
the rows by that test, and is not to be edited.

In each of those of servers a link with one that has done nothing wrong stays up, and carries stanzas both ways. `capulet.lit`
and `rosaline.lit` are ours; the other server says that it is `montague.lit`. *closed* is the end of a stream without an
error, *cut* the end of a connection without one. Rows that are marked \u{2713} refuse nothing: they show where the line
is. Policy is as it is by default unless a row says otherwise.
";

const TABLES_IN: [(&str, &[Inbound]); 4] = [
    ("Certificates that are shown to us", inbound::certificates_shown_to_us::ROWS),
    ("Negotiation", inbound::negotiation::ROWS),
    ("Dialback", inbound::dialback::ROWS),
    ("Stanzas, acknowledgements, XML", inbound::stanzas::ROWS),
];

const TABLES_OUT: [(&str, &[Outbound]); 4] = [
    ("Certificates that we are shown", outbound::certificates_they_show::ROWS),
    ("Negotiation", outbound::negotiating::ROWS),
    ("Names", outbound::names::ROWS),
    ("What they send", outbound::stanzas_they_send::ROWS),
];

const TABLES_OF_CLIENTS: [(&str, &[logins::Row]); 3] = [
    ("What is shown to be let in", logins::shown::ROWS),
    ("Tokens", logins::tokens::ROWS),
    ("What is counted, acknowledged and resumed", logins::counted::ROWS),
];

fn policy(policy: &str) -> String {
    let lines: Vec<&str> = policy.lines().collect();
    if lines.is_empty() { String::new() } else { format!("; policy: `{}`", lines.join("`, `")) }
}

fn joined(told: &[&str]) -> String {
    let mut runs: Vec<(&str, usize)> = Vec::new();
    for one in told {
        match runs.last_mut() {
            Some((last, count)) if last == one => *count += 1,
            _ => runs.push((one, 1)),
        }
    }
    let runs = runs.into_iter().map(|(one, count)| match count {
        1 => one.to_owned(),
        _ => format!("{one} \u{d7}{count}"),
    });
    runs.collect::<Vec<_>>().join(", ")
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut count = 0;
    page.push_str("\n## What other servers do that connect to us\n");
    for (title, rows) in TABLES_IN {
        write!(page, "\n### {title}\n\n| when | the other server is told | by |\n|---|---|---|\n").unwrap();
        for row in rows {
            let told = if row.told.is_empty() { "\u{2713}".to_owned() } else { joined(row.told) };
            writeln!(page, "| {}{} | {told} | {} |", row.when, policy(row.policy), row.by).unwrap();
            count += 1;
        }
    }
    write!(page, "\n### With more than one stream, or more than one server\n\n").unwrap();
    page.push_str("| when | the other server is told | by |\n|---|---|---|\n");
    for Play { when, by, told } in plays::ROWS.iter().chain(crowd::ROWS) {
        writeln!(page, "| {when} | {} | {by} |", joined(told)).unwrap();
        count += 1;
    }
    page.push_str(
        "\n## What becomes of our stanzas to other servers\n\n\
         Their senders are told once for each message and each question, and never for errors and results. *At once* is \
         after the first attempt, *in the end* when they have waited as long as stanzas may; from then on, for a while, \
         senders are told without another attempt.\n",
    );
    for (title, rows) in TABLES_OUT {
        write!(page, "\n### {title}\n\n| when | the other server is told | our senders are told | by |\n").unwrap();
        page.push_str("|---|---|---|---|\n");
        for row in rows {
            let refusals: Vec<&str> = row
                .told
                .iter()
                .copied()
                .filter(|told| !told.starts_with("message") && !told.starts_with("iq"))
                .collect();
            let after = match row.after {
                After::First => "at once",
                After::Patience | After::Streams => "in the end",
                After::Nothing => "without an attempt",
                After::Loss => "when the stream is lost",
            };
            let senders =
                if row.senders.is_empty() { "\u{2713}".to_owned() } else { format!("{}, {after}", row.senders) };
            let Outbound { when, by, .. } = row;
            writeln!(page, "| {when}{} | {} | {senders} | {by} |", policy(row.policy), joined(&refusals)).unwrap();
            count += 1;
        }
    }
    page.push_str(
        "\n## What components do\n\n`irc.localhost` is the component that is tried; `good.localhost`, which has done nothing \
         wrong, stays connected. Nothing that is forged reaches anybody.\n\n| when | the component is told | by |\n\
         |---|---|---|\n",
    );
    for Row { when, told, by, .. } in components::ROWS {
        let kind = if components::IS_STANZA_ERROR.contains(told) { "error" } else { "stream error" };
        writeln!(page, "| {when} | {kind} {told} | {by} |").unwrap();
        count += 1;
    }
    page.push_str(
        "\n## What strangers try with nodes\n\n`tybalt@montague.lit` is on another server, which has proven who it is. Juliet \
         has nodes: `wall`, where anyone publishes, `blog`, which anyone reads, `club`, for whom she admits, and `diary`, for \
         nobody else. What stands on the wall afterwards is part of each row.\n\n| when | at | he is told | by |\n\
         |---|---|---|---|\n",
    );
    for nodes::Row { when, homes, told, by, .. } in nodes::all() {
        let told: Vec<&str> = told.iter().map(|told| if told.is_empty() { "\u{2713}" } else { told }).collect();
        writeln!(page, "| {when} | {} | {} | {by} |", nodes::at(homes), joined(&told)).unwrap();
        count += 1;
    }
    page.push_str(
        "\n## What guests publish\n\nJuliet has a blog with comments, and Romeo, here or on another server, is nothing to her.\n\n\
         | when | he is told | by |\n|---|---|---|\n",
    );
    for posts::Row { when, policy: configured, told, by, .. } in posts::ROWS {
        let told = if told.is_empty() { "\u{2713}" } else { told };
        let by = match *by {
            page @ ("notifications" | "tags" | "timeline") => format!("[{page}](../xeps/chirrup-{page}.md)"),
            by => by.to_owned(),
        };
        let configured: Vec<&str> = configured.lines().filter(|line| !line.starts_with('[')).collect();
        writeln!(page, "| {when}{} | {told} | {by} |", policy(&configured.join("\n"))).unwrap();
        count += 1;
    }
    page.push_str(
        "\n## What clients do\n\nRomeo's client is the one that is tried, or Tybalt's with what is Romeo's. Juliet, who has a \
         certificate registered and has done nothing wrong, is answered afterwards as before, and hears of it only where \
         a row says so. With several streams, what is told on each is told here one after the other.\n",
    );
    for (title, rows) in TABLES_OF_CLIENTS {
        write!(page, "\n### {title}\n\n| when | the client is told | by |\n|---|---|---|\n").unwrap();
        for logins::Row { when, policy: added, told, by, .. } in rows {
            let told = if told.is_empty() { "\u{2713}".to_owned() } else { joined(told) };
            writeln!(page, "| {when}{} | {told} | {by} |", policy(added)).unwrap();
            count += 1;
        }
    }
    page.push_str(
        "\n## What is tried with home timelines\n\nBy Juliet, whose timeline it is, and by `tybalt@montague.lit` and his server. \
         What is in her timeline afterwards is part of each row, and how often his server is asked and told something.\n\n\
         | when | who asks is told | his server is asked for items | by |\n|---|---|---|---|\n",
    );
    for timelines::Row { when, policy: configured, told, gets: (asked, _), by, .. } in timelines::ROWS {
        let told: Vec<&str> = told.iter().map(|told| if told.is_empty() { "\u{2713}" } else { told }).collect();
        let by = if *by == "timeline" { "[timeline](../xeps/chirrup-timeline.md)" } else { by };
        let lines: Vec<&str> = configured.lines().filter(|line| !line.starts_with('[')).collect();
        let asked = if *asked == 0 { String::new() } else { format!("\u{d7}{asked}") };
        writeln!(page, "| {when}{} | {} | {asked} | {by} |", policy(&lines.join("\n")), joined(&told)).unwrap();
        count += 1;
    }
    write!(page, "\n{count} rows.\n").unwrap();
    page
}

#[test]
fn the_page_is_the_table() {
    tidy::generated(&tidy::top().join("docs/refusals.md"), &page());
}
