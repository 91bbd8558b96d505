//! What a payload says in words, for who searches a node (XEP-0431).

use xmpp::{Element, ns};

/// Bytes of text looked at in one payload.
const BYTES_MAX: usize = 64 * 1024;
/// Parts of an Atom entry that are not for reading.
const UNREADABLE: &[&str] = &["id", "published", "updated", "uri", "link", "logo", "icon"];

/// All its text, in order, what is in different elements apart. Empty when there is none.
#[must_use]
pub fn words(payload: &[u8]) -> String {
    let mut out = String::new();
    if let Ok(element) = xmpp::xml::parse_element(payload, "") {
        collect(&element, &mut out);
    }
    out
}

fn collect(element: &Element, out: &mut String) {
    if element.has_ns(ns::ATOM) {
        if UNREADABLE.contains(&element.name()) {
            return;
        }
        if let Some(term) = element.attr("term") {
            out.push_str(term);
        }
    }
    for node in element.nodes() {
        if out.len() >= BYTES_MAX {
            return;
        }
        if let Some(text) = node.as_text() {
            out.push_str(text);
        } else if let Some(child) = node.as_element() {
            out.push(' ');
            collect(child, out);
            out.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::words;

    #[test]
    fn what_people_read_is_found() {
        let entry = "<entry xmlns='http://www.w3.org/2005/Atom'><id>tag:a</id><title>Soli<b>lo</b>quy</title>\
                     <category term='stage'/><content type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'><p>To be</p>\
                     <p>or not</p></div></content><published>2003</published></entry>";
        let said: Vec<String> = words(entry.as_bytes()).split_whitespace().map(str::to_owned).collect();
        assert_eq!(said, ["Soli", "lo", "quy", "stage", "To", "be", "or", "not"]);
        assert_eq!(words(b""), "");
        assert_eq!(words(b"<a xmlns='b'>c</a>"), "c");
    }
}
