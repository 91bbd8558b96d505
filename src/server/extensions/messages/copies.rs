//! XEP-0280: Message Carbons: which messages are copied to an account's other resources, and how.
//!
//! The rules are those of section 6.1 (`urn:xmpp:carbons:rules:0`). Copies go to available resources only: one that is
//! connected and not available yet gets what came meanwhile from the archive or the offline messages, and not twice.

use std::sync::Arc;

use bytes::Bytes;
use xmpp::stanza::{Child, Head, Kind, MessageType};
use xmpp::{Jid, Stanza, ns};

use super::Present;
use crate::extensions::archive::{splice, worth};
use crate::router::Router;
use crate::session::Session;
use crate::session::mailbox::Frame;

/// Whether the other resources of the sender get a copy of `stanza`.
pub(super) fn of_sent(sender: &Session, stanza: &Stanza) -> bool {
    let Some(to) = &stanza.head.to else { return false };
    // What an account says to itself it hears.
    to.as_bare_str() != sender.jid.as_bare_str()
        && !is_private(stanza)
        && (is_eligible(stanza) || answers_copied(sender, &stanza.head, to))
}

/// Whether the other resources of the recipient get a copy of `stanza`; `named` is the one it is addressed to.
pub(super) fn of_received(named: Option<&Session>, stanza: &Stanza) -> bool {
    if is_private(stanza) {
        return false;
    }
    if !is_eligible(stanza) {
        return matches!((named, &stanza.head.from), (Some(named), Some(from)) if answers_copied(named, &stanza.head, from));
    }
    // A room's occupant speaks to each of our resources that joined.
    let is_from_full = stanza.head.from.as_ref().is_some_and(Jid::is_full);
    let is_from_room = |child: &Child| child.is("x", ns::MUC_USER) && !worth::is_invitation(child);
    !(is_from_full && stanza.content.children().any(is_from_room))
}

/// Whether it is an error about a message between `session` and `other` that was copied.
fn answers_copied(session: &Session, head: &Head, other: &Jid) -> bool {
    match (head.kind, &head.id) {
        (Kind::Message(MessageType::Error), Some(id)) => {
            session.state().copied.as_ref().is_some_and(|copied| copied.has(other, id))
        }
        _ => false,
    }
}

fn is_private(stanza: &Stanza) -> bool {
    stanza.content.has("private", ns::CARBONS) || stanza.content.has("no-copy", ns::HINTS)
}

fn is_eligible(stanza: &Stanza) -> bool {
    let of_instant_messaging = |child: &Child| match (child.name(), child.ns()) {
        (_, ns::RECEIPTS | ns::CHAT_STATES | ns::MARKERS) => true,
        ("x", ns::DIRECT_INVITATION) => true,
        ("x", ns::MUC_USER) => worth::is_invitation(child),
        _ => false,
    };
    match stanza.head.kind {
        Kind::Message(MessageType::Chat) => true,
        Kind::Message(MessageType::Normal) => {
            stanza.content.has("body", ns::CLIENT) || stanza.content.children().any(of_instant_messaging)
        }
        Kind::Message(MessageType::Headline) => stanza.content.children().any(of_instant_messaging),
        _ => false,
    }
}

/// Tells the other resources of `sender`'s account what it said.
pub(super) fn tell_senders(router: &Router, sender: &Session, head: &Head, render: &mut dyn FnMut() -> Bytes) {
    let mut others: Vec<Arc<Session>> = Vec::new();
    router.sessions.for_each_of(sender.jid.as_bare_str(), |session| {
        if session.jid != sender.jid && wants_copies(session) {
            others.push(Arc::clone(session));
        }
    });
    if tell(others.iter(), sender.jid.as_bare_str(), head, "sent", render) {
        remember(sender, head, head.to.as_ref());
    }
}

/// Tells the resources that are present and did not take a message what it says.
pub(super) fn tell_recipients(
    present: &Present,
    taken: &[&Arc<Session>],
    sender: Option<&Session>,
    head: &Head,
    render: &mut dyn FnMut() -> Bytes,
) {
    let Some(to) = &head.to else { return };
    let is_other = |session: &Arc<Session>| {
        !taken.iter().any(|taken| Arc::ptr_eq(taken, session)) && sender.is_none_or(|sender| sender.jid != session.jid)
    };
    let others = present.available.iter().filter(|resource| resource.wants_carbons);
    let others = others.map(|resource| &resource.session).filter(|session| is_other(session));
    if tell(others, to.as_bare_str(), head, "received", render) {
        for session in taken {
            remember(session, head, head.from.as_ref());
        }
    }
}

fn remember(session: &Session, head: &Head, other: Option<&Jid>) {
    if let (Some(other), Some(id), false) = (other, &head.id, head.kind.is_error()) {
        session.state().copied.get_or_insert_default().remember(other, id);
    }
}

fn wants_copies(session: &Session) -> bool {
    let state = session.state();
    state.wants_carbons && state.available.is_some()
}

/// Whether there was anybody to tell.
fn tell<'a>(
    others: impl Iterator<Item = &'a Arc<Session>>,
    account: &str,
    head: &Head,
    direction: &str,
    render: &mut dyn FnMut() -> Bytes,
) -> bool {
    let mut shared: Option<Bytes> = None;
    for other in others {
        let after = shared.get_or_insert_with(|| splice::carbon(account, head.kind.type_str(), direction, &render()));
        let frame = Frame::Addressed { before: "<message to='", to: other.jid.clone().into(), after: after.clone() };
        other.mailbox.push(frame);
    }
    shared.is_some()
}
