//! Hashtags: nodes of a service, `tag/WORD`, in which the service lists copies of open posts that bear the tag as their
//! category. `xeps/chirrup-tags.md` is the protocol.

use xmpp::jid::BareJid;

use super::alternate;
use super::uri::Place;
use crate::config::{AccessModel, Bound, ItemReply, NodeConfig, PublishModel, SendLast};
use crate::model::{Node, NodeName, Tally};
use crate::time::Timestamp;

/// What the names begin with.
pub const PREFIX: &str = "tag/";
/// Posts listed under one tag; the oldest make room.
pub const POSTS_MAX: u64 = 1_000;
/// Bytes of a tag.
pub const TAG_BYTES_MAX: usize = 64;

/// Whether a node of that name is a list of posts, in a service that keeps such lists.
#[must_use]
pub fn is_tag(node: &str) -> bool {
    node.starts_with(PREFIX)
}

/// The name of a tag's node; the tag is folded.
#[must_use]
pub fn node_of(tag: &str) -> String {
    format!("{PREFIX}{tag}")
}

/// A tag's node, new: open to read, and written by `service` alone.
#[must_use]
pub fn node(service: &BareJid, name: &str, kind: &str, payload_bytes_max: u64, now: Timestamp) -> Node {
    let config = NodeConfig {
        access_model: AccessModel::Open,
        publish_model: PublishModel::Publishers,
        max_items: Bound::At(POSTS_MAX),
        persist_items: true,
        notify_retract: true,
        send_last_published_item: SendLast::Never,
        itemreply: ItemReply::Publisher,
        payload_type: Some(kind.into()),
        title: Some(format!("#{}", name.strip_prefix(PREFIX).unwrap_or(name)).into()),
        ..NodeConfig::service(payload_bytes_max)
    };
    Node {
        name: NodeName::from(name),
        creator: service.clone(),
        created: now,
        config: std::sync::Arc::new(config),
        tally: Tally { version: now.0, ..Tally::default() },
    }
}

/// The payload of a post as it is listed: as it stands in its node, with a link to that place beside what is there unless
/// it has one. `None` for what is no Atom entry.
#[must_use]
pub fn copy(payload: &[u8], place: &Place) -> Option<Vec<u8>> {
    let entry = xmpp::xml::parse_element(payload, "").ok().filter(|entry| entry.is("entry", xmpp::ns::ATOM))?;
    let leads_there =
        alternate::links(&entry).any(|link| link.attr("href").and_then(Place::parse).as_ref() == Some(place));
    Some(if leads_there { payload.to_vec() } else { alternate::beside(payload, &alternate::link(place)) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::*;

    #[test]
    fn a_copy_says_where_it_is_from_and_is_otherwise_the_same() {
        let place = Place::parse("xmpp:juliet@capulet.lit?;node=urn%3Axmpp%3Amicroblog%3A0;item=1").unwrap();
        let link = "<link xmlns='http://www.w3.org/2005/Atom' rel='alternate' \
                    href='xmpp:juliet@capulet.lit?;node=urn%3Axmpp%3Amicroblog%3A0;item=1'/>";
        let atom = "xmlns='http://www.w3.org/2005/Atom'";
        let prefixed = "xmlns:a='http://www.w3.org/2005/Atom'";
        for (post, expected) in [
            (format!("<entry {atom}/>"), format!("<entry {atom}>{link}</entry>")),
            (
                format!("<entry {atom}><title>x</title></entry>"),
                format!("<entry {atom}><title>x</title>{link}</entry>"),
            ),
            (format!("<entry {atom}>{link}</entry>"), format!("<entry {atom}>{link}</entry>")),
            (
                format!("<a:entry {prefixed}><a:title>x</a:title></a:entry>"),
                format!("<a:entry {prefixed}><a:title>x</a:title>{link}</a:entry>"),
            ),
            (
                format!("<entry {atom}><link rel='replies' href='{}'/></entry>", place.write()),
                format!("<entry {atom}><link rel='replies' href='{}'/>{link}</entry>", place.write()),
            ),
        ] {
            let copy = String::from_utf8(copy(post.as_bytes(), &place).unwrap()).unwrap();
            assert_eq!(copy, expected);
            assert!(xmpp::xml::parse_element(copy.as_bytes(), "").is_ok(), "{copy}");
        }
        assert_eq!(copy(b"<feed xmlns='http://www.w3.org/2005/Atom'/>", &place), None);
    }
}
