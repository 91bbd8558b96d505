//! Every way to say no is provoked, and says what XEP-0060 says it must.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod world;

use std::collections::BTreeSet;

use pubsub::config::{AccessModel, Bound, NodeFull};
use pubsub::decide::{Related, relate};
use pubsub::model::TIED_MAX;
use pubsub::order::{By, Order};
use pubsub::profile::attachments::{Attached, Summary, node_of};
use pubsub::request::{ItemsQuery, NewItem, NewPayload, Relation, Wanted, name};
use pubsub::{Affiliation, Home, NodeConfig, Refusal, Request, Subscription, SubscriptionState, wire};
use world::{World, bare, form, item, jid, publish};
use xmpp::paging;
use xmpp::stanza::{Condition, ErrorType};

const JULIET: &str = "juliet@capulet.lit/balcony";
const ROMEO: &str = "romeo@montague.lit/orchard";

/// The names of all variants, so that one nobody provokes is missed. The match does not compile without a new one.
fn variant(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Forbidden => "Forbidden",
        Refusal::ItemNotFound => "ItemNotFound",
        Refusal::Moved(_) => "Moved",
        Refusal::NodeExists => "NodeExists",
        Refusal::PresenceSubscriptionRequired => "PresenceSubscriptionRequired",
        Refusal::NotInRosterGroup => "NotInRosterGroup",
        Refusal::ClosedNode => "ClosedNode",
        Refusal::NotSubscribed => "NotSubscribed",
        Refusal::NoSuchSubscription => "NoSuchSubscription",
        Refusal::SubIdRequired => "SubIdRequired",
        Refusal::InvalidSubId => "InvalidSubId",
        Refusal::PendingSubscription => "PendingSubscription",
        Refusal::InvalidJid => "InvalidJid",
        Refusal::JidRequired => "JidRequired",
        Refusal::TooManySubscriptions => "TooManySubscriptions",
        Refusal::TooManyAffiliations(_) => "TooManyAffiliations",
        Refusal::NodeIdRequired => "NodeIdRequired",
        Refusal::NameTooLong(_) => "NameTooLong",
        Refusal::ItemRequired => "ItemRequired",
        Refusal::ItemForbidden => "ItemForbidden",
        Refusal::OneItemOnly => "OneItemOnly",
        Refusal::PayloadRequired => "PayloadRequired",
        Refusal::InvalidPayload => "InvalidPayload",
        Refusal::PayloadTooBig { .. } => "PayloadTooBig",
        Refusal::NodeFull => "NodeFull",
        Refusal::PreconditionNotMet(_) => "PreconditionNotMet",
        Refusal::InvalidOptions(_) => "InvalidOptions",
        Refusal::BadConfiguration(_) => "BadConfiguration",
        Refusal::UnsupportedAccessModel(_) => "UnsupportedAccessModel",
        Refusal::Unsupported(_) => "Unsupported",
        Refusal::MaxNodesExceeded => "MaxNodesExceeded",
        Refusal::CreatorFull(_) => "CreatorFull",
        Refusal::BatchTooBig(_) => "BatchTooBig",
        Refusal::TooManyToSort(_) => "TooManyToSort",
        Refusal::CompareFailed(_) => "CompareFailed",
        Refusal::InvalidRelationship(_) => "InvalidRelationship",
        Refusal::TooManyRelated(_) => "TooManyRelated",
        Refusal::Unmodified(_) => "Unmodified",
        Refusal::Ambiguous => "Ambiguous",
        Refusal::MayNotCreate => "MayNotCreate",
        Refusal::KeptByService => "KeptByService",
        Refusal::AttachmentId => "AttachmentId",
        Refusal::InvalidAttachments(_) => "InvalidAttachments",
        Refusal::TooManyReactions => "TooManyReactions",
        Refusal::Malformed(_) => "Malformed",
    }
}

const VARIANTS: usize = 45;

/// Who asks.
const OWNER: &str = JULIET;
const STRANGER: &str = ROMEO;

type Case = (&'static str, Refusal, ErrorType, Condition, Option<&'static str>);

struct Collected {
    provoked: BTreeSet<&'static str>,
}

impl Collected {
    fn expect(&mut self, refusal: Result<impl std::fmt::Debug, Refusal>, case: Case) {
        let (what, expected, error_type, condition, specific) = case;
        let refusal = refusal.expect_err(what);
        // What is said in words is not compared.
        let is_wordy = matches!(
            expected,
            Refusal::Malformed(_)
                | Refusal::InvalidRelationship(_)
                | Refusal::InvalidAttachments(_)
                | Refusal::BadConfiguration(_)
                | Refusal::InvalidOptions(_)
                | Refusal::UnsupportedAccessModel(_)
        );
        if !is_wordy {
            assert_eq!(refusal, expected, "{what}");
        }
        assert_eq!(variant(&refusal), variant(&expected), "{what}");
        let row = refusal.row();
        assert_eq!((row.error_type, row.condition, row.specific), (error_type, condition, specific), "{what}");
        let error = refusal.to_error();
        assert_eq!(error.condition, condition);
        assert_eq!(error.specific.map(|element| element.name().to_owned()).as_deref(), specific, "{what}");
        self.provoked.insert(variant(&refusal));
    }
}

/// A world with the node `node`, owned by Juliet.
fn world() -> World {
    let mut world = World::new(Home::Account);
    world.ask(OWNER, &Request::Create { node: Some(name("node")), config: None }).unwrap();
    world.node("node").config(|config| {
        config.access_model = AccessModel::Open;
        config.max_items = Bound::Max;
    });
    world
}

fn with(change: impl FnOnce(&mut pubsub::NodeConfig)) -> World {
    let mut world = world();
    world.node("node").config(change);
    world
}

fn items() -> Request {
    Request::Items { node: name("node"), query: ItemsQuery::Latest(1), subid: None }
}

fn subscribe(who: &str) -> Request {
    Request::Subscribe { node: name("node"), jid: jid(who), options: None }
}

fn parsed(is_set: bool, inside: &str) -> Result<Request, Refusal> {
    let text = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{inside}</pubsub>");
    wire::parse(is_set, &xmpp::xml::parse_element(text.as_bytes(), "").unwrap())
}

fn publishing(payload: &str) -> Request {
    Request::Publish { node: name("node"), item: Some(item(None, payload)), options: None }
}

#[test]
fn every_refusal_is_provoked_and_says_what_it_must() {
    use Condition as C;
    use ErrorType::{Auth, Cancel, Modify, Wait};
    let mut all = Collected { provoked: BTreeSet::new() };
    let romeo = bare("romeo@montague.lit");

    // Section 6.1.3 and 6.5.9: subscribing and reading.
    let outcast = || {
        let mut world = world();
        world.node("node").affiliations.insert(romeo.clone(), Affiliation::Outcast);
        world.node("node").node.tally.affiliations = 1;
        world
    };
    for request in [subscribe(STRANGER), items(), publish("node", "1")] {
        all.expect(outcast().ask(STRANGER, &request), ("an outcast", Refusal::Forbidden, Auth, C::Forbidden, None));
    }
    let gone = Request::Items { node: name("gone"), query: ItemsQuery::Latest(1), subid: None };
    all.expect(world().ask(STRANGER, &gone), ("no node", Refusal::ItemNotFound, Cancel, C::ItemNotFound, None));
    let mut left = world();
    let redirect = Some("xmpp:juliet@capulet.lit?;node=blog".into());
    left.ask(OWNER, &Request::Delete { node: name("node"), redirect }).unwrap();
    let moved = Refusal::Moved("xmpp:juliet@capulet.lit?;node=blog".into());
    for request in [subscribe(STRANGER), items()] {
        all.expect(left.ask(STRANGER, &request), ("moved", moved.clone(), Modify, C::Gone, None));
    }
    left.ask(OWNER, &Request::Create { node: Some(name("node")), config: None }).expect("the name is free");
    let presence = with(|config| config.access_model = AccessModel::Presence);
    for request in [subscribe(STRANGER), items()] {
        let case = (
            "presence",
            Refusal::PresenceSubscriptionRequired,
            Auth,
            C::NotAuthorized,
            Some("presence-subscription-required"),
        );
        all.expect(presence.clone().ask(STRANGER, &request), case);
    }
    let mut roster = with(|config| {
        config.access_model = AccessModel::Roster;
        config.roster_groups_allowed = vec!["Capulets".into()];
    });
    roster.relations.insert(romeo.clone(), Relation { sees_presence: true, groups: vec!["Montagues".into()] });
    let case = ("group", Refusal::NotInRosterGroup, Auth, C::NotAuthorized, Some("not-in-roster-group"));
    all.expect(roster.ask(STRANGER, &subscribe(STRANGER)), case);
    let mut whitelist = with(|config| config.access_model = AccessModel::Whitelist);
    let case = ("whitelist", Refusal::ClosedNode, Cancel, C::NotAllowed, Some("closed-node"));
    all.expect(whitelist.ask(STRANGER, &items()), case);
    let mut authorize = with(|config| config.access_model = AccessModel::Authorize);
    let case = ("not subscribed", Refusal::NotSubscribed, Auth, C::NotAuthorized, Some("not-subscribed"));
    all.expect(authorize.ask(STRANGER, &items()), case);
    authorize.ask(STRANGER, &subscribe(STRANGER)).unwrap();
    let case = ("pending", Refusal::PendingSubscription, Auth, C::NotAuthorized, Some("pending-subscription"));
    all.expect(authorize.ask(STRANGER, &subscribe(STRANGER)), case);
    let case = ("another's address", Refusal::InvalidJid, Modify, C::BadRequest, Some("invalid-jid"));
    all.expect(world().ask(STRANGER, &subscribe("mercutio@verona.lit")), case);
    let mut crowded = world();
    for number in 0..crowded.limits.subscriptions_per_jid_max {
        crowded.ask(STRANGER, &subscribe(&format!("romeo@montague.lit/{number}"))).unwrap();
    }
    let case = ("too many", Refusal::TooManySubscriptions, Wait, C::PolicyViolation, Some("too-many-subscriptions"));
    all.expect(crowded.ask(STRANGER, &subscribe(STRANGER)), case);
    let mut full = world();
    full.limits.subscriptions_per_node_max = 0;
    let case = ("a full node", Refusal::TooManySubscriptions, Wait, C::PolicyViolation, Some("too-many-subscriptions"));
    all.expect(full.ask(STRANGER, &subscribe(STRANGER)), case.clone());
    // XEP-0497: those who look further have a bound of their own, and one that looks further already may go on.
    let mut watched = world();
    watched.limits.extended_per_node_max = 1;
    let far = Some(form(&[("{urn:xmpp:pubsub-ext-sub:0}depth", "-1")]));
    let reach = |who: &str| Request::Subscribe { node: name("node"), jid: jid(who), options: Clone::clone(&far) };
    watched.ask(OWNER, &reach(OWNER)).unwrap();
    watched.ask(STRANGER, &subscribe(STRANGER)).unwrap();
    all.expect(watched.ask(STRANGER, &reach(STRANGER)), case.clone());
    let set = |who: &str, depth| Request::SetOptions {
        node: name("node"),
        jid: jid(who),
        subid: None,
        options: form(&[("{urn:xmpp:pubsub-ext-sub:0}depth", depth)]),
    };
    all.expect(watched.ask(STRANGER, &set(STRANGER, "1")), case);
    watched.ask(OWNER, &set(OWNER, "3")).unwrap();
    watched.ask(OWNER, &set(OWNER, "0")).unwrap();
    watched.ask(STRANGER, &set(STRANGER, "1")).unwrap();
    let case = (
        "no subscriptions here",
        Refusal::Unsupported("subscribe"),
        Cancel,
        C::FeatureNotImplemented,
        Some("unsupported"),
    );
    all.expect(with(|config| config.subscribe = false).ask(STRANGER, &subscribe(STRANGER)), case);

    // Section 6.2.3.
    let leave = Request::Unsubscribe { node: name("node"), jid: jid(STRANGER), subid: None };
    let case = ("not subscribed", Refusal::NoSuchSubscription, Cancel, C::UnexpectedRequest, Some("not-subscribed"));
    all.expect(world().ask(STRANGER, &leave), case);
    all.expect(world().ask(OWNER, &leave), ("another's", Refusal::Forbidden, Auth, C::Forbidden, None));

    // Sections 6.3.4 and 6.3.6.
    let case = ("no address", Refusal::JidRequired, Modify, C::BadRequest, Some("jid-required"));
    all.expect(parsed(false, "<options node='node'/>"), case);
    let mut subscribed = world();
    subscribed.ask(STRANGER, &subscribe(STRANGER)).unwrap();
    let odd = Request::SetOptions {
        node: name("node"),
        jid: jid(STRANGER),
        subid: None,
        options: form(&[("pubsub#keywords", "x")]),
    };
    let case =
        ("an unknown option", Refusal::InvalidOptions(String::new()), Modify, C::BadRequest, Some("invalid-options"));
    all.expect(subscribed.ask(STRANGER, &odd), case);

    // Sections 6.2.3.1, 6.2.3.5, 6.3.4.4, 6.3.4.5, 6.5.9.1, 6.5.9.2: who has several subscriptions says which is meant.
    let mut twice = world();
    twice.ask(STRANGER, &subscribe(STRANGER)).unwrap();
    let options = Some(form(&[("pubsub#include_body", "1")]));
    twice.ask(STRANGER, &Request::Subscribe { node: name("node"), jid: jid(STRANGER), options }).unwrap();
    for (subid, case) in [
        (None, ("which?", Refusal::SubIdRequired, Modify, C::BadRequest, Some("subid-required"))),
        (Some("0"), ("none such", Refusal::InvalidSubId, Modify, C::NotAcceptable, Some("invalid-subid"))),
        (Some("F00"), ("not ours", Refusal::InvalidSubId, Modify, C::NotAcceptable, Some("invalid-subid"))),
    ] {
        let (node, jid, subid) = (name("node"), jid(STRANGER), subid.map(Into::into));
        for request in [
            Request::Unsubscribe { node: node.clone(), jid: jid.clone(), subid: Clone::clone(&subid) },
            Request::Options { node: node.clone(), jid: jid.clone(), subid: Clone::clone(&subid) },
            Request::SetOptions { node: node.clone(), jid, subid: Clone::clone(&subid), options: form(&[]) },
            Request::Items { node, query: ItemsQuery::Latest(1), subid },
        ] {
            all.expect(twice.ask(STRANGER, &request), case.clone());
        }
    }

    // Section 7.1.3.
    all.expect(
        world().ask(STRANGER, &publish("node", "1")),
        ("a stranger publishes", Refusal::Forbidden, Auth, C::Forbidden, None),
    );
    all.expect(
        world().ask(STRANGER, &publish("new", "1")),
        ("a stranger, no node", Refusal::ItemNotFound, Cancel, C::ItemNotFound, None),
    );
    let mut small = with(|config| config.payload_bytes_max = 10);
    let case =
        ("big", Refusal::PayloadTooBig { bytes: 18, bytes_max: 10 }, Modify, C::NotAcceptable, Some("payload-too-big"));
    let refusal = small.ask(OWNER, &publishing("<x xmlns='urn:x'/>"));
    assert!(refusal.as_ref().unwrap_err().text().unwrap().contains("at most 10"), "the limit is said");
    all.expect(refusal, case);
    let case = ("two payloads", Refusal::InvalidPayload, Modify, C::BadRequest, Some("invalid-payload"));
    let bad = Request::Publish {
        node: name("node"),
        item: Some(NewItem { id: None, payload: NewPayload::Bad }),
        options: None,
    };
    all.expect(world().ask(OWNER, &bad), case.clone());
    let tune = Request::Publish {
        node: name("urn:xmpp:microblog:0"),
        item: Some(item(None, "<x xmlns='urn:x'/>")),
        options: None,
    };
    all.expect(world().ask(OWNER, &tune), case);
    let none = Request::Publish { node: name("node"), item: None, options: None };
    let case = ("no item", Refusal::ItemRequired, Modify, C::BadRequest, Some("item-required"));
    all.expect(world().ask(OWNER, &none), case);
    let case = ("no payload", Refusal::PayloadRequired, Modify, C::BadRequest, Some("payload-required"));
    all.expect(world().ask(OWNER, &publishing("")), case);
    let mut doorbell = with(|config| (config.persist_items, config.deliver_payloads) = (false, false));
    let case = ("an item at the doorbell", Refusal::ItemForbidden, Modify, C::BadRequest, Some("item-forbidden"));
    all.expect(doorbell.ask(OWNER, &publishing("")), case);
    assert!(doorbell.ask(OWNER, &none).is_ok());
    let case = ("two items", Refusal::OneItemOnly, Cancel, C::NotAllowed, Some("max-items-exceeded"));
    all.expect(parsed(true, "<publish node='n'><item/><item/></publish>"), case);
    let mut full = with(|config| (config.max_items, config.node_full) = (Bound::At(1), NodeFull::Reject));
    full.ask(OWNER, &publish("node", "1")).unwrap();
    full.ask(OWNER, &publish("node", "1")).unwrap();
    let case = ("full", Refusal::NodeFull, Cancel, C::Conflict, Some("node-full"));
    all.expect(full.ask(OWNER, &publish("node", "2")), case.clone());
    let mut quota = world();
    quota.limits.items_per_node_max = 1;
    quota.ask(OWNER, &publish("node", "1")).unwrap();
    all.expect(quota.ask(OWNER, &publish("node", "2")), case);

    // Section 7.1.5.
    let options = |fields: &[(&str, &str)]| Request::Publish {
        node: name("node"),
        item: Some(item(None, "<x xmlns='urn:x'/>")),
        options: Some(form(fields)),
    };
    let case = (
        "a precondition",
        Refusal::PreconditionNotMet("pubsub#access_model".into()),
        Cancel,
        C::Conflict,
        Some("precondition-not-met"),
    );
    all.expect(world().ask(OWNER, &options(&[("pubsub#max_items", "max"), ("pubsub#access_model", "presence")])), case);
    assert!(world().ask(OWNER, &options(&[("pubsub#access_model", "open"), ("pubsub#persist_items", "true")])).is_ok());
    for fields in [&[("pubsub#unheard_of", "1")], &[("pubsub#max_items", "many")]] {
        let case =
            ("an option", Refusal::InvalidOptions(String::new()), Modify, C::BadRequest, Some("invalid-options"));
        all.expect(world().ask(OWNER, &options(fields)), case);
    }

    // Section 7.2.3.
    let retract = |id: &str| Request::Retract { node: name("node"), id: id.into(), notify: false };
    all.expect(world().ask(OWNER, &retract("1")), ("no item", Refusal::ItemNotFound, Cancel, C::ItemNotFound, None));
    let case = ("no node named", Refusal::NodeIdRequired, Modify, C::BadRequest, Some("nodeid-required"));
    all.expect(parsed(true, "<retract><item id='1'/></retract>"), case);
    for inside in ["<retract node='n'/>", "<retract node='n'><item/></retract>"] {
        let case = ("no item named", Refusal::ItemRequired, Modify, C::BadRequest, Some("item-required"));
        all.expect(parsed(true, inside), case);
    }
    let mut transient = with(|config| config.persist_items = false);
    let case = (
        "nothing kept",
        Refusal::Unsupported("persistent-items"),
        Cancel,
        C::FeatureNotImplemented,
        Some("unsupported"),
    );
    for request in [retract("1"), items(), Request::Purge { node: name("node") }] {
        all.expect(transient.ask(OWNER, &request), case.clone());
    }

    // Sections 8.1 to 8.5.
    let create = |node: &str| Request::Create { node: Some(name(node)), config: None };
    all.expect(world().ask(OWNER, &create("node")), ("it exists", Refusal::NodeExists, Cancel, C::Conflict, None));
    all.expect(world().ask(STRANGER, &create("mine")), ("not his", Refusal::MayNotCreate, Auth, C::Forbidden, None));
    let mut many = world();
    many.limits.nodes_max = 1;
    let case = ("many", Refusal::MaxNodesExceeded, Cancel, C::NotAllowed, Some("max-nodes-exceeded"));
    all.expect(many.ask(OWNER, &create("another")), case);
    let mut service = World::new(Home::Service);
    service.limits.items_per_creator_max = 1;
    service.ask(OWNER, &create("node")).unwrap();
    service.ask(OWNER, &publish("node", "1")).unwrap();
    service.ask(OWNER, &publish("node", "1")).expect("an item may be replaced");
    let case = ("a creator's items", Refusal::CreatorFull(1), Wait, C::ResourceConstraint, None);
    all.expect(service.ask(OWNER, &publish("node", "2")), case);
    let mut service = World::new(Home::Service);
    let case = (
        "an access model",
        Refusal::UnsupportedAccessModel(String::new()),
        Modify,
        C::NotAcceptable,
        Some("unsupported-access-model"),
    );
    let config = Some(form(&[("pubsub#access_model", "presence")]));
    all.expect(service.ask(STRANGER, &Request::Create { node: Some(name("n")), config }), case.clone());
    let config = Some(form(&[("pubsub#access_model", "all")]));
    all.expect(world().ask(OWNER, &Request::Configure { node: name("node"), config }), case);
    for (var, value) in [("pubsub#node_type", "collection"), ("pubsub#purge_offline", "1")] {
        let request = Request::Configure { node: name("node"), config: Some(form(&[(var, value)])) };
        let case = ("a bad value", Refusal::BadConfiguration(String::new()), Modify, C::NotAcceptable, None);
        all.expect(world().ask(OWNER, &request), case);
    }
    for request in [
        Request::Configuration { node: name("node") },
        Request::Configure { node: name("node"), config: None },
        Request::Delete { node: name("node"), redirect: None },
        Request::Purge { node: name("node") },
        Request::Subscribers { node: name("node"), page: Default::default() },
        Request::SetSubscribers { node: name("node"), wanted: vec![] },
        Request::Affiliated { node: name("node"), page: Default::default() },
        Request::SetAffiliated { node: name("node"), wanted: vec![] },
        Request::Authorize { node: name("node"), jid: jid(STRANGER), subid: None, allow: true },
    ] {
        all.expect(world().ask(STRANGER, &request), ("not the owner", Refusal::Forbidden, Auth, C::Forbidden, None));
    }
    let long = "n".repeat(2000);
    let case = ("a long name", Refusal::NameTooLong(1023), Modify, C::NotAcceptable, None);
    all.expect(world().ask(OWNER, &create(&long)), case.clone());
    all.expect(world().ask(OWNER, &publish("node", &long)), case);

    // Sections 8.8 and 8.9.
    let set = |wanted: Vec<(_, _)>| Request::SetAffiliated { node: name("node"), wanted };
    let juliet = bare("juliet@capulet.lit");
    let refusal = world()
        .ask(OWNER, &set(vec![(juliet.clone(), Some(Affiliation::None)), (romeo.clone(), Some(Affiliation::Member))]));
    let entries = pubsub::decision::Unmodified::Affiliations(name("node"), vec![(juliet, Affiliation::Owner)]);
    let case = ("the owner stays", Refusal::Unmodified(Box::new(entries)), Modify, C::NotAcceptable, None);
    all.expect(refusal, case);
    let twice = set(vec![(romeo.clone(), Some(Affiliation::Member)), (romeo.clone(), Some(Affiliation::Outcast))]);
    all.expect(world().ask(OWNER, &twice), ("twice", Refusal::Ambiguous, Modify, C::BadRequest, None));
    let crowd = set((0..101).map(|n| (bare(&format!("a{n}@b.lit")), Some(Affiliation::Member))).collect());
    all.expect(world().ask(OWNER, &crowd), ("a crowd", Refusal::BatchTooBig(100), Modify, C::PolicyViolation, None));
    let mut unsorted = world();
    unsorted.limits.sorted_items_max = 0;
    unsorted.ask(OWNER, &publish("node", "one")).unwrap();
    let order = Order { by: By::Creation, is_descending: false };
    let query = ItemsQuery::Ordered { order, newest: None, page: paging::Query::default() };
    let sorted = Request::Items { node: name("node"), query, subid: None };
    let case = ("too many to sort", Refusal::TooManyToSort(0), Modify, C::PolicyViolation, None);
    all.expect(unsorted.ask(OWNER, &sorted), case);
    let compared = form(&[("pubsub#prev_item_cap_value", "1")]);
    let known = Request::Publish {
        node: name("node"),
        item: Some(item(Some("two"), "<a xmlns='b'/>")),
        options: Some(compared),
    };
    let case = ("another is newest", Refusal::CompareFailed(None), Modify, C::Conflict, Some("precondition-not-met"));
    all.expect(world().ask(OWNER, &known), case);
    let tied = NodeConfig { parent: Some("above".into()), ..NodeConfig::service(0) };
    let above = Related { line: vec!["above".into()], may_publish: true, ..Related::default() };
    let many = Related { tied: TIED_MAX, ..above.clone() };
    let case = ("tied by too many", Refusal::TooManyRelated(TIED_MAX), Modify, C::PolicyViolation, None);
    all.expect(relate("node", &tied, &many), case);
    let circle = Related { line: vec!["above".into(), "node".into()], ..above };
    let case = ("a circle", Refusal::InvalidRelationship(""), Cancel, C::NotAllowed, Some("invalid-option"));
    all.expect(relate("node", &tied, &circle), case);
    let mut closed = world();
    closed.limits.affiliations_per_node_max = 0;
    let one = set(vec![(romeo, Some(Affiliation::Member))]);
    all.expect(closed.ask(OWNER, &one), ("no more", Refusal::TooManyAffiliations(0), Cancel, C::NotAllowed, None));
    let case = ("nonsense", Refusal::Malformed(""), Modify, C::BadRequest, None);
    for (is_set, inside) in [(true, ""), (true, "<items node='n'/>"), (false, "<items node='n' max_items='x'/>")] {
        all.expect(parsed(is_set, inside), case.clone());
    }

    // XEP-0470: what the service keeps.
    let attachments = node_of(&bare("juliet@capulet.lit"), "node", "item");
    let make = Request::Create { node: Some(name(&attachments)), config: None };
    all.expect(
        World::new(Home::Account).ask(OWNER, &make),
        ("kept", Refusal::KeptByService, Cancel, C::NotAllowed, None),
    );
    let mut liked = world();
    let guard = liked.node("node").node.clone();
    let kept = pubsub::decide::create_kept(&guard, &attachments, &liked.limits, liked.now);
    liked.node("node").node = kept;
    let stored = liked.nodes.remove("node").unwrap();
    liked.nodes.insert(attachments.clone(), stored);
    let attach = |id: &str, inside: &str| {
        let payload = format!("<attachments xmlns='urn:xmpp:pubsub-attachments:1'>{inside}</attachments>");
        Request::Publish { node: name(&attachments), item: Some(item(Some(id), &payload)), options: None }
    };
    liked.ask(STRANGER, &attach("romeo@montague.lit", "<noticed/>")).unwrap();
    let forged = attach("nurse@capulet.lit", "<noticed/>");
    all.expect(liked.ask(STRANGER, &forged), ("forged", Refusal::AttachmentId, Modify, C::BadRequest, None));
    let word = attach("romeo@montague.lit", "<reactions><reaction>word</reaction></reactions>");
    let case = ("no emoji", Refusal::InvalidAttachments(""), Modify, C::BadRequest, Some("invalid-payload"));
    all.expect(liked.ask(STRANGER, &word), case);
    let kinds = (0..=256).map(|number| (char::from_u32(0x1_f300 + number).unwrap().to_string().into(), 1));
    let mut full = Summary { noticed: 0, reactions: kinds.collect() };
    let more = full.change(&Attached::default(), &Attached::default());
    all.expect(more, ("all kinds", Refusal::TooManyReactions, Cancel, C::ResourceConstraint, None));

    assert_eq!(all.provoked.len(), VARIANTS, "some refusal was never provoked; these were: {:?}", all.provoked);
}

#[test]
fn an_owner_cannot_subscribe_whom_the_node_does_not_admit() {
    let mut world = with(|config| config.access_model = AccessModel::Whitelist);
    let wanted = vec![Wanted::all(jid(STRANGER), SubscriptionState::Subscribed)];
    let request = Request::SetSubscribers { node: name("node"), wanted };
    assert_eq!(variant(&world.ask(OWNER, &request).unwrap_err()), "Unmodified");
    let admit = Request::SetAffiliated {
        node: name("node"),
        wanted: vec![(bare("romeo@montague.lit"), Some(Affiliation::Member))],
    };
    world.ask(OWNER, &admit).unwrap();
    world.ask(OWNER, &request).unwrap();
    let found: Vec<Subscription> = world.node("node").subscriptions.values().cloned().collect();
    assert_eq!(found.len(), 1);
    // Shut out again, the subscription goes too.
    let shut = Request::SetAffiliated {
        node: name("node"),
        wanted: vec![(bare("romeo@montague.lit"), Some(Affiliation::None))],
    };
    world.ask(OWNER, &shut).unwrap();
    assert!(world.node("node").subscriptions.is_empty());
}

#[test]
fn a_lease_ends_when_it_is_over_and_not_before() {
    let mut world = world();
    let end = world.now.plus_seconds(3600);
    let with = |text: &str| Request::Subscribe {
        node: name("node"),
        jid: jid(STRANGER),
        options: Some(form(&[("pubsub#expire", text)])),
    };
    for bad in ["presence", "1970-01-01T00:00:01Z", "soon"] {
        assert_eq!(variant(&world.ask(STRANGER, &with(bad)).unwrap_err()), "InvalidOptions", "{bad}");
    }
    world.ask(STRANGER, &with(&end.to_string())).unwrap();
    let rows: Vec<Subscription> = world.node("node").subscriptions.values().cloned().collect();
    assert_eq!(rows[0].options.expire, Some(end));
    let early = pubsub::decide::lapse(&world.node("node").node, &rows, end, pubsub::Timestamp(end.0 - 1));
    assert!(early.changes.is_empty() && early.notices.is_empty());
    // Who is reminded is reminded a day before, and once: what was noted for another end is no more.
    let day_before = |end: pubsub::Timestamp| pubsub::Timestamp(end.0.saturating_sub(86_400_000));
    let mut later = rows.clone();
    later[0].options.expire = Some(end.plus_seconds(86_400));
    let node = world.node("node").node.clone();
    let reminder = pubsub::decide::lapse(&node, &later, day_before(later[0].options.expire.unwrap()), end);
    assert!(reminder.changes.is_empty() && reminder.notices.len() == 1);
    assert!(pubsub::decide::lapse(&node, &later, day_before(end), end).notices.is_empty());
    let decision = pubsub::decide::lapse(&world.node("node").node, &rows, end, end);
    world.apply("node", &decision);
    assert!(world.node("node").subscriptions.is_empty());
    assert_eq!(world.node("node").node.tally.subscribers, 0);
    assert_eq!(decision.notices.len(), 1, "who was subscribed is told");
    // A lease as long as anyone likes is as long as there are leases.
    world.ask(STRANGER, &with("9999-12-31T23:59:59Z")).unwrap();
    let longest = world.now.plus_seconds(world.limits.lease_seconds_max);
    assert!(world.node("node").subscriptions.values().all(|one| one.options.expire == Some(longest)));
}
