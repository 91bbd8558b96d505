//! Reading the newest messages of archives (XEP-0313).

use crate::chat::{BODY, End, Talk, speak};
use crate::context::Context;
use crate::measure::Fields;
use crate::polite::presence;
use crate::requests::{Examine, Span, closed_loop};
use crate::xml::{has, is};
use crate::{Res, lock};
use clap::Args;
use serde_json::json;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Readers of their archives.
#[derive(Args)]
pub(crate) struct Mam {
    /// Readers
    #[arg(long, default_value_t = 20)]
    clients: usize,
    /// Messages in each one's archive
    #[arg(long, default_value_t = 1000)]
    archived: usize,
    /// Messages asked for: the last so many
    #[arg(long, default_value_t = 50)]
    page: usize,
    /// The archives are filled already
    #[arg(long)]
    skip_setup: bool,
    #[command(flatten)]
    span: Span,
}

/// Fill the archives of `clients` accounts in pairs, each ending up with `each` messages.
async fn fill(x: &Context, clients: usize, each: usize) -> Res<()> {
    let prefs = "<prefs xmlns='urn:xmpp:mam:2' default='always'><always/><never/></prefs>";
    let mut all = x.login_all(x.first..x.first + clients, Some(presence(false))).await?;
    for c in &mut all {
        let _ = c.iq("set", "", prefs).await; // not every server has preferences
    }
    let t = Talk::new();
    let limit = each as u64 / 2;
    let mut tasks = tokio::task::JoinSet::new(); // dropped, and the sessions ended, on return
    for (i, c) in all.into_iter().enumerate() {
        let peer = x.target.jid(x.first + (i ^ 1));
        tasks.spawn(speak(c, End { peer, credit: 2, limit, every: None, bare: false }, t.clone()));
    }
    let start = Instant::now();
    while t.got.load(Relaxed) < limit * clients as u64 && start.elapsed() < Duration::from_secs(1200) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    t.drain().await;
    let first = lock(&t.errors).first().cloned();
    first.map_or(Ok(()), |e| Err(format!("filling archives: {e}")))
}

/// Counts archived messages.
struct Results {
    got: usize,
    due: usize,
}

impl Examine for Results {
    fn see(&mut self, st: &[u8]) {
        self.got += usize::from(is(st, "message") && has(st, "urn:xmpp:mam:2") && has(st, BODY));
    }

    fn verdict(&mut self) -> Option<String> {
        (self.got != self.due).then(|| format!("{} messages where {} were due", self.got, self.due))
    }
}

/// Fill the archives, then read their newest messages.
pub(crate) async fn mam(x: &Context, o: &Mam) -> Res<Fields> {
    let clients = o.clients.next_multiple_of(2);
    if !o.skip_setup {
        fill(x, clients, o.archived).await?;
        x.server.settle(Duration::from_secs(20)).await;
    }
    let all = x.login_all(x.first..x.first + clients, Some(presence(false))).await?;
    let page = o.page;
    let ask = move |_: usize, k: u64| {
        let q = format!(
            "<query xmlns='urn:xmpp:mam:2' queryid='q{k}'>\
             <set xmlns='http://jabber.org/protocol/rsm'><max>{page}</max><before/></set></query>"
        );
        ("set", String::new(), q)
    };
    let mut f = closed_loop(x, all, &o.span, ask, move || Results { got: 0, due: page }).await?;
    f.insert("page".into(), json!(page));
    f.insert("archived".into(), json!(o.archived));
    Ok(f)
}
