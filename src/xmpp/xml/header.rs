//! The stream header (RFC 6120 section 4.7), with the XML declaration that may come before it.

use std::borrow::Cow;

use super::context::{Prefixes, known};
use super::strict::read_open;
use super::{Context, Sink, Tag, XmlError, is_whitespace};
use crate::limits::Limits;
use crate::ns;

/// What the initiator says when it opens a stream. Attributes are as they were written: whether `to` and
/// `from` are addresses is for the stream to say, which has an error for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamHeader {
    /// Whom the stream is to.
    pub to: Option<Box<str>>,
    /// Whom it is from.
    pub from: Option<Box<str>>,
    /// The stream's identifier, in a header from the responder.
    pub id: Option<Box<str>>,
    /// The version of XMPP, `1.0` since RFC 3920.
    pub version: Option<Box<str>>,
    /// The default language of stanzas.
    pub lang: Option<Box<str>>,
    /// The default namespace: `jabber:client` or `jabber:server` where all is well. Empty if none is declared.
    pub content_ns: Box<str>,
    /// What stanzas inherit.
    pub context: Context,
}

/// Reads all of a header: an optional XML declaration, white space, and the tag that opens the stream, from
/// `<` to `>`, a `/` before the `>` taken out. Returns the header and the tag's name as it was written.
pub(super) fn parse(bytes: &[u8], limits: &Limits) -> Result<(StreamHeader, Box<str>), XmlError> {
    let mut text = std::str::from_utf8(bytes).map_err(|_| XmlError::BadEncoding)?;
    if let Some(rest) = text.strip_prefix("<?xml") {
        let end = rest.find("?>").ok_or(XmlError::NotWellFormed)?;
        declaration(rest.get(..end).unwrap_or(""))?;
        text = rest.get(end + 2..).unwrap_or("");
    }
    let text = text.trim_start_matches([' ', '\t', '\n', '\r']);
    let mut reading = Reading::default();
    read_open(text, limits, &mut reading)?;
    let (header, has_stream_ns) = reading.header.ok_or(XmlError::NotWellFormed)?;
    if !has_stream_ns {
        return Err(XmlError::InvalidNamespace);
    }
    Ok((header, reading.name))
}

/// XML 1.0, production 23: `version`, then `encoding`, then `standalone`, in this order and each but the
/// first optional.
fn declaration(text: &str) -> Result<(), XmlError> {
    let mut rest = text;
    let mut expected: &[&str] = &["version", "encoding", "standalone"];
    loop {
        let blanks = rest.bytes().take_while(|&b| is_whitespace(b)).count();
        rest = rest.get(blanks..).unwrap_or("");
        if rest.is_empty() {
            return if expected.len() == 3 { Err(XmlError::NotWellFormed) } else { Ok(()) };
        }
        if blanks == 0 {
            return Err(XmlError::NotWellFormed);
        }
        let (name, after) = rest.split_once('=').ok_or(XmlError::NotWellFormed)?;
        let after = after.trim_start_matches([' ', '\t', '\n', '\r']);
        let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"')).ok_or(XmlError::NotWellFormed)?;
        let (value, after) = after.get(1..).and_then(|rest| rest.split_once(quote)).ok_or(XmlError::NotWellFormed)?;
        rest = after;
        let name = name.trim_end_matches([' ', '\t', '\n', '\r']);
        let at = expected.iter().position(|&expected| expected == name).ok_or(XmlError::NotWellFormed)?;
        if at > 0 && expected.len() == 3 {
            return Err(XmlError::NotWellFormed);
        }
        expected = expected.get(at + 1..).unwrap_or(&[]);
        match name {
            "version" if value != "1.0" => return Err(XmlError::UnsupportedVersion),
            "encoding" if !value.eq_ignore_ascii_case("utf-8") => return Err(XmlError::BadEncoding),
            "standalone" if !matches!(value, "yes" | "no") => return Err(XmlError::NotWellFormed),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Reading {
    header: Option<(StreamHeader, bool)>,
    name: Box<str>,
}

impl<'a> Sink<'a> for Reading {
    fn start(&mut self, tag: &Tag<'a, '_>) -> Result<(), XmlError> {
        if tag.local != "stream" {
            return Err(XmlError::BadFormat);
        }
        let attribute = |name: &str| tag.attribute(name).map(Box::from);
        let lang = tag.attributes.iter().find(|found| found.prefix == "xml" && found.local == "lang");
        let lang: Option<Box<str>> = lang.map(|found| Box::from(&*found.value));
        let default_ns = tag.declarations().find(|(prefix, _)| prefix.is_empty()).map_or("", |(_, ns)| ns);
        // A header may leave the declaration of the content namespace to each stanza (RFC 6120 section 4.8.3).
        let content_ns = match default_ns {
            ns::STREAM | "" => Cow::Borrowed(ns::CLIENT),
            other => known(other),
        };
        let mut prefixes: Vec<(Box<str>, Box<str>)> = tag
            .declarations()
            .filter(|(prefix, _)| !prefix.is_empty())
            .map(|(prefix, ns)| (Box::from(prefix), Box::from(ns)))
            .collect();
        let prefixes = match prefixes.as_slice() {
            [] => Prefixes::None,
            [(prefix, ns)] if &**prefix == "stream" && &**ns == ns::STREAM => Prefixes::Usual,
            _ => Prefixes::These(std::mem::take(&mut prefixes).into_boxed_slice()),
        };
        let header = StreamHeader {
            to: attribute("to"),
            from: attribute("from"),
            id: attribute("id"),
            version: attribute("version"),
            lang: lang.clone(),
            content_ns: Box::from(default_ns),
            context: Context { content_ns, default_ns: known(default_ns), lang, prefixes },
        };
        self.name = if tag.prefix.is_empty() {
            Box::from(tag.local)
        } else {
            format!("{}:{}", tag.prefix, tag.local).into_boxed_str()
        };
        self.header = Some((header, tag.ns == ns::STREAM));
        Ok(())
    }

    fn text(&mut self, _text: Cow<'a, str>) {}

    fn end(&mut self, _depth: usize, _start: usize, _end: usize) {}
}
