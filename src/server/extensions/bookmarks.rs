//! Bookmarks of rooms: XEP-0402, one item for each in a node, and the same as XEP-0048 has it, in one element in another
//! node and in private XML (XEP-0411).
//!
//! The node of XEP-0402 holds the bookmarks. The other node holds a copy of them, made in the same step as every change;
//! private XML is made when it is asked for. Whichever is written, the bookmarks that differ change, and no others.

use std::sync::Arc;

use pubsub::config::{AccessModel, Bound};
use pubsub::request::{NewItem, NewPayload};
use pubsub::{Item, Refusal, Request};
use store::Fault;
use xmpp::xml::{WithAttribute as _, element_bytes, parse_element};
use xmpp::{BareJid, Element, Jid, ns};

use super::pep::step::{Borrowed, Cause, Following, Mirror, publish, values};
use super::pep::{Failure, Pep};
use crate::extension::Kit;
use crate::tables::elements::PrivateElements;

/// Bookmarks of one account: each change reads them all.
pub const ROOMS_MAX: usize = 1_000;
/// The id of the one item of the node of XEP-0048.
const CURRENT: &str = "current";

/// A bookmark.
#[derive(Clone, Debug, PartialEq)]
struct Room {
    /// The address, prepared.
    jid: Jid,
    name: Option<String>,
    is_joined: bool,
    nick: Option<String>,
    password: Option<String>,
    /// What XEP-0048 knows nothing of.
    extensions: Option<Element>,
}

impl Room {
    /// A `conference` of either form.
    fn read(jid: &str, conference: &Element) -> Option<Self> {
        let text = |name: &str| conference.get_child(name, conference.ns().as_str()).map(Element::text);
        Some(Self {
            jid: Jid::new(jid).ok()?,
            name: conference.attr("name").map(str::to_owned),
            is_joined: matches!(conference.attr("autojoin"), Some("true" | "1")),
            nick: text("nick"),
            password: text("password"),
            extensions: conference.get_child("extensions", ns::BOOKMARKS).cloned(),
        })
    }

    /// As XEP-0048 has it, or as XEP-0402.
    fn write(&self, namespace: &str) -> Element {
        let is_old = namespace == ns::BOOKMARK_STORAGE;
        let mut conference = Element::builder("conference", namespace)
            .attribute("jid", Some(self.jid.as_str()).filter(|_| is_old))
            .attribute("name", self.name.as_deref())
            .attribute("autojoin", Some("true").filter(|_| self.is_joined));
        for (name, text) in [("nick", &self.nick), ("password", &self.password)] {
            if let Some(text) = text {
                conference = conference.append(Element::builder(name, namespace).append(text.as_str()).build());
            }
        }
        if let Some(extensions) = self.extensions.as_ref().filter(|_| !is_old) {
            conference = conference.append(extensions.clone());
        }
        conference.build()
    }

    /// Whether both say the same to a client that knows only XEP-0048.
    fn is_like(&self, other: &Self) -> bool {
        (&self.jid, &self.name, self.is_joined, &self.nick, &self.password)
            == (&other.jid, &other.name, other.is_joined, &other.nick, &other.password)
    }
}

/// A bookmark in its node.
#[derive(Clone, Debug)]
struct Kept {
    id: Box<str>,
    room: Room,
}

impl Kept {
    fn read(item: &Item) -> Option<Self> {
        let conference = parse_element(&item.payload, "").ok()?;
        Some(Self { id: item.id.clone(), room: Room::read(&item.id, &conference)? })
    }
}

/// Keeps bookmarks in step.
#[expect(missing_debug_implementations, reason = "a store has nothing to show")]
pub struct Bookmarks {
    /// What is in an element of XEP-0048 and is no room: bookmarks of web pages, mostly.
    others: PrivateElements,
}

impl Bookmarks {
    /// Bookmarks in the kit's store.
    #[must_use]
    pub fn new(kit: &Kit) -> Arc<Self> {
        Arc::new(Self { others: PrivateElements::new(Arc::clone(&kit.store)) })
    }

    /// Everything as XEP-0048 has it.
    pub(super) async fn storage(&self, pep: &Pep, account: &BareJid) -> Result<Element, Fault> {
        let kept = rooms(pep, account).await?;
        let others = self.others(account).await?;
        Ok(storage(kept.iter().map(|kept| &kept.room), others.iter().flat_map(Element::children)))
    }

    async fn others(&self, account: &BareJid) -> Result<Option<Element>, Fault> {
        let kept = self.others.get(account.as_str(), ns::BOOKMARK_STORAGE, "storage").await?;
        Ok(kept.and_then(|bytes| parse_element(&bytes, "").ok()))
    }

    async fn request_follows(&self, pep: &Pep, account: &BareJid, request: &Request) -> Result<Following, Failure> {
        match request {
            Request::Publish { node, item: Some(NewItem { id, payload }), .. } => {
                // The engine refuses what has no payload, or too much.
                let NewPayload::One { bytes, .. } = payload else { return Ok(Following::default()) };
                let element = parse_element(bytes, "").map_err(|_| Refusal::InvalidPayload)?;
                if **node == *ns::BOOKMARK_STORAGE {
                    return self.storage_is_set(pep, account, &element, false).await;
                }
                let id = id.as_deref().unwrap_or_default();
                let room = Room::read(id, &element).ok_or(Refusal::InvalidPayload)?;
                let mut kept = rooms(pep, account).await?;
                kept.retain(|kept| *kept.id != *id);
                if kept.len() >= ROOMS_MAX {
                    return Err(Refusal::NodeFull.into());
                }
                kept.push(Kept { id: id.into(), room });
                self.copy(pep, account, &kept).await
            }
            Request::Retract { node, id, .. } if **node == *ns::BOOKMARKS => {
                let mut kept = rooms(pep, account).await?;
                kept.retain(|kept| kept.id != *id);
                self.copy(pep, account, &kept).await
            }
            Request::Purge { node } | Request::Delete { node, .. } if **node == *ns::BOOKMARKS => {
                self.copy(pep, account, &[]).await
            }
            // Who takes the copy away, takes away a copy.
            _ => Ok(Following::default()),
        }
    }

    /// The copy that goes with these bookmarks.
    async fn copy(&self, pep: &Pep, account: &BareJid, kept: &[Kept]) -> Result<Following, Failure> {
        let others = self.others(account).await?;
        let storage = storage(kept.iter().map(|kept| &kept.room), others.iter().flat_map(Element::children));
        let mut following = Following::default();
        copy_to(pep, account, &storage, &mut following).await?;
        Ok(following)
    }

    /// All bookmarks are written as XEP-0048 has them; `is_private` if into private XML, not into their node.
    async fn storage_is_set(
        &self,
        pep: &Pep,
        account: &BareJid,
        written: &Element,
        is_private: bool,
    ) -> Result<Following, Failure> {
        let mut following = Following::default();
        let mut wanted: Vec<Room> = Vec::new();
        for conference in written.children().filter(|child| child.is("conference", ns::BOOKMARK_STORAGE)) {
            let room = conference.attr("jid").and_then(|jid| Room::read(jid, conference));
            let room = room.ok_or(Refusal::InvalidPayload)?;
            match wanted.iter_mut().find(|other| other.jid == room.jid) {
                Some(same) => *same = room,
                None => wanted.push(room),
            }
            if wanted.len() > ROOMS_MAX {
                return Err(Refusal::NodeFull.into());
            }
        }
        let kept = rooms(pep, account).await?;
        let mut changes = Vec::new();
        for kept in kept.iter().filter(|kept| !wanted.iter().any(|room| room.jid == kept.room.jid)) {
            changes.push(Request::Retract { node: ns::BOOKMARKS.into(), id: kept.id.clone(), notify: true });
        }
        for mut room in wanted.iter().cloned() {
            let before = kept.iter().find(|kept| kept.room.jid == room.jid);
            if before.is_some_and(|before| before.room.is_like(&room)) {
                continue;
            }
            let id = before.map_or_else(|| room.jid.as_str().into(), |before| before.id.clone());
            room.extensions = before.and_then(|before| before.room.extensions.clone());
            changes.push(publish(ns::BOOKMARKS, &id, &room.write(ns::BOOKMARKS), None));
        }
        if !changes.is_empty() {
            // Several items change at once, and nobody else is to read them (XEP-0411 section 5).
            following.requests.extend(closed(pep, account, ns::BOOKMARKS).await?);
            following.requests.append(&mut changes);
        }
        let others: Vec<Element> =
            written.children().filter(|child| !child.is("conference", ns::BOOKMARK_STORAGE)).cloned().collect();
        let rest = (!others.is_empty()).then(|| element_bytes(&storage(std::iter::empty(), others.iter())));
        let (account_, batch) = (account.as_str(), &mut following.batch);
        self.others.put_in(batch, account_, ns::BOOKMARK_STORAGE, "storage", rest.as_deref());
        if is_private {
            copy_to(pep, account, &storage(wanted.iter(), others.iter()), &mut following).await?;
        }
        Ok(following)
    }
}

/// The bookmarks of an account, in the order in which they were published.
async fn rooms(pep: &Pep, account: &BareJid) -> Result<Vec<Kept>, Fault> {
    let items = pep.newest_of(account, ns::BOOKMARKS, ROOMS_MAX).await?;
    Ok(items.iter().filter_map(|item| Kept::read(item)).collect())
}

/// The element of XEP-0048.
fn storage<'a>(rooms: impl Iterator<Item = &'a Room>, others: impl Iterator<Item = &'a Element>) -> Element {
    let rooms = rooms.map(|room| room.write(ns::BOOKMARK_STORAGE));
    Element::builder("storage", ns::BOOKMARK_STORAGE).append_all(rooms).append_all(others.cloned()).build()
}

/// Publishes the copy, if it is another than there is.
async fn copy_to(pep: &Pep, account: &BareJid, storage: &Element, following: &mut Following) -> Result<(), Fault> {
    let before = pep.newest_of(account, ns::BOOKMARK_STORAGE, 1).await?.pop();
    let is_same = match &before {
        Some(before) => before.payload == element_bytes(storage),
        None => storage.children().next().is_none(),
    };
    if !is_same {
        let id = before.as_ref().map_or(CURRENT, |before| &before.id);
        following.requests.extend(closed(pep, account, ns::BOOKMARK_STORAGE).await?);
        following.requests.push(publish(ns::BOOKMARK_STORAGE, id, storage, None));
    }
    Ok(())
}

/// What closes a node that others may read, or that would not keep what is put there; nothing if it is as it should be.
async fn closed(pep: &Pep, account: &BareJid, name: &str) -> Result<Option<Request>, Fault> {
    let Some(node) = pep.node(account, name).await? else { return Ok(None) };
    let keeps_all = name != ns::BOOKMARKS || node.config.max_items == Bound::Max;
    if node.config.access_model == AccessModel::Whitelist && node.config.persist_items && keeps_all {
        return Ok(None);
    }
    let max_items = if name == ns::BOOKMARKS { "max" } else { "1" };
    let config =
        values(&[("pubsub#access_model", "whitelist"), ("pubsub#persist_items", "1"), ("pubsub#max_items", max_items)]);
    Ok(Some(Request::Configure { node: name.into(), config: Some(config) }))
}

impl Mirror for Bookmarks {
    fn concerns(&self, node: &str) -> bool {
        node == ns::BOOKMARKS || node == ns::BOOKMARK_STORAGE
    }

    fn follow<'a>(
        &'a self,
        pep: &'a Pep,
        account: &'a BareJid,
        cause: Cause<'a>,
    ) -> Borrowed<'a, Result<Following, Failure>> {
        Box::pin(async move {
            match cause {
                Cause::Request(request) => self.request_follows(pep, account, request).await,
                Cause::Element(storage) => self.storage_is_set(pep, account, storage, true).await,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use xmpp::ns;
    use xmpp::xml::{element_bytes, parse_element};

    use super::Room;

    #[test]
    fn a_room_is_written_in_both_forms() {
        let new = "<conference xmlns='urn:xmpp:bookmarks:1' name='The Play' autojoin='1'><nick>JC</nick>\
            <extensions><x xmlns='urn:x'/></extensions></conference>";
        let room = Room::read("Play@Chat.shakespeare.lit", &parse_element(new.as_bytes(), "").unwrap()).unwrap();
        let old = room.write(ns::BOOKMARK_STORAGE);
        let text = |element| String::from_utf8(element_bytes(element).to_vec()).unwrap();
        assert_eq!(
            text(&old),
            "<conference xmlns='storage:bookmarks' autojoin='true' jid='play@chat.shakespeare.lit' name='The Play'>\
             <nick>JC</nick></conference>"
        );
        let back = Room::read(old.attr("jid").unwrap(), &old).unwrap();
        assert!(back.is_like(&room) && back.extensions.is_none());
        let written = new.replace("name='The Play' autojoin='1'", "autojoin='true' name='The Play'");
        assert_eq!(text(&room.write(ns::BOOKMARKS)), written);
    }

    #[test]
    fn what_has_no_address_is_no_room() {
        let room = parse_element(b"<conference xmlns='urn:xmpp:bookmarks:1'/>", "").unwrap();
        for jid in ["", "@", "a@b@c", "a b@c"] {
            assert!(Room::read(jid, &room).is_none(), "{jid}");
        }
    }
}
