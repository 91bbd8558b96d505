//! The strict pass: one complete element, read once by quick-xml, and everything checked that quick-xml
//! leaves to its caller.
//!
//! quick-xml tells markup from text and matches end tags. Checked here, by XML 1.0 and Namespaces in XML
//! 1.0: characters, names, the syntax and uniqueness of attributes, `<` in values, `]]>` in text, references,
//! declared prefixes and the reserved ones; and by RFC 6120 section 11.1 that there are no comments,
//! processing instructions, document types or entities. Bounds come from [`Limits`].
//!
//! What the element means is the [`Sink`]'s business: a tree, or the spans of a stanza.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use smallvec::SmallVec;

use super::chars::{are_chars, attribute_value, is_whitespace, line_ends, resolve, split_name};
use super::{Context, XmlError};
use crate::limits::Limits;
use crate::ns;

/// The namespace of `xmlns` itself, which nobody may declare.
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

/// Where a declaration in force was made: 0 on the stream header, 1 on the element that is read, 2 on one of
/// its children and so on; `xml` is in force everywhere and depends on nobody.
pub(crate) type Level = usize;

const EVERYWHERE: Level = Level::MAX;

/// A namespace declaration in force.
struct Binding<'a> {
    /// Empty for the default namespace.
    prefix: &'a str,
    ns: Cow<'a, str>,
    level: Level,
}

/// An attribute that is no namespace declaration.
pub(crate) struct Attribute<'a> {
    /// Empty for most.
    pub(crate) prefix: &'a str,
    pub(crate) local: &'a str,
    /// References resolved, white space normalised.
    pub(crate) value: Cow<'a, str>,
    /// Which binding the prefix means.
    binding: Option<usize>,
}

/// A start tag or an empty element, with its namespaces resolved.
pub(crate) struct Tag<'a, 'p> {
    /// As it is written.
    pub(crate) prefix: &'a str,
    pub(crate) local: &'a str,
    /// Namespace of the element.
    pub(crate) ns: &'p str,
    /// Where the element's namespace was declared.
    pub(crate) level: Level,
    /// 1 for the element that is read.
    pub(crate) depth: usize,
    /// Offset of the `<` and the offset after the `>`, in bytes.
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) attributes: &'p [Attribute<'a>],
    bindings: &'p [Binding<'a>],
}

impl<'a> Tag<'a, '_> {
    /// The namespace of one of the tag's attributes; empty for one without prefix.
    pub(crate) fn attribute_ns(&self, attribute: &Attribute<'a>) -> &str {
        attribute.binding.and_then(|at| self.bindings.get(at)).map_or("", |binding| &binding.ns)
    }

    /// Where the prefix of an attribute was declared; nothing for an attribute without prefix.
    pub(crate) fn attribute_level(&self, attribute: &Attribute<'a>) -> Option<Level> {
        attribute.binding.and_then(|at| self.bindings.get(at)).map(|binding| binding.level)
    }

    /// The bindings of prefixes made on this tag, the default namespace under the empty prefix.
    pub(crate) fn declarations(&self) -> impl Iterator<Item = (&'a str, &str)> {
        let depth = self.depth;
        self.bindings.iter().filter(move |binding| binding.level == depth).map(|binding| (binding.prefix, &*binding.ns))
    }

    /// The value of an attribute without prefix.
    pub(crate) fn attribute(&self, local: &str) -> Option<&str> {
        self.attributes.iter().find(|found| found.prefix.is_empty() && found.local == local).map(|found| &*found.value)
    }
}

/// Who is told what an element consists of. The element is known to be well-formed only when [`read`]
/// returns without error.
pub(crate) trait Sink<'a> {
    /// A start tag, or an empty element whose [`Sink::end`] follows at once.
    fn start(&mut self, tag: &Tag<'a, '_>) -> Result<(), XmlError>;
    /// Character data, references resolved. One text may come in several pieces.
    fn text(&mut self, text: Cow<'a, str>);
    /// The end of the element at `depth`; `start` is the offset of its end tag (for an empty element, the
    /// offset after it) and `end` the offset after it.
    fn end(&mut self, depth: usize, start: usize, end: usize);
}

/// Reads one whole element. `bytes` begin with its `<` and end with its `>`.
///
/// # Errors
/// Whatever is wrong first.
pub(crate) fn read<'a>(
    bytes: &'a [u8],
    context: &'a Context,
    limits: &Limits,
    sink: &mut impl Sink<'a>,
) -> Result<(), XmlError> {
    if bytes.len() > limits.stanza_bytes_max {
        return Err(XmlError::TooBig);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::BadEncoding)?;
    // quick-xml would take a byte order mark away and the offsets with it.
    if !text.starts_with('<') || !are_chars(text) {
        return Err(XmlError::NotWellFormed);
    }
    let mut pass = Pass::new(limits);
    pass.bindings.push(Binding { prefix: "", ns: Cow::Borrowed(&context.default_ns), level: 0 });
    for (prefix, ns) in context.prefixes() {
        pass.bindings.push(Binding { prefix, ns: Cow::Borrowed(ns), level: 0 });
    }
    pass.run(text, sink)
}

/// Reads one start tag that is not closed: the stream header. `text` is from its `<` to its `>`, and a `/`
/// before the `>` is already taken out.
///
/// # Errors
/// Whatever is wrong first.
pub(super) fn read_open<'a>(text: &'a str, limits: &Limits, sink: &mut impl Sink<'a>) -> Result<(), XmlError> {
    if !are_chars(text) {
        return Err(XmlError::NotWellFormed);
    }
    let mut pass = Pass::new(limits);
    let mut reader = Reader::from_str(text);
    match reader.read_event() {
        Ok(Event::Start(start)) => pass.start(tag_text(text, 0, &start)?, 0, text.len(), sink),
        _ => Err(XmlError::NotWellFormed),
    }
}

/// Name and attributes of a tag whose `<` is at `start`, as text that lives as long as the input.
fn tag_text<'a>(text: &'a str, start: usize, tag: &BytesStart<'_>) -> Result<(&'a str, &'a str), XmlError> {
    text.get(start + 1..start + 1 + tag.len())
        .and_then(|content| content.split_at_checked(tag.name().0.len()))
        .ok_or(XmlError::NotWellFormed)
}

struct Pass<'a, 'l> {
    limits: &'l Limits,
    bindings: SmallVec<[Binding<'a>; 8]>,
    /// For each open element, how many bindings there were before it.
    scopes: SmallVec<[usize; 16]>,
    /// Those of the tag in hand; kept for its capacity.
    attributes: SmallVec<[Attribute<'a>; 6]>,
    elements: usize,
}

impl<'a, 'l> Pass<'a, 'l> {
    fn new(limits: &'l Limits) -> Self {
        let mut bindings = SmallVec::new();
        bindings.push(Binding { prefix: "xml", ns: Cow::Borrowed(ns::XML), level: EVERYWHERE });
        Self { limits, bindings, scopes: SmallVec::new(), attributes: SmallVec::new(), elements: 0 }
    }

    fn run(&mut self, text: &'a str, sink: &mut impl Sink<'a>) -> Result<(), XmlError> {
        let mut reader = Reader::from_str(text);
        let mut at = 0;
        loop {
            let start = at;
            let event = reader.read_event().map_err(|_| XmlError::NotWellFormed)?;
            at = usize::try_from(reader.buffer_position()).map_err(|_| XmlError::TooBig)?;
            let is_outside = self.scopes.is_empty();
            match event {
                Event::Start(_) | Event::Empty(_) if is_outside && self.elements > 0 => {
                    return Err(XmlError::NotWellFormed);
                }
                Event::Start(tag) => self.start(tag_text(text, start, &tag)?, start, at, sink)?,
                Event::Empty(tag) => {
                    self.start(tag_text(text, start, &tag)?, start, at, sink)?;
                    self.end(at, at, sink);
                }
                Event::End(_) => self.end(start, at, sink),
                Event::Text(_) => {
                    let raw = text.get(start..at).unwrap_or("");
                    if raw.is_empty() {
                        continue;
                    }
                    if is_outside || has_section_end(raw) {
                        return Err(XmlError::NotWellFormed);
                    }
                    sink.text(line_ends(raw));
                }
                Event::CData(cdata) => {
                    // quick-xml takes `<![cdata[` too.
                    if is_outside || text.get(start..start + 9) != Some("<![CDATA[") {
                        return Err(XmlError::NotWellFormed);
                    }
                    let raw = text.get(start + 9..start + 9 + cdata.len()).unwrap_or("");
                    sink.text(line_ends(raw));
                }
                Event::GeneralRef(name) => {
                    let c = resolve(&name)?;
                    if is_outside {
                        return Err(XmlError::NotWellFormed);
                    }
                    sink.text(Cow::Owned(c.to_string()));
                }
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) | Event::DocType(_) => {
                    return Err(XmlError::Restricted);
                }
                Event::Eof if is_outside && self.elements > 0 => return Ok(()),
                Event::Eof => return Err(XmlError::NotWellFormed),
            }
        }
    }

    fn start(
        &mut self,
        (name, attributes): (&'a str, &'a str),
        start: usize,
        end: usize,
        sink: &mut impl Sink<'a>,
    ) -> Result<(), XmlError> {
        self.elements += 1;
        let depth = self.scopes.len() + 1;
        if depth > self.limits.depth_max {
            return Err(XmlError::TooDeep);
        }
        if self.elements > self.limits.elements_max {
            return Err(XmlError::TooManyElements);
        }
        self.scopes.push(self.bindings.len());
        self.read_attributes(attributes, depth)?;
        self.resolve_attributes()?;

        let (prefix, local) = self.name(name)?;
        // Without any declaration an element without prefix is in no namespace.
        let binding = match self.lookup(prefix) {
            Some(binding) => self.bindings.get(binding),
            None if prefix.is_empty() => None,
            None => return Err(XmlError::NotWellFormed),
        };
        sink.start(&Tag {
            prefix,
            local,
            ns: binding.map_or("", |binding| &binding.ns),
            level: binding.map_or(0, |binding| binding.level),
            depth,
            start,
            end,
            attributes: &self.attributes,
            bindings: &self.bindings,
        })
    }

    fn end(&mut self, start: usize, end: usize, sink: &mut impl Sink<'a>) {
        let depth = self.scopes.len();
        if let Some(bindings) = self.scopes.pop() {
            self.bindings.truncate(bindings);
        }
        sink.end(depth, start, end);
    }

    fn name(&self, name: &'a str) -> Result<(&'a str, &'a str), XmlError> {
        if name.len() > self.limits.name_bytes_max {
            return Err(XmlError::NameTooLong);
        }
        split_name(name)
    }

    fn lookup(&self, prefix: &str) -> Option<usize> {
        self.bindings.iter().rposition(|binding| is_same(binding.prefix, prefix))
    }

    /// Splits what follows the name in a tag into declarations and attributes (XML 1.0, productions 40 and
    /// 41: white space before each, quotes around each value).
    fn read_attributes(&mut self, mut rest: &'a str, depth: usize) -> Result<(), XmlError> {
        self.attributes.clear();
        let mut count = 0;
        let mut declares_xml = false;
        loop {
            let trimmed = trim_start(rest);
            if trimmed.is_empty() {
                return Ok(());
            }
            if trimmed.len() == rest.len() {
                return Err(XmlError::NotWellFormed);
            }
            count += 1;
            if count > self.limits.attributes_max {
                return Err(XmlError::TooManyAttributes);
            }
            let (name, after) = cut(trimmed, b'=')?;
            let name = name.trim_end_matches([' ', '\t', '\n', '\r']);
            let after = trim_start(after);
            let quote = after.as_bytes().first().copied().filter(|b| matches!(b, b'\'' | b'"'));
            let (raw, after) = cut(after.get(1..).unwrap_or(""), quote.ok_or(XmlError::NotWellFormed)?)?;
            rest = after;
            let (prefix, local) = self.name(name)?;
            let value = attribute_value(raw)?;
            match (prefix, local) {
                ("", "xmlns") => self.declare("", value, depth)?,
                // It binds nothing, so that `declare` would not see it twice.
                ("xmlns", "xml") if std::mem::replace(&mut declares_xml, true) => return Err(XmlError::NotWellFormed),
                ("xmlns", prefix) => self.declare(prefix, value, depth)?,
                _ => {
                    let is_twice = |other: &Attribute<'_>| other.local == local && is_same(other.prefix, prefix);
                    if self.attributes.iter().any(is_twice) {
                        return Err(XmlError::NotWellFormed);
                    }
                    self.attributes.push(Attribute { prefix, local, value, binding: None });
                }
            }
        }
    }

    /// Namespaces in XML, section 3, with the constraints on reserved prefixes and on undeclaring.
    fn declare(&mut self, prefix: &'a str, ns: Cow<'a, str>, level: Level) -> Result<(), XmlError> {
        if prefix == "xmlns" || ns == XMLNS || (prefix == "xml") != (ns == ns::XML) {
            return Err(XmlError::NotWellFormed);
        }
        if prefix == "xml" {
            return Ok(());
        }
        if ns.is_empty() && !prefix.is_empty() {
            return Err(XmlError::NotWellFormed);
        }
        if ns.len() > self.limits.namespace_bytes_max {
            return Err(XmlError::NameTooLong);
        }
        let own = self.scopes.last().copied().unwrap_or(0);
        if self.bindings.iter().skip(own).any(|other| is_same(other.prefix, prefix)) {
            return Err(XmlError::NotWellFormed);
        }
        if self.bindings.len() >= self.limits.declarations_max {
            return Err(XmlError::TooManyAttributes);
        }
        self.bindings.push(Binding { prefix, ns, level });
        Ok(())
    }

    /// Gives prefixed attributes their namespace; two names for one attribute are one too many (Namespaces
    /// in XML, section 6.3).
    fn resolve_attributes(&mut self) -> Result<(), XmlError> {
        for at in 0..self.attributes.len() {
            let Some((prefix, local)) = self.attributes.get(at).map(|found| (found.prefix, found.local)) else {
                continue;
            };
            if prefix.is_empty() {
                continue;
            }
            let binding = self.lookup(prefix).ok_or(XmlError::NotWellFormed)?;
            let ns_of = |binding: usize| self.bindings.get(binding).map(|binding| &*binding.ns);
            let is_twice =
                self.attributes.iter().take(at).any(|other| {
                    other.local == local && other.binding.is_some_and(|other| ns_of(other) == ns_of(binding))
                });
            if is_twice {
                return Err(XmlError::NotWellFormed);
            }
            if let Some(attribute) = self.attributes.get_mut(at) {
                attribute.binding = Some(binding);
            }
        }
        Ok(())
    }
}

fn trim_start(text: &str) -> &str {
    let blanks = text.bytes().take_while(|&b| is_whitespace(b)).count();
    text.get(blanks..).unwrap_or("")
}

/// Equality of prefixes, most of which are empty. Asking memcmp for nothing at no address, which is where `""`
/// lies, took a third of the whole pass: its masked load faults silently, and slowly.
fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && (one.is_empty() || one == other)
}

/// What is before and what is after the first `at`, which must be there.
fn cut(text: &str, at: u8) -> Result<(&str, &str), XmlError> {
    let found = memchr::memchr(at, text.as_bytes()).ok_or(XmlError::NotWellFormed)?;
    Ok((text.get(..found).unwrap_or(""), text.get(found + 1..).unwrap_or("")))
}

/// Whether there is a `]]>`, which text must not contain (XML 1.0 section 2.4).
fn has_section_end(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'>', bytes).any(|at| at >= 2 && bytes.get(at - 2..at) == Some(b"]]"))
}
