//! XEP-0054: vcard-temp, XEP-0292: vCard4, and the avatars in them (XEP-0084, XEP-0153, XEP-0398).
//!
//! Keeps a vCard for each account and tells it to who may read it; `mirror` keeps it in step with the nodes that say the
//! same, `convert` turns one card into the other.

mod convert;
mod mirror;

use std::sync::Arc;

use xmpp::xml::element_bytes;
use xmpp::{BareJid, Element, StanzaError, ns};

pub use self::mirror::Cards;
use super::avatar::{self, Avatar};
use super::pep::Pep;
use crate::config::Config;
use crate::extension::{Answer, Asked, Extension, Kit, Listener, Mount, Pending, Reply, Spec, To, Xep, fault};
use crate::session::Session;

/// Serves vCards.
pub struct Vcard {
    cards: Arc<Cards>,
    pep: Arc<Pep>,
    bytes_max: usize,
}

static SPEC: Spec = Spec {
    name: "vcard",
    xeps: &[
        Xep::complete(54, "1.3.0"),
        Xep::complete(84, "1.1.4"),
        Xep::complete(153, "1.1.1"),
        Xep::complete(172, "1.1"),
        Xep::partial(292, "0.12.0"),
        Xep::complete(398, "1.0.0"),
    ],
    config: "",
};

impl Vcard {
    /// Serves vCards of at most `limits.vcard_bytes_max` bytes; avatars and vCard4 are in the nodes of `pep`.
    #[must_use]
    pub fn new(_kit: &Kit, cards: &Arc<Cards>, pep: &Arc<Pep>, config: &Config) -> Arc<Self> {
        let (cards, pep) = (Arc::clone(cards), Arc::clone(pep));
        Arc::new(Self { cards, pep, bytes_max: config.limits.vcard_bytes_max })
    }

    async fn get(self: Arc<Self>, asked: Asked) -> Answer {
        let (account, who) = (&asked.to, &asked.caller.jid);
        let is_owner = asked.caller.owns(account);
        // What stands in the vCard4 is for those who may read that.
        let may_read = async |node| -> Result<Option<bool>, StanzaError> {
            if is_owner {
                return Ok(Some(true));
            }
            self.pep.may_read(account, node, who).await.map_err(|error| fault("nodes", &error))
        };
        let card = if may_read(ns::VCARD4_NODE).await?.unwrap_or(true) {
            self.cards.vcards.get(account.as_str()).await.map_err(|error| fault("vCards", &error))?
        } else {
            None
        };
        let shows =
            may_read(ns::AVATAR_METADATA).await? == Some(true) && may_read(ns::AVATAR_DATA).await? == Some(true);
        let avatar = match shows {
            true => avatar::current(&self.pep, account).await.map_err(|error| fault("nodes", &error))?,
            false => None,
        };
        match (card, avatar) {
            (Some(bytes), None) => Ok(Reply::Bytes { name: "vCard", ns: ns::VCARD, bytes }),
            (card, Some(avatar)) => {
                let card = card.and_then(|bytes| xmpp::xml::parse_element(&bytes, "").ok());
                let bytes = element_bytes(&with_photo(card, &avatar));
                Ok(Reply::Bytes { name: "vCard", ns: ns::VCARD, bytes })
            }
            // Both answers are allowed where there is none (section 3.1, example 4); for others it must be the same
            // whether the account exists or not.
            (None, None) if is_owner => Ok(Reply::Element(Element::bare("vCard", ns::VCARD))),
            (None, None) => Err(StanzaError::service_unavailable()),
        }
    }

    async fn set(self: Arc<Self>, asked: Asked) -> Answer {
        // Nobody sets another's (section 3.2, example 8).
        asked.require_owner()?;
        if asked.payload().bytes().len() > self.bytes_max {
            let text = format!("At most {} bytes are kept as a vCard", self.bytes_max);
            return Err(StanzaError::not_acceptable().with_text(text));
        }
        let vcard = asked.open()?;
        let done = self.pep.set_in_step(self.cards.as_ref(), &asked.to, &vcard).await?;
        self.pep.deliver(&asked, xmpp::Stanza::iq_result(&asked.stanza.head, None)).await;
        done.tell().await;
        Ok(Reply::Sent)
    }
}

/// A vCard that shows an avatar, in the place of whatever photo it had.
fn with_photo(card: Option<Element>, avatar: &Avatar) -> Element {
    let mut card = card.unwrap_or_else(|| Element::bare("vCard", ns::VCARD));
    while card.remove_child("PHOTO", ns::VCARD).is_some() {}
    let leaf = |name: &str, text: &str| Element::builder(name, ns::VCARD).append(text).build();
    let photo = Element::builder("PHOTO", ns::VCARD);
    card.append_child(photo.append(leaf("TYPE", &avatar.type_)).append(leaf("BINVAL", &avatar.data)).build());
    card
}

impl Listener for Vcard {
    /// The avatar's hash is at hand before presence comes.
    fn session_bound(&self, session: &Arc<Session>) -> Pending<()> {
        let (cards, pep, account) = (Arc::clone(&self.cards), Arc::clone(&self.pep), session.jid.bare());
        Pending::later(async move {
            if let Err(error) = cards.portraits.load(&pep, &account).await {
                tracing::error!(%account, %error, "an avatar could not be read");
            }
        })
    }

    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        let (cards, account) = (Arc::clone(&self.cards), account.clone());
        Pending::later(async move {
            cards.portraits.forget(&account);
            if let Err(error) = cards.vcards.delete(account.as_str()).await {
                let _told = fault("vCards", &error);
            }
        })
    }
}

impl Extension for Vcard {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_get(To::ACCOUNT, ("vCard", ns::VCARD), &self, Self::get);
        at.iq_set(To::ACCOUNT, ("vCard", ns::VCARD), &self, Self::set);
        at.feature(To::DOMAIN, ns::VCARD);
        at.feature(To::ACCOUNT, ns::VCARD4);
        at.feature(To::ACCOUNT, ns::AVATAR_CONVERSION);
        at.listener(self);
    }
}
