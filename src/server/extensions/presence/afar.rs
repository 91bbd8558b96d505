//! Presence from other servers: what it tells of who is there, and what comes back when it cannot be delivered.
//!
//! Presence of contacts is noted in the directory of [`crate::session::remotes`]; that of strangers is passed on and
//! not kept. An error in answer to what a user sent by hand is the user's to see. One in answer to what the server
//! sends in its name (a broadcast, a probe) is not: it says that the contact cannot be reached, and what the user saw
//! of it is shown as gone. Errors are never answered, so nothing goes round.

use std::sync::Weak;

use xmpp::{BareJid, Jid, Stanza};

use super::{Presence, priority};
use crate::extension::{Listener, Pending};
use crate::router::Router;
use crate::session::interest::Claim;
use crate::session::remotes::Noted;

impl Presence {
    /// A resource elsewhere is available, as `account` was told.
    pub(super) async fn comes(&self, router: &Router, account: &BareJid, from: &Jid, stanza: &Stanza) {
        let Some(full) = from.to_full() else { return };
        // Nothing is read, and nothing kept in memory, for accounts that a stranger made up.
        if !self.exists(router, account).await {
            return;
        }
        let is_contact = match self.books.open(account).await {
            Ok(book) => book.is_seen_by(from.as_bare_str()) || book.sees(from.as_bare_str()),
            Err(error) => return tracing::error!(%account, %error, "a roster could not be read"),
        };
        if !is_contact {
            return;
        }
        let known = |claim: &Claim| router.interests.get(&claim.ver).filter(|_| claim.is_verifiable);
        let priority = priority(&stanza.content).unwrap_or(0);
        match router.remotes.note(account, &full, priority, Claim::of(&stanza.content), known) {
            Noted::Nothing => {}
            Noted::Wants(interest) => {
                router.tell(|listener| listener.remote_wants(account, &full, &interest)).await;
            }
            Noted::Claims(claim) => {
                router.tell(|listener| listener.remote_claims(account, &full, &claim)).await;
            }
        }
    }

    /// An error from elsewhere. Whether it was all about what the server sent; else the user should see it.
    pub(super) async fn comes_back(&self, router: &Router, account: &BareJid, from: &Jid, to: &Jid) -> bool {
        let book = match self.books.open(account).await {
            Ok(book) => book,
            Err(error) => {
                tracing::error!(%account, %error, "a roster could not be read");
                return false;
            }
        };
        let is_by_hand = match to.to_full() {
            Some(full) => {
                let session = router.sessions.find(&full);
                let was_directed = session.is_some_and(|session| session.state().directed.remove(from.as_str()));
                // A domain gets presence from us only to pass it on to its users.
                was_directed || !(from.is_domain() || book.is_seen_by(from.as_bare_str()))
            }
            // A request the user is waiting to have answered.
            None => book.contact(from.as_bare_str()).is_some_and(|contact| contact.is_asked),
        };
        if from.is_domain() {
            for contact in book.contacts(|_| true).into_iter().filter(|contact| contact.domain() == from.domain()) {
                self.announcer.lose(router, account, &contact.into());
            }
        } else {
            self.announcer.lose(router, account, from);
        }
        !is_by_hand
    }
}

/// Forgets who is there elsewhere when an account may no longer know.
pub(super) struct Afar(pub(super) Weak<Router>);

impl Afar {
    fn lost(&self, account: &BareJid, other: &Jid) {
        if let Some(router) = self.0.upgrade() {
            router.remotes.lost(account, other);
        }
    }
}

impl Listener for Afar {
    fn subscription_changed(&self, account: &BareJid, contact: &BareJid, may_see: bool, sees: bool) -> Pending<()> {
        if !may_see && !sees {
            self.lost(account, &contact.into());
        }
        Pending::now(())
    }

    fn blocking_changed(&self, account: &BareJid, other: &Jid, blocked: bool) -> Pending<()> {
        if blocked {
            self.lost(account, other);
        }
        Pending::now(())
    }

    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        if let Some(router) = self.0.upgrade() {
            router.remotes.forget(account);
        }
        Pending::now(())
    }
}
