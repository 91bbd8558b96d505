//! XEP-0060 and XEP-0163: every account a pubsub service, and services with a domain of their own (`service`).
//!
//! Takes requests to both, loads what each needs, has the engine decide, commits, answers, and queues the notices;
//! the rules themselves are in the room `pubsub`. Also tells newest items to who comes online (`last`), answers
//! discovery of accounts and their nodes (`discovery`), and removes what has expired.

mod apart;
mod approval;
mod archives;
mod contacts;
mod discovery;
mod ensemble;
mod expiry;
mod extended;
mod features;
mod feeds;
mod floods;
pub(super) mod happenings;
mod last;
mod likes;
mod lists;
mod notified;
mod onward;
mod order;
mod pending;
mod public;
mod relations;
mod serve;
mod service;
pub mod step;
mod surroundings;
mod tags;
mod types;
mod unposted;

pub use contacts::Rosters;
pub use public::{Share, is_public};
pub use serve::Failure;
pub use service::{Create, Hosting, Section};

use std::sync::{Arc, Weak};

use pubsub::{Home, Limits};
use xmpp::{BareJid, ns};

use crate::config::Config;
use crate::extension::{Extension, Identity, Kit, Mount, Spec, To, Xep};
use crate::extensions::timeline::Timeline;
use crate::fanout::Fanout;
use crate::fanout::contacts::Contacts;
use crate::router::Router;
use crate::runtime::{Clock, Ids};
use crate::tables::accounts::Accounts;
use crate::tables::directory::Directory;
use crate::tables::nodes::Nodes;
use crate::tables::tagged::{Tagged, TaggedPosts};
use crate::tables::turns::Turns;

/// Pubsub at accounts and services.
pub struct Pep {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    nodes: Arc<Nodes>,
    fanout: Fanout,
    contacts: Arc<dyn Contacts>,
    accounts: Arc<Accounts>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    limits: Limits,
    /// A page of results is no heavier than this, so that it fits into a mailbox beside other things.
    results_bytes_max: usize,
    hosting: Hosting,
    mirrors: Vec<Arc<dyn step::Mirror>>,
    /// Held by who changes several of an account's nodes at once.
    turns: Turns,
    /// Held by who changes how a home's nodes are related.
    relation_turns: Turns,
    timeline: Arc<Timeline>,
    storms: likes::storms::Storms,
    floods: floods::Floods,
    tagged: TaggedPosts,
    directory: Directory,
    /// Held by who changes what is listed of an account's posts.
    tag_turns: Turns,
    /// How far what is listed was looked at.
    tag_round: tokio::sync::Mutex<Option<Tagged>>,
    onward: onward::Onward,
}

static SPEC: Spec = Spec {
    name: "pep",
    xeps: &[
        Xep::partial(59, "1.0"),
        Xep::partial(60, "1.30.0"),
        Xep::partial(163, "1.2.2"),
        Xep::complete(222, "1.0"),
        Xep::complete(223, "1.1.1"),
        Xep::partial(277, "0.6.5"),
        Xep::complete(346, "0.2"),
        Xep::partial(395, "0.2.0"),
        Xep::complete(413, "0.2.1"),
        Xep::complete(442, "0.2.0"),
        Xep::partial(470, "0.2.0"),
        Xep::complete(462, "0.1.1"),
        Xep::partial(472, "0.2.1"),
        Xep::complete(496, "0.1.0"),
        Xep::complete(497, "0.1.0"),
        Xep::complete(499, "0.1.0"),
        Xep::complete(501, "0.2.0"),
        Xep::complete(503, "0.3.0"),
        Xep::complete(508, "0.1.0"),
    ],
    config: service::EXAMPLE,
};

impl Pep {
    /// Pubsub over `nodes`, for the contacts that `contacts` knows; what is published goes into timelines, and `mirrors`
    /// keep something in step with nodes of accounts. Starts the tasks that tell.
    #[must_use]
    pub fn new(
        kit: &Kit,
        accounts: &Arc<Accounts>,
        contacts: &Arc<dyn Contacts>,
        (nodes, timeline): (&Arc<Nodes>, &Arc<Timeline>),
        config: &Config,
        hosting: Hosting,
        mirrors: Vec<Arc<dyn step::Mirror>>,
    ) -> Arc<Self> {
        let bounds = &config.limits;
        let limits = Limits {
            payload_bytes_max: bounds.pubsub_payload_bytes_max as u64,
            nodes_max: bounds.pubsub_nodes_per_account_max as u64,
            items_per_node_max: bounds.pubsub_items_per_node_max as u64,
            subscriptions_per_node_max: bounds.pubsub_subscriptions_per_node_max as u64,
            affiliations_per_node_max: bounds.pubsub_affiliations_per_node_max as u64,
            page_items_max: bounds.pubsub_page_items_max as u64,
            ..Limits::default()
        };
        let (nodes, contacts, timeline) = (Arc::clone(nodes), Arc::clone(contacts), Arc::clone(timeline));
        let router = Arc::downgrade(&kit.router);
        let ids = Arc::clone(&kit.ids);
        let outside = (Arc::clone(&ids), Arc::clone(&kit.clock));
        let fanout = Fanout::start(router.clone(), Arc::clone(&nodes), Arc::clone(&contacts), outside);
        let (accounts, clock) = (Arc::clone(accounts), Arc::clone(&kit.clock));
        let turns = Turns::default();
        let (storms, bell) = likes::storms::Storms::new();
        let floods = floods::Floods::new(hosting.items_per_minute_max);
        let pep = Arc::new(Self {
            router,
            nodes,
            fanout,
            contacts,
            accounts,
            clock,
            ids,
            limits,
            results_bytes_max: bounds.mailbox_bytes_max / 8,
            hosting,
            mirrors,
            turns,
            relation_turns: Turns::default(),
            timeline,
            storms,
            floods,
            directory: Directory::new(Arc::clone(&kit.store)),
            tagged: TaggedPosts::new(Arc::clone(&kit.store)),
            tag_turns: Turns::default(),
            tag_round: tokio::sync::Mutex::default(),
            onward: onward::Onward::default(),
        });
        likes::storms::watch(&pep, bell);
        pep
    }

    /// Who answers for the archives of nodes.
    #[must_use]
    pub fn archives(self: &Arc<Self>) -> Arc<dyn super::archive::Others> {
        Arc::new(archives::Handle(Arc::clone(self)))
    }

    /// The bounds in a home of that kind.
    fn limits_of(&self, home: Home) -> Limits {
        match home {
            Home::Account => self.limits,
            Home::Service => Limits {
                nodes_max: self.hosting.nodes_per_creator_max,
                items_per_creator_max: self.hosting.items_per_creator_max,
                ..self.limits
            },
        }
    }

    /// The time, as the engine counts it.
    fn now(&self) -> pubsub::Timestamp {
        pubsub::Timestamp(self.clock.now() / 1000)
    }
}

/// What kind of home has that address: accounts have a localpart, services have none.
fn home_of(address: &BareJid) -> Home {
    if address.localpart().is_some() { Home::Account } else { Home::Service }
}

impl Extension for Pep {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        // Of the domain too: there XEP-0223 section 6 has clients look before they entrust private data to a node.
        at.identity(To::DOMAIN | To::ACCOUNT, Identity { category: "pubsub", type_: "pep", name: "" });
        at.feature(To::DOMAIN, "http://jabber.org/protocol/pubsub#publish-options");
        at.iq_get(To::ACCOUNT, ("pubsub", ns::PUBSUB), &self, Self::get);
        at.iq_set(To::ACCOUNT, ("pubsub", ns::PUBSUB), &self, Self::set);
        at.iq_get(To::ACCOUNT, ("pubsub", ns::PUBSUB_OWNER), &self, Self::get_owner);
        at.iq_set(To::ACCOUNT, ("pubsub", ns::PUBSUB_OWNER), &self, Self::set_owner);
        // It has a namespace, but no registry knows it as a feature.
        at.unfeature(To::ACCOUNT, ns::PUBSUB_OWNER);
        for feature in features::COMMON.iter().chain(features::ACCOUNT) {
            at.feature(To::ACCOUNT, feature);
        }
        let (limits, per_minute) = (self.limits, self.floods.items_per_minute_max());
        at.domain_form(Arc::new(move || discovery::limits_form(&limits, per_minute)));
        at.account_nodes(Arc::new(discovery::PepHandle(Arc::clone(&self))));
        self.mount_services(at);
        at.forms(Arc::new(approval::Answers(Arc::clone(&self))));
        at.listener(Arc::new(last::Online(self)));
    }
}

#[cfg(test)]
mod bounds_test;
#[cfg(test)]
mod present_test;
#[cfg(test)]
mod public_test;
#[cfg(test)]
pub(super) mod tests;
