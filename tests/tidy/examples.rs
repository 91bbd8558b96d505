//! The examples that a specification prints, and the plays that show them.
//!
//! A remark in a play, `# Example 28.` or `# Examples 28, 30 to 33 and 170: why`, says that what follows is that example
//! of the specification the play is named after. The pages list which play shows which example; what no play shows has a
//! reason there, in a table of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;

use super::{generated, top};

/// Specifications whose examples are walked through, and which of them concern a server. They are counted from the
/// beginning of the specification.
const WALKED: [(&str, RangeInclusive<u32>); 13] = [
    ("0060", 7..=215),
    ("0163", 1..=11),
    ("0277", 1..=11),
    ("0376", 1..=6),
    ("0395", 1..=3),
    ("0442", 1..=2),
    ("0465", 1..=8),
    ("0470", 1..=8),
    ("0472", 1..=8),
    ("0496", 1..=6),
    ("0497", 1..=9),
    ("0499", 1..=4),
    ("0501", 1..=2),
];

const BEGIN: &str = "<!-- The plays' remarks say which examples they show; this table is written from them. -->\n";
const END: &str = "<!-- End of the table. -->\n";

/// The plays that show an example: those at services, and the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shown {
    at_services: BTreeSet<String>,
    at_accounts: BTreeSet<String>,
}

/// The numbers in `28, 30 to 33 and 170`.
fn numbers(text: &str) -> BTreeSet<u32> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let (mut found, mut before, mut is_range) = (BTreeSet::new(), 0, false);
    for word in words {
        match word.parse::<u32>() {
            Ok(number) => {
                found.extend(if is_range { before..=number } else { number..=number });
                (before, is_range) = (number, false);
            }
            Err(_) => is_range = word == "to",
        }
    }
    found
}

fn shown(xep: &str) -> BTreeMap<u32, Shown> {
    let mut all: BTreeMap<u32, Shown> = BTreeMap::new();
    for play in super::files_below(&top().join("tests/scenarios"), "scs") {
        let name = play.file_stem().unwrap().to_string_lossy().into_owned();
        if !name.starts_with(xep) {
            continue;
        }
        let text = fs::read_to_string(&play).unwrap();
        let is_at_service = ["pubsub.", "comments."].iter().any(|service| text.contains(&format!("to='{service}")));
        let remarks = text.lines().filter_map(|line| line.strip_prefix("# Example"));
        for number in remarks.flat_map(|remark| numbers(remark.split(['.', ':']).next().unwrap_or_default())) {
            let shown = all.entry(number).or_default();
            if is_at_service { &mut shown.at_services } else { &mut shown.at_accounts }.insert(name[5..].to_owned());
        }
    }
    all
}

fn list(plays: &BTreeSet<String>) -> String {
    plays.iter().cloned().collect::<Vec<_>>().join(", ")
}

fn table(xep: &str, range: &RangeInclusive<u32>) -> String {
    let mut rows: Vec<(u32, u32, Shown)> = Vec::new();
    for (number, shown) in shown(xep).into_iter().filter(|(number, _)| range.contains(number)) {
        match rows.last_mut() {
            Some((_, last, same)) if *last + 1 == number && *same == shown => *last = number,
            _ => rows.push((number, number, shown)),
        }
    }
    let has_services = rows.iter().any(|(_, _, shown)| !shown.at_services.is_empty());
    let mut text = match has_services {
        true => "| example | play at a service | play at an account |\n|---|---|---|\n".to_owned(),
        false => "| example | play |\n|---|---|\n".to_owned(),
    };
    for (first, last, shown) in rows {
        let which = if first == last { first.to_string() } else { format!("{first} to {last}") };
        let (services, accounts) = (list(&shown.at_services), list(&shown.at_accounts));
        text.push_str(&match has_services {
            true => format!("| {which} | {services} | {accounts} |\n"),
            false => format!("| {which} | {accounts} |\n"),
        });
    }
    text
}

#[test]
fn pages_say_which_play_shows_which_example() {
    for (xep, range) in WALKED {
        let path = top().join(format!("xeps/xep-{xep}.md"));
        let page = fs::read_to_string(&path).unwrap();
        let (before, rest) = page.split_once(BEGIN).unwrap_or_else(|| panic!("{xep} has no table of examples"));
        let (_, after) = rest.split_once(END).unwrap();
        generated(&path, &format!("{before}{BEGIN}{}{END}{after}", table(xep, &range)));
        let reasons = after.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
        let excused: BTreeSet<u32> = reasons.flat_map(numbers).collect();
        let shown = shown(xep);
        let missing: Vec<u32> =
            range.clone().filter(|number| !excused.contains(number) && !shown.contains_key(number)).collect();
        assert!(missing.is_empty(), "{xep}: no play shows these examples, and no reason is given: {missing:?}");
        let both: Vec<&u32> = excused.iter().filter(|number| shown.contains_key(number)).collect();
        assert!(both.is_empty(), "{xep}: these have a reason not to be shown, and are: {both:?}");
    }
}

/// Where the table of features begins in the page of XEP-0060.
const FEATURES: &str =
    "| section | feature | support | play at a service | play at an account |\n|---|---|---|---|---|\n";

#[test]
fn what_is_supported_is_shown_by_plays_that_there_are() {
    let page = fs::read_to_string(top().join("xeps/xep-0060.md")).unwrap();
    let (_, table) = page.split_once(FEATURES).expect("the table of features");
    let plays: BTreeSet<String> = crate::stage::programme().into_iter().map(|(name, _)| name).collect();
    let mut faults = Vec::new();
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [section, feature, support, at_services, at_accounts] = cells[..] else {
            faults.push(format!("not five cells: {row}"));
            continue;
        };
        let words = [at_services, at_accounts].into_iter().flat_map(|cell| cell.split([',', ' ']));
        let named: Vec<&str> = words.filter(|word| word.contains('-')).collect();
        if support.starts_with("yes") && named.is_empty() {
            faults.push(format!("{section}, {feature}: no play shows it"));
        }
        for name in named {
            if ![format!("0060-{name}.scs"), format!("{name}.scs")].iter().any(|play| plays.contains(play)) {
                faults.push(format!("{section}, {feature}: there is no play {name}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn remarks_are_read() {
    assert_eq!(numbers("s 28, 30 to 33 and 170"), BTreeSet::from([28, 30, 31, 32, 33, 170]));
    assert_eq!(numbers(" 7"), BTreeSet::from([7]));
}
