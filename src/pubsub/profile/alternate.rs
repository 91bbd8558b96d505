//! The `alternate` link that says where an entry stands (XEP-0277 and XEP-0472, "Receiving a Post"): "These
//! things SHOULD be inserted at server side".
//!
//! It is added at the entry's end, and nothing of what is there is written anew. RFC 4287 section 4.1.2 permits one such
//! link of each type, so an entry that has one without a type, or one to any XMPP address, is left as it is: by writing it
//! themselves clients have every byte in their hands, as those who sign entries must (XEP-0475).

use bytes::Bytes;
use xmpp::{Element, ns};

use super::microblog::{SOCIAL_FEED_PREFIX, is_comments};
use super::uri::Place;
use crate::config::NodeConfig;

/// Whether the node's name or type says that it is a feed of posts; comments belong to a post, and are none.
#[must_use]
pub fn is_of_posts(node: &str, config: &NodeConfig) -> bool {
    let is_profile = |name: &str| name == ns::MICROBLOG || name.starts_with(SOCIAL_FEED_PREFIX);
    !is_comments(node) && (is_profile(node) || config.payload_type.as_deref().is_some_and(is_profile))
}

/// Whether a payload is an Atom entry without the link to its place.
#[must_use]
pub fn lacks_place(payload: &Element) -> bool {
    let is_taken = |of: &Element| {
        of.attr("type").is_none() || of.attr("href").is_some_and(|href| href.trim_start().starts_with("xmpp:"))
    };
    payload.is("entry", ns::ATOM) && !links(payload).any(is_taken)
}

/// The payload of an entry that [`lacks_place`], with the link to it.
#[must_use]
pub fn linked(payload: &[u8], place: &Place) -> Bytes {
    beside(payload, &link(place)).into()
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
            let close = memchr::memmem::rfind(payload, b"</").unwrap_or(payload.len());
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

    fn lacks(payload: &str) -> bool {
        lacks_place(&xmpp::xml::parse_element(payload.as_bytes(), "").unwrap())
    }

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
            let after = format!("<entry {ATOM}>{inside}{link}</entry>");
            assert_eq!(lacks(&before), is_added, "{before}");
            if is_added {
                assert_eq!(linked(before.as_bytes(), &place), after);
            }
        }
        for other in ["<feed xmlns='http://www.w3.org/2005/Atom'/>", "<entry xmlns='urn:example:t'/>"] {
            assert!(!lacks(other), "{other}");
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
