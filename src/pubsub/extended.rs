//! Extended subscriptions (XEP-0497): what a subscription is about, and how far below its node it reaches.
//!
//! Only what is heard by which subscription is decided here. Who may read what is heard is decided where it always is.

use crate::config::{FIELDS, NodeConfig};
use crate::decision::Event;
use crate::model::TIES_MAX;

/// What it is about (section 3.1).
pub const TYPE: &str = "{urn:xmpp:pubsub-ext-sub:0}type";
/// How many levels below it reaches (section 3.2).
pub const DEPTH: &str = "{urn:xmpp:pubsub-ext-sub:0}depth";
/// How many there can be (section 5).
pub const MAX_DEPTH: &str = "{urn:xmpp:pubsub-ext-sub:0}max-depth";

const ITEMS: u8 = 0b1;
const METADATA: u8 = 0b10;
const LINKED: u8 = 0b100;

/// What a subscription is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// A set of [`Reach::WORDS`], the first being the lowest bit; never empty.
    kinds: u8,
    /// Levels below the node, up to [`TIES_MAX`]; all there are if negative.
    depth: i8,
}

impl Default for Reach {
    /// "It MUST default to only the "items" value", "it MUST default to "0"".
    fn default() -> Self {
        Self { kinds: ITEMS, depth: 0 }
    }
}

/// Where something happened, seen from the node that is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// There.
    Here,
    /// In a node below, or in one that is linked to it or to one below.
    Below {
        /// Steps from child to parent; 0 for a node that is linked to the subscribed one.
        levels: usize,
        /// Whether it is a linked node.
        is_linked: bool,
    },
}

impl Reach {
    /// The kinds of what can be subscribed to.
    pub const WORDS: [&str; 3] = ["items", "metadata", "linked items"];

    /// This with other kinds: what a form says. None are the default; `None` if a word is not among [`Reach::WORDS`].
    #[must_use]
    pub fn with_kinds(self, words: &[Box<str>]) -> Option<Self> {
        let bit =
            |word: &str| Self::WORDS.iter().zip(0_u32..).find(|(known, _)| **known == word).map(|(_, bit)| 1 << bit);
        let kinds = words.iter().try_fold(0, |kinds, word| Some(kinds | bit(word)?))?;
        Some(Self { kinds: if kinds == 0 { ITEMS } else { kinds }, ..self })
    }

    /// This with another depth; `None` for what is not an integer. Deeper than nodes can be is as deep as they can be.
    #[must_use]
    pub fn with_depth(self, value: &str) -> Option<Self> {
        let levels: i64 = value.trim().parse().ok()?;
        let deepest = i8::try_from(TIES_MAX).unwrap_or(i8::MAX);
        Some(Self { depth: i8::try_from(levels.clamp(-1, i64::from(deepest))).unwrap_or(deepest), ..self })
    }

    /// The words of its kinds.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Self::WORDS.into_iter().zip(0_u32..).filter(move |(_, bit)| self.kinds & (1 << bit) != 0).map(|(word, _)| word)
    }

    /// Levels below its node; negative for all.
    #[must_use]
    pub fn depth(self) -> i8 {
        self.depth
    }

    /// Whether it is anything else than a subscription of XEP-0060.
    #[must_use]
    pub fn is_extended(self) -> bool {
        self != Self::default()
    }

    /// Whether it is about the items of the node itself.
    #[must_use]
    pub fn has_items(self) -> bool {
        self.kinds & ITEMS != 0
    }

    /// As a number, to be kept.
    #[must_use]
    pub fn to_number(self) -> u64 {
        u64::from(u16::from_be_bytes([self.kinds, self.depth.to_be_bytes()[0]]))
    }

    /// From such a number; what cannot be one is the default.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        let [kinds, depth] = u16::try_from(number).unwrap_or_default().to_be_bytes();
        let kinds = kinds & (ITEMS | METADATA | LINKED);
        if kinds == 0 { Self::default() } else { Self { kinds, depth: i8::from_be_bytes([depth]) } }
    }

    /// Whether it hears of what happened in that place. The configuration as XEP-0060 tells of it is for who did not ask
    /// for metadata. That a node is gone is heard by everybody who heard of it.
    #[must_use]
    pub fn hears(self, event: &Event, place: Place) -> bool {
        let has = |kind| self.kinds & kind != 0;
        let (levels, is_linked) = match place {
            Place::Here => {
                return match event {
                    Event::Metadata(_) => has(METADATA),
                    Event::Configured => has(ITEMS) && !has(METADATA),
                    Event::Published(_) | Event::Pinged | Event::Retracted(_) | Event::Purged | Event::LastItem => {
                        has(ITEMS)
                    }
                    _ => true,
                };
            }
            Place::Below { levels, is_linked } => (levels, is_linked),
        };
        let is_near = usize::try_from(self.depth).is_ok_and(|depth| levels <= depth) || self.depth < 0;
        is_near
            && match event {
                Event::Published(_) | Event::Pinged | Event::Retracted(_) | Event::Purged => {
                    has(if is_linked { LINKED } else { ITEMS })
                }
                Event::Metadata(_) => has(METADATA) && (!is_linked || has(LINKED)),
                Event::Deleted(_) => has(if is_linked { LINKED } else { ITEMS | METADATA }),
                _ => false,
            }
    }
}

/// What of the metadata is another than before; of a new node, all of it. What has no value any more is there without.
#[must_use]
pub fn updated(before: Option<&NodeConfig>, after: &NodeConfig) -> Vec<(&'static str, Vec<String>)> {
    let fields = FIELDS.iter().filter(|field| field.is_metadata).map(|field| {
        let earlier = before.map(|config| (field.get)(config)).unwrap_or_default();
        (field.var, earlier, (field.get)(after))
    });
    fields.filter(|(_, earlier, values)| earlier != values).map(|(var, _, values)| (var, values)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::*;

    fn reach(words: &[&str], depth: &str) -> Reach {
        let words: Vec<Box<str>> = words.iter().map(|word| Box::from(*word)).collect();
        Reach::default().with_kinds(&words).unwrap().with_depth(depth).unwrap()
    }

    #[test]
    fn what_is_heard_where() {
        let (items, metadata) = (Event::Pinged, Event::Metadata(Vec::new()));
        let below = |levels, is_linked| Place::Below { levels, is_linked };
        for (words, depth, event, place, hears) in [
            (&["items"][..], "0", &items, Place::Here, true),
            (&["items"], "0", &items, below(1, false), false),
            (&["items"], "1", &items, below(1, false), true),
            (&["items"], "1", &items, below(2, false), false),
            (&["items"], "-1", &items, below(16, false), true),
            (&["items"], "-1", &items, below(0, true), false),
            (&["items"], "-1", &items, below(1, true), false),
            (&["items"], "-1", &metadata, Place::Here, false),
            (&["items"], "-1", &Event::Configured, Place::Here, true),
            (&["items"], "-1", &Event::Configured, below(1, false), false),
            (&["items"], "-1", &Event::Deleted(None), below(1, false), true),
            (&["metadata"], "0", &items, Place::Here, false),
            (&["metadata"], "0", &metadata, Place::Here, true),
            (&["metadata"], "0", &metadata, below(1, false), false),
            (&["metadata"], "1", &metadata, below(1, false), true),
            (&["metadata"], "1", &metadata, below(1, true), false),
            (&["metadata"], "1", &Event::Deleted(None), below(1, false), true),
            (&["items", "metadata"], "0", &Event::Configured, Place::Here, false),
            (&["linked items"], "0", &items, Place::Here, false),
            (&["linked items"], "0", &items, below(0, true), true),
            (&["linked items"], "0", &items, below(1, true), false),
            (&["linked items"], "1", &items, below(1, true), true),
            (&["linked items"], "1", &items, below(1, false), false),
            (&["metadata", "linked items"], "0", &metadata, below(0, true), true),
        ] {
            assert_eq!(reach(words, depth).hears(event, place), hears, "{words:?} {depth} {event:?} {place:?}");
        }
    }

    #[test]
    fn forms_say_what_there_is() {
        assert_eq!(Reach::default().with_kinds(&[]), Some(Reach::default()));
        assert_eq!(Reach::default().with_kinds(&["subscriptions".into()]), None);
        for (said, depth) in [("0", 0), (" 3 ", 3), ("-1", -1), ("-70", -1), ("16", 16), ("20000000", 16)] {
            assert_eq!(Reach::default().with_depth(said).unwrap().depth(), depth);
        }
        for said in ["", "all", "1.5", "99999999999999999999999999"] {
            assert_eq!(Reach::default().with_depth(said), None, "{said}");
        }
    }

    #[test]
    fn it_is_kept_as_a_number() {
        for one in [reach(&[], "0"), reach(&["metadata"], "-1"), reach(&Reach::WORDS, "16")] {
            assert_eq!(Reach::from_number(one.to_number()), one);
        }
        assert_eq!(Reach::from_number(u64::MAX), Reach::default());
    }
}
