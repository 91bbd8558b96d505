//! From bytes to a tree, where somebody needs a tree.
//!
//! Built by the strict pass instead of minidom's own parser: one set of rules, and no second checking of
//! bytes that are already in hand.

use std::borrow::Cow;
use std::collections::BTreeMap;

use minidom::Node;
use minidom::rxml::{Namespace, NcName};

use super::chars::{line_ends, resolve};
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

/// Sets an attribute without namespace. `name` is a name of ours; one that is no XML name is left out.
pub fn set_attr(element: &mut Element, name: &str, value: &str) {
    if let Ok(name) = NcName::try_from(name) {
        element.attrs_mut().insert(Namespace::NONE, name, value.to_owned());
    }
}

/// Sets `xml:lang`.
pub fn set_lang(element: &mut Element, lang: &str) {
    if let Ok(name) = NcName::try_from("lang") {
        element.attrs_mut().insert(Namespace::xml().clone(), name, lang.to_owned());
    }
}

/// The text of one element that was checked before, if it has no child elements.
pub(crate) fn text_of(element: &str) -> Option<Cow<'_, str>> {
    let mut quote = None;
    let close = element.bytes().position(|b| {
        match (quote, b) {
            (None, b'>') => return true,
            (None, b'\'' | b'"') => quote = Some(b),
            (Some(open), b) if open == b => quote = None,
            _ => {}
        }
        false
    })?;
    if element.get(..close)?.ends_with('/') {
        return Some(Cow::Borrowed(""));
    }
    let mut rest = element.get(close + 1..memchr::memrchr(b'<', element.as_bytes())?)?;
    if memchr::memchr2(b'<', b'&', rest.as_bytes()).is_none() {
        return Some(line_ends(rest));
    }
    let mut text = String::with_capacity(rest.len());
    while let Some(at) = memchr::memchr2(b'<', b'&', rest.as_bytes()) {
        text.push_str(&line_ends(rest.get(..at)?));
        rest = rest.get(at..)?;
        if let Some(reference) = rest.strip_prefix('&') {
            let (name, after) = reference.split_once(';')?;
            text.push(resolve(name).ok()?);
            rest = after;
        } else {
            let (section, after) = rest.strip_prefix("<![CDATA[")?.split_once("]]>")?;
            text.push_str(&line_ends(section));
            rest = after;
        }
    }
    text.push_str(&line_ends(rest));
    Some(Cow::Owned(text))
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
        // Names in values and text may use them (`xsi:type='z:t'`), so they are kept with the element.
        let prefixes = tag.declarations().filter(|(prefix, _)| !matches!(*prefix, "" | "xml"));
        let prefixes: BTreeMap<_, _> = prefixes.map(|(prefix, ns)| (Some(prefix.to_owned()), ns.to_owned())).collect();
        if !prefixes.is_empty() {
            element.prefixes = prefixes.into();
        }
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
