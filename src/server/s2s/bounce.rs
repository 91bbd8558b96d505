//! Answering stanzas that could not be delivered to their local senders (RFC 6120 section 8.3, RFC 6121 section 8).
//!
//! Errors are never answered with errors, and results of IQs not at all. The answer takes the way it would take if the
//! other server had sent it, so that whoever waits for one, a client or the house itself, gets it.

use xmpp::limits::Limits;
use xmpp::{Stanza, StanzaError};

use super::Federation;
use super::outbox::Queued;

impl Federation {
    /// Answers what was not delivered with `error`.
    pub(super) async fn bounce(&self, undelivered: impl IntoIterator<Item = Queued>, error: &StanzaError) {
        let Some(router) = self.router.upgrade() else { return };
        for queued in undelivered {
            if let Some(reply) = answer(&queued, error) {
                // A panic in here must not take the other stanzas with it.
                if crate::runtime::survive(router.from_remote(reply)).await.is_none() {
                    tracing::error!("answering a stanza that was not delivered panicked");
                }
            }
        }
    }
}

/// The answer to a stanza of ours, as its recipient would give it.
fn answer(queued: &Queued, error: &StanzaError) -> Option<Stanza> {
    let mut bytes = Vec::with_capacity(queued.frame.len());
    queued.frame.write(&mut bytes);
    let stanza = Stanza::parse(bytes.into(), &Limits { stanza_bytes_max: usize::MAX, ..Limits::server() }).ok()?;
    Stanza::error_reply(&stanza.head, None, error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::session::mailbox::Frame;
    use bytes::Bytes;

    #[test]
    fn what_can_be_answered_is_answered_from_the_other_side() {
        let error = StanzaError::remote_server_timeout();
        let answered = |frame: Frame| answer(&Queued { frame, since: 0, cost: 0 }, &error);
        let whole = |text: &'static str| Frame::Whole(Bytes::from_static(text.as_bytes()));
        let head = "to='romeo@montague.lit' from='juliet@capulet.lit/balcony' id='1'";
        for kind in ["message", "presence", "iq type='get'"] {
            let inside = if kind.starts_with("iq") { "<ping xmlns='urn:xmpp:ping'/>" } else { "<x xmlns='y'/>" };
            let name = kind.split(' ').next().unwrap();
            let reply = answered(whole(format!("<{kind} {head}>{inside}</{name}>").leak())).unwrap();
            assert_eq!(reply.head.from.as_ref().unwrap().as_str(), "romeo@montague.lit");
            assert_eq!(reply.head.to.as_ref().unwrap().as_str(), "juliet@capulet.lit/balcony");
            assert_eq!(reply.error().unwrap(), error);
        }
        for kind in ["message type='error'", "presence type='error'", "iq type='error'", "iq type='result'"] {
            assert_eq!(answered(whole(format!("<{kind} {head}/>").leak())), None, "{kind}");
        }
        let shared = Frame::Addressed {
            before: "<message to='",
            to: xmpp::Jid::new("romeo@montague.lit").unwrap(),
            after: Bytes::from_static(b" from='juliet@capulet.lit'><body>hi</body></message>"),
        };
        assert_eq!(answered(shared).unwrap().head.to.unwrap().as_str(), "juliet@capulet.lit");
    }
}
