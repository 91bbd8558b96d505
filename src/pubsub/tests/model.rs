//! Random sequences of requests, and what must hold after each: the counters are true (checked by the world), nobody
//! reads or changes what a simple model of the rules denies, and nobody else's items change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod world;

use proptest::prelude::*;
use pubsub::config::{AccessModel, Bound, NodeFull, PublishModel};
use pubsub::request::{ItemsQuery, Relation, Wanted, name};
use pubsub::{Affiliation, Audience, Event, Home, Refusal, Request, SubscriptionState};
use world::{Stored, World, bare, form, jid, publish};

const PEOPLE: [&str; 4] = ["juliet@capulet.lit", "romeo@montague.lit", "nurse@capulet.lit", "tybalt@capulet.lit"];
const NODES: [&str; 3] = ["node", "urn:xmpp:microblog:0:comments/1", "urn:xmpp:pubsub:subscription"];

#[derive(Clone, Debug)]
enum Act {
    Create,
    Delete,
    Purge,
    Publish(u8),
    Retract(u8),
    Subscribe(u8, bool),
    Unsubscribe(u8),
    UnsubscribeOne(u8, u8),
    Authorize(u8, bool),
    SetSubscriber(u8, u8),
    SetAffiliation(u8, u8),
    Configure(&'static str, &'static str),
    Befriend(u8, bool),
}

fn acts() -> impl Strategy<Value = Act> {
    let settings = prop::sample::select(vec![
        ("pubsub#access_model", "open"),
        ("pubsub#access_model", "presence"),
        ("pubsub#access_model", "whitelist"),
        ("pubsub#access_model", "authorize"),
        ("pubsub#publish_model", "open"),
        ("pubsub#publish_model", "subscribers"),
        ("pubsub#publish_model", "publishers"),
        ("pubsub#max_items", "1"),
        ("pubsub#max_items", "3"),
        ("pubsub#max_items", "max"),
        ("pubsub#publish_node_full", "reject"),
        ("pubsub#publish_node_full", "retract-oldest"),
        ("pubsub#persist_items", "0"),
        ("pubsub#persist_items", "1"),
        ("pubsub#subscribe", "1"),
        ("pubsub#notify_sub", "1"),
        ("pubsub#send_last_published_item", "on_sub"),
    ]);
    prop_oneof![
        2 => Just(Act::Create),
        1 => Just(Act::Delete),
        1 => Just(Act::Purge),
        8 => (0u8..5).prop_map(Act::Publish),
        3 => (0u8..5).prop_map(Act::Retract),
        4 => (0u8..3, any::<bool>()).prop_map(|(resource, body)| Act::Subscribe(resource, body)),
        2 => (0u8..3, 0u8..3).prop_map(|(resource, which)| Act::UnsubscribeOne(resource, which)),
        2 => (0u8..3).prop_map(Act::Unsubscribe),
        2 => (0u8..4, any::<bool>()).prop_map(|(who, allow)| Act::Authorize(who, allow)),
        2 => (0u8..4, 0u8..3).prop_map(|(who, state)| Act::SetSubscriber(who, state)),
        3 => (0u8..4, 0u8..6).prop_map(|(who, affiliation)| Act::SetAffiliation(who, affiliation)),
        4 => settings.prop_map(|(var, value)| Act::Configure(var, value)),
        1 => (0u8..4, any::<bool>()).prop_map(|(who, sees)| Act::Befriend(who, sees)),
    ]
}

fn person(number: u8) -> &'static str {
    PEOPLE[usize::from(number) % PEOPLE.len()]
}

fn address(who: &str, resource: u8) -> String {
    if resource == 0 { who.to_owned() } else { format!("{who}/{resource}") }
}

fn affiliation(world: &World, stored: &Stored, who: &str) -> Affiliation {
    if world.home == Home::Account && who == world.address.as_str() {
        return Affiliation::Owner;
    }
    stored.affiliations.get(&bare(who)).copied().unwrap_or_default()
}

fn is_subscribed(stored: &Stored, who: &str) -> bool {
    let mut own = stored.subscriptions.values().filter(|one| one.jid.to_bare() == *who);
    own.any(|one| one.state == SubscriptionState::Subscribed)
}

/// The rules again, said another way.
fn model_reads(world: &World, stored: &Stored, who: &str) -> bool {
    match affiliation(world, stored, who) {
        Affiliation::Owner | Affiliation::Publisher | Affiliation::Member => true,
        Affiliation::PublishOnly | Affiliation::Outcast => false,
        Affiliation::None => match stored.node.config.access_model {
            AccessModel::Open => true,
            AccessModel::Presence | AccessModel::Roster => {
                world.relations.get(&bare(who)).is_some_and(|relation| relation.sees_presence)
            }
            AccessModel::Authorize => is_subscribed(stored, who),
            AccessModel::Whitelist => false,
        },
    }
}

fn model_publishes(world: &World, stored: &Stored, who: &str) -> bool {
    match affiliation(world, stored, who) {
        Affiliation::Owner | Affiliation::Publisher | Affiliation::PublishOnly => true,
        Affiliation::Outcast => false,
        _ => match stored.node.config.publish_model {
            PublishModel::Open => true,
            PublishModel::Subscribers => is_subscribed(stored, who),
            PublishModel::Publishers => false,
        },
    }
}

fn request(world: &World, node: &str, act: &Act, who: &str) -> Option<Request> {
    let node = name(node);
    let states = [SubscriptionState::None, SubscriptionState::Pending, SubscriptionState::Subscribed];
    Some(match act {
        Act::Create => Request::Create { node: Some(node), config: None },
        Act::Delete => Request::Delete { node, redirect: None },
        Act::Purge => Request::Purge { node },
        Act::Publish(id) => {
            let mut request = publish(&node, &id.to_string());
            if node.contains("microblog")
                && let Request::Publish { item, .. } = &mut request
            {
                *item = Some(world::item(Some(&id.to_string()), "<entry xmlns='http://www.w3.org/2005/Atom'/>"));
            }
            request
        }
        Act::Retract(id) => Request::Retract { node, id: id.to_string().into(), notify: true },
        Act::Subscribe(resource, body) => {
            let options = body.then(|| form(&[("pubsub#include_body", "1")]));
            Request::Subscribe { node, jid: jid(&address(who, *resource)), options }
        }
        Act::Unsubscribe(resource) => Request::Unsubscribe { node, jid: jid(&address(who, *resource)), subid: None },
        Act::UnsubscribeOne(resource, which) => {
            let jid = jid(&address(who, *resource));
            let rows = world.nodes.get(&*node)?.subscriptions.keys();
            let mut ids = rows.filter(|(one, _)| *one == jid).map(|(_, id)| id.to_string().into());
            let subid = ids.nth(usize::from(*which)).or(Some("0".into()));
            Request::Unsubscribe { node, jid, subid }
        }
        Act::Authorize(whom, allow) => Request::Authorize { node, jid: jid(person(*whom)), subid: None, allow: *allow },
        Act::SetSubscriber(whom, state) => Request::SetSubscribers {
            node,
            wanted: vec![Wanted {
                jid: jid(person(*whom)),
                subid: None,
                state: states.get(usize::from(*state)).copied(),
            }],
        },
        Act::SetAffiliation(whom, affiliation) => Request::SetAffiliated {
            node,
            wanted: vec![(bare(person(*whom)), Affiliation::ALL.get(usize::from(*affiliation)).copied())],
        },
        Act::Configure(var, value) => Request::Configure { node, config: Some(form(&[(*var, *value)])) },
        Act::Befriend(..) => return None,
    })
}

fn step(world: &mut World, who: &str, node: &str, act: &Act) {
    if let Act::Befriend(whom, sees) = act {
        let relation = Relation { sees_presence: *sees, groups: vec![] };
        world.relations.insert(bare(person(*whom)), relation);
        return;
    }
    let Some(request) = request(world, node, act, who) else { return };
    let before = world.nodes.get(node).cloned();
    let answer = world.ask(&address(who, 1), &request);
    let after = world.nodes.get(node).cloned();

    if let (Some(before), Act::Publish(_)) = (&before, act) {
        let may = model_publishes(world, before, who);
        assert!(may || answer == Err(Refusal::Forbidden), "{who} publishes: {answer:?}");
    }
    if let Err(refusal) = &answer {
        assert!(after.as_ref().map(|after| &after.items) == before.as_ref().map(|before| &before.items), "{refusal:?}");
        return;
    }
    if let (Some(before), Some(after)) = (&before, &after) {
        let is_owner = affiliation(world, before, who) == Affiliation::Owner;
        let is_trimmed = after.node.config.max_items != Bound::Max && after.node.config.node_full != NodeFull::Reject;
        for (sequence, item) in &before.items {
            let is_gone = !after.items.contains_key(sequence);
            assert!(!is_gone || is_owner || item.publisher == *who || is_trimmed, "{who} removed {item:?}");
        }
        for (sequence, item) in &after.items {
            if !before.items.contains_key(sequence) {
                assert_eq!(item.publisher, *who, "the publisher is who published");
            }
        }
        if let Bound::At(max) = after.node.config.max_items {
            assert!(after.items.len() as u64 <= max, "more items than may be kept");
        }
        if world.home == Home::Service {
            assert!(after.node.tally.owners > 0, "somebody must own it");
        }
        for subscription in after.subscriptions.values() {
            let of = affiliation(world, after, subscription.jid.to_bare().as_str());
            assert!(!matches!(of, Affiliation::Outcast | Affiliation::PublishOnly), "{subscription:?} of {of:?}");
        }
    }
    // A last item goes to who may read it, and notices carry the version they came of.
    let decision = answer.unwrap();
    for notice in &decision.notices {
        if let (Some(after), Event::LastItem, Audience::One(to)) = (&after, &notice.event, &notice.audience) {
            assert!(!after.items.is_empty() && after.subscriptions.keys().any(|(jid, _)| jid == to));
        }
        if let Some(after) = &after {
            assert_eq!(notice.version, after.node.tally.version);
        }
    }
    // Who may read, by the model, is who reads.
    for who in PEOPLE {
        let Some(stored) = world.nodes.get(node).cloned() else { continue };
        let read = Request::Items { node: name(node), query: ItemsQuery::Latest(1), subid: None };
        let is_refused = match world.ask(who, &read) {
            Ok(_) => false,
            // Who may read, and has several subscriptions, says by which.
            Err(refusal) => !matches!(refusal, Refusal::Unsupported("persistent-items") | Refusal::SubIdRequired),
        };
        assert_eq!(!is_refused, model_reads(world, &stored, who), "{who} reads {node}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn the_rules_hold_whatever_is_asked(
        is_account: bool,
        acts in proptest::collection::vec((0u8..4, 0usize..3, acts()), 1..80),
    ) {
        let mut world = World::new(if is_account { Home::Account } else { Home::Service });
        for node in NODES {
            let request = Request::Create { node: Some(name(node)), config: None };
            world.ask(PEOPLE[0], &request).unwrap();
        }
        for (who, node, act) in acts {
            // The first person owns what there is at the beginning, and acts more often.
            let who = if who > 1 { PEOPLE[0] } else { person(who + 1) };
            step(&mut world, who, NODES[node], &act);
        }
    }
}
