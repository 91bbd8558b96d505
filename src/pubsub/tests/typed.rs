//! Nodes that are made with a type which is a profile (XEP-0472 section 6) begin as the profile says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod world;

use pubsub::config::{AccessModel, Bound, ItemReply, SendLast};
use pubsub::request::name;
use pubsub::{Home, NodeConfig, Request};
use world::{World, form, item};

const JULIET: &str = "juliet@capulet.lit/balcony";

fn made(home: Home, fields: &[(&str, &str)]) -> [NodeConfig; 2] {
    let create = Request::Create { node: Some(name("family")), config: Some(form(fields)) };
    let payload = item(Some("a"), "<entry xmlns='http://www.w3.org/2005/Atom'><title>x</title></entry>");
    let publish = Request::Publish { node: name("family"), item: Some(payload), options: Some(form(fields)) };
    [create, publish].map(|request| {
        let mut world = World::new(home);
        world.ask(JULIET, &request).unwrap();
        (*world.nodes["family"].node.config).clone()
    })
}

#[test]
fn a_typed_node_begins_as_its_profile_says() {
    for (home, access_model) in [(Home::Account, AccessModel::Presence), (Home::Service, AccessModel::Open)] {
        for kind in ["urn:xmpp:microblog:0", "urn:xmpp:pubsub-social-feed:1", "urn:xmpp:pubsub-social-feed:gallery:1"] {
            for config in made(home, &[("pubsub#type", kind)]) {
                assert_eq!(config.payload_type.as_deref(), Some(kind));
                assert_eq!((config.max_items, config.item_expire), (Bound::Max, Bound::Max), "{kind}");
                assert!(config.notify_retract && config.persist_items && config.deliver_payloads);
                assert_eq!(config.send_last_published_item, SendLast::Never);
                assert_eq!((config.itemreply, config.access_model), (ItemReply::Publisher, access_model));
            }
        }
        for config in made(home, &[("pubsub#type", "urn:xmpp:pubsub-social-feed:stories:0")]) {
            assert_eq!(config.item_expire, Bound::At(86_400));
        }
    }
}

#[test]
fn what_is_asked_for_counts_and_other_types_change_nothing() {
    let [plain, _] = made(Home::Account, &[("pubsub#title", "x")]);
    for config in made(Home::Account, &[("pubsub#title", "x"), ("pubsub#type", "urn:example:x")]) {
        assert_eq!(NodeConfig { payload_type: None, ..config }, plain);
    }
    let fields = [
        ("pubsub#max_items", "7"),
        ("pubsub#access_model", "whitelist"),
        ("pubsub#send_last_published_item", "on_sub"),
        ("pubsub#type", "urn:xmpp:pubsub-social-feed:1"),
    ];
    for config in made(Home::Account, &fields) {
        assert_eq!((config.max_items, config.access_model), (Bound::At(7), AccessModel::Whitelist));
        assert_eq!(config.send_last_published_item, SendLast::OnSub);
    }
}
