//! Files: short, introduced, and importing in one direction only.

use std::fs;
use std::path::Path;

use super::{files_below, top};

/// A file wants to be read in one sitting. Longer ones say why in a line that begins with `// long:`.
const LINES_MAX: usize = 600;

#[test]
fn every_source_file_says_what_it_is() {
    let top = top();
    let mut silent = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz"] {
        let folder = top.join(folder);
        if !folder.exists() {
            continue;
        }
        for file in files_below(&folder, "rs") {
            if !fs::read_to_string(&file).unwrap().starts_with("//! ") {
                silent.push(file.strip_prefix(&top).unwrap().display().to_string());
            }
        }
    }
    assert!(silent.is_empty(), "these do not open with a `//!` paragraph: {silent:#?}");
}

#[test]
fn every_file_can_be_read_in_one_sitting() {
    let top = top();
    let mut long = Vec::new();
    for folder in ["src", "tests", "benches"] {
        for file in files_below(&top.join(folder), "rs") {
            let text = fs::read_to_string(&file).unwrap();
            let lines = text.lines().count();
            if lines > LINES_MAX && !text.lines().any(|line| line.starts_with("// long:")) {
                long.push(format!("{}: {lines} lines", file.strip_prefix(&top).unwrap().display()));
            }
        }
    }
    assert!(long.is_empty(), "split these, or say why not in a `// long:` line: {long:#?}");
}

/// Inside the server: a folder may import from those that stand after it, never from those before.
const FLOORS: [&[&str]; 5] = [
    &["main", "commands", "control", "check", "demo", "house"],
    &["s2s", "components"],
    &["extensions"],
    &["extension", "router", "session", "fanout", "tables"],
    &["net", "runtime", "config", "notify"],
];

/// Looks that go the other way on purpose, each with its reason.
const EXCEPTIONS: [(&str, &str, &str); 11] = [
    ("net/c2s.rs", "*", "the loop of a connection is where the house is entered: it hands what it reads to the router"),
    ("net/negotiate.rs", "*", "negotiation is where the house is asked who may come in"),
    ("net/enter.rs", "*", "what a client asks for at the door is done there"),
    ("net/external.rs", "*", "whom a certificate lets in is looked up where it is shown"),
    ("net/restore.rs", "*", "what outlives the house is read and written with the house's own means"),
    ("net/resume.rs", "*", "what becomes of a session when its stream is lost is decided where its stream is"),
    ("net/streams.rs", "*", "the features of a stream follow from what is mounted"),
    ("s2s/tests/mod.rs", "*", "two houses are built to talk to each other"),
    ("components/tests.rs", "house", "a house is built for components to connect to"),
    ("net/connection.rs", "session", "the loop takes from the mailbox it was given"),
    ("net/connection_test.rs", "session", "and is given one to be tried with"),
];

#[test]
fn imports_inside_the_server_go_one_way() {
    let server = top().join("src/server");
    let mut wrong = Vec::new();
    for file in files_below(&server, "rs") {
        let name = file.strip_prefix(&server).unwrap().display().to_string();
        let Some(own) = floor_of(&name) else { continue };
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines() {
            let Some(import) = line.trim_start().strip_prefix("use crate::") else { continue };
            let module = import.split([':', ';', '{', ' ']).next().unwrap_or_default();
            let is_excepted = EXCEPTIONS.iter().any(|(path, to, _)| *path == name && (*to == "*" || *to == module));
            if floor_of(module).is_some_and(|other| other < own) && !is_excepted {
                wrong.push(format!("{name}: {line}"));
            }
        }
    }
    assert!(wrong.is_empty(), "these imports go up: {wrong:#?}");
}

fn floor_of(path: &str) -> Option<usize> {
    let first = Path::new(path).components().next()?.as_os_str().to_string_lossy().replace(".rs", "");
    FLOORS.iter().position(|floor| floor.contains(&first.as_str()))
}

#[test]
fn the_rooms_depend_on_what_they_may() {
    let manifest = |room: &str| fs::read_to_string(top().join("src").join(room).join("Cargo.toml")).unwrap();
    let forbidden = |room: &str, crates: &[&str]| {
        let text = manifest(room);
        let dependencies = text.split("[dependencies]").nth(1).unwrap().split("[dev-dependencies]").next().unwrap();
        for name in crates {
            let mentions = dependencies.lines().any(|line| line.split(['.', ' ', '=']).next() == Some(name));
            assert!(!mentions, "{room} must not depend on {name}");
        }
    };
    let doors = ["tokio", "rustls", "tokio-rustls", "sled", "fjall", "getrandom", "rand", "hickory-resolver"];
    forbidden("xmpp", &[&doors[..], &["store", "pubsub"]].concat());
    forbidden("pubsub", &[&doors[..], &["store"]].concat());
    forbidden("store", &["xmpp", "pubsub", "minidom", "quick-xml", "rustls"]);
}
