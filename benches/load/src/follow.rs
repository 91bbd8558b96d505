//! Following: mutual presence subscriptions (RFC 6121 section 3) or explicit ones to a
//! node (XEP-0060 section 6.1), and what one more costs when there are many already.

use crate::Res;
use crate::client::Client;
use crate::context::Context;
use crate::fanout::Via;
use crate::measure::Fields;
use crate::microblog;
use crate::polite::{auto_reply, presence};
use crate::xml::{attr, bare, is, tags};
use clap::Args;
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Accounts that follow one other, one block of them after another.
#[derive(Args)]
pub(crate) struct Follow {
    /// Followers in the end: accounts --first and on, none of which follows yet
    #[arg(long, default_value_t = 1000)]
    pub(crate) followers: usize,
    /// Number of the followed account
    #[arg(long, default_value_t = 0)]
    publisher: usize,
    #[arg(long, value_enum, default_value = "presence")]
    via: Via,
    /// Followers gained in each measured window
    #[arg(long, default_value_t = 250)]
    block: usize,
    /// Following under way at once
    #[arg(long, default_value_t = 8)]
    window: usize,
    /// Seconds a block may take
    #[arg(long, default_value_t = 600)]
    block_timeout: u64,
}

/// Who of the roster is mutually subscribed; those who only follow are asked back.
pub(crate) async fn mutual(c: &mut Client) -> Res<HashSet<String>> {
    let mut both = HashSet::new();
    let r = c.iq("get", "", "<query xmlns='jabber:iq:roster'/>").await?;
    for i in tags(&r, "item") {
        let jid = attr(i, "jid").unwrap_or("");
        match attr(i, "subscription") {
            Some("both") => drop(both.insert(jid.to_string())),
            Some("from") => c.send(&format!("<presence to='{jid}' type='subscribe'/>")).await?,
            _ => {}
        }
    }
    Ok(both)
}

/// What `p`, being followed, answers to one stanza: it approves, and follows back.
/// The second answer is who has approved `p`.
fn follow_back(st: &[u8], need: &HashSet<String>) -> ([Option<String>; 2], Option<String>) {
    let from = bare(attr(st, "from").unwrap_or("")).to_string();
    let kind = attr(st, "type").unwrap_or("");
    let about = is(st, "presence") && need.contains(&from);
    let back = (about && kind == "subscribe").then(|| format!("<presence to='{from}' type='subscribe'/>"));
    ([auto_reply(st), back], (about && kind == "subscribed").then_some(from))
}

/// Keep `p` answering while followers come online, until none of `need` lacks the
/// mutual subscription.
pub(crate) async fn befriend(p: &mut Client, mut need: HashSet<String>, online: &AtomicBool, max: Duration) -> Res<()> {
    let t = Instant::now();
    while !(need.is_empty() && online.load(Relaxed)) {
        if t.elapsed() > max {
            return Err(format!("setup: {} followers not subscribed after {max:?}", need.len()));
        }
        let Ok(st) = tokio::time::timeout(Duration::from_millis(100), p.next()).await else {
            continue;
        };
        let (replies, who) = follow_back(st?, &need);
        if let Some(who) = who {
            need.remove(&who);
        }
        for r in replies.into_iter().flatten() {
            p.send(&r).await?;
        }
    }
    Ok(())
}

/// A follower told to follow by the permit it is sent; says when it does.
async fn one(
    mut c: Client,
    publisher: String,
    via: Via,
    mut go: mpsc::Receiver<()>,
    approved: Arc<AtomicUsize>,
) -> Res<()> {
    loop {
        tokio::select! {
            st = c.next() => {
                let st = st?;
                if is(st, "presence") && attr(st, "type") == Some("subscribed") {
                    approved.fetch_add(1, Relaxed);
                }
                if let Some(a) = auto_reply(st) {
                    c.send(&a).await?;
                }
            }
            Some(()) = go.recv() => match via {
                Via::Presence => c.send(&format!("<presence to='{publisher}' type='subscribe'/>")).await?,
                Via::Subscribe => {
                    microblog::subscribe(&mut c, &publisher).await?;
                    approved.fetch_add(1, Relaxed);
                }
            },
        }
    }
}

/// What is needed to see a block through.
struct Followed {
    p: Client,
    via: Via,
    window: usize,
    approved: Arc<AtomicUsize>,
    /// How many `p` has been approved by in return.
    returned: usize,
}

impl Followed {
    /// Let `block` follow, `window` at a time.
    async fn block(&mut self, block: &[(String, mpsc::Sender<()>)], max: Duration) -> Res<()> {
        let (start, before, back) = (Instant::now(), self.approved.load(Relaxed), self.returned);
        let mut need: HashSet<String> = block.iter().map(|(j, _)| j.clone()).collect();
        let mut next = 0;
        loop {
            let both = match self.via {
                Via::Presence => (self.returned - back).min(self.approved.load(Relaxed) - before),
                Via::Subscribe => self.approved.load(Relaxed) - before,
            };
            if both == block.len() {
                return Ok(());
            }
            if start.elapsed() > max {
                return Err(format!("{both} of {} followed in {max:?}", block.len()));
            }
            while let Some((_, go)) = block.get(next).filter(|_| next < both + self.window) {
                go.send(()).await.map_err(|_| "a follower's session ended")?;
                next += 1;
            }
            // Followers' progress is seen at the next stanza, or a millisecond later.
            let Ok(st) = tokio::time::timeout(Duration::from_millis(1), self.p.next()).await else {
                continue;
            };
            let (replies, who) = follow_back(st?, &need);
            if let Some(who) = who {
                self.returned += usize::from(need.remove(&who));
            }
            for r in replies.into_iter().flatten() {
                self.p.send(&r).await?;
            }
        }
    }
}

/// Gain followers, one result line a block.
pub(crate) async fn follow(x: &Context, o: &Follow) -> Res<Vec<Fields>> {
    let mut p = Client::login(&x.target, o.publisher).await?;
    let access = if o.via == Via::Presence { "presence" } else { "open" };
    microblog::set_up(&mut p, access, "100").await?;
    // Only who has asked for the roster is told of approvals (RFC 6121 section 3.1.6).
    mutual(&mut p).await?;
    p.send(&presence(false)).await?;
    let publisher = bare(&p.jid).to_string();
    let approved = Arc::new(AtomicUsize::new(0));
    let users = x.first..x.first + o.followers;
    let clients = x
        .each(users, |n, t| async move {
            let mut c = Client::login(&t, n).await?;
            mutual(&mut c).await?;
            c.send(&presence(false)).await?;
            Ok(c)
        })
        .await?;
    let mut sessions = JoinSet::new();
    let mut order = Vec::new();
    for c in clients {
        let (tx, go) = mpsc::channel(1);
        order.push((bare(&c.jid).to_string(), tx));
        sessions.spawn(one(c, publisher.clone(), o.via, go, approved.clone()));
    }
    let mut followed = Followed { p, via: o.via, window: o.window.max(1), approved, returned: 0 };
    let mut lines = Vec::new();
    for (i, block) in order.chunks(o.block.max(1)).enumerate() {
        x.server.settle(Duration::from_secs(20)).await;
        let w = x.server.window();
        let r = followed.block(block, Duration::from_secs(o.block_timeout)).await;
        let mut f = w.fields("follows", block.len() as u64);
        f.insert("via".into(), json!(format!("{:?}", o.via).to_lowercase()));
        f.insert("followers_before".into(), json!(i * o.block));
        let ended = sessions.try_join_next().map(|r| format!("a follower's session ended: {r:?}"));
        let failed = r.is_err();
        let errors: Vec<String> = r.err().into_iter().chain(ended).collect();
        if !errors.is_empty() {
            f.insert("errors".into(), json!(errors));
        }
        lines.push(f);
        if failed {
            break;
        }
    }
    Ok(lines)
}
