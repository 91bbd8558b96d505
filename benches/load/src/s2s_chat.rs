//! Messages between local clients and far domains, one way at a time: what a stanza
//! costs that arrives over a stream of servers, and one that leaves over it.
//!
//! Each conversation has one speaker and one hearer; whoever hears a message out of
//! order, twice or altered fails the run, and so does a message that never comes.

use crate::chat::{BODY, Talk};
use crate::client::Client;
use crate::context::Context;
use crate::far::{Deaf, Ear, Far, Federation};
use crate::measure::{Fields, now_ns, percentiles};
use crate::polite::{auto_reply, presence};
use crate::requests::Span;
use crate::xml::{attr, bare, has, is, show};
use crate::{Res, lock};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// Which way the messages go.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// From far domains to local clients
    In,
    /// From local clients to far domains
    Out,
}

/// Conversations with far domains.
#[derive(Args)]
pub(crate) struct S2sChat {
    #[arg(value_enum)]
    way: Way,
    /// Conversations: one account here, one far address each
    #[arg(long, default_value_t = 50)]
    pairs: usize,
    /// Messages under way per conversation
    #[arg(long, default_value_t = 4)]
    window: usize,
    /// Open loop instead: this many messages a second in all
    #[arg(long)]
    rate: Option<f64>,
    #[command(flatten)]
    span: Span,
    #[command(flatten)]
    federation: Federation,
}

/// One conversation: its next message to say, and the next one due.
struct Line {
    local: String,
    far: String,
    next: u64,
    due: u64,
}

/// All conversations.
struct Lines {
    talk: Arc<Talk>,
    lines: Vec<Mutex<Line>>,
    way: Way,
    /// A message heard lets the next be said (closed loop).
    closed: bool,
    /// Wakes the local speaker of a conversation.
    wake: Vec<mpsc::UnboundedSender<u64>>,
}

impl Lines {
    /// The next message of conversation `i`, due at `t0`.
    fn message(&self, i: usize, t0: u64) -> String {
        let mut l = lock(&self.lines[i]);
        let (from, to) = match self.way {
            Way::In => (format!(" from='{}/load'", l.far), &l.local),
            Way::Out => (String::new(), &l.far),
        };
        let tag = &self.talk.tag;
        let m =
            format!("<message{from} to='{to}' type='chat' id='{tag}-{}-{t0}'><body>{BODY}</body></message>", l.next);
        l.next += 1;
        self.talk.sent.fetch_add(1, Relaxed);
        m
    }

    /// `st` came to the hearer of conversation `i`: whether it may speak again. Nothing
    /// if it is no message of ours.
    fn heard(&self, i: usize, st: &[u8]) -> Option<bool> {
        let id = attr(st, "id").filter(|_| is(st, "message"))?.strip_prefix(&self.talk.tag)?;
        if attr(st, "type") == Some("error") {
            self.talk.fail(show(st));
            return Some(false);
        }
        let mut parts = id.split('-').skip(1).map(|p| p.parse::<u64>().unwrap_or(u64::MAX));
        let (n, t0) = (parts.next().unwrap_or(u64::MAX), parts.next().unwrap_or(0));
        let mut l = lock(&self.lines[i]);
        let speaker = if self.way == Way::In { &l.far } else { &l.local };
        let right = attr(st, "from").map(bare) == Some(speaker) && has(st, BODY);
        if n != l.due || !right {
            self.talk.fail(format!("conversation {i}: {} was due, not {}", l.due, show(st)));
            return Some(false);
        }
        l.due += 1;
        self.talk.got.fetch_add(1, Relaxed);
        self.talk.count(t0);
        Some(self.closed && !self.talk.stop.load(Relaxed))
    }
}

impl Ear for Lines {
    fn hear(&self, far: &Far, d: usize, st: &[u8]) -> bool {
        let to = attr(st, "to").map(bare).unwrap_or("");
        let n = to.strip_prefix('r').and_then(|t| t.split_once('@')?.0.parse::<usize>().ok());
        let Some(i) = n.filter(|i| self.lines.get(*i).is_some_and(|l| lock(l).far == to)) else {
            return false;
        };
        if i % far.domains.len() != d {
            self.talk.fail(format!("for {to} on the stream of {}", far.domains[d]));
        }
        match self.heard(i, st) {
            None => false,
            Some(again) => {
                if again {
                    let _ = self.wake[i].send(now_ns());
                }
                true
            }
        }
    }
}

/// A local client: says what it is woken for, hears what comes.
async fn local(mut c: Client, i: usize, l: Arc<Lines>, far: Arc<Far>, mut wake: mpsc::UnboundedReceiver<u64>) {
    loop {
        let out = tokio::select! {
            st = c.next() => match st {
                Ok(st) => match l.heard(i, st) {
                    Some(again) => {
                        if again {
                            far.say(i % far.domains.len(), l.message(i, now_ns()));
                        }
                        None
                    }
                    None => auto_reply(st),
                },
                Err(e) => return l.talk.fail(format!("{}: {e}", c.jid)),
            },
            Some(t0) = wake.recv() => Some(l.message(i, t0)),
        };
        if let Some(m) = out
            && let Err(e) = c.send(&m).await
        {
            return l.talk.fail(format!("{}: {e}", c.jid));
        }
    }
}

/// Conversations for a while.
pub(crate) async fn s2s_chat(x: &Context, o: &S2sChat) -> Res<Fields> {
    let names = crate::far::domains(o.federation.domains);
    let line = |i: usize| {
        let far = format!("r{i}@{}", names[i % names.len()]);
        Mutex::new(Line { local: x.target.jid(x.first + i), far, next: 0, due: 0 })
    };
    let (wake, woken): (Vec<_>, Vec<_>) = (0..o.pairs).map(|_| mpsc::unbounded_channel()).unzip();
    let talk = Talk::new();
    let l = Arc::new(Lines {
        talk: talk.clone(),
        lines: (0..o.pairs).map(line).collect(),
        way: o.way,
        closed: o.rate.is_none(),
        wake,
    });
    let ear: Arc<dyn Ear> = if o.way == Way::In { Arc::new(Deaf) } else { l.clone() };
    let far = Far::start(&o.federation, &x.target.domain, ear).await?;
    let clients = x.login_all(x.first..x.first + o.pairs, Some(presence(false))).await?;
    x.server.settle(Duration::from_secs(10)).await;
    let mut tasks = Vec::new();
    for (i, (c, woken)) in clients.into_iter().zip(woken).enumerate() {
        tasks.push(tokio::spawn(local(c, i, l.clone(), far.clone(), woken)));
    }
    let say = {
        let (l, far) = (l.clone(), far.clone());
        move |i: usize, t0: u64| match l.way {
            Way::In => far.say(i % far.domains.len(), l.message(i, t0)),
            Way::Out => drop(l.wake[i].send(t0)),
        }
    };
    if let Some(rate) = o.rate {
        let (pairs, talk) = (o.pairs, talk.clone());
        tokio::spawn(async move {
            let (base, base_ns) = (tokio::time::Instant::now(), now_ns());
            for k in 0.. {
                let due = Duration::from_secs_f64(f64::from(k) / rate);
                tokio::time::sleep_until(base + due).await;
                if talk.stop.load(Relaxed) {
                    return;
                }
                say(k as usize % pairs, base_ns + u64::try_from(due.as_nanos()).unwrap_or(0));
            }
        });
    } else {
        (0..o.pairs * o.window).for_each(|k| say(k % o.pairs, now_ns()));
    }
    let mut f = o.span.measure(x, &talk, "messages").await;
    talk.stop.store(true, Relaxed);
    talk.drain().await;
    let dead = tasks.iter().filter(|t| t.is_finished()).count();
    if dead > 0 {
        talk.fail(format!("{dead} sessions ended"));
    }
    if talk.measured.load(Relaxed) == 0 {
        talk.fail("no message was delivered".into());
    }
    f.insert("way".into(), json!(format!("{:?}", o.way).to_lowercase()));
    f.insert("pairs".into(), json!(o.pairs));
    match o.rate {
        Some(r) => f.insert("rate".into(), json!(r)),
        None => f.insert("window".into(), json!(o.window)),
    };
    far.describe(&mut f);
    f.insert("delivered_total".into(), json!(talk.got.load(Relaxed)));
    f.insert("latency_ms".into(), percentiles(&talk.latency));
    let errors = [lock(&talk.errors).clone(), far.errors()].concat();
    if !errors.is_empty() {
        f.insert("errors".into(), json!(errors));
    }
    Ok(f)
}
