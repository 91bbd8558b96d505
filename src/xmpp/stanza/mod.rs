//! What is said: messages, presence and IQs as a parsed head and checked bytes.
//!
//! A [`Stanza`] never keeps a tree. Its [`Head`] is parsed, its [`Content`] is the checked bytes of its
//! children together with each child's name, namespace and span; who needs a tree opens one child.
//! The bytes lean on nothing outside of them but the content namespace (`jabber:client` or `jabber:server`,
//! which only children without an `xmlns` are in), so they can be spliced into any stream, stored, or shared.

mod content;
mod error;
mod head;
mod parse;
mod render;

pub use content::{Child, Content};
pub use error::{Condition, ErrorType, StanzaError};
pub use head::{Head, IqType, Kind, MessageType, PresenceType};
pub use parse::Unparsable;

/// One message, presence or IQ (RFC 6120 section 8).
#[derive(Clone, Debug, PartialEq)]
pub struct Stanza {
    /// Kind, type and the addresses.
    pub head: Head,
    /// The children, as checked bytes.
    pub content: Content,
}
