//! XEP-0199: XMPP Ping.
//!
//! Answers pings to the domain and to accounts. Pinging silent clients is the house's own tidying.

use std::sync::Arc;

use xmpp::{StanzaError, ns};

use crate::extension::{Answer, Asked, Extension, Mount, Reply, Spec, To, Xep};

/// Answers pings.
#[derive(Debug)]
pub struct Ping;

static SPEC: Spec = Spec { name: "ping", xeps: &[Xep::complete(199, "2.0.1")], config: "" };

impl Extension for Ping {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_get(To::DOMAIN | To::SERVICE, ("ping", ns::PING), &self, |_, _| async { Ok(Reply::Empty) });
        at.iq_get(To::ACCOUNT, ("ping", ns::PING), &self, Self::account);
    }
}

impl Ping {
    /// Of an account only its owner gets an answer: for others it must not tell whether the account exists.
    async fn account(self: Arc<Self>, asked: Asked) -> Answer {
        if asked.caller.owns(&asked.to) { Ok(Reply::Empty) } else { Err(StanzaError::service_unavailable()) }
    }
}
