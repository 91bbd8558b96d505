//! A glance at an entry without opening it: the start tags of a payload one after the other, as they are written.
//!
//! It answers at once, of almost every post, what only few would have to be opened for. What it shows is text: prefixes
//! and references are not resolved, and nothing is checked, since payloads were when they came. Who must know more opens
//! the entry.

use memchr::{memchr, memchr3, memmem};

/// A start tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    /// 0 for the root.
    pub(super) depth: usize,
    /// As it is written, with its prefix.
    pub(super) name: &'a [u8],
    attributes: &'a [u8],
}

impl<'a> Tag<'a> {
    /// The name without its prefix.
    pub(super) fn local(&self) -> &'a [u8] {
        self.name.rsplit(|byte| *byte == b':').next().unwrap_or(self.name)
    }

    /// Whether its attributes have this text somewhere.
    pub(super) fn says(&self, text: &[u8]) -> bool {
        has(self.attributes, text)
    }
}

/// The start tags of an element, the root's first.
pub(super) fn tags(payload: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    let (mut rest, mut depth) = (payload, 0_usize);
    std::iter::from_fn(move || {
        loop {
            rest = rest.get(memchr(b'<', rest)? + 1..)?;
            match rest.first()? {
                b'/' => depth = depth.saturating_sub(1),
                // CDATA: there is nothing else of the kind (RFC 6120 section 11.1).
                b'!' => rest = rest.get(memmem::find(rest, b"]]>")?..)?,
                _ => break,
            }
        }
        let (tag, after) = rest.split_at_checked(end(rest)?)?;
        rest = after;
        let (tag, is_empty) = tag.strip_suffix(b"/").map_or((tag, false), |tag| (tag, true));
        let name = tag.iter().position(u8::is_ascii_whitespace).unwrap_or(tag.len());
        let (name, attributes) = tag.split_at_checked(name)?;
        let tag = Tag { depth, name, attributes };
        depth += usize::from(!is_empty);
        Some(tag)
    })
}

/// Where a start tag ends: a `>` in a value ends nothing.
fn end(tag: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = tag.get(at..)?;
        let found = memchr3(b'>', b'\'', b'"', rest)?;
        match rest.get(found)? {
            b'>' => return Some(at + found),
            quote => at += found + 1 + memchr(*quote, rest.get(found + 1..)?)? + 1,
        }
    }
}

/// Whether a payload has this text somewhere.
pub(super) fn has(payload: &[u8], text: &[u8]) -> bool {
    memmem::find(payload, text).is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use proptest::prelude::*;
    use xmpp::Element;

    use super::*;

    fn opened(element: &Element, depth: usize, out: &mut Vec<(usize, String)>) {
        out.push((depth, element.name().to_owned()));
        for child in element.children() {
            opened(child, depth + 1, out);
        }
    }

    fn glanced(payload: &[u8]) -> Vec<(usize, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        tags(payload).map(|tag| (tag.depth, text(tag.local()))).collect()
    }

    #[test]
    fn tags_are_those_of_the_element() {
        for payload in [
            "<entry xmlns='urn:x'/>",
            "<entry xmlns='urn:x'><a rel='b>c' x=\"it's\"/><b><c rel = \"'\"/></b>text<a/></entry>",
            "<x:entry xmlns:x='urn:x'\n><x:a\trel='1'></x:a><![CDATA[<no rel='2'>]]><b xmlns='' xrel='3' rel='4'/></x:entry>",
        ] {
            let mut expected = Vec::new();
            opened(&xmpp::xml::parse_element(payload.as_bytes(), "").unwrap(), 0, &mut expected);
            assert_eq!(glanced(payload.as_bytes()), expected, "{payload}");
        }
        assert_eq!(glanced(b"<a><b rel='"), [(0, "a".to_owned())]);
        assert_eq!(glanced(b"nothing"), []);
        let said = tags(b"<a b='xmpp:c'>xmpp:d<e f='g'/></a>").map(|tag| tag.says(b"xmpp:")).collect::<Vec<_>>();
        assert_eq!(said, [true, false]);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(prop::sample::select(b"<>/='\"!]&: ab".to_vec()), 0..80)) {
            let _read = tags(&bytes).map(|tag| tag.says(b"a")).collect::<Vec<_>>();
        }
    }
}
