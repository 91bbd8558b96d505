//! What every stream is made of, whoever is at its ends: a framer, what elements inherit, bytes to send; how a
//! header is written, how a stream ends, and what may be read before anybody has proven anything.

use super::{Condition, StreamError};
use crate::limits::Limits;
use crate::ns;
use crate::xml::{Context, Framer, StreamHeader, write_attr};

/// The bytes of one stream, in both directions.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) framer: Framer,
    /// What elements inherit from the peer's header.
    pub(super) context: Context,
    /// Bytes to send.
    pub(super) out: Vec<u8>,
}

impl Line {
    pub(super) fn new(limits: &Limits, context: Context) -> Self {
        Self { framer: Framer::new(limits), context, out: Vec::new() }
    }

    /// Forgets what was learned in the clear (RFC 6120 section 5.4.3.3).
    pub(super) fn secured(&mut self, context: Context) {
        self.framer.reset();
        self.context = context;
    }

    /// Makes sure that nothing follows in the clear the element that begins TLS: whoever wrote it was not
    /// protected by TLS and must not seem to have been. White space is as harmless as it is forbidden, and is
    /// dropped.
    pub(super) fn check_nothing_follows(&mut self) -> Result<(), StreamError> {
        match self.framer.next() {
            Ok(None) if self.framer.buffered() == 0 => Ok(()),
            _ => Err(StreamError::new(Condition::PolicyViolation).with_text("bytes in the clear after starttls")),
        }
    }

    /// Appends the end of a stream (RFC 6120 section 4.4).
    pub(super) fn end(&mut self, error: Option<&StreamError>) {
        if let Some(error) = error {
            error.render_into(&mut self.out);
        }
        self.out.extend_from_slice(b"</stream:stream>");
    }

    /// Moves what is to be sent to the caller's buffer and returns how many bytes that is.
    pub(super) fn transmit(&mut self, out: &mut Vec<u8>) -> usize {
        let length = self.out.len();
        if length == 0 {
            // The caller keeps the buffer it has.
        } else if out.is_empty() {
            *out = std::mem::take(&mut self.out);
        } else {
            out.append(&mut self.out);
            self.out = Vec::new();
        }
        length
    }
}

/// What a header says (RFC 6120 section 4.7).
pub(super) struct Header<'a> {
    pub(super) from: Option<&'a str>,
    pub(super) id: Option<&'a str>,
    pub(super) to: Option<&'a str>,
    /// `jabber:client` or `jabber:server`.
    pub(super) content_ns: &'static str,
}

impl Header<'_> {
    pub(super) fn render_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<?xml version='1.0'?><stream:stream");
        for (name, value) in [("from", self.from), ("id", self.id), ("to", self.to)] {
            if let Some(value) = value {
                write_attr(out, name, value);
            }
        }
        out.extend_from_slice(b" version='1.0' xml:lang='en'");
        write_attr(out, "xmlns", self.content_ns);
        write_attr(out, "xmlns:stream", ns::STREAM);
        if self.content_ns == ns::SERVER {
            // Support for dialback was said so before there were features (XEP-0220 section 2.4.1).
            write_attr(out, "xmlns:db", ns::DIALBACK);
        }
        out.push(b'>');
    }
}

/// The major version of XMPP in a header: numbers, not strings; the minor one says nothing to us (RFC 6120 section
/// 4.7.5). `None` if there is none, or if it is no version.
pub(super) fn major_version(header: &StreamHeader) -> Option<u32> {
    let (major, minor) = header.version.as_deref()?.split_once('.')?;
    minor.parse::<u32>().ok().and(major.parse().ok())
}

/// Which of some domains a header is to. Section 4.7.2 asks for leniency with those who name nobody, where there
/// is no doubt.
pub(super) fn domain_asked_for(header: &StreamHeader, domains: &[Box<str>]) -> Option<usize> {
    match header.to.as_deref() {
        Some(to) => {
            let to = crate::BareJid::new(to).ok()?;
            domains.iter().position(|domain| to.is_domain() && **domain == *to.domain())
        }
        None => (domains.len() == 1).then_some(0),
    }
}

/// Bytes that a stranger may still send.
#[derive(Debug)]
pub(super) struct Allowance {
    left: usize,
    is_exhausted: bool,
}

impl Allowance {
    pub(super) const fn new(bytes: usize) -> Self {
        Self { left: bytes, is_exhausted: false }
    }

    /// The bytes that may be read.
    pub(super) fn permit<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let permitted = bytes.get(..self.left).unwrap_or(bytes);
        self.left -= permitted.len();
        self.is_exhausted |= permitted.len() < bytes.len();
        permitted
    }

    /// Whether more was sent, and what ends the stream then.
    pub(super) fn exceeded(&self) -> Option<StreamError> {
        let text = "too many bytes before authentication";
        self.is_exhausted.then(|| StreamError::new(Condition::PolicyViolation).with_text(text))
    }
}
