//! XEP-0033: Extended Stanza Addressing, the receiving half: one stanza of another server for many users here.
//!
//! Such a stanza is addressed to the domain and names its recipients. It is passed on to those of them who live here,
//! as if it had come to each alone: the same guards and rules apply, and errors go to its sender, whose address is not
//! changed. Nothing is sent to other servers, and our own users are not served: nobody can have the server multiply
//! what it sends. What leaves for many is put together in `router/bundle.rs`.

mod expansion;

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::Poll;

use serde::Deserialize;
use xmpp::form::{Field, FieldType, Form, FormType};
use xmpp::stanza::{Kind, MessageType, PresenceType};
use xmpp::{Jid, Stanza, StanzaError, ns};

use self::expansion::Expansion;
use crate::extension::{BoxFuture, Caller, Extension, Kit, Mount, Spec, To, Xep};
use crate::router::Router;
use crate::router::bundle::{ADDRESSES_MAX, MULTICAST_FORM, SPREAD_BYTES_MAX};

/// Recipients served side by side, so that those whose messages are stored wait for the disk together.
const RECIPIENTS_PER_TURN: usize = 64;

type Serving<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Addresses in one stanza; 0 switches the service off.
    pub addresses_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { addresses_max: 250 }
    }
}

/// Passes on what is meant for many.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Multicast {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    addresses_max: usize,
}

static SPEC: Spec = Spec {
    name: "multicast",
    xeps: &[Xep::partial(33, "1.2.1")],
    config: "[multicast]\n\
        # Addresses that other servers may put into one stanza (XEP-0033). More are refused with not-acceptable; 0\n\
        # switches this off, and every user gets a stanza of their own.\n\
        addresses_max = 250\n",
};

impl Multicast {
    /// Passes on to the users of the kit's router.
    #[must_use]
    pub fn new(kit: &Kit, settings: Settings) -> Arc<Self> {
        Arc::new(Self { router: Arc::downgrade(&kit.router), addresses_max: settings.addresses_max })
    }

    async fn pass_on(&self, router: &Router, stanza: Stanza) -> Result<(), StanzaError> {
        let Some(from) = stanza.head.from.clone() else { return Ok(()) };
        let is_stored = match stanza.head.kind {
            Kind::Message(MessageType::Normal | MessageType::Chat) => true,
            Kind::Message(MessageType::Headline)
            | Kind::Presence(PresenceType::Available | PresenceType::Unavailable) => false,
            // Errors are for one, rooms speak for themselves, and requests are made one by one.
            _ => return Err(StanzaError::bad_request().with_text("a stanza of this type is not for many")),
        };
        if router.serves(from.domain()) {
            return Err(StanzaError::forbidden().with_text("only other servers are served"));
        }
        let is_ours = |jid: &Jid| jid.localpart().is_some() && router.serves(jid.domain());
        let Expansion { recipients, content } = expansion::expand(&stanza.content, is_ours, self.addresses_max)?;
        if is_stored && recipients.len().saturating_mul(content.as_bytes().len()) > SPREAD_BYTES_MAX {
            return Err(StanzaError::not_acceptable().with_text("too much for so many: send it to fewer at a time"));
        }
        for turn in recipients.chunks(RECIPIENTS_PER_TURN) {
            let serving = turn.iter().map(|to| -> Serving<'_> {
                let one = Stanza { head: stanza.head.clone().to(to.clone()), content: content.clone() };
                match one.head.kind {
                    Kind::Presence(_) => Box::pin(router.presence_to(one)),
                    _ => Box::pin(router.route(Caller { jid: from.clone(), session: None }, one)),
                }
            });
            all(serving.collect()).await;
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// Waits for all of them, and begins them in their order.
async fn all(mut serving: Vec<Serving<'_>>) {
    std::future::poll_fn(|cx| {
        serving.retain_mut(|one| one.as_mut().poll(cx).is_pending());
        if serving.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

impl crate::extension::Multicast for Multicast {
    fn spread(&self, stanza: Stanza) -> BoxFuture<()> {
        let multicast = self.clone();
        Box::pin(async move {
            let Some(router) = multicast.router.upgrade() else { return };
            let mut head = Stanza::new(stanza.head.kind);
            head.head = stanza.head.clone();
            if let Err(error) = multicast.pass_on(&router, stanza).await {
                router.bounce(&head, &error).await;
            }
        })
    }
}

impl Extension for Multicast {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        if self.addresses_max == 0 {
            return;
        }
        at.feature(To::DOMAIN, ns::ADDRESS);
        let max = self.addresses_max;
        at.domain_form(Arc::new(move || {
            let field = Field::new(ADDRESSES_MAX, FieldType::TextSingle).value(max.to_string());
            Form::typed(FormType::Result, MULTICAST_FORM).with(field).to_element()
        }));
        at.multicast(self);
    }
}

#[cfg(test)]
mod tests;
