//! One child of a stanza: its name, its namespace and its bytes.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::ns;
use crate::xml::{Element, XmlError, parse_element, text_of};

/// A child element of a stanza, as checked bytes that stand on their own.
#[derive(Clone)]
pub struct Child {
    /// Where it starts in the content, in bytes.
    pub(super) start: usize,
    pub(super) bytes: Bytes,
    /// Offset and length of the local name.
    pub(super) name: (u32, u32),
    pub(super) ns: ChildNs,
}

/// The namespace of a child, without an allocation in the usual cases.
#[derive(Clone)]
pub(super) enum ChildNs {
    /// That of the stanza.
    Content,
    /// Offset and length of the value of its own `xmlns`.
    Written(u32, u32),
    /// It had references in it.
    Resolved(Box<str>),
}

impl Child {
    /// The name without prefix.
    #[must_use]
    pub fn name(&self) -> &str {
        self.slice(self.name)
    }

    /// The namespace; `jabber:client` for what is in the namespace of the stanza, on server streams too.
    #[must_use]
    pub fn ns(&self) -> &str {
        match &self.ns {
            ChildNs::Content => ns::CLIENT,
            ChildNs::Written(start, length) => self.slice((*start, *length)),
            ChildNs::Resolved(ns) => ns,
        }
    }

    /// Whether it has this name and namespace.
    #[must_use]
    pub fn is(&self, name: &str, ns: &str) -> bool {
        self.name() == name && self.ns() == ns
    }

    /// From its `<` to its `>`.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// As a tree.
    ///
    /// # Errors
    /// None for content that was parsed; what is wrong for content that somebody pushed unchecked.
    pub fn open(&self) -> Result<Element, XmlError> {
        parse_element(&self.bytes, ns::CLIENT)
    }

    /// Its text, if it has no child elements.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'_, str>> {
        text_of(std::str::from_utf8(&self.bytes).ok()?)
    }

    fn slice(&self, (start, length): (u32, u32)) -> &str {
        let (start, length) = (start as usize, length as usize);
        self.bytes.get(start..start + length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
    }
}

impl PartialEq for Child {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.bytes))
    }
}
