//! rxml as an independent judge: what we take it takes, as the same trees, and what it refuses we refuse.

use minidom::Node;
use minidom::rxml::{Event, Parse, Parser};
use proptest::prelude::*;

use super::super::{Context, Element, Frame, Framer, XmlError, parse_element_in};
use super::generated;
use crate::limits::Limits;

/// The elements of a stream that was opened and closed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) elements: Vec<Element>,
}

/// A whole stream by us, read in pieces of `size` bytes.
pub(super) fn ours(stream: &[u8], size: usize, limits: &Limits) -> Result<Reading, Option<XmlError>> {
    let mut framer = Framer::new(limits);
    let mut context = Context::client();
    let mut elements = Vec::new();
    for piece in stream.chunks(size.max(1)) {
        framer.push(piece);
        while let Some(frame) = framer.next()? {
            match frame {
                Frame::Open(header) => context = header.context,
                Frame::Element(bytes) => elements.push(parse_element_in(&bytes, &context, limits)?),
                Frame::Close => return Ok(Reading { elements }),
            }
        }
    }
    Err(None)
}

/// The same by rxml.
fn by_rxml(mut stream: &[u8]) -> Result<Reading, String> {
    let mut parser = Parser::new();
    let mut open: Vec<Element> = Vec::new();
    let mut elements = Vec::new();
    loop {
        match parser.parse(&mut stream, true) {
            Ok(None) => return Ok(Reading { elements }),
            Ok(Some(Event::XmlDeclaration(..))) => {}
            Ok(Some(Event::StartElement(_, (ns, name), attributes))) => {
                let mut element = Element::bare(name.to_string(), ns.to_string());
                for ((ns, name), value) in attributes {
                    element.attrs_mut().insert(ns, name, value);
                }
                open.push(element);
            }
            Ok(Some(Event::Text(_, text))) => match open.as_mut_slice() {
                [_stream] if text.trim_matches([' ', '\t', '\n', '\r']).is_empty() => {}
                [_stream] => return Err("text between stanzas".to_owned()),
                [.., element] => element.append_text(text),
                [] => unreachable!("text outside of the root"),
            },
            Ok(Some(Event::EndElement(_))) => {
                let element = open.pop().unwrap();
                match open.as_mut_slice() {
                    [] => {}
                    [_stream] => elements.push(merged(&element)),
                    [.., parent] => parent.append_node(Node::Element(element)),
                }
            }
            Err(minidom::rxml::error::EndOrError::NeedMoreData) => return Err("not finished".to_owned()),
            Err(minidom::rxml::error::EndOrError::Error(error)) => return Err(format!("{error:?}")),
        }
    }
}

/// A tree in which each run of text is one node, as rxml may give it in pieces, and with blanks in attributes
/// all the same: rxml leaves their normalisation to others.
fn merged(element: &Element) -> Element {
    let mut copy = Element::bare(element.name(), element.ns());
    for ((ns, name), value) in element.attrs() {
        copy.attrs_mut().insert(ns.clone(), name.clone(), value.replace(['\t', '\n', '\r'], " "));
    }
    let mut text = String::new();
    for node in element.nodes() {
        match node {
            Node::Text(piece) => text.push_str(piece),
            Node::Element(child) => {
                if !text.is_empty() {
                    copy.append_node(Node::Text(std::mem::take(&mut text)));
                }
                copy.append_node(Node::Element(merged(child)));
            }
        }
    }
    if !text.is_empty() {
        copy.append_node(Node::Text(text));
    }
    copy
}

const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// Where rxml is known to take what Namespaces in XML forbids: the same declaration twice on one element,
/// and declaring the namespace of declarations.
fn is_beyond_rxml(stream: &[u8]) -> bool {
    let text = String::from_utf8_lossy(stream);
    let is_twice = |tag: &str| {
        let mut names: Vec<_> =
            tag.split([' ', '\t', '\n', '\r', '=']).filter(|name| name.starts_with("xmlns")).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        names.len() < count
    };
    text.contains("http://www.w3.org/2000/xmlns/") || text.split('<').any(is_twice)
}

fn compare(stream: &[u8]) {
    // rxml 0.14 takes a carriage return in an attribute for an error or for nothing, unless a line feed
    // follows. What we do with it is in `rules`.
    if stream.windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n') {
        return;
    }
    let limits = Limits::client();
    let ours = ours(stream, usize::MAX, &limits);
    let rxml = by_rxml(stream);
    match (&ours, &rxml) {
        (Ok(ours), Ok(rxml)) => {
            let ours: Vec<_> = ours.elements.iter().map(merged).collect();
            assert_eq!(ours, rxml.elements, "{}", String::from_utf8_lossy(stream));
        }
        (Err(_), Err(_)) => {}
        (Err(_), Ok(_)) if is_beyond_rxml(stream) => {}
        _ => panic!("ours {ours:?}\nrxml {rxml:?}\n{}", String::from_utf8_lossy(stream)),
    }
}

fn wrapped(inside: &[u8]) -> Vec<u8> {
    [HEADER.as_bytes(), inside, b"</stream:stream>"].concat()
}

proptest! {
    #![proptest_config(crate::cases(2000))]

    #[test]
    fn well_formed_elements_are_the_same_trees(text in generated::element()) {
        let stream = wrapped(text.as_bytes());
        prop_assert!(by_rxml(&stream).is_ok(), "{:?}", by_rxml(&stream));
        compare(&stream);
    }

    #[test]
    fn damaged_elements_meet_the_same_fate(text in generated::damaged()) {
        compare(&wrapped(&text));
    }

    #[test]
    fn heaps_of_tokens_meet_the_same_fate(text in generated::tokens()) {
        compare(&wrapped(text.as_bytes()));
    }
}
