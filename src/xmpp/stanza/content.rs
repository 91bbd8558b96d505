//! What is inside a stanza: checked bytes, and where each child is.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::child::{Child, ChildNs};
use crate::limits::Limits;
use crate::ns;
use crate::xml::{Context, Element, Sink, Tag, XmlError, read, write_element};

/// The children of a stanza, as bytes that lean on nothing but the content namespace.
#[derive(Clone, Default)]
pub struct Content {
    pub(super) bytes: Bytes,
    pub(super) children: Vec<Child>,
}

impl Content {
    /// Nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self { bytes: Bytes::new(), children: Vec::new() }
    }

    /// Renders elements; those in `jabber:client` are in the namespace of the stanza.
    #[must_use]
    pub fn from_elements(elements: &[Element]) -> Self {
        let mut out = Vec::with_capacity(256);
        let mut spans = Vec::with_capacity(elements.len());
        for element in elements {
            let start = out.len();
            write_element(&mut out, element, ns::CLIENT);
            spans.push((start, out.len()));
        }
        let bytes = Bytes::from(out);
        let children = elements
            .iter()
            .zip(spans)
            .map(|(element, (start, end))| child(start, bytes.slice(start..end), element.name(), &element.ns()))
            .collect();
        Self { bytes, children }
    }

    /// Reads bytes that somebody kept: the children of a stanza, one after the other.
    ///
    /// # Errors
    /// What is wrong with them. The bound on size does not apply: whoever kept them had one.
    pub fn from_bytes_checked(bytes: Bytes) -> Result<Self, XmlError> {
        let wrapped = [b"<x>", &*bytes, b"</x>"].concat();
        let context = Context::bare(ns::CLIENT);
        let limits = Limits { stanza_bytes_max: usize::MAX, ..Limits::server() };
        let mut index = Index::default();
        read(&wrapped, &context, &limits, &mut index)?;
        let children = index
            .children
            .into_iter()
            .map(|(start, end, name, ns)| child(start - 3, bytes.slice(start - 3..end - 3), &name, &ns))
            .collect();
        Ok(Self { bytes, children })
    }

    /// All of it.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The child elements, in their order.
    pub fn children(&self) -> impl Iterator<Item = &Child> {
        self.children.iter()
    }

    /// The first child element.
    #[must_use]
    pub fn first(&self) -> Option<&Child> {
        self.children.first()
    }

    /// The first child of this name and namespace.
    #[must_use]
    pub fn child(&self, name: &str, ns: &str) -> Option<&Child> {
        self.children.iter().find(|child| child.is(name, ns))
    }

    /// Whether there is a child of this name and namespace.
    #[must_use]
    pub fn has(&self, name: &str, ns: &str) -> bool {
        self.child(name, ns).is_some()
    }

    /// Adds a child at the end. Copies what is there: to add several, build them first.
    pub fn push(&mut self, element: &Element) {
        let mut out = Vec::with_capacity(self.bytes.len() + 256);
        out.extend_from_slice(&self.bytes);
        write_element(&mut out, element, ns::CLIENT);
        self.grow(out, element.name(), &element.ns());
    }

    /// Adds a child at the end that is bytes already: one whole element of this name and namespace, checked,
    /// that declares what it uses, except `jabber:client`.
    pub fn push_bytes(&mut self, name: &str, ns: &str, bytes: &[u8]) {
        let mut out = Vec::with_capacity(self.bytes.len() + bytes.len());
        out.extend_from_slice(&self.bytes);
        out.extend_from_slice(bytes);
        self.grow(out, name, ns);
    }

    /// The same without some children.
    #[must_use]
    pub fn without(&self, mut is_unwanted: impl FnMut(&Child) -> bool) -> Self {
        let kept: Vec<bool> = self.children.iter().map(|child| !is_unwanted(child)).collect();
        if kept.iter().all(|&kept| kept) {
            return self.clone();
        }
        let mut out = Vec::with_capacity(self.bytes.len());
        let mut children = Vec::with_capacity(self.children.len());
        let mut at = 0;
        for (found, kept) in self.children.iter().zip(kept) {
            // What is between the children (white space) stays.
            out.extend_from_slice(self.bytes.get(at..found.start).unwrap_or(&[]));
            at = found.start + found.bytes.len();
            if kept {
                children.push(Child { start: out.len(), ..found.clone() });
                out.extend_from_slice(&found.bytes);
            }
        }
        out.extend_from_slice(self.bytes.get(at..).unwrap_or(&[]));
        let mut content = Self { bytes: Bytes::from(out), children };
        content.slice_again();
        content
    }

    fn grow(&mut self, out: Vec<u8>, name: &str, ns: &str) {
        let start = self.bytes.len();
        self.bytes = Bytes::from(out);
        self.slice_again();
        self.children.push(child(start, self.bytes.slice(start..), name, ns));
    }

    /// Lets the children share the one buffer there is now.
    fn slice_again(&mut self) {
        for child in &mut self.children {
            let end = child.start + child.bytes.len();
            child.bytes = self.bytes.slice(child.start..end);
        }
    }
}

/// A child whose name and namespace are known otherwise.
fn child(start: usize, bytes: Bytes, name: &str, ns: &str) -> Child {
    let name_start = name_offset(&bytes);
    let ns = match ns {
        ns::CLIENT => ChildNs::Content,
        ns => match written_at(&bytes, ns) {
            Some((start, length)) => ChildNs::Written(start, length),
            None => ChildNs::Resolved(Box::from(ns)),
        },
    };
    Child { start, name: (name_start, u32::try_from(name.len()).unwrap_or(0)), bytes, ns }
}

/// Where the local name starts: after the `<` or after the prefix.
fn name_offset(bytes: &[u8]) -> u32 {
    let mut name = bytes.iter().skip(1).take_while(|&&b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b'/' | b'>'));
    u32::try_from(name.position(|&b| b == b':').map_or(1, |at| at + 2)).unwrap_or(1)
}

/// Finds the text of a namespace in the start tag.
fn written_at(bytes: &[u8], ns: &str) -> Option<(u32, u32)> {
    let tag = bytes.get(..memchr::memchr(b'>', bytes)?)?;
    let at = if ns.is_empty() { None } else { memchr::memmem::find(tag, ns.as_bytes()) }?;
    Some((u32::try_from(at).ok()?, u32::try_from(ns.len()).ok()?))
}

/// Start, end, name and namespace of each child of the element that is read.
#[derive(Default)]
struct Index {
    children: Vec<(usize, usize, String, String)>,
}

impl<'a> Sink<'a> for Index {
    fn start(&mut self, tag: &Tag<'a, '_>) -> Result<(), XmlError> {
        if tag.depth == 2 {
            self.children.push((tag.start, tag.end, tag.local.to_owned(), tag.ns.to_owned()));
        }
        Ok(())
    }

    fn text(&mut self, _text: Cow<'a, str>) {}

    fn end(&mut self, depth: usize, _start: usize, end: usize) {
        if let (2, Some(last)) = (depth, self.children.last_mut()) {
            last.1 = end;
        }
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({})", String::from_utf8_lossy(&self.bytes))
    }
}
