//! Microblog nodes (XEP-0277 over XEP-0163): making, filling, reading and following
//! them, and entries to post.

use crate::Res;
use crate::client::{Client, Target};
use crate::context::Context;
use crate::measure::now_ns;
use crate::polite::{auto_reply, iq};
use crate::requests::Examine;
use crate::xml::{attr, bare, has, is, show, tags};
use std::collections::HashMap;
use std::time::Duration;

/// The node everything happens at.
pub(crate) const NODE: &str = "urn:xmpp:microblog:0";
const NS: &str = "http://jabber.org/protocol/pubsub";

/// An Atom entry of about 600 bytes.
pub(crate) fn entry(jid: &str, id: &str) -> String {
    entry_of(jid, id, 600)
}

/// An Atom entry of about `bytes` bytes.
pub(crate) fn entry_of(jid: &str, id: &str, bytes: usize) -> String {
    let day = "2026-11-22T20:00:00Z";
    let mut e = format!(
        "<entry xmlns='http://www.w3.org/2005/Atom'><title type='text'>Post {id}: the quick brown fox jumps</title>\
         <id>tag:bench.invalid,2026-11-22:{id}</id><published>{day}</published><updated>{day}</updated>\
         <author><name>{jid}</name><uri>xmpp:{jid}</uri></author>\
         <link rel='alternate' type='application/atom+xml' href='xmpp:{jid}?;node={NODE};item={id}'/>\
         <content type='text'>"
    );
    while e.len() + 20 < bytes {
        e.push_str("lorem ipsum dolor ");
    }
    e.push_str("</content></entry>");
    e
}

fn publishing_entry(id: &str, entry: &str) -> String {
    format!("<pubsub xmlns='{NS}'><publish node='{NODE}'><item id='{id}'>{entry}</item></publish></pubsub>")
}

/// The payload of an iq that publishes item `id`.
pub(crate) fn publishing(jid: &str, id: &str) -> String {
    publishing_entry(id, &entry(jid, id))
}

/// The whole iq.
pub(crate) fn publish(jid: &str, id: &str, iq_id: &str) -> String {
    iq("set", "", iq_id, &publishing(jid, id))
}

/// The whole iq, with an entry of about `bytes` bytes.
pub(crate) fn publish_of(jid: &str, id: &str, iq_id: &str, bytes: usize) -> String {
    iq("set", "", iq_id, &publishing_entry(id, &entry_of(jid, id, bytes)))
}

/// The notification a server makes of it, for the relay that makes none.
pub(crate) fn notification(jid: &str, id: &str, to: &str) -> String {
    format!(
        "<message from='{jid}' to='{to}' type='headline'><event xmlns='{NS}#event'>\
         <items node='{NODE}'><item id='{id}' publisher='{jid}'>{}</item></items></event></message>",
        entry(jid, id)
    )
}

fn form(kind: &str, access: &str, max_items: &str, more: &[(&str, &str)]) -> String {
    let field = |k: &str, v: &str| format!("<field var='{k}'><value>{v}</value></field>");
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
         <value>{NS}#{kind}</value></field>{}{}{}{}{}</x>",
        field("pubsub#access_model", access),
        field("pubsub#persist_items", "1"),
        field("pubsub#deliver_payloads", "1"),
        field("pubsub#max_items", max_items),
        more.iter().map(|(k, v)| field(k, v)).collect::<String>(),
    )
}

/// Make sure the account's microblog node exists with this access model and size.
pub(crate) async fn set_up(c: &mut Client, access: &str, max_items: &str) -> Res<()> {
    set_up_with(c, access, max_items, &[]).await
}

/// The same, with more fields in the form.
pub(crate) async fn set_up_with(c: &mut Client, access: &str, max_items: &str, more: &[(&str, &str)]) -> Res<()> {
    let f = form("node_config", access, max_items, more);
    let create = format!("<pubsub xmlns='{NS}'><create node='{NODE}'/><configure>{f}</configure></pubsub>");
    let mut tries = 0;
    let made = loop {
        match c.iq("set", "", &create).await {
            Ok(_) => return Ok(()),
            // Told to wait and retry (ejabberd with concurrent creations): do.
            Err(e) if has(e.as_bytes(), "type='wait'") && tries < 20 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(50 * tries)).await;
            }
            Err(e) => break e,
        }
    };
    let conf = format!("<pubsub xmlns='{NS}#owner'><configure node='{NODE}'>{f}</configure></pubsub>");
    match c.iq("set", "", &conf).await {
        Ok(_) => Ok(()),
        Err(conf) => Err(format!("cannot set up {NODE}: create: {made}; configure: {conf}")),
    }
}

/// The largest size of a node to ask for: by number where servers want one.
pub(crate) fn size(posts: usize) -> String {
    if posts > 20_000 { "max".into() } else { posts.max(1).to_string() }
}

/// How [`fill`] goes about it.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Filling {
    /// Sessions that fill one node together
    #[arg(long, default_value_t = 1)]
    writers: usize,
    /// Publishes each of them has under way
    #[arg(long, default_value_t = 8)]
    pipeline: usize,
    /// Posts that are there already, of an earlier filling that was cut short
    #[arg(long, default_value_t = 0)]
    from: usize,
}

/// Publish items `i0` to `i{posts - 1}` as account `n`. The last hundred go through one
/// session in their order; the others in any, if there are several writers.
pub(crate) async fn fill(t: &Target, n: usize, posts: usize, how: Filling) -> Res<()> {
    let jid = t.jid(n);
    let tail = posts.saturating_sub(100).max(how.from);
    if how.writers > 1 {
        let each = (tail - how.from).div_ceil(how.writers);
        let mut all = tokio::task::JoinSet::new();
        for from in (how.from..tail).step_by(each.max(1)) {
            let (t, jid) = (t.clone(), jid.clone());
            all.spawn(async move {
                let mut c = Client::login(&t, n).await?;
                stretch(&mut c, &jid, from..(from + each).min(tail), how.pipeline).await?;
                c.close().await;
                Ok::<(), String>(())
            });
        }
        while let Some(r) = all.join_next().await {
            r.map_err(|e| e.to_string())??;
        }
    }
    let mut c = Client::login(t, n).await?;
    stretch(&mut c, &jid, if how.writers > 1 { tail } else { how.from }..posts, how.pipeline).await?;
    c.close().await;
    Ok(())
}

async fn stretch(c: &mut Client, jid: &str, range: std::ops::Range<usize>, pipeline: usize) -> Res<()> {
    let (mut next, mut out) = (range.start, 0);
    while next < range.end || out > 0 {
        while next < range.end && out < pipeline.max(1) {
            let id = format!("i{next}");
            c.send(&publish(jid, &id, &format!("fill-{id}"))).await?;
            next += 1;
            out += 1;
        }
        let st = c.next().await?;
        if is(st, "iq") && attr(st, "id").is_some_and(|i| i.starts_with("fill-")) {
            if attr(st, "type") != Some("result") {
                return Err(format!("publish: {}", show(st)));
            }
            out -= 1;
        } else if let Some(a) = auto_reply(st) {
            c.send(&a).await?;
        }
    }
    Ok(())
}

/// Give `count` accounts from `first` on a node of `posts` items each.
pub(crate) async fn fill_all(x: &Context, first: usize, count: usize, posts: usize, how: Filling) -> Res<()> {
    let size = size(posts);
    // One after the other: ejabberd deadlocks itself when nodes are created at once.
    for mut c in x.login_all(first..first + count, None).await? {
        set_up(&mut c, "open", &size).await?;
        c.close().await;
    }
    x.each(first..first + count, move |n, t| async move { fill(&t, n, posts, how).await }).await.map(drop)
}

/// The payload that asks for the newest `max` items, by `max_items` or the last RSM page.
pub(crate) fn newest(max: usize, rsm: bool) -> String {
    if rsm {
        format!(
            "<pubsub xmlns='{NS}'><items node='{NODE}'/>\
             <set xmlns='http://jabber.org/protocol/rsm'><max>{max}</max><before/></set></pubsub>"
        )
    } else {
        format!("<pubsub xmlns='{NS}'><items node='{NODE}' max_items='{max}'/></pubsub>")
    }
}

/// Examines a page of items whose ids are `prefix` and consecutive numbers.
pub(crate) struct Page {
    prefix: String,
    /// The newest item's number.
    newest: usize,
    /// Items due.
    due: usize,
    ids: Vec<usize>,
    payloads: usize,
}

impl Page {
    pub(crate) fn new(prefix: &str, newest: usize, due: usize) -> Page {
        Page { prefix: prefix.into(), newest, due, ids: Vec::new(), payloads: 0 }
    }
}

impl Examine for Page {
    fn see(&mut self, st: &[u8]) {
        for i in tags(st, "item") {
            let n = attr(i, "id").and_then(|i| i.strip_prefix(&self.prefix)?.parse().ok());
            self.ids.push(n.unwrap_or(usize::MAX));
        }
        self.payloads += tags(st, "entry").count();
    }

    /// The newest items, each once with its payload, in either order of time.
    fn verdict(&mut self) -> Option<String> {
        let up: Vec<usize> = (0..self.due).map(|k| (self.newest + 1 + k).wrapping_sub(self.due)).collect();
        let down = up.iter().rev().copied();
        if self.ids.len() != self.due {
            Some(format!("{} items where {} were due", self.ids.len(), self.due))
        } else if self.ids != up && !self.ids.iter().copied().eq(down) {
            let ids: Vec<_> = self.ids.iter().take(5).collect();
            Some(format!("not the newest {} items in order: numbers {ids:?}…, newest {}", self.due, self.newest))
        } else if self.payloads != self.due {
            Some(format!("{} payloads of {} items", self.payloads, self.due))
        } else {
            None
        }
    }
}

/// The payload that subscribes `me` to the node.
pub(crate) fn subscribing(me: &str) -> String {
    format!("<pubsub xmlns='{NS}'><subscribe node='{NODE}' jid='{me}'/></pubsub>")
}

/// Subscribe explicitly to the publisher's node.
pub(crate) async fn subscribe(c: &mut Client, publisher: &str) -> Res<()> {
    let p = subscribing(bare(&c.jid));
    let r = c.iq("set", publisher, &p).await?;
    if has(&r, "subscribed") || !has(&r, "<subscription") { Ok(()) } else { Err(format!("subscribe: {}", show(&r))) }
}

/// Publish acknowledgements still awaited: iq id to send time.
#[derive(Default)]
pub(crate) struct Acks(HashMap<String, u64>);

impl Acks {
    pub(crate) fn sent(&mut self, id: String) {
        self.0.insert(id, now_ns());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// If `st` answers one of ours, when that was sent.
    pub(crate) fn take(&mut self, st: &[u8]) -> Res<Option<u64>> {
        let Some(t0) = attr(st, "id").filter(|_| is(st, "iq")).and_then(|id| self.0.remove(id)) else {
            return Ok(None);
        };
        if attr(st, "type") == Some("result") { Ok(Some(t0)) } else { Err(format!("publish: {}", show(st))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(ids: &[&str]) -> Option<String> {
        let items: String = ids.iter().map(|i| format!("<item id='{i}'><entry/></item>")).collect();
        let mut page = Page::new("i", 9, 3);
        page.see(format!("<iq><pubsub><items>{items}</items></pubsub></iq>").as_bytes());
        page.verdict()
    }

    #[test]
    fn a_page_is_the_newest_in_either_order() {
        assert_eq!(verdict(&["i7", "i8", "i9"]), None);
        assert_eq!(verdict(&["i9", "i8", "i7"]), None);
        assert!(verdict(&["i8", "i7", "i9"]).is_some(), "mixed");
        assert!(verdict(&["i6", "i7", "i8"]).is_some(), "old");
        assert!(verdict(&["i8", "i9"]).is_some(), "short");
        assert!(verdict(&["i7", "i7", "i9"]).is_some(), "doubled");
    }
}
