//! The theatre: plays in scansion's grammar, acted by small clients of the test's own.
//!
//! A play is a text (`script`) whose characters are XMPP clients (`actor`). What they receive is compared with
//! what the text expects (`matching`). The same play is staged either in process, against a server on a
//! simulated wire and paused time, or over real sockets, against ours or another server (`peer`).
//!
//! Nothing here uses the server's own reader or writer: a fault of theirs must not be shared by the one who looks
//! for it. The grammar is described in `tests/scenarios/README.md`.

pub mod actor;
pub mod director;
pub mod frames;
pub mod house;
pub mod matching;
pub mod peer;
pub mod script;
pub mod ways;
pub mod words;

use std::path::PathBuf;

/// Every play there is: file name and text, in the order of the names.
pub fn programme() -> Vec<(String, String)> {
    let directory = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/scenarios"));
    let entries = std::fs::read_dir(&directory).unwrap();
    let mut plays: Vec<(String, String)> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "scs"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    plays.sort();
    plays
}
