//! Writing: escaping, in this one place, and elements into bytes that lean on nothing.

use minidom::Node;
use minidom::rxml::Namespace;

use super::Element;
use super::chars::is_char;
use crate::ns;

/// Appends text so that it is read back as the same text.
///
/// What XML cannot carry at all (control characters) becomes U+FFFD: it cannot come from a stream, only from
/// a mistake of ours, and must not end somebody's stream.
pub fn escape_text(out: &mut Vec<u8>, text: &str) {
    escape(out, text, |b| matches!(b, b'&' | b'<' | b'>' | b'\r'));
}

/// Appends an attribute's value, to stand between single quotes.
pub fn escape_attr(out: &mut Vec<u8>, value: &str) {
    escape(out, value, |b| matches!(b, b'&' | b'<' | b'>' | b'\'' | b'"' | b'\t' | b'\n' | b'\r'));
}

fn escape(out: &mut Vec<u8>, text: &str, is_special: impl Fn(u8) -> bool) {
    let is_odd = |b: u8| b < 0x20 && !super::is_whitespace(b) || b == 0xef;
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|b| is_special(b) || is_odd(b)) {
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.extend_from_slice(before.as_bytes());
        let Some(c) = after.chars().next() else { return };
        match c {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            '\'' => out.extend_from_slice(b"&apos;"),
            '"' => out.extend_from_slice(b"&quot;"),
            '\t' => out.extend_from_slice(b"&#9;"),
            '\n' => out.extend_from_slice(b"&#10;"),
            '\r' => out.extend_from_slice(b"&#13;"),
            c if is_char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => out.extend_from_slice("\u{fffd}".as_bytes()),
        }
        rest = after.get(c.len_utf8()..).unwrap_or("");
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Appends ` name='value'`.
pub(crate) fn write_attr(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"='");
    escape_attr(out, value);
    out.push(b'\'');
}

/// Appends an element as it stands inside a parent of namespace `parent_ns`. Elements are written without
/// prefixes and say their namespace where it differs from their parent's, so the bytes lean on nothing else.
pub fn write_element(out: &mut Vec<u8>, element: &Element, parent_ns: &str) {
    out.push(b'<');
    out.extend_from_slice(element.name().as_bytes());
    let own_ns;
    let ns = if element.has_ns(parent_ns) {
        parent_ns
    } else {
        own_ns = element.ns();
        write_attr(out, "xmlns", &own_ns);
        own_ns.as_str()
    };
    let mut number = 0_usize;
    for ((attr_ns, name), value) in element.attrs() {
        if *attr_ns == Namespace::NONE {
            write_attr(out, name.as_str(), value);
        } else if *attr_ns == *Namespace::xml() {
            write_attr(out, &format!("xml:{name}"), value);
        } else {
            write_attr(out, &format!("xmlns:n{number}"), attr_ns.as_str());
            write_attr(out, &format!("n{number}:{name}"), value);
            number += 1;
        }
    }
    if element.nodes().next().is_none() {
        out.extend_from_slice(b"/>");
        return;
    }
    out.push(b'>');
    write_nodes(out, element, ns);
    out.extend_from_slice(b"</");
    out.extend_from_slice(element.name().as_bytes());
    out.push(b'>');
}

/// Appends what is inside an element whose namespace is `ns`.
pub(crate) fn write_nodes(out: &mut Vec<u8>, element: &Element, ns: &str) {
    for node in element.nodes() {
        match node {
            Node::Element(child) => write_element(out, child, ns),
            Node::Text(text) => escape_text(out, text),
        }
    }
}

/// One element as bytes that can be spliced into a stanza: only `jabber:client` goes unsaid.
#[must_use]
pub fn element_bytes(element: &Element) -> bytes::Bytes {
    let mut out = Vec::with_capacity(256);
    write_element(&mut out, element, ns::CLIENT);
    out.into()
}
