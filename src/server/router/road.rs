//! The way to other servers, as the router sees it: a frame goes in, and is queued or refused.
//!
//! How domains are found, dialled and proven is not known here. A house without a road tells senders that there is no
//! remote server (RFC 6120 section 8.3.3.16).

use xmpp::StanzaError;

use crate::session::mailbox::Frame;

/// Carries stanzas to the servers of other domains.
pub trait Road: Send + Sync + 'static {
    /// Queues `frame`, a stanza from an address of `local`, a domain served here, to an address of `remote`.
    ///
    /// Stanzas of one pair of domains leave in the order in which they are queued. Never waits. What is queued and
    /// cannot be delivered later is bounced by the road itself.
    ///
    /// # Errors
    /// What to tell the sender when the stanza is not taken: the queue is full, or policy forbids it.
    fn send(&self, local: &str, remote: &str, frame: Frame) -> Result<(), StanzaError>;
}
