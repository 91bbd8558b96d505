//! Elements as people might write them, the same damaged, and heaps of pieces of markup.

use proptest::prelude::*;
use proptest::sample::select;

const PREFIXES: &[&str] = &["", "", "", "x", "y", "stream", "xml"];
const NAMES: &[&str] = &["a", "body", "b-1", "_c.d", "\u{e9}t\u{e9}", "message"];
const DECLARED: &[(&str, &str)] = &[
    ("xmlns", "urn:a"),
    ("xmlns", "jabber:client"),
    ("xmlns", ""),
    ("xmlns", "a&amp;b"),
    ("xmlns:x", "urn:x"),
    ("xmlns:x", "urn:a"),
    ("xmlns:y", "urn:x"),
    ("xmlns:y", "jabber:client"),
];
const TEXTS: &[&str] = &[
    "text",
    " ",
    "\n",
    "\r\n",
    "\t",
    "&lt;",
    "&amp;",
    "&gt;",
    "&apos;",
    "&quot;",
    "&#65;",
    "&#x1F980;",
    "&#13;",
    "\u{e9}\u{1f980}",
    ">",
    "]] ",
    "<![CDATA[<&>]]>",
    "<![CDATA[]]>",
    "'",
    "\"",
    "a\r\nb",
];

/// A well-formed element that uses only prefixes it declares, or `stream`, or `xml` on attributes.
pub(crate) fn element() -> impl Strategy<Value = String> {
    let leaf = (tag(), prop::collection::vec(select(TEXTS), 0..4))
        .prop_map(|(tag, texts)| tag.around(&texts.concat(), texts.is_empty()));
    leaf.prop_recursive(4, 24, 4, |inner| {
        let node = prop_oneof![inner, select(TEXTS).prop_map(str::to_owned)];
        (tag(), prop::collection::vec(node, 0..5)).prop_map(|(tag, nodes)| tag.around(&nodes.concat(), false))
    })
}

#[derive(Clone, Debug)]
struct Tag {
    prefix: &'static str,
    name: &'static str,
    declared: Vec<(&'static str, &'static str)>,
    attributes: Vec<(&'static str, &'static str, String)>,
    quote: char,
    space: &'static str,
}

impl Tag {
    fn around(&self, inside: &str, may_be_empty: bool) -> String {
        // What is used is declared here, or anywhere above: the first of each name counts.
        let mut declared = self.declared.clone();
        for prefix in self.attributes.iter().map(|found| found.0).chain([self.prefix]) {
            match prefix {
                "x" => declared.push(("xmlns:x", "urn:x")),
                "y" => declared.push(("xmlns:y", "urn:y")),
                _ => {}
            }
        }
        let mut seen = Vec::new();
        declared.retain(|(name, _)| {
            !seen.contains(name) && {
                seen.push(*name);
                true
            }
        });
        let uri =
            |prefix: &str| declared.iter().find(|(name, _)| *name == format!("xmlns:{prefix}")).map(|found| found.1);
        let mut seen = Vec::new();
        let mut out = String::new();
        for (name, value) in &declared {
            out.push_str(&format!("{}{name}{}={}{value}{}", self.space, "", self.quote, self.quote));
        }
        for (prefix, name, value) in &self.attributes {
            let ns = uri(prefix).unwrap_or(prefix);
            if seen.contains(&(ns, *name)) || name.starts_with("xmlns") {
                continue;
            }
            seen.push((ns, name));
            let colon = if prefix.is_empty() { "" } else { ":" };
            let value = value.replace(self.quote, "&apos;");
            out.push_str(&format!("{}{prefix}{colon}{name} = {}{value}{}", self.space, self.quote, self.quote));
        }
        let prefix = if self.prefix == "xml" { "" } else { self.prefix };
        let colon = if prefix.is_empty() { "" } else { ":" };
        let name = format!("{prefix}{colon}{}", self.name);
        if inside.is_empty() && may_be_empty {
            format!("<{name}{out}{}/>", if self.space == "\n" { "\n" } else { "" })
        } else {
            format!("<{name}{out}>{inside}</{name}{}>", if self.space == "\n" { "\n" } else { "" })
        }
    }
}

fn tag() -> impl Strategy<Value = Tag> {
    let value = prop::collection::vec(select(TEXTS), 0..3)
        .prop_map(|texts| texts.into_iter().filter(|text| !text.starts_with('<')).collect::<String>());
    let attribute = (select(PREFIXES), select(NAMES), value);
    (
        select(PREFIXES),
        select(NAMES),
        prop::collection::vec(select(DECLARED), 0..3),
        prop::collection::vec(attribute, 0..3),
        select(&['\'', '"'][..]),
        select(&[" ", "\n", "\t  "][..]),
    )
        .prop_map(|(prefix, name, declared, attributes, quote, space)| Tag {
            prefix,
            name,
            declared,
            attributes,
            quote,
            space,
        })
}

const PIECES: &[&str] = &[
    "<",
    ">",
    "/>",
    "</",
    "</a>",
    "<a>",
    "<a/>",
    "<a",
    "a",
    "x",
    ":",
    "x:a",
    "=",
    "'",
    "\"",
    " ",
    "/",
    "xmlns='urn:a'",
    " xmlns:x='urn:x'",
    " xmlns:xml='http://www.w3.org/XML/1998/namespace'",
    " xmlns:xmlns='urn:a'",
    " xmlns:y=''",
    " xmlns:z='http://www.w3.org/XML/1998/namespace'",
    " xmlns='http://www.w3.org/2000/xmlns/'",
    " a='1'",
    " a='2'",
    " x:a='1'",
    " y:a='1'",
    " xml:lang='de'",
    "&",
    "&amp;",
    "&foo;",
    "&#0;",
    "&#x1;",
    "&#65;",
    "&#xD800;",
    "&#xFFFE;",
    "&#x110000;",
    "&#;",
    "&#x;",
    "&#+65;",
    "&#X41;",
    ";",
    "]]>",
    "]]",
    "<![CDATA[",
    "<![cdata[",
    "<!--",
    "-->",
    "--",
    "<?",
    "?>",
    "<?xml version='1.0'?>",
    "<!DOCTYPE a>",
    "text",
    "\n",
    "\r\n",
    "\t",
    "\u{1}",
    "\u{7f}",
    "\u{85}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{fffd}",
    "\u{1fffe}",
    "\u{e9}",
    "\u{d7}",
    "\u{b7}",
    "\u{300}",
    "\u{feff}",
    "-",
    ".",
    "1",
    "</x:a>",
    "<x:a xmlns:x='urn:x'>",
    "<stream:a>",
    "</stream:a>",
    "<xml:a/>",
    "<xmlns:a/>",
];

/// Heaps of pieces of markup, sometimes inside an element.
pub(crate) fn tokens() -> impl Strategy<Value = String> {
    let heap = prop::collection::vec(select(PIECES), 0..8).prop_map(|pieces| pieces.concat());
    prop_oneof![
        heap.clone(),
        heap.clone().prop_map(|heap| format!("<a>{heap}</a>")),
        heap.clone().prop_map(|heap| format!("<a{heap}/>")),
        heap.clone().prop_map(|heap| format!("<a {heap}></a>")),
        heap.clone().prop_map(|heap| format!("<a b='{heap}'/>")),
        heap.clone().prop_map(|heap| format!("<a><b{heap}>c</b></a>")),
        heap.prop_map(|heap| format!("<{heap}/>")),
    ]
}

/// Well-formed elements with some bytes taken out, put in or changed.
pub(crate) fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let damage = (any::<prop::sample::Index>(), 0..4_usize, select(PIECES), any::<u8>(), 0..4_u8);
    (element(), prop::collection::vec(damage, 1..4)).prop_map(|(text, damages)| {
        let mut bytes = text.into_bytes();
        for (at, length, piece, byte, how) in damages {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            let end = (at + length).min(bytes.len());
            match how {
                0 => drop(bytes.drain(at..end)),
                1 => drop(bytes.splice(at..end, piece.bytes())),
                2 => drop(bytes.splice(at..at, piece.bytes())),
                _ => bytes[at] = byte,
            }
        }
        bytes
    })
}
