//! XEP-0424: Message Retraction, in archives: what was taken back leaves a tombstone.
//!
//! The retraction is archived like any message. The original is looked for among the last messages with the same
//! contact, from the same side; how often that is done for one account is bounded, since strangers may ask for it.

use store::CommitError;
use xmpp::xml::escape_attr;
use xmpp::{Jid, Stanza, ns};

use super::{Account, Archive};
use crate::runtime::rfc3339;
use crate::tables::archive::{Entry, Place, Span, Want};

/// Messages looked at for one retraction, and in one go.
const LOOK_BACK: usize = 512;
const PAGE: usize = 64;
const PAGE_BYTES: usize = 1 << 20;

/// Which message is taken back.
pub(in crate::extensions) struct Retraction {
    original: String,
    own: Box<str>,
}

impl Retraction {
    /// The retraction that `stanza` is, if it is one that leaves a tombstone.
    pub(in crate::extensions) fn of(stanza: &Stanza) -> Option<Self> {
        let retract = stanza.content.child("retract", ns::RETRACT)?.open().ok()?;
        // The tombstone names the retraction.
        Some(Self { original: retract.attr("id")?.to_owned(), own: stanza.head.id.clone()? })
    }

    /// What is left of `original`: its head, and that it was taken back.
    fn tombstone(&self, original: &[u8], at: Place) -> Option<Vec<u8>> {
        let mut out = head_of(original)?.to_vec();
        out.extend_from_slice(b"<retracted xmlns='urn:xmpp:message-retract:1' stamp='");
        out.extend_from_slice(rfc3339(at.time).as_bytes());
        out.extend_from_slice(b"' id='");
        escape_attr(&mut out, &self.own);
        out.extend_from_slice(b"'/></message>");
        Some(out)
    }
}

/// The start tag of a message as we render it: no `>` in a value is left as it is.
fn head_of(message: &[u8]) -> Option<&[u8]> {
    message.split_inclusive(|byte| *byte == b'>').next()
}

fn has_id(message: &[u8], id: &str) -> bool {
    let mut wanted = b" id='".to_vec();
    escape_attr(&mut wanted, id);
    wanted.push(b'\'');
    head_of(message).is_some_and(|head| holds(head, &wanted))
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}

impl Archive {
    /// Makes a tombstone of what `retraction`, archived at `at`, takes back. Durable when it resolves.
    pub(in crate::extensions) async fn retract(
        &self,
        ledger: &Account,
        contact: &Jid,
        is_outgoing: bool,
        (retraction, at): (&Retraction, Place),
    ) {
        if !ledger.may_search(self.clock.now()) {
            return;
        }
        let buried = self.bury(ledger, contact, is_outgoing, (retraction, at)).await;
        if let Err(error) = buried {
            tracing::error!(account = %ledger.account(), %error, "a retracted message is left in an archive");
        }
    }

    async fn bury(
        &self,
        ledger: &Account,
        contact: &Jid,
        is_outgoing: bool,
        (retraction, at): (&Retraction, Place),
    ) -> Result<(), CommitError> {
        let full = contact;
        let contact = Jid::from(contact.to_bare());
        let mut span = Span::ALL.before(at);
        for _ in 0..LOOK_BACK / PAGE {
            let want =
                Want { span, with: Some(&contact), messages_max: PAGE, bytes_max: PAGE_BYTES, is_from_end: true };
            let found = self.ledgers.read(ledger, want).await?;
            let is_original = |entry: &&Entry| {
                entry.is_outgoing() == is_outgoing
                    && !entry.is_tombstone()
                    && has_id(&entry.message, &retraction.original)
                    // Occupants of a room share its bare address.
                    && (entry.contact() == full.as_str() || !holds(&entry.message, ns::MUC_USER.as_bytes()))
                    // Retractions stay (section 6): who was away must hear of them.
                    && !holds(&entry.message, ns::RETRACT.as_bytes())
            };
            if let Some(original) = found.entries.iter().rev().find(is_original) {
                let Some(tombstone) = retraction.tombstone(&original.message, at) else { return Ok(()) };
                return self.ledgers.bury(ledger, original, &tombstone).await;
            }
            match found.entries.first() {
                Some(first) if !found.is_complete => span = span.before(first.place),
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_tombstone_keeps_the_head_only() {
        let original =
            b"<message to='a@b' from='c@d/&gt;' type='chat' id='it&apos;s'><body id='other'>x</body></message>";
        assert!(has_id(original, "it's") && !has_id(original, "other") && !has_id(original, "it"));
        let retraction = Retraction { original: "it's".to_owned(), own: "<r>".into() };
        let tombstone = retraction.tombstone(original, Place { time: 1_031_699_305_000_000, chance: 0 }).unwrap();
        assert_eq!(
            String::from_utf8(tombstone).unwrap(),
            "<message to='a@b' from='c@d/&gt;' type='chat' id='it&apos;s'>\
             <retracted xmlns='urn:xmpp:message-retract:1' stamp='2002-09-10T23:08:25Z' id='&lt;r&gt;'/></message>"
        );
    }
}
