//! The client's side of framing: bytes from a server to stream headers, elements and the end of the stream.
//!
//! Deliberately plain and independent of the server's reader. It believes that a server writes well-formed XML
//! and finds out by parsing what it cut (RFC 6120 section 4).

use xmpp::Element;

/// What a server said.
#[derive(Debug, PartialEq)]
pub enum Frame {
    /// The stream header, as an element without children.
    Open(Element),
    /// A top-level element of the stream.
    Element(Element),
    /// The closing tag of the stream.
    Close,
}

/// Bytes not yet understood.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

/// Prefixes that may be used in plays and by servers without declaration on the element itself.
const WRAPPER: &str = "<stage xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                       xmlns:db='jabber:server:dialback' \
                       xmlns:scansion='https://matthewwild.co.uk/projects/scansion'>";

/// Parses the elements of a piece of XML, as they would stand in a client stream.
pub fn elements(xml: &str) -> Result<Vec<Element>, String> {
    let root: Element =
        format!("{WRAPPER}{xml}</stage>").parse().map_err(|error| format!("not XML: {error}\n{xml}"))?;
    if root.texts().any(|text| !text.trim().is_empty()) {
        return Err(format!("text between stanzas: {xml}"));
    }
    Ok(root.children().cloned().collect())
}

fn only_element(xml: &str) -> Result<Element, String> {
    elements(xml)?.pop().ok_or_else(|| format!("no element: {xml}"))
}

impl Frames {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether bytes are left that are more than white space.
    pub fn is_empty(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }

    /// The next frame, if it is complete.
    pub fn next(&mut self) -> Result<Option<Frame>, String> {
        loop {
            let blank = self.bytes.iter().take_while(|b| b.is_ascii_whitespace()).count();
            self.bytes.drain(..blank);
            let Some(first) = tag_end(&self.bytes) else { return Ok(None) };
            if self.bytes.starts_with(b"<?xml") {
                self.bytes.drain(..first);
                continue;
            }
            if self.bytes.starts_with(b"</") {
                self.bytes.drain(..first);
                return Ok(Some(Frame::Close));
            }
            if self.bytes.starts_with(b"<stream:stream") {
                let header = self.take(first)?;
                return only_element(&format!("{}/>", header.trim_end_matches('>'))).map(|e| Some(Frame::Open(e)));
            }
            let Some(end) = element_end(&self.bytes)? else { return Ok(None) };
            let element = self.take(end)?;
            return only_element(&element).map(|e| Some(Frame::Element(e)));
        }
    }

    fn take(&mut self, end: usize) -> Result<String, String> {
        String::from_utf8(self.bytes.drain(..end).collect()).map_err(|_| "the server wrote invalid UTF-8".to_owned())
    }
}

/// Cuts a piece of a play into its top-level elements, as text.
#[derive(Debug)]
pub struct Pieces {
    bytes: Vec<u8>,
}

impl Pieces {
    /// Begins with a block of a play.
    pub fn new(xml: &str) -> Self {
        Self { bytes: xml.as_bytes().to_vec() }
    }

    /// The next element.
    pub fn next(&mut self) -> Result<Option<String>, String> {
        let blank = self.bytes.iter().take_while(|b| b.is_ascii_whitespace()).count();
        self.bytes.drain(..blank);
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let end = element_end(&self.bytes)?.ok_or("an element of the play does not end")?;
        String::from_utf8(self.bytes.drain(..end).collect()).map(Some).map_err(|error| error.to_string())
    }
}

/// Length of the tag at the start of the bytes.
fn tag_end(bytes: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    None
}

/// Length of the element at the start of the bytes.
fn element_end(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    let mut depth = 0_usize;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(text) = rest.iter().position(|b| *b == b'<') else { return Ok(None) };
        let rest = rest.get(text..).unwrap_or_default();
        if at == 0 && text > 0 {
            return Err("the server wrote text between stanzas".to_owned());
        }
        if rest.starts_with(b"<!") || rest.starts_with(b"<?") {
            return Err("the server wrote a comment, CDATA, DTD or processing instruction".to_owned());
        }
        let Some(tag) = tag_end(rest) else { return Ok(None) };
        at += text + tag;
        if rest.starts_with(b"</") {
            depth = depth.checked_sub(1).ok_or("the server closed what was not open")?;
        } else if rest.get(tag.saturating_sub(2)) != Some(&b'/') {
            depth += 1;
        }
        if depth == 0 {
            return Ok(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_wherever_the_bytes_are_split() {
        let wire = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                    xmlns:stream='http://etherx.jabber.org/streams' id='>x' version='1.0'>\n<stream:features/> \
                    <message to='a'><body>&gt; é</body><x xmlns='y'/></message></stream:stream>";
        let whole = read(wire, wire.len());
        assert_eq!(whole.len(), 4);
        assert!(matches!(&whole[0], Frame::Open(e) if e.attr("id") == Some(">x")));
        assert!(matches!(&whole[2], Frame::Element(e) if e.children().count() == 2));
        assert_eq!(whole[3], Frame::Close);
        for size in 1..20 {
            assert_eq!(read(wire, size), whole);
        }
    }

    fn read(wire: &str, size: usize) -> Vec<Frame> {
        let mut frames = Frames::default();
        let mut found = Vec::new();
        for piece in wire.as_bytes().chunks(size) {
            frames.push(piece);
            while let Some(frame) = frames.next().unwrap() {
                found.push(frame);
            }
        }
        assert!(frames.is_empty());
        found
    }

    #[test]
    fn a_server_that_writes_what_it_must_not_is_caught() {
        for wire in ["<a><!-- x --></a>", "text<a/>", "<a><b></a>", "<a><?x?></a>"] {
            let mut frames = Frames::default();
            frames.push(wire.as_bytes());
            assert!(frames.next().is_err() || frames.next().unwrap().is_none(), "{wire}");
        }
    }
}
