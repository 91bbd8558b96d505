//! Timelines, whole: accounts that publish, follow and read, with and without nodes that are merged on reading.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use xmpp::ns;

use crate::extensions::pep::tests::{Actor, Stage};

const ROMEO: &str = "romeo@example.net/orchard";
const JULIET: &str = "juliet@example.com/balcony";
const NURSE: &str = "nurse@example.com/kitchen";
pub(super) const OPEN: &str = "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
    <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
    <field var='pubsub#access_model'><value>open</value></field>\
    <field var='pubsub#max_items'><value>max</value></field></x></publish-options>";

fn bare(jid: &str) -> &str {
    jid.split('/').next().unwrap()
}

/// What two nodes publish in one millisecond is in an order of its own.
async fn publish(who: &Actor<'_>, node: &str, id: &str, text: &str) {
    let inside = format!("<publish node='{node}'><item id='{id}'><t xmlns='t'>{text}</t></item></publish>{OPEN}");
    let own = who.session.jid.bare();
    let answer = who.set(own.as_str(), &inside).await;
    assert!(answer.contains("type='result'"), "{answer}");
    who.stage.clock.advance(Duration::from_millis(5));
}

async fn follow(who: &Actor<'_>, home: &str, node: &str) {
    let own = who.session.jid.bare();
    let answer = who.set(home, &format!("<subscribe node='{node}' jid='{own}'/>")).await;
    assert!(answer.contains("subscribed"), "{answer}");
}

async fn unfollow(who: &Actor<'_>, home: &str, node: &str) {
    let own = who.session.jid.bare();
    who.set(home, &format!("<unsubscribe node='{node}' jid='{own}'/>")).await;
}

/// The values of an attribute, one for each time it is there.
fn values<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}='");
    text.split(start.as_str()).skip(1).map(|rest| rest.split('\'').next().unwrap()).collect()
}

/// One page: ids of the entries, and service, node, item of each.
pub(super) async fn page(who: &Actor<'_>, set: &str) -> (Vec<String>, Vec<String>) {
    let own = who.session.jid.bare();
    let inside = format!("<items node='{}'/><set xmlns='{}'>{set}</set>", ns::TIMELINE, ns::RSM);
    read_page(&who.get(own.as_str(), &inside).await)
}

/// The same of an answer.
pub(super) fn read_page(answer: &str) -> (Vec<String>, Vec<String>) {
    assert!(answer.contains("type='result'"), "{answer}");
    let (services, nodes) = (values(answer, "t:service"), values(answer, "t:node"));
    let items = values(answer, "t:item");
    let all = services.iter().zip(&nodes).zip(&items).map(|((home, node), item)| format!("{home} {node} {item}"));
    let ids = values(answer, "id").into_iter().filter(|id| id.len() > 36).map(str::to_owned).collect();
    (ids, all.collect())
}

/// The whole timeline, oldest first, read back in pages from the newest.
async fn whole(who: &Actor<'_>, size: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut before = String::new();
    loop {
        let (ids, mut entries) = page(who, &format!("<max>{size}</max><before>{before}</before>")).await;
        let Some(first) = ids.first() else { break };
        before.clone_from(first);
        entries.append(&mut all);
        all = entries;
    }
    // And forwards, with another size.
    let mut again: Vec<String> = Vec::new();
    let mut after = String::new();
    loop {
        let (ids, entries) = page(who, &format!("<max>{}</max><after>{after}</after>", size + 1)).await;
        let Some(last) = ids.last() else { break };
        after.clone_from(last);
        again.extend(entries);
    }
    assert_eq!(all, again, "read back and forth");
    all
}

/// Lets the tasks that write come to their turn.
pub(super) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_follower_reads_what_came_since_in_order() {
    for merge in [1, 1000] {
        let store = Arc::new(store::Memory::new());
        let stage = Stage::configured(store, &format!("[timeline]\nmerge_followers_min = {merge}\n")).await;
        let (juliet, nurse, romeo) =
            (stage.log_in(JULIET, &[]).await, stage.log_in(NURSE, &[]).await, stage.log_in(ROMEO, &[]).await);
        publish(&juliet, "a", "before", "1").await;
        publish(&nurse, "b", "x", "1").await;
        follow(&romeo, bare(JULIET), "a").await;
        follow(&romeo, bare(NURSE), "b").await;
        romeo.read().await;
        publish(&juliet, "a", "1", "1").await;
        publish(&nurse, "b", "2", "2").await;
        publish(&juliet, "a", "3", "3").await;
        settle().await;
        let expected = ["juliet@example.com a 1", "nurse@example.com b 2", "juliet@example.com a 3"];
        romeo.read().await;
        assert_eq!(whole(&romeo, 2).await, expected);
        // An edit comes again, in its new place; what is retracted is gone; who is left goes with all it sent.
        publish(&juliet, "a", "1", "one").await;
        romeo.read().await;
        assert_eq!(whole(&romeo, 2).await, [expected[1], expected[2], expected[0]]);
        juliet.set(bare(JULIET), "<retract node='a' notify='1'><item id='3'/></retract>").await;
        romeo.read().await;
        assert_eq!(whole(&romeo, 2).await, [expected[1], expected[0]]);
        unfollow(&romeo, bare(NURSE), "b").await;
        assert_eq!(whole(&romeo, 1).await, [expected[0]]);
    }
}

#[tokio::test]
async fn a_client_that_asks_is_told_with_the_place() {
    let stage = Stage::new().await;
    let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[ns::TIMELINE]).await);
    publish(&juliet, "a", "0", "0").await;
    follow(&romeo, bare(JULIET), "a").await;
    romeo.read().await;
    publish(&juliet, "a", "1", "1").await;
    let told = romeo.read().await.into_iter().find(|stanza| stanza.contains(ns::TIMELINE)).unwrap();
    assert!(told.starts_with("<message to='romeo@example.net/orchard' from='romeo@example.net' type='headline'>"));
    for part in ["t:service='juliet@example.com'", "t:node='a'", "t:item='1'", "publisher='juliet@example.com'"] {
        assert!(told.contains(part), "{told}");
    }
    let (ids, _) = page(&romeo, "<max>1</max><before/>").await;
    assert!(told.contains(&format!("id='{}'", ids[0])), "{told}");
    let one = romeo.get(bare(ROMEO), &format!("<items node='{}'><item id='{}'/></items>", ns::TIMELINE, ids[0])).await;
    assert!(one.contains("<t xmlns='t'>1</t>"), "{one}");
}

#[tokio::test]
async fn who_is_blocked_is_hidden_in_both_directions_and_comes_back() {
    let stage = Stage::new().await;
    let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[]).await);
    publish(&juliet, "a", "0", "0").await;
    follow(&romeo, bare(JULIET), "a").await;
    publish(&juliet, "a", "1", "1").await;
    romeo.read().await;
    let block = |verb: &str, who: &str| {
        format!("<iq type='set' id='b'><{verb} xmlns='urn:xmpp:blocking'><item jid='{who}'/></{verb}></iq>")
    };
    for (owner, other) in [(&romeo, JULIET), (&juliet, ROMEO)] {
        assert_eq!(whole(&romeo, 5).await.len(), 1);
        owner.send(&block("block", bare(other))).await;
        owner.read().await;
        assert_eq!(whole(&romeo, 5).await.len(), 0);
        owner.send(&block("unblock", bare(other))).await;
        owner.read().await;
        romeo.read().await;
    }
    assert_eq!(whole(&romeo, 5).await.len(), 1);
}

#[tokio::test]
async fn to_others_there_is_no_such_node_and_nobody_writes_to_it() {
    let stage = Stage::new().await;
    let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[]).await);
    let items = format!("<items node='{}'/>", ns::TIMELINE);
    let refused = juliet.get(bare(ROMEO), &items).await;
    assert!(refused.contains("<item-not-found"), "{refused}");
    for (inside, condition) in [
        (format!("<publish node='{}'><item><t xmlns='t'/></item></publish>", ns::TIMELINE), "<forbidden"),
        (format!("<create node='{}'/>", ns::TIMELINE), "<forbidden"),
        (format!("<subscribe node='{}' jid='romeo@example.net'/>", ns::TIMELINE), "<feature-not-implemented"),
    ] {
        let refused = romeo.set(bare(ROMEO), &inside).await;
        assert!(refused.contains(condition), "{refused}");
        let refused = juliet.set(bare(ROMEO), &inside).await;
        assert!(refused.contains("<item-not-found"), "{refused}");
    }
    for after in ["x", "0", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "' or 1=1"] {
        let inside = format!(
            "<items node='{}'/><set xmlns='{}'><after>{}</after></set>",
            ns::TIMELINE,
            ns::RSM,
            after.replace('\'', "&apos;")
        );
        let refused = romeo.get(bare(ROMEO), &inside).await;
        assert!(refused.contains("<item-not-found"), "{refused}");
    }
}

/// What can happen to nodes and their readers.
#[derive(Clone, Copy, Debug)]
enum Step {
    Publish { node: usize, id: u8 },
    Retract { node: usize, id: u8 },
    Follow { reader: usize, node: usize },
    Unfollow { reader: usize, node: usize },
    Restart,
    Read { reader: usize, size: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3usize, 0..6u8).prop_map(|(node, id)| Step::Publish { node, id }),
        2 => (0..3usize, 0..6u8).prop_map(|(node, id)| Step::Retract { node, id }),
        4 => (0..2usize, 0..3usize).prop_map(|(reader, node)| Step::Follow { reader, node }),
        1 => (0..2usize, 0..3usize).prop_map(|(reader, node)| Step::Unfollow { reader, node }),
        1 => Just(Step::Restart),
        2 => (0..2usize, 1..5usize).prop_map(|(reader, size)| Step::Read { reader, size }),
    ]
}

/// What should be: everything that came, and who followed what since when.
#[derive(Default)]
struct Model {
    came: Vec<(usize, u8)>,
    follows: [[Option<usize>; 3]; 2],
}

const NODES: [(&str, &str); 3] = [(JULIET, "a"), (JULIET, "b"), (NURSE, "c")];
const READERS: [&str; 2] = [ROMEO, NURSE];

impl Model {
    fn timeline(&self, reader: usize) -> Vec<String> {
        let mut shown = Vec::new();
        for (at, (node, id)) in self.came.iter().enumerate() {
            let is_gone = self.came[at + 1..].contains(&(*node, *id)) || *id == u8::MAX;
            if !is_gone && self.follows[reader][*node].is_some_and(|since| at >= since) {
                shown.push(format!("{} {} {id}", bare(NODES[*node].0), NODES[*node].1));
            }
        }
        shown
    }
}

async fn perform(steps: &[Step], merge: u64) {
    let store: Arc<dyn store::Store> = Arc::new(store::Memory::new());
    let text = format!("[timeline]\nmerge_followers_min = {merge}\n");
    let mut stage = Stage::configured(Arc::clone(&store), &text).await;
    let mut model = Model::default();
    let mut restarts = 0;
    for (at, (owner, node)) in NODES.iter().enumerate() {
        publish(&stage.log_in(owner, &[]).await, node, "9", "first").await;
        model.came.push((at, 9));
    }
    for step in steps.iter().chain(&[Step::Read { reader: 0, size: 2 }, Step::Read { reader: 1, size: 3 }]) {
        match *step {
            Step::Publish { node, id } => {
                let (owner, name) = NODES[node];
                publish(&stage.log_in(owner, &[]).await, name, &id.to_string(), "text").await;
                model.came.push((node, id));
            }
            Step::Retract { node, id } => {
                let (owner, name) = NODES[node];
                let inside = format!("<retract node='{name}'><item id='{id}'/></retract>");
                stage.log_in(owner, &[]).await.set(bare(owner), &inside).await;
                for one in &mut model.came {
                    if *one == (node, id) {
                        one.1 = u8::MAX;
                    }
                }
            }
            Step::Follow { reader, node } => {
                let (owner, name) = NODES[node];
                follow(&stage.log_in(READERS[reader], &[]).await, bare(owner), name).await;
                let since = model.came.len();
                model.follows[reader][node].get_or_insert(since);
            }
            Step::Unfollow { reader, node } => {
                let (owner, name) = NODES[node];
                unfollow(&stage.log_in(READERS[reader], &[]).await, bare(owner), name).await;
                model.follows[reader][node] = None;
            }
            Step::Restart => {
                // What was under way is cut off where it is.
                stage = Stage::configured(Arc::clone(&store), &text).await;
                restarts += 1;
                stage.clock.advance(Duration::from_secs(restarts));
            }
            Step::Read { reader, size } => {
                let actor = stage.log_in(READERS[reader], &[]).await;
                assert_eq!(whole(&actor, size).await, model.timeline(reader), "merged from {merge} on");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn a_timeline_is_the_merge_of_what_is_followed(
        steps in proptest::collection::vec(step(), 1..60),
        merge in prop_oneof![Just(1u64), Just(2), Just(1_000)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(perform(&steps, merge));
    }
}

/// How many entries of a timeline are shown, in pages and as an archive.
async fn shown(who: &Actor<'_>) -> Vec<String> {
    who.read().await;
    let all = whole(who, 7).await;
    let own = who.session.jid.bare();
    let query = format!("<query xmlns='{}' node='{}'/>", ns::ARCHIVE, ns::TIMELINE);
    who.send(&format!("<iq type='set' id='m' to='{own}'>{query}</iq>")).await;
    let found = who.read().await.iter().filter(|stanza| stanza.contains("<result")).count();
    assert_eq!(found, all.len(), "the archive has the same");
    all
}

#[tokio::test(start_paused = true)]
async fn no_more_is_shown_than_is_kept() {
    for merge in [1, 1_000] {
        let text = format!("[timeline]\nentries_per_account_max = 5\ndays_max = 2\nmerge_followers_min = {merge}");
        let store: Arc<dyn store::Store> = Arc::new(store::Memory::new());
        let stage = Stage::configured(Arc::clone(&store), &text).await;
        let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
        let nurse = stage.log_in(NURSE, &[]).await;
        publish(&juliet, "blog", "first", "").await;
        publish(&nurse, "blog", "first", "").await;
        follow(&romeo, bare(JULIET), "blog").await;
        follow(&romeo, bare(NURSE), "blog").await;
        for number in 0..20 {
            publish(&juliet, "blog", &format!("j{number}"), "").await;
            publish(&nurse, "blog", &format!("n{number}"), "").await;
            settle().await;
            let count = shown(&romeo).await.len();
            assert_eq!(count, 5.min(2 * number + 2), "merged from {merge} on");
        }
        let newest = shown(&romeo).await;
        let items: Vec<_> = newest.iter().map(|entry| entry.rsplit(' ').next().unwrap()).collect();
        assert_eq!(items, ["n17", "j18", "n18", "j19", "n19"]);
        // What made room is not there for who asks for it, and neither is what is too old.
        let (ids, _) = page(&romeo, "<max>5</max><before/>").await;
        publish(&juliet, "blog", "j20", "").await;
        settle().await;
        romeo.read().await;
        let own = romeo.session.jid.bare();
        let by_id = |id: &str| format!("<items node='{}'><item id='{id}'/></items>", ns::TIMELINE);
        assert!(!romeo.get(own.as_str(), &by_id(&ids[0])).await.contains("n17"));
        assert!(romeo.get(own.as_str(), &by_id(&ids[1])).await.contains("j18"));
        stage.clock.advance(Duration::from_secs(47 * 60 * 60));
        assert_eq!(shown(&romeo).await.len(), 5);
        publish(&juliet, "blog", "j21", "").await;
        stage.clock.advance(Duration::from_secs(60 * 60));
        assert_eq!(shown(&romeo).await.len(), 1);
        assert!(romeo.get(own.as_str(), &by_id(&ids[4])).await.matches("<item ").count() == 0);
        stage.clock.advance(Duration::from_secs(48 * 60 * 60));
        assert!(shown(&romeo).await.is_empty());
        stage.minute().await;
        settle().await;
        let timelines = crate::tables::timeline::Timelines::new(store);
        let (rows, _) = timelines.places(own.as_str(), None, false, 100).await.unwrap();
        assert_eq!(rows, [], "who is sent nothing keeps nothing that is too old");
    }
}
