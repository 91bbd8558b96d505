//! Public subscriptions, whole: what ends them, who reads the lists, and what is left of nodes that are gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use xmpp::{BareJid, ns};

use super::Share;
use super::tests::{Actor, Stage};

const ROMEO: &str = "romeo@example.net/orchard";
const JULIET: &str = "juliet@example.com/balcony";
const NURSE: &str = "nurse@example.com/kitchen";
const SERVICE: &str = "pubsub.example.com";
const PUBLIC: &str = "<public xmlns='urn:xmpp:pps:0'/>";

fn bare(who: &Actor<'_>) -> BareJid {
    who.session.jid.bare()
}

/// What the owner of a node of the service asks for.
async fn own(who: &Actor<'_>, inside: &str) -> String {
    let pubsub = format!("<pubsub xmlns='{}'>{inside}</pubsub>", ns::PUBSUB_OWNER);
    who.ask(&format!("<iq type='set' id='o' to='{SERVICE}'>{pubsub}</iq>")).await
}

async fn configure(who: &Actor<'_>, node: &str, var: &str, value: &str) -> String {
    let form = "<value>http://jabber.org/protocol/pubsub#node_config</value>";
    let field = format!("<field var='{var}'><value>{value}</value></field>");
    own(
        who,
        &format!(
            "<configure node='{node}'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>{form}</field>{field}</x>\
             </configure>"
        ),
    )
    .await
}

/// By way of the account (XEP-0376).
async fn pam(who: &Actor<'_>, verb: &str, node: &str, inside: &str) -> String {
    let verb = format!("<{verb} xmlns='{}' node='{node}' jid='{}'>{inside}</{verb}>", ns::PUBSUB, bare(who));
    who.ask(&format!("<iq type='set' id='p'><pam xmlns='urn:xmpp:pam:0' jid='{SERVICE}'>{verb}</pam></iq>")).await
}

/// How many are listed; `None` where nothing may be read.
async fn listed(who: &Actor<'_>, home: &str, node: &str) -> Option<usize> {
    who.read().await;
    let answer = who.get(home, &format!("<items node='{node}'/>")).await;
    answer.contains("type='result'").then(|| answer.matches("<item ").count())
}

/// What is listed of Romeo's subscription to a node: as subscriber, as subscription, and on the list of XEP-0330.
async fn traces(juliet: &Actor<'_>, romeo: &Actor<'_>, node: &str) -> [Option<usize>; 3] {
    let subscribers = listed(juliet, SERVICE, &format!("urn:xmpp:pps:subscribers:0/{node}")).await;
    let subscriptions = listed(juliet, "romeo@example.net", "urn:xmpp:pps:subscriptions:0").await;
    [subscribers, subscriptions, listed(romeo, "romeo@example.net", ns::PUBSUB_SUBSCRIPTION).await]
}

#[tokio::test]
async fn however_a_subscription_ends_it_is_public_no_more() {
    let stage = Stage::new().await;
    let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[]).await);
    let removal = |inside: &str| {
        format!("<subscriptions node='n'><subscription jid='romeo@example.net' {inside}/></subscriptions>")
    };
    let outcast = "<affiliations node='n'><affiliation jid='romeo@example.net' affiliation='outcast'/></affiliations>";
    for end in ["owner", "unsubscribe", "pam", "lease", "delete", "outcast"] {
        juliet.set(SERVICE, "<create node='n'/>").await;
        assert!(pam(&romeo, "subscribe", "n", PUBLIC).await.contains("type='result'"), "{end}");
        assert_eq!(traces(&juliet, &romeo, "n").await, [Some(1), Some(1), Some(1)], "{end}");
        let plain = "node='n' jid='romeo@example.net'";
        let answer = match end {
            "owner" => own(&juliet, &removal("subscription='none'")).await,
            "unsubscribe" => romeo.set(SERVICE, &format!("<unsubscribe {plain}/>")).await,
            "pam" => pam(&romeo, "unsubscribe", "n", "").await,
            "delete" => own(&juliet, "<delete node='n'/>").await,
            "outcast" => own(&juliet, outcast).await,
            _ => {
                let options = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
                    <value>http://jabber.org/protocol/pubsub#subscribe_options</value></field>\
                    <field var='pubsub#expire'><value>2026-11-22T13:00:00Z</value></field></x>";
                let set = format!("<options {plain}>{options}</options>");
                let answer = romeo.set(SERVICE, &set).await;
                stage.clock.advance(Duration::from_secs(3_600));
                stage.minute().await;
                answer
            }
        };
        assert!(answer.contains("type='result'"), "{end}: {answer}");
        let subscribers = if end == "delete" { None } else { Some(0) };
        assert_eq!(traces(&juliet, &romeo, "n").await, [subscribers, None, Some(0)], "{end}");
    }
    // Who is shut out of the node does not read who reads it.
    assert_eq!(listed(&romeo, SERVICE, "urn:xmpp:pps:subscribers:0/n").await, None);
}

#[tokio::test]
async fn one_of_several_subscriptions_ends_and_what_is_public_stays_so() {
    let stage = Stage::new().await;
    let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[]).await);
    juliet.set(SERVICE, "<create node='n'/>").await;
    let other = "<subscribe node='n' jid='romeo@example.net'/><options><x xmlns='jabber:x:data' type='submit'>\
        <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#subscribe_options</value></field>\
        <field var='pubsub#include_body'><value>1</value></field></x></options>";
    let other = romeo.set(SERVICE, other).await;
    let subid = other.split("subid='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    let first = romeo.set(SERVICE, "<subscribe node='n' jid='romeo@example.net'/>").await;
    assert!(first.contains(subid), "{first}");
    let other = "<subscribe node='n' jid='romeo@example.net'/><options><x xmlns='jabber:x:data' type='submit'>\
        <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#subscribe_options</value></field>\
        <field var='pubsub#deliver'><value>0</value></field></x></options>";
    assert!(!romeo.set(SERVICE, other).await.contains(&format!("subid='{subid}'")));
    pam(&romeo, "subscribe", "n", PUBLIC).await;
    assert_eq!(traces(&juliet, &romeo, "n").await, [Some(1), Some(1), Some(1)]);
    let account = bare(&romeo);
    let verb = format!("<unsubscribe xmlns='{}' node='n' jid='{account}' subid='{subid}'/>", ns::PUBSUB);
    let left = romeo
        .ask(&format!("<iq type='set' id='p'><pam xmlns='urn:xmpp:pam:0' jid='{SERVICE}'>{verb}</pam></iq>"))
        .await;
    assert!(left.contains("type='result'"), "{left}");
    assert_eq!(traces(&juliet, &romeo, "n").await, [Some(1), Some(1), Some(1)]);
}

#[tokio::test]
async fn who_is_removed_is_on_no_list() {
    let stage = Stage::new().await;
    let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[]).await);
    juliet.set(SERVICE, "<create node='n'/>").await;
    pam(&romeo, "subscribe", "n", PUBLIC).await;
    let account = bare(&romeo);
    stage.router.tell(|listener| listener.account_removed(&account)).await;
    assert_eq!(listed(&juliet, SERVICE, "urn:xmpp:pps:subscribers:0/n").await, Some(0));
}

#[tokio::test]
async fn another_node_of_that_name_has_other_subscribers() {
    let stage = Stage::new().await;
    let (juliet, nurse) = (stage.log_in(JULIET, &[]).await, stage.log_in(NURSE, &[]).await);
    let romeo = stage.log_in(ROMEO, &[]).await;
    juliet.set(SERVICE, "<create node='n'/>").await;
    pam(&romeo, "subscribe", "n", PUBLIC).await;
    own(&juliet, "<delete node='n'/>").await;
    nurse.set(SERVICE, "<create node='n'/>").await;
    assert_eq!(traces(&nurse, &romeo, "n").await, [None, None, Some(0)]);
    pam(&romeo, "subscribe", "n", PUBLIC).await;
    assert_eq!(traces(&nurse, &romeo, "n").await, [Some(1), Some(1), Some(1)]);
    // Whoever owns the node by now, its list follows.
    let owners = "<affiliations node='n'><affiliation jid='juliet@example.com' affiliation='owner'/>\
                  <affiliation jid='nurse@example.com' affiliation='none'/></affiliations>";
    own(&nurse, owners).await;
    pam(&romeo, "unsubscribe", "n", "").await;
    assert_eq!(traces(&nurse, &romeo, "n").await, [Some(0), None, Some(0)]);
}

#[tokio::test]
async fn what_is_left_on_a_list_goes_when_its_owner_asks() {
    let stage = Stage::new().await;
    let account = BareJid::new("romeo@example.net").unwrap();
    // A crash in the middle of a deletion.
    stage.pep().try_share(&account, &BareJid::new(SERVICE).unwrap(), "n", Share::Public).await.unwrap();
    let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[]).await);
    assert_eq!(traces(&juliet, &romeo, "n").await, [None, Some(1), Some(1)]);
    let answer = pam(&romeo, "unsubscribe", "n", "").await;
    assert!(answer.contains("item-not-found") && answer.contains(&format!("by='{SERVICE}'")), "{answer}");
    assert_eq!(traces(&juliet, &romeo, "n").await, [None, None, Some(0)]);
}

#[tokio::test]
async fn who_may_read_a_node_may_read_who_reads_it() {
    let stage = Stage::new().await;
    let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[]).await);
    let nurse = stage.log_in(NURSE, &[]).await;
    const LIST: &str = "urn:xmpp:pps:subscribers:0/n";
    juliet.set(SERVICE, "<create node='n'/>").await;
    pam(&romeo, "subscribe", "n", PUBLIC).await;
    assert_eq!(listed(&nurse, SERVICE, LIST).await, Some(1));
    // From then on who is subscribed reads both, and nobody else either.
    configure(&juliet, "n", "pubsub#access_model", "authorize").await;
    assert_eq!((listed(&romeo, SERVICE, LIST).await, listed(&nurse, SERVICE, LIST).await), (Some(1), None));
    let subscribed = romeo.set(SERVICE, &format!("<subscribe node='{LIST}' jid='romeo@example.net'/>")).await;
    assert!(subscribed.contains("subscription='subscribed'"), "{subscribed}");
    let refused = nurse.set(SERVICE, &format!("<subscribe node='{LIST}' jid='nurse@example.com'/>")).await;
    assert!(refused.contains("not-subscribed"), "{refused}");
    configure(&juliet, "n", "pubsub#access_model", "whitelist").await;
    assert_eq!((listed(&romeo, SERVICE, LIST).await, listed(&juliet, SERVICE, LIST).await), (None, Some(1)));
    let nodes = format!("<iq type='get' id='d' to='{SERVICE}'><query xmlns='{}'/></iq>", ns::DISCO_ITEMS);
    assert!(!nurse.ask(&nodes).await.contains(LIST) && juliet.ask(&nodes).await.contains(LIST));
    // The list itself has nothing to say in that.
    let answer = configure(&juliet, LIST, "pubsub#access_model", "open").await;
    assert!(answer.contains("not-allowed"), "{answer}");
    let answer = configure(&juliet, LIST, "pubsub#title", "Readers").await;
    assert!(answer.contains("type='result'"), "{answer}");
    // What is attached to what is listed is shown to no others.
    let target = "xmpp:pubsub.example.com?;node=urn%3Axmpp%3Apps%3Asubscribers%3A0%2Fn;item=romeo%40example.net";
    let attachments = format!("urn:xmpp:pubsub-attachments:1/{target}");
    let noticed = "<attachments xmlns='urn:xmpp:pubsub-attachments:1'><noticed/></attachments>";
    let item = format!("<publish node='{attachments}'><item id='juliet@example.com'>{noticed}</item></publish>");
    let answer = juliet.set(SERVICE, &item).await;
    assert!(answer.contains("type='result'"), "{answer}");
    let readers = (listed(&juliet, SERVICE, &attachments).await, listed(&romeo, SERVICE, &attachments).await);
    assert_eq!(readers, (Some(1), None));
    let member = format!(
        "<affiliations node='{LIST}'><affiliation jid='romeo@example.net' affiliation='member'/></affiliations>"
    );
    assert!(own(&juliet, &member).await.contains("forbidden"));
    assert_eq!(listed(&romeo, SERVICE, LIST).await, None);
}

#[tokio::test]
async fn what_the_server_shared_it_takes_back_and_what_a_client_wrote_stays() {
    let stage = Stage::new().await;
    let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[]).await);
    juliet.set(SERVICE, "<create node='n'/>").await;
    pam(&romeo, "subscribe", "n", PUBLIC).await;
    pam(&romeo, "subscribe", "n", "").await;
    assert_eq!(traces(&juliet, &romeo, "n").await, [Some(0), None, Some(0)]);
    let id = crate::extensions::timeline::item_id(&BareJid::new(SERVICE).unwrap(), "n", &bare(&romeo));
    let item = format!(
        "<item id='{id}'><subscription xmlns='urn:xmpp:pubsub:subscription:0' server='{SERVICE}' node='n'>\
         <title>Mine</title></subscription></item>"
    );
    romeo.set("romeo@example.net", &format!("<publish node='{}'>{item}</publish>", ns::PUBSUB_SUBSCRIPTION)).await;
    pam(&romeo, "subscribe", "n", PUBLIC).await;
    pam(&romeo, "subscribe", "n", "").await;
    assert_eq!(traces(&juliet, &romeo, "n").await, [Some(0), None, Some(1)]);
    pam(&romeo, "unsubscribe", "n", "").await;
    assert_eq!(traces(&juliet, &romeo, "n").await, [Some(0), None, Some(0)]);
}

#[tokio::test]
async fn what_is_gone_is_neither_listed_nor_counted() {
    let text = "[timeline]\nfollows_per_account_max = 2\n";
    let stage = Stage::configured(Arc::new(store::Memory::new()), text).await;
    let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[]).await);
    for node in ["a", "b"] {
        juliet.set(SERVICE, &format!("<create node='{node}'/>")).await;
        assert!(pam(&romeo, "subscribe", node, "").await.contains("type='result'"));
    }
    juliet.set(SERVICE, "<create node='c'/>").await;
    assert!(pam(&romeo, "subscribe", "c", "").await.contains("resource-constraint"));
    own(&juliet, "<delete node='a'/>").await;
    // One of that name, and nothing else, is there again.
    juliet.set(SERVICE, "<create node='a'/>").await;
    romeo.read().await;
    let own_list = "<iq type='get' id='l'><subscriptions xmlns='urn:xmpp:pam:0'/></iq>";
    let own_list = romeo.ask(own_list).await;
    assert!(own_list.contains("node='b'") && !own_list.contains("node='a'"), "{own_list}");
    let at_service = romeo.get(SERVICE, "<subscriptions/>").await;
    assert!(at_service.contains("node='b'") && !at_service.contains("node='a'"), "{at_service}");
    assert!(pam(&romeo, "subscribe", "c", "").await.contains("type='result'"));
    own(&juliet, "<delete node='b'/>").await;
    let affiliations = juliet.get(SERVICE, "<affiliations/>").await;
    assert!(affiliations.contains("node='a'") && !affiliations.contains("node='b'"), "{affiliations}");
}
