//! How one looks, kept in step: the vcard-temp (XEP-0054), the vCard4 in its node (XEP-0292), and the avatar in its nodes
//! (XEP-0084), which the vcard-temp shows as its photo (XEP-0153, XEP-0398).
//!
//! Each of them is kept once. A vcard-temp is kept without its photo; setting one publishes the vCard4 that says the
//! same, and the photo as avatar. Publishing a vCard4 changes the fields of the vcard-temp that both know.

use std::sync::Arc;

use pubsub::request::{NewItem, NewPayload, Values};
use pubsub::{Refusal, Request};
use store::Fault;
use xmpp::xml::{WithAttribute as _, element_bytes, parse_element};
use xmpp::{BareJid, Element, ns};

use super::convert::{to_temp, to_vcard4};
use crate::extension::{BoxFuture, Kit};
use crate::extensions::avatar::{self, Portraits};
use crate::extensions::pep::step::{Borrowed, Cause, Following, Mirror, publish, values};
use crate::extensions::pep::{Failure, Pep};
use crate::extensions::presence::Presence;
use crate::tables::elements::Vcards;

/// The id of the items we publish where there is only ever one.
const CURRENT: &str = "current";

/// Keeps vCards and avatars in step.
pub struct Cards {
    pub(super) vcards: Vcards,
    pub(super) portraits: Arc<Portraits>,
    presence: Arc<Presence>,
}

impl Cards {
    /// The cards in the kit's store. `presence` says it again when the avatar of somebody who is online changes.
    #[must_use]
    pub fn new(kit: &Kit, portraits: &Arc<Portraits>, presence: &Arc<Presence>) -> Arc<Self> {
        let vcards = Vcards::new(Arc::clone(&kit.store));
        Arc::new(Self { vcards, portraits: Arc::clone(portraits), presence: Arc::clone(presence) })
    }

    /// The vcard-temp as it is kept.
    pub(super) async fn kept(&self, account: &BareJid) -> Result<Option<Element>, Fault> {
        let kept = self.vcards.get(account.as_str()).await?;
        Ok(kept.and_then(|bytes| parse_element(&bytes, "").ok()))
    }

    /// A vCard4 is published, or taken away.
    async fn card_changes(&self, account: &BareJid, card: Option<&Element>) -> Result<Following, Failure> {
        let mut following = Following::default();
        let temp = to_temp(card, self.kept(account).await?.as_ref());
        if temp.children().next().is_none() {
            self.vcards.remove_in(&mut following.batch, account.as_str());
        } else {
            self.vcards.put_in(&mut following.batch, account.as_str(), &element_bytes(&temp));
        }
        Ok(following)
    }

    /// A vcard-temp is set: its owner says all that it is to say.
    async fn temp_is_set(&self, pep: &Pep, account: &BareJid, temp: &Element) -> Result<Following, Failure> {
        let mut following = Following::default();
        let mut kept = temp.clone();
        match photo(temp)? {
            Photo::Image { type_, image } => {
                while kept.remove_child("PHOTO", ns::VCARD).is_some() {}
                let id = avatar::hash_of(&image);
                let is_same = avatar::current(pep, account).await?.is_some_and(|now| *now.id == *id);
                if !is_same {
                    let data = Element::builder("data", ns::AVATAR_DATA).append(avatar::encode(&image)).build();
                    let info = Element::builder("info", ns::AVATAR_METADATA)
                        .attribute("bytes", &*image.len().to_string())
                        .attribute("id", &*id)
                        .attribute("type", &*type_)
                        .build();
                    let metadata = Element::builder("metadata", ns::AVATAR_METADATA).append(info).build();
                    for (node, element) in [(ns::AVATAR_DATA, data), (ns::AVATAR_METADATA, metadata)] {
                        let options = open_if_new(pep, account, node).await?;
                        following.requests.push(publish(node, &id, &element, options));
                    }
                }
            }
            Photo::None if avatar::is_shown(pep, account).await? => {
                while kept.remove_child("PHOTO", ns::VCARD).is_some() {}
                let nothing = Element::bare("metadata", ns::AVATAR_METADATA);
                following.requests.push(publish(ns::AVATAR_METADATA, CURRENT, &nothing, None));
            }
            // What is somewhere else stays in the vCard.
            Photo::None | Photo::Elsewhere => {}
        }
        let before = pep.newest_of(account, ns::VCARD4_NODE, 1).await?.pop();
        let card_before = before.as_ref().and_then(|item| parse_element(&item.payload, "").ok());
        let card = to_vcard4(&kept, card_before.as_ref());
        let says_something = card.children().next().is_some() || card_before.is_some();
        if says_something && before.as_ref().is_none_or(|item| item.payload != element_bytes(&card)) {
            let id = before.as_ref().map_or(CURRENT, |item| &item.id);
            let options = open_if_new(pep, account, ns::VCARD4_NODE).await?;
            following.requests.push(publish(ns::VCARD4_NODE, id, &card, options));
        }
        self.vcards.put_in(&mut following.batch, account.as_str(), &element_bytes(&kept));
        Ok(following)
    }

    async fn request_follows(&self, account: &BareJid, request: &Request) -> Result<Following, Failure> {
        match request {
            Request::Publish { node, item: Some(item), .. } => {
                let (id, bytes) = match item {
                    NewItem { id, payload: NewPayload::One { bytes, .. } } => (id.as_deref(), bytes),
                    // The engine refuses what has no payload, or too much.
                    NewItem { .. } => return Ok(Following::default()),
                };
                match &**node {
                    ns::AVATAR_DATA if !avatar::is_image(id, bytes) => Err(Refusal::InvalidPayload.into()),
                    ns::AVATAR_METADATA if !avatar::is_metadata(bytes) => Err(Refusal::InvalidPayload.into()),
                    ns::VCARD4_NODE => {
                        let card = parse_element(bytes, "").map_err(|_| Refusal::InvalidPayload)?;
                        self.card_changes(account, Some(&card)).await
                    }
                    _ => Ok(Following::default()),
                }
            }
            Request::Retract { node, .. } | Request::Purge { node } | Request::Delete { node, .. }
                if **node == *ns::VCARD4_NODE =>
            {
                self.card_changes(account, None).await
            }
            _ => Ok(Following::default()),
        }
    }
}

/// vCards are read by everybody, so a node that is made for one is open; one that is there stays as its owner wants it.
async fn open_if_new(pep: &Pep, account: &BareJid, node: &str) -> Result<Option<Values>, Fault> {
    let is_new = pep.node(account, node).await?.is_none();
    Ok(is_new.then(|| values(&[("pubsub#access_model", "open")])))
}

/// The photo in a vcard-temp.
enum Photo {
    None,
    /// `EXTVAL`.
    Elsewhere,
    Image {
        type_: String,
        image: Vec<u8>,
    },
}

/// The first photo. One that cannot be read is refused: what is shown instead would be nobody's wish.
fn photo(temp: &Element) -> Result<Photo, Refusal> {
    let Some(photo) = temp.get_child("PHOTO", ns::VCARD) else { return Ok(Photo::None) };
    let text = photo.get_child("BINVAL", ns::VCARD).map(Element::text).unwrap_or_default();
    if text.trim().is_empty() {
        return Ok(if photo.has_child("EXTVAL", ns::VCARD) { Photo::Elsewhere } else { Photo::None });
    }
    let image = avatar::decode(&text).filter(|image| !image.is_empty()).ok_or(Refusal::InvalidPayload)?;
    let said = photo.get_child("TYPE", ns::VCARD).map(|type_| type_.text().trim().to_owned());
    let type_ = said.filter(|type_| !type_.is_empty()).unwrap_or_else(|| kind_of(&image).to_owned());
    Ok(Photo::Image { type_, image })
}

/// The content type of an image whose owner does not say.
fn kind_of(image: &[u8]) -> &'static str {
    match image {
        [0xff, 0xd8, ..] => "image/jpeg",
        [b'G', b'I', b'F', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        _ => "image/png",
    }
}

impl Mirror for Cards {
    fn concerns(&self, node: &str) -> bool {
        [ns::AVATAR_DATA, ns::AVATAR_METADATA, ns::VCARD4_NODE].contains(&node)
    }

    fn follow<'a>(
        &'a self,
        pep: &'a Pep,
        account: &'a BareJid,
        cause: Cause<'a>,
    ) -> Borrowed<'a, Result<Following, Failure>> {
        Box::pin(async move {
            match cause {
                Cause::Request(request) => self.request_follows(account, request).await,
                Cause::Element(temp) => self.temp_is_set(pep, account, temp).await,
            }
        })
    }

    fn settled<'a>(&'a self, pep: &'a Pep, account: &'a BareJid) -> Borrowed<'a, Option<BoxFuture<()>>> {
        Box::pin(async move {
            if !self.presence.is_online(account) {
                self.portraits.forget(account);
                return None;
            }
            match self.portraits.renew(pep, account).await {
                Ok(true) => {
                    let (presence, account) = (Arc::clone(&self.presence), account.clone());
                    Some(Box::pin(async move { presence.say_again(&account).await }) as BoxFuture<()>)
                }
                Ok(false) => None,
                Err(error) => {
                    tracing::error!(%account, %error, "an avatar could not be read");
                    None
                }
            }
        })
    }
}
