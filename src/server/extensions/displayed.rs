//! XEP-0490: Message Displayed Synchronization: how far its chats have been read, for all devices of an account.
//!
//! The states are items of a node of the account's own. Clients publish them as any others, or beside a displayed
//! marker (XEP-0333) in a message: then that part is taken out of the message and published here.

use std::sync::Arc;

use xmpp::stanza::Child;
use xmpp::{BareJid, Jid, ns};

use super::pep::Pep;
use super::pep::step::{publish, values};
use crate::extension::{Extension, Listener, Mount, Pending, Spec, To, Xep};
use crate::session::Session;

const SERVER_ASSIST: &str = "urn:xmpp:mds:server-assist:0";
/// What the node is made with (section 4.1): its owner's alone, and an item for each chat.
const OPTIONS: [(&str, &str); 4] = [
    ("pubsub#persist_items", "true"),
    ("pubsub#max_items", "max"),
    ("pubsub#send_last_published_item", "never"),
    ("pubsub#access_model", "whitelist"),
];

static SPEC: Spec = Spec { name: "displayed", xeps: &[Xep::complete(490, "1.0.1")], config: "" };

/// Publishes what clients say beside their markers.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Displayed {
    pep: Arc<Pep>,
}

impl Displayed {
    /// Publishes by `pep`.
    #[must_use]
    pub fn new(pep: &Arc<Pep>) -> Arc<Self> {
        Arc::new(Self { pep: Arc::clone(pep) })
    }

    async fn publish(&self, account: &BareJid, publisher: &Jid, chat: &str, payload: &xmpp::Element) {
        let with = |options| publish(ns::DISPLAYED, chat, payload, options);
        if self.pep.publish_own(account, publisher, with(Some(values(&OPTIONS)))).await.is_ok() {
            return;
        }
        // The owner made the node otherwise: then so be it.
        if self.pep.publish_own(account, publisher, with(None)).await.is_err() {
            tracing::debug!(%account, "what was displayed could not be published");
        }
    }
}

/// What [`Displayed`] hears of.
struct Ears(Arc<Displayed>);

impl Listener for Ears {
    fn displayed(&self, session: &Arc<Session>, chat: &Jid, displayed: &Child) -> Pending<()> {
        let Ok(payload) = displayed.open() else { return Pending::now(()) };
        let (extension, session, chat) = (Arc::clone(&self.0), Arc::clone(session), chat.clone());
        Pending::later(async move {
            let publisher = session.jid.clone().into();
            extension.publish(&session.jid.bare(), &publisher, chat.as_str(), &payload).await;
        })
    }
}

impl Extension for Displayed {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.feature(To::ACCOUNT, SERVER_ASSIST);
        at.listener(Arc::new(Ears(self)));
    }
}
