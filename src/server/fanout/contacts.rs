//! What the fan-out must know of rosters: who may see an account's presence, and in which groups they are.
//!
//! A seam, so that pubsub does not know how rosters are kept.

use pubsub::request::Relation;
use store::Fault;
use xmpp::BareJid;

use crate::extension::BoxFuture;

/// Knows rosters.
pub trait Contacts: Send + Sync + 'static {
    /// How `contact` stands to `account`.
    fn relation(&self, account: &BareJid, contact: &BareJid) -> BoxFuture<Result<Relation, Fault>>;
    /// Who sees the account's presence (`from` or `both`).
    fn watchers(&self, account: &BareJid) -> BoxFuture<Result<Vec<BareJid>, Fault>>;
    /// Whose presence the account sees (`to` or `both`).
    fn watched(&self, account: &BareJid) -> BoxFuture<Result<Vec<BareJid>, Fault>>;
}
