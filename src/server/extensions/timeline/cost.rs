//! What a timeline costs: small, as a test of what it shows; large, when `CHIRRUP_COST` is set, for figures
//! (`cargo test --release -p chirrup --lib timeline::cost -- --nocapture --test-threads 1`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use xmpp::limits::Limits;
use xmpp::{Jid, Stanza, ns};

use super::tests::{page, settle};
use crate::extension::Caller;
use crate::extensions::pep::tests::{Actor, Stage};

const BOB: &str = "romeo@example.net/orchard";
const TEXT: &str = "A post of some length, as people write them, with a word or two that nobody needs. ";

fn is_large() -> bool {
    std::env::var_os("CHIRRUP_COST").is_some()
}

/// CPU time of this process, in microseconds.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    nanos.sum::<u64>().max(stat.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0)) / 1_000
}

/// Resident memory, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn stanza(text: String) -> Stanza {
    Stanza::parse(text.into(), &Limits::server()).unwrap()
}

fn entry(id: usize) -> String {
    let text = TEXT.repeat(6);
    format!(
        "<item id='{id}'><entry xmlns='http://www.w3.org/2005/Atom'><title>{id}</title><content>{text}</content></entry></item>"
    )
}

/// Sends an IQ in the name of an account here that has no client.
async fn act(stage: &Stage, jid: &str, to: &str, inside: &str) {
    let text = format!(
        "<iq type='set' id='x' from='{jid}' to='{to}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>{inside}</pubsub></iq>"
    );
    let caller = Caller { jid: Jid::new(jid).unwrap(), session: None };
    stage.router.route(caller, stanza(text)).await;
}

fn author(at: usize) -> (String, bool) {
    if at.is_multiple_of(2) {
        (format!("a{at}@example.com"), true)
    } else {
        (format!("a{at}@elsewhere.example"), false)
    }
}

async fn publish(stage: &Stage, at: usize, id: usize) {
    let (jid, is_here) = author(at);
    if is_here {
        let inside = format!("<publish node='{}'>{}</publish>{}", ns::MICROBLOG, entry(id), super::tests::OPEN);
        return act(stage, &jid, &jid, &inside).await;
    }
    let text = format!(
        "<message from='{jid}' to='romeo@example.net' type='headline'><event xmlns='{}'><items node='{}'>{}</items></event></message>",
        ns::PUBSUB_EVENT,
        ns::MICROBLOG,
        entry(id)
    );
    // The second is one that was sent again.
    for _ in 0..2 {
        stage.router.from_remote(stanza(text.clone())).await;
    }
}

async fn follow(stage: &Stage, bob: &Actor<'_>, at: usize) {
    let (jid, is_here) = author(at);
    if is_here {
        publish(stage, at, 0).await;
    }
    bob.send(&format!(
        "<iq type='set' id='f{at}' to='{jid}'><pubsub xmlns='{}'><subscribe node='{}' jid='romeo@example.net'/></pubsub></iq>",
        ns::PUBSUB,
        ns::MICROBLOG
    ))
    .await;
    if !is_here {
        let answer = format!("<iq type='result' id='f{at}' from='{jid}' to='{BOB}'/>");
        stage.router.from_remote(stanza(answer)).await;
    }
    bob.read().await;
}

/// Bob is away while many people on two servers post; he reads the newest with one query, and pages back to the last.
#[tokio::test]
async fn who_was_away_reads_everything_in_order() {
    let (people, posts) = if is_large() { (300, 10_000) } else { (12, 150) };
    let stage = Stage::new().await;
    let bob = stage.log_in(BOB, &[]).await;
    for at in 0..people {
        follow(&stage, &bob, at).await;
    }
    let before = cpu();
    let mut expected = Vec::new();
    for id in 1..=posts {
        let at = (id * 7) % people;
        stage.clock.advance(Duration::from_millis(5));
        publish(&stage, at, id).await;
        expected.push(format!("{} {} {id}", author(at).0, ns::MICROBLOG));
        bob.read().await;
    }
    settle().await;
    println!("{posts} posts of {people}: {} us each", cpu().saturating_sub(before) / posts as u64);
    let (mut all, mut pages, mut oldest) = (Vec::new(), 0, String::new());
    let before = cpu();
    loop {
        let (ids, mut entries) = page(&bob, &format!("<max>50</max><before>{oldest}</before>")).await;
        let Some(first) = ids.first() else { break };
        oldest.clone_from(first);
        pages += 1;
        entries.append(&mut all);
        all = entries;
    }
    println!(
        "{pages} pages of 50: {} us each, the test's reading of them included",
        cpu().saturating_sub(before) / pages
    );
    assert!(all == expected, "{} of {}", all.len(), expected.len());
}

/// One post to very many followers here, written to each or merged.
#[tokio::test]
async fn one_post_reaches_all_its_followers() {
    let followers = if is_large() { 100_000 } else { 300 };
    for merge in [u64::MAX / 2, 100] {
        let stage =
            Stage::configured(Arc::new(store::Memory::new()), &format!("[timeline]\nmerge_followers_min = {merge}\n"))
                .await;
        publish(&stage, 0, 0).await;
        for at in 0..followers {
            let jid = format!("f{at}@example.net");
            let inside = format!("<subscribe node='{}' jid='{jid}'/>", ns::MICROBLOG);
            act(&stage, &jid, "a0@example.com", &inside).await;
        }
        let bob = stage.log_in(BOB, &[ns::TIMELINE]).await;
        follow(&stage, &bob, 0).await;
        for id in 1..=3 {
            stage.clock.advance(Duration::from_millis(5));
            let (before, resident_before) = (cpu(), resident());
            publish(&stage, 0, id).await;
            let mut told = Vec::new();
            while !told.iter().any(|one: &String| one.contains(ns::TIMELINE)) {
                told.extend(bob.read().await);
            }
            for _ in 0..followers / 50 {
                settle().await;
            }
            println!(
                "{followers} followers, merged from {merge} on: {} us, {} KiB more resident",
                cpu().saturating_sub(before),
                resident().saturating_sub(resident_before)
            );
        }
        let before = cpu();
        let (_, entries) = page(&bob, "<max>50</max><before/>").await;
        println!("a page: {} us", cpu().saturating_sub(before));
        assert_eq!(entries.len(), 3);
    }
}
