//! Where the stream header and each top-level element end.
//!
//! An incremental scan that looks at markup only as far as boundaries need, so that bytes are looked at once
//! however they are split, and that bounds what is buffered. It refuses early what can never become good:
//! comments, processing instructions, document types (RFC 6120 section 11.1), text between stanzas. All else
//! that can be wrong with an element is found by the strict pass over the finished frame.

use bytes::Bytes;

use super::{StreamHeader, XmlError, header, is_whitespace};
use crate::limits::Limits;

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The stream header.
    Open(Box<StreamHeader>),
    /// One complete top-level element, from its `<` to its `>`: a stanza or a nonza, not checked yet.
    Element(Bytes),
    /// The tag that closes the stream. What comes after it is ignored.
    Close,
}

/// Cuts a stream of bytes into frames. Holds no buffer while it has nothing half-read.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    /// Bytes not yet given out. A frame that is all there is leaves with the buffer itself.
    buffer: Vec<u8>,
    /// How much of the buffer has been given out.
    start: usize,
    /// How much of the buffer has been looked at.
    at: usize,
    phase: Phase,
    scan: Scan,
    /// Where in the frame the names of the open elements are, so that a wrong end tag is answered when it comes
    /// and not when the frame ends, which it then never may. Begins with a start tag that is still being scanned.
    open: Vec<u32>,
    /// The name in the stream header, which the closing tag must repeat.
    name: Box<str>,
    /// Whether the stream header was `<stream/>`.
    is_empty_stream: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before the header of the first stream.
    First,
    /// Before the header of a stream that follows another: white space may still belong to that one.
    Again,
    /// After the stream header.
    Body,
    Closed,
}

/// How many open elements there is room kept for while idle.
const KEPT_DEPTH: usize = 8;

/// What the scan is inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scan {
    Text,
    /// A start tag.
    Tag,
    /// A value in a start tag, with its quote.
    Value(u8),
    EndTag,
    Section,
}

impl Framer {
    /// A framer that expects a stream header.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            buffer: Vec::new(),
            start: 0,
            at: 0,
            phase: Phase::First,
            scan: Scan::Text,
            open: Vec::new(),
            name: Box::default(),
            is_empty_stream: false,
        }
    }

    /// Changes the bounds, from the next byte on.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.limits = *limits;
    }

    /// Forgets everything, buffered bytes included, and expects a stream header. For a stream that has just
    /// been secured: what was sent before TLS must not be taken as sent under it (RFC 6120 section 5.4.3.3).
    pub fn reset(&mut self) {
        let limits = self.limits;
        *self = Self::new(&limits);
    }

    /// Expects a new stream header after what was taken so far, as after SASL (RFC 6120 section 6.4.6).
    /// Bytes that have already come are kept.
    pub fn restart(&mut self) {
        self.phase = Phase::Again;
        self.scan = Scan::Text;
        self.open = Vec::new();
        self.name = Box::default();
        self.is_empty_stream = false;
        self.at = self.start;
    }

    /// How many bytes are held, complete frames not yet taken included.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// How many bytes are allocated.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Adds what was read. Call [`Framer::next`] until it has no more frames before adding again, and the
    /// buffer is bounded by the limits and the size of one read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.phase == Phase::Closed {
            return;
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.at -= self.start;
            self.start = 0;
        }
        if self.buffer.is_empty() {
            // Exactly as much as there is: whole stanzas leave with the buffer.
            self.buffer.reserve_exact(bytes.len());
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, or `None` until more bytes come.
    ///
    /// # Errors
    /// What ends the stream. The framer is of no use afterwards.
    #[expect(clippy::should_implement_trait, reason = "an iterator does not go on after None")]
    pub fn next(&mut self) -> Result<Option<Frame>, XmlError> {
        let found = match self.phase {
            Phase::First | Phase::Again => self.prolog(),
            Phase::Body => self.body(),
            Phase::Closed => Ok(None),
        };
        if self.start == self.buffer.len() {
            self.buffer = Vec::new();
            self.start = 0;
            self.at = 0;
            if self.open.capacity() > KEPT_DEPTH {
                self.open = Vec::new();
            }
        }
        found
    }

    fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or(&[])
    }

    fn skip_whitespace(&mut self) {
        let blanks = self.pending().iter().take_while(|&&b| is_whitespace(b)).count();
        self.start += blanks;
        self.at = self.at.max(self.start);
    }

    fn prolog(&mut self) -> Result<Option<Frame>, XmlError> {
        if self.phase == Phase::Again {
            self.skip_whitespace();
        }
        let end = self.header_end();
        let length = end.as_ref().ok().copied().flatten().unwrap_or_else(|| self.pending().len());
        if length > self.limits.header_bytes_max {
            return Err(XmlError::TooBig);
        }
        let Some(end) = end? else { return Ok(None) };
        let bytes = self.pending().get(..end).unwrap_or(&[]);
        let without_slash;
        let is_empty = bytes.ends_with(b"/>");
        let bytes = if is_empty {
            without_slash = [bytes.get(..end - 2).unwrap_or(&[]), b">"].concat();
            &without_slash
        } else {
            bytes
        };
        let (header, name) = header::parse(bytes, &self.limits)?;
        self.start += end;
        self.at = self.start;
        self.phase = Phase::Body;
        self.scan = Scan::Text;
        self.is_empty_stream = is_empty;
        self.name = name;
        Ok(Some(Frame::Open(Box::new(header))))
    }

    /// The length of the pending bytes up to the end of the header's tag. What comes before it is short, and
    /// is looked at again with every read.
    fn header_end(&self) -> Result<Option<usize>, XmlError> {
        let bytes = self.pending();
        // UTF-16, told by what is there of it, so that it makes no difference how it is cut.
        if matches!(bytes, [0xfe | 0xff | 0, ..] | [b'<', 0, ..]) {
            return Err(XmlError::BadEncoding);
        }
        let mut at = 0;
        // The declaration: only as the very first bytes.
        if b"<?xml".starts_with(bytes.get(..5).unwrap_or(bytes)) && !bytes.is_empty() {
            if bytes.len() < 6 {
                return Ok(None);
            }
            if !bytes.get(5).copied().is_some_and(is_whitespace) {
                return Err(XmlError::Restricted);
            }
            match memchr::memmem::find(bytes, b"?>") {
                Some(end) => at = end + 2,
                None => return Ok(None),
            }
        }
        at += bytes.iter().skip(at).take_while(|&&b| is_whitespace(b)).count();
        match (bytes.get(at), bytes.get(at + 1)) {
            (None, _) | (Some(b'<'), None) => return Ok(None),
            (Some(b'<'), Some(b'!' | b'?')) => return Err(XmlError::Restricted),
            (Some(b'<'), Some(_)) => {}
            _ => return Err(XmlError::NotWellFormed),
        }
        let mut quote = None;
        for (offset, &b) in bytes.iter().enumerate().skip(at + 1) {
            match (quote, b) {
                (_, b'<') => return Err(XmlError::NotWellFormed),
                (None, b'>') => return Ok(Some(offset + 1)),
                (None, b'\'' | b'"') => quote = Some(b),
                (Some(open), b) if open == b => quote = None,
                _ => {}
            }
        }
        Ok(None)
    }

    fn body(&mut self) -> Result<Option<Frame>, XmlError> {
        if self.is_empty_stream {
            return Ok(Some(self.close()));
        }
        if self.open.is_empty() && self.scan == Scan::Text {
            self.skip_whitespace();
        }
        let found = self.scan();
        // The bound holds for a frame that is still growing as for one that is complete.
        if !matches!(found, Err(_) | Ok(Found::Close(_))) && self.at - self.start > self.limits.stanza_bytes_max {
            return Err(XmlError::TooBig);
        }
        match found? {
            Found::Nothing => Ok(None),
            Found::Element => Ok(Some(Frame::Element(self.take()))),
            Found::Close(name) => {
                if *name != *self.name {
                    return Err(XmlError::NotWellFormed);
                }
                Ok(Some(self.close()))
            }
        }
    }

    fn close(&mut self) -> Frame {
        self.phase = Phase::Closed;
        self.buffer = Vec::new();
        self.start = 0;
        self.at = 0;
        Frame::Close
    }

    /// Takes the finished frame: the buffer itself if that is all there is, else exactly those bytes, so that
    /// one stanza kept for long does not keep a whole read.
    fn take(&mut self) -> Bytes {
        if self.start == 0 && self.at == self.buffer.len() {
            let mut buffer = std::mem::take(&mut self.buffer);
            self.at = 0;
            buffer.shrink_to_fit();
            return Bytes::from(buffer);
        }
        let bytes = Bytes::copy_from_slice(self.buffer.get(self.start..self.at).unwrap_or(&[]));
        self.start = self.at;
        bytes
    }

    /// Goes on from where the last scan stopped.
    fn scan(&mut self) -> Result<Found, XmlError> {
        loop {
            let rest = self.buffer.get(self.at..).unwrap_or(&[]);
            match self.scan {
                Scan::Text => {
                    let Some(open) = memchr::memchr(b'<', rest) else {
                        if self.open.is_empty() && !rest.is_empty() {
                            return Err(XmlError::BadFormat);
                        }
                        self.at = self.buffer.len();
                        return Ok(Found::Nothing);
                    };
                    if self.open.is_empty() && open > 0 {
                        return Err(XmlError::BadFormat);
                    }
                    self.at += open;
                    let rest = rest.get(open..).unwrap_or(&[]);
                    match rest.get(1) {
                        None => return Ok(Found::Nothing),
                        Some(b'/') => self.scan = Scan::EndTag,
                        Some(b'?') => return Err(XmlError::Restricted),
                        Some(b'!') => {
                            const SECTION: &[u8] = b"<![CDATA[";
                            let head = rest.get(..SECTION.len()).unwrap_or(rest);
                            if !SECTION.starts_with(head) {
                                return Err(XmlError::Restricted);
                            }
                            // Not before it is whole: it may yet become a comment, which is another error.
                            if head.len() < SECTION.len() {
                                return Ok(Found::Nothing);
                            }
                            if self.open.is_empty() {
                                return Err(XmlError::BadFormat);
                            }
                            self.at += SECTION.len();
                            self.scan = Scan::Section;
                        }
                        Some(_) => {
                            self.at += 1;
                            self.open.push(u32::try_from(self.at - self.start).unwrap_or(u32::MAX));
                            self.scan = Scan::Tag;
                        }
                    }
                }
                Scan::Tag => match rest.iter().position(|b| matches!(b, b'>' | b'"' | b'\'' | b'<')) {
                    None => {
                        self.at = self.buffer.len();
                        return Ok(Found::Nothing);
                    }
                    Some(found) => {
                        self.at += found + 1;
                        match rest.get(found) {
                            Some(b'>') => {
                                self.scan = Scan::Text;
                                let is_empty = self.buffer.get(self.at.wrapping_sub(2)) == Some(&b'/');
                                if self.opened(is_empty)? {
                                    return Ok(Found::Element);
                                }
                            }
                            Some(&quote @ (b'"' | b'\'')) => self.scan = Scan::Value(quote),
                            _ => return Err(XmlError::NotWellFormed),
                        }
                    }
                },
                Scan::Value(quote) => match memchr::memchr2(quote, b'<', rest) {
                    None => {
                        self.at = self.buffer.len();
                        return Ok(Found::Nothing);
                    }
                    Some(found) if rest.get(found) == Some(&quote) => {
                        self.at += found + 1;
                        self.scan = Scan::Tag;
                    }
                    Some(_) => return Err(XmlError::NotWellFormed),
                },
                // The scan stays at the `<` of an end tag until its `>` is there: end tags are short.
                Scan::EndTag => match memchr::memchr(b'>', rest) {
                    None if rest.len() > self.limits.name_bytes_max + 16 => return Err(XmlError::NameTooLong),
                    None => return Ok(Found::Nothing),
                    Some(close) => {
                        self.scan = Scan::Text;
                        let name = rest.get(2..close).unwrap_or(&[]).trim_ascii_end();
                        let Some(opened) = self.open.pop() else {
                            let name = std::str::from_utf8(name).map_err(|_| XmlError::BadEncoding)?;
                            return Ok(Found::Close(Box::from(name)));
                        };
                        if !self.is_named(opened, name) {
                            return Err(XmlError::NotWellFormed);
                        }
                        self.at += close + 1;
                        if self.open.is_empty() {
                            return Ok(Found::Element);
                        }
                    }
                },
                Scan::Section => match memchr::memmem::find(rest, b"]]>") {
                    Some(end) => {
                        self.at += end + 3;
                        self.scan = Scan::Text;
                    }
                    None => {
                        self.at += rest.len().saturating_sub(2);
                        return Ok(Found::Nothing);
                    }
                },
            }
        }
    }

    /// Counts a start tag that has just ended; says whether it was a whole top-level element.
    fn opened(&mut self, is_empty: bool) -> Result<bool, XmlError> {
        if self.open.len() > self.limits.depth_max {
            return Err(XmlError::TooDeep);
        }
        if is_empty {
            self.open.pop();
        }
        Ok(self.open.is_empty())
    }

    /// Whether the start tag whose name begins at `opened` has this name.
    fn is_named(&self, opened: u32, name: &[u8]) -> bool {
        let at = usize::try_from(opened).map_or(usize::MAX, |opened| self.start.saturating_add(opened));
        let rest = self.buffer.get(at..).and_then(|tag| tag.strip_prefix(name));
        rest.and_then(<[u8]>::first).is_some_and(|&b| matches!(b, b'>' | b'/') || is_whitespace(b))
    }
}

enum Found {
    Nothing,
    /// Ends where the scan is.
    Element,
    /// With the name in the tag.
    Close(Box<str>),
}
