//! What a decision is made of: changes to make, a reply to give, notices to send.
//!
//! A notice says *whom* to tell as an [`Audience`], never as a list: the server walks it. A reply that is a list says
//! *which* list; the server reads it in pages. So a decision is small, however large the node is.

use xmpp::jid::{BareJid, Jid};
use xmpp::paging;

use crate::config::NodeConfig;
use crate::model::{
    Affiliation, Item, Node, NodeName, SubId, Subscription, SubscriptionOptions, SubscriptionState, Tally,
};
use crate::request::ItemsQuery;
use crate::time::Timestamp;

/// The answer to a request that is granted.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// To be committed as one batch, in this order. Empty when nothing changes.
    pub changes: Vec<Change>,
    /// To be given once that is durable.
    pub reply: Reply,
    /// To be sent in this order.
    pub notices: Vec<Notice>,
}

impl Decision {
    /// Nothing changes and nobody is told.
    #[must_use]
    pub fn reply(reply: Reply) -> Self {
        Self { changes: Vec::new(), reply, notices: Vec::new() }
    }
}

/// One change to what is stored. All are about the node of the request.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The node is new: expect that there is none of that name.
    CreateNode(Node),
    /// The node's counters: expect those that were loaded. Part of every batch on a node that goes on existing.
    Tally(Tally),
    /// The node's configuration.
    Configure(NodeConfig),
    /// The node goes, with its items, subscriptions and affiliations.
    DeleteNode,
    /// The node, which goes with this decision, has moved: who asks for its name is told where to, until the name is
    /// taken again.
    Redirect(Box<str>),
    /// A new item. Its id is in use by no other that remains.
    PutItem(Item),
    /// An item goes.
    DropItem {
        /// Its position.
        sequence: u64,
        /// Its id.
        id: Box<str>,
    },
    /// The oldest items go until this many remain. Usually that is one, or none.
    TrimTo(u64),
    /// All items go.
    Purge,
    /// What an address is subscribed by from now on: all of it, and nothing when there is none.
    SetSubscriptions(Jid, Vec<Subscription>),
    /// An affiliation is new or changed; `None` removes it.
    SetAffiliation(BareJid, Affiliation),
}

/// What to tell, and whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Whom.
    pub audience: Audience,
    /// What.
    pub event: Event,
    /// The node's version that came of it. A subscription that is younger is not told.
    pub version: u64,
}

/// Whom to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Audience {
    /// Every explicit subscription in the state `subscribed` whose options say deliver, wherever it is; and in an
    /// account, every available resource of the account and of those who see its presence that asked for the node
    /// with `+notify` and [`crate::access::may_be_notified`] (XEP-0163 section 4). With `pubsub#presence_based_delivery`
    /// only who is known to be available. A resource that is told one way is not told the other.
    Subscribers,
    /// Every extended subscription that hears of it ([`crate::extended`]), to the node and to those it is or was below of
    /// or linked to, if the subscriber may read the node.
    Extended,
    /// The owners: in an account the account itself, in a service whoever has the affiliation.
    Owners,
    /// This address alone.
    One(Jid),
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An item was published. Whether its payload is in the notification is the node's `deliver_payloads`.
    Published(Item),
    /// Something was published to a node that has no items.
    Pinged,
    /// An item was retracted.
    Retracted(Box<str>),
    /// All items were removed.
    Purged,
    /// The node was deleted, and readers may be pointed elsewhere. It is told from the configuration it had.
    Deleted(Option<Box<str>>),
    /// The configuration changed.
    Configured,
    /// Metadata changed: these fields, with their values. Of a node that has come to be below another, or linked to it,
    /// all of them (XEP-0497 section 4.2.2).
    Metadata(Vec<(&'static str, Vec<String>)>),
    /// A subscription changed.
    Subscription {
        /// Whose.
        jid: Jid,
        /// Which of that address.
        id: SubId,
        /// What it is now.
        state: SubscriptionState,
    },
    /// A subscription will end by itself.
    LeaseEnds {
        /// Whose.
        jid: Jid,
        /// Which of that address.
        id: SubId,
        /// When.
        end: Timestamp,
    },
    /// An affiliation changed.
    Affiliation {
        /// Whose.
        jid: BareJid,
        /// What it is now.
        affiliation: Affiliation,
    },
    /// Somebody wants to subscribe, and an owner must say whether that may be (XEP-0060 section 8.6).
    AuthorizationWanted {
        /// Who.
        jid: Jid,
        /// By which subscription.
        id: SubId,
    },
    /// The newest item, to be read when it is sent, with the time it was published.
    LastItem,
}

/// The answer to the one who asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// An empty result.
    Empty,
    /// The node's name, because we chose it.
    Created(NodeName),
    /// The item's id, chosen by the publisher or by us.
    Published {
        /// The node.
        node: NodeName,
        /// The id; none on a node without items.
        id: Option<Box<str>>,
    },
    /// A subscription as it is now.
    Subscription {
        /// To which node.
        node: NodeName,
        /// Whose.
        jid: Jid,
        /// Which of that address.
        id: SubId,
        /// Its state.
        state: SubscriptionState,
        /// Its options, when they were set along with it.
        options: Option<SubscriptionOptions>,
    },
    /// The form for a subscription's options.
    Options {
        /// Of the subscription to which node.
        node: NodeName,
        /// Whose.
        jid: Jid,
        /// Which of that address, if the request said so.
        id: Option<SubId>,
        /// The current ones.
        options: SubscriptionOptions,
    },
    /// The options a new subscription gets, to this node or to any.
    DefaultOptions(Option<NodeName>),
    /// The form of the node's configuration.
    Configuration(NodeName, NodeConfig),
    /// The form of the configuration a new node gets.
    DefaultConfiguration(NodeConfig),
    /// Items, to be read by the server. Those that [`crate::model::is_expired`] are left out.
    Items(NodeName, ItemsQuery),
    /// The caller's own subscriptions, at this node or at all.
    OwnSubscriptions(Option<NodeName>),
    /// The caller's own affiliations, at this node or at all.
    OwnAffiliations(Option<NodeName>),
    /// All subscriptions in the state `subscribed`.
    Subscribers(NodeName, paging::Query),
    /// All affiliations.
    Affiliated(NodeName, paging::Query),
    /// Identity, features and metadata of the node.
    NodeInformation(NodeName),
    /// The ids of the node's items.
    NodeItems(NodeName, paging::Query),
    /// The nodes of the home that the caller may read; see [`crate::access::may_see`].
    Nodes(paging::Query),
}

/// What could not be changed, as it is (XEP-0060 sections 8.8.2.4 and 8.9.2.4).
///
/// The specification lets a request with several changes succeed in part. Ours succeed as a whole or not at all,
/// so that a batch is a batch: when there is an entry here, nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmodified {
    /// Subscriptions.
    Subscriptions(NodeName, Vec<(Jid, Option<SubId>, SubscriptionState)>),
    /// Affiliations.
    Affiliations(NodeName, Vec<(BareJid, Affiliation)>),
}
