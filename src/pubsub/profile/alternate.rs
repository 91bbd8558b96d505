//! The `alternate` link that says where an entry stands (XEP-0277 and XEP-0472, "Receiving a Post"): "These
//! things SHOULD be inserted at server side".
//!
//! It is added at the entry's end, and nothing of what is there is written anew. RFC 4287 section 4.1.2 permits one such
//! link of each type, so an entry that has one without a type, or one to any XMPP address, is left as it is: by writing it
//! themselves clients have every byte in their hands, as those who sign entries must (XEP-0475).

use bytes::Bytes;
use xmpp::{Element, ns};

use super::glance;
use super::microblog::{SOCIAL_FEED_PREFIX, is_comments};
use super::uri::Place;
use crate::config::NodeConfig;

/// Whether the node's name or type says that it is a feed of posts; comments belong to a post, and are none.
#[must_use]
pub fn is_of_posts(node: &str, config: &NodeConfig) -> bool {
    let is_profile = |name: &str| name == ns::MICROBLOG || name.starts_with(SOCIAL_FEED_PREFIX);
    !is_comments(node) && (is_profile(node) || config.payload_type.as_deref().is_some_and(is_profile))
}

/// The payload, with the link to its place if it is an Atom entry that has none.
#[must_use]
pub fn linked(payload: Bytes, place: &Place) -> Bytes {
    match lacks_link(&payload).unwrap_or_else(|| opened_lacks_link(&payload)) {
        true => beside(&payload, &link(place)).into(),
        false => payload,
    }
}

/// Whether the payload is an Atom entry without such a link. `None` where it has to be opened to know.
fn lacks_link(payload: &[u8]) -> Option<bool> {
    let mut tags = glance::tags(payload);
    let root = tags.next()?;
    if root.name != b"entry" || root.attribute(b"xmlns")? != ns::ATOM.as_bytes() {
        return None;
    }
    for link in tags.filter(|tag| tag.depth == 1 && tag.local() == b"link") {
        // Whose it is, and what it says, is written out in almost every one.
        if link.name != b"link" || link.attribute(b"xmlns").is_some() || link.says(b"&#") {
            return None;
        }
        let leads_to_xmpp =
            || link.attribute(b"href").is_some_and(|href| href.trim_ascii_start().starts_with(b"xmpp:"));
        let is_alternate = link.attribute(b"rel").is_none_or(|rel| rel == b"alternate");
        if is_alternate && (link.attribute(b"type").is_none() || leads_to_xmpp()) {
            return Some(false);
        }
    }
    Some(true)
}

fn opened_lacks_link(payload: &[u8]) -> bool {
    let entry = xmpp::xml::parse_element(payload, "").ok().filter(|entry| entry.is("entry", ns::ATOM));
    let Some(entry) = entry else { return false };
    let is_taken = |of: &Element| {
        of.attr("type").is_none() || of.attr("href").is_some_and(|href| href.trim_start().starts_with("xmpp:"))
    };
    !links(&entry).any(is_taken)
}

/// The entry's `alternate` links; without a `rel` they are that too (RFC 4287 section 4.2.7.2).
pub(super) fn links(entry: &Element) -> impl Iterator<Item = &Element> {
    let is_alternate = |link: &&Element| link.attr("rel").is_none_or(|rel| rel == "alternate");
    entry.children().filter(|child| child.is("link", ns::ATOM)).filter(is_alternate)
}

/// A link to the place.
pub(super) fn link(place: &Place) -> Vec<u8> {
    let mut link = format!("<link xmlns='{}' rel='alternate' href='", ns::ATOM).into_bytes();
    xmpp::xml::escape_attr(&mut link, &place.write());
    link.extend_from_slice(b"'/>");
    link
}

/// An element with one more at its end. Nothing of what is there is written anew.
pub(super) fn beside(payload: &[u8], added: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + added.len() + 32);
    match payload.strip_suffix(b"/>") {
        Some(open) => {
            let name = open.get(1..).unwrap_or_default();
            let name = name.split(|byte| byte.is_ascii_whitespace() || *byte == b'/').next().unwrap_or_default();
            out.extend_from_slice(open);
            out.push(b'>');
            out.extend_from_slice(added);
            out.extend_from_slice(b"</");
            out.extend_from_slice(name);
            out.push(b'>');
        }
        None => {
            let close = payload.windows(2).rposition(|bytes| bytes == b"</").unwrap_or(payload.len());
            let (inside, end) = payload.split_at_checked(close).unwrap_or((payload, b""));
            out.extend_from_slice(inside);
            out.extend_from_slice(added);
            out.extend_from_slice(end);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::*;

    const ATOM: &str = "xmlns='http://www.w3.org/2005/Atom'";

    #[test]
    fn an_entry_is_given_the_link_it_lacks_and_is_otherwise_the_same() {
        let place = Place::parse("xmpp:juliet@capulet.lit?;node=urn%3Axmpp%3Amicroblog%3A0;item=1").unwrap();
        let link = "<link xmlns='http://www.w3.org/2005/Atom' rel='alternate' \
                    href='xmpp:juliet@capulet.lit?;node=urn%3Axmpp%3Amicroblog%3A0;item=1'/>";
        for (inside, is_added) in [
            ("<title>x</title>", true),
            ("<link rel='alternate' type='text/html' href='https://capulet.lit/1'/>", true),
            ("<link rel='replies' href='xmpp:capulet.lit?;node=c'/>", true),
            ("<source><link href='xmpp:a@b?;node=c;item=d'/></source>", true),
            ("<link rel='alternate' href='xmpp:juliet@capulet.lit?;node=other;item=1'/>", false),
            ("<link rel='alternate' type='x' href='xmpp:juliet@capulet.lit?;node=other;item=1'/>", false),
            ("<link href='https://capulet.lit/1'/>", false),
        ] {
            let before = format!("<entry {ATOM}>{inside}</entry>");
            assert_eq!(lacks_link(before.as_bytes()), Some(is_added), "{before}");
            assert_eq!(opened_lacks_link(before.as_bytes()), is_added, "{before}");
            let after = if is_added { format!("<entry {ATOM}>{inside}{link}</entry>") } else { before.clone() };
            assert_eq!(linked(before.into(), &place), after);
        }
        for other in ["<feed xmlns='http://www.w3.org/2005/Atom'/>", "<entry xmlns='urn:example:t'/>", "no element"] {
            assert_eq!(linked(Bytes::from(other), &place), other);
        }
    }

    #[test]
    fn what_is_written_in_another_way_is_opened() {
        for (entry, lacks) in [
            (format!("<a:entry xmlns:a='{}'><a:link href='x'/></a:entry>", ns::ATOM), false),
            (format!("<entry {ATOM} xmlns:a='{}'><a:link href='x'/></entry>", ns::ATOM), false),
            (format!("<entry {ATOM}><link xmlns='urn:example:t' href='x'/></entry>"), true),
            (format!("<entry {ATOM}><link rel='&#97;lternate' href='x'/></entry>"), false),
        ] {
            assert_eq!((lacks_link(entry.as_bytes()), opened_lacks_link(entry.as_bytes())), (None, lacks), "{entry}");
        }
    }

    #[test]
    fn posts_are_linked_and_comments_are_not() {
        let plain = NodeConfig::account(1000);
        let feed = NodeConfig { payload_type: Some("urn:xmpp:pubsub-social-feed:1".into()), ..plain.clone() };
        assert!(is_of_posts("urn:xmpp:microblog:0", &plain));
        assert!(is_of_posts("urn:xmpp:pubsub-social-feed:stories:0", &plain));
        assert!(is_of_posts("theatre", &feed));
        assert!(!is_of_posts("theatre", &plain));
        assert!(!is_of_posts("urn:xmpp:microblog:0:comments/1", &feed));
    }
}
