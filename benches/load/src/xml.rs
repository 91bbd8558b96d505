//! A splitter of XMPP streams into first-level elements, and the few searches the
//! generator needs to look into one.
//!
//! It never builds a tree: a stanza is a slice of bytes. It trusts its input to be
//! well-formed (RFC 6120 section 11), so it is fit for a client that measures a server
//! of its own choosing, and for nothing that strangers can reach.

use memchr::{memchr, memchr3, memmem};
use std::ops::Range;

/// What [`Framer::next`] finds.
pub(crate) enum Frame {
    /// The `<stream:stream …>` header.
    Open,
    /// One complete first-level element; the range indexes [`Framer::bytes`].
    Stanza(Range<usize>),
    /// `</stream:stream>`.
    Close,
}

#[derive(Clone, Copy)]
enum Mode {
    Text,
    Tag,
    Quoted(u8),
}

/// Incremental splitter. Bytes are scanned once, whatever the read sizes.
pub(crate) struct Framer {
    /// What was read and not yet dropped.
    pub(crate) bytes: Vec<u8>,
    start: usize,
    tag: usize,
    pos: usize,
    depth: usize,
    mode: Mode,
}

impl Framer {
    /// A splitter before its stream header.
    pub(crate) fn new() -> Self {
        Framer { bytes: Vec::new(), start: 0, tag: 0, pos: 0, depth: 0, mode: Mode::Text }
    }

    /// A splitter for bytes that come without a stream header around them.
    pub(crate) fn headless() -> Self {
        Framer { depth: 1, ..Framer::new() }
    }

    /// The stream header, directly after it was found.
    pub(crate) fn header(&self) -> &[u8] {
        &self.bytes[self.start..self.pos]
    }

    /// Forget everything: a new stream starts (after TLS or SASL).
    pub(crate) fn reset(&mut self) {
        *self = Framer::new();
    }

    /// Drop what was consumed, and hand out the buffer to read more into.
    pub(crate) fn space(&mut self) -> &mut Vec<u8> {
        let keep = if self.depth <= 1 && matches!(self.mode, Mode::Text) { self.pos } else { self.start };
        if keep > 0 {
            self.bytes.drain(..keep);
            self.pos -= keep;
            self.start = self.start.saturating_sub(keep);
            self.tag = self.tag.saturating_sub(keep);
        }
        if self.bytes.is_empty() && self.bytes.capacity() > 16384 {
            self.bytes = Vec::new();
        }
        self.bytes.reserve(2048);
        &mut self.bytes
    }

    /// The next complete frame, or nothing until more bytes are read into [`Framer::space`].
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            let rest = &self.bytes[self.pos..];
            match self.mode {
                Mode::Text => {
                    let Some(i) = memchr(b'<', rest) else {
                        self.pos = self.bytes.len();
                        return None;
                    };
                    self.tag = self.pos + i;
                    if self.depth <= 1 {
                        self.start = self.tag;
                    }
                    self.pos = self.tag + 1;
                    self.mode = Mode::Tag;
                }
                Mode::Quoted(q) => {
                    let Some(i) = memchr(q, rest) else {
                        self.pos = self.bytes.len();
                        return None;
                    };
                    self.pos += i + 1;
                    self.mode = Mode::Tag;
                }
                Mode::Tag => match memchr3(b'>', b'"', b'\'', rest) {
                    None => {
                        self.pos = self.bytes.len();
                        return None;
                    }
                    Some(i) if rest[i] != b'>' => {
                        self.mode = Mode::Quoted(rest[i]);
                        self.pos += i + 1;
                    }
                    Some(i) => {
                        let end = self.pos + i;
                        self.pos = end + 1;
                        self.mode = Mode::Text;
                        if let Some(frame) = self.close_tag(end) {
                            return Some(frame);
                        }
                    }
                },
            }
        }
    }

    /// The tag from `self.tag` ends at `end`: count it.
    fn close_tag(&mut self, end: usize) -> Option<Frame> {
        match self.bytes[self.tag + 1] {
            b'?' | b'!' => return None,
            b'/' => self.depth = self.depth.saturating_sub(1),
            _ if self.bytes[end - 1] == b'/' => {}
            _ => {
                self.depth += 1;
                return (self.depth == 1).then_some(Frame::Open);
            }
        }
        match self.depth {
            0 => Some(Frame::Close),
            1 => Some(Frame::Stanza(self.start..self.pos)),
            _ => None,
        }
    }
}

/// Attribute of the first tag of `el` (which starts at its `<`).
pub(crate) fn attr<'a>(el: &'a [u8], name: &str) -> Option<&'a str> {
    let mut p = el.iter().position(|b| b" \t\r\n/>".contains(b))?;
    loop {
        p += el[p..].iter().position(|b| !b" \t\r\n".contains(b))?;
        if el[p] == b'>' || el[p] == b'/' {
            return None;
        }
        let eq = p + memchr(b'=', &el[p..])?;
        let q = eq + 1 + el[eq + 1..].iter().position(|b| *b == b'"' || *b == b'\'')?;
        let end = q + 1 + memchr(el[q], &el[q + 1..])?;
        if el[p..eq].trim_ascii() == name.as_bytes() {
            return std::str::from_utf8(&el[q + 1..end]).ok();
        }
        p = end + 1;
    }
}

/// First element named `name` at any depth, from its `<` to the end of `el`.
pub(crate) fn find_tag<'a>(el: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut at = 0;
    while let Some(i) = memmem::find(&el[at..], name.as_bytes()) {
        let s = at + i;
        let after = el.get(s + name.len()).copied().unwrap_or(0);
        if s > 0 && el[s - 1] == b'<' && b" \t\r\n/>".contains(&after) {
            return Some(&el[s - 1..]);
        }
        at = s + name.len();
    }
    None
}

/// Every element named `name`, at any depth.
pub(crate) fn tags<'a>(el: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = el;
    std::iter::from_fn(move || {
        let t = find_tag(rest, name)?;
        rest = &t[1..];
        Some(t)
    })
}

/// Character data directly after the start tag of the first `name` element.
pub(crate) fn text_of<'a>(el: &'a [u8], name: &str) -> Option<&'a str> {
    let t = find_tag(el, name)?;
    let from = memchr(b'>', t)? + 1;
    let to = from + memchr(b'<', &t[from..])?;
    std::str::from_utf8(&t[from..to]).ok()
}

/// Does `needle` occur in `el`?
pub(crate) fn has(el: &[u8], needle: &str) -> bool {
    memmem::find(el, needle.as_bytes()).is_some()
}

/// Is the first-level element called `name`?
pub(crate) fn is(el: &[u8], name: &str) -> bool {
    el.len() > name.len() + 1 && &el[1..=name.len()] == name.as_bytes() && b" \t\r\n/>".contains(&el[name.len() + 1])
}

/// The bare form of an address.
pub(crate) fn bare(jid: &str) -> &str {
    jid.split('/').next().unwrap_or(jid)
}

/// Bytes received, for an error message.
pub(crate) fn show(el: &[u8]) -> String {
    String::from_utf8_lossy(&el[..el.len().min(600)]).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn split(framer: fn() -> Framer, s: &[u8], step: usize) -> Vec<String> {
        let (mut f, mut out) = (framer(), Vec::new());
        for c in s.chunks(step) {
            f.space().extend_from_slice(c);
            while let Some(fr) = f.next() {
                out.push(match fr {
                    Frame::Open => "open".into(),
                    Frame::Stanza(r) => String::from_utf8(f.bytes[r].to_vec()).unwrap(),
                    Frame::Close => "close".into(),
                });
            }
        }
        out
    }

    #[test]
    fn splits_at_any_read_size() {
        let s = b"<?xml version='1.0'?><stream:stream a='>'>\n <a x=\"'>\"><b/><c>t</c></a> <d y='1'/><e></e></stream:stream>";
        for step in 1..s.len() {
            let want = ["open", "<a x=\"'>\"><b/><c>t</c></a>", "<d y='1'/>", "<e></e>", "close"];
            assert_eq!(split(Framer::new, s, step), want);
        }
    }

    #[test]
    fn splits_without_a_header() {
        for step in 1..12 {
            assert_eq!(split(Framer::headless, b"<a/><b><c/></b>", step), ["<a/>", "<b><c/></b>"]);
        }
    }

    #[test]
    fn looks_inside() {
        let m = b"<message from='a@b' to=\"c\"><items node='n'><item id='7'/><item id='8'/></items><body>hi</body></message>";
        assert_eq!((attr(m, "from"), attr(m, "to"), attr(m, "x")), (Some("a@b"), Some("c"), None));
        assert_eq!(attr(find_tag(m, "item").unwrap(), "id"), Some("7"));
        assert_eq!(tags(m, "item").count(), 2);
        assert_eq!(text_of(m, "body"), Some("hi"));
        assert!(is(m, "message") && !is(m, "mess"));
    }
}
