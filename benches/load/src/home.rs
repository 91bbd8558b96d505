//! Reading the newest posts of home timelines (`urn:chirrup:timeline:0`, `xeps/chirrup-timeline.md`).
//!
//! Many publishers write in rounds, each once a round; the readers follow all of them. A page has to be posts of the
//! last round, none twice and each with its payload.

use crate::Res;
use crate::context::Context;
use crate::measure::Fields;
use crate::microblog;
use crate::polite::presence;
use crate::requests::{Examine, Span, closed_loop};
use crate::xml::{attr, tags};
use clap::Args;
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;

/// Readers of home timelines.
#[derive(Args)]
pub(crate) struct Home {
    /// Readers: accounts --first and on
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// Accounts they follow, which come after them; not fewer than a page has posts
    #[arg(long, default_value_t = 300)]
    publishers: usize,
    /// Posts of each
    #[arg(long, default_value_t = 34)]
    posts: usize,
    /// Items asked for: the newest so many
    #[arg(long, default_value_t = 50)]
    items: usize,
    /// All that was written already
    #[arg(long)]
    skip_setup: bool,
    #[command(flatten)]
    span: Span,
}

const NODE: &str = "urn:chirrup:timeline:0";

/// Let every reader follow every publisher, and these write while the readers are away.
async fn fill(x: &Context, o: &Home) -> Res<()> {
    let readers = x.login_all(x.first..x.first + o.clients, None).await?;
    let from = x.first + o.clients;
    let mut writers = x.login_all(from..from + o.publishers, None).await?;
    let size = microblog::size(o.posts);
    for c in &mut writers {
        microblog::set_up(c, "open", &size).await?;
    }
    let publishers: Arc<Vec<String>> = Arc::new((from..from + o.publishers).map(|n| x.target.jid(n)).collect());
    let mut following = tokio::task::JoinSet::new();
    for mut c in readers {
        let publishers = publishers.clone();
        following.spawn(async move {
            for p in publishers.iter() {
                microblog::subscribe(&mut c, p).await?;
            }
            c.close().await;
            Ok::<(), String>(())
        });
    }
    while let Some(r) = following.join_next().await {
        r.map_err(|e| e.to_string())??;
    }
    let (round, posts) = (Arc::new(Barrier::new(writers.len())), o.posts);
    let mut writing = tokio::task::JoinSet::new();
    for (mut c, jid) in writers.into_iter().zip(publishers.iter().cloned()) {
        let round = round.clone();
        writing.spawn(async move {
            let mut outcome = Ok(());
            for k in 0..posts {
                round.wait().await;
                // Who fails goes on waiting with the others, who would wait for ever otherwise.
                if outcome.is_ok() {
                    outcome = c.iq("set", "", &microblog::publishing(&jid, &format!("r{k}"))).await.map(drop);
                }
            }
            c.close().await;
            outcome
        });
    }
    while let Some(r) = writing.join_next().await {
        r.map_err(|e| e.to_string())??;
    }
    Ok(())
}

/// Examines a page.
struct Newest {
    round: String,
    due: usize,
    seen: HashSet<String>,
    items: usize,
    payloads: usize,
}

impl Examine for Newest {
    fn see(&mut self, st: &[u8]) {
        // The item of each entry is named in the link to it.
        for link in tags(st, "link").filter_map(|l| attr(l, "href")) {
            if link.ends_with(&self.round) {
                self.seen.insert(link.to_string());
            }
        }
        self.items += tags(st, "item").count();
        self.payloads += tags(st, "entry").count();
    }

    fn verdict(&mut self) -> Option<String> {
        let all = [self.items, self.payloads, self.seen.len()];
        (all != [self.due; 3]).then(|| {
            format!("{} items, {} payloads, {} of the last round, where {} were due", all[0], all[1], all[2], self.due)
        })
    }
}

/// Fill the timelines, then read their newest items.
pub(crate) async fn home(x: &Context, o: &Home) -> Res<Fields> {
    if o.publishers < o.items {
        return Err("a page is of one round of posts: more publishers than items, please".into());
    }
    if !o.skip_setup {
        fill(x, o).await?;
        x.server.settle(Duration::from_secs(20)).await;
    }
    let clients = x.login_all(x.first..x.first + o.clients, Some(presence(false))).await?;
    let query = format!(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{NODE}'/>\
         <set xmlns='http://jabber.org/protocol/rsm'><max>{}</max><before/></set></pubsub>",
        o.items
    );
    let ask = move |_: usize, _: u64| ("get", String::new(), query.clone());
    let (round, due) = (format!("item=r{}", o.posts.saturating_sub(1)), o.items);
    let examine = move || Newest { round: round.clone(), due, seen: HashSet::new(), items: 0, payloads: 0 };
    let mut f = closed_loop(x, clients, &o.span, ask, examine).await?;
    f.insert("followed".into(), json!(o.publishers));
    f.insert("posts".into(), json!(o.posts * o.publishers));
    f.insert("items".into(), json!(o.items));
    Ok(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_of_the_last_round_and_nothing_twice() {
        let item = |jid: &str, round: &str| {
            format!("<item id='1'><entry><link rel='alternate' href='xmpp:{jid}?;node=n;item={round}'/></entry></item>")
        };
        let verdict = |items: &[String]| {
            let mut page = Newest { round: "item=r9".into(), due: 2, seen: HashSet::new(), items: 0, payloads: 0 };
            page.see(format!("<iq><pubsub><items>{}</items></pubsub></iq>", items.concat()).as_bytes());
            page.verdict()
        };
        assert_eq!(verdict(&[item("a@x", "r9"), item("b@x", "r9")]), None);
        assert!(verdict(&[item("a@x", "r9"), item("a@x", "r9")]).is_some(), "doubled");
        assert!(verdict(&[item("a@x", "r9"), item("b@x", "r8")]).is_some(), "old");
        assert!(verdict(&[item("a@x", "r9")]).is_some(), "short");
    }
}
