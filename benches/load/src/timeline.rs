//! Reading the newest posts of microblogs (XEP-0060 section 6.5).

use crate::Res;
use crate::context::Context;
use crate::measure::{Fields, round};
use crate::microblog::{self, Filling, Page};
use crate::polite::presence;
use crate::requests::{Span, closed_loop};
use clap::Args;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Readers of timelines.
#[derive(Args)]
pub(crate) struct Timeline {
    /// Readers
    #[arg(long, default_value_t = 20)]
    clients: usize,
    /// Accounts with posts: --first and on; the readers come after them
    #[arg(long, default_value_t = 5)]
    publishers: usize,
    /// Posts on each
    #[arg(long, default_value_t = 100)]
    posts: usize,
    /// Items asked for: the newest so many
    #[arg(long, default_value_t = 20)]
    items: usize,
    /// Ask with a last RSM page rather than max_items
    #[arg(long)]
    rsm: bool,
    /// The posts are there already
    #[arg(long)]
    skip_setup: bool,
    #[command(flatten)]
    filling: Filling,
    #[command(flatten)]
    span: Span,
}

/// Fill the nodes, then read their newest items.
pub(crate) async fn timeline(x: &Context, o: &Timeline) -> Res<Fields> {
    let t = Instant::now();
    let w = x.server.window();
    if !o.skip_setup {
        microblog::fill_all(x, x.first, o.publishers, o.posts, o.filling).await?;
    }
    let setup = w.fields("publishes", (o.posts * o.publishers) as u64);
    let setup_secs = t.elapsed().as_secs_f64();
    x.server.settle(Duration::from_secs(20)).await;
    let from = x.first + o.publishers;
    let clients = x.login_all(from..from + o.clients, Some(presence(false))).await?;
    let jids: Vec<String> = (x.first..x.first + o.publishers).map(|n| x.target.jid(n)).collect();
    let query = microblog::newest(o.items, o.rsm);
    let ask = move |i: usize, k: u64| {
        let whose = (i + usize::try_from(k).unwrap_or(0)) % jids.len().max(1);
        ("get", jids.get(whose).cloned().unwrap_or_default(), query.clone())
    };
    let (newest, due) = (o.posts.saturating_sub(1), o.items.min(o.posts));
    let mut f = closed_loop(x, clients, &o.span, ask, move || Page::new("i", newest, due)).await?;
    f.insert("posts".into(), json!(o.posts));
    f.insert("items".into(), json!(o.items));
    f.insert("by".into(), json!(if o.rsm { "rsm" } else { "max_items" }));
    if !o.skip_setup {
        f.insert("setup_secs".into(), round(setup_secs));
        f.insert("setup_cpu_us_per_publish".into(), setup.get("cpu_us_per_op").cloned().unwrap_or(Value::Null));
    }
    Ok(f)
}
