//! Writing: escaping, in this one place, and elements into bytes that lean on nothing.

use std::collections::BTreeMap;

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
/// prefixes and say their namespace where it differs from their parent's, so the bytes lean on nothing else. The prefixes
/// that they declared stay declared: attributes use them, and names in text may.
pub fn write_element(out: &mut Vec<u8>, element: &Element, parent_ns: &str) {
    write_in(out, element, parent_ns, &mut Vec::new());
}

/// Appends what is inside an element whose namespace is `ns`.
pub(crate) fn write_nodes(out: &mut Vec<u8>, element: &Element, ns: &str) {
    write_nodes_in(out, element, ns, &mut Vec::new());
}

/// The prefixes in force, with their namespaces, the innermost last.
type Scope<'a> = Vec<(&'a str, &'a str)>;

fn write_in<'a>(out: &mut Vec<u8>, element: &'a Element, parent_ns: &str, scope: &mut Scope<'a>) {
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
    let outside = scope.len();
    let declared = element.prefixes.declared_prefixes();
    scope.extend(declared.iter().filter_map(|(prefix, ns)| Some((prefix.as_deref()?, ns.as_str()))));
    // What has no prefix in force is given one, by a name that is free.
    let mut given: BTreeMap<String, &str> = BTreeMap::new();
    for ((ns, _), _) in element.attrs() {
        let is_given = given.values().any(|known| *known == ns.as_str());
        if is_plain(ns) || is_given || prefix_of(scope, ns.as_str()).is_some() {
            continue;
        }
        let is_free = |prefix: &String| !scope.iter().any(|(known, _)| known == prefix) && !given.contains_key(prefix);
        if let Some(prefix) = (0_usize..).map(|number| format!("n{number}")).find(is_free) {
            given.insert(prefix, ns.as_str());
        }
    }
    if scope.len() > outside || !given.is_empty() {
        let own = scope.get(outside..).unwrap_or_default().iter().copied();
        let all: BTreeMap<&str, &str> = own.chain(given.iter().map(|(prefix, ns)| (prefix.as_str(), *ns))).collect();
        for (prefix, ns) in all {
            write_attr(out, &format!("xmlns:{prefix}"), ns);
        }
    }
    for ((ns, name), value) in element.attrs() {
        if *ns == Namespace::NONE {
            write_attr(out, name.as_str(), value);
        } else if *ns == *Namespace::xml() {
            write_attr(out, &format!("xml:{name}"), value);
        } else {
            let given = || given.iter().find(|(_, known)| **known == ns.as_str()).map(|(prefix, _)| prefix.as_str());
            let prefix = prefix_of(scope, ns.as_str()).or_else(given).unwrap_or_default();
            write_attr(out, &format!("{prefix}:{name}"), value);
        }
    }
    if element.nodes().next().is_none() {
        out.extend_from_slice(b"/>");
    } else {
        out.push(b'>');
        write_nodes_in(out, element, ns, scope);
        out.extend_from_slice(b"</");
        out.extend_from_slice(element.name().as_bytes());
        out.push(b'>');
    }
    scope.truncate(outside);
}

/// Whether an attribute of this namespace needs no prefix that somebody declares.
fn is_plain(ns: &Namespace) -> bool {
    *ns == Namespace::NONE || *ns == *Namespace::xml()
}

/// The innermost prefix that stands for a namespace.
fn prefix_of<'a>(scope: &Scope<'a>, ns: &str) -> Option<&'a str> {
    let means = |prefix: &str| scope.iter().rev().find(|(known, _)| *known == prefix).map(|(_, ns)| *ns);
    scope.iter().rev().find(|(prefix, known)| *known == ns && means(prefix) == Some(ns)).map(|(prefix, _)| *prefix)
}

fn write_nodes_in<'a>(out: &mut Vec<u8>, element: &'a Element, ns: &str, scope: &mut Scope<'a>) {
    for node in element.nodes() {
        match node {
            Node::Element(child) => write_in(out, child, ns, scope),
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
