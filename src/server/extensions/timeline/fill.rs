//! Asks nodes of other servers what they have, in the name of a follower, and writes what is missing into timelines.
//!
//! An answer is what that follower may read. If the node says of itself that it is open, it is what all its followers may
//! read, and the node is asked once for all of them; if not, it is asked for some of them, one by one, and for the others when
//! they read. What comes is entered as it comes: behind everything that was seen.

use std::sync::Arc;

use pubsub::SubscriptionState;
use pubsub::profile::microblog::date;
use pubsub::wire::event::parse_items;
use store::{Batch, CommitError};
use tokio::sync::oneshot;
use xmpp::stanza::{Condition, ErrorType, IqType, Kind};
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, Jid, Stanza, ns};

use super::Timeline;
use super::afar::Arrivals;
use super::copies::Sent;
use super::gaps::Wanted;
use super::walk::{PAGE_ITEMS, Walk, request};
use crate::tables::nodes::{Entry, Held};
use crate::tables::timeline::{Asked, Timelines};

/// Followers in whose name a node is asked that refuses.
const TRIES_MAX: usize = 3;
/// Followers for each of whom a node is asked that is not open to all.
const ASKED_FOR_MAX: usize = 20;
/// Followers who are given what was missing.
const FOLLOWERS_MAX: usize = 20_000;
/// Entries written for one node at once: of what is missing the newest, if it is for very many.
const ENTRIES_MAX: usize = 50_000;

/// Milliseconds after which nothing more is asked of a node this time: one that takes its time for each answer, and always
/// has more, keeps nobody else waiting.
const ASKING_MAX: u64 = 2 * 60_000;

/// Milliseconds in which a node is not asked twice, but for who follows it only now.
const LATELY: u64 = 60_000;

/// What came of asking.
enum Outcome {
    /// What is missing, oldest first, and marks of what the node has now.
    Found(Vec<Sent>, Vec<u64>),
    /// This follower may not read it.
    Refused,
    /// No answer, or none that makes sense.
    Nothing,
}

impl Timeline {
    /// Asks an entity elsewhere in the name of an account; `None` when no answer comes in time.
    pub(super) async fn question(&self, account: &BareJid, to: &BareJid, query: &Element) -> Option<Stanza> {
        let router = self.feeder().shared().router.upgrade()?;
        let iq = Stanza::new(Kind::Iq(IqType::Get)).from(account.clone()).with(query);
        let (answer, answered) = oneshot::channel();
        let then = Box::new(move |stanza: Option<Stanza>| {
            let _nobody_waits = answer.send(stanza);
        });
        router.ask(Jid::from(to), iq, then).await;
        drop(router);
        answered.await.ok().flatten()
    }

    /// Asks a node, and fills in what is missing.
    pub(super) async fn ask_node(self: &Arc<Self>, wanted: &Wanted) -> Result<(), CommitError> {
        let shared = self.feeder().shared();
        let entry = shared.nodes.entry(&wanted.home, &wanted.name);
        let Some(held) = shared.nodes.held(&entry).await? else {
            let mut batch = Batch::new();
            Timelines::drop_asked(&mut batch, wanted.home.as_str(), &wanted.name);
            return shared.timelines.commit(batch).await.map(drop);
        };
        let mut followers = self.followers(&held, wanted).await?;
        if followers.is_empty() {
            return Ok(());
        }
        let before = shared.timelines.asked(wanted.home.as_str(), &wanted.name).await?;
        if wanted.newcomers.is_empty() && before.as_ref().is_some_and(|asked| asked.at + LATELY > shared.now()) {
            // It was asked while this waited.
            return Ok(());
        }
        let until = shared.now() + ASKING_MAX;
        let mut outcome = Outcome::Refused;
        for follower in followers.iter().take(TRIES_MAX) {
            outcome = self.walk(follower, &entry, before.as_ref(), until).await?;
            if !matches!(outcome, Outcome::Refused) {
                break;
            }
        }
        let Outcome::Found(found, newest) = outcome else {
            let asked = before.unwrap_or_default();
            let failures = asked.failures.saturating_add(1);
            let asked = Asked { at: shared.now(), failures, seen: asked.seen };
            return shared.timelines.put_asked(wanted.home.as_str(), &wanted.name, &asked).await;
        };
        followers.retain(|follower| !wanted.newcomers.contains(follower));
        if !found.is_empty() && !followers.is_empty() {
            if followers.len() == 1 || self.is_open(&followers, &entry).await {
                self.enter(&entry, &followers, found).await?;
            } else {
                for follower in followers.iter().take(ASKED_FOR_MAX) {
                    if shared.now() >= until {
                        break;
                    }
                    if let Outcome::Found(found, _) = self.walk(follower, &entry, before.as_ref(), until).await? {
                        self.enter(&entry, std::slice::from_ref(follower), found).await?;
                    }
                }
            }
        }
        // Only now: what a crash cut short is asked for again.
        let asked = Asked { at: shared.now(), failures: 0, seen: newest };
        shared.timelines.put_asked(wanted.home.as_str(), &wanted.name, &asked).await
    }

    /// Who follows a node, those first who would like to know. Who blocks its owner is not asked for.
    async fn followers(&self, held: &Held, wanted: &Wanted) -> Result<Vec<BareJid>, CommitError> {
        let nodes = &self.feeder().shared().nodes;
        let home = Jid::from(&wanted.home);
        let mut followers: Vec<BareJid> = Vec::new();
        let mut from = None;
        loop {
            let page = nodes.subscribers(held, from.as_ref(), 1_000).await?;
            for row in page.rows {
                if row.state == SubscriptionState::Subscribed && row.jid.is_bare() {
                    let bare = row.jid.to_bare();
                    if !self.blocks.is_blocked(&bare, &home).await? {
                        followers.push(bare);
                    }
                }
            }
            from = page.next;
            if from.is_none() || followers.len() >= FOLLOWERS_MAX {
                break;
            }
        }
        followers.truncate(FOLLOWERS_MAX);
        // Not always the same, where only some are asked for.
        let turn = usize::try_from(self.feeder().shared().now()).unwrap_or(0) % followers.len().max(1);
        followers.rotate_left(turn);
        followers
            .sort_by_key(|follower| Some(follower) != wanted.reader.as_ref() && !wanted.newcomers.contains(follower));
        Ok(followers)
    }

    /// Walks back through a node in the name of one follower; from `until` on no further page is asked for.
    async fn walk(
        &self,
        account: &BareJid,
        entry: &Entry,
        before: Option<&Asked>,
        until: u64,
    ) -> Result<Outcome, CommitError> {
        // Who failed from the beginning was never answered.
        let seen = before.filter(|asked| asked.failures == 0 || !asked.seen.is_empty()).map(|asked| &*asked.seen);
        let mut walk = Walk::new(seen);
        let mut is_first = true;
        loop {
            let answer = self.question(account, &entry.home, &request(&entry.name, &walk.bound())).await;
            let refused = answer.as_ref().and_then(Stanza::error);
            let pubsub = answer
                .filter(|answer| answer.head.kind == Kind::Iq(IqType::Result))
                .and_then(|answer| answer.content.child("pubsub", ns::PUBSUB)?.open().ok());
            let items = pubsub.as_ref().and_then(|pubsub| parse_items(pubsub, PAGE_ITEMS + 1));
            let page = items.and_then(|(node, items)| walk.read(&entry.name, &node, items));
            let Some(mut page) = page else {
                if !is_first {
                    // What came before it was good.
                    break;
                }
                let is_refused = refused.is_some_and(|error| {
                    matches!(error.type_, ErrorType::Auth | ErrorType::Cancel)
                        && !matches!(error.condition, Condition::RemoteServerNotFound | Condition::RemoteServerTimeout)
                });
                return Ok(if is_refused { Outcome::Refused } else { Outcome::Nothing });
            };
            is_first = false;
            let mut here = Vec::with_capacity(page.len());
            for sent in &mut page {
                here.push(self.same(entry, sent).await?);
            }
            if !walk.take(page, here) || self.feeder().shared().now() >= until {
                break;
            }
        }
        let (found, newest) = walk.finish();
        Ok(Outcome::Found(found, newest))
    }

    /// The position in the copy of the very item that was sent, which is then as it is there.
    async fn same(&self, entry: &Entry, sent: &mut Sent) -> Result<Option<u64>, CommitError> {
        let nodes = &self.feeder().shared().nodes;
        let Some(held) = nodes.held(entry).await? else { return Ok(None) };
        let Some(head) = nodes.item_head(entry, &held, &sent.id).await? else { return Ok(None) };
        let Some(item) = nodes.item_at(entry, &held, head.sequence).await? else { return Ok(None) };
        if date(&item.payload) != date(&sent.payload) {
            return Ok(None);
        }
        sent.payload = item.payload.clone();
        sent.publisher = Some(item.publisher.clone());
        Ok(Some(head.sequence))
    }

    /// Whether a node says that everybody may read it.
    async fn is_open(&self, followers: &[BareJid], entry: &Entry) -> bool {
        let Some(asker) = followers.first() else { return false };
        let query = Element::builder("query", ns::DISCO_INFO).attribute("node", &*entry.name).build();
        let answer = self.question(asker, &entry.home, &query).await;
        let answer = answer.filter(|answer| answer.head.kind == Kind::Iq(IqType::Result));
        let query = answer.and_then(|answer| answer.content.child("query", ns::DISCO_INFO)?.open().ok());
        let Some(query) = query else { return false };
        let mut forms = query.children().filter(|child| child.is("x", ns::DATA_FORMS));
        forms.any(|form| {
            form.children().any(|field| {
                field.attr("var") == Some("pubsub#access_model")
                    && field.get_child("value", ns::DATA_FORMS).is_some_and(|value| value.text() == "open")
            })
        })
    }

    /// Writes what is missing into the timelines of followers, and tells their clients.
    async fn enter(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        followers: &[BareJid],
        mut found: Vec<Sent>,
    ) -> Result<(), CommitError> {
        let items_max = (ENTRIES_MAX / followers.len().max(1)).max(1);
        found.drain(..found.len().saturating_sub(items_max));
        let mut read = Arrivals::new();
        for follower in followers {
            let entered = self.take(follower, entry, found.clone()).await?;
            self.tell(follower, entry, &entered).await;
            self.concern(follower, entry, &entered, &mut read).await;
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
