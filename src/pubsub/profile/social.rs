//! What an entry says of others, and of itself: whom it mentions, what it answers or repeats, and its hashtags.
//!
//! A mention is `<reference type='mention'/>` (XEP-0372), `<mention/>` (XEP-0513), `<link rel='mentioned'/>`, or a link in
//! its text that leads to somebody's bare address; an answer is `<thr:in-reply-to/>` (RFC 4685, XEP-0277 section 3.2); what
//! is repeated stands in `<link rel='via'/>` (section 3.3). Tags are categories (section 3.4). Plain text is not searched:
//! a name after an `@` is not an address, and a word after a `#` is a tag only if its author says so.

use xmpp::jid::BareJid;
use xmpp::{Element, ns};

use super::glance::{self, Tag, has};
use super::uri::Place;

/// RFC 4685.
const THREAD: &str = "http://purl.org/syndication/thread/1.0";
/// XEP-0372.
const REFERENCE: &str = "urn:xmpp:reference:0";
/// XEP-0513.
const MENTIONS: &str = "urn:xmpp:mentions:0";
const XHTML: &str = "http://www.w3.org/1999/xhtml";
/// People one entry concerns; further ones are not told.
pub const CONCERNED_MAX: usize = 16;
/// Hashtags of one entry; further ones are not tags.
pub const TAGS_MAX: usize = 16;
/// Elements of one entry that are looked at.
const ELEMENTS_MAX: usize = 2_000;

/// How an entry concerns somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It repeats what they wrote.
    Repeats,
    /// It answers what they wrote.
    Answers,
    /// It names them.
    Mentions,
}

/// Somebody whom an entry concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concern {
    /// How.
    pub how: How,
    /// Whom: an account, or the service that holds what is answered or repeated.
    pub whom: BareJid,
    /// What of theirs.
    pub what: Option<Place>,
}

/// Whom an entry concerns: each once, by what it says most of them. Empty for what is no entry.
#[must_use]
pub fn concerned(payload: &[u8]) -> Vec<Concern> {
    // Most entries lead to nobody but their author, and are not opened.
    if !leads_to_others(payload) {
        return Vec::new();
    }
    let Ok(entry) = xmpp::xml::parse_element(payload, "") else { return Vec::new() };
    if !entry.is("entry", ns::ATOM) {
        return Vec::new();
    }
    let mut found: Vec<Concern> = Vec::new();
    for child in entry.children() {
        let said = match (child.name(), child.ns()) {
            ("in-reply-to", space) if space == THREAD => {
                place(child, &["href", "ref"]).map(|what| (How::Answers, what))
            }
            ("link", space) if space == ns::ATOM && child.attr("rel") == Some("via") => {
                place(child, &["href", "ref"]).map(|what| (How::Repeats, what))
            }
            _ => None,
        };
        if let Some((how, what)) = said {
            found.push(Concern { how, whom: what.service.clone(), what: Some(what) });
        }
    }
    let mut left = ELEMENTS_MAX;
    mentions(&entry, &mut left, &mut found);
    found.sort_by_key(|concern| concern.how);
    let mut each: Vec<Concern> = Vec::new();
    for concern in found {
        let is_known =
            |other: &Concern| other.whom == concern.whom && (concern.what.is_none() || other.what == concern.what);
        if each.len() < CONCERNED_MAX && !each.iter().any(is_known) {
            each.push(concern);
        }
    }
    each
}

fn place(element: &Element, attributes: &[&str]) -> Option<Place> {
    attributes.iter().filter_map(|name| Place::parse(element.attr(*name)?)).find(|place| place.item.is_some())
}

/// Who is named below an element.
fn mentions(element: &Element, left: &mut usize, found: &mut Vec<Concern>) {
    for child in element.children() {
        if *left == 0 || found.len() >= 4 * CONCERNED_MAX {
            return;
        }
        *left -= 1;
        let uri = match (child.name(), child.ns()) {
            ("reference", space) if space == REFERENCE && child.attr("type") == Some("mention") => child.attr("uri"),
            ("mention", space) if space == MENTIONS && !child.has_child("noping", MENTIONS) => child.attr("uri"),
            ("link", space) if space == ns::ATOM && child.attr("rel") == Some("mentioned") => child.attr("href"),
            ("a", space) if space == XHTML => child.attr("href"),
            // Who wrote it is not mentioned by that, and what an entry was copied from is another's.
            ("author" | "contributor" | "source", space) if space == ns::ATOM => continue,
            _ => None,
        };
        if let Some(whom) = uri.and_then(person) {
            found.push(Concern { how: How::Mentions, whom, what: None });
        }
        mentions(child, left, found);
    }
}

/// Whom a URI leads to, if it leads to somebody and to nothing of theirs.
fn person(uri: &str) -> Option<BareJid> {
    let rest = uri.trim().strip_prefix("xmpp:")?;
    let (path, query) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
    if query.contains("node=") {
        return None;
    }
    let path = super::uri::decode(path.strip_prefix("//").unwrap_or(path))?;
    BareJid::new(&path).ok().filter(|jid| jid.localpart().is_some())
}

/// The categories of an entry, as they stand there, each once: `<category term='…'/>`. Folding them is for who keeps them.
#[must_use]
pub fn categories(payload: &[u8]) -> Vec<String> {
    if !has_categories(payload) {
        return Vec::new();
    }
    let Ok(entry) = xmpp::xml::parse_element(payload, "") else { return Vec::new() };
    if !entry.is("entry", ns::ATOM) {
        return Vec::new();
    }
    let mut terms: Vec<String> = Vec::new();
    for term in entry.children().filter(|child| child.is("category", ns::ATOM)).filter_map(|child| child.attr("term")) {
        if terms.len() < TAGS_MAX && !terms.iter().any(|known| known == term) {
            terms.push(term.to_owned());
        }
    }
    terms
}

/// Whether an entry has categories, or what looks like some. It is not opened.
#[must_use]
pub fn has_categories(payload: &[u8]) -> bool {
    has(payload, b"category") && glance::tags(payload).any(|tag| tag.depth == 1 && tag.local() == b"category")
}

/// Whether an entry may concern anybody.
fn leads_to_others(payload: &[u8]) -> bool {
    let leads = |tag: Tag<'_>| match tag.local() {
        b"in-reply-to" | b"reference" | b"mention" | b"a" => tag.says(b"xmpp:"),
        b"link" => (tag.says(b"via") || tag.says(b"mentioned")) && tag.says(b"xmpp:"),
        _ => false,
    };
    has(payload, b"xmpp:") && glance::tags(payload).any(leads)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::*;
    use proptest::prelude::*;

    fn entry(inside: &str) -> Vec<u8> {
        format!(
            "<entry xmlns='http://www.w3.org/2005/Atom' xmlns:thr='http://purl.org/syndication/thread/1.0'>{inside}</entry>"
        )
        .into_bytes()
    }

    #[test]
    fn who_is_concerned() {
        let post = "xmpp:romeo@montague.lit?;node=urn%3Axmpp%3Amicroblog%3A0;item=1";
        for (inside, expected) in [
            (String::new(), &[][..]),
            ("<title>Hello @romeo xmpp:romeo@montague.lit</title>".to_owned(), &[]),
            ("<author><uri>xmpp:romeo@montague.lit</uri></author>".to_owned(), &[]),
            (format!("<thr:in-reply-to ref='tag:x' href='{post}'/>"), &[(How::Answers, "romeo@montague.lit")]),
            (
                format!("<thr:in-reply-to ref='tag:x' href='http://x/'/><thr:in-reply-to ref='tag:x' href='{post}'/>"),
                &[(How::Answers, "romeo@montague.lit")],
            ),
            (format!("<link rel='via' ref='tag:x' href='{post}'/>"), &[(How::Repeats, "romeo@montague.lit")]),
            ("<link rel='via' href='xmpp:romeo@montague.lit'/>".to_owned(), &[]),
            (
                "<link rel='mentioned' href='xmpp:romeo@montague.lit'/>".to_owned(),
                &[(How::Mentions, "romeo@montague.lit")],
            ),
            (
                "<reference xmlns='urn:xmpp:reference:0' type='mention' uri='xmpp:romeo@montague.lit'/>\
                 <reference xmlns='urn:xmpp:reference:0' type='data' uri='xmpp:nurse@capulet.lit'/>"
                    .to_owned(),
                &[(How::Mentions, "romeo@montague.lit")],
            ),
            (
                "<mention xmlns='urn:xmpp:mentions:0' uri='xmpp:romeo@montague.lit'/>\
                 <mention xmlns='urn:xmpp:mentions:0' uri='xmpp:nurse@capulet.lit'><noping/></mention>"
                    .to_owned(),
                &[(How::Mentions, "romeo@montague.lit")],
            ),
            (
                "<content type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'><p>See \
                 <a href='xmpp:Romeo@montague.lit?message'>him</a>, <a href='xmpp:romeo@montague.lit'>him</a> and \
                 <a href='xmpp:nurse@capulet.lit?;node=x;item=y'>this</a></p></div></content>"
                    .to_owned(),
                &[(How::Mentions, "romeo@montague.lit")],
            ),
            // What is answered is not mentioned as well.
            (
                format!("<link rel='mentioned' href='xmpp:romeo@montague.lit'/><thr:in-reply-to href='{post}'/>"),
                &[(How::Answers, "romeo@montague.lit")],
            ),
        ] {
            let found = concerned(&entry(&inside));
            let found: Vec<_> = found.iter().map(|concern| (concern.how, concern.whom.as_str())).collect();
            assert_eq!(found, expected, "{inside}");
        }
        // Nobody is looked for in what leads to its author and itself alone.
        for (inside, leads) in [
            (
                "<author><uri>xmpp:juliet@capulet.lit</uri></author><link rel='alternate' href='xmpp:juliet@capulet.lit'/>",
                false,
            ),
            (
                "<content type='xhtml'><p xmlns='http://www.w3.org/1999/xhtml'><a href='https://x.lit'/>xmpp:</p></content>",
                false,
            ),
            ("<source><link href='xmpp:romeo@montague.lit' rel='via'/></source>", true),
        ] {
            assert_eq!(leads_to_others(&entry(inside)), leads, "{inside}");
        }
        assert_eq!(concerned(b"<other xmlns='urn:x'>xmpp:</other>"), []);
        let crowd: String = (0..100).map(|n| format!("<link rel='mentioned' href='xmpp:p{n}@x.lit'/>")).collect();
        assert_eq!(concerned(&entry(&crowd)).len(), CONCERNED_MAX);
    }

    #[test]
    fn tags_are_categories() {
        let many: String = (0..40).map(|n| format!("<category term='t{n}'/>")).collect();
        assert_eq!(categories(&entry(&many)).len(), TAGS_MAX);
        let few = "<title>#not</title><category term='Verona'/><category term='Verona'/><category label='x'/>";
        assert_eq!(categories(&entry(few)), ["Verona"]);
        assert_eq!(categories(b"category"), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn nothing_panics(inside in ".{0,200}", uri in "xmpp:.{0,60}") {
            let _read = concerned(&entry(&inside));
            let _read = person(&uri);
        }
    }
}
