//! Publishing to one's own microblog, many at once, each waiting for the acknowledgement
//! a server may only give when the post is safe on disk.
//!
//! Afterwards every node is read back: the newest posts have to be those acknowledged.
//! That they survive a crash is for the storage tests to show.

use crate::Res;
use crate::context::Context;
use crate::measure::{Fields, now_ns};
use crate::microblog::{self, Page};
use crate::requests::{Examine, Span, closed_loop};
use crate::xml::{has, show};
use clap::Args;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Publishers.
#[derive(Args)]
pub(crate) struct Publish {
    /// Accounts publishing at once, each one post at a time
    #[arg(long, default_value_t = 64)]
    publishers: usize,
    /// Size of each node: a number, or "max"
    #[arg(long, default_value = "max")]
    max_items: String,
    #[command(flatten)]
    span: Span,
}

/// The acknowledgement says nothing more than `result`, which `iq` has looked at.
struct Acknowledged(Option<String>);

impl Examine for Acknowledged {
    fn see(&mut self, st: &[u8]) {
        if has(st, "<message") {
            self.0 = Some(format!("unasked: {}", show(st)));
        }
    }

    fn verdict(&mut self) -> Option<String> {
        self.0.take()
    }
}

/// Publish for a while, then read back.
pub(crate) async fn publish(x: &Context, o: &Publish) -> Res<Fields> {
    let users = x.first..x.first + o.publishers;
    let mut clients = x.login_all(users.clone(), None).await?;
    // One after the other: ejabberd deadlocks itself when nodes are created at once.
    for c in &mut clients {
        microblog::set_up(c, "open", &o.max_items).await?;
    }
    let tag = format!("p{:x}-", now_ns() / 1000);
    let jids: Vec<String> = users.map(|n| x.target.jid(n)).collect();
    let newest: Arc<Vec<AtomicUsize>> = Arc::new(jids.iter().map(|_| AtomicUsize::new(0)).collect());
    let ask = {
        let (newest, tag) = (newest.clone(), tag.clone());
        move |i: usize, k: u64| {
            newest[i].store(usize::try_from(k).unwrap_or(0), Relaxed);
            ("set", String::new(), microblog::publishing(&jids[i], &format!("{tag}{k}")))
        }
    };
    let mut f = closed_loop(x, clients, &o.span, ask, || Acknowledged(None)).await?;
    let wrong = x
        .each(x.first..x.first + o.publishers, {
            let first = x.first;
            move |n, t| {
                let (last, tag) = (newest[n - first].load(Relaxed), tag.clone());
                async move {
                    let mut c = crate::client::Client::login(&t, n).await?;
                    let due = 20.min(last + 1);
                    let mut page = Page::new(&tag, last, due);
                    let answer = c.iq("get", "", &microblog::newest(due, false)).await?;
                    page.see(&answer);
                    c.close().await;
                    Ok(page.verdict().map(|e| format!("reading back {}: {e}", t.jid(n))))
                }
            }
        })
        .await?;
    let wrong: Vec<String> = wrong.into_iter().flatten().take(10).collect();
    if !wrong.is_empty() && !f.contains_key("errors") {
        f.insert("errors".into(), json!(wrong));
    }
    f.insert("publishers".into(), json!(o.publishers));
    f.insert("max_items".into(), json!(o.max_items));
    Ok(f)
}
