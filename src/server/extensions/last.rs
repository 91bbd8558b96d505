//! XEP-0012: Last Activity.
//!
//! Tells since when an account is away, to those who may see its presence, and for how long the server has been running,
//! to everybody. What its owner said when leaving is not told. A request to a resource is the client's to answer; who may
//! ask one is guarded in `extensions/presence`.

use std::sync::{Arc, Weak};

use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, StanzaError, ns};

use super::roster::Books;
use crate::extension::{Answer, Asked, Extension, Kit, Listener, Mount, Pending, Reply, Spec, To, Xep, fault};
use crate::router::Router;
use crate::runtime::{Clock, Timestamp};
use crate::session::Session;
use crate::tables::last::LastSeen;

/// Tells of last activity.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Last {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    books: Arc<Books>,
    clock: Arc<dyn Clock>,
    seen: LastSeen,
    since: Timestamp,
}

static SPEC: Spec = Spec { name: "last", xeps: &[Xep::complete(12, "2.0")], config: "" };

impl Last {
    /// Tells from now on.
    #[must_use]
    pub fn new(kit: &Kit, books: &Arc<Books>) -> Arc<Self> {
        Arc::new(Self {
            router: Arc::downgrade(&kit.router),
            books: Arc::clone(books),
            clock: Arc::clone(&kit.clock),
            seen: LastSeen::new(Arc::clone(&kit.store)),
            since: kit.clock.now(),
        })
    }

    fn answer(&self, since: Timestamp) -> Reply {
        let seconds = self.clock.now().saturating_sub(since) / 1_000_000;
        Reply::Element(Element::builder("query", ns::LAST).attribute("seconds", &*seconds.to_string()).build())
    }

    async fn of_server(self: Arc<Self>, _: Asked) -> Answer {
        Ok(self.answer(self.since))
    }

    async fn of_account(self: Arc<Self>, asked: Asked) -> Answer {
        if !asked.caller.owns(&asked.to) {
            let book = self.books.open(&asked.to).await.map_err(|error| fault("rosters", &error))?;
            // The same for an account that does not exist: it has no contacts.
            if !book.is_seen_by(asked.caller.jid.as_bare_str()) {
                return Err(StanzaError::forbidden());
            }
        }
        if self.router.upgrade().is_some_and(|router| router.sessions.any(asked.to.as_str())) {
            return Ok(self.answer(self.clock.now()));
        }
        let seen = self.seen.get(asked.to.as_str()).await.map_err(|error| fault("last activity", &error))?;
        seen.map(|seen| self.answer(seen)).ok_or_else(StanzaError::item_not_found)
    }

    /// Whether another resource of the account is still available.
    fn is_there(&self, account: &BareJid) -> bool {
        let mut is_there = false;
        if let Some(router) = self.router.upgrade() {
            router.sessions.for_each_of(account.as_str(), |other| is_there |= other.state().available.is_some());
        }
        is_there
    }
}

impl Listener for Last {
    fn became_unavailable(&self, session: &Arc<Session>) -> Pending<()> {
        let account = session.jid.bare();
        if self.is_there(&account) {
            return Pending::now(());
        }
        let (seen, now) = (self.seen.clone(), self.clock.now());
        Pending::later(async move {
            if let Err(error) = seen.put(account.as_str(), now).await {
                tracing::error!(%account, %error, "when an account went is not kept");
            }
        })
    }

    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        let (seen, account) = (self.seen.clone(), account.clone());
        Pending::later(async move {
            if let Err(error) = seen.delete(account.as_str()).await {
                let _told = fault("last activity", &error);
            }
        })
    }
}

impl Extension for Last {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_get(To::DOMAIN | To::SERVICE, ("query", ns::LAST), &self, Self::of_server);
        at.iq_get(To::ACCOUNT, ("query", ns::LAST), &self, Self::of_account);
        at.listener(self);
    }
}
