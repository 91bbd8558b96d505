//! Moments: what happens in the house that an extension may want to hear of.

use std::sync::Arc;

use xmpp::stanza::Child;
use xmpp::{BareJid, FullJid, Jid, Stanza};

use super::{Happening, Occasion, Pending};
use crate::runtime::Timestamp;
use crate::session::Session;
use crate::session::interest::{Claim, Interest};

/// Hears of moments. Every method does nothing unless it is overridden; they run in the order of furnishing,
/// inside the task of whoever caused the moment, and may await the store but no other entity.
#[expect(unused_variables, reason = "the names document what comes in")]
pub trait Listener: Send + Sync + 'static {
    /// A resource was bound.
    fn session_bound(&self, session: &Arc<Session>) -> Pending<()> {
        Pending::now(())
    }
    /// A session whose stream was lost goes on in another (XEP-0198).
    fn session_resumed(&self, session: &Arc<Session>) -> Pending<()> {
        Pending::now(())
    }
    /// A session has lost its stream, and waits to be resumed (XEP-0198). Its mailbox holds what it was not given.
    fn session_detached(&self, session: &Arc<Session>) -> Pending<()> {
        Pending::now(())
    }
    /// A session is over: nobody comes back to it. It may never have been available.
    fn session_ended(&self, session: &Arc<Session>) -> Pending<()> {
        Pending::now(())
    }
    /// A resource says how far it has displayed a chat, beside a message to `chat` (XEP-0490 section 4.4).
    fn displayed(&self, session: &Arc<Session>, chat: &Jid, displayed: &Child) -> Pending<()> {
        Pending::now(())
    }
    /// A resource sent its first available presence (RFC 6121 section 4.2).
    fn became_available(&self, session: &Arc<Session>) -> Pending<()> {
        Pending::now(())
    }
    /// A resource sent available presence, the first included; its state holds it already.
    fn presence_updated(&self, session: &Arc<Session>) -> Pending<()> {
        Pending::now(())
    }
    /// A resource is no longer available, by its own word or because its stream ended (section 4.5).
    fn became_unavailable(&self, session: &Arc<Session>) -> Pending<()> {
        Pending::now(())
    }
    /// The capabilities behind an available resource became known, or changed (XEP-0115).
    fn caps_learned(&self, session: &Arc<Session>) -> Pending<()> {
        Pending::now(())
    }
    /// Presence that a resource on another server sent to a local account claims capabilities nobody has asked for.
    fn remote_claims(&self, account: &BareJid, resource: &FullJid, claim: &Claim) -> Pending<()> {
        Pending::now(())
    }
    /// What a resource on another server wants to be told is known, or `account` has just come to see its presence.
    fn remote_wants(&self, account: &BareJid, resource: &FullJid, interest: &Arc<Interest>) -> Pending<()> {
        Pending::now(())
    }
    /// What was sent in the name of `account`, or of a service, came back: `error` is a message of type error to its bare
    /// address.
    fn bounced(&self, account: &BareJid, error: &Stanza) -> Pending<()> {
        Pending::now(())
    }
    /// The presence subscription between a local account and a contact changed; `may_see` tells whether the contact
    /// may now see the account's presence, `sees` whether the account sees the contact's.
    fn subscription_changed(&self, account: &BareJid, contact: &BareJid, may_see: bool, sees: bool) -> Pending<()> {
        Pending::now(())
    }
    /// Something happened that `account` may want to be woken for, if it is not awake.
    fn deserves_waking(&self, account: &BareJid, occasion: &Occasion<'_>) -> Pending<()> {
        Pending::now(())
    }
    /// Somebody did something that concerns a local account, or took it back. Not by those whom the account blocks.
    fn happened(&self, happening: &Happening) -> Pending<()> {
        Pending::now(())
    }
    /// A local account is not subscribed any more to a node, here or elsewhere, by whoever's word.
    fn unfollowed(&self, account: &BareJid, home: &BareJid, node: &str) -> Pending<()> {
        Pending::now(())
    }
    /// A local account blocked or unblocked `other`.
    fn blocking_changed(&self, account: &BareJid, other: &Jid, blocked: bool) -> Pending<()> {
        Pending::now(())
    }
    /// Presence of a contact's resource on another server came for `account`: available or unavailable.
    fn contact_presence(&self, account: &BareJid, stanza: &Stanza) -> Pending<()> {
        Pending::now(())
    }
    /// The server of `domain` has proven itself on a new stream.
    fn server_linked(&self, domain: &str) -> Pending<()> {
        Pending::now(())
    }
    /// A component connected; `domain` is its domain.
    fn component_joined(&self, domain: &str) -> Pending<()> {
        Pending::now(())
    }
    /// About a minute passed: expire what has a date. `now` is in microseconds since the Unix epoch.
    fn minute_passed(&self, now: Timestamp) -> Pending<()> {
        Pending::now(())
    }
    /// An account is being removed: delete what you keep of it. The account's sessions are closed already.
    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        Pending::now(())
    }
}
