//! A small world for the engine: what a server would keep in a store, in maps; what is not declared as needed is
//! poisoned, so that a decision that reads it is noticed.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};

use pubsub::model::ItemHead;
use pubsub::request::{Entity, NewItem, NewPayload, Relation, Values, name};
use pubsub::{
    Affiliation, Caller, Change, Decision, Home, Item, Limits, Node, NodeConfig, Refusal, Request, SubId, Subscription,
    SubscriptionState, Timestamp, View, decide,
};
use xmpp::jid::{BareJid, Jid};

pub fn bare(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

pub fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

/// The values of a submitted form.
pub fn form(fields: &[(&str, &str)]) -> Values {
    Values(fields.iter().map(|(var, value)| ((*var).into(), vec![(*value).into()])).collect())
}

pub fn item(id: Option<&str>, payload: &str) -> NewItem {
    let payload = if payload.is_empty() {
        NewPayload::None
    } else {
        pubsub::wire::payload(&xmpp::xml::parse_element(payload.as_bytes(), "").unwrap())
    };
    NewItem { id: id.map(Into::into), payload }
}

pub fn publish(node: &str, id: &str) -> Request {
    Request::Publish { node: name(node), item: Some(item(Some(id), "<x xmlns='urn:x'/>")), options: None }
}

#[derive(Clone, Debug)]
pub struct Stored {
    pub node: Node,
    pub items: BTreeMap<u64, Item>,
    pub subscriptions: BTreeMap<(Jid, SubId), Subscription>,
    pub affiliations: BTreeMap<BareJid, Affiliation>,
}

impl Stored {
    pub fn config(&mut self, change: impl FnOnce(&mut NodeConfig)) {
        let mut config = (*self.node.config).clone();
        change(&mut config);
        self.node.config = config.into();
    }
}

#[derive(Clone, Debug)]
pub struct World {
    pub home: Home,
    pub address: BareJid,
    pub nodes: BTreeMap<String, Stored>,
    pub moved: BTreeMap<String, Box<str>>,
    pub relations: BTreeMap<BareJid, Relation>,
    pub may_create: bool,
    /// Whether the account is there.
    pub is_account: bool,
    pub limits: Limits,
    pub now: Timestamp,
    fresh: u64,
}

impl World {
    pub fn new(home: Home) -> Self {
        let address = match home {
            Home::Account => "juliet@capulet.lit",
            Home::Service => "pubsub.capulet.lit",
        };
        Self {
            home,
            address: bare(address),
            nodes: BTreeMap::new(),
            moved: BTreeMap::new(),
            relations: BTreeMap::new(),
            may_create: true,
            is_account: true,
            limits: Limits::default(),
            now: Timestamp(1_000_000),
            fresh: 0,
        }
    }

    pub fn node(&mut self, name: &str) -> &mut Stored {
        self.nodes.get_mut(name).unwrap()
    }

    fn head(item: &Item) -> ItemHead {
        ItemHead {
            sequence: item.sequence,
            id: item.id.clone(),
            publisher: item.publisher.clone(),
            published: item.published,
        }
    }

    fn subscriptions_of(stored: &Stored, entity: &BareJid) -> Vec<Subscription> {
        stored.subscriptions.values().filter(|one| one.jid.to_bare() == *entity).cloned().collect()
    }

    pub fn view(&mut self, caller: &Caller, request: &Request) -> View {
        let stored = request.node().and_then(|name| self.nodes.get(&**name));
        let needs = request.needs(self.home, &self.address, caller, stored.map(|stored| &stored.node));
        let mut view = View::new(self.home, self.address.clone(), stored.map(|stored| stored.node.clone()));
        view.limits = self.limits;
        // Poison: who reads what it did not ask for finds a banned stranger.
        view.affiliation = Affiliation::Outcast;
        if let Some(stored) = stored {
            if needs.affiliation {
                view.affiliation = stored.affiliations.get(&caller.bare).copied().unwrap_or_default();
            }
            if let Some(entity) = &needs.subscriptions_of {
                view.subscriptions = Self::subscriptions_of(stored, entity);
            }
            if let Some(id) = &needs.item {
                view.item = stored.items.values().find(|item| item.id == *id).map(Self::head);
            }
            if needs.oldest {
                view.oldest = stored.items.values().next().map(Self::head);
            }
            if needs.newest {
                view.newest = stored.items.values().next_back().map(Self::head);
            }
            for jid in &needs.entities {
                let entity = jid.to_bare();
                view.entities.push(Entity {
                    jid: jid.clone(),
                    affiliation: stored.affiliations.get(&entity).copied().unwrap_or_default(),
                    subscriptions: Self::subscriptions_of(stored, &entity),
                });
            }
        }
        if needs.relation {
            view.relation = self.relations.get(&caller.bare).cloned().unwrap_or_default();
        }
        if needs.creation {
            view.nodes = self.nodes.len() as u64;
            view.may_create = self.may_create;
            view.is_account = self.is_account;
        }
        if needs.moved {
            view.moved = request.node().and_then(|name| self.moved.get(&**name)).cloned();
        }
        if needs.creators_items {
            view.creators_items = self.nodes.values().map(|stored| stored.node.tally.items).sum();
        }
        if needs.fresh {
            self.fresh += 1;
            view.fresh = format!("fresh-{}", self.fresh).into();
        }
        view
    }

    /// Asks, and does what was decided.
    pub fn ask(&mut self, who: &str, request: &Request) -> Result<Decision, Refusal> {
        let caller = Caller::new(jid(who));
        let view = self.view(&caller, request);
        let decision = decide(&view, &caller, request, self.now)?;
        let name = match (request.node(), &decision.reply) {
            (Some(name), _) | (None, pubsub::Reply::Created(name)) => name.to_string(),
            _ => String::new(),
        };
        self.apply(&name, &decision);
        Ok(decision)
    }

    pub fn apply(&mut self, name: &str, decision: &Decision) {
        for change in &decision.changes {
            if let Change::CreateNode(node) = change {
                let stored = Stored {
                    node: node.clone(),
                    items: BTreeMap::new(),
                    subscriptions: BTreeMap::new(),
                    affiliations: BTreeMap::new(),
                };
                assert!(self.nodes.insert(name.to_owned(), stored).is_none(), "a node is created twice");
                continue;
            }
            if let Change::Redirect(uri) = change {
                self.moved.insert(name.to_owned(), uri.clone());
                continue;
            }
            if *change == Change::DeleteNode {
                self.nodes.remove(name);
                continue;
            }
            let stored = self.node(name);
            match change {
                Change::Tally(tally) => {
                    assert_eq!(tally.version, stored.node.tally.version + 1, "one decision, one version");
                    stored.node.tally = *tally;
                }
                Change::Configure(config) => stored.node.config = config.clone().into(),
                Change::PutItem(item) => {
                    assert!(stored.items.values().all(|other| other.id != item.id), "an id is used twice");
                    assert!(stored.items.keys().all(|other| *other < item.sequence), "an item is not the newest");
                    stored.items.insert(item.sequence, item.clone());
                }
                Change::DropItem { sequence, id } => {
                    let dropped = stored.items.remove(sequence);
                    assert_eq!(dropped.map(|item| item.id).as_ref(), Some(id));
                }
                Change::TrimTo(kept) => {
                    while stored.items.len() as u64 > *kept {
                        stored.items.pop_first();
                    }
                }
                Change::Purge => stored.items.clear(),
                Change::SetSubscriptions(jid, rows) => {
                    stored.subscriptions.retain(|(one, _), _| one != jid);
                    for row in rows {
                        assert_eq!(row.jid, *jid, "another's subscription");
                        let before = stored.subscriptions.insert((jid.clone(), row.id), row.clone());
                        assert!(before.is_none(), "an identifier is used twice");
                    }
                }
                Change::SetAffiliation(entity, affiliation) => {
                    stored.affiliations.remove(entity);
                    if *affiliation != Affiliation::None {
                        stored.affiliations.insert(entity.clone(), *affiliation);
                    }
                }
                Change::CreateNode(_) | Change::DeleteNode | Change::Redirect(_) => {}
            }
        }
        if let Some(stored) = self.nodes.get(name) {
            Self::check(stored);
        }
    }

    /// The counters say what is there.
    fn check(stored: &Stored) {
        let tally = stored.node.tally;
        assert_eq!(tally.items, stored.items.len() as u64, "items");
        let is_subscribed = |one: &&Subscription| one.state == SubscriptionState::Subscribed;
        let told: BTreeSet<&Jid> = stored.subscriptions.values().filter(is_subscribed).map(|one| &one.jid).collect();
        assert_eq!(tally.subscribers, told.len() as u64, "subscribers");
        let all: BTreeSet<&Jid> = stored.subscriptions.values().map(|one| &one.jid).collect();
        let has_several = |jid: &&&Jid| stored.subscriptions.keys().filter(|(one, _)| one == **jid).count() > 1;
        assert_eq!(tally.multiples, all.iter().filter(has_several).count() as u64, "multiples");
        let is_owner = |one: &&Affiliation| **one == Affiliation::Owner;
        assert_eq!(tally.owners, stored.affiliations.values().filter(is_owner).count() as u64, "owners");
        assert_eq!(tally.affiliations, stored.affiliations.len() as u64, "affiliations");
        assert!(stored.items.keys().all(|sequence| *sequence <= tally.sequence));
        assert!(stored.subscriptions.values().all(|one| one.since <= tally.version));
    }
}
