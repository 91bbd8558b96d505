//! An owner's answer to a subscription request, which comes as a form in a message (XEP-0060 section 8.6).

use std::sync::Arc;

use pubsub::{Caller, Home, Refusal, wire};
use xmpp::stanza::{Kind, MessageType};
use xmpp::{BareJid, Stanza, StanzaError, ns};

use super::serve::Failure;
use super::{Pep, home_of};
use crate::extension::{BoxFuture, Forms};

/// Takes the answers out of the messages to accounts.
pub(super) struct Answers(pub(super) Arc<Pep>);

impl Forms for Answers {
    fn submitted(&self, account: BareJid, stanza: Stanza) -> BoxFuture<Option<Stanza>> {
        let pep = Arc::clone(&self.0);
        Box::pin(async move { pep.answered(&account, stanza).await })
    }
}

impl Pep {
    /// What is no answer, or to an account not one of an owner, is an ordinary message and given back.
    async fn answered(&self, account: &BareJid, stanza: Stanza) -> Option<Stanza> {
        if stanza.head.kind == Kind::Message(MessageType::Error) {
            return Some(stanza);
        }
        let form = stanza.content.child("x", ns::DATA_FORMS).and_then(|child| child.open().ok());
        let Some(sender) = stanza.head.from.clone() else { return Some(stanza) };
        let is_for_us = home_of(account) == Home::Service || sender.to_bare() == *account;
        if is_for_us && form.as_ref().is_some_and(wire::is_cancelled_authorization) {
            // "The subscription request MUST remain in the pending state."
            return None;
        }
        let Some(request) = form.as_ref().and_then(wire::parse_authorization) else { return Some(stanza) };
        match self.do_change(account, &Caller::new(sender), request).await {
            Ok(()) => None,
            Err(Failure::Refused(Refusal::Forbidden | Refusal::ItemNotFound)) if home_of(account) == Home::Account => {
                Some(stanza)
            }
            Err(failure) => {
                if let Some(router) = self.router.upgrade() {
                    router.bounce(&stanza, &StanzaError::from(failure)).await;
                }
                None
            }
        }
    }
}
