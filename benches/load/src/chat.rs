//! One-to-one messages (RFC 6121 section 5) between pairs of accounts.
//!
//! Each message carries its number and the moment it was due; whoever receives one out
//! of order, twice or altered fails the run, and so does a message that never comes.

use crate::client::Client;
use crate::context::Context;
use crate::measure::{Fields, now_ns, percentiles, us_since};
use crate::polite::{auto_reply, presence};
use crate::requests::Span;
use crate::xml::{attr, has, is, show};
use crate::{Res, lock};
use clap::Args;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Pairs chatting.
#[derive(Args)]
pub(crate) struct Chat {
    /// Pairs of accounts
    #[arg(long, default_value_t = 50)]
    pairs: usize,
    /// Messages under way per pair; each one received is answered by another
    #[arg(long, default_value_t = 4)]
    window: usize,
    /// Open loop instead: this many messages a second in all
    #[arg(long)]
    rate: Option<f64>,
    #[command(flatten)]
    span: Span,
}

/// What the ends of all conversations share.
pub(crate) struct Talk {
    /// Distinguishes this run's messages from what an earlier one left.
    pub(crate) tag: String,
    pub(crate) stop: AtomicBool,
    pub(crate) measuring: AtomicBool,
    pub(crate) sent: AtomicU64,
    pub(crate) got: AtomicU64,
    /// Operations done while measuring.
    pub(crate) measured: AtomicU64,
    /// Their microseconds.
    pub(crate) latency: Mutex<Vec<u32>>,
    /// The first few things that went wrong.
    pub(crate) errors: Mutex<Vec<String>>,
}

impl Talk {
    pub(crate) fn new() -> Arc<Talk> {
        Arc::new(Talk {
            tag: format!("c{:x}", now_ns() / 1000),
            stop: AtomicBool::new(false),
            measuring: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            got: AtomicU64::new(0),
            measured: AtomicU64::new(0),
            latency: Mutex::new(Vec::new()),
            errors: Mutex::new(Vec::new()),
        })
    }

    /// The run is not ok.
    pub(crate) fn fail(&self, e: String) {
        let mut v = lock(&self.errors);
        if v.len() < 10 {
            v.push(e);
        }
    }

    /// Count one operation begun at `t0`, if within the measured stretch.
    pub(crate) fn count(&self, t0: u64) {
        if self.measuring.load(Relaxed) {
            self.measured.fetch_add(1, Relaxed);
            lock(&self.latency).push(us_since(t0));
        }
    }

    /// Until all that was sent has come, and a little longer so that doubles show.
    pub(crate) async fn drain(&self) {
        let t = Instant::now();
        while self.got.load(Relaxed) < self.sent.load(Relaxed) && t.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (sent, got) = (self.sent.load(Relaxed), self.got.load(Relaxed));
        if sent != got {
            self.fail(format!("{sent} messages sent, {got} received"));
        }
    }
}

/// One end of a conversation.
pub(crate) struct End {
    /// The bare address of the other end.
    pub(crate) peer: String,
    /// Messages to send of its own accord at the start (closed loop).
    pub(crate) credit: usize,
    /// Answer received messages with new ones, up to this many sent in all.
    pub(crate) limit: u64,
    /// Open loop: time between messages, and offset of the first.
    pub(crate) every: Option<(Duration, Duration)>,
    /// The bare relay stamps no sender: say it oneself, so that the bytes are the same.
    pub(crate) bare: bool,
}

/// What is said: with its envelope a message of about 280 bytes.
pub(crate) const BODY: &str = "The quick brown fox jumps over the lazy dog, and then, \
                               after a short rest, it jumps back over the same dog again. Bye!";

/// Converse until the session ends; a session that ends by error fails the run.
pub(crate) async fn speak(mut c: Client, e: End, t: Arc<Talk>) {
    if let Err(err) = converse(&mut c, e, &t).await {
        t.fail(format!("{}: {err}", c.jid));
    }
}

async fn converse(c: &mut Client, e: End, t: &Talk) -> Res<()> {
    let (mut seq, mut expected) = (0u64, 0u64);
    let from = if e.bare { format!(" from='{}'", c.jid) } else { String::new() };
    let message = |seq: &mut u64, t0: u64| {
        let m = format!(
            "<message{from} to='{}' type='chat' id='{}-{seq}-{t0}'><body>{BODY}</body></message>",
            e.peer, t.tag
        );
        *seq += 1;
        t.sent.fetch_add(1, Relaxed);
        m
    };
    for _ in 0..e.credit {
        let m = message(&mut seq, now_ns());
        c.send(&m).await?;
    }
    let far = Duration::from_secs(1 << 30);
    let (every, offset) = e.every.unwrap_or((far, far));
    let (base, base_ns) = (tokio::time::Instant::now(), now_ns());
    let mut due = offset;
    loop {
        let out = tokio::select! {
            st = c.next() => {
                let st = st?;
                let id = attr(st, "id").and_then(|i| i.strip_prefix(&t.tag)).filter(|_| is(st, "message"));
                match id {
                    None => auto_reply(st),
                    Some(_) if attr(st, "type") == Some("error") => {
                        t.fail(show(st));
                        None
                    }
                    Some(id) => {
                        let mut parts = id.split('-').skip(1).map(|p| p.parse::<u64>().unwrap_or(u64::MAX));
                        let (n, t0) = (parts.next().unwrap_or(u64::MAX), parts.next().unwrap_or(0));
                        if n != expected || !has(st, BODY) {
                            t.fail(format!("message {n} received by {} where {expected} was due", c.jid));
                            return Ok(());
                        }
                        expected += 1;
                        t.got.fetch_add(1, Relaxed);
                        t.count(t0);
                        let answer = e.every.is_none() && seq < e.limit && !t.stop.load(Relaxed);
                        answer.then(|| message(&mut seq, now_ns()))
                    }
                }
            }
            () = tokio::time::sleep_until(base + due), if e.every.is_some() && !t.stop.load(Relaxed) => {
                let m = message(&mut seq, base_ns + u64::try_from(due.as_nanos()).unwrap_or(0));
                due += every;
                Some(m)
            }
        };
        if let Some(m) = out {
            c.send(&m).await?;
        }
    }
}

async fn sessions(x: &Context, n: usize) -> Res<Vec<Client>> {
    if !x.target.bare {
        return x.login_all(x.first..x.first + n, Some(presence(false))).await;
    }
    let first = x.first;
    x.each(
        first..first + n,
        move |u, t| async move { Client::bare(&t, u, &format!("pair {}\n", (u - first) / 2)).await },
    )
    .await
}

/// Pairs chatting for a while.
pub(crate) async fn chat(x: &Context, o: &Chat) -> Res<Fields> {
    let n = 2 * o.pairs;
    let clients = sessions(x, n).await?;
    x.server.settle(Duration::from_secs(10)).await;
    let t = Talk::new();
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(i, c)| {
            let every = o.rate.map(|r| {
                let gap = Duration::from_secs_f64(n as f64 / r);
                (gap, gap.mul_f64(i as f64 / n as f64))
            });
            let credit = if every.is_some() { 0 } else { (o.window + 1 - i % 2) / 2 };
            let peer = x.target.jid(x.first + (i ^ 1));
            tokio::spawn(speak(c, End { peer, credit, limit: u64::MAX, every, bare: x.target.bare }, t.clone()))
        })
        .collect();
    let mut f = o.span.measure(x, &t, "messages").await;
    t.stop.store(true, Relaxed);
    t.drain().await;
    let dead = tasks.iter().filter(|t| t.is_finished()).count();
    if dead > 0 {
        t.fail(format!("{dead} sessions ended"));
    }
    if t.measured.load(Relaxed) == 0 {
        t.fail("no message was delivered".into());
    }
    f.insert("pairs".into(), json!(o.pairs));
    match o.rate {
        Some(r) => f.insert("rate".into(), json!(r)),
        None => f.insert("window".into(), json!(o.window)),
    };
    f.insert("delivered_total".into(), json!(t.got.load(Relaxed)));
    f.insert("latency_ms".into(), percentiles(&t.latency));
    let errors = lock(&t.errors).clone();
    if !errors.is_empty() {
        f.insert("errors".into(), json!(errors));
    }
    Ok(f)
}
