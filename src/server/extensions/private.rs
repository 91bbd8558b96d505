//! XEP-0049: Private XML Storage.
//!
//! Keeps elements for their owner, unopened, one under each name and namespace. Bookmarks are not kept here but in nodes,
//! and only shown here (`extensions/bookmarks`).

use std::sync::Arc;

use xmpp::{BareJid, Element, StanzaError, ns};

use super::bookmarks::Bookmarks;
use super::pep::Pep;
use crate::config::Config;
use crate::extension::{Answer, Asked, Extension, Kit, Listener, Mount, Pending, Reply, Spec, To, Xep, fault};
use crate::tables::elements::PrivateElements;
use crate::tables::turns::Turns;

/// Keeps private XML.
pub struct Private {
    elements: PrivateElements,
    bytes_max: usize,
    bookmarks: Arc<Bookmarks>,
    pep: Arc<Pep>,
    /// One account's storage is measured and written in its turn, so that the bound cannot be raced past.
    turns: Turns,
}

static SPEC: Spec = Spec {
    name: "private",
    xeps: &[
        Xep::complete(48, "1.2"),
        Xep::complete(49, "1.2"),
        Xep::complete(402, "1.2.0"),
        Xep::complete(411, "1.1.0"),
    ],
    config: "",
};

impl Private {
    /// Keeps at most `limits.private_bytes_max` bytes for an account; `bookmarks` are in nodes of `pep`.
    #[must_use]
    pub fn new(kit: &Kit, config: &Config, bookmarks: &Arc<Bookmarks>, pep: &Arc<Pep>) -> Arc<Self> {
        Arc::new(Self {
            elements: PrivateElements::new(Arc::clone(&kit.store)),
            bytes_max: config.limits.private_bytes_max,
            bookmarks: Arc::clone(bookmarks),
            pep: Arc::clone(pep),
            turns: Turns::default(),
        })
    }

    async fn get(self: Arc<Self>, asked: Asked) -> Answer {
        asked.require_owner()?;
        let query = asked.open()?;
        let wanted = only_child(&query)?;
        let element = if wanted.is("storage", ns::BOOKMARK_STORAGE) {
            let storage = self.bookmarks.storage(&self.pep, &asked.to).await;
            xmpp::xml::element_bytes(&storage.map_err(|error| fault("bookmarks", &error))?)
        } else {
            let kept = self.elements.get(asked.to.as_str(), &wanted.ns(), wanted.name()).await;
            match kept.map_err(|error| fault("private storage", &error))? {
                Some(bytes) => bytes,
                // What was never set is answered as it was asked (section 2, example 5).
                None => xmpp::xml::element_bytes(&Element::builder(wanted.name(), wanted.ns()).build()),
            }
        };
        let mut bytes = format!("<query xmlns='{}'>", ns::PRIVATE).into_bytes();
        bytes.extend_from_slice(&element);
        bytes.extend_from_slice(b"</query>");
        Ok(Reply::Bytes { name: "query", ns: ns::PRIVATE, bytes: bytes.into() })
    }

    async fn set(self: Arc<Self>, asked: Asked) -> Answer {
        asked.require_owner()?;
        let query = asked.open()?;
        let account = asked.to.as_str();
        if query.children().next().is_none() {
            return Err(StanzaError::bad_request());
        }
        let is_bookmarks = |element: &&Element| element.is("storage", ns::BOOKMARK_STORAGE);
        self.keep(account, query.children().filter(|element| !is_bookmarks(element))).await?;
        let Some(storage) = query.children().find(is_bookmarks) else { return Ok(Reply::Empty) };
        let done = self.pep.set_in_step(self.bookmarks.as_ref(), &asked.to, storage).await?;
        self.pep.deliver(&asked, xmpp::Stanza::iq_result(&asked.stanza.head, None)).await;
        done.tell().await;
        Ok(Reply::Sent)
    }

    async fn keep(&self, account: &str, elements: impl Iterator<Item = &Element>) -> Result<(), StanzaError> {
        let _turn = self.turns.of(account).await;
        for element in elements {
            let (name, namespace) = (element.name(), element.ns());
            // Elements in the namespaces of streams and of this protocol itself cannot be kept (section 4).
            if namespace.is_empty() || [ns::CLIENT, ns::SERVER, ns::PRIVATE].contains(&&*namespace) {
                return Err(StanzaError::not_acceptable());
            }
            let bytes = xmpp::xml::element_bytes(element);
            let beside = self.elements.bytes_beside(account, &namespace, name).await;
            if beside.map_err(|error| fault("private storage", &error))? + bytes.len() > self.bytes_max {
                let text = format!("At most {} bytes are kept for an account", self.bytes_max);
                return Err(StanzaError::resource_constraint().with_text(text));
            }
            self.elements
                .put(account, &namespace, name, &bytes)
                .await
                .map_err(|error| fault("private storage", &error))?;
        }
        Ok(())
    }
}

fn only_child(query: &Element) -> Result<&Element, StanzaError> {
    let mut children = query.children();
    match (children.next(), children.next()) {
        (Some(child), None) => Ok(child),
        _ => Err(StanzaError::bad_request()),
    }
}

impl Listener for Private {
    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        let (elements, account) = (self.elements.clone(), account.clone());
        Pending::later(async move {
            if let Err(error) = elements.delete(account.as_str()).await {
                let _told = fault("private storage", &error);
            }
        })
    }
}

impl Extension for Private {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_get(To::ACCOUNT, ("query", ns::PRIVATE), &self, Self::get);
        at.iq_set(To::ACCOUNT, ("query", ns::PRIVATE), &self, Self::set);
        // Clients look for it at the domain as well.
        at.feature(To::DOMAIN, ns::PRIVATE);
        at.feature(To::ACCOUNT, ns::BOOKMARKS_CONVERSION);
        at.feature(To::ACCOUNT, ns::BOOKMARKS_COMPAT);
        at.feature(To::ACCOUNT, ns::BOOKMARKS_COMPAT_PEP);
        at.listener(self);
    }
}
