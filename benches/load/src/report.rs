//! The table of a measuring campaign: the least CPU and the medians of all else that was measured, server by
//! server, beside the marks this project has set itself.

use crate::Res;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

type Line = Value;

/// One row of the main table.
struct Row {
    title: &'static str,
    /// What to reach, plain and with TLS.
    marks: (&'static str, &'static str),
    /// Which lines belong to it.
    of: fn(&Line) -> bool,
    key: &'static str,
}

fn text<'a>(l: &'a Line, k: &str) -> &'a str {
    l.get(k).and_then(Value::as_str).unwrap_or("")
}

fn number(l: &Line, path: &str) -> Option<f64> {
    path.split('.').try_fold(l, |l, k| l.get(k))?.as_f64()
}

fn is(l: &Line, scenario: &str) -> bool {
    text(l, "scenario") == scenario
}

fn at(l: &Line, k: &str, n: f64) -> bool {
    number(l, k) == Some(n)
}

fn secured(l: &Line) -> bool {
    text(l, "tls") != "none"
}

/// Which file a line is from.
const FILE: &str = "file";
const CPU: &str = "cpu_us_per_op";
const POST: &str = "cpu_us_per_post";
const WIRE: &str = "wire_bytes_per_post";

/// Whether the server has a message archive: peers/server's suffix says that it has none.
fn archives(l: &Line) -> bool {
    !text(l, "label").contains("-nomam") && text(l, "label") != "relay"
}

fn resumes(l: &Line, via: &str, pipeline: bool) -> bool {
    is(l, "resume") && text(l, "via") == via && l.get("pipeline") == Some(&Value::Bool(pipeline))
}

fn by_token(l: &Line, rotate: bool, pipeline: bool) -> bool {
    is(l, "fast-login")
        && l.get("rotate") == Some(&Value::Bool(rotate))
        && l.get("pipeline") == Some(&Value::Bool(pipeline))
}

/// Messages one way between local clients and far domains.
fn far_chat(l: &Line, way: &str) -> bool {
    is(l, "s2s-chat") && text(l, "way") == way && l.get("acks") != Some(&Value::Bool(true))
}

/// Posts to 10,000 followers on far domains.
fn far_fanout(l: &Line, via: &str, multicast: bool) -> bool {
    is(l, "s2s-fanout")
        && text(l, "via") == via
        && at(l, "followers", 10_000.0)
        && l.get("multicast") == Some(&Value::Bool(multicast))
}

const ROWS: &[Row] = &[
    Row {
        title: "chat message delivered, 50 pairs, window 4",
        marks: ("25", "35"),
        of: |l| is(l, "chat") && l.get("window").is_some() && !archives(l),
        key: CPU,
    },
    Row {
        title: "chat message delivered, 1,000 a second",
        marks: ("", ""),
        of: |l| is(l, "chat") && at(l, "rate", 1000.0) && !archives(l),
        key: CPU,
    },
    Row {
        title: "chat message delivered and archived, 50 pairs, window 4",
        marks: ("70, fjall 45", ""),
        of: |l| is(l, "chat") && l.get("window").is_some() && archives(l),
        key: CPU,
    },
    Row {
        title: "chat message delivered and archived, 1,000 a second",
        marks: ("", ""),
        of: |l| is(l, "chat") && at(l, "rate", 1000.0) && archives(l),
        key: CPU,
    },
    Row {
        title: "notification, 1,000 explicit subscribers",
        marks: ("12", "16"),
        of: |l| is(l, "fanout") && text(l, "via") == "subscribe" && at(l, "followers", 1000.0),
        key: CPU,
    },
    Row {
        title: "notification, 10,000 explicit subscribers",
        marks: ("12", "16"),
        of: |l| is(l, "fanout") && text(l, "via") == "subscribe" && at(l, "followers", 10_000.0),
        key: CPU,
    },
    Row {
        title: "notification, 1,000 by presence",
        marks: ("12", "16"),
        of: |l| is(l, "fanout") && text(l, "via") == "presence" && at(l, "followers", 1000.0),
        key: CPU,
    },
    Row {
        title: "notification, 10,000 by presence",
        marks: ("12", "16"),
        of: |l| is(l, "fanout") && text(l, "via") == "presence" && at(l, "followers", 10_000.0),
        key: CPU,
    },
    Row {
        title: "message arriving from another server, 50 pairs, window 4",
        marks: ("", ""),
        of: |l| far_chat(l, "in") && l.get("window").is_some(),
        key: CPU,
    },
    Row {
        title: "message arriving from another server, 1,000 a second",
        marks: ("", ""),
        of: |l| far_chat(l, "in") && at(l, "rate", 1000.0),
        key: CPU,
    },
    Row {
        title: "message leaving for another server, 50 pairs, window 4",
        marks: ("", ""),
        of: |l| far_chat(l, "out") && l.get("window").is_some(),
        key: CPU,
    },
    Row {
        title: "message leaving for another server, 1,000 a second",
        marks: ("", ""),
        of: |l| far_chat(l, "out") && at(l, "rate", 1000.0),
        key: CPU,
    },
    Row {
        title: "notification, 10,000 explicit subscribers on 10 other servers",
        marks: ("", ""),
        of: |l| far_fanout(l, "subscribe", false),
        key: CPU,
    },
    Row {
        title: "post of 2 kB, 10,000 explicit subscribers on 10 other servers",
        marks: ("", ""),
        of: |l| far_fanout(l, "subscribe", false),
        key: POST,
    },
    Row {
        title: "bytes on the wire of such a post, 10,000 explicit subscribers on 10 other servers",
        marks: ("", ""),
        of: |l| far_fanout(l, "subscribe", false),
        key: WIRE,
    },
    Row {
        title: "notification, 10,000 explicit subscribers on 10 other servers, multicast announced",
        marks: ("", ""),
        of: |l| far_fanout(l, "subscribe", true),
        key: CPU,
    },
    Row {
        title: "post of 2 kB, 10,000 explicit subscribers on 10 other servers, multicast announced",
        marks: ("", ""),
        of: |l| far_fanout(l, "subscribe", true),
        key: POST,
    },
    Row {
        title: "bytes on the wire of such a post, 10,000 explicit subscribers on 10 other servers, multicast announced",
        marks: ("", ""),
        of: |l| far_fanout(l, "subscribe", true),
        key: WIRE,
    },
    Row {
        title: "notification, 10,000 followers by presence on 10 other servers",
        marks: ("", ""),
        of: |l| far_fanout(l, "presence", false),
        key: CPU,
    },
    Row {
        title: "post of 2 kB, 10,000 followers by presence on 10 other servers",
        marks: ("", ""),
        of: |l| far_fanout(l, "presence", false),
        key: POST,
    },
    Row {
        title: "bytes on the wire of such a post, 10,000 followers by presence on 10 other servers",
        marks: ("", ""),
        of: |l| far_fanout(l, "presence", false),
        key: WIRE,
    },
    Row {
        title: "notification, 10,000 followers by presence on 10 other servers, multicast announced",
        marks: ("", ""),
        of: |l| far_fanout(l, "presence", true),
        key: CPU,
    },
    Row {
        title: "post of 2 kB, 10,000 followers by presence on 10 other servers, multicast announced",
        marks: ("", ""),
        of: |l| far_fanout(l, "presence", true),
        key: POST,
    },
    Row {
        title: "bytes on the wire of such a post, 10,000 followers by presence on 10 other servers, multicast announced",
        marks: ("", ""),
        of: |l| far_fanout(l, "presence", true),
        key: WIRE,
    },
    Row {
        title: "page of 20 posts of 100, max_items",
        marks: ("100", ""),
        of: |l| is(l, "timeline") && text(l, "by") == "max_items" && at(l, "posts", 100.0),
        key: CPU,
    },
    Row {
        title: "page of 20 posts of 100, RSM",
        marks: ("100", ""),
        of: |l| is(l, "timeline") && text(l, "by") == "rsm" && at(l, "posts", 100.0),
        key: CPU,
    },
    Row {
        title: "page of 20 posts of 1,000,000, max_items",
        marks: ("100", ""),
        of: |l| is(l, "timeline") && text(l, "by") == "max_items" && at(l, "posts", 1e6),
        key: CPU,
    },
    Row {
        title: "page of 20 posts of 1,000,000, RSM",
        marks: ("100", ""),
        of: |l| is(l, "timeline") && text(l, "by") == "rsm" && at(l, "posts", 1e6),
        key: CPU,
    },
    Row {
        title: "page of 50 posts of a home timeline, 300 followed, 10,200 posts",
        marks: ("", ""),
        of: |l| is(l, "home") && at(l, "followed", 300.0) && at(l, "items", 50.0),
        key: CPU,
    },
    Row { title: "publish acknowledged, 64 at once", marks: ("90", ""), of: |l| is(l, "publish"), key: CPU },
    Row {
        title: "one more follower by presence",
        marks: ("300", ""),
        of: |l| is(l, "follow") && text(l, "via") == "presence",
        key: CPU,
    },
    Row {
        title: "one more explicit subscriber",
        marks: ("300", ""),
        of: |l| is(l, "follow") && text(l, "via") == "subscribe",
        key: CPU,
    },
    Row { title: "idle session, bytes", marks: ("8,192", "20,480"), of: |l| is(l, "idle"), key: "rss_per_session" },
    Row {
        title: "login, SCRAM-SHA-1",
        marks: ("400", "1,000"),
        of: |l| is(l, "login") && text(l, "mech") == "ScramSha1",
        key: CPU,
    },
    Row {
        title: "login, SCRAM-SHA-256",
        marks: ("400", "1,000"),
        of: |l| is(l, "login") && text(l, "mech") == "ScramSha256",
        key: CPU,
    },
    Row { title: "login, PLAIN", marks: ("", ""), of: |l| is(l, "login") && text(l, "mech") == "Plain", key: CPU },
    Row {
        title: "login by token, SASL2 and Bind 2, TLS session resumed",
        marks: ("", "500"),
        of: |l| by_token(l, false, false),
        key: CPU,
    },
    Row {
        title: "login by token, not waiting for features",
        marks: ("", "500"),
        of: |l| by_token(l, false, true),
        key: CPU,
    },
    Row { title: "login by token, a new token each time", marks: ("", ""), of: |l| by_token(l, true, false), key: CPU },
    Row {
        title: "stream resumed, by SCRAM and `<resume/>`",
        marks: ("300", "300"),
        of: |l| resumes(l, "classic", false),
        key: CPU,
    },
    Row {
        title: "stream resumed, by token, all in one request",
        marks: ("", "300"),
        of: |l| resumes(l, "fast", false),
        key: CPU,
    },
    Row {
        title: "stream resumed, by token, not waiting for features",
        marks: ("", "300"),
        of: |l| resumes(l, "fast", true),
        key: CPU,
    },
    Row { title: "registration", marks: ("", ""), of: |l| is(l, "register"), key: CPU },
    Row { title: "last 50 of 1,000 archived messages", marks: ("150", ""), of: |l| is(l, "mam"), key: CPU },
];

/// What servers have no way to do: rows by the beginning of their titles, and servers by that of their labels.
/// Prosody 0.12 and ejabberd 23.01 have neither SASL2 nor tokens, and no timelines.
const CANNOT: &[(&str, &[&str])] = &[
    ("login by token", &["ejabberd", "prosody", "relay"]),
    ("stream resumed, by token", &["ejabberd", "prosody", "relay"]),
    ("stream resumed", &["relay"]),
    ("page of 50 posts of a home timeline", &["ejabberd", "prosody", "relay"]),
    ("last 50 of 1,000 archived messages", &["nomam", "relay"]),
    ("chat message delivered and archived", &["nomam", "relay"]),
];

fn cannot(title: &str, label: &str) -> bool {
    let is_so = |of: &str| label.starts_with(of) || label.split('-').any(|part| part == of);
    CANNOT.iter().any(|(row, servers)| title.starts_with(row) && servers.iter().any(|of| is_so(of)))
}

/// Rates and latencies, which the machine's load moves more than the server does.
const SIDE: &[(&str, &str)] = &[
    ("messages/s", "messages_per_s"),
    ("notifications/s", "notifications_per_s"),
    ("requests/s", "requests_per_s"),
    ("follows/s", "follows_per_s"),
    ("logins/s", "logins_per_s"),
    ("latency p50, ms", "latency_ms.p50"),
    ("latency p99, ms", "latency_ms.p99"),
    ("login p50, ms", "login_ms.p50"),
    ("login p99, ms", "login_ms.p99"),
    ("resumptions/s", "resumptions_per_s"),
    ("resumption p50, ms", "resume_ms.p50"),
    ("resumption p99, ms", "resume_ms.p99"),
    ("TLS sessions resumed, %", "tls_resumed_pct"),
    ("last follower p50, ms", "last_follower_ms.p50"),
    ("last follower p99, ms", "last_follower_ms.p99"),
    ("acknowledged p50, ms", "ack_ms.p50"),
    ("bytes a session after the hold", "rss_per_session_held"),
    ("CPU µs to open a session", "open_cpu_us_per_session"),
    ("CPU % while idle", "idle_cpu_pct"),
    ("CPU µs a publish while filling", "setup_cpu_us_per_publish"),
    ("answer, bytes", "bytes_per_answer"),
    ("stanzas a post", "stanzas_per_post"),
    ("bytes of XML a post", "xml_bytes_per_post"),
    ("bytes on the wire a post", WIRE),
    ("CPU µs a follower while subscribing", "setup_cpu_us_per_follower"),
];

fn median(mut v: Vec<f64>) -> Option<f64> {
    v.sort_by(f64::total_cmp);
    let n = v.len();
    match n {
        0 => None,
        _ if n % 2 == 1 => Some(v[n / 2]),
        _ => Some(f64::midpoint(v[n / 2 - 1], v[n / 2])),
    }
}

fn thousands(x: f64) -> String {
    if x < 100.0 && x != 0.0 {
        return format!("{x:.*}", if x < 10.0 { 2 } else { 1 });
    }
    let digits = format!("{x:.0}");
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// The lines of a row by server, in the order servers first appear in.
fn by_label<'a>(lines: &[&'a Line], labels: &[String]) -> Vec<Vec<&'a Line>> {
    labels.iter().map(|l| lines.iter().copied().filter(|x| text(x, "label") == l).collect()).collect()
}

fn cell(lines: &[&Line], key: &str) -> String {
    let ok: Vec<f64> = lines.iter().filter(|l| l["ok"] == true).filter_map(|l| number(l, key)).collect();
    // What else runs on the machine costs CPU time too (caches, switches): it adds and never takes away.
    let of = if key == CPU || key == POST { ok.into_iter().reduce(f64::min) } else { median(ok) };
    let failed = lines.iter().filter(|l| l["ok"] != true).count();
    match (of, failed) {
        (Some(m), 0) => thousands(m),
        (Some(m), _) => format!("{} ({failed} failed)", thousands(m)),
        (None, 0) => "–".into(),
        (None, _) => "failed".into(),
    }
}

/// Of each server only what the last file that has any says.
fn latest(lines: Vec<&Line>) -> Vec<&Line> {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let file = |l: &Line| l.get(FILE).and_then(Value::as_u64).unwrap_or(0);
    for l in &lines {
        let of = last.entry(text(l, "label")).or_default();
        *of = file(l).max(*of);
    }
    lines.into_iter().filter(|l| last.get(text(l, "label")) == Some(&file(l))).collect()
}

/// A row's lines by growing number of followers already there, or all together.
fn parts<'a>(lines: Vec<&'a Line>) -> BTreeMap<u64, Vec<&'a Line>> {
    let mut out: BTreeMap<u64, Vec<&'a Line>> = BTreeMap::new();
    for l in lines {
        out.entry(number(l, "followers_before").unwrap_or(0.0) as u64).or_default().push(l);
    }
    out
}

fn table(lines: &[Line]) -> String {
    let mut labels: Vec<String> = Vec::new();
    for l in lines {
        if !labels.iter().any(|x| x == text(l, "label")) {
            labels.push(text(l, "label").to_string());
        }
    }
    let head = labels.iter().map(|l| format!(" {l} |")).collect::<String>();
    let mut main = format!("| CPU µs per operation | mark |{head}\n|---|---:|{}\n", "---:|".repeat(labels.len()));
    let mut side = String::new();
    for row in ROWS {
        for tls in [false, true] {
            let of = latest(lines.iter().filter(|l| secured(l) == tls && (row.of)(l)).collect());
            let mark = if tls { row.marks.1 } else { row.marks.0 };
            let parts = parts(of);
            let many = parts.len() > 1;
            for (before, part) in parts {
                let mut title = row.title.to_string();
                if many {
                    title += &format!(", at {}", thousands(before as f64));
                }
                if tls {
                    title += ", TLS";
                }
                let cells = by_label(&part, &labels);
                let row_of = |key: &str| {
                    let cells = cells.iter().zip(&labels).map(|(c, label)| match c.is_empty() {
                        true if cannot(row.title, label) => " cannot |".to_owned(),
                        _ => format!(" {} |", cell(c, key)),
                    });
                    cells.collect::<String>()
                };
                main += &format!("| {title} | {mark} |{}\n", row_of(row.key));
                let details: String = SIDE
                    .iter()
                    .filter(|(_, k)| part.iter().any(|l| number(l, k).is_some()))
                    .map(|(name, k)| format!("| {name} |{}\n", row_of(k)))
                    .collect();
                // Rows that show the same lines by another figure have the same details.
                let own = row.key != POST && row.key != WIRE;
                if own && !details.is_empty() && !many {
                    let runs = cells.iter().map(|c| format!(" {} |", c.len())).collect::<String>();
                    side += &format!(
                        "\n#### {title}\n\n| |{head}\n|---|{}\n{details}| runs |{runs}\n",
                        "---:|".repeat(labels.len())
                    );
                }
            }
        }
    }
    let mut failures: Vec<String> = Vec::new();
    for l in lines.iter().filter(|l| l["ok"] != true) {
        let e = l["errors"][0].as_str().unwrap_or("").replace('`', "'");
        let f =
            format!("- {}, {}: `{}`\n", text(l, "label"), text(l, "scenario"), e.chars().take(300).collect::<String>());
        if !failures.contains(&f) {
            failures.push(f);
        }
    }
    if !failures.is_empty() {
        side += &format!("\n#### Runs that failed, and count in no cell\n\n{}", failures.concat());
    }
    format!("{main}\n### Rates and latencies\n{side}")
}

/// Print the tables of result files. What a later file says of a row and a server replaces what an earlier one does.
pub(crate) fn print(files: &[PathBuf]) -> Res<()> {
    let mut lines: Vec<Line> = Vec::new();
    for (at, f) in files.iter().enumerate() {
        let s = fs::read_to_string(f).map_err(|e| format!("{}: {e}", f.display()))?;
        for l in s.lines().filter(|l| !l.trim().is_empty()) {
            let mut line: Line = serde_json::from_str(l).map_err(|e| format!("{}: {e}", f.display()))?;
            if let Some(fields) = line.as_object_mut() {
                fields.insert(FILE.into(), at.into());
            }
            lines.push(line);
        }
    }
    print!("{}", table(&lines));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_least_beside_marks_and_failures_apart() {
        let run = |label: &str, us: f64, ok: bool| {
            let label = format!("{label}-nomam");
            json!({"scenario": "chat", "label": label, "tls": "none", "ok": ok, "window": 4,
                   "cpu_us_per_op": us, "errors": if ok { json!([]) } else { json!(["lost one"]) }})
        };
        let t = table(&[
            run("a", 20.0, true),
            run("a", 24.0, true),
            run("a", 28.0, true),
            run("b", 1234.0, true),
            run("b", 1.0, false),
        ]);
        assert!(t.contains("| chat message delivered, 50 pairs, window 4 | 25 | 20.0 | 1,234 (1 failed) |"), "{t}");
        assert!(t.contains("- b-nomam, chat: `lost one`"), "{t}");
    }

    #[test]
    fn later_files_replace_earlier_ones() {
        let run = |file: u64, label: &str, us: f64| json!({"scenario": "mam", "label": label, "tls": "none", "ok": true, "cpu_us_per_op": us, "file": file});
        let t = table(&[run(0, "a", 10.0), run(0, "b", 20.0), run(1, "a", 30.0), run(1, "a", 50.0)]);
        assert!(t.contains("| last 50 of 1,000 archived messages | 150 | 30.0 | 20.0 |"), "{t}");
    }

    #[test]
    fn who_has_no_way_to_do_something_is_said_to() {
        let line = |label: &str, via: &str| json!({"scenario": "resume", "label": label, "tls": "direct", "ok": true, "via": via, "pipeline": false, "cpu_us_per_op": 300.0});
        let t = table(&[line("chirrup", "fast"), line("prosody", "classic"), line("other", "classic")]);
        assert!(t.contains("| stream resumed, by token, all in one request, TLS | 300 | 300 | cannot | – |"), "{t}");
        assert!(t.contains("| stream resumed, by SCRAM and `<resume/>`, TLS | 300 | – | 300 | 300 |"), "{t}");
    }

    #[test]
    fn groups_digits() {
        assert_eq!([0.0, 9.5, 99.5, 999.6, 1_234_567.0].map(thousands), ["0", "9.50", "99.5", "1,000", "1,234,567"]);
    }
}
