//! From bytes to a tree, where somebody needs a tree.
//!
//! Built by the strict pass instead of minidom's own parser: one set of rules, and no second checking of
//! bytes that are already in hand.

use std::borrow::Cow;

use minidom::Node;
use minidom::rxml::{Namespace, NcName};

use super::{Context, Element, Sink, Tag, XmlError, read};
use crate::limits::Limits;
use crate::ns;

/// Reads one element, `bytes` being nothing else, that stands where `default_ns` is the default namespace.
///
/// # Errors
/// What is wrong with the bytes. [`Limits::server`] applies, except for the size: bytes already in hand were
/// bounded by whoever read them.
pub fn parse_element(bytes: &[u8], default_ns: &str) -> Result<Element, XmlError> {
    build(bytes, &Context::bare(default_ns), &Limits { stanza_bytes_max: usize::MAX, ..Limits::server() })
}

/// Reads one element as it stands on a stream: a nonza, say.
///
/// # Errors
/// What is wrong with the bytes.
pub fn parse_element_in(bytes: &[u8], context: &Context, limits: &Limits) -> Result<Element, XmlError> {
    build(bytes, context, limits)
}

pub(crate) fn build(bytes: &[u8], context: &Context, limits: &Limits) -> Result<Element, XmlError> {
    let mut builder = Builder { open: Vec::with_capacity(8), root: None, text: String::new() };
    read(bytes, context, limits, &mut builder)?;
    builder.root.ok_or(XmlError::NotWellFormed)
}

struct Builder {
    open: Vec<Element>,
    root: Option<Element>,
    /// Character data since the last tag: several pieces make one node.
    text: String,
}

impl Builder {
    fn flush(&mut self) {
        if self.text.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.text);
        if let Some(parent) = self.open.last_mut() {
            parent.append_node(Node::Text(text));
        }
    }
}

impl<'a> Sink<'a> for Builder {
    fn start(&mut self, tag: &Tag<'a, '_>) -> Result<(), XmlError> {
        self.flush();
        let mut element = Element::bare(tag.local, tag.ns);
        for attribute in tag.attributes {
            let name = NcName::try_from(attribute.local).map_err(|_| XmlError::NotWellFormed)?;
            let ns = match tag.attribute_ns(attribute) {
                "" => Namespace::NONE,
                ns::XML => Namespace::xml().clone(),
                ns => Namespace::from(ns.to_owned()),
            };
            element.attrs_mut().insert(ns, name, attribute.value.clone().into_owned());
        }
        self.open.push(element);
        Ok(())
    }

    fn text(&mut self, text: Cow<'a, str>) {
        if self.text.is_empty() {
            self.text = text.into_owned();
        } else {
            self.text.push_str(&text);
        }
    }

    fn end(&mut self, _depth: usize, _start: usize, _end: usize) {
        self.flush();
        let Some(element) = self.open.pop() else { return };
        match self.open.last_mut() {
            Some(parent) => {
                parent.append_node(Node::Element(element));
            }
            None => self.root = Some(element),
        }
    }
}
