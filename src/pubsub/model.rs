//! What there is: nodes, items, affiliations, subscriptions, and the two kinds of home they live in.
//!
//! Plain data. How it is stored is the server's affair; the shapes are chosen so that storing is cheap: what a
//! publish changes is a [`Tally`] of five numbers and one item, never the node's configuration or a list.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use xmpp::jid::{BareJid, Jid};

use crate::config::NodeConfig;
use crate::extended::Reach;
use crate::time::Timestamp;

/// The NodeID, unique within its home.
pub type NodeName = Arc<str>;

/// Ties in a line between related nodes (XEP-0496), from any node to the one at the top.
pub const TIES_MAX: usize = 16;
/// Nodes that are children of one, and nodes that are linked to one.
pub const TIED_MAX: usize = 1_000;

/// How one node is related to another (XEP-0496).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tie {
    /// It is a child of it.
    Child = 0,
    /// It is linked to it.
    Link = 1,
}

impl NodeConfig {
    /// What it ties its node to, if anything: who is linked has no parent of its own.
    #[must_use]
    pub fn tie(&self) -> Option<(Tie, &str)> {
        let link = self.link.as_deref().map(|name| (Tie::Link, name));
        link.or_else(|| self.parent.as_deref().map(|name| (Tie::Child, name)))
    }
}

/// Where a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Home {
    /// The account of a person: every account is a pubsub service (XEP-0163 section 3.1). The account's bare JID
    /// owns every node and nobody else can; presence and roster decide who may read.
    Account,
    /// A service with an address of its own (XEP-0060). There is no roster, so the access models `presence` and
    /// `roster` are refused.
    Service,
}

/// A leaf node without its items, subscriptions and affiliations.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The NodeID.
    pub name: NodeName,
    /// Who created it.
    pub creator: BareJid,
    /// When.
    pub created: Timestamp,
    /// Its configuration.
    pub config: Arc<NodeConfig>,
    /// What changes with every publish and every follower.
    pub tally: Tally,
}

/// The counters of a node, kept apart from its configuration because they change all the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Grows by one with every change to the node, its items or its subscriptions. A commit expects the version it
    /// was decided on; a notice carries the version that caused it.
    pub version: u64,
    /// The sequence number of the newest item ever published. Never goes back, so a number is never used twice.
    pub sequence: u64,
    /// Items stored.
    pub items: u64,
    /// Addresses with a subscription in the state `subscribed`.
    pub subscribers: u64,
    /// Addresses that hold more subscriptions than one: almost always none.
    pub multiples: u64,
    /// Addresses that hold an extended subscription (XEP-0497) in the state `subscribed`: almost always none.
    pub extended: u64,
    /// Affiliations of `owner`. In a [`Home::Account`] the account is one more, and is not counted.
    pub owners: u64,
    /// Affiliations of any kind that are stored.
    pub affiliations: u64,
}

/// One published item.
///
/// Items are in order of publication (XEP-0060 section 12.1). Publishing an id again makes the item the newest: the
/// older one is dropped and the new one takes a new sequence number, "even if publishing with an ItemID that already
/// exists". So a reader who pages forward from the last item it has seen also meets what was edited since.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Position in the node.
    pub sequence: u64,
    /// The ItemID, unique in the node.
    pub id: Box<str>,
    /// Who published it, as we know it: never what the publisher says.
    pub publisher: BareJid,
    /// When the id was first published.
    pub published: Timestamp,
    /// When this text of it was published.
    pub updated: Timestamp,
    /// The payload element, finished bytes that lean on nothing outside of them; empty when there is none.
    pub payload: Bytes,
}

impl Item {
    /// What must be known of it when it goes.
    #[must_use]
    pub fn head(&self) -> ItemHead {
        ItemHead {
            sequence: self.sequence,
            id: self.id.clone(),
            publisher: self.publisher.clone(),
            published: self.published,
        }
    }

    /// Whether the item has outlived `pubsub#item_expire`. It is not shown from then on, and removed soon.
    #[must_use]
    pub fn is_expired(&self, config: &NodeConfig, now: Timestamp) -> bool {
        is_expired(self.updated, config, now)
    }
}

/// [`Item::is_expired`] for who has only the time.
#[must_use]
pub fn is_expired(updated: Timestamp, config: &NodeConfig, now: Timestamp) -> bool {
    match config.item_expire {
        crate::config::Bound::Max => false,
        crate::config::Bound::At(seconds) => updated.plus_seconds(seconds) <= now,
    }
}

/// What must be known of an item that is about to be overwritten or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemHead {
    /// Position in the node.
    pub sequence: u64,
    /// The ItemID.
    pub id: Box<str>,
    /// Who published it.
    pub publisher: BareJid,
    /// When the id was first published.
    pub published: Timestamp,
}

/// XEP-0060 section 4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Affiliation {
    /// Everything.
    Owner,
    /// Reads and publishes.
    Publisher,
    /// Publishes, and neither reads nor subscribes.
    PublishOnly,
    /// Is on the whitelist.
    Member,
    /// The whole world.
    #[default]
    None,
    /// Nothing at all.
    Outcast,
}

impl Affiliation {
    /// Every one, most powerful first.
    pub const ALL: [Self; 6] =
        [Self::Owner, Self::Publisher, Self::PublishOnly, Self::Member, Self::None, Self::Outcast];

    /// The value of the `affiliation` attribute.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Publisher => "publisher",
            Self::PublishOnly => "publish-only",
            Self::Member => "member",
            Self::None => "none",
            Self::Outcast => "outcast",
        }
    }

    /// Reads the attribute; `None` for a word we do not know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|affiliation| affiliation.as_str() == text)
    }
}

/// XEP-0060 section 4.2. `unconfigured` is never produced: our options all have defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubscriptionState {
    /// Is told of every event.
    Subscribed,
    /// Waits for an owner's approval, and is told nothing.
    Pending,
    /// Not subscribed. Only said, never stored.
    None,
}

impl SubscriptionState {
    /// The value of the `subscription` attribute.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribed => "subscribed",
            Self::Pending => "pending",
            Self::None => "none",
        }
    }
}

/// What tells the subscriptions of one address to one node apart (XEP-0060 section 6.1.6): the node's version at which
/// each was asked for. It is given, never chosen, and one that is no more does not come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubId(pub u64);

impl SubId {
    /// Reads the `subid` attribute; `None` for what cannot be one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let id = Self(u64::from_str_radix(text, 16).ok()?);
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for SubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// One subscription. An address may have several to one node, with different options (XEP-0060 section 6.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The subscribed address, bare or full; notifications go exactly there.
    pub jid: Jid,
    /// Which of the subscriptions of that address it is.
    pub id: SubId,
    /// `Subscribed` or `Pending`.
    pub state: SubscriptionState,
    /// The node's version at which the subscription came to be: notices of that version and older are not for it.
    pub since: u64,
    /// The position of the node's newest item at that time: what is behind it is for the subscriber.
    pub after: u64,
    /// What the subscriber chose.
    pub options: SubscriptionOptions,
}

impl Subscription {
    /// Whether it is in force, and another than those of XEP-0060 (XEP-0497).
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.state == SubscriptionState::Subscribed && self.options.reach.is_extended()
    }
}

/// XEP-0060 section 6.3, the options we offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// `pubsub#deliver`: whether to send notifications.
    pub deliver: bool,
    /// `pubsub#include_body`: whether to put a readable text beside the payload.
    pub include_body: bool,
    /// `pubsub#expire`: when the subscription ends by itself (section 12.19).
    pub expire: Option<Timestamp>,
    /// `pubsub#show-values`: the presence in which to send notifications; `None` for whatever it is.
    pub show: Option<Shows>,
    /// `{urn:chirrup:pubsub:options:0}deliver_payloads`: whether notifications have payloads; `None` for what the node says.
    pub has_payload: Option<bool>,
    /// What it is about, and how far it reaches (XEP-0497).
    pub reach: Reach,
}

/// Kinds of being available (RFC 6121 section 4.7.2.1): a set of [`Shows::WORDS`], the first being the lowest bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shows(pub u8);

impl Shows {
    /// The values of `<show/>`, and `online` for there being none.
    pub const WORDS: [&str; 5] = ["away", "chat", "dnd", "online", "xa"];

    /// The set of one; `None` for a word that is not among them.
    #[must_use]
    pub fn one(word: &str) -> Option<Self> {
        Self::WORDS.iter().zip(0_u32..).find(|(known, _)| **known == word).map(|(_, bit)| Self(1 << bit))
    }

    /// Whether they have one in common.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The words of the set, in their order.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Self::WORDS.into_iter().filter(move |word| Self::one(word).is_some_and(|one| one.meets(self)))
    }
}

impl Default for SubscriptionOptions {
    fn default() -> Self {
        Self {
            deliver: true,
            include_body: false,
            expire: None,
            show: None,
            has_payload: None,
            reach: Reach::default(),
        }
    }
}

/// Bounds on what a stranger may make us keep or do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one payload.
    pub payload_bytes_max: u64,
    /// Bytes of a NodeID or an ItemID.
    pub name_bytes_max: usize,
    /// Nodes of one account, or of one creator in a service.
    pub nodes_max: u64,
    /// Items in all nodes of one creator in a service.
    pub items_per_creator_max: u64,
    /// Items of one node, whatever its configuration says: what `max` means here.
    pub items_per_node_max: u64,
    /// Subscriptions to one node.
    pub subscriptions_per_node_max: u64,
    /// Addresses with extended subscriptions to one node (XEP-0497).
    pub extended_per_node_max: u64,
    /// Affiliations with one node.
    pub affiliations_per_node_max: u64,
    /// Items, subscriptions, affiliations or nodes in one answer.
    pub page_items_max: u64,
    /// Items of one node that are put into an order in which they are not kept (XEP-0413).
    pub sorted_items_max: u64,
    /// Bytes of items in one answer; the first item is always in it.
    pub page_bytes_max: usize,
    /// Items, JIDs or affiliations named in one request.
    pub batch_max: usize,
    /// Subscriptions that the resources of one bare JID may have to one node.
    pub subscriptions_per_jid_max: usize,
    /// Seconds from now to the end of the longest lease. One that is asked for longer is given this long.
    pub lease_seconds_max: u64,
    /// Bytes of one configuration value.
    pub config_value_bytes_max: usize,
    /// Values of one configuration field.
    pub config_values_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload_bytes_max: 250_000,
            name_bytes_max: 1023,
            nodes_max: 1_000_000,
            items_per_creator_max: u64::MAX,
            items_per_node_max: 10_000_000,
            subscriptions_per_node_max: 1_000_000,
            extended_per_node_max: 10_000,
            affiliations_per_node_max: 10_000,
            page_items_max: 100,
            sorted_items_max: 10_000,
            page_bytes_max: 1 << 20,
            batch_max: 100,
            subscriptions_per_jid_max: 20,
            lease_seconds_max: 366 * 86_400,
            config_value_bytes_max: 4096,
            config_values_max: 100,
        }
    }
}
