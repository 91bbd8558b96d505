//! What a timeline costs: small, as a test of what it shows; large, when `CHIRRUP_COST` names an engine of the store, for
//! the figures of `benches/timeline-results.md`
//! (`CHIRRUP_COST=sled cargo test --release -p chirrup --lib timeline::cost -- --nocapture --test-threads 1`). With
//! `CHIRRUP_COST_PART=100` everything is a hundredth of that, to try whether it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pubsub::config::{AccessModel, Bound};
use pubsub::{Change, Node, NodeConfig, Subscription, SubscriptionState, Tally, Timestamp};
use store::{Batch, CommitError, Engine, Page, Pending, Range, Receipt, Report, Rows, Stats, Store};
use tokio::time::Instant;
use xmpp::limits::Limits;
use xmpp::{BareJid, Jid, Stanza, ns};

use super::tests::{page, read_page, settle};
use crate::extension::Caller;
use crate::extensions::pep::tests::{Actor, Stage};
use crate::runtime::pause;
use crate::tables::Table;
use crate::tables::nodes::{Nodes, NodesLimits};

/// A store that counts what is written, and what is read of each table.
struct Counted {
    store: Arc<dyn Store>,
    reads: Mutex<BTreeMap<u8, u64>>,
    rows: AtomicU64,
    bytes: AtomicU64,
    // Removed when the test ends.
    dir: Option<std::path::PathBuf>,
}

impl Counted {
    /// The engine that `CHIRRUP_COST` names, in a directory of its own; memory without it.
    fn open(name: &str) -> Arc<Self> {
        let engine: Engine =
            std::env::var("CHIRRUP_COST").ok().and_then(|name| name.parse().ok()).unwrap_or(Engine::Memory);
        // What was opened before may not have let go yet.
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("chirrup-cost-{name}-{}-{number}", std::process::id()));
        let store = store::open(engine, &dir, &store::Options::default()).unwrap();
        let dir = (engine != Engine::Memory).then_some(dir);
        Arc::new(Self { store, reads: Mutex::default(), rows: AtomicU64::new(0), bytes: AtomicU64::new(0), dir })
    }

    fn count_read(&self, key: &[u8]) {
        *self.reads.lock().unwrap().entry(key.first().copied().unwrap_or_default()).or_default() += 1;
    }

    /// Rows and bytes of keys and values since the last time.
    fn taken(&self) -> (u64, u64) {
        (self.rows.swap(0, Ordering::Relaxed), self.bytes.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(dir) = &self.dir {
            let _left = std::fs::remove_dir_all(dir);
        }
    }
}

impl Store for Counted {
    fn get(&self, key: &[u8]) -> Pending<Option<Bytes>> {
        self.count_read(key);
        self.store.get(key)
    }

    fn scan(&self, range: Range, page: Page) -> Pending<Rows> {
        self.count_read(range.from());
        self.store.scan(range, page)
    }

    fn commit(&self, batch: Batch) -> Pending<Receipt, CommitError> {
        self.rows.fetch_add(batch.len() as u64, Ordering::Relaxed);
        // What it weighs in a queue is more than its keys and values.
        self.bytes.fetch_add((batch.bytes() - 32 * batch.len()) as u64, Ordering::Relaxed);
        self.store.commit(batch)
    }

    fn stats(&self) -> Stats {
        self.store.stats()
    }

    fn verify(&self) -> Pending<Report> {
        self.store.verify()
    }

    fn close(&self) -> Pending<()> {
        self.store.close()
    }
}

/// Between two looks at something that others do, so that the looking costs nothing.
const PATIENCE: Duration = Duration::from_millis(1);
const BOB: &str = "romeo@example.net/orchard";
const TEXT: &str = "A post of some length, as people write them, with a word or two that nobody needs. ";

fn is_large() -> bool {
    std::env::var_os("CHIRRUP_COST").is_some()
}

/// A number of a large run, or the part of it that is asked for.
fn part(of: usize) -> usize {
    let part = std::env::var("CHIRRUP_COST_PART").ok().and_then(|part| part.parse().ok()).unwrap_or(1);
    of.div_ceil(part)
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
        // The first makes the node.
        let options = if id == 0 { super::tests::OPEN } else { "" };
        let inside = format!("<publish node='{}'>{}</publish>{options}", ns::MICROBLOG, entry(id));
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

/// A node of `a0` with this many followers here, put into the store before the house is opened over it.
async fn seed(store: &Arc<Counted>, followers: usize) {
    let nodes = Nodes::new(Arc::<Counted>::clone(store), NodesLimits::default());
    let home = BareJid::new("a0@example.com").unwrap();
    let entry = nodes.entry(&home, ns::MICROBLOG);
    let config = NodeConfig { access_model: AccessModel::Open, max_items: Bound::Max, ..NodeConfig::service(65_536) };
    let tally = Tally { version: 1, ..Tally::default() };
    let node = Node {
        name: ns::MICROBLOG.into(),
        creator: home.clone(),
        created: Timestamp(1),
        config: Arc::new(config),
        tally,
    };
    let mut changes = vec![Change::CreateNode(node)];
    let mut held = None;
    let mut at = 0;
    while at < followers {
        let until = (at + 2_000).min(followers);
        let before = held.as_deref().map_or(tally, |held: &crate::tables::nodes::Held| held.node.tally);
        let tally = Tally { version: before.version + 1, subscribers: until as u64, ..before };
        changes.push(Change::Tally(tally));
        for number in at..until {
            let jid = Jid::new(&format!("f{number}@example.net")).unwrap();
            let options = pubsub::model::SubscriptionOptions::default();
            let row = Subscription {
                jid: jid.clone(),
                id: pubsub::SubId(number as u64),
                state: SubscriptionState::Subscribed,
                since: 1,
                after: 0,
                options,
            };
            changes.push(Change::SetSubscriptions(jid, vec![row]));
        }
        let committed = nodes.commit(&entry, held.as_deref(), &changes, None, [7; 16], 1).await.unwrap();
        held = committed.1;
        changes.clear();
        at = until;
    }
    store.taken();
}

/// Bob is away while many people on two servers post; he reads the newest with one query, and pages back to the last.
#[tokio::test]
async fn who_was_away_reads_everything_in_order() {
    let (people, posts) = if is_large() { (part(300), part(10_000)) } else { (12, 150) };
    for merge in [1_000_000, 1] {
        let store = Counted::open("away");
        let text = format!("[timeline]\nmerge_followers_min = {merge}\n");
        let stage = Stage::configured(Arc::<Counted>::clone(&store), &text).await;
        let bob = stage.log_in(BOB, &[]).await;
        for at in 0..people {
            follow(&stage, &bob, at).await;
        }
        store.taken();
        let before = cpu();
        let mut expected = Vec::new();
        for id in 1..=posts {
            let at = (id * 7) % people;
            stage.clock.advance(Duration::from_millis(5));
            publish(&stage, at, id).await;
            expected.push(format!("{} {} {id}", author(at).0, ns::MICROBLOG));
            bob.take();
        }
        // What he is told while he is here is not what he asks for.
        loop {
            pause(100 * PATIENCE).await;
            settle().await;
            if bob.take().is_empty() {
                break;
            }
        }
        let (rows, bytes) = store.taken();
        let each = |sum: u64| sum / posts as u64;
        println!(
            "{posts} posts of {people} people, merged from {merge} on: {} us, {} rows, {} bytes each",
            each(cpu().saturating_sub(before)),
            each(rows),
            each(bytes)
        );
        let (mut all, mut pages, mut oldest, mut size) = (Vec::new(), 0, String::new(), 0);
        let before = cpu();
        loop {
            let inside = format!(
                "<items node='{}'/><set xmlns='{}'><max>50</max><before>{oldest}</before></set>",
                ns::TIMELINE,
                ns::RSM
            );
            let answer = bob.get("romeo@example.net", &inside).await;
            size += answer.len();
            let (ids, mut entries) = read_page(&answer);
            let Some(first) = ids.first() else { break };
            oldest.clone_from(first);
            pages += 1;
            entries.append(&mut all);
            all = entries;
        }
        println!(
            "{pages} pages of 50: {} us, {} bytes each, the test's reading of them included",
            cpu().saturating_sub(before) / pages,
            size as u64 / pages
        );
        assert!(all == expected, "{} of {}", all.len(), expected.len());
    }
}

/// One post to very many followers here, some of them online, written to each or merged.
#[tokio::test]
async fn one_post_reaches_all_its_followers() {
    let sizes: &[(usize, usize, u64)] = match is_large() {
        true => &[
            (1_000, 0, u64::MAX / 2),
            (10_000, 100, u64::MAX / 2),
            (100_000, 1_000, u64::MAX / 2),
            (100_000, 1_000, 1_000),
            (1_000_000, 1_000, 1_000),
        ],
        false => &[(300, 20, u64::MAX / 2), (300, 20, 100)],
    };
    for &(followers, online, merge) in sizes {
        let (followers, online) = if is_large() { (part(followers), part(online)) } else { (followers, online) };
        let merge = if is_large() { part(merge as usize) as u64 } else { merge };
        let store = Counted::open("post");
        seed(&store, followers).await;
        let text = format!(
            "[timeline]\nmerge_followers_min = {merge}\n[limits]\npubsub_subscriptions_per_node_max = 2000000\n"
        );
        let stage = Stage::configured(Arc::<Counted>::clone(&store), &text).await;
        let (before, resident_before) = (cpu(), resident());
        let mut readers = Vec::new();
        for at in 0..online {
            // Anywhere among the others.
            let jid = format!("f{}@example.net/phone", at * (followers / online));
            readers.push(stage.log_in(&jid, &[ns::TIMELINE]).await);
        }
        let bob = stage.log_in(BOB, &[ns::TIMELINE]).await;
        follow(&stage, &bob, 0).await;
        store.taken();
        println!(
            "{followers} followers, {online} of them online, merged from {merge} on; {} us to log in each, {} KiB",
            cpu().saturating_sub(before) / (online as u64 + 1),
            resident().saturating_sub(resident_before)
        );
        for id in 1..=4 {
            stage.clock.advance(Duration::from_millis(5));
            let (before, resident_before, began) = (cpu(), resident(), Instant::now());
            publish(&stage, 0, id).await;
            let mut told = Vec::new();
            let mut last = Duration::ZERO;
            for reader in readers.iter().chain([&bob]) {
                let (mut own, mut patience) = (reader.take(), 600_000_u32);
                while !own.iter().any(|one| one.contains(ns::TIMELINE)) {
                    assert!(patience > 0, "nobody tells: {own:?}");
                    patience -= 1;
                    pause(PATIENCE).await;
                    own.extend(reader.take());
                }
                last = began.elapsed();
                told.extend(own);
            }
            // Until the followers who are away are written to as well.
            let least = if followers as u64 >= merge { 1 } else { followers as u64 };
            let (mut rows, mut bytes) = (0, 0);
            loop {
                pause(100 * PATIENCE).await;
                settle().await;
                let more = store.taken();
                (rows, bytes) = (rows + more.0, bytes + more.1);
                if more.0 == 0 && rows >= least {
                    break;
                }
            }
            println!(
                "  a post: {} us of CPU, the last told after {} us ({} notifications); {rows} rows, {bytes} bytes; {} KiB more resident",
                cpu().saturating_sub(before),
                last.as_micros(),
                told.len(),
                resident().saturating_sub(resident_before)
            );
        }
        let before = cpu();
        let (_, entries) = page(&bob, "<max>50</max><before/>").await;
        println!("  a page: {} us", cpu().saturating_sub(before));
        assert_eq!(entries.len(), 4);
    }
}

/// Each read is a way to another thread and back: what almost every post needs is in memory.
#[tokio::test]
async fn a_post_that_concerns_nobody_reads_nothing() {
    let store = Counted::open("reads");
    let stage = Stage::over(Arc::<Counted>::clone(&store)).await;
    let bob = stage.log_in(BOB, &[ns::MICROBLOG]).await;
    let post = async |id: usize, more: &str| {
        let jid = "romeo@example.net";
        let atom = ns::ATOM;
        let node = ns::MICROBLOG;
        bob.send(&format!(
            "<iq type='set' id='p{id}'><pubsub xmlns='{}'><publish node='{node}'><item id='{id}'><entry xmlns='{atom}'>\
             <title>{id}</title><author><uri>xmpp:{jid}</uri></author>\
             <link rel='alternate' href='xmpp:{jid}?;node={node};item={id}'/>{more}</entry></item></publish></pubsub></iq>",
            ns::PUBSUB,
        ))
        .await;
        let told = bob.read().await;
        assert!(told.iter().any(|one| one.contains("type='result'")), "{told:?}");
        std::mem::take(&mut *store.reads.lock().unwrap())
    };
    post(1, "").await;
    for id in 2..200 {
        assert_eq!(post(id, "").await, BTreeMap::new(), "{id}");
    }
    let comments = "<link rel='replies' title='comments' \
        href='xmpp:romeo@example.net?;node=urn%3Axmpp%3Amicroblog%3A0%3Acomments/1'/>";
    let whether_it_is_new = BTreeMap::from([(Table::ItemIds as u8, 1)]);
    assert_eq!(post(1_000, comments).await, whether_it_is_new, "a post that says where its comments are");
    assert_ne!(post(200, "<category term='verona'/>").await, BTreeMap::new(), "what has tags is looked up");
    assert_ne!(post(200, "").await, BTreeMap::new(), "and so is what may have had some");
}
