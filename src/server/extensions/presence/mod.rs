//! Presence: RFC 6121 section 4, and the stanzas of section 3.
//!
//! Presence of our own users comes in by [`Presences::outbound`], presence for them by [`Presences::inbound`]. Who
//! may see whom is known by the rosters; `announce.rs` tells them, `subscriptions.rs` changes that, `probe.rs`
//! answers who asks. What an IQ to a resource would tell a stranger of its presence is guarded here too (section
//! 8.5.3.1).
//!
//! A resource that sends directed presence beyond the configured number is refused with `resource-constraint`.

mod afar;
mod announce;
mod moved;
mod probe;
mod subscriptions;

use std::sync::{Arc, Weak};

use bytes::Bytes;
use store::Fault;
use xmpp::stanza::{Content, IqType, Kind, PresenceType};
use xmpp::{BareJid, Jid, Stanza, StanzaError, ns};

use self::afar::Afar;
pub use self::announce::Announcer;
use self::announce::{frame, shared, stanza_of, unavailable};
use self::subscriptions::action;
use super::avatar::Portraits;
use super::blocking::{Blocks, blocked};
use super::messages::Delivery;
use super::offline::Offline;
use super::roster::Books;
use super::roster::subscription::Action;
use crate::config::Config;
use crate::extension::{BoxFuture, Direction, Extension, Guard, Kit, Listener, Mount, Pending, Presences, Spec, Xep};
use crate::router::Router;
use crate::router::rules::{Availability, Decision, Recipient, decide};
use crate::runtime::Clock;
use crate::session::{Available, Session, show_in};
use crate::tables::accounts::Accounts;

/// Handles presence.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Presence {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    clock: Arc<dyn Clock>,
    accounts: Arc<Accounts>,
    books: Arc<Books>,
    blocks: Arc<Blocks>,
    announcer: Arc<Announcer>,
    offline: Arc<Offline>,
    delivery: Arc<Delivery>,
    items_max: usize,
    directed_max: usize,
    portraits: Arc<Portraits>,
}

static SPEC: Spec = Spec { name: "presence", xeps: &[Xep::complete(283, "0.2.0")], config: "" };

/// What else presence needs of the house.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Needs<'a> {
    /// Which accounts there are.
    pub accounts: &'a Arc<Accounts>,
    /// Who may see whom.
    pub books: &'a Arc<Books>,
    /// Who must not.
    pub blocks: &'a Arc<Blocks>,
    /// Tells them.
    pub announcer: &'a Arc<Announcer>,
    /// What waited for a resource to come.
    pub offline: &'a Arc<Offline>,
    /// What a resource left behind.
    pub delivery: &'a Arc<Delivery>,
    /// What its presence says of somebody's avatar.
    pub portraits: &'a Arc<Portraits>,
}

impl Presence {
    /// Handles presence in the kit's house.
    #[must_use]
    pub fn new(kit: &Kit, needs: &Needs<'_>, config: &Config) -> Arc<Self> {
        Arc::new(Self {
            router: Arc::downgrade(&kit.router),
            clock: Arc::clone(&kit.clock),
            accounts: Arc::clone(needs.accounts),
            books: Arc::clone(needs.books),
            blocks: Arc::clone(needs.blocks),
            announcer: Arc::clone(needs.announcer),
            offline: Arc::clone(needs.offline),
            delivery: Arc::clone(needs.delivery),
            items_max: config.limits.roster_items_max,
            directed_max: config.limits.directed_presences_max,
            portraits: Arc::clone(needs.portraits),
        })
    }

    async fn bounce(&self, stanza: &Stanza, error: &StanzaError) {
        if let Some(router) = self.router.upgrade() {
            router.bounce(stanza, error).await;
        }
    }

    /// Is `other` blocked by `account`? If that cannot be read, yes.
    async fn is_blocked(&self, account: &BareJid, other: &Jid) -> bool {
        self.blocks.is_blocked(account, other).await.unwrap_or_else(|error| {
            tracing::error!(%account, %error, "a blocklist could not be read");
            true
        })
    }

    async fn exists(&self, router: &Router, account: &BareJid) -> bool {
        router.sessions.any(account.as_str())
            || self.accounts.exists(account).await.unwrap_or_else(|error| {
                tracing::error!(%account, %error, "an account could not be read");
                false
            })
    }

    async fn user_sends(&self, session: Arc<Session>, stanza: Stanza) {
        let Kind::Presence(type_) = stanza.head.kind else { return };
        let account = session.jid.bare();
        if let Some(to) = &stanza.head.to
            && self.is_blocked(&account, to).await
        {
            return self.bounce(&stanza, &blocked()).await;
        }
        match (type_, &stanza.head.to) {
            (PresenceType::Available, None) => self.update(&account, &session, stanza).await,
            (PresenceType::Unavailable, None) => self.leave(&account, &session, stanza).await,
            (PresenceType::Available | PresenceType::Unavailable, Some(_)) => {
                self.direct(&account, &session, stanza, type_).await;
            }
            // Clients should not probe, but must not be punished for it (section 4.3).
            (PresenceType::Probe | PresenceType::Error, Some(_)) => self.announcer.send(stanza).await,
            (PresenceType::Probe | PresenceType::Error, None) => {}
            (_, _) => {
                if let Some(action) = action(type_) {
                    self.subscription_out(account, stanza, action).await;
                }
            }
        }
    }

    /// Initial and subsequent presence (sections 4.2.2 and 4.4.2).
    async fn update(&self, account: &BareJid, session: &Arc<Session>, mut stanza: Stanza) {
        let Some(router) = self.router.upgrade() else { return };
        let priority = match priority(&stanza.content) {
            Ok(priority) => priority,
            Err(error) => return self.bounce(&stanza, &error).await,
        };
        let (show, content) = (show_in(&stanza.content), stanza.content.as_bytes().clone());
        self.portraits.dress(account.as_str(), &mut stanza, false);
        let shared = shared(&stanza);
        let before = {
            let mut state = session.state();
            let before = state.available.take();
            // Who it is told apart by its capabilities has not changed if they have not (XEP-0115).
            let interest = before
                .as_ref()
                .filter(|before| caps(&stanza.content) == caps_of(&before.content))
                .and_then(|before| before.interest.clone());
            let since = before.as_ref().map_or_else(|| self.clock.now(), |before| before.since);
            state.available = Some(Available { priority, show, content, shared: shared.clone(), since, interest });
            before.map(|before| before.priority)
        };
        self.tell_own(&router, account, session, &shared);
        if let Err(error) = self.announcer.broadcast(account, &stanza, &shared).await {
            return self.failed(&stanza, &error).await;
        }
        if before.is_none()
            && let Err(error) = self.begin(&router, account, session).await
        {
            return self.failed(&stanza, &error).await;
        }
        // Offline messages wait for a priority that is not negative (XEP-0160).
        if priority >= 0 && before.is_none_or(|before| before < 0) {
            self.offline.deliver(session).await;
        }
        if before.is_none() {
            router.tell(|listener| listener.became_available(session)).await;
        }
        router.tell(|listener| listener.presence_updated(session)).await;
    }

    /// Whether the account has any session.
    pub(super) fn is_online(&self, account: &BareJid) -> bool {
        self.router.upgrade().is_some_and(|router| router.sessions.any(account.as_str()))
    }

    /// Sends the presence of each available resource once more, because what we add to it has changed.
    pub(super) async fn say_again(&self, account: &BareJid) {
        let Some(router) = self.router.upgrade() else { return };
        for session in router.sessions.of(account.as_str()) {
            let said = session.state().available.as_ref().map(|said| (said.content.clone(), said.shared.clone()));
            let Some((content, shared_before)) = said else { continue };
            let Some(mut stanza) = stanza_of(session.jid.clone().into(), &shared_before) else { continue };
            let Ok(content) = Content::from_bytes_checked(content) else { continue };
            stanza.head.to = None;
            stanza.content = content;
            self.portraits.dress(account.as_str(), &mut stanza, false);
            let shared = shared(&stanza);
            if shared == shared_before {
                // Its client has its own word on avatars.
                continue;
            }
            match &mut session.state().available {
                Some(available) => available.shared = shared.clone(),
                None => continue,
            }
            self.tell_own(&router, account, &session, &shared);
            if let Err(error) = self.announcer.broadcast(account, &stanza, &shared).await {
                tracing::error!(%account, %error, "contacts are not told of a new avatar");
            }
        }
    }

    /// Sends presence to every available resource of the account, and to the sender itself.
    fn tell_own(&self, router: &Router, account: &BareJid, sender: &Arc<Session>, shared: &Bytes) {
        router.sessions.for_each_of(account.as_str(), |session| {
            if Arc::ptr_eq(session, sender) || session.state().available.is_some() {
                session.mailbox.push(frame(session.jid.clone().into(), shared));
            }
        });
    }

    /// What a resource learns when it becomes available: the presence of others, and the requests that wait.
    async fn begin(&self, router: &Router, account: &BareJid, session: &Arc<Session>) -> Result<(), Fault> {
        let own = Jid::from(session.jid.clone());
        for other in router.sessions.of(account.as_str()) {
            if !Arc::ptr_eq(&other, session)
                && let Some(available) = &other.state().available
            {
                session.mailbox.push(frame(own.clone(), &available.shared));
            }
        }
        self.announcer.gather(account, session).await?;
        self.ask_again(account).await?;
        for request in self.books.open(account).await?.requests() {
            session.deliver(request);
        }
        Ok(())
    }

    /// Unavailable presence sent by the resource itself (section 4.5.2).
    async fn leave(&self, account: &BareJid, session: &Arc<Session>, stanza: Stanza) {
        self.farewell(account, session, stanza).await;
    }

    /// Tells everybody who saw the resource that it is gone: contacts, the account's other resources, and whoever
    /// it sent directed presence to (sections 4.5.2 and 4.6.3).
    async fn farewell(&self, account: &BareJid, session: &Arc<Session>, stanza: Stanza) {
        let Some(router) = self.router.upgrade() else { return };
        let (was_available, directed) = {
            let mut state = session.state();
            (state.available.take().is_some(), std::mem::take(&mut state.directed))
        };
        let shared = shared(&stanza);
        if was_available {
            self.tell_own(&router, account, session, &shared);
            if let Err(error) = self.announcer.broadcast(account, &stanza, &shared).await {
                tracing::error!(%account, %error, "contacts are not told that a resource is gone");
            }
        }
        let book = if directed.is_empty() { None } else { self.books.open(account).await.ok() };
        for to in directed {
            let was_told = was_available && book.as_ref().is_some_and(|book| book.is_seen_by(to.as_bare_str()));
            if !was_told {
                router.presence_to(stanza.clone().to(to)).await;
            }
        }
        if was_available {
            router.tell(|listener| listener.became_unavailable(session)).await;
        }
    }

    /// Directed presence (section 4.6.3).
    async fn direct(&self, account: &BareJid, session: &Arc<Session>, mut stanza: Stanza, type_: PresenceType) {
        let Some(to) = stanza.head.to.clone() else { return };
        let is_contact = match self.books.open(account).await {
            Ok(book) => book.is_seen_by(to.as_bare_str()),
            Err(error) => return self.failed(&stanza, &error).await,
        };
        let is_full = {
            let mut state = session.state();
            if type_ == PresenceType::Unavailable {
                state.directed.remove(to.as_str());
                false
            } else if is_contact && state.available.is_some() {
                false
            } else if state.directed.len() >= self.directed_max && !state.directed.contains(to.as_str()) {
                true
            } else {
                state.directed.insert(to);
                false
            }
        };
        if is_full {
            let error = StanzaError::resource_constraint().with_text("directed presence was sent to too many");
            return self.bounce(&stanza, &error).await;
        }
        if type_ == PresenceType::Available {
            self.portraits.dress(account.as_str(), &mut stanza, !is_contact);
        }
        self.announcer.send(stanza).await;
    }

    async fn failed(&self, stanza: &Stanza, error: &Fault) {
        tracing::error!(%error, "presence could not be handled");
        self.bounce(stanza, &StanzaError::internal_server_error()).await;
    }

    async fn user_gets(&self, stanza: Stanza) {
        let (Kind::Presence(type_), Some(router)) = (stanza.head.kind, self.router.upgrade()) else { return };
        let (Some(to), Some(from)) = (stanza.head.to.clone(), stanza.head.from.clone()) else { return };
        let account = to.to_bare();
        let is_own = from.as_bare_str() == account.as_str();
        // Whether the blocked side is answered must not depend on anything: it never is (XEP-0191 section 3.3).
        if !is_own && self.is_blocked(&account, &from).await {
            return;
        }
        let session = to.to_full().and_then(|full| router.sessions.find(&full));
        let recipient = match (&session, to.is_full()) {
            (Some(_), _) => Recipient::Resource,
            // How many others could take it makes no difference for presence.
            (None, true) => Recipient::NoResource(Availability::None),
            (None, false) => Recipient::Bare(Availability::None),
        };
        if type_ == PresenceType::Unavailable {
            router.sessions.for_each_of(account.as_str(), |session| {
                session.state().directed.remove(from.as_str());
            });
        }
        let is_afar = !router.serves(from.domain());
        match type_ {
            PresenceType::Unavailable if is_afar => drop(router.remotes.lost(&account, &from)),
            PresenceType::Error if is_afar && self.comes_back(&router, &account, &from, &to).await => return,
            _ => {}
        }
        match decide(stanza.head.kind, recipient, || true) {
            Decision::ToResource => {
                if let Some(session) = session {
                    session.deliver(stanza.render());
                }
            }
            Decision::ToAvailable => {
                let bytes = stanza.render();
                router.sessions.for_each_of(account.as_str(), |session| {
                    if session.state().available.is_some() {
                        session.deliver(bytes.clone());
                    }
                });
            }
            Decision::Handle if type_ == PresenceType::Probe => {
                return self.probed(&router, &to, &from, stanza).await;
            }
            Decision::Handle => {
                let Some(action) = action(type_) else { return };
                if !self.exists(&router, &account).await {
                    return;
                }
                let stanza = match action {
                    Action::Subscribe => self.may_have_moved(&account, stanza).await,
                    _ => Some(stanza),
                };
                if let Some(stanza) = stanza {
                    self.subscription_in(account, stanza, action).await;
                }
                return;
            }
            _ => {}
        }
        if is_afar && matches!(type_, PresenceType::Available | PresenceType::Unavailable) {
            router.tell(|listener| listener.contact_presence(&account, &stanza)).await;
        }
        if is_afar && type_ == PresenceType::Available {
            self.comes(&router, &account, &from, &stanza).await;
        }
    }

    /// May `viewer` know that `session` is there (section 8.5.3.1)?
    async fn is_visible_to(&self, account: BareJid, session: Option<Arc<Session>>, viewer: Jid) -> bool {
        if let Some(session) = session {
            let state = session.state();
            if state.directed.contains(viewer.as_str()) || state.directed.contains(viewer.as_bare_str()) {
                return true;
            }
        }
        match self.books.open(&account).await {
            // Servers ask for capabilities in their own name, of resources whose presence they were given.
            Ok(book) if viewer.is_domain() => book.is_seen_at(viewer.domain()),
            Ok(book) => book.is_seen_by(viewer.as_bare_str()),
            Err(error) => {
                tracing::error!(%account, %error, "a roster could not be read");
                false
            }
        }
    }
}

/// The priority in a presence stanza (section 4.7.2.3); zero if there is none.
fn priority(content: &Content) -> Result<i8, StanzaError> {
    let mut found = content.children().filter(|child| child.is("priority", ns::CLIENT));
    let Some(child) = found.next() else { return Ok(0) };
    if found.next().is_some() {
        return Err(StanzaError::bad_request().with_text("more than one priority"));
    }
    child
        .text()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| StanzaError::bad_request().with_text("the priority is no number from -128 to 127"))
}

fn caps(content: &Content) -> Option<Bytes> {
    content.child("c", ns::CAPS).map(|child| child.bytes().clone())
}

fn caps_of(content: &Bytes) -> Option<Bytes> {
    Content::from_bytes_checked(content.clone()).ok().and_then(|content| caps(&content))
}

impl Presences for Presence {
    fn outbound(&self, session: Arc<Session>, stanza: Stanza) -> BoxFuture<()> {
        let presence = self.clone();
        Box::pin(async move { presence.user_sends(session, stanza).await })
    }

    fn inbound(&self, stanza: Stanza) -> BoxFuture<()> {
        let presence = self.clone();
        Box::pin(async move { presence.user_gets(stanza).await })
    }

    fn ended(&self, session: Arc<Session>) -> BoxFuture<()> {
        let presence = self.clone();
        Box::pin(async move {
            let account = session.jid.bare();
            let stanza = unavailable(&session.jid);
            let priority = session.priority();
            presence.farewell(&account, &session, stanza).await;
            // Not before: who comes next to the same address must not be taken for gone.
            if let Some(router) = presence.router.upgrade() {
                router.sessions.unbind(&session);
            }
            presence.delivery.salvage(&session, priority).await;
        })
    }

    fn restored(&self, session: Arc<Session>) -> BoxFuture<()> {
        let announcer = Arc::clone(&self.announcer);
        Box::pin(async move {
            let account = session.jid.bare();
            if let Err(error) = announcer.look_afar(&account, |_| true).await {
                tracing::error!(%account, %error, "contacts elsewhere are not asked for their presence");
            }
        })
    }

    fn settled(&self) -> BoxFuture<()> {
        let books = Arc::clone(&self.books);
        Box::pin(async move { books.quiet().await })
    }
}

impl Guard for Presence {
    /// A get or set to a resource, from somebody who may not know that it is there, is answered as if it were not.
    fn check(
        &self,
        direction: Direction,
        account: &str,
        other: &Jid,
        stanza: &Stanza,
    ) -> Pending<Result<(), StanzaError>> {
        let (Direction::Inbound, Kind::Iq(IqType::Get | IqType::Set), Some(to)) =
            (direction, stanza.head.kind, &stanza.head.to)
        else {
            return Pending::now(Ok(()));
        };
        let Some(full) = to.to_full().filter(|_| other.as_bare_str() != account) else { return Pending::now(Ok(())) };
        let Some(router) = self.router.upgrade() else { return Pending::now(Ok(())) };
        // The server itself may ask: it knows anyhow.
        if other.localpart().is_none() && router.serves(other.domain()) {
            return Pending::now(Ok(()));
        }
        let session = router.sessions.find(&full);
        let (presence, kind, viewer) = (self.clone(), stanza.head.kind, other.clone());
        // Who may not know is told so, not that there is nobody (XEP-0012 section 4).
        let is_about_activity = stanza.content.has("query", ns::LAST);
        Pending::later(async move {
            let recipient = match &session {
                Some(_) => Recipient::Resource,
                None => Recipient::NoResource(Availability::None),
            };
            let is_here = session.is_some();
            let sees = (is_here || is_about_activity) && presence.is_visible_to(full.bare(), session, viewer).await;
            match decide(kind, recipient, || sees && is_here) {
                Decision::ToResource => Ok(()),
                _ if is_about_activity && !sees => Err(StanzaError::forbidden()),
                _ => Err(StanzaError::service_unavailable()),
            }
        })
    }
}

impl Listener for Presence {
    /// Opens the roster, so that it is at hand for as long as the resource is there.
    fn session_bound(&self, session: &Arc<Session>) -> Pending<()> {
        let (books, account) = (Arc::clone(&self.books), session.jid.bare());
        if books.at_hand(account.as_str()).is_some() {
            return Pending::now(());
        }
        Pending::later(async move {
            if let Err(error) = books.open(&account).await {
                tracing::error!(%account, %error, "a roster could not be read");
            }
        })
    }
}

impl Extension for Presence {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.presences(Arc::clone(&self) as Arc<dyn Presences>);
        at.guard(Arc::clone(&self) as Arc<dyn Guard>);
        at.listener(Arc::new(Afar(Weak::clone(&self.router))));
        at.listener(self);
    }
}
