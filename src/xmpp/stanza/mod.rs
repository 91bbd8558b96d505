//! What is said: messages, presence and IQs as a parsed head and checked bytes.
//!
//! A [`Stanza`] never keeps a tree. Its [`Head`] is parsed, its [`Content`] is the checked bytes of its
//! children together with each child's name, namespace and span; who needs a tree opens one child.
//! The bytes lean on nothing outside of them but the content namespace (`jabber:client` or `jabber:server`,
//! which only children without an `xmlns` are in), so they can be spliced into any stream, stored, or shared.

mod child;
mod content;
mod error;
mod head;
mod parse;
mod render;

pub use child::Child;
pub use content::Content;
pub use error::{Condition, ErrorType, StanzaError};
pub use head::{Head, IqType, Kind, MessageType, PresenceType};
pub use parse::Unparsable;

use crate::{Element, Jid};

#[cfg(test)]
mod tests;

/// One message, presence or IQ (RFC 6120 section 8).
#[derive(Clone, Debug, PartialEq)]
pub struct Stanza {
    /// Kind, type and the addresses.
    pub head: Head,
    /// The children, as checked bytes.
    pub content: Content,
}

impl Stanza {
    /// A stanza without addresses and content.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self { head: Head::new(kind), content: Content::empty() }
    }

    /// Sets the recipient.
    #[must_use]
    pub fn to(mut self, to: impl Into<Jid>) -> Self {
        self.head.to = Some(to.into());
        self
    }

    /// Sets the sender.
    #[must_use]
    pub fn from(mut self, from: impl Into<Jid>) -> Self {
        self.head.from = Some(from.into());
        self
    }

    /// Sets the identifier.
    #[must_use]
    pub fn id(mut self, id: impl Into<Box<str>>) -> Self {
        self.head.id = Some(id.into());
        self
    }

    /// Sets the language.
    #[must_use]
    pub fn lang(mut self, lang: impl Into<Box<str>>) -> Self {
        self.head.lang = Some(lang.into());
        self
    }

    /// Adds a child.
    #[must_use]
    pub fn with(mut self, child: &Element) -> Self {
        self.content.push(child);
        self
    }

    /// Adds a child that is already bytes, as [`Content::push_bytes`] does.
    #[must_use]
    pub fn with_bytes(mut self, name: &str, ns: &str, bytes: &[u8]) -> Self {
        self.content.push_bytes(name, ns, bytes);
        self
    }

    /// The good answer to an IQ (RFC 6120 section 8.2.3).
    #[must_use]
    pub fn iq_result(asked: &Head, payload: Option<&Element>) -> Self {
        let content =
            payload.map_or_else(Content::empty, |payload| Content::from_elements(std::slice::from_ref(payload)));
        Self { head: asked.answered_as(Kind::Iq(IqType::Result)), content }
    }

    /// The good answer to an IQ, with a payload that is already bytes, as [`Content::push_bytes`] wants them.
    #[must_use]
    pub fn iq_result_bytes(asked: &Head, name: &str, ns: &str, payload: &[u8]) -> Self {
        Self { head: asked.answered_as(Kind::Iq(IqType::Result)), content: Content::empty() }
            .with_bytes(name, ns, payload)
    }

    /// The bad answer to a stanza, repeating what was said if `original` is given (RFC 6120 section 8.3.1).
    /// `None` for what must not be answered so: errors, and the results of IQs.
    #[must_use]
    pub fn error_reply(asked: &Head, original: Option<&Content>, error: &StanzaError) -> Option<Self> {
        let kind = match asked.kind {
            Kind::Message(MessageType::Error)
            | Kind::Presence(PresenceType::Error)
            | Kind::Iq(IqType::Error | IqType::Result) => return None,
            Kind::Message(_) => Kind::Message(MessageType::Error),
            Kind::Presence(_) => Kind::Presence(PresenceType::Error),
            Kind::Iq(_) => Kind::Iq(IqType::Error),
        };
        // What was said may itself have held an `<error/>`, which must not be taken for the one we give.
        let repeated = |original: &Content| original.without(|child| child.is("error", crate::ns::CLIENT));
        let mut content = original.map(repeated).unwrap_or_default();
        let mut bytes = Vec::with_capacity(128);
        error.render_into(&mut bytes);
        content.push_bytes("error", crate::ns::CLIENT, &bytes);
        Some(Self { head: asked.answered_as(kind), content })
    }

    /// The error an error stanza carries; `None` for other stanzas. An error without a readable `<error/>` is
    /// an undefined one.
    #[must_use]
    pub fn error(&self) -> Option<StanzaError> {
        if !self.head.kind.is_error() {
            return None;
        }
        let element = self.content.child("error", crate::ns::CLIENT).and_then(|child| child.open().ok());
        Some(element.and_then(|element| StanzaError::parse(&element)).unwrap_or_else(StanzaError::undefined_condition))
    }
}
