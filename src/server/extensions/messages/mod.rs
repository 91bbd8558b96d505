//! Messages for local accounts: RFC 6121 section 8, by the table in `router/rules.rs`.
//!
//! A message that is not archived touches no store when its recipient is here: the sessions are in memory, and the
//! guards before this have asked their lists already. One that is goes the way of `archived.rs`.

mod archived;
mod clean;
mod copies;
mod salvage;
pub(super) mod waking;

use std::sync::{Arc, Weak};

use bytes::Bytes;
use xmpp::stanza::Head;
use xmpp::{BareJid, Jid, Stanza, StanzaError, ns};

pub use self::archived::Ticket;
use super::archive::Archive;
use super::offline::{Offline, Outcome};
use crate::extension::{BoxFuture, Extension, Kit, Messages, Mount, Spec, Xep};
use crate::router::Router;
use crate::router::rules::{Availability, Decision, Recipient, decide, includes};
use crate::runtime::Timestamp;
use crate::session::Session;
use crate::tables::accounts::Accounts;

/// Delivers messages.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Delivery {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    accounts: Arc<Accounts>,
    offline: Arc<Offline>,
    archive: Arc<Archive>,
}

static SPEC: Spec = Spec { name: "messages", xeps: &[Xep::complete(333, "1.0.0")], config: "" };

impl Delivery {
    /// Delivers to the sessions of the kit's router; what nobody can take goes to `offline`, what is worth it to
    /// `archive`.
    #[must_use]
    pub fn new(kit: &Kit, accounts: &Arc<Accounts>, offline: &Arc<Offline>, archive: &Arc<Archive>) -> Arc<Self> {
        let (accounts, offline, archive) = (Arc::clone(accounts), Arc::clone(offline), Arc::clone(archive));
        Arc::new(Self { router: Arc::downgrade(&kit.router), accounts, offline, archive })
    }

    /// For who is away, and for who does not exist.
    async fn otherwise(&self, router: &Router, undelivered: Undelivered) {
        let Undelivered { account, recipient, stanza, since } = undelivered;
        let recipient = match self.exists(router, &account).await {
            Ok(true) => recipient,
            Ok(false) => missing(recipient),
            Err(error) => return router.bounce(&stanza, &error).await,
        };
        match decide(stanza.head.kind, recipient, || true) {
            Decision::Store => self.keep(router, &account, stanza, since).await,
            Decision::Bounce => router.bounce(&stanza, &StanzaError::service_unavailable()).await,
            _ => {}
        }
    }

    async fn exists(&self, router: &Router, account: &BareJid) -> Result<bool, StanzaError> {
        if router.sessions.any(account.as_str()) {
            return Ok(true);
        }
        self.accounts.exists(account).await.map_err(|error| {
            tracing::error!(%account, %error, "an account could not be read");
            StanzaError::internal_server_error()
        })
    }

    async fn keep(&self, router: &Router, account: &BareJid, stanza: Stanza, since: Option<Timestamp>) {
        let bounced = stanza.clone();
        match self.offline.keep(account, stanza, since).await {
            Ok(Outcome::Kept) => self.wake(router, &bounced, None).await,
            Ok(Outcome::Worthless) => {}
            Ok(Outcome::Refused) => router.bounce(&bounced, &StanzaError::service_unavailable()).await,
            Err(error) => {
                tracing::error!(%account, %error, "a message could not be kept");
                router.bounce(&bounced, &StanzaError::internal_server_error()).await;
            }
        }
    }

    /// Delivers a message to a local account.
    fn deliver(&self, router: Arc<Router>, sender: Option<Arc<Session>>, stanza: Stanza) -> BoxFuture<()> {
        if !self.archive.is_for(&stanza) {
            return self.plain(router, sender, stanza);
        }
        let delivery = self.clone();
        Box::pin(async move { delivery.archived(router, sender, stanza).await })
    }

    /// Delivers what is not archived.
    fn plain(&self, router: Arc<Router>, sender: Option<Arc<Session>>, stanza: Stanza) -> BoxFuture<()> {
        let Some(to) = &stanza.head.to else { return Box::pin(std::future::ready(())) };
        let mut bytes = None;
        let mut render = || bytes.get_or_insert_with(|| stanza.render()).clone();
        if let Some(sender) = &sender
            && copies::of_sent(sender, &stanza)
        {
            copies::tell_senders(&router, sender, &stanza.head, &mut render);
        }
        let present = Present::of(&router, to);
        let is_copied = copies::of_received(present.named.as_deref(), &stanza);
        match present.give(&stanza.head, sender.as_deref(), is_copied, &mut render) {
            Ok(()) if Self::sleeps_through(present.named.as_ref(), to, &stanza) => {
                let delivery = self.clone();
                Box::pin(async move {
                    let resource = stanza.head.to.as_ref().and_then(Jid::resource);
                    delivery.wake(&router, &stanza, resource).await;
                })
            }
            Ok(()) => Box::pin(std::future::ready(())),
            Err(recipient) => {
                let delivery = self.clone();
                let undelivered = Undelivered { account: to.to_bare(), recipient, stanza, since: None };
                Box::pin(async move { delivery.otherwise(&router, undelivered).await })
            }
        }
    }
}

/// A message without what it says, to our ears only, of how far its sender has displayed the chat (XEP-0490 section 5.2).
/// Whoever keeps that has done so.
async fn without_displayed(router: &Router, sender: &Arc<Session>, mut stanza: Stanza) -> Stanza {
    if let (Some(displayed), Some(to)) = (stanza.content.child("displayed", ns::DISPLAYED), &stanza.head.to) {
        router.tell(|listener| listener.displayed(sender, to, displayed)).await;
    }
    stanza.content = stanza.content.without(|child| child.is("displayed", ns::DISPLAYED));
    stanza
}

/// The same recipient, of an account that does not exist.
fn missing(recipient: Recipient) -> Recipient {
    match recipient {
        Recipient::Bare(_) => Recipient::NoAccountBare,
        _ => Recipient::NoAccountFull,
    }
}

/// A message no session took.
struct Undelivered {
    account: BareJid,
    /// As if the account existed.
    recipient: Recipient,
    stanza: Stanza,
    /// When it came, if that was not just now.
    since: Option<Timestamp>,
}

/// One available resource.
struct Resource {
    priority: i8,
    wants_carbons: bool,
    session: Arc<Session>,
}

/// Who of an account is here.
struct Present {
    /// The very resource the address names, available or not.
    named: Option<Arc<Session>>,
    available: Vec<Resource>,
    is_full: bool,
}

impl Present {
    fn of(router: &Router, to: &Jid) -> Self {
        let is_full = to.is_full();
        let mut present = Self { named: None, available: Vec::new(), is_full };
        router.sessions.for_each_of(to.as_bare_str(), |session| {
            if session.mailbox.is_closed() {
                return;
            }
            if is_full && session.jid.as_str() == to.as_str() {
                present.named = Some(Arc::clone(session));
            }
            let state = session.state();
            if let Some(available) = &state.available {
                let (priority, wants_carbons) = (available.priority, state.wants_carbons);
                drop(state);
                present.available.push(Resource { priority, wants_carbons, session: Arc::clone(session) });
            }
        });
        present
    }

    fn recipient(&self, availability: Availability) -> Recipient {
        if self.is_full { Recipient::NoResource(availability) } else { Recipient::Bare(availability) }
    }

    fn availability(&self) -> Availability {
        Availability::of(self.available.iter().map(|resource| resource.priority))
    }

    /// What is to become of a message.
    fn decide(&self, head: &Head) -> Decision {
        match self.named {
            Some(_) => Decision::ToResource,
            None => decide(head.kind, self.recipient(self.availability()), || true),
        }
    }

    /// Delivers to sessions, if the table says so and one of them takes it; the others may want copies.
    ///
    /// The error says what the address means when nobody took it.
    fn give(
        &self,
        head: &Head,
        sender: Option<&Session>,
        is_copied: bool,
        render: &mut dyn FnMut() -> Bytes,
    ) -> Result<(), Recipient> {
        let mut taken: Vec<&Arc<Session>> = Vec::new();
        let mut decision = Decision::ToResource;
        if let Some(named) = &self.named
            && named.deliver(render())
        {
            taken.push(named);
        } else {
            decision = decide(head.kind, self.recipient(self.availability()), || true);
            if matches!(decision, Decision::ToMostAvailable | Decision::ToNonNegative | Decision::ToAvailable) {
                let highest = self.available.iter().map(|resource| resource.priority).max().unwrap_or(i8::MIN);
                for resource in &self.available {
                    if includes(decision, resource.priority, highest) && resource.session.deliver(render()) {
                        taken.push(&resource.session);
                    }
                }
            }
        }
        let is_stored = decision == Decision::Store;
        if is_copied && (!taken.is_empty() || is_stored) {
            copies::tell_recipients(self, &taken, sender, head, render);
        }
        if taken.is_empty() {
            // Nobody is here, or whoever was has just gone.
            return Err(self.recipient(if is_stored { self.availability() } else { Availability::None }));
        }
        Ok(())
    }
}

impl Messages for Delivery {
    fn message(&self, sender: Option<Arc<Session>>, stanza: Stanza) -> BoxFuture<()> {
        let Some(router) = self.router.upgrade() else { return Box::pin(async {}) };
        let Some(stanza) = clean::arriving(sender.as_deref(), stanza) else { return Box::pin(async {}) };
        match sender {
            Some(sender) if stanza.content.has("displayed", ns::DISPLAYED) => {
                let delivery = self.clone();
                Box::pin(async move {
                    let stanza = without_displayed(&router, &sender, stanza).await;
                    delivery.deliver(router, Some(sender), stanza).await;
                })
            }
            None if waking::is_post_from_afar(&router, &stanza) => {
                let delivery = self.clone();
                Box::pin(async move {
                    delivery.post_came(&router, &stanza).await;
                    delivery.deliver(router, None, stanza).await;
                })
            }
            sender => self.deliver(router, sender, stanza),
        }
    }

    fn departs(&self, sender: Arc<Session>, domain: Box<str>, stanza: Stanza) -> BoxFuture<()> {
        let Some(router) = self.router.upgrade() else { return Box::pin(async {}) };
        let mut stanza = clean::departing(&sender, stanza);
        let delivery = self.clone();
        Box::pin(async move {
            if stanza.content.has("displayed", ns::DISPLAYED) {
                stanza = without_displayed(&router, &sender, stanza).await;
            }
            if delivery.archive.is_for(&stanza) {
                return delivery.archived_departing(&router, &sender, &domain, stanza).await;
            }
            if copies::of_sent(&sender, &stanza) {
                copies::tell_senders(&router, &sender, &stanza.head, &mut || stanza.render());
            }
            router.relay(&domain, stanza).await;
        })
    }
}

impl Extension for Delivery {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.messages(self);
    }
}
