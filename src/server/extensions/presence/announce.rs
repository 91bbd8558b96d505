//! Telling others of an account's presence: everybody who may see it, or one of them.
//!
//! What goes to many is rendered once and shared ([`Frame::Addressed`]); only the recipient's address differs. Local
//! recipients get it straight into the mailboxes of their available resources, those on other servers by the road to
//! there. Nobody is told whom the account blocks, or who blocks the account (XEP-0191).

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use store::Fault;
use xmpp::limits::Limits;
use xmpp::stanza::{Kind, PresenceType};
use xmpp::{BareJid, FullJid, Jid, Stanza};

use crate::extension::Kit;
use crate::extensions::blocking::Blocks;
use crate::extensions::blocking::blocks::{covers, is_exempt};
use crate::extensions::roster::Books;
use crate::router::Router;
use crate::router::bundle::Bundle;
use crate::session::Session;
use crate::session::mailbox::Frame;
use crate::tables::roster::Subscription;

/// Contacts served before others get a turn on the thread.
const CONTACTS_PER_TURN: usize = 256;

/// Tells others of presence.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Announcer {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    books: Arc<Books>,
    blocks: Arc<Blocks>,
}

/// Everything of a presence stanza from behind the recipient's address: ` from='…' …>…</presence>`.
pub(super) fn shared(stanza: &Stanza) -> Bytes {
    const OPEN: usize = "<presence".len();
    let mut head = stanza.head.clone();
    head.to = None;
    let mut out = Vec::with_capacity(stanza.content.as_bytes().len() + 160);
    head.open_into(&mut out, None);
    out.drain(..OPEN);
    if stanza.content.is_empty() {
        out.extend_from_slice(b"/>");
    } else {
        out.push(b'>');
        out.extend_from_slice(stanza.content.as_bytes());
        head.close_into(&mut out);
    }
    out.into()
}

/// What [`shared`] made, for one recipient.
pub(super) fn frame(to: Jid, shared: &Bytes) -> Frame {
    Frame::Addressed { before: "<presence to='", to, after: shared.clone() }
}

/// The stanza that [`frame`] stands for.
pub(super) fn stanza_of(to: Jid, shared: &Bytes) -> Option<Stanza> {
    let mut out = Vec::with_capacity(shared.len() + 64);
    frame(to, shared).write(&mut out);
    Stanza::parse(out.into(), &Limits::server()).ok()
}

impl Announcer {
    /// Asks `books` who may see whom, and `blocks` who must not.
    #[must_use]
    pub fn new(kit: &Kit, books: &Arc<Books>, blocks: &Arc<Blocks>) -> Arc<Self> {
        let router = Arc::downgrade(&kit.router);
        Arc::new(Self { router, books: Arc::clone(books), blocks: Arc::clone(blocks) })
    }

    pub(super) fn router(&self) -> Option<Arc<Router>> {
        self.router.upgrade()
    }

    /// Sends a presence stanza that has its `from` and `to`.
    pub async fn send(&self, stanza: Stanza) {
        if let Some(router) = self.router() {
            router.presence_to(stanza).await;
        }
    }

    /// Tells every contact that may see the presence of `account` (RFC 6121 sections 4.2.2, 4.4.2 and 4.5.2).
    ///
    /// `stanza` is from one of the account's resources and has no recipient; `shared` is what all get of it.
    pub(super) async fn broadcast(&self, account: &BareJid, stanza: &Stanza, shared: &Bytes) -> Result<(), Fault> {
        let (Some(router), Some(from)) = (self.router(), &stanza.head.from) else { return Ok(()) };
        let contacts = self.books.open(account).await?.contacts(|contact| contact.subscription.has_from());
        let blocked = self.blocks.open(account).await?.addresses();
        let mut afar = Bundle::presence(&router, from.clone(), shared.clone());
        for (served, contact) in contacts.into_iter().enumerate() {
            let to = Jid::from(contact);
            if covers(&blocked, &to) && !is_exempt(account.as_str(), &to) {
                continue;
            }
            if router.serves(to.domain()) {
                self.hand(&router, from, &to, shared);
            } else {
                afar.add(to).await;
            }
            if served % CONTACTS_PER_TURN == CONTACTS_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        for unreachable in afar.finish() {
            self.lose(&router, account, &unreachable);
        }
        Ok(())
    }

    /// A contact on another server cannot be reached: what the account saw of it is shown as gone.
    pub(super) fn lose(&self, router: &Router, account: &BareJid, contact: &Jid) {
        for lost in router.remotes.lost(account, contact) {
            let bytes = unavailable(&lost).to(account.clone()).render();
            router.sessions.for_each_of(account.as_str(), |session| {
                if session.state().available.is_some() {
                    session.deliver(bytes.clone());
                }
            });
        }
    }

    /// Puts presence from `from` into the mailboxes of a local contact's available resources, unless it blocks
    /// `from`. A contact who is not online has none, and its blocklist need not be read.
    fn hand(&self, router: &Router, from: &Jid, to: &Jid, shared: &Bytes) {
        if !router.sessions.any(to.as_bare_str())
            || self.blocks.is_blocked_at_hand(to.as_bare_str(), from) == Some(true)
        {
            return;
        }
        router.sessions.for_each_of(to.as_bare_str(), |session| {
            if session.state().available.is_some() {
                session.mailbox.push(frame(to.clone(), shared));
            }
        });
    }

    /// Sends the current presence of each available resource of `account` to `contact` (RFC 6121 section 3.1.5).
    pub async fn disclose(&self, account: &BareJid, contact: &Jid) {
        let Some(router) = self.router() else { return };
        for session in router.sessions.of(account.as_str()) {
            let Some(shared) = session.state().available.as_ref().map(|available| available.shared.clone()) else {
                continue;
            };
            if !router.serves(contact.domain()) {
                self.relay(&router, account, contact, &session.jid.clone().into(), &shared);
            } else if let Some(stanza) = stanza_of(contact.clone(), &shared) {
                router.presence_to(stanza).await;
            }
        }
    }

    /// Sends what [`shared`] made to a contact on another server.
    fn relay(&self, router: &Router, account: &BareJid, contact: &Jid, from: &Jid, shared: &Bytes) {
        if router.relay_frame(Some(from), contact.domain(), frame(contact.clone(), shared)).is_err() {
            self.lose(router, account, contact);
        }
    }

    /// Sends unavailable presence from each available resource of `account` to `contact` (RFC 6121 sections 3.2.2
    /// and 3.3.3).
    pub async fn withdraw(&self, account: &BareJid, contact: &BareJid) {
        self.withdraw_from(account, &contact.clone().into(), |_| true).await;
    }

    async fn withdraw_from(&self, account: &BareJid, contact: &Jid, wanted: impl Fn(&Session) -> bool) {
        let Some(router) = self.router() else { return };
        for session in router.sessions.of(account.as_str()) {
            if session.state().available.is_some() && wanted(&session) {
                router.presence_to(unavailable(&session.jid).to(contact.clone())).await;
            }
        }
    }

    /// Tells whoever hears of moments that `contact` may or may not see `account`, or the other way round.
    pub async fn tell_change(&self, account: &BareJid, contact: &BareJid, before: Subscription, after: Subscription) {
        if before != after
            && let Some(router) = self.router()
        {
            let (may_see, sees) = (after.has_from(), after.has_to());
            router.tell(|listener| listener.subscription_changed(account, contact, may_see, sees)).await;
        }
    }

    /// Shows the account as unavailable to those it has just blocked: contacts that may see its presence and
    /// entities it sent directed presence to, as far as `is_new` says that they were not blocked before
    /// (XEP-0191 section 3.3).
    pub async fn hide_from(&self, account: &BareJid, blocked: &[Jid], is_new: impl Fn(&Jid) -> bool) {
        let Some(router) = self.router() else { return };
        let Ok(book) = self.books.open(account).await else { return };
        let mut contacts: BTreeSet<Jid> = BTreeSet::new();
        contacts.extend(
            book.contacts(|contact| contact.subscription.has_from()).into_iter().map(Jid::from).filter(&is_new),
        );
        // One resource of a contact may be blocked where the contact is not.
        let full = blocked.iter().filter(|jid| jid.is_full() && is_new(jid) && book.is_seen_by(jid.as_bare_str()));
        contacts.extend(full.cloned());
        for contact in &contacts {
            self.withdraw_from(account, contact, |_| true).await;
        }
        for session in router.sessions.of(account.as_str()) {
            let directed: Vec<Jid> = {
                let mut state = session.state();
                let (hidden, kept) = std::mem::take(&mut state.directed).into_iter().partition(&is_new);
                state.directed = kept;
                Vec::from_iter::<std::collections::BTreeSet<Jid>>(hidden)
            };
            for to in directed {
                if !contacts.contains(to.as_str()) && !contacts.contains(to.as_bare_str()) {
                    router.presence_to(unavailable(&session.jid).to(to)).await;
                }
            }
        }
    }

    /// Shows the account's presence to contacts it no longer blocks, and asks for theirs (XEP-0191 section 3.4).
    pub async fn show_to(&self, account: &BareJid, is_free: impl Fn(&Jid) -> bool) {
        let Ok(book) = self.books.open(account).await else { return };
        for contact in book.contacts(|contact| contact.subscription != Subscription::None) {
            let jid = Jid::from(contact.clone());
            if !is_free(&jid) {
                continue;
            }
            if book.is_seen_by(contact.as_str()) {
                self.disclose(account, &jid).await;
            }
            if book.sees(contact.as_str()) {
                self.send(Stanza::new(Kind::Presence(PresenceType::Probe)).from(account.clone()).to(jid)).await;
            }
        }
    }

    /// Gives `session` the presence of every local contact that the account may see and that is here; of the
    /// others their servers are asked (RFC 6121 section 4.3.1).
    pub(super) async fn gather(&self, account: &BareJid, session: &Session) -> Result<(), Fault> {
        let Some(router) = self.router() else { return Ok(()) };
        let own = Jid::from(session.jid.clone());
        let contacts = self.books.open(account).await?.contacts(|contact| contact.subscription.has_to());
        let blocked = self.blocks.open(account).await?.addresses();
        let prober = Jid::from(account.clone());
        let probe = shared(&Stanza::new(Kind::Presence(PresenceType::Probe)).from(account.clone()));
        for (served, contact) in contacts.into_iter().enumerate() {
            let jid = Jid::from(contact.clone());
            if covers(&blocked, &jid) && !is_exempt(account.as_str(), &jid) {
                continue;
            }
            if !router.serves(contact.domain()) {
                self.relay(&router, account, &jid, &prober, &probe);
            } else if router.sessions.any(contact.as_str()) && self.lets_see(&contact, account, &own) {
                router.sessions.for_each_of(contact.as_str(), |other| {
                    if let Some(available) = &other.state().available {
                        session.mailbox.push_shared(frame(own.clone(), &available.shared));
                    }
                });
            }
            if served % CONTACTS_PER_TURN == CONTACTS_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Asks the servers of those contacts of `account` that are elsewhere and `wanted` for their presence.
    pub(in crate::extensions) async fn look_afar(
        &self,
        account: &BareJid,
        mut wanted: impl FnMut(&Jid) -> bool + Send,
    ) -> Result<(), Fault> {
        let Some(router) = self.router() else { return Ok(()) };
        let contacts = self.books.open(account).await?.contacts(|contact| contact.subscription.has_to());
        let blocked = self.blocks.open(account).await?.addresses();
        let prober = Jid::from(account.clone());
        let probe = shared(&Stanza::new(Kind::Presence(PresenceType::Probe)).from(account.clone()));
        for contact in contacts.into_iter().map(Jid::from) {
            let is_blocked = covers(&blocked, &contact) && !is_exempt(account.as_str(), &contact);
            if !router.serves(contact.domain()) && !is_blocked && wanted(&contact) {
                self.relay(&router, account, &contact, &prober, &probe);
            }
        }
        Ok(())
    }

    /// Does `contact`, who is online, let `account` see its presence?
    fn lets_see(&self, contact: &BareJid, account: &BareJid, viewer: &Jid) -> bool {
        self.books.at_hand(contact.as_str()).is_some_and(|book| book.is_seen_by(account.as_str()))
            && self.blocks.is_blocked_at_hand(contact.as_str(), viewer) != Some(true)
    }
}

/// Unavailable presence made for a resource that did not send it.
pub(super) fn unavailable(jid: &FullJid) -> Stanza {
    Stanza::new(Kind::Presence(PresenceType::Unavailable)).from(jid.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_shared_presence_is_the_stanza_for_everybody() {
        let to = Jid::new("juliet@example.com").unwrap();
        for content in ["", "<show>away</show><c xmlns='http://jabber.org/protocol/caps' ver='x'/>"] {
            let stanza =
                format!("<presence from='romeo@example.net/o&apos;x' id='p1' xml:lang='en'>{content}</presence>");
            let stanza = Stanza::parse(stanza.into(), &Limits::server()).unwrap();
            let mut out = Vec::new();
            frame(to.clone(), &shared(&stanza)).write(&mut out);
            assert_eq!(out, stanza.clone().to(to.clone()).render());
            assert_eq!(stanza_of(to.clone(), &shared(&stanza)).unwrap(), stanza.to(to.clone()));
        }
    }
}
