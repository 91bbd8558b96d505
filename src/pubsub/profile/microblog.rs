//! Microblogs, their comments, the list of followed feeds, and stories (XEP-0277, XEP-0472, XEP-0330, XEP-0501).
//!
//! Says which node names mean what, what they are configured as when nobody says otherwise, what an item of a feed
//! must be, and what an entry says in a line of plain text.

use memchr::{memchr, memmem};
use xmpp::{Element, ns};

use crate::config::{AccessModel, Bound, ItemReply, NodeConfig, PublishModel, SendLast};

/// XEP-0277 section 4: the comments of an entry live in a node with this prefix, then the entry's id.
pub const COMMENTS_PREFIX: &str = "urn:xmpp:microblog:0:comments/";
/// The base profile and the prefix of all others (XEP-0472 section 6).
pub const SOCIAL_FEED_PREFIX: &str = "urn:xmpp:pubsub-social-feed:";
/// XEP-0501: entries that last a day.
pub const STORIES: &str = "urn:xmpp:pubsub-social-feed:stories:0";
/// How long a story is told, in seconds.
pub const STORY_SECONDS: u64 = 86_400;

/// Whether the node's name says that it is a feed of posts, comments or followed feeds: one that loses nothing.
#[must_use]
pub fn is_feed(node: &str) -> bool {
    node == ns::MICROBLOG
        || node == ns::PUBSUB_SUBSCRIPTION
        || is_comments(node)
        || node.starts_with(SOCIAL_FEED_PREFIX)
}

/// Whether the node's name says that it holds the comments on one entry.
#[must_use]
pub fn is_comments(node: &str) -> bool {
    node.starts_with(COMMENTS_PREFIX)
}

/// The default of a feed: the base profile of XEP-0472 section 6.1.1, over `base`.
///
/// It says nothing about access. A microblog and its comments are open, because a blog is read and commented by
/// strangers (XEP-0277 section 6.2 for comments), and following must work where nobody configured anything; whoever
/// wants a private one says so in the publish options, as clients do. Stories are for contacts (XEP-0501), and so is
/// the list of whom one follows.
///
/// In one thing it is not the base profile, which advises against payloads in notifications: Movim passes over what
/// accounts tell it without a payload, and does not ask for it.
#[must_use]
pub fn default_config(node: &str, base: &NodeConfig) -> Option<NodeConfig> {
    if !is_feed(node) {
        return None;
    }
    let mut config = base_profile(payload_type(node), base);
    if node == ns::MICROBLOG || is_comments(node) {
        config.access_model = AccessModel::Open;
    }
    if is_comments(node) {
        config.publish_model = PublishModel::Open;
    }
    Some(config)
}

/// The default of a node of another name that is made with a type that is a profile; who may read it is as for any node.
#[must_use]
pub fn typed_config(node: &str, payload_type: &str, base: &NodeConfig) -> Option<NodeConfig> {
    let is_profile = payload_type == ns::MICROBLOG || payload_type.starts_with(SOCIAL_FEED_PREFIX);
    (is_profile && !is_feed(node)).then(|| base_profile(payload_type, base))
}

/// Section 6.1.1; stories are over after a day.
fn base_profile(payload_type: &str, base: &NodeConfig) -> NodeConfig {
    NodeConfig {
        notify_retract: true,
        max_items: Bound::Max,
        persist_items: true,
        item_expire: if payload_type == STORIES { Bound::At(STORY_SECONDS) } else { base.item_expire },
        send_last_published_item: SendLast::Never,
        deliver_payloads: true,
        itemreply: ItemReply::Publisher,
        payload_type: Some(payload_type.into()),
        ..base.clone()
    }
}

fn payload_type(node: &str) -> &str {
    if is_comments(node) { ns::SOCIAL_FEED } else { node }
}

/// What may be published there: on a microblog and in comments, Atom. An entry (RFC 4287 section 4.1.2), or the feed
/// with the blog's title and author that XEP-0277 section 7 puts beside the entries.
#[must_use]
pub fn takes_payload(node: &str, name: &str, namespace: &str) -> bool {
    if node != ns::MICROBLOG && !is_comments(node) {
        return true;
    }
    namespace == ns::ATOM && matches!(name, "entry" | "feed")
}

/// What an entry says in plain text: its title (XEP-0472 section 5.6.2), for a message body. At most `chars_max`
/// characters. `None` when the payload is no Atom entry or its title says nothing.
#[must_use]
pub fn summary(payload: &[u8], chars_max: usize) -> Option<String> {
    let entry = xmpp::xml::parse_element(payload, "").ok()?;
    if !entry.is("entry", ns::ATOM) {
        return None;
    }
    let title = entry.get_child("title", ns::ATOM)?;
    let mut text = String::new();
    collect_text(title, &mut text, chars_max.saturating_mul(8));
    let line: Vec<&str> = text.split_whitespace().collect();
    let line: String = line.join(" ").chars().take(chars_max).collect();
    (!line.is_empty()).then_some(line)
}

/// When an entry was last changed, or else published, as it says it. The entry is not opened.
#[must_use]
pub fn date(payload: &[u8]) -> Option<&str> {
    let of = |name: &[u8]| {
        let rest = payload.get(memmem::find(payload, name)? + name.len()..)?;
        let text = rest.get(..memchr(b'<', rest)?)?.trim_ascii();
        std::str::from_utf8(text).ok().filter(|date| !date.is_empty() && date.len() <= 40)
    };
    of(b"<updated>").or_else(|| of(b"<published>"))
}

/// The text of an element and of everything in it, in order.
pub(super) fn collect_text(element: &Element, out: &mut String, bytes_max: usize) {
    for node in element.nodes() {
        if out.len() >= bytes_max {
            return;
        }
        if let Some(text) = node.as_text() {
            out.push_str(text);
        } else if let Some(child) = node.as_element() {
            collect_text(child, out, bytes_max);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::{date, default_config, is_feed, summary, takes_payload};
    use crate::config::{AccessModel, Bound, NodeConfig, PublishModel, SendLast};

    #[test]
    fn names_mean_feeds() {
        for feed in [
            "urn:xmpp:microblog:0",
            "urn:xmpp:microblog:0:comments/1cb57d9c",
            "urn:xmpp:pubsub:subscription",
            "urn:xmpp:pubsub-social-feed:1",
            "urn:xmpp:pubsub-social-feed:stories:0",
        ] {
            assert!(is_feed(feed), "{feed}");
            let config = default_config(feed, &NodeConfig::account(1000)).unwrap();
            assert_eq!(config.max_items, Bound::Max, "{feed}");
            assert_eq!(config.send_last_published_item, SendLast::Never, "{feed}");
            assert!(config.persist_items && config.notify_retract, "{feed}");
        }
        for other in ["urn:xmpp:microblog:0:other", "eu.siacs.conversations.axolotl.devicelist", ""] {
            assert!(!is_feed(other), "{other}");
        }
    }

    #[test]
    fn anyone_reads_and_comments() {
        let base = NodeConfig::account(1000);
        let blog = default_config("urn:xmpp:microblog:0", &base).unwrap();
        assert_eq!((blog.access_model, blog.publish_model), (AccessModel::Open, PublishModel::Publishers));
        let comments = default_config("urn:xmpp:microblog:0:comments/x", &base).unwrap();
        assert_eq!((comments.access_model, comments.publish_model), (AccessModel::Open, PublishModel::Open));
        let stories = default_config("urn:xmpp:pubsub-social-feed:stories:0", &base).unwrap();
        assert_eq!((stories.access_model, stories.item_expire), (AccessModel::Presence, Bound::At(86_400)));
    }

    #[test]
    fn a_microblog_holds_atom() {
        let atom = "http://www.w3.org/2005/Atom";
        assert!(takes_payload("urn:xmpp:microblog:0", "entry", atom));
        assert!(takes_payload("urn:xmpp:microblog:0", "feed", atom));
        assert!(!takes_payload("urn:xmpp:microblog:0", "entry", "urn:other"));
        assert!(!takes_payload("urn:xmpp:microblog:0:comments/x", "tune", "http://jabber.org/protocol/tune"));
        assert!(takes_payload("http://jabber.org/protocol/tune", "tune", "http://jabber.org/protocol/tune"));
    }

    #[test]
    fn an_entry_says_when_it_was_changed() {
        for (entry, said) in [
            ("<entry><published>a</published><updated> b </updated></entry>", Some("b")),
            ("<entry><published>a</published><updated/></entry>", Some("a")),
            ("<entry><published>a</published><updated> </updated></entry>", Some("a")),
            ("<entry><updated>", None),
            ("", None),
        ] {
            assert_eq!(date(entry.as_bytes()), said, "{entry}");
        }
        assert_eq!(date(format!("<updated>{}</updated>", "1".repeat(41)).as_bytes()), None);
    }

    #[test]
    fn an_entry_says_its_title() {
        let plain = b"<entry xmlns='http://www.w3.org/2005/Atom'><title type='text'>hanging\n out</title></entry>";
        assert_eq!(summary(plain, 100).as_deref(), Some("hanging out"));
        assert_eq!(summary(plain, 4).as_deref(), Some("hang"));
        let rich = b"<entry xmlns='http://www.w3.org/2005/Atom'><title type='xhtml'>\
            <div xmlns='http://www.w3.org/1999/xhtml'><p>at the <strong>Caf\xc3\xa9</strong></p></div></title></entry>";
        assert_eq!(summary(rich, 100).as_deref(), Some("at the Caf\u{e9}"));
        assert_eq!(summary(b"<entry xmlns='http://www.w3.org/2005/Atom'><title/></entry>", 9), None);
        assert_eq!(summary(b"<other xmlns='urn:x'/>", 9), None);
        assert_eq!(summary(b"", 9), None);
    }
}
