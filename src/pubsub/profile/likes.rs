//! Likes as comments: an Atom entry that says `♥` and nothing else, published to the comments of a post, is how clients
//! like that do not know XEP-0470. Here is how one is recognised, what one looks like that the service writes, and where
//! the comments of a post are (XEP-0277 section 4.1).

use xmpp::jid::BareJid;
use xmpp::{Element, ns};

use super::glance::has;
use super::uri::Place;
use crate::time::Timestamp;

/// What the comment says.
pub const HEART: &str = "♥";
/// Bytes of an entry that may be nothing but a heart; a longer one is not opened.
const HEART_BYTES_MAX: usize = 8_192;

/// Whether an entry is a like: its title is the heart and its content, if it has one, is too; or it has no title, and
/// its content is the heart.
#[must_use]
pub fn is_heart(payload: &[u8]) -> bool {
    // Most comments are told apart without being opened.
    if payload.len() > HEART_BYTES_MAX || !has(payload, HEART.as_bytes()) {
        return false;
    }
    let Ok(entry) = xmpp::xml::parse_element(payload, "") else { return false };
    if !entry.is("entry", ns::ATOM) {
        return false;
    }
    let mut has_heart = false;
    for name in ["title", "summary", "content"] {
        for element in entry.children().filter(|child| child.is(name, ns::ATOM)) {
            let mut text = String::new();
            super::microblog::collect_text(element, &mut text, 64);
            match text.trim().trim_end_matches('\u{fe0f}') {
                HEART => has_heart = true,
                "" => {}
                _ => return false,
            }
        }
    }
    has_heart
}

/// The comment that says so of somebody who attached it.
#[must_use]
pub fn heart(publisher: &BareJid, comments: &Place, now: Timestamp) -> Element {
    let text = |name: &str, text: &str| {
        let mut element = Element::bare(name, ns::ATOM);
        element.append_text_node(text);
        element
    };
    let mut entry = Element::bare("entry", ns::ATOM);
    let mut author = Element::bare("author", ns::ATOM);
    let name = publisher.localpart().unwrap_or_else(|| publisher.as_str());
    author.append_child(text("name", name));
    author.append_child(text("uri", &format!("xmpp:{publisher}")));
    for mut element in [text("title", HEART), text("content", HEART)] {
        xmpp::xml::set_attr(&mut element, "type", "text");
        entry.append_child(element);
    }
    entry.append_child(text("id", &comments.write()));
    entry.append_child(text("published", &now.to_string()));
    entry.append_child(text("updated", &now.to_string()));
    entry.append_child(author);
    entry
}

/// Where a post says that its comments are: `<link rel='replies' title='comments' href='xmpp:…'/>`. A repeated post
/// (`rel='via'`) shares the comments of the one it repeats, and has none of its own.
#[must_use]
pub fn comments_of(payload: &[u8]) -> Option<Place> {
    if !has(payload, b"replies") {
        return None;
    }
    let entry = xmpp::xml::parse_element(payload, "").ok()?;
    if !entry.is("entry", ns::ATOM) {
        return None;
    }
    let links = || entry.children().filter(|child| child.is("link", ns::ATOM));
    if links().any(|link| link.attr("rel") == Some("via")) {
        return None;
    }
    let replies = links().filter(|link| link.attr("rel") == Some("replies"));
    replies
        .filter_map(|link| Place::parse(link.attr("href")?))
        .find(|place| super::microblog::is_comments(&place.node) && place.item.is_none())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::*;

    fn entry(inside: &str) -> Vec<u8> {
        format!("<entry xmlns='http://www.w3.org/2005/Atom'>{inside}</entry>").into_bytes()
    }

    #[test]
    fn hearts_are_recognised() {
        for like in [
            "<title>♥</title>",
            "<title type='text'> ♥\n</title><updated>2026-01-01T00:00:00Z</updated>",
            "<title>♥\u{fe0f}</title>",
            "<title/><content type='text'>♥</content>",
            "<title>♥</title><content type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'><p>♥</p></div></content>",
        ] {
            assert!(is_heart(&entry(like)), "{like}");
        }
        for other in [
            "",
            "<title>I ♥ it</title>",
            "<title>♥♥</title>",
            "<title>♥</title><content>and more</content>",
            "<title>Hearts</title><content>♥</content>",
        ] {
            assert!(!is_heart(&entry(other)), "{other}");
        }
        assert!(!is_heart("<title xmlns='http://www.w3.org/2005/Atom'>♥</title>".as_bytes()));
        assert!(!is_heart("♥".as_bytes()));
        assert!(!is_heart(&entry(&format!("<title>♥</title>{}", " ".repeat(HEART_BYTES_MAX)))));
    }

    #[test]
    fn ours_is_one() {
        let place = Place::parse("xmpp:comments.capulet.lit?;node=urn%3Axmpp%3Amicroblog%3A0%3Acomments%2Fx;item=h");
        let heart = heart(&BareJid::new("romeo@montague.lit").unwrap(), &place.unwrap(), Timestamp(0));
        let bytes = xmpp::xml::element_bytes(&heart);
        assert!(is_heart(&bytes), "{}", String::from_utf8_lossy(&bytes));
        assert!(String::from_utf8_lossy(&bytes).contains("<uri>xmpp:romeo@montague.lit</uri>"));
    }

    #[test]
    fn a_post_says_where_its_comments_are() {
        let link = "<link rel='replies' title='comments' \
            href='xmpp:comments.capulet.lit?;node=urn%3Axmpp%3Amicroblog%3A0%3Acomments%2Fx'/>";
        let place = comments_of(&entry(&format!("<title>Post</title>{link}"))).unwrap();
        assert_eq!((place.service.as_str(), &*place.node), ("comments.capulet.lit", "urn:xmpp:microblog:0:comments/x"));
        assert_eq!(comments_of(&entry(&format!("{link}<link rel='via' href='xmpp:a@b?;node=c'/>"))), None);
        assert_eq!(comments_of(&entry("<link rel='replies' href='https://example.net/'/>")), None);
        assert_eq!(comments_of(&entry("<link rel='replies' href='xmpp:a@b?;node=urn%3Axmpp%3Amicroblog%3A0'/>")), None);
        assert_eq!(comments_of(&entry("<title>replies</title>")), None);
    }
}
