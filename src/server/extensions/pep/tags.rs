//! Hashtags: open posts of accounts here are listed under their categories, as copies in the nodes `tag/WORD` of the
//! account's `pubsub.HOST`. `xeps/chirrup-tags.md` is the protocol.
//!
//! What is listed follows from the post as it is: [`Pep::retag`] looks at it and makes the lists agree, after every change
//! of a node, and for all that is listed once in a while ([`Pep::tend_tags`]); so a crash in between, or a post that went
//! by the clock, leaves nothing behind for long.

use pubsub::config::Bound;
use pubsub::decide::{drop_kept, enlist, forget};
use pubsub::model::{ItemHead, NodeName};
use pubsub::profile::microblog::{is_comments, is_feed};
use pubsub::profile::social::{categories, has_categories};
use pubsub::profile::tags::{self, TAG_BYTES_MAX, is_tag};
use pubsub::profile::uri::Place;
use pubsub::request::{NewItem, NewPayload};
use pubsub::{Caller, Change, Decision, Item, Refusal, Reply, Request};
use sha1::{Digest as _, Sha1};
use store::{Batch, CommitError, Fault};
use unicode_normalization::UnicodeNormalization as _;
use xmpp::{BareJid, ns};

use super::Pep;
use super::ensemble::{Ensemble, lock};
use super::serve::{ATTEMPTS, Failure, broken, published};
use crate::tables::tagged::{Tagged, Tags};

/// Posts of one account that are listed; the oldest make room.
const POSTS_MAX: usize = 500;
/// Posts of one account under one tag; further ones are listed under their others.
const POSTS_PER_TAG_MAX: usize = 50;
/// Tags of one post.
const TAGS_MAX: usize = 10;
/// Posts looked at once a minute, to find what is listed and should not be.
const TENDED: usize = 500;

/// What a change may mean for tags.
pub(super) struct Tagging {
    node: NodeName,
    /// The item that changes; all of the node's otherwise.
    item: Option<Box<str>>,
    /// Whether what is published may bear tags.
    may_bear: bool,
}

/// As tags are compared: compatibility forms and case are the same, and white space is a hyphen. `None` for what is none.
fn fold(category: &str) -> Option<Box<str>> {
    let tag: String = category.trim().trim_start_matches('#').nfkc().flat_map(char::to_lowercase).nfkc().collect();
    let tag = tag.split_whitespace().collect::<Vec<_>>().join("-");
    let is_tag =
        !tag.is_empty() && tag.len() <= TAG_BYTES_MAX && !tag.chars().any(|char| char.is_control() || char == '/');
    is_tag.then(|| tag.into())
}

/// The name under which a tag's node is kept, for one written in another way.
fn folded(node: &str) -> Option<String> {
    let tag = fold(node.strip_prefix(tags::PREFIX)?)?;
    Some(tags::node_of(&tag)).filter(|name| name != node)
}

/// What the copy of a post is called in the lists.
fn copy_id(place: &Place) -> String {
    Sha1::digest(place.write()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Pep {
    /// The request with the name under which a tag is kept.
    pub(super) fn folded(&self, home: &BareJid, mut request: Request) -> Request {
        if let Some(name) = request.node().filter(|_| self.hosting.keeps_tags(home)).and_then(|name| folded(name)) {
            request.rename(name.into());
        }
        request
    }

    /// Refuses what must not be done to a list of posts, and has it there for who of ours subscribes to it.
    pub(super) async fn require_tagged(
        &self,
        home: &BareJid,
        caller: &Caller,
        request: &Request,
    ) -> Result<(), Failure> {
        let Some(name) = request.node().filter(|name| is_tag(name) && self.hosting.keeps_tags(home)) else {
            return Ok(());
        };
        match request {
            Request::Subscribe { .. } if caller.bare.localpart().is_some() && self.serves(&caller.bare) => {
                if folded(name).is_none() && fold(name.get(tags::PREFIX.len()..).unwrap_or_default()).is_some() {
                    self.change_list(home, name, "", |pep, ensemble, at, _| {
                        pep.open_list(ensemble, at, home, name);
                        None
                    })
                    .await?;
                }
                Ok(())
            }
            Request::Unsubscribe { .. } | Request::SetOptions { .. } | Request::Subscribe { .. } => Ok(()),
            _ if request.is_change() => Err(Refusal::KeptByService.into()),
            _ => Ok(()),
        }
    }

    /// What a change may mean for tags, before it is made.
    pub(super) fn tagging(&self, home: &BareJid, request: &Request) -> Option<Tagging> {
        let _service = self.hosting.tags_of(home)?;
        let (node, item, payload) = match request {
            Request::Publish { node, item: Some(NewItem { id, payload }), .. } => (node, id.clone(), Some(payload)),
            Request::Retract { node, id, .. } => (node, Some(id.clone()), None),
            Request::Configure { node, .. } | Request::Purge { node } | Request::Delete { node, .. } => {
                (node, None, None)
            }
            _ => return None,
        };
        let is_listed = is_feed(node) && !is_comments(node) && &**node != ns::PUBSUB_SUBSCRIPTION;
        let may_bear = matches!(payload, Some(NewPayload::One { bytes, .. }) if has_categories(bytes));
        is_listed.then(|| Tagging { node: NodeName::clone(node), item, may_bear })
    }

    /// The change was made: what is listed follows. `is_new` says that what it published was never there before.
    pub(super) async fn settle_tags(&self, home: &BareJid, tagging: Option<Tagging>, reply: &Reply, is_new: bool) {
        let Some(Tagging { node, item, may_bear }) = tagging else { return };
        if is_new && !may_bear {
            // Almost every post: it is in no list, and comes into none.
            return;
        }
        let settled = match item.or_else(|| published(reply).map(Box::from)) {
            Some(item) => self.retag(home, &node, &item).await,
            None => self.retag_all(home, &node).await,
        };
        if let Err(error) = settled {
            tracing::error!(?error, %home, %node, "what is listed under hashtags is behind");
        }
    }

    /// All of a node's posts that are listed.
    async fn retag_all(&self, home: &BareJid, node: &str) -> Result<(), Failure> {
        let mut last: Option<Tagged> = None;
        loop {
            let page = self.tagged.page(Some((home, node)), last.as_ref(), 100).await?;
            for one in &page {
                self.retag(home, node, &one.item).await?;
            }
            let Some(end) = page.last().filter(|_| page.len() == 100) else { return Ok(()) };
            last = Some(end.clone());
        }
    }

    /// Makes what is listed of a post agree with the post.
    async fn retag(&self, home: &BareJid, node: &str, id: &str) -> Result<(), Failure> {
        let Some(service) = self.hosting.tags_of(home).cloned() else { return Ok(()) };
        let _turn = self.tag_turns.of(home.as_str()).await;
        let known = self.tagged.get(home, node, id).await?;
        let entry = self.nodes.entry(home, node);
        let held = self.nodes.held(&entry).await?.filter(|held| {
            let config = &held.node.config;
            held.is_open() && config.persist_items && config.item_expire == Bound::Max
        });
        let item = match &held {
            Some(_) => self.item_of(home, node, id).await?,
            None => None,
        };
        let mut wanted = Tags::new();
        for tag in item.iter().flat_map(|item| categories(&item.payload)).filter_map(|category| fold(&category)) {
            if wanted.len() < TAGS_MAX {
                wanted.insert(tag);
            }
        }
        if known.is_none() && wanted.is_empty() {
            return Ok(());
        }
        let place = Place { service: home.clone(), node: node.into(), item: Some(id.into()) };
        let copy = item.as_ref().and_then(|item| tags::copy(&item.payload, &place));
        let (Some(item), Some(copy)) = (item, copy) else { return self.unlist_all(&service, &place, known).await };
        if known.is_none() {
            self.make_room(&service, home, &mut wanted).await?;
        }
        let before = known.as_ref().map(|(_, tags)| tags.clone()).unwrap_or_default();
        let time = known.as_ref().map_or(item.updated.0, |(time, _)| *time);
        // It is noted first where it is to be: what is noted and not there does no harm.
        let all: Tags = before.union(&wanted).cloned().collect();
        self.tagged.put(home, (node, id), known.map(|(time, _)| time), time, &all).await.map_err(broken)?;
        for gone in before.difference(&wanted) {
            self.unlist(&service, gone, &copy_id(&place)).await?;
        }
        for tag in &wanted {
            self.list_under(&service, tag, &place, &item, &copy).await?;
        }
        if all != wanted {
            self.tagged.put(home, (node, id), Some(time), time, &wanted).await.map_err(broken)?;
        }
        Ok(())
    }

    /// Has room for one more post of an account, and takes from `wanted` what it has filled.
    async fn make_room(&self, service: &BareJid, home: &BareJid, wanted: &mut Tags) -> Result<(), Failure> {
        let mut listed = self.tagged.of(home, POSTS_MAX + 1).await?;
        wanted.retain(|tag| listed.iter().filter(|one| one.tags.contains(tag)).count() < POSTS_PER_TAG_MAX);
        while listed.len() >= POSTS_MAX && !wanted.is_empty() {
            let Tagged { node, item, time, tags, .. } = listed.remove(0);
            let place = Place { service: home.clone(), node, item: Some(item) };
            self.unlist_all(service, &place, Some((time, tags))).await?;
        }
        Ok(())
    }

    async fn unlist_all(&self, service: &BareJid, place: &Place, known: Option<(u64, Tags)>) -> Result<(), Failure> {
        let (Some((time, tags)), Some(id)) = (known, &place.item) else { return Ok(()) };
        for tag in &tags {
            self.unlist(service, tag, &copy_id(place)).await?;
        }
        let at = (&*place.node, &**id);
        Ok(self.tagged.put(&place.service, at, Some(time), time, &Tags::new()).await.map_err(broken)?)
    }

    /// Puts a copy of a post into a list, unless it is there.
    async fn list_under(
        &self,
        service: &BareJid,
        tag: &str,
        place: &Place,
        item: &Item,
        copy: &[u8],
    ) -> Result<(), Failure> {
        let (name, id) = (tags::node_of(tag), copy_id(place));
        let there = self.item_of(service, &name, &id).await?;
        if there.as_ref().is_some_and(|there| there.payload == copy) {
            return Ok(());
        }
        self.change_list(service, &name, &id, |pep, ensemble, at, there| {
            pep.open_list(ensemble, at, service, &name);
            let item = Item {
                sequence: 0,
                id: (&*id).into(),
                publisher: item.publisher.clone(),
                published: there.as_ref().map_or(ensemble.now(), |there| there.published),
                updated: ensemble.now(),
                payload: copy.to_vec().into(),
            };
            ensemble.node(at).map(|node| enlist(node, there.as_ref(), item))
        })
        .await
    }

    /// Takes the copy of a post from a list, and the list away with the last.
    async fn unlist(&self, service: &BareJid, tag: &str, id: &str) -> Result<(), Failure> {
        let name = tags::node_of(tag);
        self.change_list(service, &name, id, |_, ensemble, at, there| {
            let (node, there) = (ensemble.node(at)?, there?);
            let is_last = node.tally.items <= 1 && node.tally.subscribers == 0;
            Some(if is_last { drop_kept(node) } else { forget(node, &there) })
        })
        .await
    }

    /// Makes a list if there is none.
    fn open_list(&self, ensemble: &mut Ensemble<'_>, at: usize, service: &BareJid, name: &str) {
        if ensemble.node(at).is_none() {
            let node = tags::node(service, name, ns::SOCIAL_FEED, self.limits.payload_bytes_max, ensemble.now());
            let changes = vec![Change::CreateNode(node)];
            ensemble.note(at, Decision { changes, reply: Reply::Empty, notices: Vec::new() });
        }
    }

    /// Changes a list as `decide` says, which is told what of `id` is there, and tells of it when that is durable.
    async fn change_list(
        &self,
        service: &BareJid,
        name: &str,
        id: &str,
        decide: impl Fn(&Self, &mut Ensemble<'_>, usize, Option<ItemHead>) -> Option<Decision>,
    ) -> Result<(), Failure> {
        let entries = self.entries([(service, name)]);
        for _ in 0..ATTEMPTS {
            let turnstiles = lock(&entries).await;
            let mut ensemble = Ensemble::load(self, &entries).await?;
            let Some(at) = ensemble.place(service, name) else { return Ok(()) };
            let there = match (entries.first(), ensemble.held(at)) {
                (Some(entry), Some(held)) => self.nodes.item_head(entry, held, id).await?,
                _ => None,
            };
            if let Some(decision) = decide(self, &mut ensemble, at, there) {
                ensemble.note(at, decision);
            }
            let Some((receipt, goes)) = ensemble.commit(Batch::new()).await? else { continue };
            drop(turnstiles);
            let durable = receipt.durable().await;
            for go in goes {
                let _told = go.send(durable.is_ok());
            }
            return Ok(durable.map_err(|fault| broken(CommitError::Fault(fault)))?);
        }
        Err(Fault::new("a list of posts was changed by somebody else again and again").into())
    }

    /// Once a minute: looks at some of what is listed, and goes on from there the next time.
    pub(super) async fn tend_tags(&self) {
        let mut round = self.tag_round.lock().await;
        let page = match self.tagged.page(None, round.as_ref(), TENDED).await {
            Ok(page) => page,
            Err(error) => return tracing::error!(%error, "what is listed under hashtags cannot be read"),
        };
        *round = page.last().filter(|_| page.len() == TENDED).cloned();
        for one in page {
            if let Err(error) = self.retag(&one.account, &one.node, &one.item).await {
                return tracing::error!(?error, "what is listed under hashtags is behind");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::{fold, folded};

    #[test]
    fn what_people_take_for_the_same_tag_is_one() {
        for (category, tag) in [
            ("Verona", Some("verona")),
            ("#verona", Some("verona")),
            (" Ｖｅｒｏｎａ ", Some("verona")),
            ("Straße", Some("straße")),
            ("open\tSource", Some("open-source")),
            ("ﬁre", Some("fire")),
            ("日本", Some("日本")),
            ("", None),
            ("#", None),
            ("a/b", None),
            ("a\u{7}", None),
            (&"x".repeat(65), None),
        ] {
            assert_eq!(fold(category).as_deref(), tag, "{category}");
            if let Some(tag) = tag {
                assert_eq!(fold(tag).as_deref(), Some(tag), "folded once is folded");
            }
        }
        assert_eq!(folded("tag/Verona").as_deref(), Some("tag/verona"));
        assert_eq!(folded("tag/verona"), None);
        assert_eq!(folded("other"), None);
    }
}
