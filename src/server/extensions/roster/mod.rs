//! The roster: RFC 6121 section 2, with versioning that tells a client exactly what it missed (XEP-0237).
//!
//! Read on in this order: `subscription.rs` (the nine states), `item.rs` (items as elements), `book.rs` (one roster
//! in memory and how its changes leave), `books.rs` (all that are open), `settler.rs` (many changes, one commit). This file answers the IQs. Presence
//! stanzas, subscriptions among them, are `extensions/presence`.

pub mod book;
pub mod books;
pub mod item;
mod settler;
pub mod subscription;

use std::sync::Arc;

use xmpp::stanza::{Kind, PresenceType};
use xmpp::{BareJid, Element, Stanza, StanzaError, ns};

use self::book::{Book, Decided, Edit};
pub use self::books::{Books, Refused, Watch};
use self::books::{fault, full};
use self::item::Wish;
use self::subscription::{Removal, State, removed};
use super::presence::Announcer;
use super::privileges::Privileges;
use crate::config::Config;
use crate::extension::{Answer, Asked, Extension, Listener, Mount, Pending, Reply, Spec, To, Xep};
use crate::tables::roster::Contact;

/// Answers roster gets and sets.
#[expect(missing_debug_implementations, reason = "nobody prints rosters")]
pub struct Roster {
    books: Arc<Books>,
    announcer: Arc<Announcer>,
    privileges: Arc<Privileges>,
    items_max: usize,
}

static SPEC: Spec = Spec { name: "roster", xeps: &[Xep::complete(237, "1.3")], config: "" };

impl Roster {
    /// Serves the rosters in `books`; whom a removal concerns is told by `announcer`.
    #[must_use]
    pub fn new(
        books: &Arc<Books>,
        announcer: &Arc<Announcer>,
        privileges: &Arc<Privileges>,
        config: &Config,
    ) -> Arc<Self> {
        let (books, announcer) = (Arc::clone(books), Arc::clone(announcer));
        Arc::new(Self {
            books,
            announcer,
            privileges: Arc::clone(privileges),
            items_max: config.limits.roster_items_max,
        })
    }

    /// RFC 6121 sections 2.1.3 and 2.6.
    async fn get(self: Arc<Self>, asked: Asked) -> Answer {
        if !asked.caller.owns(&asked.to) && self.privileges.permits_roster(&asked.caller, &asked.to, false).await {
            let book = self.books.open(&asked.to).await.map_err(fault)?;
            return Ok(Reply::Element(whole(&book)));
        }
        asked.require_owner()?;
        let Some(session) = &asked.caller.session else { return Err(StanzaError::forbidden()) };
        let query = asked.open()?;
        if query.children().next().is_some() {
            return Err(StanzaError::bad_request().with_text("a roster get has no items"));
        }
        let book = self.books.open(&asked.to).await.map_err(fault)?;
        let head = &asked.stanza.head;
        book.answer(session, query.attr("ver"), |query| match query {
            Some(query) => Stanza::iq_result_bytes(head, "query", ns::ROSTER, query).render(),
            None => Stanza::iq_result(head, None).render(),
        })
        .await;
        Ok(Reply::Sent)
    }

    /// RFC 6121 sections 2.3 to 2.5.
    async fn set(self: Arc<Self>, asked: Asked) -> Answer {
        if asked.caller.owns(&asked.to) || !self.privileges.permits_roster(&asked.caller, &asked.to, true).await {
            asked.require_owner()?;
        }
        match item::parse_set(&asked.open()?)? {
            Wish::Put { jid, name, groups } => {
                if jid == asked.to {
                    return Err(StanzaError::not_allowed().with_text("nobody is their own contact"));
                }
                self.put(&asked.to, &jid, name, groups).await?;
            }
            Wish::Remove(jid) => self.remove(&asked.to, &jid).await?,
        }
        Ok(Reply::Empty)
    }

    async fn put(
        &self,
        account: &BareJid,
        jid: &BareJid,
        name: Box<str>,
        groups: Box<[Box<str>]>,
    ) -> Result<(), StanzaError> {
        let decide = |before: &Contact, counts: book::Counts| {
            if !before.is_listed && counts.listed >= self.items_max {
                return Err(Refused::Answer(full()));
            }
            let after = Contact { is_listed: true, name, groups, ..before.clone() };
            Ok(Decided { edit: Edit::Put(after), told: None, is_pushed_anyway: true, then: () })
        };
        self.books.change(account, jid, decide).await.map_err(StanzaError::from)
    }

    async fn remove(&self, account: &BareJid, jid: &BareJid) -> Result<(), StanzaError> {
        let decide = |before: &Contact, _| {
            if !before.is_listed {
                return Err(Refused::Answer(StanzaError::item_not_found()));
            }
            Ok(Decided { edit: Edit::Remove, told: None, is_pushed_anyway: false, then: State::of(before) })
        };
        let before = self.books.change(account, jid, decide).await.map_err(StanzaError::from)?;
        self.part(account, jid, removed(before)).await;
        self.announcer.tell_change(account, jid, before.subscription(), Default::default()).await;
        Ok(())
    }

    /// Sends what ends the subscriptions between the two (RFC 6121 section 2.5.2).
    async fn part(&self, account: &BareJid, jid: &BareJid, removal: Removal) {
        if removal.unavailable {
            self.announcer.withdraw(account, jid).await;
        }
        for (is_due, type_) in
            [(removal.unsubscribe, PresenceType::Unsubscribe), (removal.unsubscribed, PresenceType::Unsubscribed)]
        {
            if is_due {
                let stanza = Stanza::new(Kind::Presence(type_)).from(account.clone()).to(jid.clone());
                self.announcer.send(stanza).await;
            }
        }
    }
}

/// A whole roster, for who may see it and is not its owner.
#[must_use]
pub fn whole(book: &Book) -> Element {
    let mut query = Element::bare("query", ns::ROSTER);
    for jid in book.contacts(|contact| contact.is_listed) {
        let Some(contact) = book.contact(jid.as_str()) else { continue };
        let mut bytes = Vec::new();
        item::write(&mut bytes, &jid, &contact);
        if let Ok(item) = xmpp::xml::parse_element(&bytes, ns::ROSTER) {
            query.append_child(item);
        }
    }
    query
}

impl Listener for Roster {
    /// An account that goes takes its subscriptions along, or its contacts would wait for its presence for ever.
    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        let (books, announcer, account) = (Arc::clone(&self.books), Arc::clone(&self.announcer), account.clone());
        let privileges = Arc::clone(&self.privileges);
        let roster = Self { books, announcer, privileges, items_max: self.items_max };
        Pending::later(async move {
            match roster.books.open(&account).await {
                Ok(book) => {
                    for jid in book.contacts(|_| true) {
                        let state = book.contact(jid.as_str()).map_or(State::None, |contact| State::of(&contact));
                        roster.part(&account, &jid, removed(state)).await;
                    }
                }
                Err(error) => tracing::error!(%account, %error, "the contacts of a removed account are not told"),
            }
            if let Err(error) = roster.books.delete(&account).await {
                tracing::error!(%account, %error, "the roster of a removed account is left behind");
            }
        })
    }
}

impl Extension for Roster {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_get(To::ACCOUNT, ("query", ns::ROSTER), &self, Self::get);
        at.iq_set(To::ACCOUNT, ("query", ns::ROSTER), &self, Self::set);
        at.listener(self);
    }
}
