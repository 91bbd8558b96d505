//! What a server costs according to `/proc`, and percentiles of what clients see.
//!
//! CPU time is user plus system time of the given processes and all their descendants.
//! It says nothing of what the kernel does on the generator's behalf: on loopback the
//! sender's core also carries the receiving half of TCP.

use crate::lock;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The fields of one result line.
pub(crate) type Fields = Map<String, Value>;

/// Nanoseconds since 1970, to be carried in message ids.
pub(crate) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

/// Microseconds since `t0_ns`.
pub(crate) fn us_since(t0_ns: u64) -> u32 {
    u32::try_from(now_ns().saturating_sub(t0_ns) / 1000).unwrap_or(u32::MAX)
}

/// Median, 90th and 99th percentile and maximum, in milliseconds, of samples in microseconds.
pub(crate) fn percentiles(samples: &Mutex<Vec<u32>>) -> Value {
    let mut s = lock(samples);
    s.sort_unstable();
    let at = |p: f64| match s.len() {
        0 => Value::Null,
        n => round(f64::from(s[((n as f64 * p) as usize).min(n - 1)]) / 1000.0),
    };
    json!({"p50": at(0.50), "p90": at(0.90), "p99": at(0.99), "max": at(1.0)})
}

/// A number with three decimals.
pub(crate) fn round(x: f64) -> Value {
    json!((x * 1000.0).round() / 1000.0)
}

/// The server's processes: the given ones and all their descendants.
#[derive(Clone, Default)]
pub(crate) struct Server {
    /// Process ids given on the command line; none if the server is not to be accounted for.
    pub(crate) roots: Vec<u32>,
}

/// Resident and proportional memory, in bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) rss: u64,
    pub(crate) pss: u64,
}

/// CPU used up to some moment: by the clock tick for all processes, dead children
/// included, and by the nanosecond for the threads alive.
#[derive(Clone, Default)]
struct Usage {
    ticks: u64,
    threads_ns: BTreeMap<u32, u64>,
}

impl Server {
    fn pids(&self) -> Vec<u32> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for e in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = number(&e) else { continue };
            if let Some(&parent) = stat(pid).as_ref().and_then(|f| f.get(1)) {
                children.entry(u32::try_from(parent).unwrap_or(0)).or_default().push(pid);
            }
        }
        let mut all = self.roots.clone();
        let mut i = 0;
        while i < all.len() {
            all.extend(children.get(&all[i]).into_iter().flatten());
            i += 1;
        }
        all
    }

    fn usage(&self) -> Usage {
        let mut u = Usage::default();
        for pid in self.pids() {
            u.ticks += stat(pid).map_or(0, |f| f.iter().skip(11).take(4).sum::<u64>());
            for e in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let run = fs::read_to_string(e.path().join("schedstat")).ok();
                let ns = run.and_then(|s| s.split(' ').next()?.parse().ok());
                if let (Some(tid), Some(ns)) = (number(&e), ns) {
                    u.threads_ns.insert(tid, ns);
                }
            }
        }
        u
    }

    /// CPU seconds so far, to the clock tick.
    pub(crate) fn cpu(&self) -> f64 {
        seconds(self.usage().ticks)
    }

    /// Memory of all processes together.
    pub(crate) fn memory(&self) -> Memory {
        let mut m = Memory::default();
        for p in self.pids() {
            for l in fs::read_to_string(format!("/proc/{p}/smaps_rollup")).unwrap_or_default().lines() {
                let bytes = || l.split_whitespace().nth(1).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0) * 1024;
                if l.starts_with("Rss:") {
                    m.rss += bytes();
                } else if l.starts_with("Pss:") {
                    m.pss += bytes();
                }
            }
        }
        m
    }

    /// Wait until the server is (nearly) idle, so that a window starts clean.
    pub(crate) async fn settle(&self, max: Duration) {
        let t = Instant::now();
        let mut before = self.cpu();
        let mut calm = 0;
        while t.elapsed() < max && calm < 2 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            let now = self.cpu();
            calm = if now - before <= 0.02 { calm + 1 } else { 0 };
            before = now;
        }
    }

    /// Start measuring.
    pub(crate) fn window(&self) -> Window {
        Window { server: self.clone(), before: self.usage(), at: Instant::now() }
    }
}

fn number(e: &fs::DirEntry) -> Option<u32> {
    e.file_name().to_str()?.parse().ok()
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Fields of `/proc/PID/stat` after the command name: 0 is the state, 1 the parent.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let s = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = s.get(s.rfind(')')? + 2..)?;
    Some(rest.split(' ').map(|f| f.trim().parse().unwrap_or(0)).collect())
}

/// CPU microseconds a fixed piece of work takes this thread just now. CPU per
/// operation swells when neighbours fight over caches and cores; this shows it.
fn calibrate() -> u64 {
    let cpu_us = || {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        t.tv_sec.unsigned_abs() * 1_000_000 + t.tv_nsec.unsigned_abs() / 1000
    };
    let (t0, mut out) = (cpu_us(), [0u8; 20]);
    pbkdf2::pbkdf2_hmac::<sha1::Sha1>(b"secret", b"salt", 20_000, &mut out);
    std::hint::black_box(out);
    cpu_us() - t0
}

/// A measured stretch: wall-clock and server CPU.
pub(crate) struct Window {
    server: Server,
    before: Usage,
    at: Instant,
}

impl Window {
    /// Fields for `n` operations, called `what`, done since the window opened.
    ///
    /// If the server has the same threads as then, their CPU is taken to the nanosecond
    /// (`"clock": "ns"`), otherwise to the tick of 10 ms.
    pub(crate) fn fields(&self, what: &str, n: u64) -> Fields {
        let secs = self.at.elapsed().as_secs_f64();
        let now = self.server.usage();
        let same = !now.threads_ns.is_empty() && now.threads_ns.keys().eq(self.before.threads_ns.keys());
        let cpu = if same {
            let sum = |u: &Usage| u.threads_ns.values().sum::<u64>();
            (sum(&now) - sum(&self.before)) as f64 / 1e9
        } else {
            seconds(now.ticks.saturating_sub(self.before.ticks))
        };
        let mut m = Fields::new();
        m.insert(what.into(), json!(n));
        m.insert("secs".into(), round(secs));
        m.insert(format!("{what}_per_s"), round(n as f64 / secs));
        if !self.server.roots.is_empty() {
            m.insert("server_cpu_s".into(), round(cpu));
            m.insert("server_cpu_pct".into(), round(100.0 * cpu / secs));
            m.insert("cpu_us_per_op".into(), round(cpu * 1e6 / n.max(1) as f64));
            m.insert("clock".into(), json!(if same { "ns" } else { "tick" }));
        }
        m.insert("calib_us".into(), json!(calibrate()));
        let load = fs::read_to_string("/proc/loadavg").ok();
        m.insert("load".into(), json!(load.and_then(|l| l.split(' ').next()?.parse::<f64>().ok())));
        m
    }
}
