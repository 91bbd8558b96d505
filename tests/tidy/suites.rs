//! The compliance suites (XEP-0479): each row that asks something of a server, and the plays that show it is there.
//!
//! `suites.txt` says which plays; a row that names a play that does not exist, or a specification that nobody claims, is
//! a fault. Written into `xeps/README.md` by the test of claims.

use std::fmt::Write as _;

use chirrup::extension::{Support, Xep};

use super::claims::Claims;
use super::top;

const HEAD: &str = "
## Compliance suites

What [XEP-0479](https://xmpp.org/extensions/xep-0479.html) (XMPP Compliance Suites 2023, version 0.1.0) asks of servers, \
and what shows that it is there: plays of `tests/scenarios`, or tests. ✓ asked for, ✕ not; a row that is **open** is not \
complete yet. Rows that ask something of clients only are left out.
";

struct Row<'a> {
    feature: &'a str,
    /// Whether every server, and whether an advanced one is asked for it.
    marks: (&'a str, &'a str),
    specifications: &'a str,
    proofs: Vec<&'a str>,
    open: &'a str,
}

impl<'a> Row<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split('|').map(str::trim);
        let mut next = || fields.next();
        let (feature, level, specifications, proofs, open) = (next()?, next()?, next()?, next()?, next()?);
        let marks = match level {
            "server" => ("✓", "✓"),
            "advanced" => ("✕", "✓"),
            "note" => ("–", "–"),
            _ => return None,
        };
        Some(Row { feature, marks, specifications, proofs: proofs.split_whitespace().collect(), open })
    }

    /// Numbers of the XEPs it names; RFCs are nobody's claim.
    fn xeps(&self) -> Vec<u16> {
        self.specifications.split(',').filter_map(|name| name.trim().parse().ok()).collect()
    }

    /// What is wrong about it.
    fn faults(&self, claims: &Claims) -> Vec<String> {
        let mut faults: Vec<String> = self
            .proofs
            .iter()
            .filter(|proof| !top().join(place(proof)).exists())
            .map(|proof| format!("{}: there is no {}", self.feature, place(proof)))
            .collect();
        let is_complete =
            |number: &u16| claims.get(number).is_some_and(|(xep, _)| matches!(xep.support, Support::Complete));
        if self.open.is_empty() {
            if self.proofs.is_empty() {
                faults.push(format!("{}: neither a play nor a reason why it is open", self.feature));
            }
            let is_served =
                |number: &u16| claims.get(number).is_some_and(|(xep, _)| !matches!(xep.support, Support::Declined));
            for number in self.xeps().iter().filter(|number| !is_served(number)) {
                faults.push(format!("{}: no extension claims XEP-{number:04}", self.feature));
            }
        } else if !self.xeps().is_empty() && self.xeps().iter().all(is_complete) {
            faults
                .push(format!("{}: open, though all it names is claimed: name the plays in suites.txt", self.feature));
        }
        faults
    }

    fn render(&self, claims: &Claims) -> String {
        let specifications: Vec<String> = self
            .specifications
            .split(',')
            .map(str::trim)
            .map(|name| match name.parse::<u16>() {
                Ok(number) => specification(number, claims.get(&number).map(|(xep, _)| *xep)),
                Err(_) => name.to_owned(),
            })
            .collect();
        let mut shown: Vec<String> =
            self.proofs.iter().map(|proof| format!("[{}](../{})", name_of(proof), place(proof))).collect();
        if !self.open.is_empty() {
            shown.insert(0, format!("**open**: {}", self.open));
        }
        let (server, advanced) = self.marks;
        format!("| {} | {server} | {advanced} | {} | {} |\n", self.feature, specifications.join(", "), shown.join(", "))
    }
}

/// Where a proof is, from the top: a play's name, or a path as it stands.
fn place(proof: &str) -> String {
    if proof.contains('/') { proof.to_owned() } else { format!("tests/scenarios/{proof}.scs") }
}

/// A play by what happens in it, a test by its path.
fn name_of(proof: &str) -> String {
    match proof.split_once('-') {
        Some((number, what)) if number.len() == 4 => what.replace('-', " "),
        _ => format!("`{proof}`"),
    }
}

fn specification(number: u16, claim: Option<&Xep>) -> String {
    match claim {
        Some(xep) if matches!(xep.support, Support::Partial) => format!("[{number:04}](xep-{number:04}.md) in part"),
        Some(xep) if matches!(xep.support, Support::Declined) => format!("[{number:04}](xep-{number:04}.md) not"),
        Some(_) => format!("[{number:04}](xep-{number:04}.md)"),
        None => format!("{number:04}"),
    }
}

/// The section of the table of what is implemented; or everything that is wrong with it.
pub fn section(claims: &Claims) -> Result<String, Vec<String>> {
    let mut text = HEAD.to_owned();
    let mut faults = Vec::new();
    let rows = std::fs::read_to_string(top().join("tests/tidy/suites.txt")).unwrap();
    for line in rows.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        if let Some(suite) = line.strip_prefix("= ") {
            let columns = "| Feature | Server | Advanced server | Specifications | Shown by |\n|---|---|---|---|---|\n";
            let _infallible = write!(text, "\n### {suite}\n\n{columns}");
        } else if let Some(row) = Row::parse(line) {
            faults.extend(row.faults(claims));
            text.push_str(&row.render(claims));
        } else {
            faults.push(format!("suites.txt: {line}"));
        }
    }
    if faults.is_empty() { Ok(text) } else { Err(faults) }
}

#[test]
fn rows_that_name_what_is_not_there_are_faults() {
    let of = |line: &str| Row::parse(line).unwrap().faults(&Claims::new());
    assert_eq!(of("X | server | RFC 1 | 6120-stanzas-keep-their-order |"), Vec::<String>::new());
    assert_eq!(
        of("X | server | RFC 1 | 6120-no-such-play |"),
        ["X: there is no tests/scenarios/6120-no-such-play.scs"]
    );
    assert_eq!(of("X | server | RFC 1 | |"), ["X: neither a play nor a reason why it is open"]);
    assert_eq!(
        of("X | advanced | 0030, 0045 | 6120-stanzas-keep-their-order |"),
        ["X: no extension claims XEP-0030", "X: no extension claims XEP-0045"]
    );
    assert_eq!(of("X | advanced | 0045 | | rooms"), Vec::<String>::new());
    assert!(Row::parse("X | sometimes | 0045 | | rooms").is_none());
}
