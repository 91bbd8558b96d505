//! Presence stanzas that manage subscriptions (RFC 6121 section 3): from our users to their contacts, and from
//! contacts to our users.
//!
//! What follows from a stanza is decided in `roster/subscription.rs`. Here it is done: the roster is changed and
//! made durable, and only then others hear of it.

use std::sync::Arc;

use bytes::Bytes;
use store::Fault;
use xmpp::stanza::{Kind, PresenceType};
use xmpp::{BareJid, Jid, Stanza, StanzaError};

use super::{Announcer, Presence};
use crate::extension::{Occasion, OccasionKind};
use crate::extensions::roster::Refused;
use crate::extensions::roster::book::{Audience, Counts, Decided, Edit};
use crate::extensions::roster::books::full;
use crate::extensions::roster::subscription::{Action, Disclosure, State, Transition, inbound, outbound};
use crate::tables::roster::{Contact, Subscription};

/// Requests that may wait for one account's answer. Beyond that new ones are ignored (RFC 6121 section 3.1.3,
/// security warning).
const REQUESTS_MAX: usize = 1_000;
/// Bytes of a request that are kept. Of a bigger one only who asks is kept.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// The subscription a presence type manages, if it does.
pub(super) fn action(type_: PresenceType) -> Option<Action> {
    Some(match type_ {
        PresenceType::Subscribe => Action::Subscribe,
        PresenceType::Subscribed => Action::Subscribed,
        PresenceType::Unsubscribe => Action::Unsubscribe,
        PresenceType::Unsubscribed => Action::Unsubscribed,
        PresenceType::Available | PresenceType::Error | PresenceType::Probe | PresenceType::Unavailable => return None,
    })
}

fn presence_type(action: Action) -> PresenceType {
    match action {
        Action::Subscribe => PresenceType::Subscribe,
        Action::Subscribed => PresenceType::Subscribed,
        Action::Unsubscribe => PresenceType::Unsubscribe,
        Action::Unsubscribed => PresenceType::Unsubscribed,
    }
}

/// A contact after a transition.
fn apply(before: &Contact, to: &Transition) -> Contact {
    Contact {
        subscription: to.state.subscription(),
        is_asked: to.state.pending_out(),
        is_approved: to.is_approved,
        // Whatever the roster shows makes an item; a request alone does not (section 3.1.3).
        is_listed: before.is_listed
            || to.state.subscription() != Subscription::None
            || to.state.pending_out()
            || to.is_approved,
        request: before.request.clone().filter(|_| to.state.pending_in()),
        ..before.clone()
    }
}

/// A transition and the subscription before it.
struct Done {
    before: Subscription,
    transition: Transition,
    /// The contact asks, and had not asked before.
    is_request: bool,
}

impl Presence {
    /// A user sends a subscription stanza (RFC 6121 sections 3.1.2, 3.1.5, 3.2.2, 3.3.2 and 3.4.2).
    pub(super) async fn subscription_out(&self, account: BareJid, mut stanza: Stanza, action: Action) {
        let Some(contact) = stanza.head.to.as_ref().map(Jid::to_bare) else {
            return self.bounce(&stanza, &StanzaError::bad_request()).await;
        };
        if contact == account {
            return self.bounce(&stanza, &StanzaError::not_allowed().with_text("nobody is their own contact")).await;
        }
        // Subscriptions are between bare addresses, and a full one would leak presence (section 3).
        stanza.head.to = Some(contact.clone().into());
        let sender = stanza.head.from.replace(account.clone().into());
        let items_max = self.items_max;
        let decide = |before: &Contact, counts: Counts| {
            let transition = outbound(State::of(before), before.is_approved, action);
            let after = apply(before, &transition);
            if after.is_listed && !before.is_listed && counts.listed >= items_max {
                return Err(Refused::Answer(full()));
            }
            let then = Done { before: before.subscription, transition, is_request: false };
            Ok(Decided { edit: Edit::Put(after), told: None, is_pushed_anyway: false, then })
        };
        let (unsettled, done) = match self.books.begin(&account, &contact, decide).await {
            Ok(begun) => begun,
            Err(refused) => {
                stanza.head.from = sender;
                return self.bounce(&stanza, &refused.into()).await;
            }
        };
        let Done { before, transition, .. } = done;
        if transition.disclosure == Disclosure::Unavailable {
            self.announcer.withdraw(&account, &contact).await;
        }
        let is_local = self.is_local(&contact);
        let (own, announcer) = (transition.passes.then_some(stanza), Arc::clone(&self.announcer));
        if is_local {
            // The contact's own change is behind ours in the same line, and is not told before ours is durable.
            self.books.settle(unsettled, async {}).await;
            if let Some(stanza) = own {
                self.announcer.send(stanza).await;
            }
            self.books.afterwards(follow(announcer, account, contact, before, transition)).await;
        } else {
            let next = async move {
                if let Some(stanza) = own {
                    announcer.send(stanza).await;
                }
                follow(announcer, account, contact, before, transition).await;
            };
            self.books.settled(unsettled, next).await;
        }
    }

    fn is_local(&self, contact: &BareJid) -> bool {
        self.router.upgrade().is_some_and(|router| router.serves(contact.domain()))
    }

    /// A contact's subscription stanza reaches a user (RFC 6121 sections 3.1.3, 3.1.6, 3.2.3 and 3.3.3). The account
    /// exists and does not block the contact.
    pub(super) async fn subscription_in(&self, account: BareJid, mut stanza: Stanza, action: Action) {
        let Some(contact) = stanza.head.from.as_ref().map(Jid::to_bare) else { return };
        if contact == account {
            return;
        }
        stanza.head.to = Some(account.clone().into());
        stanza.head.from = Some(contact.clone().into());
        let id = stanza.head.id.clone();
        let bytes = stanza.render();
        let decide = |before: &Contact, counts: Counts| {
            let transition = inbound(State::of(before), before.is_approved, action);
            let mut after = apply(before, &transition);
            let is_request = transition.state.pending_in() && before.request.is_none();
            let then = Done { before: before.subscription, transition, is_request };
            if is_request {
                if counts.requests >= REQUESTS_MAX {
                    tracing::info!(%account, %contact, "a request is ignored: too many wait for an answer");
                    return Ok::<_, Fault>(Decided {
                        edit: Edit::Keep,
                        told: None,
                        is_pushed_anyway: false,
                        then: None,
                    });
                }
                after.request = Some(kept(&stanza, &bytes));
            }
            let audience = if action == Action::Subscribe { Audience::Available } else { Audience::Present };
            let told = transition.passes.then(|| (bytes.clone(), audience));
            Ok(Decided { edit: Edit::Put(after), told, is_pushed_anyway: false, then: Some(then) })
        };
        let (unsettled, Done { before, transition, is_request }) =
            match self.books.begin(&account, &contact, decide).await {
                Ok((unsettled, Some(done))) => (unsettled, done),
                Ok((_, None)) => return,
                Err(error) => {
                    tracing::error!(%account, %contact, %error, "a subscription could not be changed");
                    return;
                }
            };
        let reply = transition.reply.map(|reply| {
            let reply = Stanza::new(Kind::Presence(presence_type(reply))).from(account.clone());
            let mut reply = reply.to(contact.clone());
            reply.head.id = id;
            reply
        });
        let is_hidden = transition.disclosure == Disclosure::Unavailable;
        let announcer = Arc::clone(&self.announcer);
        let (asked, asks) = (account.clone(), is_request.then(|| Jid::from(&contact)));
        if self.is_local(&contact) {
            self.books.settle(unsettled, async {}).await;
            if is_hidden {
                self.announcer.withdraw(&account, &contact).await;
            }
            if let Some(reply) = reply {
                self.announcer.send(reply).await;
            }
            self.books.afterwards(follow(announcer, account, contact, before, transition)).await;
        } else {
            let next = async move {
                if is_hidden {
                    announcer.withdraw(&account, &contact).await;
                }
                if let Some(reply) = reply {
                    announcer.send(reply).await;
                }
                follow(announcer, account, contact, before, transition).await;
            };
            self.books.settled(unsettled, next).await;
        }
        if let (Some(from), Some(router)) = (asks, self.router.upgrade()) {
            let occasion = Occasion::new(OccasionKind::Subscription, &from);
            router.tell(|listener| listener.deserves_waking(&asked, &occasion)).await;
        }
    }

    /// Asks again where an answer is still due: the first request, or the answer, may have been lost on the way
    /// (RFC 6121 section 3.1.2).
    pub(super) async fn ask_again(&self, account: &BareJid) -> Result<(), Fault> {
        for contact in self.books.open(account).await?.contacts(|contact| contact.is_asked) {
            let again = Stanza::new(Kind::Presence(PresenceType::Subscribe)).from(account.clone()).to(contact);
            self.announcer.send(again).await;
        }
        Ok(())
    }
}

/// The end of a change: the contact sees what it may see now, and whoever cares is told.
async fn follow(
    announcer: Arc<Announcer>,
    account: BareJid,
    contact: BareJid,
    before: Subscription,
    transition: Transition,
) {
    if transition.disclosure == Disclosure::Current {
        announcer.disclose(&account, &contact.clone().into()).await;
    }
    announcer.tell_change(&account, &contact, before, transition.state.subscription()).await;
}

/// What is kept of a request: all of it, unless it is too big.
fn kept(stanza: &Stanza, bytes: &Bytes) -> Bytes {
    if bytes.len() <= REQUEST_BYTES_MAX {
        return bytes.clone();
    }
    let mut short = Stanza::new(stanza.head.kind);
    short.head = stanza.head.clone();
    short.render()
}
