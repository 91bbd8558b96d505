//! What clients may try with push notifications, and what it comes to. When devices are woken is in the plays.

use super::*;
use crate::tables::push::Registrations;

fn enable(service: &str, node: &str, inside: &str) -> String {
    format!(
        "<iq type='set' id='1'><enable xmlns='urn:xmpp:push:0' jid='{service}' node='{node}'>{inside}</enable></iq>"
    )
}

fn options(value: &str) -> String {
    format!(
        "<x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
         <field var='secret'><value>{value}</value></field></x>"
    )
}

#[tokio::test]
async fn a_thousand_services_leave_sixteen() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let juliet = stage.log_in(JULIET).await;
    let table = Registrations::new(Arc::clone(&stage.store));
    for at in 0..1_000 {
        stage.clock.advance(std::time::Duration::from_secs(1));
        let answers = juliet.ask(&enable("push.example.org", &format!("n{at}"), "")).await;
        assert!(answers[0].contains("type='result'"), "{answers:?}");
    }
    let nodes: Vec<_> = table.load("juliet@example.com").await.unwrap().into_iter().map(|one| one.node).collect();
    let expected: Vec<Box<str>> = (984..1_000).map(|at| format!("n{at}").into()).collect();
    assert_eq!(nodes, expected, "the least recently renewed gave way");
    juliet.ask("<iq type='set' id='1'><disable xmlns='urn:xmpp:push:0' jid='push.example.org'/></iq>").await;
    assert!(table.load("juliet@example.com").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_too_big_or_leads_back_here_is_refused() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let juliet = stage.log_in(JULIET).await;
    for (request, expected) in [
        (enable("push.example.org", "n", &options(&"x".repeat(4_096))), "not-acceptable"),
        (enable("push.example.org", &"n".repeat(1_025), ""), "not-acceptable"),
        (enable("juliet@example.com", "n", ""), "not-acceptable"),
        (enable("romeo@example.net/orchard", "n", ""), "not-acceptable"),
        (enable("example.net", "n", ""), "not-acceptable"),
        (enable("", "n", ""), "bad-request"),
        (enable("@", "n", ""), "jid-malformed"),
        (enable("push.example.org", "n", &options(&"x".repeat(1_000))), "type='result'"),
    ] {
        let answers = juliet.ask(&request).await;
        assert!(answers[0].contains(expected), "{expected}: {answers:?}");
    }
}

#[tokio::test]
async fn what_is_enabled_again_and_again_is_written_once() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let juliet = stage.log_in(JULIET).await;
    let table = Registrations::new(Arc::clone(&stage.store));
    juliet.ask(&enable("push.example.org", "n", &options("one"))).await;
    let written = table.load("juliet@example.com").await.unwrap();
    stage.clock.advance(std::time::Duration::from_secs(3_600));
    juliet.ask(&enable("push.example.org", "n", &options("one"))).await;
    assert_eq!(table.load("juliet@example.com").await.unwrap(), written);
    juliet.ask(&enable("push.example.org", "n", &options("two"))).await;
    let changed = table.load("juliet@example.com").await.unwrap();
    assert!(changed.len() == 1 && changed != written, "the last form counts");
    stage.clock.advance(std::time::Duration::from_secs(90_000));
    juliet.ask(&enable("push.example.org", "n", &options("two"))).await;
    assert_ne!(table.load("juliet@example.com").await.unwrap(), changed, "once a day it is");
}

#[tokio::test]
async fn who_is_removed_has_no_services() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let juliet = stage.log_in(JULIET).await;
    juliet.ask(&enable("push.example.org", "n", "")).await;
    stage.router.close_account(&BareJid::new("juliet@example.com").unwrap()).await;
    assert!(Registrations::new(Arc::clone(&stage.store)).load("juliet@example.com").await.unwrap().is_empty());
}
