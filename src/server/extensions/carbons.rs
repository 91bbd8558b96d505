//! XEP-0280: Message Carbons: who wants copies. Which messages are copied, and how, is in `messages/copies.rs`.

use std::sync::Arc;

use bytes::Bytes;
use xmpp::{Element, StanzaError, ns};

use crate::extension::{Answer, Asked, Bind2, Extension, Mount, Pending, Reply, Spec, To, Xep};
use crate::session::Session;

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

impl Bind2 for Carbons {
    fn bound(&self, session: &Arc<Session>, wish: Option<&Element>) -> Pending<Option<Bytes>> {
        if wish.is_some_and(|wish| wish.name() == "enable") {
            session.state().wants_carbons = true;
        }
        // XEP-0386: it cannot fail, so nothing need be said.
        Pending::now(None)
    }
}

impl Extension for Carbons {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_set(To::ACCOUNT, ("enable", ns::CARBONS), &self, Self::enable);
        at.iq_set(To::ACCOUNT, ("disable", ns::CARBONS), &self, Self::disable);
        at.bind2(ns::CARBONS, true, Arc::<Self>::clone(&self));
        // Clients look for it at the domain.
        at.feature(To::DOMAIN, ns::CARBONS);
        at.feature(To::DOMAIN | To::ACCOUNT, ns::CARBONS_RULES);
    }
}
