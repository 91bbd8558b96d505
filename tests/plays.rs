//! Every play of `tests/scenarios`, in process, one test for each RFC or XEP. `PLAY=…` chooses by a part of the name.

use crate::stage::director::{Outcome, play};
use crate::stage::house::InProcess;
use crate::stage::programme;
use crate::stage::script::{Character, Kind, Script};

/// Plays whose names begin with a number, each in a house of its own.
fn plays_of(number: &str) {
    let wanted = std::env::var("PLAY").unwrap_or_default();
    let mut failed = Vec::new();
    let plays = programme().into_iter().filter(|(name, _)| name.starts_with(number) && name.contains(&wanted));
    for (name, text) in plays {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let outcome = runtime.block_on(async {
            let theatre = InProcess::build(name.trim_end_matches(".scs"), &text).await?;
            play(&theatre, &text).await
        });
        match outcome {
            Ok(Outcome::Played) => {}
            Ok(Outcome::Skipped(reason)) => failed.push(format!("{name} was skipped: {reason}")),
            Err(reason) => failed.push(format!("{name}, {reason}")),
        }
        runtime.shutdown_background();
    }
    assert!(failed.is_empty(), "{} plays went another way:\n\n{}", failed.len(), failed.join("\n"));
}

/// Plays with several servers and no character that is one: once more, with streams between the houses.
#[test]
fn plays_across_servers_over_streams() {
    let wanted = std::env::var("PLAY").unwrap_or_default();
    let mut failed = Vec::new();
    for (name, text) in programme().into_iter().filter(|(name, _)| name.contains(&wanted)) {
        let cast = Script::parse(&text).unwrap().cast;
        let is_elsewhere = |character: &Character| character.domain().is_some_and(|domain| domain != "localhost");
        if !cast.iter().any(is_elsewhere) || cast.iter().any(|character| character.kind == Kind::Server) {
            continue;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let outcome = runtime.block_on(async {
            let theatre = InProcess::linked(name.trim_end_matches(".scs"), &text).await?;
            let outcome = play(&theatre, &text).await;
            if theatre.links() == 0 { Err(format!("no stream was opened: {outcome:?}")) } else { outcome }
        });
        if outcome != Ok(Outcome::Played) {
            failed.push(format!("{name}: {outcome:?}"));
        }
        runtime.shutdown_background();
    }
    assert!(failed.is_empty(), "{} plays went another way:\n\n{}", failed.len(), failed.join("\n"));
}

macro_rules! plays {
    ($($test:ident $number:literal)*) => {
        $(
            #[test]
            fn $test() {
                plays_of($number);
            }
        )*

        #[test]
        fn every_play_is_played() {
            let numbers = [$($number),*];
            for (name, _) in programme() {
                assert!(numbers.iter().any(|number| name.starts_with(number)), "no test plays {name}");
            }
        }
    };
}

plays! {
    rfc_6120 "6120"
    rfc_6121 "6121"
    xep_0012 "0012"
    xep_0030 "0030"
    xep_0033 "0033"
    xep_0048 "0048"
    xep_0049 "0049"
    xep_0050 "0050"
    xep_0054 "0054"
    xep_0055 "0055"
    xep_0059 "0059"
    xep_0060 "0060"
    xep_0077 "0077"
    xep_0084 "0084"
    xep_0092 "0092"
    xep_0106 "0106"
    xep_0114 "0114"
    xep_0115 "0115"
    xep_0128 "0128"
    xep_0133 "0133"
    xep_0153 "0153"
    xep_0157 "0157"
    xep_0160 "0160"
    xep_0163 "0163"
    xep_0172 "0172"
    xep_0191 "0191"
    xep_0198 "0198"
    xep_0199 "0199"
    xep_0202 "0202"
    xep_0215 "0215"
    xep_0222 "0222"
    xep_0223 "0223"
    xep_0237 "0237"
    xep_0257 "0257"
    xep_0277 "0277"
    xep_0280 "0280"
    xep_0283 "0283"
    xep_0292 "0292"
    xep_0313 "0313"
    xep_0333 "0333"
    xep_0346 "0346"
    xep_0395 "0395"
    xep_0413 "0413"
    xep_0442 "0442"
    xep_0462 "0462"
    xep_0496 "0496"
    xep_0497 "0497"
    xep_0499 "0499"
    xep_0503 "0503"
    xep_0508 "0508"
    xep_0330 "0330"
    xep_0334 "0334"
    xep_0352 "0352"
    xep_0357 "0357"
    xep_0355 "0355"
    xep_0356 "0356"
    xep_0359 "0359"
    xep_0377 "0377"
    xep_0386 "0386"
    xep_0388 "0388"
    xep_0398 "0398"
    xep_0402 "0402"
    xep_0411 "0411"
    xep_0376 "0376"
    xep_0424 "0424"
    xep_0431 "0431"
    xep_0441 "0441"
    xep_0455 "0455"
    xep_0465 "0465"
    xep_0470 "0470"
    xep_0472 "0472"
    xep_0484 "0484"
    xep_0490 "0490"
    xep_0494 "0494"
    xep_0501 "0501"
    xep_0504 "0504"
    home_timelines "timeline"
    notifications "notifications"
    hashtags "tags"
    directories "directory"
}
