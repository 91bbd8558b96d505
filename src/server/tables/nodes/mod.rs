//! Nodes, their items, subscriptions and affiliations in the store.
//!
//! ```text
//! home                                -> how many nodes
//! home, name, 0                       -> number, creator, date, configuration
//! home, name, 1                       -> version, counters
//! number, sequence                    -> item
//! number, item id                     -> sequence, publisher, date
//! number, bare address, resource      -> subscription
//! number, bare address                -> affiliation
//! bare address, home, name, number, resource -> state of the subscription
//! bare address, home, name, number    -> affiliation
//! expiry, number, sequence            -> home, name
//! lease's end, number, bare address, resource -> home, name
//! number, sequence                    -> what remains to be deleted
//! service, creator, 0 or 1            -> how many nodes, how many items in them
//! home, owner, 2                      -> how many addresses it left behind
//! home, name                          -> who deleted the node, the address it left behind
//! number, bare address, resource      -> nothing: the subscription is pending
//! number, bare address, resource      -> subscriptions, if one of them reaches beyond the node
//! number, bare address                -> which comment is that person's heart
//! service, name, author               -> the post that says its comments are there
//! home, name, 0 or 1, name            -> nothing: the second is a child of the first, or linked to it
//! ```
//!
//! A node's number is drawn when it is created and never used again, so what is left of a deleted node can be cleared
//! at leisure and is not found by one that takes its name. A publish writes the counters, the item and its id; the
//! configuration is written when it changes. Items at or below the floor are gone already and wait to be cleared.

mod above;
mod cache;
mod clear;
mod extended;
mod follows;
mod guard;
mod leases;
mod likes;
mod load;
mod order;
mod present;
mod recent;
mod row;
mod save;
mod together;

pub use cache::{Entry, Nodes, NodesLimits};
pub use extended::Lookout;
pub use guard::Guard;
pub use leases::Lapsed;
pub use load::{Created, Follow, Subscribers, SubscriptionRow};
pub use order::Appeared;
pub use recent::Recent;
pub use together::Step;

use std::sync::Arc;

use bytes::Bytes;
use pubsub::Node;
use pubsub::model::Tie;
use store::KeyBuilder;
use xmpp::{BareJid, Jid};

use super::Table;

/// What a node's rows are found by.
pub type Number = [u8; 16];

/// A node as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The node, with its counters.
    pub node: Node,
    /// Its number.
    pub number: Number,
    /// Items up to this sequence number are gone.
    pub floor: u64,
    /// The node that decides who may read this one, if another does; never stored.
    pub guard: Option<Guard>,
    /// The nodes above it (XEP-0496), nearest first: who may not read one of them may not read this one. `None` stands
    /// for one that is gone. Never stored.
    pub above: Vec<Option<Arc<Held>>>,
    /// The node it is linked to, if it is there. Never stored.
    pub linked: Option<Arc<Held>>,
}

const NODE: u8 = 0;
const TALLY: u8 = 1;

fn home_key(home: &str) -> Bytes {
    Table::Nodes.key().str(home).build()
}

fn node_key(home: &str, name: &str) -> Bytes {
    Table::Nodes.key().str(home).str(name).u8(NODE).build()
}

fn tally_key(home: &str, name: &str) -> Bytes {
    Table::Nodes.key().str(home).str(name).u8(TALLY).build()
}

fn item_key(number: &Number, sequence: u64) -> Bytes {
    Table::Items.key().fixed(number).u64(sequence).build()
}

/// The sequence number in an item's key.
fn sequence_of(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

fn item_id_key(number: &Number, id: &str) -> Bytes {
    Table::ItemIds.key().fixed(number).str(id).build()
}

fn subscription_key(number: &Number, jid: &Jid) -> Bytes {
    let key = Table::Subscriptions.key().fixed(number).str(jid.as_bare_str());
    key.str(jid.resource().unwrap_or_default()).build()
}

fn subscriber_key(jid: &Jid, home: &str, name: &str, number: &Number) -> Bytes {
    let key = Table::SubscriptionsBySubscriber.key().str(jid.as_bare_str()).str(home).str(name);
    key.fixed(number).str(jid.resource().unwrap_or_default()).build()
}

fn affiliation_key(number: &Number, bare: &BareJid) -> Bytes {
    Table::Affiliations.key().fixed(number).str(bare.as_str()).build()
}

fn entity_key(bare: &BareJid, home: &str, name: &str, number: &Number) -> Bytes {
    Table::AffiliationsByEntity.key().str(bare.as_str()).str(home).str(name).fixed(number).build()
}

fn expiry_key(expiry: u64, number: &Number, sequence: u64) -> Bytes {
    Table::ItemExpiry.key().u64(expiry).fixed(number).u64(sequence).build()
}

fn remains_key(number: &Number, sequence: u64) -> Bytes {
    Table::NodeRemains.key().fixed(number).u64(sequence).build()
}

/// The counter of nodes that an entity created in a service, of the items in them, or of what it left behind.
fn creator_key(service: &str, creator: &BareJid, counted: u8) -> Bytes {
    Table::NodeCreators.key().str(service).str(creator.as_str()).u8(counted).build()
}

const COUNT_NODES: u8 = 0;
const COUNT_ITEMS: u8 = 1;
const COUNT_MOVED: u8 = 2;

fn moved_key(home: &str, name: &str) -> Bytes {
    Table::NodesMoved.key().str(home).str(name).build()
}

fn pending_key(number: &Number, jid: &Jid) -> Bytes {
    Table::Pending.key().fixed(number).str(jid.as_bare_str()).str(jid.resource().unwrap_or_default()).build()
}

fn extended_key(number: &Number, jid: &Jid) -> Bytes {
    let key = Table::ExtendedSubscriptions.key().fixed(number).str(jid.as_bare_str());
    key.str(jid.resource().unwrap_or_default()).build()
}

fn lease_key(end: u64, number: &Number, jid: &Jid) -> Bytes {
    let key = Table::LeaseExpiry.key().u64(end).fixed(number).str(jid.as_bare_str());
    key.str(jid.resource().unwrap_or_default()).build()
}

fn below_key(home: &str, name: &str, tie: Tie, below: &str) -> Bytes {
    Table::NodesBelow.key().str(home).str(name).u8(tie as u8).str(below).build()
}

/// Every row of a table that belongs to a node.
fn rows_of(table: Table, number: &Number) -> store::Range {
    KeyBuilder::range(table.key().fixed(number))
}
