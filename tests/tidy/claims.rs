//! Claims: what an extension says it follows has a page that says the same and a play that shows it, and the
//! generated lists agree.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, OnceLock};

use chirrup::config::{Config, Limits};
use chirrup::extension::{Spec, Support, Xep};
use chirrup::house::{House, World};
use chirrup::net::streams;
use chirrup::runtime::{SeededIds, SimulatedClock};
use chirrup::s2s;

use super::{generated, suites, top};

/// A claimed specification, and the name of the extension that claims it.
pub type Claims = BTreeMap<u16, (&'static Xep, &'static str)>;

/// What a house with the default configuration is furnished with; built once.
fn specs() -> &'static [&'static Spec] {
    static SPECS: OnceLock<Vec<&'static Spec>> = OnceLock::new();
    SPECS.get_or_init(furnished)
}

fn furnished() -> Vec<&'static Spec> {
    let folder = std::env::temp_dir().join(format!("chirrup-claims-{}", std::process::id()));
    let config = Config { data_directory: folder.clone(), ..Config::default() };
    let world = World { clock: Arc::new(SimulatedClock::new(0)), ids: Arc::new(SeededIds::new(1)), ..World::alone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let house = runtime.block_on(House::build(config, world)).unwrap();
    let mut specs = house.router.wiring().specs.clone();
    specs.push(&streams::SPEC);
    specs.push(&s2s::SPEC);
    specs.push(&chirrup::components::SPEC);
    let _nothing_to_keep = fs::remove_dir_all(folder);
    specs
}

fn claims() -> Claims {
    let mut claims = Claims::new();
    for spec in specs() {
        for xep in spec.xeps {
            let doubled = claims.insert(xep.number, (xep, spec.name));
            assert!(doubled.is_none(), "XEP-{:04} is claimed by {} and by another", xep.number, spec.name);
        }
    }
    claims
}

fn support(xep: &Xep) -> &'static str {
    match xep.support {
        Support::Complete => "complete",
        Support::Partial => "partial",
        Support::Declined => "none",
    }
}

/// The same in the words of XEP-0453.
fn status(xep: &Xep) -> &'static str {
    match xep.support {
        Support::Declined => "wontfix",
        Support::Complete | Support::Partial => support(xep),
    }
}

fn title(number: u16) -> String {
    let page = fs::read_to_string(top().join(format!("xeps/xep-{number:04}.md"))).unwrap_or_default();
    let heading = page.lines().next().unwrap_or_default().to_owned();
    heading.strip_prefix(&format!("# XEP-{number:04}: ")).unwrap_or("?").to_owned()
}

#[test]
fn every_claim_has_its_page_and_its_play() {
    let scenarios: Vec<String> = fs::read_dir(top().join("tests/scenarios"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let mut faults = Vec::new();
    for (number, (xep, extension)) in claims() {
        let name = format!("xeps/xep-{number:04}.md");
        let Ok(page) = fs::read_to_string(top().join(&name)) else {
            faults.push(format!("{name} is missing"));
            continue;
        };
        let second = format!("Version {}. Support: {}. Extension: `{extension}`.", xep.version, support(xep));
        if !page.starts_with(&format!("# XEP-{number:04}: ")) || !page.lines().any(|line| line == second) {
            faults.push(format!("{name} must begin with its title and say: {second}"));
        }
        let is_played = scenarios.iter().any(|play| play.starts_with(&format!("{number:04}-")));
        let is_served = !matches!(xep.support, Support::Declined);
        if is_served && !is_played && !page.contains("\nShown by ") {
            faults.push(format!("no play tests/scenarios/{number:04}-*.scs, and {name} has no line `Shown by …`"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_page_has_its_claim() {
    let claims = claims();
    for entry in fs::read_dir(top().join("xeps")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix("xep-").and_then(|rest| rest.strip_suffix(".md")).map(str::parse::<u16>);
        if let Some(Ok(number)) = number {
            assert!(claims.contains_key(&number), "xeps/{name} describes what no extension claims");
        }
    }
}

/// A play that shows a specification, with dots if there are more; or that its page says what does instead.
fn shown(number: u16, plays: &[(String, String)]) -> String {
    let prefix = format!("{number:04}-");
    let mut names = plays.iter().filter_map(|(name, _)| name.strip_prefix(&prefix));
    let Some(first) = names.next() else { return "see there".to_owned() };
    let what = first.trim_end_matches(".scs").replace('-', " ");
    let more = if names.next().is_some() { " …" } else { "" };
    format!("[{what}](../tests/scenarios/{prefix}{first}){more}")
}

#[test]
fn the_table_lists_the_claims() {
    let mut text = String::from(
        "# What is implemented\n\nWritten by a test from what the extensions claim; each page says what is done, what is \
         left out and what was chosen; those that say *none* give the reason, and what serves instead. Plays are in `tests/scenarios`, \
         their names begin with the number.\n\n| XEP | Title | Version | Support | Extension | Plays |\n|---|---|---|---|---|---|\n",
    );
    let plays = crate::stage::programme();
    for (number, (xep, extension)) in claims() {
        let line = format!(
            "| [{number:04}](xep-{number:04}.md) | {} | {} | {} | `{extension}` | {} |\n",
            title(number),
            xep.version,
            support(xep),
            shown(number, &plays)
        );
        text.push_str(&line);
    }
    text.push_str(&suites::section(&claims()).unwrap_or_else(|faults| panic!("{faults:#?}")));
    generated(&top().join("xeps/README.md"), &text);
}

#[test]
fn the_description_lists_the_claims() {
    let mut text = String::from(include_str!("doap-head.xml"));
    for (number, (xep, _)) in claims() {
        let supported = format!(
            "    <implements>\n      <xmpp:SupportedXep>\n        \
             <xmpp:xep rdf:resource='https://xmpp.org/extensions/xep-{number:04}.html'/>\n        \
             <xmpp:status>{}</xmpp:status>\n        <xmpp:version>{}</xmpp:version>\n      \
             </xmpp:SupportedXep>\n    </implements>\n",
            status(xep),
            xep.version
        );
        text.push_str(&supported);
    }
    text.push_str("  </Project>\n</rdf:RDF>\n");
    generated(&top().join("doap.xml"), &text);
}

/// `config.example.toml` is what the server and each extension say of their keys, joined; a house is built from it, so
/// it holds no key that nobody reads.
#[test]
fn the_example_configuration_is_whole() {
    let mut text = format!("{}{}", Config::EXAMPLE, Limits::EXAMPLE);
    for spec in specs().iter().filter(|spec| !spec.config.is_empty()) {
        text.push('\n');
        text.push_str(spec.config);
    }
    generated(&top().join("config.example.toml"), &text);

    let mut config = Config::parse(&text, None).unwrap();
    let folder = std::env::temp_dir().join(format!("chirrup-example-{}", std::process::id()));
    config.data_directory.clone_from(&folder);
    let world = World { clock: Arc::new(SimulatedClock::new(0)), ids: Arc::new(SeededIds::new(1)), ..World::alone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(House::build(config, world)).map(drop).unwrap();
    let _nothing_to_keep = fs::remove_dir_all(folder);
}
