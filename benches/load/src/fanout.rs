//! One publisher, many online followers: what a post costs to deliver.
//!
//! Every follower has to get every post once and with its payload. A post is done when
//! its last follower has it.

use crate::client::{Client, Target};
use crate::context::Context;
use crate::follow::{befriend, mutual};
use crate::measure::{Fields, now_ns, percentiles, round, us_since};
use crate::microblog::{self, Acks};
use crate::polite::{auto_reply, presence};
use crate::xml::{attr, bare, has, is, tags};
use crate::{Res, lock};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How one follows.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq, Debug)]
pub(crate) enum Via {
    /// Mutual presence subscription and caps +notify
    Presence,
    /// Explicit XEP-0060 subscription to the publisher's node
    Subscribe,
}

/// A publisher and its followers.
#[derive(Args)]
pub(crate) struct Fanout {
    /// Followers: accounts --first and on
    #[arg(long, default_value_t = 1000)]
    pub(crate) followers: usize,
    /// Number of the publishing account
    #[arg(long, default_value_t = 0)]
    publisher: usize,
    #[arg(long, value_enum, default_value = "presence")]
    via: Via,
    /// Posts in the measured window
    #[arg(long, default_value_t = 50)]
    posts: usize,
    /// Posts before it
    #[arg(long, default_value_t = 5)]
    warmup: usize,
    /// Posts under way at once
    #[arg(long, default_value_t = 1)]
    window: usize,
    /// First let the account after the last follower make the capabilities known to
    /// the server (Prosody 0.12 notifies those it asks about them twice)
    #[arg(long)]
    prime_caps: bool,
    /// Measured windows, each giving a line of its own
    #[arg(long, default_value_t = 1)]
    reps: usize,
    /// The followers follow already: leave out the subscribing
    #[arg(long)]
    skip_setup: bool,
    /// Seconds the subscribing may take
    #[arg(long, default_value_t = 900)]
    setup_timeout: u64,
}

/// Posts that may be used up to see whether all followers are reached yet.
const PROBES: usize = 60;

struct Post {
    t0: AtomicU64,
    left: AtomicU32,
}

struct Shared {
    tag: String,
    posts: Vec<Post>,
    measured_from: usize,
    got: AtomicU64,
    latency: Mutex<Vec<u32>>,
    errors: Mutex<Vec<String>>,
    done: mpsc::UnboundedSender<usize>,
}

impl Shared {
    fn fail(&self, e: String) {
        let mut v = lock(&self.errors);
        if v.len() < 10 {
            v.push(e);
        }
    }

    /// A follower got post `k` in `st`; `seen` is what it had before.
    fn arrived(&self, k: usize, st: &[u8], seen: &mut [bool]) {
        let (Some(p), Some(seen)) = (self.posts.get(k), seen.get_mut(k)) else {
            return self.fail(format!("post {k} was never made"));
        };
        if std::mem::replace(seen, true) {
            // A probe is also sent as the last item to one who just came online.
            if k >= PROBES {
                self.fail(format!("post {k} twice to {}", attr(st, "to").unwrap_or("")));
            }
            return;
        }
        if k >= self.measured_from {
            self.got.fetch_add(1, Relaxed);
            lock(&self.latency).push(us_since(p.t0.load(Relaxed)));
            if !has(st, "</entry>") {
                self.fail(format!("post {k} without its payload"));
            }
        }
        if p.left.fetch_sub(1, Relaxed) == 1 {
            let _ = self.done.send(k);
        }
    }
}

/// Be a follower until the session ends, which fails the run.
async fn listen(mut c: Client, s: Arc<Shared>) {
    let mut seen = vec![false; s.posts.len()];
    loop {
        let reply = match c.next().await {
            Ok(st) if is(st, "message") => {
                for k in tags(st, "item").filter_map(|i| attr(i, "id")?.strip_prefix(&s.tag)?.parse().ok()) {
                    s.arrived(k, st, &mut seen);
                }
                None
            }
            Ok(st) => auto_reply(st),
            Err(e) => return s.fail(format!("follower: {e}")),
        };
        if let Some(r) = reply
            && let Err(e) = c.send(&r).await
        {
            return s.fail(format!("follower: {e}"));
        }
    }
}

/// Log the publisher in; answers it and who is already mutually subscribed.
async fn publisher(x: &Context, o: &Fanout) -> Res<(Client, HashSet<String>)> {
    if x.target.bare {
        return Ok((Client::bare(&x.target, o.publisher, "tell\n").await?, HashSet::new()));
    }
    let mut c = Client::login(&x.target, o.publisher).await?;
    let access = if o.via == Via::Presence { "presence" } else { "open" };
    microblog::set_up(&mut c, access, "100").await?;
    let both = if o.via == Via::Presence && !o.skip_setup { mutual(&mut c).await? } else { HashSet::new() };
    c.send(&presence(false)).await?;
    Ok((c, both))
}

/// Log a follower in, and let it follow if it does not yet.
async fn follower(t: Target, n: usize, via: Via, ask: bool, publisher: String) -> Res<Client> {
    if t.bare {
        return Client::bare(&t, n, "hear\n").await;
    }
    let mut c = Client::login(&t, n).await?;
    c.send(&presence(via == Via::Presence)).await?;
    match via {
        Via::Presence if ask => c.send(&format!("<presence to='{publisher}' type='subscribe'/>")).await?,
        Via::Subscribe if ask => microblog::subscribe(&mut c, &publisher).await?,
        _ => {}
    }
    Ok(c)
}

/// What makes the server deliver post `k`.
fn post(s: &Shared, publisher: &str, k: usize, iq_id: &str, bare: bool) -> String {
    let id = format!("{}{k}", s.tag);
    if bare {
        let note = microblog::notification(publisher, &id, "follower@bench.test");
        let ack = format!("<iq type='result' id='{iq_id}'/>");
        format!("{} {}\n{note}{ack}", note.len(), ack.len())
    } else {
        microblog::publish(publisher, &id, iq_id)
    }
}

#[derive(Default)]
struct Times {
    ack: Mutex<Vec<u32>>,
    last: Mutex<Vec<u32>>,
}

/// Publish `range`, `window` at a time, until each has reached every follower.
async fn phase(
    p: &mut Client,
    s: &Shared,
    done: &mut mpsc::UnboundedReceiver<usize>,
    range: Range<usize>,
    (window, bare_relay): (usize, bool),
    stall: Duration,
) -> Res<Times> {
    let (mut next, mut out, mut complete) = (range.start, 0, 0);
    let (mut acks, times) = (Acks::default(), Times::default());
    let me = bare(&p.jid).to_string();
    while complete < range.len() || !acks.is_empty() {
        while next < range.end && out < window {
            let iq_id = format!("pub{next}");
            s.posts[next].t0.store(now_ns(), Relaxed);
            acks.sent(iq_id.clone());
            p.send(&post(s, &me, next, &iq_id, bare_relay)).await?;
            next += 1;
            out += 1;
        }
        let reply = tokio::select! {
            st = p.next() => {
                let st = st?;
                if let Some(t0) = acks.take(st)? {
                    lock(&times.ack).push(us_since(t0));
                }
                auto_reply(st)
            }
            Some(k) = done.recv() => {
                if range.contains(&k) {
                    lock(&times.last).push(us_since(s.posts[k].t0.load(Relaxed)));
                    out -= 1;
                    complete += 1;
                }
                None
            }
            () = tokio::time::sleep(stall) => {
                let left: u32 = s.posts[range.start..next].iter().map(|p| p.left.load(Relaxed)).sum();
                return Err(format!("nothing for {stall:?}: {left} notifications of {} posts missing", next - range.start));
            }
        };
        if let Some(r) = reply {
            p.send(&r).await?;
        }
    }
    Ok(times)
}

/// Log followers in and have them follow; their sessions run on as tasks.
async fn gather(
    x: &Context,
    o: &Fanout,
    p: &mut Client,
    both: &HashSet<String>,
    s: &Arc<Shared>,
) -> Res<Vec<tokio::task::JoinHandle<()>>> {
    let users = x.first..x.first + o.followers;
    let asking = !o.skip_setup && !x.target.bare;
    let lacks: HashSet<String> = if asking && o.via == Via::Presence {
        users.clone().map(|n| x.target.jid(n)).filter(|j| !both.contains(j)).collect()
    } else {
        HashSet::new()
    };
    let (online, pub_jid, via) = (AtomicBool::new(false), bare(&p.jid).to_string(), o.via);
    let join = async {
        let r = x
            .each(users, |n, t| {
                let (s, pub_jid) = (s.clone(), pub_jid.clone());
                let ask = asking && (via == Via::Subscribe || lacks.contains(&t.jid(n)));
                async move {
                    let c = follower(t, n, via, ask, pub_jid).await?;
                    Ok(tokio::spawn(listen(c, s)))
                }
            })
            .await;
        online.store(true, Relaxed);
        r
    };
    let approving = befriend(p, lacks.clone(), &online, Duration::from_secs(o.setup_timeout));
    Ok(tokio::try_join!(join, approving)?.0)
}

/// Post to followers.
pub(crate) async fn fanout(x: &Context, o: &Fanout) -> Res<Vec<Fields>> {
    if o.prime_caps {
        let mut c = Client::login(&x.target, x.first + o.followers).await?;
        c.send(&presence(true)).await?;
        let _ = tokio::time::timeout(Duration::from_secs(1), c.idle()).await;
    }
    let (mut p, both) = publisher(x, o).await?;
    let pub_jid = bare(&p.jid).to_string();
    let (tx, mut done) = mpsc::unbounded_channel();
    let measured_from = PROBES + o.warmup;
    let followers = u32::try_from(o.followers).map_err(|e| e.to_string())?;
    let fresh = |_| Post { t0: AtomicU64::new(0), left: AtomicU32::new(followers) };
    let s = Arc::new(Shared {
        tag: format!("x{:x}-", now_ns() / 1000),
        posts: (0..measured_from + o.posts * o.reps).map(fresh).collect(),
        measured_from,
        got: AtomicU64::new(0),
        latency: Mutex::new(Vec::new()),
        errors: Mutex::new(Vec::new()),
        done: tx,
    });
    let (setup, setup_window) = (Instant::now(), x.server.cpu());
    let tasks = gather(x, o, &mut p, &both, &s).await?;
    let setup = setup.elapsed().as_secs_f64();
    x.server.settle(Duration::from_secs(60)).await;
    let setup_cpu = x.server.cpu() - setup_window;

    // The server may still be asking for capabilities: probe until one post reaches all.
    let mut probes = 0;
    let how = (o.window.max(1), x.target.bare);
    let stall = Duration::from_secs(2 + o.followers as u64 / 1000);
    while let Err(e) = phase(&mut p, &s, &mut done, probes..probes + 1, how, stall).await {
        probes += 1;
        if probes >= 6 || !e.starts_with("nothing for") {
            return Err(format!("no post reached every follower: {e}"));
        }
    }
    let stall = Duration::from_secs(60);
    phase(&mut p, &s, &mut done, PROBES..measured_from, how, stall).await?;
    let mut lines = Vec::new();
    for rep in 0..o.reps {
        x.server.settle(Duration::from_secs(20)).await;
        lock(&s.latency).clear();
        s.got.store(0, Relaxed);
        let w = x.server.window();
        let from = measured_from + rep * o.posts;
        let times = phase(&mut p, &s, &mut done, from..from + o.posts, how, stall).await?;
        let due = (o.posts * o.followers) as u64;
        let mut f = w.fields("notifications", due);
        tokio::time::sleep(Duration::from_millis(700)).await; // late duplicates
        let got = s.got.load(Relaxed);
        if got != due {
            s.fail(format!("{due} notifications expected, {got} received"));
        }
        let dead = tasks.iter().filter(|t| t.is_finished()).count();
        if dead > 0 {
            s.fail(format!("{dead} followers lost their session"));
        }
        f.insert("followers".into(), json!(o.followers));
        f.insert("via".into(), json!(format!("{:?}", o.via).to_lowercase()));
        f.insert("posts".into(), json!(o.posts));
        f.insert("window".into(), json!(o.window));
        f.insert("entry_bytes".into(), json!(microblog::entry(&pub_jid, "x").len()));
        f.insert("setup_secs".into(), round(setup));
        f.insert("setup_cpu_s".into(), round(setup_cpu));
        f.insert("probes".into(), json!(probes + 1));
        f.insert("last_follower_ms".into(), percentiles(&times.last));
        f.insert("notification_ms".into(), percentiles(&s.latency));
        f.insert("ack_ms".into(), percentiles(&times.ack));
        let errors = lock(&s.errors).clone();
        if !errors.is_empty() {
            f.insert("errors".into(), json!(errors));
        }
        lines.push(f);
    }
    Ok(lines)
}
