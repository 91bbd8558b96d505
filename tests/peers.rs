//! The same plays against a server that runs somewhere: another one to learn whether a play is right, or ours.
//!
//! Does nothing unless the environment names a server: see `stage::peer`. `PLAY=0060` chooses plays by a part of
//! their names, and `tests/interop/run` starts servers to try. Over sockets most of a play is waiting, so a few are
//! played at a time.

use std::sync::Mutex;

use crate::stage::director::{Outcome, play};
use crate::stage::peer::Peer;
use crate::stage::programme;

/// Plays at a time.
const STAGES: usize = 4;

#[test]
fn every_play_against_the_server_named_in_the_environment() {
    if Peer::from_environment().is_none() {
        return;
    }
    let wanted = std::env::var("PLAY").unwrap_or_default();
    let plays: Vec<_> = programme().into_iter().filter(|(name, _)| name.contains(&wanted)).collect();
    let next = Mutex::new(plays.into_iter());
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..STAGES {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                loop {
                    let Some((name, text)) = next.lock().unwrap().next() else { return };
                    let peer = Peer::from_environment().unwrap();
                    let outcome = match text.lines().find_map(|line| line.strip_prefix("## in process: ")) {
                        Some(reason) => Ok(Outcome::Skipped(reason.to_owned())),
                        None => runtime.block_on(play(&peer, &text)),
                    };
                    outcomes.lock().unwrap().push((name, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    outcomes.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut failed = Vec::new();
    let mut played = 0;
    for (name, outcome) in outcomes {
        match outcome {
            Ok(Outcome::Played) => played += 1,
            Ok(Outcome::Skipped(reason)) => println!("{name} was not played: {reason}"),
            Err(reason) => failed.push(format!("{name}, {reason}")),
        }
    }
    println!("{played} plays were played as written");
    assert!(failed.is_empty(), "{} plays went another way:\n\n{}", failed.len(), failed.join("\n"));
}
