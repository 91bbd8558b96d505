//! XML in, requests out; replies and notices in, XML out. The only part of this room that sees an element.
//!
//! [`parse`] and [`parse_owner`] read what stands in an IQ, [`parse_authorization`] what an owner answers in a message.
//! [`reply`] and [`lists`] write answers, [`notification`] what subscribers are told. A stored payload is spliced into
//! both without being opened.

pub mod event;
mod form;
pub mod lists;
pub mod notification;
mod order;
mod parse;
pub mod reply;
pub mod timeline;

pub use form::{authorization_request, configuration_form, metadata_form, relationships_form};
pub use order::order;
pub use parse::{is_cancelled_authorization, parse, parse_authorization, parse_owner, payload};

/// Small pieces of XML, escaped.
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Finished bytes, as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// ` name='value'`
    pub(crate) fn attr(&mut self, name: &str, value: &str) -> &mut Self {
        self.raw(b" ").raw(name.as_bytes()).raw(b"='");
        xmpp::xml::escape_attr(&mut self.0, value);
        self.raw(b"'")
    }

    /// Text between tags.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        xmpp::xml::escape_text(&mut self.0, text);
        self
    }

    /// An element that says its own namespace.
    pub(crate) fn element(&mut self, element: &xmpp::Element) -> &mut Self {
        xmpp::xml::write_element(&mut self.0, element, "");
        self
    }

    /// What was written.
    pub(crate) fn into_bytes(self) -> bytes::Bytes {
        self.0.into()
    }
}
