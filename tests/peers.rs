//! The same plays against a server that runs somewhere: another one to learn whether a play is right, or ours.
//!
//! Does nothing unless the environment names a server: see `stage::peer`. `PLAY=0060` chooses plays by a part of
//! their names, and `tests/interop/run` starts servers to try.

use crate::stage::director::{Outcome, play};
use crate::stage::peer::Peer;
use crate::stage::programme;

#[test]
fn every_play_against_the_server_named_in_the_environment() {
    if Peer::from_environment().is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let wanted = std::env::var("PLAY").unwrap_or_default();
    let mut failed = Vec::new();
    let mut played = 0;
    for (name, text) in programme().into_iter().filter(|(name, _)| name.contains(&wanted)) {
        let peer = Peer::from_environment().unwrap();
        match runtime.block_on(play(&peer, &text)) {
            Ok(Outcome::Played) => played += 1,
            Ok(Outcome::Skipped(reason)) => println!("{name}: this server differs: {reason}"),
            Err(reason) => failed.push(format!("{name}, {reason}")),
        }
    }
    println!("{played} plays were played as written");
    assert!(failed.is_empty(), "{} plays went another way:\n\n{}", failed.len(), failed.join("\n"));
}
