//! XEP-0084 and XEP-0153: avatars, and the hash of the current one in the presence of our users (XEP-0398).
//!
//! An avatar is kept once: the image in the node `urn:xmpp:avatar:data`, and what it is in `urn:xmpp:avatar:metadata`.
//! vCards show it from there (`extensions/vcard`). The hash is kept in memory for who is online, so that presence costs
//! a look and, where there is an avatar, a splice.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use pubsub::config::AccessModel;
use sha1::{Digest as _, Sha1};
use store::Fault;
use xmpp::xml::parse_element;
use xmpp::{BareJid, Element, Stanza, ns};

use super::pep::Pep;
use crate::extension::Kit;
use crate::tables::cache::{Cache, Weight};

/// Accounts that are not online and whose hash is kept in memory all the same.
const PORTRAITS_MAX: usize = 20_000;
/// `<info/>` elements that one metadata element may have.
pub const INFOS_MAX: usize = 16;
/// Bytes of a SHA-1 in hexadecimal digits.
const HASH_BYTES: usize = 40;

/// Base64 as people write it: with or without padding at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An image that an account shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Avatar {
    /// The SHA-1 of the image, in lower-case hexadecimal digits; the id of its items.
    pub id: Box<str>,
    /// Its content type, as its owner says.
    pub type_: Box<str>,
    /// The image in base64, without line breaks.
    pub data: String,
}

/// Who may see an avatar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Viewers {
    /// Nobody is told in presence: there is none, or it is for a few.
    #[default]
    None,
    /// Who sees the account's presence.
    Contacts,
    /// The world.
    Everybody,
}

/// What presence says of an avatar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    hash: Box<str>,
    to: Viewers,
}

#[derive(Debug, Default)]
struct Portrait(Mutex<Arc<Shown>>);

impl Weight for Portrait {
    fn weight(&self) -> usize {
        1
    }
}

/// The hash of each account's current avatar.
#[expect(missing_debug_implementations, reason = "nobody prints them")]
pub struct Portraits {
    cache: Cache<Portrait>,
}

impl Portraits {
    /// Nothing known yet.
    #[must_use]
    pub fn new(kit: &Kit) -> Arc<Self> {
        let online = Arc::downgrade(&kit.router);
        let is_online = move |account: &str| online.upgrade().is_some_and(|router| router.sessions.any(account));
        Arc::new(Self { cache: Cache::new(PORTRAITS_MAX, is_online) })
    }

    /// Reads what presence will say of the avatar of `account`.
    pub(super) async fn load(&self, pep: &Pep, account: &BareJid) -> Result<(), Fault> {
        let load = async || Ok(Portrait(Mutex::new(Arc::new(shown(pep, account).await?))));
        self.cache.load(account, load).await.map(drop)
    }

    /// Reads it again because it may have changed; whether it has.
    pub(super) async fn renew(&self, pep: &Pep, account: &BareJid) -> Result<bool, Fault> {
        let now = Arc::new(shown(pep, account).await?);
        let portrait = self.cache.load(account, async || Ok::<_, Fault>(Portrait::default())).await?;
        let mut kept = portrait.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_changed = *kept != now;
        *kept = now;
        Ok(has_changed)
    }

    /// Forgets an account.
    pub(super) fn forget(&self, account: &BareJid) {
        self.cache.forget(account.as_str());
    }

    /// Puts the hash into available presence that one of our users sends (XEP-0398 section "Presence Broadcast");
    /// `is_directed` if it is to somebody who need not be a contact.
    pub fn dress(&self, account: &str, stanza: &mut Stanza, is_directed: bool) {
        let Some(portrait) = self.cache.get(account) else { return };
        let shown = Arc::clone(&portrait.0.lock().unwrap_or_else(PoisonError::into_inner));
        if shown.to == Viewers::Everybody || shown.to == Viewers::Contacts && !is_directed {
            put_hash(stanza, &shown.hash);
        }
    }
}

/// Says `hash` in a presence stanza, unless its sender says that no avatar is to be shown.
fn put_hash(stanza: &mut Stanza, hash: &str) {
    if let Some(update) = stanza.content.child("x", ns::VCARD_UPDATE) {
        let said = update.open().ok();
        if let Some(photo) = said.as_ref().and_then(|said| said.get_child("photo", ns::VCARD_UPDATE)) {
            let text = photo.text();
            if text.trim().is_empty() || text == hash {
                return;
            }
        }
        stanza.content = stanza.content.without(|child| child.is("x", ns::VCARD_UPDATE));
    }
    let photo = if hash.is_empty() { "<photo/>".to_owned() } else { format!("<photo>{hash}</photo>") };
    let bytes = format!("<x xmlns='{}'>{photo}</x>", ns::VCARD_UPDATE);
    stanza.content.push_bytes("x", ns::VCARD_UPDATE, bytes.as_bytes());
}

/// What presence is to say of the avatar of `account`.
async fn shown(pep: &Pep, account: &BareJid) -> Result<Shown, Fault> {
    let hash = match current(pep, account).await? {
        Some(avatar) => avatar.id,
        // Its owner took it away, and those who saw it should know.
        None if has_none(pep, account).await? => Box::default(),
        None => return Ok(Shown::default()),
    };
    let mut to = Viewers::Everybody;
    for node in [ns::AVATAR_DATA, ns::AVATAR_METADATA] {
        to = match (pep.node(account, node).await?.map(|node| node.config.access_model), to) {
            (Some(AccessModel::Open), to) => to,
            (Some(AccessModel::Presence), Viewers::Everybody | Viewers::Contacts) => Viewers::Contacts,
            _ => Viewers::None,
        };
    }
    Ok(Shown { hash, to })
}

/// The avatar that `account` shows, if there is one whose image is kept here.
pub(super) async fn current(pep: &Pep, account: &BareJid) -> Result<Option<Avatar>, Fault> {
    let Some(metadata) = pep.newest_of(account, ns::AVATAR_METADATA, 1).await?.pop() else { return Ok(None) };
    let Ok(metadata) = parse_element(&metadata.payload, "") else { return Ok(None) };
    // The one that is not somewhere else (XEP-0398 section "From PEP to vCard").
    for info in infos(&metadata).filter(|info| info.attr("url").is_none()) {
        let Some(id) = info.attr("id").filter(|id| is_hash(id)) else { continue };
        let Some(item) = pep.item_of(account, ns::AVATAR_DATA, id).await? else { continue };
        let Ok(data) = parse_element(&item.payload, "") else { continue };
        let type_ = info.attr("type").filter(|type_| !type_.is_empty()).unwrap_or("image/png");
        let data = data.text().split_ascii_whitespace().collect();
        return Ok(Some(Avatar { id: id.to_ascii_lowercase().into(), type_: type_.into(), data }));
    }
    Ok(None)
}

/// How many images the metadata names, if there is any: it may be empty (XEP-0084 section 3.3).
async fn count(pep: &Pep, account: &BareJid) -> Result<Option<usize>, Fault> {
    let metadata = pep.newest_of(account, ns::AVATAR_METADATA, 1).await?.pop();
    let metadata = metadata.and_then(|item| parse_element(&item.payload, "").ok());
    Ok(metadata.map(|metadata| infos(&metadata).count()))
}

/// Whether `account` says that it has an avatar.
pub(super) async fn is_shown(pep: &Pep, account: &BareJid) -> Result<bool, Fault> {
    Ok(count(pep, account).await?.is_some_and(|count| count > 0))
}

/// Whether `account` says that it has no avatar.
async fn has_none(pep: &Pep, account: &BareJid) -> Result<bool, Fault> {
    Ok(count(pep, account).await? == Some(0))
}

fn infos(metadata: &Element) -> impl Iterator<Item = &Element> {
    metadata.children().filter(|child| child.is("info", ns::AVATAR_METADATA))
}

fn is_hash(id: &str) -> bool {
    id.len() == HASH_BYTES && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The bytes behind base64 with any white space in it; none if it is no base64.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let text: String = text.split_ascii_whitespace().collect();
    BASE64.decode(text).ok()
}

/// Bytes as base64.
pub(super) fn encode(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

/// The id of an image.
pub(super) fn hash_of(image: &[u8]) -> String {
    Sha1::digest(image).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether an item of the data node is what its id says (XEP-0084 section 3.1): the SHA-1 of the image.
pub(super) fn is_image(id: Option<&str>, data: &[u8]) -> bool {
    let Some(image) = parse_element(data, "").ok().and_then(|data| decode(&data.text())) else { return false };
    !image.is_empty() && id.is_some_and(|id| id.eq_ignore_ascii_case(&hash_of(&image)))
}

/// Whether metadata says what it must (XEP-0084 section 4.2.1): of each image the size, the hash and the type.
pub(super) fn is_metadata(metadata: &[u8]) -> bool {
    let Ok(metadata) = parse_element(metadata, "") else { return false };
    let all: Vec<&Element> = infos(&metadata).collect();
    all.len() <= INFOS_MAX
        && all.iter().all(|info| {
            info.attr("id").is_some_and(is_hash)
                && info.attr("bytes").is_some_and(|bytes| bytes.parse::<u64>().is_ok())
                && info.attr("type").is_some_and(|type_| !type_.is_empty())
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use xmpp::Stanza;
    use xmpp::limits::Limits;

    use super::{decode, encode, hash_of, is_image, is_metadata, put_hash};

    /// The example of XEP-0398: what a client says, and what others hear.
    #[test]
    fn the_hash_is_said_unless_the_client_says_otherwise() {
        let hash = "01b87fcd030b72895ff8e88db57ec525450f000d";
        let own = "<x xmlns='vcard-temp:x:update'><photo>01b87fcd030b72895ff8e88db57ec525450f000d</photo></x>";
        for (said, heard) in [
            ("", own.to_owned()),
            ("<show>away</show>", format!("<show>away</show>{own}")),
            ("<x xmlns='vcard-temp:x:update'/>", own.to_owned()),
            ("<x xmlns='vcard-temp:x:update'><photo>other</photo></x>", own.to_owned()),
            ("<x xmlns='vcard-temp:x:update'><photo/></x>", "<x xmlns='vcard-temp:x:update'><photo/></x>".to_owned()),
            (own, own.to_owned()),
        ] {
            let stanza = format!("<presence from='romeo@montague.lit/orchard'>{said}</presence>");
            let mut stanza = Stanza::parse(stanza.into(), &Limits::server()).unwrap();
            put_hash(&mut stanza, hash);
            assert_eq!(String::from_utf8_lossy(stanza.content.as_bytes()), heard, "{said}");
        }
    }

    #[test]
    fn an_image_is_what_its_id_says() {
        let data = |text: &str| format!("<data xmlns='urn:xmpp:avatar:data'>{text}</data>").into_bytes();
        let hash = hash_of(b"image");
        assert_eq!(hash, "0e76292794888d4f1fa75fb3aff4ca27c58f56a6");
        for (id, text, is_right) in [
            (Some(&*hash), "aW1hZ2U=", true),
            (Some(&*hash), "aW1h\n Z2U", true),
            (Some(&*hash.to_uppercase()), "aW1hZ2U=", true),
            (Some(&*hash), "aW1hZ2V", false),
            (Some(&*hash), "no base64!", false),
            (Some("current"), "aW1hZ2U=", false),
            (None, "aW1hZ2U=", false),
            (Some("da39a3ee5e6b4b0d3255bfef95601890afd80709"), "", false),
        ] {
            assert_eq!(is_image(id, &data(text)), is_right, "{id:?} {text}");
        }
        assert_eq!(decode(&encode(b"any")).unwrap(), b"any");
    }

    #[test]
    fn metadata_says_what_it_must() {
        let metadata = |inside: &str| format!("<metadata xmlns='urn:xmpp:avatar:metadata'>{inside}</metadata>");
        let info = "<info bytes='5' id='0e76292794888d4f1fa75fb3aff4ca27c58f56a6' type='image/png'/>";
        for (inside, is_right) in [
            (String::new(), true),
            (info.to_owned(), true),
            (info.repeat(16), true),
            (info.repeat(17), false),
            (info.replace("0e76", "0z76"), false),
            (info.replace("bytes='5'", ""), false),
            (info.replace("'5'", "'many'"), false),
            (info.replace("image/png", ""), false),
        ] {
            assert_eq!(is_metadata(metadata(&inside).as_bytes()), is_right, "{inside}");
        }
    }
}
