//! What is published to a push service (XEP-0357 section 7), and what its answer means (section 7.1).

use xmpp::stanza::{Condition, ErrorType, IqType, Kind};
use xmpp::xml::{escape_attr, escape_text};
use xmpp::{BareJid, Stanza, StanzaError, ns};

use super::Content;
use super::device::{Device, Outcome};
use crate::extension::OccasionKind;

/// Our own namespace: posts, mentions and follows (`xeps/urn-chirrup-push-0.md`).
pub(super) const OCCASIONS: &str = "urn:chirrup:push:0";
/// Bytes of a message's text that are told.
const TEXT_BYTES_MAX: usize = 1024;

fn push(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

fn field(out: &mut Vec<u8>, var: &str, value: &str) {
    push(out, &["<field var='", var, "'><value>"]);
    escape_text(out, value);
    push(out, &["</value></field>"]);
}

/// The publication that tells `device`'s service what happened. `waiting` requests for the account's presence wait.
pub(super) fn publication(account: &BareJid, device: &Device, waiting: u64, content: Content, text: &str) -> Stanza {
    let mut out = Vec::with_capacity(1024);
    push(&mut out, &["<pubsub xmlns='", ns::PUBSUB, "'><publish node='"]);
    escape_attr(&mut out, &device.registration.node);
    push(&mut out, &["'><item><notification xmlns='", ns::PUSH, "'><x xmlns='", ns::DATA_FORMS, "' type='submit'>"]);
    field(&mut out, "FORM_TYPE", ns::PUSH_SUMMARY);
    let messages = device.unseen(OccasionKind::Message) + device.unseen(OccasionKind::Call);
    field(&mut out, "message-count", &messages.to_string());
    if waiting > 0 {
        field(&mut out, "pending-subscription-count", &waiting.to_string());
    }
    if messages > 0 {
        let last = device.last();
        if let (Some(last), Content::Sender | Content::Body) = (last, content) {
            field(&mut out, "last-message-sender", &last.from);
        }
        let known = last.and_then(|last| last.text.as_deref()).filter(|_| content == Content::Body);
        let body = known.map_or(text, shortened);
        if !body.is_empty() {
            field(&mut out, "last-message-body", body);
        }
    }
    push(&mut out, &["</x>"]);
    occasions(&mut out, device);
    push(&mut out, &["</notification></item></publish>"]);
    if !device.registration.options.is_empty() {
        push(&mut out, &["<publish-options>"]);
        out.extend_from_slice(&device.registration.options);
        push(&mut out, &["</publish-options>"]);
    }
    push(&mut out, &["</pubsub>"]);
    let iq = Stanza::new(Kind::Iq(IqType::Set)).with_bytes("pubsub", ns::PUBSUB, &out);
    match xmpp::Jid::new(account.domain()) {
        Ok(domain) => iq.from(domain),
        Err(_) => iq,
    }
}

fn shortened(text: &str) -> &str {
    let mut end = TEXT_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// What happened beside messages, for who asked to know: how often, by kind.
fn occasions(out: &mut Vec<u8>, device: &Device) {
    let counted = [OccasionKind::Post, OccasionKind::Mention, OccasionKind::Follow];
    let mut counted = counted.into_iter().map(|kind| (kind, device.unseen(kind))).filter(|(_, count)| *count > 0);
    let Some(first) = counted.next() else { return };
    push(out, &["<occasions xmlns='", OCCASIONS, "'"]);
    for (kind, count) in std::iter::once(first).chain(counted) {
        push(out, &[" ", kind.name(), "='", &count.to_string(), "'"]);
    }
    push(out, &["/>"]);
}

/// What the answer to a publication means; `None` is none in time.
pub(super) fn outcome(answer: Option<&Stanza>) -> Outcome {
    let Some(answer) = answer else { return Outcome::Failed };
    match answer.head.kind {
        Kind::Iq(IqType::Result) => Outcome::Taken,
        _ => answer.error().map_or(Outcome::Refused, |error| of_error(&error)),
    }
}

fn of_error(error: &StanzaError) -> Outcome {
    let may_pass = error.type_ == ErrorType::Wait
        || matches!(
            error.condition,
            Condition::InternalServerError
                | Condition::RemoteServerNotFound
                | Condition::RemoteServerTimeout
                | Condition::ResourceConstraint
                | Condition::ServiceUnavailable
        );
    if may_pass { Outcome::Failed } else { Outcome::Refused }
}
