//! Hashtags: open posts of accounts here are listed under their categories, as copies in the nodes `tag/WORD` of the
//! account's `pubsub.HOST`. `xeps/chirrup-tags.md` is the protocol.
//!
//! What is listed follows from the post as it is: [`Pep::retag`] looks at it and makes the lists agree, after every change
//! of a node, and for all that is listed once in a while ([`Pep::tend_tags`]); so a crash in between, or a post that went
//! by the clock, leaves nothing behind for long. That only takes away: a post whose listing a crash cut short is listed when it
//! is next published.

use std::sync::Arc;

use pubsub::config::Bound;
use pubsub::decide::{drop_kept, enlist, forget};
use pubsub::model::{ItemHead, NodeName};
use pubsub::profile::alternate::is_of_posts;
use pubsub::profile::attachments::is_kept;
use pubsub::profile::microblog::is_comments;
use pubsub::profile::social::{categories, has_categories};
use pubsub::profile::tags::{self, TAG_BYTES_MAX, is_tag};
use pubsub::profile::uri::Place;
use pubsub::request::{NewItem, NewPayload};
use pubsub::{Caller, Change, Decision, Item, Refusal, Reply, Request};
use sha1::{Digest as _, Sha1};
use store::{Batch, CommitError};
use unicode_normalization::UnicodeNormalization as _;
use xmpp::{BareJid, ns};

use super::Pep;
use super::ensemble::{Ensemble, lock};
use super::likes::{Attempt, contended, settled, told};
use super::serve::{ATTEMPTS, Changed, Failure, broken, published};
use crate::tables::nodes::Entry;
use crate::tables::tagged::{Tagged, Tags};

/// Posts of one account that are listed; the oldest make room.
const POSTS_MAX: usize = 500;
/// Posts of one account under one tag; further ones are listed under their others.
const POSTS_PER_TAG_MAX: usize = 50;
/// Tags of one post.
const TAGS_MAX: usize = 10;
/// Posts looked at once a minute, to find what is listed and should not be.
const TENDED: usize = 500;

/// How often what is folded is folded again until that changes nothing.
const FOLDED_MAX: usize = 4;

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
    let once = |tag: &str| {
        let tag: String = tag.nfkc().flat_map(char::to_lowercase).nfkc().collect();
        // After that: what is a # or white space in another form is one.
        let tag = tag.trim_start_matches(|char: char| char == '#' || char.is_whitespace());
        tag.split_whitespace().collect::<Vec<_>>().join("-")
    };
    let (mut tag, mut times) = (once(category), 0);
    loop {
        // What is folded is its own name: almost always at once.
        let again = once(&tag);
        if again == tag {
            break;
        }
        if times == FOLDED_MAX {
            return None;
        }
        (tag, times) = (again, times + 1);
    }
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

    /// Whether a node is a list of posts.
    pub(super) fn is_list(&self, home: &BareJid, name: &str) -> bool {
        is_tag(name) && self.hosting.keeps_tags(home)
    }

    /// Refuses what must not be done to a list of posts.
    pub(super) fn require_tagged(&self, home: &BareJid, request: &Request) -> Result<(), Refusal> {
        match request {
            Request::Unsubscribe { .. } | Request::SetOptions { .. } | Request::Subscribe { .. } => Ok(()),
            _ if request.is_change() && request.node().is_some_and(|name| self.is_list(home, name)) => {
                Err(Refusal::KeptByService)
            }
            _ => Ok(()),
        }
    }

    /// Subscribes to a list of posts, which is made for who of ours waits for a word that nobody has said yet: together
    /// with the subscription, or not at all.
    pub(super) async fn watch(&self, service: &BareJid, caller: &Caller, request: Request) -> Result<Changed, Failure> {
        let is_ours = caller.bare.localpart().is_some() && self.serves(&caller.bare);
        let name = request.node().filter(|name| {
            let is_name = || fold(name.get(tags::PREFIX.len()..).unwrap_or_default()).is_some();
            is_ours && folded(name).is_none() && is_name()
        });
        let Some(name) = name else { return self.change(service, caller, request).await };
        let entries = self.entries([(service, &**name)]);
        for _ in 0..ATTEMPTS {
            let attempt = self.try_watch(service, name, &entries, (caller, &request)).await?;
            if let Some(changed) = settled(attempt).await? {
                return Ok(changed);
            }
        }
        Err(contended())
    }

    async fn try_watch(
        &self,
        service: &BareJid,
        name: &str,
        entries: &[Arc<Entry>],
        (caller, request): (&Caller, &Request),
    ) -> Attempt {
        let turnstiles = lock(entries).await;
        let mut ensemble = Ensemble::load(self, entries).await?;
        let Some(at) = ensemble.place(service, name) else { return Ok(None) };
        self.open_list(&mut ensemble, at, service, name);
        let reply = ensemble.decide(at, caller, request).await?;
        let committed = ensemble.commit(Batch::new()).await?;
        drop(turnstiles);
        Ok(committed.map(|(receipt, goes)| (receipt, told(reply, goes))))
    }

    /// A subscription to a list of posts ended: with the last one goes a list that nothing is in.
    pub(super) async fn unwatched(&self, service: &BareJid, name: &str) {
        let dropped = self.change_list(service, name, "", |_, ensemble, at, _| {
            let node = ensemble.node(at)?;
            (node.tally.items == 0 && node.tally.subscribers == 0).then(|| drop_kept(node))
        });
        if let Err(error) = dropped.await {
            tracing::error!(?error, %service, name, "a list that nobody watches any more stays");
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
        let may_be_of_posts = !is_comments(node) && !is_kept(node);
        let may_bear = matches!(payload, Some(NewPayload::One { bytes, .. }) if has_categories(bytes));
        may_be_of_posts.then(|| Tagging { node: NodeName::clone(node), item, may_bear })
    }

    /// The change was made: what is listed follows. `is_new` says that what it published was never there before.
    pub(super) async fn settle_tags(
        &self,
        home: &BareJid,
        tagging: Option<Tagging>,
        reply: &Reply,
        is_new: Option<bool>,
    ) {
        let Some(Tagging { node, item, may_bear }) = tagging else { return };
        if is_new == Some(true) && !may_bear {
            // Almost every post: it is in no list, and comes into none.
            return;
        }
        let settled = match item.or_else(|| published(reply).map(Box::from)) {
            Some(item) => self.retag_one(home, &node, &item, may_bear).await,
            None => self.retag_all(home, &node).await,
        };
        if let Err(error) = settled {
            tracing::error!(?error, %home, %node, "what is listed under hashtags is behind");
        }
    }

    /// One item of a node, if that is for posts.
    async fn retag_one(&self, home: &BareJid, node: &str, id: &str, may_come: bool) -> Result<(), Failure> {
        let held = self.nodes.held(&self.nodes.entry(home, node)).await?;
        match held.is_some_and(|held| is_of_posts(node, &held.node.config)) {
            true => self.retag(home, node, id, may_come).await,
            false => Ok(()),
        }
    }

    /// All of a node's posts that are listed.
    async fn retag_all(&self, home: &BareJid, node: &str) -> Result<(), Failure> {
        let mut last: Option<Tagged> = None;
        loop {
            let page = self.tagged.page(Some((home, node)), last.as_ref(), 100).await?;
            for one in &page {
                self.retag(home, node, &one.item, false).await?;
            }
            let Some(end) = page.last().filter(|_| page.len() == 100) else { return Ok(()) };
            last = Some(end.clone());
        }
    }

    /// Makes what is listed of a post agree with the post. Unless it `may_come` into lists, which is when it is published,
    /// it is only taken from them: from one that was full it has gone, and does not come back as news.
    async fn retag(&self, home: &BareJid, node: &str, id: &str, may_come: bool) -> Result<(), Failure> {
        let Some(service) = self.hosting.tags_of(home).cloned() else { return Ok(()) };
        let _turn = self.tag_turns.of(home.as_str()).await;
        let known = self.tagged.get(home, node, id).await?;
        let entry = self.nodes.entry(home, node);
        let held = self.nodes.held(&entry).await?.filter(|held| {
            let config = &held.node.config;
            is_of_posts(node, config) && held.is_open() && config.persist_items && config.item_expire == Bound::Max
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
        let before = known.as_ref().map(|(_, tags)| tags.clone()).unwrap_or_default();
        if may_come {
            self.make_room(&service, home, known.is_none(), &before, &mut wanted).await?;
        } else {
            wanted.retain(|tag| before.contains(tag));
            for tag in wanted.clone() {
                if self.item_of(&service, &tags::node_of(&tag), &copy_id(&place)).await?.is_none() {
                    wanted.remove(&tag);
                }
            }
        }
        let time = known.as_ref().map_or(item.updated.0, |(time, _)| *time);
        // It is noted first where it is to be: what is noted and not there does no harm.
        let all: Tags = before.union(&wanted).cloned().collect();
        if all != before {
            self.tagged.put(home, (node, id), known.map(|(time, _)| time), time, &all).await.map_err(broken)?;
        }
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

    /// Has room for a post of an account that was under the tags `before`, and takes from `wanted` what the account has
    /// filled.
    async fn make_room(
        &self,
        service: &BareJid,
        home: &BareJid,
        is_new: bool,
        before: &Tags,
        wanted: &mut Tags,
    ) -> Result<(), Failure> {
        if wanted.is_subset(before) {
            return Ok(());
        }
        let mut listed = self.tagged.of(home, POSTS_MAX + 1).await?;
        wanted.retain(|tag| {
            let others = || listed.iter().filter(|one| one.tags.contains(tag)).count();
            before.contains(tag) || others() < POSTS_PER_TAG_MAX
        });
        while is_new && listed.len() >= POSTS_MAX && !wanted.is_empty() {
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
        Err(contended())
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
            if let Err(error) = self.retag(&one.account, &one.node, &one.item, false).await {
                return tracing::error!(?error, "what is listed under hashtags is behind");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use proptest::prelude::*;

    use super::{fold, folded};

    #[test]
    fn what_people_take_for_the_same_tag_is_one() {
        for (category, tag) in [
            ("Verona", Some("verona")),
            ("#verona", Some("verona")),
            ("＃Verona", Some("verona")),
            ("\u{3000}# ﹟Verona", Some("verona")),
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

    proptest! {
        #[test]
        fn what_is_folded_is_its_own_name(category in prop_oneof![
            any::<String>(),
            "[#＃﹟ \u{3000}\u{fb01}\u{130}\u{1e9e}\u{3a3}\u{345}\u{338}\u{301}A-z]{0,12}",
        ]) {
            if let Some(tag) = fold(&category) {
                prop_assert_eq!(fold(&tag), Some(tag));
            }
        }
    }
}

#[cfg(test)]
#[path = "tags_test.rs"]
mod lists;
