//! The feed that every account has before anything is posted there: who follows it makes it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod world;

use pubsub::config::{AccessModel, Bound};
use pubsub::request::{ItemsQuery, Values, name};
use pubsub::{Affiliation, Home, Refusal, Request, SubscriptionState};
use world::{World, bare, form, item, jid};

const JULIET: &str = "juliet@capulet.lit/balcony";
const ROMEO: &str = "romeo@montague.lit/orchard";
const BLOG: &str = "urn:xmpp:microblog:0";

fn subscribe(node: &str, who: &str) -> Request {
    Request::Subscribe { node: name(node), jid: jid(who), options: None }
}

fn post(id: &str, options: Option<Values>) -> Request {
    let entry = "<entry xmlns='http://www.w3.org/2005/Atom'><title>x</title></entry>";
    Request::Publish { node: name(BLOG), item: Some(item(Some(id), entry)), options }
}

#[test]
fn the_first_follower_makes_the_feed_of_its_owner() {
    let mut world = World::new(Home::Account);
    let decision = world.ask(ROMEO, &subscribe(BLOG, ROMEO)).unwrap();
    assert!(matches!(decision.reply, pubsub::Reply::Subscription { state: SubscriptionState::Subscribed, .. }));
    let stored = world.nodes[BLOG].clone();
    assert_eq!((&stored.node.creator, stored.node.tally.subscribers), (&bare("juliet@capulet.lit"), 1));
    assert_eq!(stored.affiliations, [].into());
    let mut other = World::new(Home::Account);
    other.ask(JULIET, &post("a", None)).unwrap();
    assert_eq!(stored.node.config, other.nodes[BLOG].node.config, "as the first post would have made it");
    // The next finds it; he who asks again has what he has.
    world.ask("nurse@capulet.lit/x", &subscribe(BLOG, "nurse@capulet.lit")).unwrap();
    world.ask(ROMEO, &subscribe(BLOG, ROMEO)).unwrap();
    assert_eq!(world.nodes[BLOG].node.tally.subscribers, 2);
    // It is hers, and nobody else's.
    assert_eq!(world.ask(ROMEO, &post("a", None)), Err(Refusal::Forbidden));
    world.ask(JULIET, &post("a", None)).unwrap();
    let read = Request::Items { node: name(BLOG), query: ItemsQuery::Latest(1), subid: None };
    world.ask(ROMEO, &read).unwrap();
}

#[test]
fn nothing_else_is_made_by_who_follows() {
    let refused = |change: fn(&mut World), home: Home, node: &str| {
        let mut world = World::new(home);
        change(&mut world);
        let refusal = world.ask(ROMEO, &subscribe(node, ROMEO)).unwrap_err();
        assert!(world.nodes.is_empty(), "{node}");
        refusal
    };
    for node in ["blog", "urn:xmpp:microblog:0:comments/1", "urn:xmpp:pubsub-social-feed:stories:0"] {
        assert_eq!(refused(|_| {}, Home::Account, node), Refusal::ItemNotFound);
    }
    assert_eq!(refused(|_| {}, Home::Service, BLOG), Refusal::ItemNotFound);
    assert_eq!(refused(|world| world.is_account = false, Home::Account, BLOG), Refusal::ItemNotFound);
    assert_eq!(refused(|world| world.limits.nodes_max = 0, Home::Account, BLOG), Refusal::ItemNotFound);
    let moved = |world: &mut World| drop(world.moved.insert(BLOG.to_owned(), "xmpp:x".into()));
    assert_eq!(refused(moved, Home::Account, BLOG), Refusal::Moved("xmpp:x".into()));
    let mut world = World::new(Home::Account);
    assert_eq!(world.ask(ROMEO, &subscribe(BLOG, "nurse@capulet.lit")), Err(Refusal::InvalidJid));
    assert!(world.nodes.is_empty());
}

/// To its owner it is new: followers must not decide who may read it.
#[test]
fn the_first_post_says_what_the_feed_is() {
    let options = || Some(form(&[("pubsub#access_model", "whitelist"), ("pubsub#max_items", "10")]));
    let mut world = World::new(Home::Account);
    world.ask(ROMEO, &subscribe(BLOG, ROMEO)).unwrap();
    world.ask(JULIET, &post("a", options())).unwrap();
    let config = &world.nodes[BLOG].node.config;
    assert_eq!((config.access_model, config.max_items), (AccessModel::Whitelist, Bound::Max));
    // From then on its options are compared with what it is.
    world.ask(JULIET, &post("b", options())).unwrap();
    let other = Some(form(&[("pubsub#access_model", "open")]));
    let refusal = Refusal::PreconditionNotMet("pubsub#access_model".to_owned());
    assert_eq!(world.ask(JULIET, &post("c", other)), Err(refusal.clone()));

    // So are those of a feed that she configured, or posted to.
    let narrow = Request::Configure { node: name(BLOG), config: Some(form(&[("pubsub#access_model", "presence")])) };
    for first in [narrow, post("a", None)] {
        let mut world = World::new(Home::Account);
        world.ask(ROMEO, &subscribe(BLOG, ROMEO)).unwrap();
        world.ask(JULIET, &first).unwrap();
        let wanted = Some(form(&[("pubsub#access_model", "whitelist")]));
        assert_eq!(world.ask(JULIET, &post("b", wanted)), Err(refusal.clone()));
    }

    // A publisher of hers is not she, and what cannot be is refused as ever.
    let mut world = World::new(Home::Account);
    world.ask(ROMEO, &subscribe(BLOG, ROMEO)).unwrap();
    world.node(BLOG).affiliations.insert(bare("nurse@capulet.lit"), Affiliation::Publisher);
    world.node(BLOG).node.tally.affiliations = 1;
    assert!(world.ask("nurse@capulet.lit/x", &post("a", options())).is_err());
    let unknown = Some(form(&[("pubsub#wonder", "1")]));
    assert!(matches!(world.ask(JULIET, &post("a", unknown)), Err(Refusal::InvalidOptions(_))));
    let tied = Some(form(&[("{urn:xmpp:pubsub-relationships:0}parent", "other")]));
    assert!(world.ask(JULIET, &post("a", tied)).is_err());
}
