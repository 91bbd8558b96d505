//! Lists of posts, whole: what is listed, what makes room, and what time leaves of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use xmpp::limits::Limits;
use xmpp::{Jid, Stanza, ns};

use crate::extension::Caller;
use crate::extensions::pep::tests::{Actor, Stage};

const ROMEO: &str = "romeo@example.net/orchard";
const JULIET: &str = "juliet@example.com/balcony";
const SERVICE: &str = "pubsub.example.com";

/// Somebody here without a client posts under these tags.
async fn post(stage: &Stage, author: &str, id: &str, tags: &[&str]) {
    let tags: String = tags.iter().map(|tag| format!("<category term='{tag}'/>")).collect();
    let text = format!(
        "<iq type='set' id='x' from='{author}' to='{author}'><pubsub xmlns='{}'><publish node='{}'><item id='{id}'>\
         <entry xmlns='{}'><title>{id}</title>{tags}</entry></item></publish></pubsub></iq>",
        ns::PUBSUB,
        ns::MICROBLOG,
        ns::ATOM,
    );
    let caller = Caller { jid: Jid::new(author).unwrap(), session: None };
    stage.router.route(caller, Stanza::parse(text.into(), &Limits::server()).unwrap()).await;
    stage.clock.advance(Duration::from_millis(1));
}

/// How many posts are under a tag, and which was listed last.
async fn listed(who: &Actor<'_>, tag: &str) -> Option<(usize, String)> {
    let inside = format!("<items node='tag/{tag}'/><set xmlns='{}'><max>1</max><before/></set>", ns::RSM);
    let answer = who.get(SERVICE, &inside).await;
    if answer.contains("item-not-found") {
        return None;
    }
    let between = |from: &str| answer.split(from).nth(1)?.split('<').next().map(str::to_owned);
    let count = between("<count>").unwrap().parse().unwrap();
    Some((count, between("<title>").unwrap_or_default()))
}

async fn watch(who: &Actor<'_>, verb: &str, tag: &str, jid: &str) -> String {
    who.set(SERVICE, &format!("<{verb} node='tag/{tag}' jid='{jid}'/>")).await
}

#[tokio::test]
async fn what_made_room_in_a_full_list_does_not_come_back_as_news() {
    let stage = Stage::new().await;
    let juliet = stage.log_in(JULIET, &[]).await;
    for id in 0..1_010 {
        post(&stage, &format!("a{}@example.com", id % 21), &id.to_string(), &["verona"]).await;
    }
    assert_eq!(listed(&juliet, "verona").await, Some((1_000, "1009".to_owned())));
    watch(&juliet, "subscribe", "verona", "juliet@example.com").await;
    for _ in 0..4 {
        stage.minute().await;
    }
    assert_eq!(juliet.read().await, Vec::<String>::new());
    assert_eq!(listed(&juliet, "verona").await, Some((1_000, "1009".to_owned())));
    // Who publishes again what has made room has it listed again.
    post(&stage, "a0@example.com", "0", &["verona"]).await;
    assert_eq!(listed(&juliet, "verona").await, Some((1_000, "0".to_owned())));
}

#[tokio::test]
async fn an_account_fills_no_list_by_changing_what_is_in_another() {
    let stage = Stage::new().await;
    let juliet = stage.log_in(JULIET, &[]).await;
    for id in 0..60 {
        post(&stage, "a0@example.com", &id.to_string(), &["other"]).await;
        post(&stage, "a0@example.com", &format!("more-{id}"), &[&format!("t{id}")]).await;
    }
    assert_eq!(listed(&juliet, "other").await.unwrap().0, 50);
    for id in 0..60 {
        post(&stage, "a0@example.com", &format!("more-{id}"), &[&format!("t{id}"), "other"]).await;
    }
    assert_eq!(listed(&juliet, "other").await.unwrap().0, 50);
    // What is there may be changed.
    post(&stage, "a0@example.com", "7", &["other", "more"]).await;
    assert_eq!(listed(&juliet, "other").await.unwrap(), (50, "7".to_owned()));
    assert_eq!(listed(&juliet, "more").await.unwrap(), (1, "7".to_owned()));
}

#[tokio::test]
async fn a_list_is_there_as_long_as_somebody_waits_for_it() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    let refused = watch(&romeo, "subscribe", "verona", "juliet@example.com").await;
    assert!(refused.contains("invalid-jid"), "{refused}");
    assert_eq!(listed(&romeo, "verona").await, None, "a refusal leaves nothing behind");
    for (who, jid) in [(&romeo, "romeo@example.net"), (&juliet, "juliet@example.com")] {
        let answer = watch(who, "subscribe", "verona", jid).await;
        assert!(answer.contains("subscription='subscribed'"), "{answer}");
    }
    assert_eq!(listed(&romeo, "verona").await.unwrap().0, 0);
    for (who, jid) in [(&romeo, "romeo@example.net"), (&juliet, "juliet@example.com")] {
        assert!(listed(&romeo, "verona").await.is_some(), "somebody waits");
        let answer = watch(who, "unsubscribe", "verona", jid).await;
        assert!(answer.contains("subscription='none'"), "{answer}");
    }
    assert_eq!(listed(&romeo, "verona").await, None, "nobody does");
    // It comes back, with another watcher, and stays for what is in it.
    watch(&romeo, "subscribe", "verona", "romeo@example.net").await;
    post(&stage, "a0@example.com", "1", &["verona"]).await;
    assert_eq!(romeo.read().await.len(), 1, "who watches is told");
    watch(&romeo, "unsubscribe", "verona", "romeo@example.net").await;
    assert_eq!(listed(&romeo, "verona").await, Some((1, "1".to_owned())));
}

#[tokio::test]
async fn a_list_goes_with_the_last_lease() {
    let stage = Stage::new().await;
    let romeo = stage.log_in(ROMEO, &[]).await;
    let options = "<options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
        <value>http://jabber.org/protocol/pubsub#subscribe_options</value></field>\
        <field var='pubsub#expire'><value>2026-11-22T12:05:00Z</value></field></x></options>";
    let answer = romeo.set(SERVICE, &format!("<subscribe node='tag/verona' jid='romeo@example.net'/>{options}")).await;
    assert!(answer.contains("type='result'"), "{answer}");
    assert!(listed(&romeo, "verona").await.is_some());
    for _ in 0..7 {
        stage.minute().await;
    }
    romeo.read().await;
    assert_eq!(listed(&romeo, "verona").await, None);
}

#[tokio::test]
async fn a_list_goes_with_its_last_watcher_when_its_last_post_went_before() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    let retract = format!("<retract node='{}'><item id='1'/></retract>", ns::MICROBLOG);
    for is_removed in [false, true] {
        post(&stage, "juliet@example.com", "1", &["fresh"]).await;
        watch(&romeo, "subscribe", "fresh", "romeo@example.net").await;
        juliet.set("juliet@example.com", &retract).await;
        assert_eq!(listed(&juliet, "fresh").await, Some((0, String::new())), "somebody watches");
        if is_removed {
            romeo.send("<iq type='set' id='r'><query xmlns='jabber:iq:register'><remove/></query></iq>").await;
        } else {
            watch(&romeo, "unsubscribe", "fresh", "romeo@example.net").await;
        }
        assert_eq!(listed(&juliet, "fresh").await, None);
    }
}

#[tokio::test]
async fn a_feed_is_one_by_its_name_or_its_type() {
    let stage = Stage::new().await;
    let juliet = stage.log_in(JULIET, &[]).await;
    let config = |node: &str, type_: &str| {
        format!(
            "<configure{node}><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/pubsub#node_config</value></field>\
             <field var='pubsub#access_model'><value>open</value></field>\
             <field var='pubsub#type'><value>{type_}</value></field></x></configure>"
        )
    };
    let typed = config("", "urn:xmpp:pubsub-social-feed:1");
    juliet.set("juliet@example.com", &format!("<create node='fam'/>{typed}")).await;
    juliet.set("juliet@example.com", &format!("<create node='fan'/>{}", config("", ""))).await;
    for node in ["fam", "fan"] {
        let item = format!(
            "<publish node='{node}'><item id='1'><entry xmlns='{}'><title>{node}</title><category term='verona'/></entry>\
             </item></publish>",
            ns::ATOM
        );
        assert!(juliet.set("juliet@example.com", &item).await.contains("type='result'"));
    }
    assert_eq!(listed(&juliet, "verona").await, Some((1, "fam".to_owned())));
    let other = format!(
        "<iq type='set' id='c'><pubsub xmlns='{}'>{}</pubsub></iq>",
        ns::PUBSUB_OWNER,
        config(" node='fam'", "")
    );
    assert!(juliet.ask(&other).await.contains("type='result'"));
    assert_eq!(listed(&juliet, "verona").await, None, "it is none any more");
}
