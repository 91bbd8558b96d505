//! What the store costs, in CPU of the whole process per operation; waiting for a disk is not counted.
//!
//! `cargo bench -p chirrup-store [-- ENGINE [DIR]]`. A post is a body of 600 bytes, two index rows and a head that
//! asserts its version, as one batch. Pages are the last 20 posts of one node among 2,000, read at random.
//! Figures of a busy machine are too high; wall-clock is given to be distrusted.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for developers")]

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use store::{Batch, Engine, KeyBuilder, Options, Page, Store, version};
use tokio::task::JoinSet;

const NODES: u64 = 2_000;
const POSTS: u64 = 60_000;

fn nanos(clock: ClockId) -> u128 {
    let time = clock_gettime(clock);
    time.tv_sec as u128 * 1_000_000_000 + time.tv_nsec as u128
}

struct Watch(&'static str, u128, u128);

impl Watch {
    fn start(what: &'static str) -> Self {
        Self(what, nanos(ClockId::ProcessCPUTime), nanos(ClockId::Monotonic))
    }

    fn stop(self, operations: u64) {
        let cpu = (nanos(ClockId::ProcessCPUTime) - self.1) as f64 / 1000.0 / operations as f64;
        let wall = (nanos(ClockId::Monotonic) - self.2) as f64 / 1e9;
        println!("{:45} {cpu:8.1} us CPU  {:8.0}/s", self.0, operations as f64 / wall);
        if std::env::var_os("THREADS").is_some() {
            print_threads();
        }
    }
}

/// CPU of each thread so far, in the kernel's ticks (user, system).
fn print_threads() {
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        let Some((name, rest)) = stat.split_once(") ") else { continue };
        let fields: Vec<&str> = rest.split(' ').collect();
        println!("    {:30} {:>6} {:>6}", name, fields[11], fields[12]);
    }
}

fn mix(number: u64) -> u64 {
    let x = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 7
}

fn head(node: u64) -> Bytes {
    KeyBuilder::new(b'h').u64(node).build()
}

fn item(node: u64, number: u64) -> Bytes {
    KeyBuilder::new(b'p').u64(node).u64(number).build()
}

fn post(node: u64, number: u64) -> Batch {
    let mut body = vec![b'x'; 600];
    body[..8].copy_from_slice(&mix(node ^ (number << 20)).to_be_bytes());
    let mut batch = Batch::new();
    batch.expect_version(head(node), number - 1);
    batch.put(head(node), number.to_be_bytes().to_vec());
    batch.put(item(node, number), body);
    batch.put(KeyBuilder::new(b'i').u64(node).u64(mix(number)).build(), number.to_be_bytes().to_vec());
    batch.put(KeyBuilder::new(b'a').u64(mix(node) % 500).u64(number).u64(node).build(), Vec::new());
    batch
}

/// `writers` tasks, each on nodes of its own.
async fn publish(store: &Arc<dyn Store>, writers: u64, posts: u64, two_stages: bool) {
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for turn in 0..posts / writers {
                let node = (turn * writers + writer) % NODES;
                let node = node - node % writers + writer;
                let number = version(store.get(&head(node)).await.unwrap().as_deref()).unwrap() + 1;
                if two_stages {
                    store.commit(post(node, number)).await.unwrap().durable().await.unwrap();
                } else {
                    store.commit_durably(post(node, number)).await.unwrap();
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

async fn pages(store: &Arc<dyn Store>, readers: u64, count: u64, of: u64) -> u64 {
    let mut tasks = JoinSet::new();
    for reader in 0..readers {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let mut rows = 0;
            for turn in 0..count / readers {
                let node = mix(turn * readers + reader) % of;
                let range = KeyBuilder::new(b'p').u64(node).range().reversed();
                rows += store.scan(range, Page::rows(20)).await.unwrap().len() as u64;
            }
            rows
        });
    }
    let mut rows = 0;
    while let Some(done) = tasks.join_next().await {
        rows += done.unwrap();
    }
    rows
}

async fn gets(store: &Arc<dyn Store>, readers: u64, count: u64, of: u64) {
    let mut tasks = JoinSet::new();
    for reader in 0..readers {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for turn in 0..count / readers {
                let at = mix(turn * readers + reader) % of;
                assert!(store.get(&item(at % NODES, 1 + at / NODES)).await.unwrap().is_some());
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

async fn measure(engine: Engine, dir: &std::path::Path, row_cache_bytes: usize) {
    let options = Options { engine_cache_bytes: 256 << 20, row_cache_bytes, ..Options::default() };
    let store = store::open(engine, dir, &options).unwrap();
    println!("{engine}, row cache {} MiB", row_cache_bytes >> 20);
    publish(&store, 50, POSTS, false).await;
    let watch = Watch::start("durable post, 64 at once");
    publish(&store, 64, 12_800, false).await;
    watch.stop(12_800);
    let watch = Watch::start("durable post, 64 at once, applied first");
    publish(&store, 64, 12_800, true).await;
    watch.stop(12_800);
    let watch = Watch::start("durable post, one at a time");
    publish(&store, 1, 300, true).await;
    watch.stop(300);
    if std::env::var_os("POSTS_ONLY").is_some() {
        println!("{:?}", store.stats());
        return;
    }
    for (readers, name) in [(1, "page of 20, one at a time"), (64, "page of 20, 64 at once")] {
        let watch = Watch::start(name);
        let rows = pages(&store, readers, 6_400, NODES).await;
        watch.stop(6_400);
        assert!(rows > 6_300 * 20);
    }
    let watch = Watch::start("page of 20, 64 at once, same ten nodes");
    pages(&store, 64, 6_400, 10).await;
    watch.stop(6_400);
    for (readers, name) in [(1, "get, one at a time"), (64, "get, 64 at once")] {
        let watch = Watch::start(name);
        gets(&store, readers, 12_800, POSTS).await;
        watch.stop(12_800);
    }
    let watch = Watch::start("get, 64 at once, known rows");
    gets(&store, 64, 64_000, 100).await;
    watch.stop(64_000);
    println!("{:?}", store.stats());
    store.close().await.unwrap();
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let engines = match words.first() {
        Some(name) => vec![name.parse().unwrap()],
        None => vec![Engine::Sled, Engine::Fjall],
    };
    let dir = words.get(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("chirrup-bench-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for engine in engines {
        runtime.block_on(measure(engine, &dir, 32 << 20));
        let _ = std::fs::remove_dir_all(&dir);
    }
}
