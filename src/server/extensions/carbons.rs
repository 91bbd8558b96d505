//! XEP-0280: Message Carbons: who wants copies. Which messages are copied, and how, is in `messages/copies.rs`.

use std::sync::Arc;

use xmpp::{StanzaError, ns};

use crate::extension::{Answer, Asked, Extension, Mount, Reply, Spec, To, Xep};

/// Turns copies on and off for a session.
#[derive(Debug)]
pub struct Carbons;

static SPEC: Spec = Spec { name: "carbons", xeps: &[Xep::complete(280, "1.0.1")], config: "" };

impl Carbons {
    async fn enable(self: Arc<Self>, asked: Asked) -> Answer {
        Self::set(&asked, true)
    }

    async fn disable(self: Arc<Self>, asked: Asked) -> Answer {
        Self::set(&asked, false)
    }

    fn set(asked: &Asked, wants_carbons: bool) -> Answer {
        // Sections 4.1 and 5.1: who has no session here can't have copies.
        let session = asked.caller.session.as_ref().filter(|_| asked.caller.owns(&asked.to));
        session.ok_or_else(StanzaError::not_allowed)?.state().wants_carbons = wants_carbons;
        Ok(Reply::Empty)
    }
}

impl Extension for Carbons {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_set(To::ACCOUNT, ("enable", ns::CARBONS), &self, Self::enable);
        at.iq_set(To::ACCOUNT, ("disable", ns::CARBONS), &self, Self::disable);
        // Clients look for it at the domain.
        at.feature(To::DOMAIN, ns::CARBONS);
        at.feature(To::DOMAIN | To::ACCOUNT, ns::CARBONS_RULES);
    }
}
