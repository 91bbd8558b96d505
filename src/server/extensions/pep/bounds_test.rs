//! Much at once: what is asked for is answered whole or in pages, has an end, and keeps others waiting no longer than it
//! must.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::cell::RefCell;

use super::tests::Stage;

const ROMEO: &str = "romeo@example.net/orchard";
const JULIET: &str = "juliet@example.com/balcony";
const HOME: &str = "juliet@example.com";

fn form(kind: &str, fields: &[(&str, &str)]) -> String {
    let fields: String =
        fields.iter().map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>")).collect();
    format!("<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{kind}</value></field>{fields}</x>")
}

fn config(fields: &[(&str, &str)]) -> String {
    form("http://jabber.org/protocol/pubsub#node_config", fields)
}

fn parent(of: &str) -> String {
    config(&[("{urn:xmpp:pubsub-relationships:0}parent", of)])
}

fn create(name: &str, config: &str) -> String {
    format!("<create node='{name}'/><configure>{config}</configure>")
}

fn set(to: &str, kind: &str, inside: &str) -> String {
    format!(
        "<iq type='set' id='s' to='{to}'><pubsub xmlns='http://jabber.org/protocol/pubsub{kind}'>{inside}</pubsub></iq>"
    )
}

/// Discovery of what is around a node, the page behind `after`.
fn around(to: &str, node: &str, fields: &[(&str, &str)], after: Option<&str>) -> String {
    let form = form("urn:xmpp:pubsub-ext-disco:0", fields);
    let after = after.map(|after| format!("<after>{after}</after>")).unwrap_or_default();
    format!(
        "<iq type='get' id='a' to='{to}'><query xmlns='http://jabber.org/protocol/disco#items' node='{node}'>{form}\
         <set xmlns='http://jabber.org/protocol/rsm'>{after}</set></query></iq>"
    )
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(inside, _)| inside)
}

fn attributes(text: &str, name: &str) -> Vec<String> {
    let start = format!(" {name}='");
    let items = text.split("<item ").skip(1);
    items.filter_map(|item| between(item, &start, "'").map(str::to_owned)).collect()
}

#[tokio::test]
async fn who_deletes_much_lets_others_in_between() {
    let stage = Stage::new().await;
    let juliet = stage.log_in(JULIET, &[]).await;
    let (phone, laptop) =
        (stage.log_in("juliet@example.com/phone", &[]).await, stage.log_in("juliet@example.com/laptop", &[]).await);
    for actor in [&juliet, &phone, &laptop] {
        actor.read().await;
    }
    for (name, ties) in [("top", config(&[])), ("other", config(&[])), ("sub", parent("other"))] {
        assert!(juliet.set(HOME, &create(name, &ties)).await.contains("type='result'"));
    }
    for number in 0..160 {
        let above = if number < 20 { "top".to_owned() } else { format!("n{}", number % 20) };
        juliet.send(&set(HOME, "", &create(&format!("n{number}"), &parent(&above)))).await;
        juliet.take();
    }
    let order = RefCell::new(Vec::new());
    let delete = async {
        juliet.send(&set(HOME, "#owner", "<delete node='top'/>")).await;
        order.borrow_mut().push("delete");
    };
    // A form that is sent back as it was.
    let configure = async {
        tokio::task::yield_now().await;
        let form = config(&[("{urn:xmpp:pubsub-relationships:0}parent", "other"), ("pubsub#title", "Title")]);
        phone.send(&set(HOME, "#owner", &format!("<configure node='sub'>{form}</configure>"))).await;
        order.borrow_mut().push("configure");
    };
    // And changes of ties: one elsewhere, and one that comes below what is being deleted.
    let relate = async {
        tokio::task::yield_now().await;
        laptop.send(&set(HOME, "", &create("new", &parent("other")))).await;
        order.borrow_mut().push("relate");
        laptop.send(&set(HOME, "", &create("late", &parent("top")))).await;
        order.borrow_mut().push("late");
    };
    tokio::join!(delete, configure, relate);
    assert_eq!(order.into_inner(), ["configure", "relate", "late", "delete"]);
    assert!(phone.take().iter().any(|answer| answer.contains("type='result'")));
    let answers = laptop.take();
    assert_eq!(answers.iter().filter(|answer| answer.contains("type='result'")).count(), 2, "{answers:?}");
    juliet.take();
    let all = format!("<iq type='get' id='d' to='{HOME}'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>");
    assert_eq!(attributes(&juliet.ask(&all).await, "node"), ["new", "other", "sub"]);
    let sub = juliet.own("get", "<configure node='sub'/>").await;
    assert!(sub.contains("<value>other</value>") && sub.contains("<value>Title</value>"), "{sub}");
}

#[tokio::test]
async fn a_removed_account_leaves_no_related_nodes() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    let open = ("pubsub#access_model", "open");
    for (name, above) in [("a", None), ("b", Some("a")), ("c", None), ("d", Some("c"))] {
        let tie = above.map(|above| ("{urn:xmpp:pubsub-relationships:0}parent", above));
        let fields: Vec<_> = [Some(open), tie].into_iter().flatten().collect();
        assert!(juliet.set(HOME, &create(name, &config(&fields))).await.contains("type='result'"));
    }
    stage.router.close_account(&juliet.session.jid.bare()).await;
    for name in ["a", "b", "c", "d"] {
        let read = romeo.get(HOME, &format!("<items node='{name}'/>")).await;
        assert!(read.contains("item-not-found"), "{name}: {read}");
    }
}

#[tokio::test]
async fn all_items_are_discovered_though_they_are_large_but_those_of_whom_one_blocks() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    let nurse = stage.log_in("nurse@example.com/chamber", &[]).await;
    let fields = [("pubsub#access_model", "open"), ("pubsub#publish_model", "open"), ("pubsub#max_items", "max")];
    juliet.set(HOME, &create("wall", &config(&fields))).await;
    let large = "x".repeat(150_000);
    for number in 10..22 {
        let publish = format!("<publish node='wall'><item id='{number}'><x xmlns='urn:x'>{large}</x></item></publish>");
        assert!(juliet.set(HOME, &publish).await.contains("type='result'"));
    }
    let publish = "<publish node='wall'><item id='his'><x xmlns='urn:x'/></item></publish>";
    assert!(romeo.set(HOME, publish).await.contains("type='result'"));
    let mut expected: Vec<String> = (10..22).map(|number| number.to_string()).collect();
    let found = nurse.ask(&around(HOME, "wall", &[("type", "items")], None)).await;
    expected.push("his".to_owned());
    assert_eq!(attributes(&found, "name"), expected);
    nurse
        .ask("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='romeo@example.net'/></block></iq>")
        .await;
    nurse.read().await;
    expected.pop();
    let found = nurse.ask(&around(HOME, "wall", &[("type", "items")], None)).await;
    assert_eq!(attributes(&found, "name"), expected);
}

#[tokio::test]
async fn thousands_of_nodes_are_discovered_page_by_page() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    let service = "pubsub.example.com";
    let (mut all, mut open) = (Vec::new(), Vec::new());
    juliet.send(&set(service, "", &create("top", &config(&[])))).await;
    for branch in ["a", "b", "c", "d"] {
        juliet.send(&set(service, "", &create(branch, &parent("top")))).await;
        all.push(branch.to_owned());
        open.push(branch.to_owned());
        for number in 0..if branch == "d" { 1 } else { 700 } {
            let name = format!("{branch}{number:03}");
            let fields = [("{urn:xmpp:pubsub-relationships:0}parent", branch), ("pubsub#access_model", "whitelist")];
            juliet.send(&set(service, "", &create(&name, &config(&fields)))).await;
            all.push(name);
            juliet.take();
        }
    }
    // Those that one may not know of are looked at, too, and are in no answer.
    for (asker, expected) in [(&juliet, &all), (&romeo, &open)] {
        let (mut found, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
        loop {
            let page = around(service, "top", &[("type", "nodes"), ("depth", "2")], after.as_deref());
            let page = asker.ask(&page).await;
            assert!(page.contains("type='result'"), "{page}");
            found.extend(attributes(&page, "node"));
            let Some(last) = between(&page, "<last>", "</last>") else { break };
            let (length, rest) = last.split_once(':').unwrap();
            assert!(expected.iter().any(|name| *name == rest[..length.parse().unwrap()]), "{last}");
            after = Some(last.to_owned());
        }
        assert_eq!(&found, expected);
    }
}

#[tokio::test]
async fn a_search_among_much_ends_before_all_is_read() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    let large = "x".repeat(180_000);
    for number in 0..30 {
        juliet.post(&number.to_string(), &large).await;
    }
    let query = |with: &str| {
        format!(
            "<iq type='set' id='q' to='{HOME}'><query xmlns='urn:xmpp:mam:2' node='urn:xmpp:microblog:0'>{}\
             <set xmlns='http://jabber.org/protocol/rsm'><max>1</max></set></query></iq>",
            form("urn:xmpp:mam:2", &[("with", with)])
        )
    };
    let nothing = romeo.ask(&query("nurse@example.com")).await;
    assert!(nothing.contains("policy-violation"), "{nothing}");
    let first = romeo.ask(&query(HOME)).await;
    assert!(first.contains("<result"), "what is there is found");
}

#[tokio::test]
async fn what_one_may_not_know_of_is_walked_past_without_its_name() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    let service = "pubsub.example.com";
    for number in 0..2_100 {
        let closed = config(&[("pubsub#access_model", "whitelist")]);
        juliet.send(&set(service, "", &create(&format!("secret-{number:04}"), &closed))).await;
        juliet.take();
    }
    juliet.send(&set(service, "", &create("stage", &config(&[("pubsub#access_model", "open")])))).await;
    let page = async |after: &str| {
        let set = format!("<set xmlns='http://jabber.org/protocol/rsm'>{after}</set>");
        let query = format!("<query xmlns='http://jabber.org/protocol/disco#items'>{set}</query>");
        romeo.ask(&format!("<iq type='get' id='d' to='{service}'>{query}</iq>")).await
    };
    let first = page("").await;
    assert!(!first.contains("secret") && !first.contains("<item "), "{first}");
    let last = between(&first, "<last>", "</last>").expect("there is more");
    let second = page(&format!("<after>{last}</after>")).await;
    assert_eq!(attributes(&second, "node"), ["stage"]);
    assert!(!second.contains("secret"), "{second}");
    let forgotten = page("<after>urn:chirrup:onward:x</after>").await;
    assert!(forgotten.contains("item-not-found"), "{forgotten}");
}
