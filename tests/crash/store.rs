//! What the crash rig (`tests/crash/run`) kills and then questions: the store under a mixed load.
//!
//! `crash write ENGINE DIR ACKS` opens the store, says "open", and commits until it is killed. Eight lanes write
//! at once, four batches of each under way. Even lanes post: a body (one in forty in pieces), three index rows,
//! a head that asserts its version, a shared counter, and the removal of the oldest post. Odd lanes keep
//! offline messages and deliver them all at every tenth. After a batch is durable, a line with the monotonic
//! clock in nanoseconds, the lane and the batch's number is appended to ACKS.
//!
//! `crash check ENGINE DIR ACKS UNTIL` opens what is left. All that a lane has follows from the number in its
//! head, so every row is compared: nothing torn, nothing left over, and no head before what had been
//! acknowledged by UNTIL. Prints "ok" or "BAD" and why.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a tool for tests: whatever surprises it should end it")]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use store::{Batch, Engine, KeyBuilder, Options, Page, Range, Receipt, Store, counter, version};

const LANES: u64 = 8;
/// Posts a lane keeps.
const WINDOW: u64 = 300;
/// Batches of one lane between commit and acknowledgement.
const UNDER_WAY: usize = 4;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words.as_slice() {
        ["write", engine, dir, acks] => write(engine.parse().unwrap(), Path::new(dir), Path::new(acks)),
        ["check", engine, dir, acks, until] => {
            return check(engine.parse().unwrap(), Path::new(dir), Path::new(acks), until.parse().unwrap());
        }
        _ => println!("crash write ENGINE DIR ACKS | crash check ENGINE DIR ACKS UNTIL"),
    }
    ExitCode::FAILURE
}

fn options() -> Options {
    Options { engine_cache_bytes: 64 << 20, ..Options::default() }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn mix(lane: u64, number: u64) -> u64 {
    let mut x = (lane << 48) ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^ (x >> 32)
}

fn body(lane: u64, number: u64) -> Vec<u8> {
    let mixed = mix(lane, number);
    let size = if mixed.is_multiple_of(40) { 5_000 + mixed % 25_000 } else { 200 + mixed % 600 };
    (0..size).map(|n| (mixed.rotate_left((n % 64) as u32) as u8) ^ (n as u8)).collect()
}

/// Even lanes post, odd lanes keep messages.
fn posts(lane: u64) -> bool {
    lane.is_multiple_of(2)
}

fn head(lane: u64) -> Bytes {
    KeyBuilder::new(b'h').u64(lane).build()
}

fn message(lane: u64, number: u64) -> Bytes {
    KeyBuilder::new(b'm').str("juliet@example.org").u64(lane).u64(number).build()
}

/// A post and its index rows.
fn post(lane: u64, number: u64) -> [(Bytes, Vec<u8>); 4] {
    let id = mix(lane, number);
    [
        (KeyBuilder::new(b'p').u64(lane).u64(number).build(), body(lane, number)),
        (KeyBuilder::new(b'i').u64(lane).str(&format!("{id:016x}")).build(), number.to_be_bytes().to_vec()),
        (KeyBuilder::new(b'a').u64(id % 50).u64(lane).u64(number).build(), Vec::new()),
        (KeyBuilder::new(b't').u64_descending(number).u64(lane).build(), b"feed".to_vec()),
    ]
}

/// Every row a lane has when its head says `number`.
fn rows(lane: u64, number: u64) -> Vec<(Bytes, Vec<u8>)> {
    if number == 0 {
        return Vec::new();
    }
    let mut rows = vec![(head(lane), [number.to_be_bytes(), mix(lane, number).to_be_bytes()].concat())];
    if posts(lane) {
        for number in number.saturating_sub(WINDOW - 1).max(1)..=number {
            rows.extend(post(lane, number));
        }
    } else {
        for number in (number / 10 * 10).max(1)..=number {
            rows.push((message(lane, number), body(lane, number)));
        }
    }
    rows
}

fn step(lane: u64, number: u64) -> Batch {
    let mut batch = Batch::new();
    batch.expect_version(head(lane), number - 1);
    batch.put(head(lane), [number.to_be_bytes(), mix(lane, number).to_be_bytes()].concat());
    if posts(lane) {
        for (key, value) in post(lane, number) {
            batch.expect_absent(key.clone()).put(key, value);
        }
        if number > WINDOW {
            for (key, _) in post(lane, number - WINDOW) {
                batch.expect_present(key.clone()).delete(key);
            }
        }
    } else {
        batch.put(message(lane, number), body(lane, number));
        if number.is_multiple_of(10) {
            batch.delete_range(message(lane, 0), message(lane, number));
        }
    }
    batch.add(&b"g"[..], 1);
    batch
}

fn write(engine: Engine, dir: &Path, acks: &Path) {
    let store = store::open(engine, dir, &options()).unwrap();
    println!("open");
    let lanes: Vec<_> = (0..LANES)
        .map(|lane| {
            let (store, acks) = (Arc::clone(&store), acks.to_owned());
            thread::spawn(move || block_on(write_lane(&*store, lane, &acks)))
        })
        .collect();
    for lane in lanes {
        lane.join().unwrap();
    }
}

async fn write_lane(store: &dyn Store, lane: u64, acks: &Path) {
    let mut acks = OpenOptions::new().append(true).create(true).open(acks).unwrap();
    let mut number = version(store.get(&head(lane)).await.unwrap().as_deref()).unwrap();
    let mut under_way: VecDeque<(u64, Receipt)> = VecDeque::new();
    loop {
        number += 1;
        under_way.push_back((number, store.commit(step(lane, number)).await.unwrap()));
        if under_way.len() >= UNDER_WAY
            && let Some((number, receipt)) = under_way.pop_front()
        {
            receipt.durable().await.unwrap();
            let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let line = format!("{}{:09} {lane} {number}\n", time.tv_sec, time.tv_nsec);
            acks.write_all(line.as_bytes()).unwrap();
        }
    }
}

/// The last number of each lane acknowledged before `until`.
fn acknowledged(acks: &Path, until: u64) -> HashMap<u64, u64> {
    let mut last = HashMap::new();
    let text = fs::read_to_string(acks).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines() {
        let words: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        let [time, lane, number] = words[..] else { continue };
        if time < until {
            let entry = last.entry(lane).or_insert(0);
            *entry = number.max(*entry);
        }
    }
    last
}

fn check(engine: Engine, dir: &Path, acks: &Path, until: u64) -> ExitCode {
    let acknowledged = acknowledged(acks, until);
    // The directory was made before anything was acknowledged; a cut may come before that.
    let store = match store::open(engine, dir, &options()) {
        Ok(store) => store,
        Err(error) => {
            println!("BAD open: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut problems = Vec::new();
    let mut heads = BTreeMap::new();
    let (mut expected, mut found) = (BTreeMap::new(), BTreeMap::new());
    block_on(async {
        problems.extend(store.verify().await.unwrap().problems);
        let mut range = Range::all();
        loop {
            let page = store.scan(range.clone(), Page::rows(1000)).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            range = range.past(last);
            found.extend(page);
        }
        let mut sum = 0;
        for lane in 0..LANES {
            let number = version(found.get(&head(lane)).map(Bytes::as_ref)).unwrap_or(u64::MAX);
            let acknowledged = acknowledged.get(&lane).copied().unwrap_or(0);
            if number < acknowledged {
                problems.push(format!("LOST lane {lane} is at {number}, {acknowledged} was acknowledged"));
            }
            sum += number as i64;
            heads.insert(lane, number);
            expected.extend(rows(lane, number));
        }
        let count = counter(found.remove(&b"g"[..]).as_deref());
        if count != Some(sum) {
            problems.push(format!("TORN the counter is {count:?}, the heads sum up to {sum}"));
        }
    });
    for (key, value) in &expected {
        match found.get(key) {
            None => problems.push(format!("TORN {} is missing", key.escape_ascii())),
            Some(other) if other != value => problems.push(format!("TORN {} is wrong", key.escape_ascii())),
            Some(_) => {}
        }
    }
    for key in found.keys().filter(|key| !expected.contains_key(*key)) {
        problems.push(format!("TORN {} is left over", key.escape_ascii()));
    }
    let summary = format!("rows={} heads={:?}", found.len(), heads.values().collect::<Vec<_>>());
    if problems.is_empty() {
        println!("ok {summary}");
        return ExitCode::SUCCESS;
    }
    println!("BAD {} problems, first: {}; {summary}", problems.len(), problems[..problems.len().min(5)].join("; "));
    ExitCode::FAILURE
}
