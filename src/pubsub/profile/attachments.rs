//! XEP-0470: what people attach to an item, and the sum of it.
//!
//! Each item that somebody attached something to has an attachment node of its own, in which everybody has one item;
//! each node with such items has a summary node. The service keeps both: nobody creates or configures them, and who may
//! read what they are about, and nobody else, may read them and attach.

use std::collections::BTreeSet;

use bytes::Bytes;
use xmpp::jid::BareJid;
use xmpp::{Element, ns};

use super::uri::Place;
use crate::config::{Bound, ItemReply, NodeConfig, PublishModel, SendLast};
use crate::refusal::Refusal;

/// What both kinds of names begin with.
const FAMILY: &str = "urn:xmpp:pubsub-attachments:";
/// The beginning of an attachment node's name; the URI of the item follows.
pub const PREFIX: &str = "urn:xmpp:pubsub-attachments:1/";
/// The beginning of a summary node's name; the name of the node follows.
pub const SUMMARY_PREFIX: &str = "urn:xmpp:pubsub-attachments:summary:1/";
/// Bytes of what one person attaches to one item.
pub const ATTACHMENTS_BYTES_MAX: usize = 16_384;
/// Different reactions of one person to one item.
pub const REACTIONS_MAX: usize = 20;
/// Different reactions of all people to one item. Who comes with another one is refused.
pub const REACTIONS_OF_ALL_MAX: usize = 256;
/// Bytes of one reaction: the longest emoji sequences have 35.
const REACTION_BYTES_MAX: usize = 64;

/// Whether a node of that name is the service's own to keep.
#[must_use]
pub fn is_kept(node: &str) -> bool {
    is_attachments(node) || is_summary(node)
}

/// Whether the name is that of an attachment node.
#[must_use]
pub fn is_attachments(node: &str) -> bool {
    node.starts_with(PREFIX)
}

/// Whether the name is that of a summary node.
#[must_use]
pub fn is_summary(node: &str) -> bool {
    node.starts_with(SUMMARY_PREFIX)
}

/// The item that an attachment node of `home` is about. `None` when the name means none there is: an item elsewhere, or
/// one of a node that is itself kept.
#[must_use]
pub fn target(home: &BareJid, node: &str) -> Option<(Box<str>, Box<str>)> {
    let place = Place::parse(node.strip_prefix(PREFIX)?)?;
    if place.service != *home || is_kept(&place.node) {
        return None;
    }
    Some((place.node, place.item?))
}

/// The node whose readers are the readers of this one, if this one is kept.
#[must_use]
pub fn guard(home: &BareJid, node: &str) -> Option<Box<str>> {
    if !node.starts_with(FAMILY) {
        return None;
    }
    match node.strip_prefix(SUMMARY_PREFIX) {
        Some(target) => (!is_kept(target)).then(|| Box::from(target)),
        None => target(home, node).map(|(node, _)| node),
    }
}

/// The name of the attachment node of an item.
#[must_use]
pub fn node_of(home: &BareJid, node: &str, item: &str) -> String {
    let place = Place { service: home.clone(), node: node.into(), item: Some(item.into()) };
    format!("{PREFIX}{}", place.write())
}

/// The name under which an attachment node of that name is kept: clients escape in different ways.
#[must_use]
pub fn canonical(home: &BareJid, node: &str) -> Option<String> {
    let (target, item) = target(home, node)?;
    let name = node_of(home, &target, &item);
    (name != node).then_some(name)
}

/// The beginning of the names of all attachment nodes of one node's items.
#[must_use]
pub fn nodes_of(home: &BareJid, node: &str) -> String {
    let place = Place { service: home.clone(), node: node.into(), item: None };
    format!("{PREFIX}{};item=", place.write())
}

/// The name of a node's summary node.
#[must_use]
pub fn summary_of(node: &str) -> String {
    format!("{SUMMARY_PREFIX}{node}")
}

/// The configuration of a kept node: who may read is `guard`'s affair, and who may read may attach.
#[must_use]
pub fn config(guard: &NodeConfig, node: &str, payload_bytes_max: u64) -> NodeConfig {
    NodeConfig {
        access_model: guard.access_model,
        roster_groups_allowed: guard.roster_groups_allowed.clone(),
        publish_model: if is_attachments(node) { PublishModel::Open } else { PublishModel::Publishers },
        max_items: Bound::Max,
        send_last_published_item: SendLast::Never,
        itemreply: if is_attachments(node) { ItemReply::Publisher } else { ItemReply::None },
        payload_type: Some(if is_attachments(node) { ns::ATTACHMENTS } else { ns::ATTACHMENTS_SUMMARY }.into()),
        ..NodeConfig::service(payload_bytes_max)
    }
}

/// What one person attached, as far as it is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// Whether the item is noticed: what elsewhere is called liked.
    pub noticed: bool,
    /// The reactions, each once.
    pub reactions: BTreeSet<Box<str>>,
}

impl Attached {
    /// Reads a payload that is about to be published.
    ///
    /// # Errors
    /// [`Refusal::InvalidAttachments`], in words.
    pub fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        let bad = |why: &'static str| Refusal::InvalidAttachments(why);
        if payload.len() > ATTACHMENTS_BYTES_MAX {
            return Err(bad("What one person attaches to an item has at most 16384 bytes."));
        }
        let root = xmpp::xml::parse_element(payload, "").map_err(|_| bad("This cannot be read."))?;
        if !root.is("attachments", ns::ATTACHMENTS) {
            return Err(bad("An attachment item holds <attachments xmlns='urn:xmpp:pubsub-attachments:1'/>."));
        }
        let mut attached = Self::default();
        for child in root.children() {
            if child.is("noticed", ns::ATTACHMENTS) {
                attached.noticed = true;
            } else if child.is("reactions", ns::ATTACHMENTS) {
                for reaction in child.children().filter(|one| one.is("reaction", ns::ATTACHMENTS)) {
                    let text = reaction.text();
                    let text = text.trim();
                    if !is_reaction(text) {
                        return Err(bad("A reaction is a single emoji."));
                    }
                    attached.reactions.insert(text.into());
                }
            }
        }
        if attached.reactions.len() > REACTIONS_MAX {
            return Err(bad("One person reacts to an item with at most 20 different emojis."));
        }
        Ok(attached)
    }

    /// What a stored payload says; nothing, should it not be readable.
    #[must_use]
    pub fn stored(payload: &[u8]) -> Self {
        Self::parse(payload).unwrap_or_default()
    }
}

/// Whether the text could be one emoji. Which sequences are emojis changes every year and is not ours to say; words,
/// and what could not be drawn in one place, are none.
fn is_reaction(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= REACTION_BYTES_MAX
        && !text.is_ascii()
        && !text.chars().any(|char| char.is_whitespace() || char.is_control() || char.is_ascii_alphabetic())
}

/// A payload with `<noticed/>` put in or taken out and everything else left as it is. `None` when nothing remains.
#[must_use]
pub fn with_noticed(payload: Option<&[u8]>, noticed: bool, stamp: &str) -> Option<Element> {
    let stored = payload.and_then(|payload| xmpp::xml::parse_element(payload, "").ok());
    let before = stored.filter(|root| root.is("attachments", ns::ATTACHMENTS));
    let mut after = Element::bare("attachments", ns::ATTACHMENTS);
    for child in before.iter().flat_map(Element::children).filter(|child| !child.is("noticed", ns::ATTACHMENTS)) {
        after.append_child(child.clone());
    }
    if noticed {
        let mut child = Element::bare("noticed", ns::ATTACHMENTS);
        xmpp::xml::set_attr(&mut child, "timestamp", stamp);
        after.append_child(child);
    }
    after.children().next().is_some().then_some(after)
}

/// The sum of what all people attached to one item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many noticed it.
    pub noticed: u64,
    /// How many reacted, by reaction, in the order in which they first came.
    pub reactions: Vec<(Box<str>, u64)>,
}

impl Summary {
    /// Reads what was [`Summary::write`]n.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Self {
        let Ok(root) = xmpp::xml::parse_element(payload, "") else { return Self::default() };
        let count = |element: &Element| element.attr("count").map_or(Some(1), |count| count.parse().ok()).unwrap_or(0);
        let mut summary = Self::default();
        for child in root.children() {
            if child.is("noticed", ns::ATTACHMENTS_SUMMARY) {
                summary.noticed = count(child);
            } else if child.is("reactions", ns::ATTACHMENTS_SUMMARY) {
                summary.reactions = child.children().map(|one| (one.text().into(), count(one))).collect();
            }
        }
        summary
    }

    /// Takes out what one person had attached and puts in what it attaches now. Whether that made a difference.
    ///
    /// # Errors
    /// [`Refusal::TooManyReactions`].
    pub fn change(&mut self, before: &Attached, after: &Attached) -> Result<bool, Refusal> {
        let was = self.clone();
        self.noticed = self.noticed.saturating_add(u64::from(after.noticed)).saturating_sub(u64::from(before.noticed));
        for gone in before.reactions.difference(&after.reactions) {
            if let Some((_, count)) = self.reactions.iter_mut().find(|(reaction, _)| reaction == gone) {
                *count = count.saturating_sub(1);
            }
        }
        self.reactions.retain(|(_, count)| *count > 0);
        for new in after.reactions.difference(&before.reactions) {
            match self.reactions.iter_mut().find(|(reaction, _)| reaction == new) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => self.reactions.push((new.clone(), 1)),
            }
        }
        if self.reactions.len() > REACTIONS_OF_ALL_MAX {
            return Err(Refusal::TooManyReactions);
        }
        Ok(*self != was)
    }

    /// The payload of the summary item.
    #[must_use]
    pub fn write(&self) -> Bytes {
        let mut out = crate::wire::Writer::new(96 + self.reactions.len() * 48);
        out.raw(b"<summary").attr("xmlns", ns::ATTACHMENTS_SUMMARY).raw(b">");
        if self.noticed > 0 {
            out.raw(b"<noticed").attr("count", &self.noticed.to_string()).raw(b"/>");
        }
        if !self.reactions.is_empty() {
            out.raw(b"<reactions>");
            for (reaction, count) in &self.reactions {
                out.raw(b"<reaction");
                if *count > 1 {
                    out.attr("count", &count.to_string());
                }
                out.raw(b">").text(reaction).raw(b"</reaction>");
            }
            out.raw(b"</reactions>");
        }
        out.raw(b"</summary>");
        out.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn juliet() -> BareJid {
        BareJid::new("juliet@capulet.lit").unwrap()
    }

    #[test]
    fn names_are_read_and_written() {
        let name = "urn:xmpp:pubsub-attachments:1/xmpp:juliet@capulet.lit?;node=urn%3Axmpp%3Amicroblog%3A0;item=afd1";
        assert_eq!(node_of(&juliet(), "urn:xmpp:microblog:0", "afd1"), name);
        assert_eq!(target(&juliet(), name), Some(("urn:xmpp:microblog:0".into(), "afd1".into())));
        assert_eq!(canonical(&juliet(), name), None);
        assert_eq!(canonical(&juliet(), &name.replace("%3A", ":")).as_deref(), Some(name));
        assert!(name.starts_with(&nodes_of(&juliet(), "urn:xmpp:microblog:0")));
        assert_eq!(guard(&juliet(), name).as_deref(), Some("urn:xmpp:microblog:0"));
        assert_eq!(guard(&juliet(), &summary_of("a")).as_deref(), Some("a"));
        assert_eq!(guard(&juliet(), "urn:xmpp:microblog:0"), None);
    }

    #[test]
    fn nothing_is_attached_to_what_is_kept_or_elsewhere() {
        let name = node_of(&juliet(), "urn:xmpp:microblog:0", "afd1");
        for node in [
            node_of(&juliet(), &name, "romeo@montague.lit"),
            node_of(&juliet(), &summary_of("urn:xmpp:microblog:0"), "afd1"),
            name.replace("capulet", "montague"),
            format!("{PREFIX}nonsense"),
            format!("{PREFIX}xmpp:juliet@capulet.lit?;node=a"),
            summary_of(&name),
            summary_of(&summary_of("a")),
        ] {
            assert_eq!(target(&juliet(), &node), None, "{node}");
            assert_eq!(guard(&juliet(), &node), None, "{node}");
            assert!(is_kept(&node), "{node}");
        }
    }

    fn payload(inside: &str) -> Vec<u8> {
        format!("<attachments xmlns='urn:xmpp:pubsub-attachments:1'>{inside}</attachments>").into_bytes()
    }

    #[test]
    fn attachments_are_checked() {
        let mixed = payload(
            "<noticed/><reactions><reaction>👷</reaction><reaction> 👷 </reaction><reaction>🔨</reaction></reactions>\
             <rsvp xmlns='urn:xmpp:events:rsvp:0'/>",
        );
        let attached = Attached::parse(&mixed).unwrap();
        assert!(attached.noticed);
        assert_eq!(attached.reactions.iter().map(|one| &**one).collect::<Vec<_>>(), ["👷", "🔨"]);
        assert_eq!(Attached::parse(&payload("")).unwrap(), Attached::default());
        let reactions = |count: u32| {
            let each = |number| format!("<reaction>{}</reaction>", char::from_u32(0x1F600 + number).unwrap());
            payload(&format!("<reactions>{}</reactions>", (0..count).map(each).collect::<String>()))
        };
        assert!(Attached::parse(&reactions(20)).is_ok());
        for bad in [
            b"<attachments xmlns='http://jabber.org/protocol/pubsub'/>".to_vec(),
            b"<entry xmlns='http://www.w3.org/2005/Atom'/>".to_vec(),
            b"".to_vec(),
            reactions(21),
            payload("<reactions><reaction>nice</reaction></reactions>"),
            payload("<reactions><reaction/></reactions>"),
            payload("<reactions><reaction>👷 🔨</reaction></reactions>"),
            payload(&format!("<reactions><reaction>{}</reaction></reactions>", "👷".repeat(17))),
            payload(&format!("<x xmlns='urn:x'>{}</x>", "x".repeat(ATTACHMENTS_BYTES_MAX))),
        ] {
            let refusal = Attached::parse(&bad).unwrap_err();
            assert!(matches!(refusal, Refusal::InvalidAttachments(_)), "{refusal:?}");
        }
    }

    #[test]
    fn noticed_comes_and_goes_beside_the_rest() {
        let text = |element: Option<Element>| element.map(|one| xmpp::xml::element_bytes(&one));
        let noticed = text(with_noticed(None, true, "2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(
            noticed,
            "<attachments xmlns='urn:xmpp:pubsub-attachments:1'><noticed timestamp='2026-01-01T00:00:00Z'/></attachments>"
        );
        assert_eq!(with_noticed(Some(&noticed), false, ""), None);
        let other = payload("<noticed/><rsvp xmlns='urn:xmpp:events:rsvp:0'/>");
        let left = text(with_noticed(Some(&other), false, "")).unwrap();
        assert_eq!(Attached::stored(&left), Attached::default());
        assert!(String::from_utf8_lossy(&left).contains("rsvp"));
    }

    #[test]
    fn the_kinds_of_reactions_are_bounded() {
        let mut summary = Summary::default();
        let one = |number: u32| {
            let reactions = [Box::from(char::from_u32(0x1F300 + number).unwrap().to_string())].into();
            Attached { noticed: false, reactions }
        };
        for number in 0..256 {
            assert_eq!(summary.change(&Attached::default(), &one(number)), Ok(true));
        }
        let mut more = summary.clone();
        assert_eq!(more.change(&Attached::default(), &one(256)), Err(Refusal::TooManyReactions));
        assert_eq!(summary.change(&one(3), &one(256)), Ok(true), "one goes, one comes");
        assert_eq!(summary.change(&Attached::default(), &one(7)), Ok(true), "what is there already");
    }

    proptest! {
        /// Whatever people attach and take back, the sum is that of what is attached.
        #[test]
        fn the_sum_is_right(steps in proptest::collection::vec((0u8..8, any::<bool>(), 0u8..16), 0..100)) {
            let mut people: BTreeMap<u8, Attached> = BTreeMap::new();
            let mut summary = Summary::default();
            for (who, noticed, which) in steps {
                let kinds = ["👷", "🔨", "🔧", "🚧"];
                let reactions = kinds.iter().enumerate().filter(|(bit, _)| which >> bit & 1 == 1);
                let after = Attached { noticed, reactions: reactions.map(|(_, one)| Box::from(*one)).collect() };
                let before = people.insert(who, after.clone()).unwrap_or_default();
                prop_assert_eq!(summary.change(&before, &after).unwrap(), before != after);
                summary = Summary::parse(&summary.write());
            }
            let noticed = people.values().filter(|one| one.noticed).count();
            prop_assert_eq!(summary.noticed, u64::try_from(noticed).unwrap());
            let mut counts: BTreeMap<Box<str>, u64> = BTreeMap::new();
            for one in people.values().flat_map(|one| &one.reactions) {
                *counts.entry(one.clone()).or_default() += 1;
            }
            prop_assert_eq!(summary.reactions.into_iter().collect::<BTreeMap<_, _>>(), counts);
        }
    }
}
