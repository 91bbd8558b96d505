//! Notifications, whole: what an account finds in its node, and when.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use xmpp::limits::Limits;
use xmpp::{Jid, Stanza, ns};

use crate::extension::Caller;
use crate::extensions::pep::tests::{Actor, Stage};
use crate::runtime::pause;

const ROMEO: &str = "romeo@example.net/orchard";
const JULIET: &str = "juliet@example.com/balcony";
const SERVICE: &str = "pubsub.example.com";

/// Somebody here without a client does something.
async fn act(stage: &Stage, who: &str, to: &str, inside: &str) {
    let text =
        format!("<iq type='set' id='x' from='{who}' to='{to}'><pubsub xmlns='{}'>{inside}</pubsub></iq>", ns::PUBSUB);
    let caller = Caller { jid: Jid::new(who).unwrap(), session: None };
    stage.router.route(caller, Stanza::parse(text.into(), &Limits::server()).unwrap()).await;
}

async fn comment(stage: &Stage, who: &str, id: usize) {
    let node = "urn:xmpp:microblog:0:comments/1";
    let inside = format!(
        "<publish node='{node}'><item id='{id}'><entry xmlns='{}'><title>comment {id}</title></entry></item></publish>",
        ns::ATOM
    );
    act(stage, who, "juliet@example.com", &inside).await;
}

/// The notifications there are, after all that waits was written.
async fn notifications(who: &Actor<'_>) -> String {
    pause(Duration::from_secs(5)).await;
    who.read().await;
    let own = who.session.jid.bare();
    who.get(own.as_str(), &format!("<items node='{}'/>", ns::NOTIFICATIONS)).await
}

#[tokio::test(start_paused = true)]
async fn who_is_blocked_while_they_wait_is_not_told_of() {
    let stage = Stage::new().await;
    let juliet = stage.log_in(JULIET, &[]).await;
    juliet.set("juliet@example.com", "<create node='urn:xmpp:microblog:0:comments/1'/>").await;
    comment(&stage, "romeo@example.net", 1).await;
    for id in 2..5 {
        comment(&stage, "paris@example.net", id).await;
    }
    let block = "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='paris@example.net'/></block></iq>";
    assert!(juliet.ask(block).await.contains("type='result'") || !juliet.read().await.is_empty());
    let found = notifications(&juliet).await;
    assert!(found.contains("comment 1") && !found.contains("paris@example.net"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn comments_edited_in_a_storm_are_no_news() {
    let stage = Stage::new().await;
    let juliet = stage.log_in(JULIET, &[]).await;
    juliet.set("juliet@example.com", "<create node='urn:xmpp:microblog:0:comments/1'/>").await;
    for id in 0..50 {
        comment(&stage, "romeo@example.net", id).await;
    }
    for _ in 0..3 {
        for id in 0..50 {
            comment(&stage, "romeo@example.net", id).await;
        }
    }
    let found = notifications(&juliet).await;
    assert!(found.contains("count='50'"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_missing_where_they_came() {
    let stage = Stage::new().await;
    let juliet = stage.log_in(JULIET, &[]).await;
    juliet.post("1", "first").await;
    let ask = |verb: &str, who: &str| format!("<{verb} node='{}' jid='{who}'/>", ns::MICROBLOG);
    for who in ["paris@example.net", "tybalt@example.net"] {
        act(&stage, who, "juliet@example.com", &ask("subscribe", who)).await;
    }
    notifications(&juliet).await;
    stage.clock.advance(Duration::from_secs(24 * 60 * 60));
    for number in 0..12 {
        let who = format!("f{number}@example.net");
        act(&stage, &who, "juliet@example.com", &ask("subscribe", &who)).await;
    }
    act(&stage, "paris@example.net", "juliet@example.com", &ask("unsubscribe", "paris@example.net")).await;
    let found = notifications(&juliet).await;
    assert!(found.contains("count='12'") && !found.contains("paris@example.net"), "{found}");
    assert!(found.contains("tybalt@example.net"), "{found}");
    act(&stage, "tybalt@example.net", "juliet@example.com", &ask("unsubscribe", "tybalt@example.net")).await;
    let found = notifications(&juliet).await;
    assert!(found.contains("count='12'") && found.matches("<item ").count() == 1, "{found}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_for_who_is_gone() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    let options = "<configure><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
        <value>http://jabber.org/protocol/pubsub#node_config</value></field>\
        <field var='pubsub#publish_model'><value>open</value></field>\
        <field var='pubsub#access_model'><value>open</value></field></x></configure>";
    assert!(romeo.set(SERVICE, &format!("<create node='wall'/>{options}")).await.contains("type='result'"));
    let entry = format!(
        "<publish node='wall'><item id='1'><entry xmlns='{}'><title>x</title></entry></item></publish>",
        ns::ATOM
    );
    assert!(juliet.set(SERVICE, &entry).await.contains("type='result'"));
    let like = |noticed: &str| {
        format!(
            "<publish node='urn:xmpp:pubsub-attachments:1/xmpp:{SERVICE}?;node=wall;item=1'><item id='romeo@example.net'>\
             <attachments xmlns='urn:xmpp:pubsub-attachments:1'>{noticed}</attachments></item></publish>"
        )
    };
    assert!(romeo.set(SERVICE, &like("<noticed/>")).await.contains("type='result'"));
    assert!(notifications(&juliet).await.contains("romeo@example.net"), "as long as she is here");
    juliet.send("<iq type='set' id='r'><query xmlns='jabber:iq:register'><remove/></query></iq>").await;
    juliet.read().await;
    romeo.read().await;
    let again = romeo.set(SERVICE, &like("<noticed/>")).await;
    assert!(again.contains("type='result'"), "{again}");
    // Whoever has that name next.
    let juliet = stage.log_in(JULIET, &[]).await;
    let found = notifications(&juliet).await;
    assert!(!found.contains("romeo@example.net"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn a_feed_by_its_type_tells_whom_it_names() {
    let stage = Stage::new().await;
    let juliet = stage.log_in(JULIET, &[]).await;
    for (node, type_) in [("fam", "urn:xmpp:pubsub-social-feed:1"), ("fan", "")] {
        let options = format!(
            "<configure><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/pubsub#node_config</value></field>\
             <field var='pubsub#access_model'><value>open</value></field>\
             <field var='pubsub#type'><value>{type_}</value></field></x></configure>"
        );
        act(&stage, "romeo@example.net", "romeo@example.net", &format!("<create node='{node}'/>{options}")).await;
        let item = format!(
            "<publish node='{node}'><item id='1'><entry xmlns='{}'><title>in {node}</title>\
             <link rel='mentioned' href='xmpp:juliet@example.com'/></entry></item></publish>",
            ns::ATOM
        );
        act(&stage, "romeo@example.net", "romeo@example.net", &item).await;
    }
    let found = notifications(&juliet).await;
    assert!(found.contains("in fam") && !found.contains("in fan"), "{found}");
    act(&stage, "romeo@example.net", "romeo@example.net", "<retract node='fam'><item id='1'/></retract>").await;
    let found = notifications(&juliet).await;
    assert!(!found.contains("in fam"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn who_removes_their_account_is_named_no_longer_for_what_went_with_it() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    let options = "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
        <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
        <field var='pubsub#access_model'><value>open</value></field></x></publish-options>";
    let post = format!(
        "<publish node='{}'><item id='1'><entry xmlns='{}'><title>x</title></entry></item></publish>{options}",
        ns::MICROBLOG,
        ns::ATOM
    );
    assert!(juliet.set("juliet@example.com", &post).await.contains("type='result'"));
    let follow = format!("<subscribe node='{}' jid='romeo@example.net'/>", ns::MICROBLOG);
    assert!(romeo.set("juliet@example.com", &follow).await.contains("type='result'"));
    let target = format!("xmpp:juliet@example.com?;node={};item=1", "urn%3Axmpp%3Amicroblog%3A0");
    let like = format!(
        "<publish node='urn:xmpp:pubsub-attachments:1/{target}'><item id='romeo@example.net'>\
         <attachments xmlns='urn:xmpp:pubsub-attachments:1'><noticed/></attachments></item></publish>"
    );
    let liked = romeo.set("juliet@example.com", &like).await;
    assert!(liked.contains("type='result'"), "{liked}");
    let found = notifications(&juliet).await;
    assert!(found.contains("kind='follow'") && found.contains("kind='like'"), "{found}");
    romeo.send("<iq type='set' id='r'><query xmlns='jabber:iq:register'><remove/></query></iq>").await;
    let found = notifications(&juliet).await;
    assert!(!found.contains("romeo@example.net"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn whom_a_post_names_no_longer_is_not_told_of_it() {
    let stage = Stage::new().await;
    let juliet = stage.log_in(JULIET, &[]).await;
    // A post that says where its comments are goes another way.
    for replies in [
        "",
        "<link rel='replies' title='comments' href='xmpp:pubsub.example.com?;node=urn%3Axmpp%3Amicroblog%3A0%3Acomments%2F1'/>",
    ] {
        let publish = |text: &str, named: &str| {
            let link = format!("<link rel='mentioned' href='xmpp:{named}'/>");
            let entry = format!("<entry xmlns='{}'><title>{text}</title>{link}{replies}</entry>", ns::ATOM);
            let options = "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
                <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
                <field var='pubsub#access_model'><value>open</value></field></x></publish-options>";
            format!("<publish node='{}'><item id='1'>{entry}</item></publish>{options}", ns::MICROBLOG)
        };
        let romeo = "romeo@example.net";
        act(&stage, romeo, romeo, &publish("first", "juliet@example.com")).await;
        assert!(notifications(&juliet).await.contains("first"));
        act(&stage, romeo, romeo, &publish("second", "juliet@example.com")).await;
        let found = notifications(&juliet).await;
        assert!(found.contains("second") && !found.contains("first"), "{found}");
        act(&stage, romeo, romeo, &publish("third", "nurse@example.com")).await;
        let found = notifications(&juliet).await;
        assert!(!found.contains("<item "), "{found}");
    }
}
