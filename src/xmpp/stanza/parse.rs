//! From the bytes of one element to a stanza, in one pass (RFC 6120 sections 8.1 and 8.2).
//!
//! The strict pass tells where each child is and what namespace it is in. Bytes that lean on the stanza's or
//! the stream's declarations, or that say the content namespace where they need not, are rendered anew from a
//! tree; all others are slices of the frame.

use std::borrow::Cow;

use bytes::Bytes;

use super::child::{Child, ChildNs};
use super::{Content, Head, IqType, Kind, MessageType, PresenceType, Stanza, StanzaError};
use crate::Jid;
use crate::limits::Limits;
use crate::xml::{Context, Sink, Tag, XmlError, build, read, write_nodes};

/// Why an element did not become a stanza.
#[derive(Clone, Debug, PartialEq)]
pub enum Unparsable {
    /// Ends the stream.
    Xml(XmlError),
    /// Well-formed, and not a message, presence or IQ in the content namespace.
    NotAStanza {
        /// Local name.
        name: Box<str>,
        /// Namespace.
        ns: Box<str>,
        /// The element.
        bytes: Bytes,
    },
    /// A stanza that breaks a rule of RFC 6120 section 8: to be answered, where [`Stanza::error_reply`] gives
    /// an answer, and the stream lives.
    Malformed {
        /// As much of the head as could be read.
        head: Box<Head>,
        /// What to answer.
        error: StanzaError,
    },
}

impl From<XmlError> for Unparsable {
    fn from(error: XmlError) -> Self {
        Self::Xml(error)
    }
}

impl Stanza {
    /// Reads a stanza as it stands on a usual client stream.
    ///
    /// # Errors
    /// See [`Unparsable`].
    pub fn parse(frame: Bytes, limits: &Limits) -> Result<Self, Unparsable> {
        Self::parse_in(frame, &Context::client(), limits)
    }

    /// Reads a stanza as it stands on a stream whose header made `context`.
    ///
    /// # Errors
    /// See [`Unparsable`].
    pub fn parse_in(frame: Bytes, context: &Context, limits: &Limits) -> Result<Self, Unparsable> {
        let mut reading = Reading {
            base: frame.as_ptr().addr(),
            length: frame.len(),
            context,
            root: None,
            inside: (0, 0),
            children: Vec::new(),
            chain: 0,
            leans: false,
        };
        read(&frame, context, limits, &mut reading)?;
        let Reading { root, inside, children, leans, .. } = reading;
        let root = root.ok_or(XmlError::NotWellFormed)?;
        let Some(kind) = root.kind else {
            return Err(Unparsable::NotAStanza { name: root.name, ns: root.ns, bytes: frame });
        };
        let head = root.head(kind, context)?;
        check_payload(&head, children.len())?;
        let content = if leans { rendered(&frame, context, limits)? } else { spliced(&frame, inside, children) };
        Ok(Self { head, content })
    }
}

/// RFC 6120 section 8.2.3: a request has exactly one child, a result at most one.
fn check_payload(head: &Head, children: usize) -> Result<(), Unparsable> {
    let is_good = match head.kind {
        Kind::Iq(IqType::Get | IqType::Set) => children == 1,
        Kind::Iq(IqType::Result) => children <= 1,
        _ => true,
    };
    if is_good {
        return Ok(());
    }
    let text = "an IQ of type get or set has exactly one child, a result at most one";
    Err(Unparsable::Malformed { head: Box::new(head.clone()), error: StanzaError::bad_request().with_text(text) })
}

/// The content as slices of the frame.
fn spliced(frame: &Bytes, (start, end): (usize, usize), spans: Vec<Span>) -> Content {
    if start >= end {
        return Content::empty();
    }
    let bytes = frame.slice(start..end);
    let children = spans
        .into_iter()
        .map(|span| Child {
            start: span.start - start,
            bytes: frame.slice(span.start..span.end),
            name: span.name,
            ns: span.ns,
        })
        .collect();
    Content { bytes, children }
}

/// The content written anew, without prefixes.
fn rendered(frame: &Bytes, context: &Context, limits: &Limits) -> Result<Content, Unparsable> {
    let tree = build(frame, context, limits)?;
    let mut out = Vec::with_capacity(frame.len());
    write_nodes(&mut out, &tree, &context.content_ns);
    if out.len() > limits.stanza_bytes_max {
        return Err(XmlError::TooBig.into());
    }
    Ok(Content::from_bytes_checked(out.into())?)
}

/// What the root's tag said.
struct Root {
    /// Kind without the type, if it is a stanza.
    kind: Option<Name>,
    name: Box<str>,
    ns: Box<str>,
    to: Option<Result<Jid, ()>>,
    from: Option<Result<Jid, ()>>,
    id: Option<Box<str>>,
    type_: Option<Box<str>>,
    lang: Option<Box<str>>,
}

#[derive(Clone, Copy)]
enum Name {
    Message,
    Presence,
    Iq,
}

impl Root {
    fn head(self, name: Name, context: &Context) -> Result<Head, Unparsable> {
        let type_ = self.type_.as_deref();
        let mut problem = None;
        let kind = match name {
            Name::Message => Kind::Message(MessageType::from_attribute(type_)),
            Name::Presence => Kind::Presence(PresenceType::from_attribute(type_).unwrap_or_else(|| {
                problem = Some(StanzaError::bad_request().with_text("unknown type of presence"));
                PresenceType::Available
            })),
            Name::Iq => Kind::Iq(IqType::from_attribute(type_).unwrap_or_else(|| {
                problem = Some(StanzaError::bad_request().with_text("an IQ is of type get, set, result or error"));
                IqType::Get
            })),
        };
        if matches!(name, Name::Iq) && self.id.is_none() {
            problem = Some(StanzaError::bad_request().with_text("an IQ has an id"));
        }
        let from = self.from.transpose().map_err(|()| XmlError::InvalidFrom)?;
        let to = self.to.transpose().unwrap_or_else(|()| {
            problem = Some(StanzaError::jid_malformed());
            None
        });
        let lang = self.lang.or_else(|| context.lang.clone());
        let head = Head { kind, to, from, id: self.id, lang };
        match problem {
            Some(error) => Err(Unparsable::Malformed { head: Box::new(head), error }),
            None => Ok(head),
        }
    }
}

struct Span {
    start: usize,
    end: usize,
    name: (u32, u32),
    ns: ChildNs,
}

struct Reading<'c> {
    /// Address and length of the frame: a text that lies in it has an offset.
    base: usize,
    length: usize,
    context: &'c Context,
    root: Option<Root>,
    /// Where the content starts and ends.
    inside: (usize, usize),
    children: Vec<Span>,
    /// How deep the row of elements reaches that are in the content namespace and do not say so, from the
    /// root down to where the pass is.
    chain: usize,
    /// Whether some byte means something else when it is cut out and put elsewhere.
    leans: bool,
}

impl Reading<'_> {
    /// Where a text lies in the frame.
    fn offset(&self, text: &str) -> Option<usize> {
        let offset = text.as_ptr().addr().checked_sub(self.base)?;
        (offset + text.len() <= self.length).then_some(offset)
    }

    fn small(offset: usize) -> u32 {
        u32::try_from(offset).unwrap_or(u32::MAX)
    }

    fn root(&mut self, tag: &Tag<'_, '_>) {
        let kind = match tag.local {
            "message" => Some(Name::Message),
            "presence" => Some(Name::Presence),
            "iq" => Some(Name::Iq),
            _ => None,
        };
        let kind = kind.filter(|_| tag.ns == self.context.content_ns);
        let mut root = Root {
            kind,
            name: Box::default(),
            ns: Box::default(),
            to: None,
            from: None,
            id: None,
            type_: None,
            lang: None,
        };
        if kind.is_none() {
            root.name = Box::from(tag.local);
            root.ns = Box::from(tag.ns);
        } else {
            for attribute in tag.attributes {
                let value = &*attribute.value;
                match (attribute.prefix, attribute.local) {
                    ("", "to") => root.to = Some(Jid::new(value).map_err(|_| ())),
                    ("", "from") => root.from = Some(Jid::new(value).map_err(|_| ())),
                    ("", "id") => root.id = Some(Box::from(value)),
                    ("", "type") => root.type_ = Some(Box::from(value)),
                    ("xml", "lang") => root.lang = Some(Box::from(value)),
                    _ => {}
                }
            }
        }
        self.root = Some(root);
        self.inside = (tag.end, tag.end);
        self.chain = 1;
    }

    /// Whether the meaning of a tag inside the stanza comes from outside of the content.
    fn leans(&mut self, tag: &Tag<'_, '_>) -> bool {
        let is_outer = tag.level <= 1;
        let is_content = tag.ns == self.context.content_ns;
        let follows_chain = self.chain + 1 == tag.depth;
        let element_leans = match (tag.prefix.is_empty(), is_outer) {
            // In the namespace of the stanza, like its parents: so it will be anywhere.
            (true, true) if follows_chain && is_content => {
                self.chain = tag.depth;
                false
            }
            (_, true) => true,
            // Says that it is in the namespace of the stanza, which is another one elsewhere.
            (_, false) => follows_chain && is_content,
        };
        element_leans
            || tag.attributes.iter().any(|attribute| tag.attribute_level(attribute).is_some_and(|level| level <= 1))
    }
}

impl<'a> Sink<'a> for Reading<'_> {
    fn start(&mut self, tag: &Tag<'a, '_>) -> Result<(), XmlError> {
        if tag.depth == 1 {
            self.root(tag);
            return Ok(());
        }
        self.leans = self.leans || self.leans(tag);
        if tag.depth == 2 {
            let name = self.offset(tag.local).unwrap_or(tag.start + 1) - tag.start;
            let ns = match self.offset(tag.ns) {
                _ if tag.ns == self.context.content_ns => ChildNs::Content,
                Some(offset) if offset >= tag.start => {
                    ChildNs::Written(Self::small(offset - tag.start), Self::small(tag.ns.len()))
                }
                _ => ChildNs::Resolved(Box::from(tag.ns)),
            };
            self.children.push(Span {
                start: tag.start,
                end: tag.end,
                name: (Self::small(name), Self::small(tag.local.len())),
                ns,
            });
        }
        Ok(())
    }

    fn text(&mut self, _text: Cow<'a, str>) {}

    fn end(&mut self, depth: usize, start: usize, end: usize) {
        self.chain = self.chain.min(depth - 1);
        match depth {
            1 => self.inside.1 = start,
            2 => {
                if let Some(child) = self.children.last_mut() {
                    child.end = end;
                }
            }
            _ => {}
        }
    }
}
