//! One account's roster in memory, and the line in which its changes leave.
//!
//! A decision is made on the contact in memory and takes effect there at once. Then its rows must become durable
//! and the account's own resources must hear of it, in the order of the decisions (RFC 6121 section 2.6.3). Both
//! happen at the *turnstile*: whoever passes it first commits everything that waits, for all who wait behind, and
//! tells the resources; those find their change done. So a roster that many change at once takes one flush for
//! many changes, and none of them waits for a lock while deciding.
//!
//! If a commit fails the book is closed: memory and store disagree, and it must be opened anew.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use store::{Batch, Fault};
use xmpp::{BareJid, ns};

use super::books::Watch;
use super::item;
use crate::runtime::Timestamp;
use crate::session::mailbox::Frame;
use crate::session::{Session, Sessions};
use crate::tables::cache::Weight;
use crate::tables::roster::{self, Contact, Head, Loaded, Rosters};

/// Traces of removed contacts that are kept, so that clients who missed the removal are told (RFC 6121 section
/// 2.6.3). Beyond it the oldest goes, and who knows only an older version gets the whole roster.
const TRACES_MAX: usize = 256;

/// What a decision does to a contact.
#[derive(Debug)]
pub enum Edit {
    /// Nothing.
    Keep,
    /// This is what is known of it now.
    Put(Contact),
    /// It leaves the roster, and everything known of it is forgotten.
    Remove,
}

/// Which of the account's resources hear of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Those that sent available presence.
    Available,
    /// Those that asked for the roster, and also those that sent available presence: RFC 6121 section 3.1.6 asks
    /// for the former, and a program that never reads its roster waits for an approval all the same.
    Present,
}

/// What follows from a decision about one contact.
#[derive(Debug)]
pub struct Decided<T> {
    /// What to remember.
    pub edit: Edit,
    /// A stanza the account's own resources get before any push.
    pub told: Option<(Bytes, Audience)>,
    /// Push the item even if it stayed as it was, as a roster set asks (RFC 6121 section 2.4.2).
    pub is_pushed_anyway: bool,
    /// For whoever made the decision, once it is durable.
    pub then: T,
}

/// How full a roster is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Its items.
    pub listed: usize,
    /// Requests that wait for an answer.
    pub requests: usize,
}

/// What leaves for the account's own resources with one change.
struct Departure {
    change: u64,
    told: Option<(Bytes, Audience)>,
    /// Everything of the push after the recipient's address.
    push: Option<Bytes>,
}

#[derive(Default)]
struct Pages {
    head: Head,
    contacts: HashMap<BareJid, Arc<Contact>>,
    removed: HashMap<BareJid, u64>,
    counts: Counts,
    /// Changes decided, and changes that are durable.
    decided: u64,
    durable: u64,
    /// Rows nobody has begun to commit, and rows somebody has.
    unsaved: Batch,
    committing: Batch,
    departing: VecDeque<Departure>,
    is_closed: bool,
}

/// One account's roster.
#[expect(missing_debug_implementations, reason = "nobody prints a roster")]
pub struct Book {
    account: BareJid,
    pages: Mutex<Pages>,
    turnstile: Arc<tokio::sync::Mutex<()>>,
    watch: Option<Watch>,
}

impl Weight for Book {
    fn weight(&self) -> usize {
        self.pages().contacts.len()
    }
}

impl Book {
    pub(super) fn new(account: BareJid, loaded: Loaded) -> Self {
        let mut counts = Counts::default();
        for contact in loaded.contacts.values() {
            counts.count(contact, 1);
        }
        let pages = Pages {
            head: loaded.head.unwrap_or_default(),
            contacts: loaded.contacts,
            removed: loaded.removed,
            counts,
            ..Pages::default()
        };
        Self { account, pages: Mutex::new(pages), turnstile: Arc::default(), watch: None }
    }

    /// The same, with somebody who hears of every change.
    pub(super) fn watched(mut self, watch: Option<Watch>) -> Self {
        self.watch = watch;
        self
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose roster it is.
    pub fn account(&self) -> &BareJid {
        &self.account
    }

    /// What is known of `contact`.
    pub fn contact(&self, contact: &str) -> Option<Arc<Contact>> {
        self.pages().contacts.get(contact).cloned()
    }

    /// May `contact` (a bare address) see the account's presence?
    pub fn is_seen_by(&self, contact: &str) -> bool {
        self.pages().contacts.get(contact).is_some_and(|contact| contact.subscription.has_from())
    }

    /// May anybody at `domain` see the account's presence? Looks at every contact.
    pub fn is_seen_at(&self, domain: &str) -> bool {
        self.pages().contacts.iter().any(|(jid, contact)| jid.domain() == domain && contact.subscription.has_from())
    }

    /// May the account see the presence of `contact` (a bare address)?
    pub fn sees(&self, contact: &str) -> bool {
        self.pages().contacts.get(contact).is_some_and(|contact| contact.subscription.has_to())
    }

    /// Is `contact` (a bare address) an item of the roster in one of these groups?
    pub fn is_in_group(&self, contact: &str, groups: &[impl AsRef<str>]) -> bool {
        self.pages().contacts.get(contact).is_some_and(|contact| {
            contact.is_listed && contact.groups.iter().any(|its| groups.iter().any(|group| group.as_ref() == &**its))
        })
    }

    /// The contacts that `wanted` picks. A copy, so that the roster is not held while they are served.
    pub fn contacts(&self, mut wanted: impl FnMut(&Contact) -> bool) -> Vec<BareJid> {
        self.pages().contacts.iter().filter(|(_, contact)| wanted(contact)).map(|(jid, _)| jid.clone()).collect()
    }

    /// Requests of contacts that wait for an answer: whole stanzas.
    pub fn requests(&self) -> Vec<Bytes> {
        let pages = self.pages();
        if pages.counts.requests == 0 {
            return Vec::new();
        }
        pages.contacts.values().filter_map(|contact| contact.request.clone()).collect()
    }

    /// Decides about one contact, in memory. The change to make durable by [`Book::pass`] is returned, if there is
    /// one.
    ///
    /// `decide` sees what is known of the contact (an unknown one is the default) and how full the roster is; it
    /// must not call back into this book. `now` is in microseconds since the Unix epoch.
    pub(super) fn decide<T, E: From<Fault>>(
        &self,
        now: Timestamp,
        jid: &BareJid,
        decide: impl FnOnce(&Contact, Counts) -> Result<Decided<T>, E>,
    ) -> Result<(Option<u64>, T), E> {
        let mut pages = self.pages();
        if pages.is_closed {
            return Err(closed().into());
        }
        let before = pages.contacts.get(jid).cloned().unwrap_or_default();
        let decided = decide(&before, pages.counts)?;
        let Decided { edit, told, is_pushed_anyway, then } = decided;
        Ok((pages.record(&self.account, now, jid, &before, edit, told, is_pushed_anyway), then))
    }

    /// Passes the turnstile: when this resolves, everything up to `change` is durable and told.
    pub(super) async fn pass(&self, rosters: &Rosters, sessions: &Sessions, change: u64) -> Result<(), Fault> {
        let _turn = self.turnstile.lock().await;
        let Some((batch, upto)) = self.collect(change) else {
            return if self.is_durable(change) { Ok(()) } else { Err(closed()) };
        };
        if !batch.is_empty()
            && let Err(error) = rosters.commit(batch).await
        {
            self.fail(&error);
            return Err(closed());
        }
        self.finish(upto, sessions);
        Ok(())
    }

    /// Enters the turnstile, for somebody who commits several books at once.
    pub(super) async fn turn(&self) -> tokio::sync::OwnedMutexGuard<()> {
        Arc::clone(&self.turnstile).lock_owned().await
    }

    /// Inside the turnstile: the rows to commit so that `change` is durable, and up to which change they go. `None`
    /// if it is durable already, or never will be.
    pub(super) fn collect(&self, change: u64) -> Option<(Batch, u64)> {
        let mut pages = self.pages();
        if pages.durable >= change || pages.is_closed {
            return None;
        }
        // Should somebody have been stopped in the middle, their rows are committed once more.
        let unsaved = std::mem::take(&mut pages.unsaved);
        pages.committing.append(unsaved);
        if !pages.committing.is_empty() {
            let head = pages.head;
            roster::put_head(&mut pages.committing, self.account.as_str(), head);
        }
        Some((pages.committing.clone(), pages.decided))
    }

    /// Inside the turnstile: what was collected is durable, so the account's resources are told.
    pub(super) fn finish(&self, upto: u64, sessions: &Sessions) {
        let departing: Vec<Departure> = {
            let mut pages = self.pages();
            pages.committing = Batch::new();
            pages.durable = upto;
            let count = pages.departing.iter().take_while(|departure| departure.change <= upto).count();
            pages.departing.drain(..count).collect()
        };
        if !departing.is_empty() {
            sessions.for_each_of(self.account.as_str(), |session| {
                for departure in &departing {
                    departure.deliver(session);
                }
            });
        }
        if let Some(watch) = &self.watch {
            departing
                .iter()
                .filter_map(|departure| departure.push.as_ref())
                .for_each(|push| watch(&self.account, push));
        }
    }

    /// Inside the turnstile: what was collected could not be committed.
    pub(super) fn fail(&self, error: &store::CommitError) {
        tracing::error!(account = %self.account, %error, "a roster could not be written");
        self.close();
    }

    /// Is everything up to `change` durable?
    pub(super) fn is_durable(&self, change: u64) -> bool {
        self.pages().durable >= change
    }

    /// Answers a roster get of `session`: delivers the result and, if the client is to be told only what it
    /// missed, the pushes behind it. Nothing that changes meanwhile can overtake or be overtaken.
    ///
    /// `known` is the version the client has, if it said one; `result` makes the stanza around the query (an empty
    /// one for `None`).
    pub(super) async fn answer(&self, session: &Session, known: Option<&str>, result: impl Fn(Option<&[u8]>) -> Bytes) {
        let _turn = self.turnstile.lock().await;
        let pages = self.pages();
        session.state().interested = true;
        match known.and_then(|known| pages.missed(known)) {
            Some(missed) => {
                session.deliver(result(None));
                for (version, jid) in missed {
                    let push = push(pages.head.epoch, version, jid, pages.contacts.get(jid).map(AsRef::as_ref));
                    session.mailbox.push(addressed(session, push));
                }
            }
            None => {
                let mut query = open_query(pages.head.epoch, pages.head.version);
                for (jid, contact) in pages.contacts.iter().filter(|(_, contact)| contact.is_listed) {
                    item::write(&mut query, jid, contact);
                }
                query.extend_from_slice(b"</query>");
                session.deliver(result(Some(&query)));
            }
        }
    }

    /// Lets nobody change the book any more.
    pub(super) fn close(&self) {
        self.pages().is_closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.pages().is_closed
    }
}

impl Pages {
    /// Writes a decision down; `None` if it asks for nothing.
    #[expect(clippy::too_many_arguments, reason = "one decision, taken apart once")]
    fn record(
        &mut self,
        account: &BareJid,
        now: Timestamp,
        jid: &BareJid,
        before: &Contact,
        edit: Edit,
        told: Option<(Bytes, Audience)>,
        is_pushed_anyway: bool,
    ) -> Option<u64> {
        let after = match edit {
            Edit::Keep => None,
            Edit::Put(contact) => Some(contact),
            Edit::Remove => Some(Contact::default()),
        };
        let is_visible = is_pushed_anyway
            || after.as_ref().is_some_and(|after| {
                before.is_listed != after.is_listed || (after.is_listed && !item::looks_the_same(before, after))
            });
        if told.is_none() && !is_visible && after.as_ref().is_none_or(|after| after == before) {
            return None;
        }
        let mut after = after.unwrap_or_else(|| before.clone());
        if self.head.epoch == 0 {
            self.head.epoch = now.max(1);
        }
        if is_visible {
            self.head.version += 1;
            after.changed_in = self.head.version;
        }
        let push = is_visible.then(|| push(self.head.epoch, self.head.version, jid, Some(&after)));
        if after != *before {
            self.write(account, jid, before, after);
        }
        self.decided += 1;
        self.departing.push_back(Departure { change: self.decided, told, push });
        Some(self.decided)
    }

    fn write(&mut self, account: &BareJid, jid: &BareJid, before: &Contact, after: Contact) {
        let account = account.as_str();
        self.counts.count(before, -1);
        self.counts.count(&after, 1);
        self.removed.remove(jid);
        if after.is_unknown() {
            self.contacts.remove(jid);
            if before.is_listed {
                self.trace(account, jid, after.changed_in);
            } else {
                roster::put_contact(&mut self.unsaved, account, jid, &after);
            }
        } else {
            roster::put_contact(&mut self.unsaved, account, jid, &after);
            self.contacts.insert(jid.clone(), Arc::new(after));
        }
    }

    /// Leaves a trace of a removed contact, and forgets the oldest one if there are too many.
    fn trace(&mut self, account: &str, jid: &BareJid, version: u64) {
        roster::put_removed(&mut self.unsaved, account, jid, version);
        self.removed.insert(jid.clone(), version);
        if self.removed.len() > TRACES_MAX
            && let Some((oldest, version)) =
                self.removed.iter().min_by_key(|(_, version)| **version).map(|(jid, version)| (jid.clone(), *version))
        {
            self.removed.remove(&oldest);
            roster::forget(&mut self.unsaved, account, &oldest);
            self.head.forgotten = version;
        }
    }

    /// What changed since the version a client has, oldest first: `None` if that cannot be told, or if sending the
    /// whole roster is less work for both.
    fn missed(&self, known: &str) -> Option<Vec<(u64, &BareJid)>> {
        let (epoch, known) = known.split_once('-')?;
        let (epoch, known) = (u64::from_str_radix(epoch, 16).ok()?, u64::from_str_radix(known, 16).ok()?);
        if epoch != self.head.epoch || known > self.head.version || known < self.head.forgotten {
            return None;
        }
        let changed = self.contacts.iter().filter(|(_, contact)| contact.is_listed);
        let changed = changed.map(|(jid, contact)| (contact.changed_in, jid));
        let removed = self.removed.iter().map(|(jid, version)| (*version, jid));
        let mut missed: Vec<_> = changed.chain(removed).filter(|(version, _)| *version > known).collect();
        missed.sort_unstable();
        (missed.len() <= self.counts.listed.max(1)).then_some(missed)
    }
}

impl Counts {
    fn count(&mut self, contact: &Contact, by: isize) {
        if contact.is_listed {
            self.listed = self.listed.saturating_add_signed(by);
        }
        if contact.request.is_some() {
            self.requests = self.requests.saturating_add_signed(by);
        }
    }
}

impl Departure {
    fn deliver(&self, session: &Arc<Session>) {
        let (is_available, is_interested) = {
            let state = session.state();
            (state.available.is_some(), state.interested)
        };
        if let Some((stanza, audience)) = &self.told
            && (is_available || (is_interested && *audience == Audience::Present))
        {
            session.deliver(stanza.clone());
        }
        if let Some(push) = &self.push
            && is_interested
        {
            session.mailbox.push(addressed(session, push.clone()));
        }
    }
}

fn addressed(session: &Session, after: Bytes) -> Frame {
    Frame::Addressed { before: "<iq type='set' to='", to: session.jid.clone().into(), after }
}

/// A roster push (RFC 6121 section 2.1.6) from behind the recipient's address. Its id is the version: one version
/// is pushed once to a resource, and nobody waits for the answer.
fn push(epoch: u64, version: u64, jid: &BareJid, contact: Option<&Contact>) -> Bytes {
    let mut out = format!(" id='roster-{version:x}'>").into_bytes();
    out.extend_from_slice(&open_query(epoch, version));
    match contact {
        Some(contact) if contact.is_listed => item::write(&mut out, jid, contact),
        _ => item::write_removed(&mut out, jid),
    }
    out.extend_from_slice(b"</query></iq>");
    out.into()
}

fn open_query(epoch: u64, version: u64) -> Vec<u8> {
    format!("<query xmlns='{}' ver='{epoch:x}-{version:x}'>", ns::ROSTER).into_bytes()
}

fn closed() -> Fault {
    Fault::new("a roster could not be written and is closed")
}

#[cfg(test)]
#[path = "book_test.rs"]
mod tests;
