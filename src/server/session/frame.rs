//! A stanza on its way out, finished: whole, or shared by many recipients but for its `to`.

use bytes::Bytes;
use xmpp::limits::Limits;
use xmpp::stanza::Kind;
use xmpp::{Jid, Stanza, ns, xml};

use crate::runtime::{Timestamp, rfc3339};

/// One stanza on its way out: whole, or shared by many recipients but for its `to`.
#[derive(Clone, Debug)]
pub enum Frame {
    /// A finished stanza.
    Whole(Bytes),
    /// `<message to='…'` and then bytes that are the same for all recipients.
    Addressed {
        /// What stands before the address, up to and including the quote, as `<message to='`.
        before: &'static str,
        /// The recipient.
        to: Jid,
        /// Everything after the closing quote of the address.
        after: Bytes,
    },
}

impl Frame {
    /// Bytes this frame will take on the wire, near enough to bound a queue by.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Addressed { before, to, after } => before.len() + to.as_str().len() + 1 + after.len(),
        }
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the stanza to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let rest = self.write_own(out);
        out.extend_from_slice(rest);
    }

    /// Appends what is this recipient's own to `out`, and returns what follows it, which many may share.
    pub fn write_own(&self, out: &mut Vec<u8>) -> &Bytes {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Addressed { before, to, after } => {
                out.extend_from_slice(before.as_bytes());
                xml::escape_attr(out, to.as_str());
                out.push(b'\'');
                after
            }
        }
    }

    /// The finished stanza by itself.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Whole(bytes) => bytes.clone(),
            Self::Addressed { .. } => {
                let mut out = Vec::with_capacity(self.len());
                self.write(&mut out);
                out.into()
            }
        }
    }

    /// The frame with the word of `domain` that it was held up since `since` (XEP-0203), if it is a message that was
    /// sent to its recipient alone, and not said to be late already.
    #[must_use]
    pub fn delayed(self, domain: &str, since: Timestamp) -> Self {
        let Self::Whole(bytes) = &self else { return self };
        let Some(open) = bytes.strip_suffix(b"</message>") else { return self };
        let Ok(stanza) = Stanza::parse(bytes.clone(), &Limits { stanza_bytes_max: usize::MAX, ..Limits::server() })
        else {
            return self;
        };
        let is_own = match (&stanza.head.from, &stanza.head.to) {
            (Some(from), Some(to)) => from.as_str() == to.as_bare_str(),
            _ => false,
        };
        let is_said = stanza.content.has("delay", ns::DELAY);
        if is_own || is_said || stanza.head.kind.is_error() || !matches!(stanza.head.kind, Kind::Message(_)) {
            return self;
        }
        let mut out = Vec::with_capacity(bytes.len() + 128);
        out.extend_from_slice(open);
        out.extend_from_slice(b"<delay xmlns='urn:xmpp:delay' from='");
        xml::escape_attr(&mut out, domain);
        out.extend_from_slice(b"' stamp='");
        out.extend_from_slice(rfc3339(since - since % 1_000_000).as_bytes());
        out.extend_from_slice(b"'/></message>");
        Self::Whole(out.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::Frame;

    #[test]
    fn what_is_late_says_so_once() {
        const SINCE: u64 = 1_031_699_305_000_007;
        for (stanza, is_said) in [
            ("<message to='a@b/c' from='d@e'><body>x</body></message>", true),
            ("<message to='a@b/c' from='d@e'><body>x</body><delay xmlns='urn:xmpp:delay' stamp='y'/></message>", false),
            ("<message to='a@b/c' from='a@b'><result xmlns='urn:xmpp:mam:2'/></message>", false),
            ("<message to='a@b/c' from='d@e' type='error'><error/></message>", false),
            ("<message to='a@b/c' from='d@e'/>", false),
            ("<presence to='a@b/c' from='d@e'></presence>", false),
        ] {
            let said = Frame::Whole(stanza.into()).delayed("b", SINCE).to_bytes();
            let delay = "<delay xmlns='urn:xmpp:delay' from='b' stamp='2002-09-10T23:08:25Z'/></message>";
            let expected = if is_said { stanza.replace("</message>", delay) } else { stanza.to_owned() };
            assert_eq!(said, expected);
            assert_eq!(Frame::Whole(said.clone()).delayed("b", SINCE + 9_000_000).to_bytes(), said);
        }
    }
}
