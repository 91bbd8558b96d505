//! Rosters in the store: one row for each contact, one head row for each roster.
//!
//! ```text
//! account                 -> head: epoch, version, forgotten
//! account, contact        -> a contact, or the trace of a removed one
//! ```
//!
//! A change of one contact writes its row and the head, whatever the size of the roster. The version counts the
//! changes a client can see; each row remembers the version of its last one, and so do traces of removed
//! contacts, so that a client is sent what it missed and nothing else (RFC 6121 section 2.6). The epoch tells two
//! rosters apart that one account had one after the other.
//!
//! What the states mean and what follows from a change is known in `extensions/roster`, not here.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use store::{Batch, CommitError, Fault, KeyReader, Page, Store};
use xmpp::BareJid;

use super::Table;
use super::row::{Reader, Writer};

const FORMAT: u8 = 1;

/// The `subscription` of a roster item (RFC 6121 section 2.1.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Subscription {
    /// Neither sees the other's presence.
    #[default]
    None,
    /// The user sees the contact's presence.
    To,
    /// The contact sees the user's presence.
    From,
    /// Each sees the other's presence.
    Both,
}

impl Subscription {
    /// The value of the attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::To => "to",
            Self::From => "from",
            Self::Both => "both",
        }
    }

    /// Does the user see the contact's presence?
    pub fn has_to(self) -> bool {
        matches!(self, Self::To | Self::Both)
    }

    /// Does the contact see the user's presence?
    pub fn has_from(self) -> bool {
        matches!(self, Self::From | Self::Both)
    }

    /// Puts the two directions together.
    pub fn from_parts(to: bool, from: bool) -> Self {
        match (to, from) {
            (false, false) => Self::None,
            (true, false) => Self::To,
            (false, true) => Self::From,
            (true, true) => Self::Both,
        }
    }
}

/// What a user's server knows of one contact. The default is a contact nobody has heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// Who sees whose presence.
    pub subscription: Subscription,
    /// The user has asked to see the contact's presence (`ask='subscribe'`).
    pub is_asked: bool,
    /// The user has approved a request that has not come yet (RFC 6121 section 3.4).
    pub is_approved: bool,
    /// It is an item of the roster, and not only a request waiting (RFC 6121 section 3.1.3).
    pub is_listed: bool,
    /// The user's name for it; empty if there is none.
    pub name: Box<str>,
    /// The groups the user put it in.
    pub groups: Box<[Box<str>]>,
    /// The version of the roster that last changed what clients see of it.
    pub changed_in: u64,
    /// The contact's own request to see the user's presence: the whole stanza, kept until it is answered
    /// (RFC 6121 section 3.1.3).
    pub request: Option<Bytes>,
}

impl Contact {
    /// True when nothing is known, so that no row is needed.
    pub fn is_unknown(&self) -> bool {
        !self.is_listed && self.request.is_none()
    }
}

/// The head of one roster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// When the roster was first written, in microseconds since the Unix epoch: the same for all its versions.
    pub epoch: u64,
    /// Changes so far.
    pub version: u64,
    /// Traces of removed contacts up to this version are gone: who knows only an older one needs everything.
    pub forgotten: u64,
}

/// A roster as it was found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Its head, unless nothing was ever written.
    pub head: Option<Head>,
    /// Its contacts, and who waits for an answer.
    pub contacts: HashMap<BareJid, Arc<Contact>>,
    /// Removed contacts, and the version that removed them.
    pub removed: HashMap<BareJid, u64>,
}

const ASKED: u8 = 0b0000_0100;
const APPROVED: u8 = 0b0000_1000;
const LISTED: u8 = 0b0001_0000;
const REQUESTED: u8 = 0b0010_0000;
const REMOVED: u8 = 0b1000_0000;

/// Rosters, by account.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a store has nothing to show")]
pub struct Rosters {
    store: Arc<dyn Store>,
}

/// Rows read at once when a roster is loaded.
const PAGE: Page = Page { rows_max: 1_000, bytes_max: 1 << 20 };

impl Rosters {
    /// The rosters in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Reads the whole roster of `account`.
    pub async fn load(&self, account: &str) -> Result<Loaded, Fault> {
        let mut loaded = Loaded::default();
        let head = head_key(account);
        let mut range = Table::Roster.key().str(account).range();
        loop {
            let rows = self.store.scan(range.clone(), PAGE).await?;
            let is_complete = rows.is_complete;
            for (key, value) in rows {
                if key == head {
                    loaded.head = Some(read_head(value)?);
                } else {
                    let contact = KeyReader::after(&key, head.len()).str()?;
                    let contact = BareJid::new(&contact)
                        .map_err(|error| Fault::new(format!("a roster names {contact}: {error}")))?;
                    match read_contact(value)? {
                        Ok(found) => drop(loaded.contacts.insert(contact, Arc::new(found))),
                        Err(version) => drop(loaded.removed.insert(contact, version)),
                    }
                }
                range = range.past(&key);
            }
            if is_complete {
                return Ok(loaded);
            }
        }
    }

    /// Makes `batch` durable.
    pub async fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        self.store.commit_durably(batch).await
    }

    /// Deletes the roster of `account`, page by page.
    pub async fn delete(&self, account: &str) -> Result<(), CommitError> {
        super::delete_range(self.store.as_ref(), Table::Roster.key().str(account).range()).await
    }
}

fn head_key(account: &str) -> Bytes {
    Table::Roster.key().str(account).build()
}

fn contact_key(account: &str, contact: &BareJid) -> Bytes {
    Table::Roster.key().str(account).str(contact.as_str()).build()
}

/// Writes the head of `account`'s roster.
pub fn put_head(batch: &mut Batch, account: &str, head: Head) {
    let row = Writer::new(FORMAT).u64(head.epoch).u64(head.version).u64(head.forgotten).finish();
    batch.put(head_key(account), row);
}

/// Writes what is known of `jid`, or deletes the row if that is nothing.
pub fn put_contact(batch: &mut Batch, account: &str, jid: &BareJid, contact: &Contact) {
    if contact.is_unknown() {
        batch.delete(contact_key(account, jid));
    } else {
        batch.put(contact_key(account, jid), write_contact(contact));
    }
}

/// Writes the trace of a contact that was removed in `version`.
pub fn put_removed(batch: &mut Batch, account: &str, jid: &BareJid, version: u64) {
    batch.put(contact_key(account, jid), Writer::new(FORMAT).u8(REMOVED).u64(version).finish());
}

/// Deletes the trace of a removed contact.
pub fn forget(batch: &mut Batch, account: &str, jid: &BareJid) {
    batch.delete(contact_key(account, jid));
}

fn read_head(row: Bytes) -> Result<Head, Fault> {
    let mut row = Reader::new(row, FORMAT, "rosters")?;
    Ok(Head { epoch: row.u64()?, version: row.u64()?, forgotten: row.u64()? })
}

fn write_contact(contact: &Contact) -> Bytes {
    let subscription = u8::from(contact.subscription.has_to()) | u8::from(contact.subscription.has_from()) << 1;
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    let mut row = Writer::new(FORMAT)
        .u8(subscription
            | flag(contact.is_asked, ASKED)
            | flag(contact.is_approved, APPROVED)
            | flag(contact.is_listed, LISTED)
            | flag(contact.request.is_some(), REQUESTED))
        .u64(contact.changed_in)
        .text(&contact.name)
        .u64(contact.groups.len() as u64);
    for group in &contact.groups {
        row = row.text(group);
    }
    if let Some(request) = &contact.request {
        row = row.bytes(request);
    }
    row.finish()
}

/// A contact, or the version in which it was removed.
fn read_contact(row: Bytes) -> Result<Result<Contact, u64>, Fault> {
    let mut row = Reader::new(row, FORMAT, "rosters")?;
    let flags = row.u8()?;
    let changed_in = row.u64()?;
    if flags & REMOVED != 0 {
        return Ok(Err(changed_in));
    }
    let name = row.text()?;
    let mut groups = Vec::new();
    for _ in 0..row.u64()? {
        groups.push(row.text()?);
    }
    Ok(Ok(Contact {
        subscription: Subscription::from_parts(flags & 1 != 0, flags & 2 != 0),
        is_asked: flags & ASKED != 0,
        is_approved: flags & APPROVED != 0,
        is_listed: flags & LISTED != 0,
        name,
        groups: groups.into(),
        changed_in,
        request: if flags & REQUESTED != 0 { Some(row.bytes()?) } else { None },
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn contacts()(
            (to, from) in any::<(bool, bool)>(),
            (is_asked, is_approved, is_listed) in any::<(bool, bool, bool)>(),
            name in ".{0,8}",
            groups in proptest::collection::vec(".{0,5}", 0..4),
            changed_in: u64,
            request in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
        ) -> Contact {
            Contact {
                subscription: Subscription::from_parts(to, from),
                is_asked, is_approved, is_listed,
                name: name.into(),
                groups: groups.into_iter().map(String::into_boxed_str).collect(),
                changed_in,
                request: request.map(Bytes::from),
            }
        }
    }

    proptest! {
        #[test]
        fn every_contact_survives_its_row(contact in contacts()) {
            prop_assert_eq!(read_contact(write_contact(&contact)).unwrap(), Ok(contact));
        }
    }

    #[tokio::test]
    async fn a_roster_is_found_as_it_was_written_and_no_other() {
        let rosters = Rosters::new(Arc::new(store::Memory::new()));
        let jid = |text: &str| BareJid::new(text).unwrap();
        let juliet = Contact { is_listed: true, name: "Juliet".into(), changed_in: 2, ..Contact::default() };
        let head = Head { epoch: 9, version: 3, forgotten: 0 };
        let mut batch = Batch::new();
        put_head(&mut batch, "romeo@example.net", head);
        put_contact(&mut batch, "romeo@example.net", &jid("juliet@example.com"), &juliet);
        put_removed(&mut batch, "romeo@example.net", &jid("rosaline@example.com"), 3);
        put_contact(&mut batch, "romeo@example.net.example", &jid("tybalt@example.com"), &juliet);
        rosters.commit(batch).await.unwrap();

        let loaded = rosters.load("romeo@example.net").await.unwrap();
        assert_eq!(loaded.head, Some(head));
        assert_eq!(loaded.contacts.len(), 1);
        assert_eq!(*loaded.contacts["juliet@example.com"], juliet);
        assert_eq!(loaded.removed["rosaline@example.com"], 3);

        rosters.delete("romeo@example.net").await.unwrap();
        assert!(rosters.load("romeo@example.net").await.unwrap().head.is_none());
        assert_eq!(rosters.load("romeo@example.net.example").await.unwrap().contacts.len(), 1, "a neighbour stays");
    }
}
