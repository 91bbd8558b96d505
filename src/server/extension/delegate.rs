//! Who handles what somebody else handles instead (XEP-0355), as the router and service discovery see it.

use xmpp::{BareJid, Element, Stanza};

use super::{Asked, BoxFuture, Caller, To};

/// Hands IQs for hosts and accounts to entities that handle them instead of this house.
pub trait Delegate: Send + Sync + 'static {
    /// Has `stanza`, an IQ get or set of `caller` to a host or to an account of one, handled elsewhere; its caller is
    /// answered in the entity's name, later. `None` if it is handled here.
    fn forward(&self, caller: &Caller, entity: &BareJid, stanza: &Stanza) -> Option<BoxFuture<()>>;

    /// Has a question of service discovery about an account answered elsewhere: about its items, or about a node that
    /// nobody here knows. `None` if there is nobody for it.
    fn remaining(&self, asked: &Asked) -> Option<BoxFuture<()>>;

    /// Whether what an account, or anybody, asks of the account in a namespace is handled elsewhere.
    fn manages(&self, account: &BareJid, namespace: &str) -> bool;

    /// What disco#info says of a host or an account, with what is said elsewhere in place of what is handled there.
    fn nest(&self, at: To, entity: &BareJid, children: Vec<Element>) -> Vec<Element>;
}
