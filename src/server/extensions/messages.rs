//! Messages for local accounts: RFC 6121 section 8, by the table in `router/rules.rs`.
//!
//! A message between two users who are here touches no store: the sessions of the recipient are in memory, and the
//! guards before this have asked their lists already.

use std::sync::{Arc, Weak};

use xmpp::limits::Limits;
use xmpp::stanza::Kind;
use xmpp::{BareJid, Stanza, StanzaError};

use super::offline::{Offline, Outcome};
use crate::extension::{BoxFuture, Extension, Kit, Messages, Mount, Spec};
use crate::router::Router;
use crate::router::rules::{Availability, Decision, Recipient, decide, includes, may_be_answered};
use crate::session::Session;
use crate::session::mailbox::Frame;
use crate::tables::accounts::Accounts;

/// Delivers messages.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Delivery {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    accounts: Arc<Accounts>,
    offline: Arc<Offline>,
}

static SPEC: Spec = Spec { name: "messages", xeps: &[], config: "" };

impl Delivery {
    /// Delivers to the sessions of the kit's router; what nobody can take goes to `offline`.
    #[must_use]
    pub fn new(kit: &Kit, accounts: &Arc<Accounts>, offline: &Arc<Offline>) -> Arc<Self> {
        let (accounts, offline) = (Arc::clone(accounts), Arc::clone(offline));
        Arc::new(Self { router: Arc::downgrade(&kit.router), accounts, offline })
    }

    /// Finds another way for what was put into the mailbox of `session`, which is gone, and never written to its
    /// stream: messages go where they would go had it not been there, requests are answered as if it had not been.
    pub async fn salvage(&self, session: &Session) {
        let Some(router) = self.router.upgrade() else { return };
        for frame in session.mailbox.drain() {
            let Frame::Whole(bytes) = frame else { continue };
            if !bytes.starts_with(b"<message") && !bytes.starts_with(b"<iq") {
                continue;
            }
            let Ok(stanza) = Stanza::parse(bytes, &Limits::server()) else { continue };
            match stanza.head.kind {
                Kind::Message(_) if self.offline.was_kept(&stanza) => self.offline.keep_again(stanza).await,
                Kind::Message(_) => self.message(stanza).await,
                Kind::Iq(_) if may_be_answered(stanza.head.kind) && stanza.head.from.is_some() => {
                    router.bounce(&stanza, &StanzaError::service_unavailable()).await;
                }
                Kind::Iq(_) | Kind::Presence(_) => {}
            }
        }
    }

    /// For who is away, and for who does not exist.
    async fn otherwise(&self, router: &Router, undelivered: Undelivered) {
        let Undelivered { account, recipient, stanza } = undelivered;
        let exists = router.sessions.any(account.as_str())
            || match self.accounts.exists(&account).await {
                Ok(exists) => exists,
                Err(error) => {
                    tracing::error!(%account, %error, "an account could not be read");
                    return router.bounce(&stanza, &StanzaError::internal_server_error()).await;
                }
            };
        let recipient = match recipient {
            _ if exists => recipient,
            Recipient::Bare(_) => Recipient::NoAccountBare,
            _ => Recipient::NoAccountFull,
        };
        match decide(stanza.head.kind, recipient, || true) {
            Decision::Store => self.keep(router, &account, stanza).await,
            Decision::Bounce => router.bounce(&stanza, &StanzaError::service_unavailable()).await,
            _ => {}
        }
    }

    async fn keep(&self, router: &Router, account: &BareJid, stanza: Stanza) {
        let bounced = stanza.clone();
        match self.offline.keep(account, stanza).await {
            Ok(Outcome::Kept | Outcome::Worthless) => {}
            Ok(Outcome::Refused) => router.bounce(&bounced, &StanzaError::service_unavailable()).await,
            Err(error) => {
                tracing::error!(%account, %error, "a message could not be kept");
                router.bounce(&bounced, &StanzaError::internal_server_error()).await;
            }
        }
    }
}

/// A message no session took.
struct Undelivered {
    account: BareJid,
    /// As if the account existed.
    recipient: Recipient,
    stanza: Stanza,
}

/// Delivers to sessions, if the table says so and one of them takes it.
#[expect(clippy::result_large_err, reason = "handed on at once, and the good way carries nothing")]
fn try_deliver(router: &Router, stanza: Stanza) -> Result<(), Undelivered> {
    let (Kind::Message(_), Some(to)) = (stanza.head.kind, &stanza.head.to) else { return Ok(()) };
    if let Some(full) = to.to_full()
        && let Some(session) = router.sessions.find(&full)
        && session.deliver(stanza.render())
    {
        return Ok(());
    }
    let mut available: Vec<(i8, Arc<Session>)> = Vec::new();
    router.sessions.for_each_of(to.as_bare_str(), |session| {
        if let Some(priority) = session.priority()
            && !session.mailbox.is_closed()
        {
            available.push((priority, Arc::clone(session)));
        }
    });
    let availability = Availability::of(available.iter().map(|(priority, _)| *priority));
    let is_full = to.is_full();
    let recipient =
        |availability| if is_full { Recipient::NoResource(availability) } else { Recipient::Bare(availability) };
    let decision = decide(stanza.head.kind, recipient(availability), || true);
    if matches!(decision, Decision::ToMostAvailable | Decision::ToNonNegative | Decision::ToAvailable) {
        let highest = available.iter().map(|(priority, _)| *priority).max().unwrap_or(i8::MIN);
        let bytes = stanza.render();
        let mut is_taken = false;
        for (priority, session) in &available {
            if includes(decision, *priority, highest) {
                is_taken |= session.deliver(bytes.clone());
            }
        }
        if is_taken {
            return Ok(());
        }
    }
    // Nobody is here, or whoever was has just gone.
    let account = to.to_bare();
    let rest = if decision == Decision::Store { availability } else { Availability::None };
    Err(Undelivered { account, recipient: recipient(rest), stanza })
}

impl Messages for Delivery {
    fn message(&self, stanza: Stanza) -> BoxFuture<()> {
        let Some(router) = self.router.upgrade() else { return Box::pin(async {}) };
        match try_deliver(&router, stanza) {
            Ok(()) => Box::pin(std::future::ready(())),
            Err(undelivered) => {
                let delivery = self.clone();
                Box::pin(async move { delivery.otherwise(&router, undelivered).await })
            }
        }
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
