//! The specification's own examples, and what Movim and Converse really send, as vectors; and everything we write,
//! read again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod world;

use pubsub::config::{AccessModel, Bound, ItemReply, PublishModel};
use pubsub::request::{ItemsQuery, NewPayload, Values, Wanted, name};
use pubsub::wire::notification::{Origin, last_item, prefix, tail};
use pubsub::wire::reply::{Rendered, render, unmodified};
use pubsub::wire::{self, lists};
use pubsub::{
    Affiliation, Event, Home, Item, NodeConfig, Refusal, Reply, Request, SubId, Subscription, SubscriptionState,
    Timestamp,
};
use world::{World, bare, form, jid};
use xmpp::limits::Limits;
use xmpp::paging::Page;
use xmpp::{Element, Stanza, ns};

const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const OWNER: &str = "http://jabber.org/protocol/pubsub#owner";

fn element(text: &str) -> Element {
    xmpp::xml::parse_element(text.as_bytes(), "").unwrap()
}

fn parse(is_set: bool, namespace: &str, inside: &str) -> Result<Request, Refusal> {
    let pubsub = element(&format!("<pubsub xmlns='{namespace}'>{inside}</pubsub>"));
    if namespace == PUBSUB { wire::parse(is_set, &pubsub) } else { wire::parse_owner(is_set, &pubsub) }
}

fn musings() -> pubsub::model::NodeName {
    name("princely_musings")
}

#[test]
fn the_examples_of_xep_0060() {
    let francisco = || jid("francisco@denmark.lit");
    let page = xmpp::paging::Query::default();
    let table: Vec<(bool, &str, &str, Request)> = vec![
        (false, PUBSUB, "<subscriptions/>", Request::Subscriptions { node: None }),
        (false, PUBSUB, "<subscriptions node='princely_musings'/>", Request::Subscriptions { node: Some(musings()) }),
        (false, PUBSUB, "<affiliations/>", Request::Affiliations { node: None }),
        (false, PUBSUB, "<affiliations node='node6'/>", Request::Affiliations { node: Some(name("node6")) }),
        (
            true,
            PUBSUB,
            "<subscribe node='princely_musings' jid='francisco@denmark.lit'/>",
            Request::Subscribe { node: musings(), jid: francisco(), options: None },
        ),
        (
            true,
            PUBSUB,
            "<unsubscribe node='princely_musings' jid='francisco@denmark.lit' subid='b1'/>",
            Request::Unsubscribe { node: musings(), jid: francisco(), subid: Some("b1".into()) },
        ),
        (
            false,
            PUBSUB,
            "<options node='princely_musings' jid='francisco@denmark.lit'/>",
            Request::Options { node: musings(), jid: francisco(), subid: None },
        ),
        (
            true,
            PUBSUB,
            "<options node='princely_musings' jid='francisco@denmark.lit'><x xmlns='jabber:x:data' type='submit'>\
             <field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/pubsub#subscribe_options</value>\
             </field><field var='pubsub#deliver'><value>1</value></field>\
             <field var='pubsub#include_body'><value>false</value></field></x></options>",
            Request::SetOptions {
                node: musings(),
                jid: francisco(),
                subid: None,
                options: form(&[("pubsub#deliver", "1"), ("pubsub#include_body", "false")]),
            },
        ),
        (
            false,
            PUBSUB,
            "<items node='princely_musings'/>",
            Request::Items { node: musings(), query: ItemsQuery::Page(page.clone()), subid: None },
        ),
        (
            false,
            PUBSUB,
            "<items node='princely_musings' max_items='2'/>",
            Request::Items { node: musings(), query: ItemsQuery::Latest(2), subid: None },
        ),
        (
            false,
            PUBSUB,
            "<items node='princely_musings'><item id='368866411b877c30064a5f62b917cffe'/>\
             <item id='4e30f35051b7b8b42abe083742187228'/></items>",
            Request::Items {
                node: musings(),
                query: ItemsQuery::ByIds(vec![
                    "368866411b877c30064a5f62b917cffe".into(),
                    "4e30f35051b7b8b42abe083742187228".into(),
                ]),
                subid: None,
            },
        ),
        (
            true,
            PUBSUB,
            "<retract node='princely_musings' notify='true'><item id='ae890ac52d0df67ed7cfdf51b644e901'/></retract>",
            Request::Retract { node: musings(), id: "ae890ac52d0df67ed7cfdf51b644e901".into(), notify: true },
        ),
        (true, PUBSUB, "<create/>", Request::Create { node: None, config: None }),
        (
            true,
            PUBSUB,
            "<create node='princely_musings'/><configure/>",
            Request::Create { node: Some(musings()), config: None },
        ),
        (
            true,
            PUBSUB,
            "<create node='princely_musings'/><configure><x xmlns='jabber:x:data' type='submit'>\
             <field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/pubsub#node_config</value></field>\
             <field var='pubsub#access_model'><value>whitelist</value></field></x></configure>",
            Request::Create { node: Some(musings()), config: Some(form(&[("pubsub#access_model", "whitelist")])) },
        ),
        (false, OWNER, "<configure node='princely_musings'/>", Request::Configuration { node: musings() }),
        (
            true,
            OWNER,
            "<configure node='princely_musings'><x xmlns='jabber:x:data' type='cancel'/></configure>",
            Request::Configure { node: musings(), config: None },
        ),
        (false, OWNER, "<default/>", Request::DefaultConfiguration),
        (true, OWNER, "<delete node='princely_musings'/>", Request::Delete { node: musings(), redirect: None }),
        (
            true,
            OWNER,
            "<delete node='princely_musings'><redirect uri='xmpp:hamlet@denmark.lit?;node=blog'/></delete>",
            Request::Delete { node: musings(), redirect: Some("xmpp:hamlet@denmark.lit?;node=blog".into()) },
        ),
        (true, OWNER, "<purge node='princely_musings'/>", Request::Purge { node: musings() }),
        (
            false,
            OWNER,
            "<subscriptions node='princely_musings'/>",
            Request::Subscribers { node: musings(), page: page.clone() },
        ),
        (
            true,
            OWNER,
            "<subscriptions node='princely_musings'>\
             <subscription jid='polonius@denmark.lit' subid='7' subscription='none'/>\
             <subscription jid='bard@shakespeare.lit' subscription='subscribed'/></subscriptions>",
            Request::SetSubscribers {
                node: musings(),
                wanted: vec![
                    Wanted {
                        subid: Some("7".into()),
                        ..Wanted::all(jid("polonius@denmark.lit"), SubscriptionState::None)
                    },
                    Wanted::all(jid("bard@shakespeare.lit"), SubscriptionState::Subscribed),
                ],
            },
        ),
        (false, OWNER, "<affiliations node='princely_musings'/>", Request::Affiliated { node: musings(), page }),
        (
            true,
            OWNER,
            "<affiliations node='princely_musings'><affiliation jid='bard@shakespeare.lit' affiliation='publisher'/>\
             </affiliations>",
            Request::SetAffiliated {
                node: musings(),
                wanted: vec![(bare("bard@shakespeare.lit"), Some(Affiliation::Publisher))],
            },
        ),
    ];
    for (is_set, namespace, inside, request) in table {
        assert_eq!(parse(is_set, namespace, inside), Ok(request), "{inside}");
    }
}

#[test]
fn the_authorization_of_section_8_6() {
    let submit = |allow: &str, kind: &str| {
        element(&format!(
            "<x xmlns='jabber:x:data' type='{kind}'><field var='FORM_TYPE' type='hidden'>\
             <value>http://jabber.org/protocol/pubsub#subscribe_authorization</value></field>\
             <field var='pubsub#subid'><value>123-abc</value></field>\
             <field var='pubsub#node'><value>princely_musings</value></field>\
             <field var='pubsub#subscriber_jid'><value>horatio@denmark.lit</value></field>\
             <field var='pubsub#allow'><value>{allow}</value></field></x>"
        ))
    };
    for (word, allow) in [("true", true), ("1", true), ("false", false), ("0", false)] {
        let subid = Some("123-abc".into());
        let request = Request::Authorize { node: musings(), jid: jid("horatio@denmark.lit"), subid, allow };
        assert_eq!(wire::parse_authorization(&submit(word, "submit")), Some(request));
    }
    assert_eq!(wire::parse_authorization(&submit("true", "cancel")), None, "it remains pending");
    // The question we ask is one that can be answered.
    let asked = wire::authorization_request("princely_musings", &jid("horatio@denmark.lit"), SubId(17));
    let form = xmpp::form::Form::parse(&asked).unwrap();
    assert_eq!(form.value("pubsub#node"), Some("princely_musings"));
    assert_eq!(form.value("pubsub#subid"), Some("11"));
    assert_eq!(form.value("pubsub#subscriber_jid"), Some("horatio@denmark.lit"));
}

/// What social clients send with a post: all of it is understood, by a node that does not exist and by one that does.
const SOCIAL: &str = "<publish node='urn:xmpp:microblog:0'><item id='p1' publisher='mallory@evil.lit'>\
    <entry xmlns='http://www.w3.org/2005/Atom' xmlns:thr='http://purl.org/syndication/thread/1.0'>\
    <title type='text'>hanging out at the Café &amp; bar</title><thr:in-reply-to ref='tag:x'/></entry></item></publish>\
    <publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
    <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
    <field var='pubsub#persist_items'><value>true</value></field><field var='pubsub#max_items'><value>max</value></field>\
    <field var='pubsub#itemreply'><value>publisher</value></field><field var='pubsub#notify_sub'><value>1</value></field>\
    <field var='pubsub#notify_retract'><value>1</value></field>\
    <field var='pubsub#access_model'><value>open</value></field>\
    <field var='pubsub#send_last_published_item'><value>never</value></field>\
    <field var='pubsub#deliver_payloads'><value>true</value></field></x></publish-options>";

#[test]
fn what_movim_and_converse_publish() {
    let request = parse(true, PUBSUB, SOCIAL).unwrap();
    let mut world = World::new(Home::Account);
    for _ in 0..2 {
        let decision = world.ask("juliet@capulet.lit/balcony", &request).unwrap();
        assert_eq!(decision.notices.len(), 1);
    }
    let stored = world.node("urn:xmpp:microblog:0");
    let config = &stored.node.config;
    assert_eq!(
        (config.access_model, config.publish_model, config.max_items, config.itemreply, config.notify_sub),
        (AccessModel::Open, PublishModel::Publishers, Bound::Max, ItemReply::Publisher, true)
    );
    let item = stored.items.values().next().unwrap();
    assert_eq!(item.publisher, "juliet@capulet.lit", "whatever was said");
    assert_eq!((stored.items.len(), item.sequence), (1, 2), "an id published again is the newest item");
    // The payload says all its namespaces itself.
    let read = xmpp::xml::parse_element(&item.payload, "").unwrap();
    assert!(read.get_child("in-reply-to", "http://purl.org/syndication/thread/1.0").is_some());
    // A finite number of items is no precondition that fails where everything is kept.
    let finite = SOCIAL.replace("<value>max</value>", "<value>10</value>");
    assert!(world.ask("juliet@capulet.lit/balcony", &parse(true, PUBSUB, &finite).unwrap()).is_ok());
}

#[test]
fn payloads_that_are_none() {
    let of = |inside: &str| match parse(true, PUBSUB, &format!("<publish node='n'>{inside}</publish>")).unwrap() {
        Request::Publish { item, .. } => item.unwrap().payload,
        other => panic!("{other:?}"),
    };
    assert_eq!(of("<item/>"), NewPayload::None);
    assert_eq!(of("<item id=''> \n </item>"), NewPayload::None);
    assert_eq!(of("<item>text</item>"), NewPayload::Bad);
    assert_eq!(of("<item><a xmlns='urn:a'/><b xmlns='urn:b'/></item>"), NewPayload::Bad);
    assert_eq!(of("<item><a xmlns=''/></item>"), NewPayload::Bad, "of no namespace: it would change when spliced");
}

fn post() -> Item {
    Item {
        sequence: 7,
        id: "p'1<&>".into(),
        publisher: bare("juliet@capulet.lit"),
        published: Timestamp(0),
        updated: Timestamp(1_059_519_370_000),
        payload: b"<entry xmlns='http://www.w3.org/2005/Atom'><title>O &amp; O</title></entry>".to_vec().into(),
    }
}

/// A notification as a client reads it.
fn read(tail: &[u8]) -> Stanza {
    let mut bytes = Vec::new();
    prefix(&mut bytes, "ohara@capulet.lit/o'hara & more");
    bytes.extend_from_slice(tail);
    let stanza = Stanza::parse(bytes.into(), &Limits::server()).unwrap_or_else(|_| panic!("not a stanza"));
    assert_eq!(stanza.head.to.as_ref().unwrap().as_str(), "ohara@capulet.lit/o'hara & more");
    assert_eq!(stanza.head.from.as_ref().unwrap().as_str(), "juliet@capulet.lit");
    assert_eq!(stanza.head.id.as_deref(), Some("n1"));
    stanza
}

#[test]
fn every_notification_can_be_read() {
    let home = bare("juliet@capulet.lit");
    let config = NodeConfig::account(1000);
    let origin = Origin { home: &home, node: "no'de<", config: &config, id: "n1" };
    let event = |event: &Event| {
        let stanza = read(&tail(&origin, event, false));
        let event = stanza.content.child("event", ns::PUBSUB_EVENT).unwrap().open().unwrap();
        let child = event.children().next().unwrap().clone();
        assert_eq!(child.attr("node"), Some("no'de<"));
        child
    };
    let items = event(&Event::Published(post()));
    let item = items.get_child("item", ns::PUBSUB_EVENT).unwrap();
    assert_eq!((item.attr("id"), item.attr("publisher")), (Some("p'1<&>"), Some("juliet@capulet.lit")));
    assert_eq!(item.get_child("entry", ns::ATOM).unwrap().get_child("title", ns::ATOM).unwrap().text(), "O & O");
    assert_eq!(event(&Event::Pinged).children().count(), 0);
    let retracted = event(&Event::Retracted("p'1".into()));
    assert_eq!(retracted.get_child("retract", ns::PUBSUB_EVENT).unwrap().attr("id"), Some("p'1"));
    assert_eq!(event(&Event::Purged).name(), "purge");
    let deleted = event(&Event::Deleted(Some("xmpp:x?;node=y&z".into())));
    assert_eq!(deleted.get_child("redirect", ns::PUBSUB_EVENT).unwrap().attr("uri"), Some("xmpp:x?;node=y&z"));
    assert_eq!(event(&Event::Deleted(None)).children().count(), 0);
    assert!(event(&Event::Configured).get_child("x", ns::DATA_FORMS).is_some());
    let (romeo, id) = (jid("romeo@montague.lit/x"), SubId(31));
    let changed = event(&Event::Subscription { jid: romeo, id, state: SubscriptionState::None });
    assert_eq!((changed.attr("jid"), changed.attr("subscription")), (Some("romeo@montague.lit/x"), Some("none")));
    assert_eq!(changed.attr("subid"), Some("1f"));
    let affiliation = Event::Affiliation { jid: bare("romeo@montague.lit"), affiliation: Affiliation::Member };
    assert!(read(&tail(&origin, &affiliation, false)).content.has("pubsub", ns::PUBSUB));
    let wanted = Event::AuthorizationWanted { jid: jid("romeo@montague.lit"), id };
    assert!(read(&tail(&origin, &wanted, false)).content.has("x", ns::DATA_FORMS));
}

#[test]
fn variants_of_a_notification() {
    let home = bare("juliet@capulet.lit");
    let mut config = NodeConfig::account(1000);
    config.deliver_payloads = false;
    config.itemreply = ItemReply::None;
    let origin = Origin { home: &home, node: "node", config: &config, id: "n1" };
    let bytes = tail(&origin, &Event::Published(post()), true);
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(
        text.contains("<body>O &amp; O</body>") && !text.contains("<entry") && !text.contains("publisher"),
        "{text}"
    );
    assert!(text.contains("type='headline'"));
    let late = last_item(&origin, &post(), false);
    let stanza = read(&late);
    let delay = stanza.content.child("delay", ns::DELAY).unwrap().open().unwrap();
    assert_eq!(delay.attr("stamp"), Some("2003-07-29T22:56:10Z"));
    // The payload is spliced as it is stored.
    config.deliver_payloads = true;
    let origin = Origin { home: &home, node: "node", config: &config, id: "n1" };
    let bytes = tail(&origin, &Event::Published(post()), false);
    let payload = post().payload;
    assert!(bytes.windows(payload.len()).any(|window| window == payload));
}

#[test]
fn the_form_of_a_configuration_can_be_sent_back() {
    let mut config = NodeConfig::account(1000);
    config.title = Some("Balcony & more".into());
    config.roster_groups_allowed = vec!["Capulets".into(), "Servants".into()];
    config.contacts = vec![jid("nurse@capulet.lit")];
    let Rendered::Payload(bytes) = render(&Reply::Configuration(name("node"), config.clone()), Home::Account) else {
        panic!()
    };
    let text = String::from_utf8(bytes.to_vec()).unwrap().replace("type='form'", "type='submit'");
    let pubsub = element(&text);
    let Ok(Request::Configure { config: Some(Values(values)), .. }) = wire::parse_owner(true, &pubsub) else {
        panic!("{text}")
    };
    let mut read = NodeConfig::service(7);
    for (var, values) in values {
        let values: Vec<&str> = values.iter().map(|value| &**value).collect();
        (pubsub::config::field(&var).unwrap().set)(&mut read, &values).unwrap();
    }
    assert_eq!(read, config);
}

#[test]
fn every_answer_can_be_read() {
    let node = name("no'de");
    let options = pubsub::model::SubscriptionOptions::default();
    let romeo = jid("romeo@montague.lit");
    let replies = [
        Reply::Created(node.clone()),
        Reply::Published { node: node.clone(), id: Some("<1>".into()) },
        Reply::Published { node: node.clone(), id: None },
        Reply::Subscription {
            node: node.clone(),
            jid: romeo.clone(),
            id: SubId(1),
            state: SubscriptionState::Pending,
            options: Some(options),
        },
        Reply::Options { node: node.clone(), jid: romeo.clone(), id: Some(SubId(1)), options },
        Reply::Configuration(node.clone(), NodeConfig::service(1)),
        Reply::DefaultConfiguration(NodeConfig::service(1)),
    ];
    for reply in &replies {
        let Rendered::Payload(bytes) = render(reply, Home::Account) else { panic!("{reply:?}") };
        assert_eq!(xmpp::xml::parse_element(&bytes, "").unwrap().name(), "pubsub", "{reply:?}");
    }
    let config = NodeConfig::service(1000);
    let mut list = lists::Items::new(&node, &config, 100);
    list.push(&post());
    list.push(&Item { id: "2".into(), payload: bytes::Bytes::new(), ..post() });
    let page = Page { first: Some("a&b".into()), last: Some("2".into()), index: Some(0), count: Some(2) };
    let read = xmpp::xml::parse_element(&list.finish(Some(&page)), "").unwrap();
    let items = read.get_child("items", ns::PUBSUB).unwrap();
    assert_eq!(items.attr("node"), Some("no'de"));
    assert_eq!(items.children().count(), 2);
    assert!(items.children().next().unwrap().get_child("entry", ns::ATOM).is_some());
    assert_eq!(Page::parse_set(read.get_child("set", ns::RSM).unwrap()).unwrap(), page);

    let home = bare("juliet@capulet.lit");
    let entries =
        pubsub::decision::Unmodified::Subscriptions(node.clone(), vec![(romeo.clone(), None, SubscriptionState::None)]);
    let mut world = World::new(Home::Account);
    world.ask("juliet@capulet.lit/x", &Request::Create { node: Some(node.clone()), config: None }).unwrap();
    let stored = world.node("no'de").node.clone();
    let (state, options) = (SubscriptionState::Subscribed, pubsub::model::SubscriptionOptions::default());
    let row = Subscription { jid: romeo, id: SubId(1), state, since: 1, after: 0, options };
    let lists = [
        lists::own_subscriptions(None, [("a", &row)]),
        lists::own_affiliations(Some("a"), [("a", Affiliation::Owner)]),
        lists::subscribers("a", [&row], Some(&page)),
        lists::affiliated("a", [(&home, Affiliation::Owner)], None),
        lists::node_information(&stored, std::slice::from_ref(&home), &[]),
        lists::node_items(&home, "a", ["1", "2"], Some(&page)),
        lists::nodes(&home, [("a", Some("A & B")), ("b", None)], None),
        unmodified(&entries),
    ];
    for bytes in lists {
        assert!(xmpp::xml::parse_element(&bytes, "").is_ok(), "{}", String::from_utf8_lossy(&bytes));
    }
}
