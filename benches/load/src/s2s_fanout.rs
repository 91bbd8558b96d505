//! One local publisher, many followers on a few far domains: what a post costs to
//! deliver over streams of servers, in CPU and in bytes.
//!
//! Every follower has to be named by exactly one notification of every post, in the
//! posts' order and with the text that was posted. Where multicast (XEP-0033) is announced,
//! one stanza may name many. A post is done when its last follower is named.

use crate::client::Client;
use crate::context::Context;
use crate::fanout::Via;
use crate::far::{Ear, Far, Federation};
use crate::follow::{befriend, mutual};
use crate::measure::{Fields, Window, now_ns, percentiles, round, us_since};
use crate::microblog::{self, Acks};
use crate::polite::{auto_reply, presence};
use crate::xml::{attr, bare, find_tag, has, is, show, tags, text_of};
use crate::{Res, lock};
use clap::Args;
use serde_json::json;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A publisher and its far followers.
#[derive(Args)]
pub(crate) struct S2sFanout {
    /// Followers, spread evenly over the far domains
    #[arg(long, default_value_t = 1000)]
    followers: usize,
    /// Number of the publishing account
    #[arg(long, default_value_t = 0)]
    publisher: usize,
    #[arg(long, value_enum, default_value = "subscribe")]
    via: Via,
    /// Posts in the measured window
    #[arg(long, default_value_t = 20)]
    posts: usize,
    /// Posts before it
    #[arg(long, default_value_t = 3)]
    warmup: usize,
    /// Bytes of a post's Atom entry
    #[arg(long, default_value_t = 2000)]
    entry_bytes: usize,
    /// Measured windows, each giving a line of its own
    #[arg(long, default_value_t = 1)]
    reps: usize,
    /// Subscribing under way at once
    #[arg(long, default_value_t = 64)]
    window: usize,
    /// The followers follow already: leave out the subscribing
    #[arg(long)]
    skip_setup: bool,
    /// Seconds the subscribing may take
    #[arg(long, default_value_t = 900)]
    setup_timeout: u64,
    #[command(flatten)]
    federation: Federation,
}

/// Posts that may be used up to see whether all followers are reached yet.
const PROBES: usize = 6;

/// What has arrived.
struct State {
    /// The newest post each follower has.
    newest: Vec<Option<usize>>,
    /// Followers each post has not reached.
    left: Vec<usize>,
    /// When each was made, and its text.
    made: Vec<(u64, String)>,
    /// Stanzas that brought posts.
    stanzas: u64,
    /// Followers named by them.
    named: u64,
    latency: Vec<u32>,
    errors: Vec<String>,
}

/// The followers.
struct Audience {
    tag: String,
    publisher: String,
    domains: usize,
    state: Mutex<State>,
    done: mpsc::UnboundedSender<usize>,
    subscribed: mpsc::UnboundedSender<Result<(), String>>,
}

/// The number of follower `f{n}@…`, if it lives on far domain `d` of `domains`.
fn follower(jid: &str, d: usize, domains: usize) -> Option<usize> {
    let n: usize = bare(jid).strip_prefix('f')?.split_once('@')?.0.parse().ok()?;
    (n % domains == d).then_some(n)
}

impl State {
    fn fail(&mut self, e: String) {
        if self.errors.len() < 10 {
            self.errors.push(e);
        }
    }

    /// Follower `n` has post `k`; whether that was the last follower.
    fn named(&mut self, k: usize, n: usize) -> bool {
        let (Some(left), Some(newest)) = (self.left.get_mut(k), self.newest.get_mut(n)) else {
            self.fail(format!("post {k} for follower {n}: one of them was never made"));
            return false;
        };
        let due = newest.map_or(0, |n| n + 1);
        // Before all have been reached once, posts may be missed, and come a second time
        // as the last item of a node one has just subscribed to.
        if k != due && (k >= PROBES && due >= PROBES || k < due && due > PROBES) {
            self.fail(format!("post {k} came to follower {n} where {due} was due"));
            return false;
        }
        if k < due {
            return false;
        }
        *newest = Some(k);
        *left = left.saturating_sub(1);
        let last = *left == 0;
        self.named += 1;
        self.latency.push(us_since(self.made[k].0));
        last
    }
}

impl Audience {
    /// Notification `st` brings post `k` to everybody it names.
    fn notified(&self, d: usize, st: &[u8], k: usize) {
        let mut s = lock(&self.state);
        s.stanzas += 1;
        let right = attr(st, "from").map(bare) == Some(self.publisher.as_str())
            && has(st, "</entry>")
            && text_of(st, "content") == s.made.get(k).map(|m| m.1.as_str())
            && text_of(st, "title").is_some_and(|t| t.contains(&format!("{}{k}:", self.tag)));
        if !right {
            s.fail(format!("post {k} is not what was posted: {}", show(st)));
        }
        let mut last = false;
        let to = attr(st, "to").unwrap_or("");
        let mut name = |jid: &str| match follower(jid, d, self.domains) {
            Some(n) => last |= s.named(k, n),
            None => s.fail(format!("post {k} for {jid} on the stream of domain {d}")),
        };
        if to.contains('@') {
            name(to);
        } else {
            tags(st, "address").filter_map(|a| attr(a, "jid")).for_each(&mut name);
        }
        if last {
            let _ = self.done.send(k);
        }
    }
}

impl Ear for Audience {
    fn hear(&self, far: &Far, d: usize, st: &[u8]) -> bool {
        let to = attr(st, "to").unwrap_or("");
        if is(st, "message") {
            // Of the items only the first: notifications bring one.
            let k = find_tag(st, "item").and_then(|i| attr(i, "id")?.strip_prefix(&self.tag)?.parse().ok());
            if let Some(k) = k {
                self.notified(d, st, k);
            } else if attr(st, "type") == Some("error") {
                lock(&self.state).fail(show(st));
            }
            return true;
        }
        let kind = attr(st, "type").unwrap_or("");
        if is(st, "iq") && attr(st, "id").is_some_and(|i| i.starts_with("sub-")) && kind != "get" && kind != "set" {
            let _ = self.subscribed.send(if kind == "result" { Ok(()) } else { Err(show(st)) });
            return true;
        }
        if is(st, "presence") {
            let me = bare(to);
            if kind == "subscribe" {
                far.say(d, format!("<presence from='{me}' to='{}' type='subscribed'/>", self.publisher));
            }
            if kind == "subscribe" || kind == "probe" {
                far.say(d, self.available(me));
            }
            return true;
        }
        false
    }
}

impl Audience {
    /// The presence of a far follower's client, which wants notifications.
    fn available(&self, me: &str) -> String {
        let p = presence(true);
        p.replacen("<presence", &format!("<presence from='{me}/load' to='{}'", self.publisher), 1)
    }
}

/// The publisher at work.
struct Publisher {
    c: Client,
    done: mpsc::UnboundedReceiver<usize>,
    audience: Arc<Audience>,
    entry_bytes: usize,
    ack: Mutex<Vec<u32>>,
    last: Mutex<Vec<u32>>,
}

impl Publisher {
    /// Make post `k`, until it has reached every follower.
    async fn post(&mut self, k: usize, stall: Duration) -> Res<()> {
        let iq_id = format!("pub{k}");
        let item = format!("{}{k}", self.audience.tag);
        let mut acks = Acks::default();
        let post = microblog::publish_of(&self.audience.publisher, &item, &iq_id, self.entry_bytes);
        let text = text_of(post.as_bytes(), "content").unwrap_or("").to_string();
        lock(&self.audience.state).made[k] = (now_ns(), text);
        acks.sent(iq_id);
        self.c.send(&post).await?;
        let mut complete = false;
        while !complete || !acks.is_empty() {
            let reply = tokio::select! {
                st = self.c.next() => {
                    let st = st?;
                    if let Some(t0) = acks.take(st)? {
                        lock(&self.ack).push(us_since(t0));
                    }
                    auto_reply(st)
                }
                Some(n) = self.done.recv() => {
                    if n == k {
                        complete = true;
                        lock(&self.last).push(us_since(lock(&self.audience.state).made[k].0));
                    }
                    None
                }
                () = tokio::time::sleep(stall) => {
                    return Err(format!("nothing for {stall:?}: {} notifications missing", lock(&self.audience.state).left[k]));
                }
            };
            if let Some(r) = reply {
                self.c.send(&r).await?;
            }
        }
        Ok(())
    }
}

/// Have every far follower subscribe to the node, `window` at a time.
async fn subscribe(
    far: &Far,
    a: &Audience,
    o: &S2sFanout,
    answers: &mut mpsc::UnboundedReceiver<Result<(), String>>,
) -> Res<()> {
    let (mut next, mut out) = (0, 0);
    while next < o.followers || out > 0 {
        while next < o.followers && out < o.window.max(1) {
            let d = next % a.domains;
            let me = format!("f{next}@{}", far.domains[d]);
            let payload = microblog::subscribing(&me);
            far.say(d, format!("<iq type='set' from='{me}/load' to='{}' id='sub-{next}'>{payload}</iq>", a.publisher));
            next += 1;
            out += 1;
        }
        let answer = tokio::time::timeout(Duration::from_secs(60), answers.recv()).await;
        answer
            .map_err(|_| format!("{out} subscriptions of {next} unanswered"))?
            .ok_or("no answers")?
            .map_err(|e| format!("subscribe: {e}"))?;
        out -= 1;
    }
    Ok(())
}

/// Have every far follower and the publisher subscribe to each other's presence.
async fn befriend_all(far: &Far, a: &Audience, o: &S2sFanout, p: &mut Client) -> Res<()> {
    let both = mutual(p).await?;
    let max = Duration::from_secs(o.setup_timeout);
    let followers: Vec<(usize, String)> =
        (0..o.followers).map(|n| (n % a.domains, format!("f{n}@{}", far.domains[n % a.domains]))).collect();
    for block in followers.chunks(o.window.max(1)) {
        let need: HashSet<String> = block.iter().map(|(_, j)| j.clone()).filter(|j| !both.contains(j)).collect();
        for (d, me) in block.iter().filter(|(_, j)| need.contains(j)) {
            far.say(*d, format!("<presence from='{me}' to='{}' type='subscribe'/>", a.publisher));
        }
        befriend(p, need, &AtomicBool::new(true), max).await?;
    }
    Ok(())
}

/// What a window gave, for its result line.
fn line(w: &Window, far: &Far, before: (u64, u64, u64), o: &S2sFanout) -> Fields {
    let mut f = w.fields("notifications", (o.posts * o.followers) as u64);
    let posts = o.posts as f64;
    let per_op = f.get("cpu_us_per_op").and_then(serde_json::Value::as_f64);
    if let Some(us) = per_op {
        f.insert("cpu_us_per_post".into(), round(us * o.followers as f64));
    }
    let t = &far.traffic;
    for (name, now, then) in [
        ("wire_bytes_per_post", t.wire.load(Relaxed), before.0),
        ("stanzas_per_post", t.stanzas.load(Relaxed), before.1),
        ("xml_bytes_per_post", t.bytes.load(Relaxed), before.2),
    ] {
        f.insert(name.into(), round((now - then) as f64 / posts));
    }
    f
}

/// Post to far followers.
pub(crate) async fn s2s_fanout(x: &Context, o: &S2sFanout) -> Res<Vec<Fields>> {
    let mut c = Client::login(&x.target, o.publisher).await?;
    let publisher = bare(&c.jid).to_string();
    let access = if o.via == Via::Presence { "presence" } else { "open" };
    // Whose presence ejabberd does not know it otherwise tells nothing.
    let everybody = [("pubsub#presence_based_delivery", "0")];
    microblog::set_up_with(&mut c, access, "100", &everybody).await?;
    let (done_tx, done) = mpsc::unbounded_channel();
    let (subscribed, mut answers) = mpsc::unbounded_channel();
    let total = PROBES + o.warmup + o.posts * o.reps;
    let entry_bytes = microblog::entry_of(&publisher, "x", o.entry_bytes).len();
    let audience = Arc::new(Audience {
        tag: format!("x{:x}-", now_ns() / 1000),
        publisher,
        domains: o.federation.domains,
        state: Mutex::new(State {
            newest: vec![None; o.followers],
            left: vec![o.followers; total],
            made: vec![(0, String::new()); total],
            stanzas: 0,
            named: 0,
            latency: Vec::new(),
            errors: Vec::new(),
        }),
        done: done_tx,
        subscribed,
    });
    let far = Far::start(&o.federation, &x.target.domain, audience.clone()).await?;
    c.send(&presence(false)).await?;
    x.server.settle(Duration::from_secs(60)).await;
    let (setup, setup_cpu) = (Instant::now(), x.server.cpu());
    if !o.skip_setup {
        match o.via {
            Via::Subscribe => subscribe(&far, &audience, o, &mut answers).await?,
            Via::Presence => befriend_all(&far, &audience, o, &mut c).await?,
        }
    }
    let setup = setup.elapsed().as_secs_f64();
    x.server.settle(Duration::from_secs(60)).await;
    let setup_cpu = x.server.cpu() - setup_cpu;
    let mut p = Publisher {
        c,
        done,
        audience: audience.clone(),
        entry_bytes: o.entry_bytes,
        ack: Mutex::default(),
        last: Mutex::default(),
    };
    // The server may still be dialling, or asking for capabilities.
    let mut probes = 0;
    while let Err(e) = p.post(probes, Duration::from_secs(10)).await {
        probes += 1;
        if probes >= PROBES || !e.starts_with("nothing for") {
            let seen = [lock(&audience.state).errors.clone(), far.errors()].concat();
            return Err(format!("no post reached every follower: {e} {seen:?}"));
        }
    }
    for k in probes + 1..PROBES + o.warmup {
        p.post(k, Duration::from_secs(60)).await?;
    }
    let mut lines = Vec::new();
    for rep in 0..o.reps {
        x.server.settle(Duration::from_secs(20)).await;
        {
            let mut s = lock(&audience.state);
            (s.stanzas, s.named) = (0, 0);
            s.latency.clear();
        }
        lock(&p.ack).clear();
        lock(&p.last).clear();
        let t = &far.traffic;
        let before = (t.wire.load(Relaxed), t.stanzas.load(Relaxed), t.bytes.load(Relaxed));
        let w = x.server.window();
        let from = PROBES + o.warmup + rep * o.posts;
        for k in from..from + o.posts {
            p.post(k, Duration::from_secs(60)).await?;
        }
        let mut f = line(&w, &far, before, o);
        tokio::time::sleep(Duration::from_millis(700)).await; // late duplicates
        let due = (o.posts * o.followers) as u64;
        let mut s = lock(&audience.state);
        if s.named != due {
            let named = s.named;
            s.fail(format!("{due} notifications expected, {named} received"));
        }
        f.insert("followers".into(), json!(o.followers));
        f.insert("via".into(), json!(format!("{:?}", o.via).to_lowercase()));
        f.insert("posts".into(), json!(o.posts));
        f.insert("entry_bytes".into(), json!(entry_bytes));
        f.insert("notifications_per_stanza".into(), round(s.named as f64 / s.stanzas.max(1) as f64));
        far.describe(&mut f);
        f.insert("setup_secs".into(), round(setup));
        f.insert("setup_cpu_us_per_follower".into(), round(setup_cpu * 1e6 / o.followers.max(1) as f64));
        f.insert("probes".into(), json!(probes + 1));
        f.insert("last_follower_ms".into(), percentiles(&p.last));
        f.insert("notification_ms".into(), percentiles(&Mutex::new(std::mem::take(&mut s.latency))));
        f.insert("ack_ms".into(), percentiles(&p.ack));
        let errors = [s.errors.clone(), far.errors()].concat();
        if !errors.is_empty() {
            f.insert("errors".into(), json!(errors));
        }
        lines.push(f);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn audience() -> (Audience, mpsc::UnboundedReceiver<usize>) {
        let (done, done_rx) = mpsc::unbounded_channel();
        let (subscribed, _) = mpsc::unbounded_channel();
        let state = State {
            newest: vec![None; 4],
            left: vec![4; PROBES + 3],
            made: vec![(0, "hello".into()); PROBES + 3],
            stanzas: 0,
            named: 0,
            latency: Vec::new(),
            errors: Vec::new(),
        };
        let a = Audience {
            tag: "t-".into(),
            publisher: "p@h".into(),
            domains: 2,
            state: Mutex::new(state),
            done,
            subscribed,
        };
        (a, done_rx)
    }

    fn note(to: &str, k: usize, more: &str) -> Vec<u8> {
        format!(
            "<message from='p@h' to='{to}'>{more}<event><items><item id='t-{k}'><entry><title>Post t-{k}: x</title>\
             <content>hello</content></entry></item></items></event></message>"
        )
        .into_bytes()
    }

    #[test]
    fn counts_each_follower_once() {
        let (a, mut done) = audience();
        let k = PROBES;
        a.notified(0, &note("f0@d0.x", k, ""), k);
        a.notified(0, &note("f2@d0.x", k, ""), k);
        let two = "<addresses><address type='bcc' jid='f1@d1.x'/><address type='bcc' jid='f3@d1.x'/></addresses>";
        a.notified(1, &note("d1.x", k, two), k);
        assert_eq!(done.try_recv().unwrap(), k);
        let s = lock(&a.state);
        assert_eq!((s.stanzas, s.named, s.errors.as_slice()), (3, 4, &[][..]));
    }

    #[test]
    fn sees_what_is_wrong() {
        let wrong = |make: fn(&Audience)| {
            let (a, _done) = audience();
            a.notified(0, &note("f0@d0.x", PROBES, ""), PROBES);
            assert!(lock(&a.state).errors.is_empty());
            make(&a);
            let s = lock(&a.state);
            s.errors.len() == 1
        };
        assert!(wrong(|a| a.notified(0, &note("f0@d0.x", PROBES, ""), PROBES)), "twice");
        assert!(wrong(|a| a.notified(0, &note("f0@d0.x", PROBES + 2, ""), PROBES + 2)), "one left out");
        assert!(wrong(|a| a.notified(0, &note("f1@d1.x", PROBES, ""), PROBES)), "on another's stream");
        assert!(wrong(|a| a.notified(0, &note("f0@d0.x", PROBES, ""), PROBES + 1)), "another post's text");
    }
}
