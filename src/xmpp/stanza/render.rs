//! From a stanza back to bytes.

use bytes::Bytes;

use super::{Head, Stanza};
use crate::xml::escape_attr;

impl Stanza {
    /// The stanza, as it stands on a stream whose default namespace is the content namespace.
    #[must_use]
    pub fn render(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.content.as_bytes().len() + 192);
        self.render_into(&mut out);
        out.into()
    }

    /// Appends the stanza, as it stands on a stream whose default namespace is the content namespace.
    pub fn render_into(&self, out: &mut Vec<u8>) {
        self.head.open_into(out, None);
        self.finish(out);
    }

    /// Appends the stanza with its own declaration of the content namespace, as WebSocket framing (RFC 7395
    /// section 3.3.3) and XEP-0297 want it.
    pub fn render_alone_into(&self, out: &mut Vec<u8>, content_ns: &str) {
        self.head.open_into(out, Some(content_ns));
        self.finish(out);
    }

    fn finish(&self, out: &mut Vec<u8>) {
        if self.content.is_empty() {
            out.extend_from_slice(b"/>");
            return;
        }
        out.push(b'>');
        out.extend_from_slice(self.content.as_bytes());
        self.head.close_into(out);
    }
}

impl Head {
    /// Appends the start tag without its `>`: `<message to='…' from='…' …`. The recipient comes first, so
    /// that all after it can be shared among recipients.
    pub fn open_into(&self, out: &mut Vec<u8>, content_ns: Option<&str>) {
        out.push(b'<');
        out.extend_from_slice(self.kind.name().as_bytes());
        if let Some(ns) = content_ns {
            attribute(out, b" xmlns='", ns);
        }
        if let Some(to) = &self.to {
            attribute(out, b" to='", to.as_str());
        }
        if let Some(from) = &self.from {
            attribute(out, b" from='", from.as_str());
        }
        if let Some(type_) = self.kind.type_str() {
            attribute(out, b" type='", type_);
        }
        if let Some(id) = &self.id {
            attribute(out, b" id='", id);
        }
        if let Some(lang) = &self.lang {
            attribute(out, b" xml:lang='", lang);
        }
    }

    /// Appends the end tag.
    pub fn close_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"</");
        out.extend_from_slice(self.kind.name().as_bytes());
        out.push(b'>');
    }
}

fn attribute(out: &mut Vec<u8>, start: &[u8], value: &str) {
    out.extend_from_slice(start);
    escape_attr(out, value);
    out.push(b'\'');
}
