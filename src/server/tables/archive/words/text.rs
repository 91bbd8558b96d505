//! Text as words that can be found: split as Unicode splits (UAX #29), and folded so that what people take for the same
//! is the same.
//!
//! Folded are case, compatibility forms (NFKD), and the marks above Latin, Greek and Cyrillic letters and the points of
//! Hebrew and Arabic. Scripts written without spaces come out letter by letter; [`Query`] wants them side by side. Knows
//! no language: nothing is stemmed, nothing left out for being common.

use unicode_normalization::UnicodeNormalization as _;
use unicode_segmentation::UnicodeSegmentation as _;
use xmpp::limits::Limits;
use xmpp::stanza::Content;
use xmpp::{Stanza, ns};

/// Bytes of a word that count; the rest is not looked at.
const WORD_BYTES_MAX: usize = 64;
/// Words of one text that can be found.
const WORDS_MAX: usize = 1_024;
/// Words of a query.
const QUERY_WORDS_MAX: usize = 16;
/// Bytes of a query.
const QUERY_BYTES_MAX: usize = 1_024;

/// What only who it is for can read.
const ENCRYPTED: [&str; 6] = [
    "eu.siacs.conversations.axolotl",
    "urn:xmpp:omemo:1",
    "urn:xmpp:omemo:2",
    "urn:xmpp:openpgp:0",
    "urn:xmpp:eme:0",
    "jabber:x:encrypted",
];

/// Whether a message is for its recipients' eyes only; then its body, if any, is for clients that cannot decrypt.
#[must_use]
pub fn is_encrypted(content: &Content) -> bool {
    content.children().any(|child| ENCRYPTED.contains(&child.ns()))
}

/// The text of an archived message, if people can read it.
pub(super) fn readable(message: &bytes::Bytes) -> Option<String> {
    let limits = Limits { stanza_bytes_max: usize::MAX, ..Limits::server() };
    let stanza = Stanza::parse(message.clone(), &limits).ok()?;
    if is_encrypted(&stanza.content) {
        return None;
    }
    let texts = stanza.content.children().filter(|child| matches!(child.name(), "body" | "subject"));
    let texts = texts.filter(|child| child.ns() == ns::CLIENT).filter_map(xmpp::stanza::Child::text);
    Some(texts.collect::<Vec<_>>().join("\n")).filter(|text| !text.is_empty())
}

fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{64b}'..='\u{65f}' | '\u{670}')
}

/// The words of `text`, folded, in their order.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    text.unicode_words().take(WORDS_MAX).map(fold).filter(|word| !word.is_empty())
}

fn fold(word: &str) -> String {
    let mut folded = String::with_capacity(word.len().min(WORD_BYTES_MAX));
    for letter in word.nfkd().filter(|letter| !is_mark(*letter)).flat_map(char::to_lowercase) {
        if folded.len() + letter.len_utf8() > WORD_BYTES_MAX {
            break;
        }
        match letter {
            'ß' => folded.push_str("ss"),
            'ς' => folded.push('σ'),
            letter => folded.push(letter),
        }
    }
    folded
}

/// What a text must hold to be found: every term, and the words of one term side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    terms: Vec<Vec<String>>,
}

/// A query is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Query {
    /// Reads what somebody typed. What holds no word finds nothing.
    ///
    /// # Errors
    /// Beyond 16 words, or 1024 bytes.
    pub fn parse(typed: &str) -> Result<Self, TooLong> {
        if typed.len() > QUERY_BYTES_MAX {
            return Err(TooLong);
        }
        let terms = typed.split_whitespace().map(|term| words(term).collect::<Vec<_>>());
        let terms: Vec<Vec<String>> = terms.filter(|term| !term.is_empty()).collect();
        if terms.iter().map(Vec::len).sum::<usize>() > QUERY_WORDS_MAX {
            return Err(TooLong);
        }
        Ok(Self { terms })
    }

    /// Every word, the ones that find least first: the longest.
    pub(super) fn words(&self) -> Vec<&str> {
        let mut words: Vec<&str> = self.terms.iter().flatten().map(String::as_str).collect();
        words.sort_unstable_by_key(|word| (std::cmp::Reverse(word.len()), *word));
        words.dedup();
        words
    }

    /// Whether `text` holds every term.
    #[must_use]
    pub fn finds(&self, text: &str) -> bool {
        let words: Vec<String> = words(text).collect();
        let is_there = |term: &Vec<String>| words.windows(term.len()).any(|part| part == term.as_slice());
        !self.terms.is_empty() && self.terms.iter().all(is_there)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_people_take_for_the_same_is_the_same() {
        for (text, expected) in [
            ("Call me but love, and I'll be new baptized;", "call me but love and i'll be new baptized"),
            ("ÜBER Straße, façade, naïve", "uber strasse facade naive"),
            ("ﬁre e-mail 3.14 foo_bar", "fire e mail 3.14 foo_bar"),
            ("Ἀχιλλεὺς ΟΔΥΣΣΕΥΣ", "αχιλλευσ οδυσσευσ"),
            ("Ёлка и ёж", "елка и еж"),
            ("北京 大学", "北 京 大 学"),
            ("שָׁלוֹם", "שלום"),
            ("السَّلَامُ", "السلام"),
            ("हिन्दी", "हिन्दी"),
            ("한국어", "한국어"),
            ("İstanbul", "istanbul"),
            ("👍 ❤ !?", ""),
        ] {
            let found = words(text).collect::<Vec<_>>().join(" ");
            // Hangul comes out in its letters; what matters is that both sides do.
            assert_eq!(found, expected.nfkd().collect::<String>(), "{text}");
        }
        assert_eq!(words(&"x".repeat(1000)).next().unwrap().len(), WORD_BYTES_MAX);
        assert_eq!(words(&"x ".repeat(5000)).count(), WORDS_MAX);
    }

    #[test]
    fn terms_are_found_in_any_order_and_their_words_side_by_side() {
        for (typed, text, expected) in [
            ("love", "Call me but love", true),
            ("LOVE call", "Call me but love", true),
            ("lov", "Call me but love", false),
            ("love hate", "Call me but love", false),
            ("大学", "北京大学在北京", true),
            ("学大", "北京大学在北京", false),
            ("e-mail", "an e-mail", true),
            ("e-mail", "e is for mail", false),
            ("...", "anything", false),
            ("", "anything", false),
        ] {
            assert_eq!(Query::parse(typed).unwrap().finds(text), expected, "{typed} in {text}");
        }
        assert!(Query::parse(&"a ".repeat(16)).is_ok() && Query::parse(&"a ".repeat(17)).is_err());
        assert!(Query::parse(&"a".repeat(1025)).is_err());
    }

    #[test]
    fn what_is_encrypted_is_not_read() {
        let message = |content: &str| format!("<message to='a@b' type='chat'>{content}</message>").into();
        assert_eq!(readable(&message("<body>one</body><x xmlns='x'>two</x>")).as_deref(), Some("one"));
        let both = readable(&message("<subject>one</subject><body>two</body>")).unwrap();
        assert!(Query::parse("one two").unwrap().finds(&both));
        for content in [
            "<body>I sent you an OMEMO message</body><encrypted xmlns='eu.siacs.conversations.axolotl'/>",
            "<body>?</body><encryption xmlns='urn:xmpp:eme:0' namespace='x'/>",
            "<retracted xmlns='urn:xmpp:message-retract:1' stamp='x' id='x'/>",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
        ] {
            assert_eq!(readable(&message(content)), None, "{content}");
        }
    }
}
