//! Typed views over the store: here, and only here, is it known what a key means.
//!
//! The first byte of a key is its table; [`Table`] is the list of them. Each file builds and reads the keys of its
//! tables, and offers functions that load and functions that add to a batch; committing is the caller's.

pub mod accounts;
pub mod archive;
pub mod blocklist;
pub mod cache;
pub mod certificates;
pub mod clients;
pub mod directory;
pub mod disabled;
pub mod elements;
pub mod installation;
pub mod last;
pub mod motd;
pub mod nodes;
pub mod offline;
mod open;
pub mod push;
pub mod roster;
mod row;
pub mod sessions;
pub mod tagged;
pub mod timeline;
pub mod turns;

use std::sync::Arc;

pub use open::{open_existing_store, open_store, store_directory};

use crate::runtime::Ids;

/// The tables, by the first byte of their keys. A byte once used is never used for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Table {
    /// account -> SCRAM keys and when it was opened.
    Accounts = 0x01,
    /// invitation token -> domain, expiry.
    Invitations = 0x02,
    /// name -> a secret or setting of this installation.
    Installation = 0x03,
    /// account -> when it was disabled.
    Disabled = 0x04,
    /// domain -> message of the day; domain, localpart -> which one the account was given.
    MessageOfTheDay = 0x05,
    /// account, client -> when it was here, how it logs in, its tokens.
    Clients = 0x06,
    /// account, name -> a certificate that its clients log in with.
    Certificates = 0x07,
    /// hash of a certificate, account -> its name there.
    CertificateOwners = 0x08,
    /// account -> nothing: it has been removed, and not yet all that belongs to it.
    Closing = 0x09,
    /// account -> roster version; account, contact -> roster item.
    Roster = 0x10,
    /// account, address -> blocked.
    Blocklist = 0x12,
    /// account -> how much is kept; account, place -> message kept while away.
    Offline = 0x13,
    /// account, namespace, name -> private XML.
    Private = 0x14,
    /// account -> vcard-temp.
    Vcard = 0x15,
    /// account -> when it was last there.
    LastSeen = 0x16,
    /// account, service, node -> how to publish what wakes a device.
    PushServices = 0x17,
    /// account, resource -> a session that waits for its client; with a number, a stanza it has not got.
    Detached = 0x1d,
    /// domain, localpart -> what an account wants to be found by.
    Directory = 0x1f,
    /// home -> how many nodes; home, node -> configuration, counters.
    Nodes = 0x20,
    /// node, sequence -> item.
    Items = 0x21,
    /// node, item id -> sequence, publisher.
    ItemIds = 0x22,
    /// node, subscriber -> subscription.
    Subscriptions = 0x23,
    /// node, address -> affiliation.
    Affiliations = 0x24,
    /// subscriber, home, node -> state: the other way round.
    SubscriptionsBySubscriber = 0x25,
    /// expiry, node, sequence -> home and node.
    ItemExpiry = 0x26,
    /// address, home, node -> affiliation: the other way round.
    AffiliationsByEntity = 0x27,
    /// node, sequence -> what is to be deleted of it: everything, or the items up to the sequence.
    NodeRemains = 0x28,
    /// service, creator -> how many nodes, and how many items in them.
    NodeCreators = 0x29,
    /// home, name -> who deleted a node, and where it has gone.
    NodesMoved = 0x2a,
    /// node, subscriber -> nothing: who waits for an owner's approval.
    Pending = 0x2b,
    /// end of the lease, node, subscriber -> home and node.
    LeaseExpiry = 0x2c,
    /// node of comments, person -> which comment is that person's heart.
    Hearts = 0x2d,
    /// service, node of comments, author -> the post that says its comments are there.
    CommentedPosts = 0x2e,
    /// home, node, kind, node -> nothing: which nodes are below it, or belong to it (XEP-0496).
    NodesBelow = 0x2f,
    /// account, place -> archived message.
    Archive = 0x30,
    /// account, contact, block -> nothing: where messages with the contact are.
    ArchiveByContact = 0x31,
    /// account -> how much is archived.
    ArchiveHeads = 0x32,
    /// account -> what is archived.
    ArchivePreferences = 0x33,
    /// account, segment, word -> where in the segment it stands.
    ArchiveWords = 0x34,
    /// account, segment -> its last place.
    ArchiveSegments = 0x35,
    /// account, time, source, sequence -> nothing: what is in a home timeline.
    Timeline = 0x40,
    /// node, sequence -> time, home, name: items whose followers are still being written to.
    TimelineWork = 0x41,
    /// node -> nothing: its followers look for its items themselves.
    TimelineMerged = 0x42,
    /// account, node -> which of a remote node's items are in the account's timeline.
    TimelineKnown = 0x43,
    /// account -> how many entries its timeline has.
    TimelineCounts = 0x44,
    /// home, name -> when a node of another server was last asked what it has.
    TimelineAsked = 0x45,
    /// account, node, item -> when, and under which hashtags, a post is listed.
    Tagged = 0x48,
    /// account, time, node, item -> the hashtags: the same by age.
    TaggedByTime = 0x49,
    /// person, home, attachment node -> nothing: where an account here has attached something.
    AttachedBy = 0x4a,
    /// node, subscriber -> its subscriptions to the node, if one of them is extended (XEP-0497).
    ExtendedSubscriptions = 0x4b,
}

impl Table {
    /// Begins a key in this table.
    #[must_use]
    pub fn key(self) -> store::KeyBuilder {
        store::KeyBuilder::new(self as u8)
    }
}

/// Who may log in, from where, and with what.
#[derive(Debug)]
pub struct Credentials {
    /// Accounts and their keys.
    pub accounts: Arc<accounts::Accounts>,
    /// Their clients and those's tokens.
    pub clients: Arc<clients::Clients>,
    /// Certificates that they have registered.
    pub certificates: Arc<certificates::Certificates>,
}

impl Credentials {
    /// Takes what is in `store`; `settings` are about clients.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(
        store: &Arc<dyn store::Store>,
        ids: &Arc<dyn Ids>,
        settings: clients::Settings,
    ) -> Result<Self, store::Fault> {
        let accounts = Arc::new(accounts::Accounts::load(Arc::clone(store), Arc::clone(ids)).await?);
        let certificates = Arc::new(certificates::Certificates::load(Arc::clone(store)).await?);
        let (known, registered) = (Arc::clone(&accounts), Arc::clone(&certificates));
        let clients = clients::Clients::load(Arc::clone(store), Arc::clone(ids), known, registered, settings).await?;
        Ok(Self { accounts, clients: Arc::new(clients), certificates })
    }
}

/// A commit that failed, where nothing was expected that could have been otherwise.
pub(crate) fn fault(error: store::CommitError) -> store::Fault {
    match error {
        store::CommitError::Fault(fault) => fault,
        other => store::Fault::new(other.to_string()),
    }
}

/// Deletes every row of `range`, page by page: not one step, but never a batch too big.
pub(crate) async fn delete_range(store: &dyn store::Store, range: store::Range) -> Result<(), store::CommitError> {
    loop {
        let rows = store.scan(range.clone(), store::Page::rows(1_000)).await?;
        let mut batch = store::Batch::new();
        for (key, _) in &rows {
            batch.delete(key.clone());
        }
        if rows.is_complete {
            return store.commit_durably(batch).await;
        }
        let _applied = store.commit(batch).await?;
    }
}
