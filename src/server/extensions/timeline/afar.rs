//! What happens on other servers: notifications for accounts here, and subscriptions that clients ask for there.
//!
//! A notification to an account's bare address is taken into its timeline before it is handed on as every message, and it
//! is durable before its server is told that it arrived. One from a node that the account does not follow is a message
//! and nothing else. Clients that subscribe by themselves (XEP-0060 section 6.1) are overheard: what a service answers
//! them is what their account follows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pubsub::SubscriptionState;
use pubsub::wire::event::{Told, ToldItem, parse_event, parse_items, parse_subscribed};
use pubsub::wire::timeline;
use sha1::{Digest as _, Sha1};
use store::{CommitError, Fault};
use xmpp::stanza::{IqType, Kind, MessageType};
use xmpp::xml::{WithAttribute as _, element_bytes};
use xmpp::{BareJid, Element, Jid, Stanza, StanzaError, ns};

use super::Timeline;
use super::answers::{Answer, Pair};
use super::copies::{Entered, Sent};
use super::gaps::Wanted;
use crate::extension::{BoxFuture, Events, fault};
use crate::extensions::pep::happenings::{self, Arrival};
use crate::fanout::from_account;
use crate::runtime::start;
use crate::tables::nodes::{Entry, Follow};

/// Items taken from one message.
const ITEMS_MAX: usize = 100;
/// Requests of clients whose answers are waited for.
const OVERHEARD_MAX: usize = 10_000;
/// Milliseconds until an answer is not waited for any more.
const OVERHEARD_MILLIS: u64 = 120_000;

/// What items mean, by their positions.
pub(super) type Arrivals = HashMap<u64, Option<Arrival>>;

/// Whose answer to whom.
type Question = (Jid, Jid, Box<str>);

/// Requests of clients to services elsewhere.
#[derive(Default)]
pub(super) struct Overheard(Mutex<HashMap<Question, Wish>>);

#[derive(Clone, Debug)]
struct Wish {
    node: Box<str>,
    is_subscription: bool,
    until: u64,
}

/// The wish in a request that a client sent to a service elsewhere: about its account's own address.
fn wish(stanza: &Stanza) -> Option<Wish> {
    let account = stanza.head.from.as_ref()?.to_bare();
    let pubsub = stanza.content.child("pubsub", ns::PUBSUB)?.open().ok()?;
    let verb = pubsub.children().find(|child| matches!(child.name(), "subscribe" | "unsubscribe"))?;
    // A resource's subscription is for that resource.
    let is_own = Jid::new(verb.attr("jid")?).ok()? == Jid::from(&account);
    let node = verb.attr("node").filter(|node| !node.is_empty() && node.len() <= 1023)?;
    is_own.then(|| Wish { node: node.into(), is_subscription: verb.name() == "subscribe", until: 0 })
}

impl Events for Timeline {
    fn departs<'a>(&'a self, stanza: &'a Stanza) -> BoxFuture<Result<(), StanzaError>> {
        let Some(wish) = wish(stanza) else { return Box::pin(std::future::ready(Ok(()))) };
        let (Some(to), Some(from), Some(id)) = (&stanza.head.to, &stanza.head.from, &stanza.head.id) else {
            return Box::pin(std::future::ready(Ok(())));
        };
        let until = self.feeder().shared().now() + OVERHEARD_MILLIS;
        {
            let mut overheard = self.overheard.0.lock().unwrap_or_else(PoisonError::into_inner);
            if overheard.len() < OVERHEARD_MAX {
                overheard.insert((to.clone(), from.clone(), id.clone()), Wish { until, ..wish.clone() });
            }
        }
        if !wish.is_subscription {
            return Box::pin(std::future::ready(Ok(())));
        }
        let (timeline, account) = (self.handle(), from.to_bare());
        Box::pin(async move {
            match timeline {
                Some(timeline) => timeline.may_follow(&account).await,
                None => Ok(()),
            }
        })
    }

    fn answered(&self, stanza: &Stanza) -> BoxFuture<()> {
        let idle = || Box::pin(std::future::ready(()));
        let (Some(from), Some(to), Some(id)) = (&stanza.head.from, &stanza.head.to, &stanza.head.id) else {
            return idle();
        };
        let wish = {
            let mut overheard = self.overheard.0.lock().unwrap_or_else(PoisonError::into_inner);
            if overheard.is_empty() {
                return idle();
            }
            overheard.remove(&(from.clone(), to.clone(), id.clone()))
        };
        let Some(wish) = wish.filter(|_| stanza.head.kind == Kind::Iq(IqType::Result)) else { return idle() };
        let state = match wish.is_subscription {
            false => SubscriptionState::None,
            true => {
                let pubsub = stanza.content.child("pubsub", ns::PUBSUB).and_then(|child| child.open().ok());
                // A result without a payload is one too.
                pubsub.as_ref().and_then(parse_subscribed).unwrap_or(SubscriptionState::Subscribed)
            }
        };
        let Some(timeline) = self.handle() else { return idle() };
        let (account, home) = (to.to_bare(), from.to_bare());
        Box::pin(async move { timeline.settle(&account, &home, &wish.node, state).await })
    }

    fn arrived(&self, account: BareJid, stanza: &Stanza) -> BoxFuture<()> {
        let is_event = !matches!(stanza.head.kind, Kind::Message(MessageType::Error | MessageType::Groupchat));
        let event = stanza.content.child("event", ns::PUBSUB_EVENT).filter(|_| is_event);
        let told = event.and_then(|event| event.open().ok()).and_then(|event| parse_event(&event, ITEMS_MAX));
        let (Some(told), Some(from)) = (told, stanza.head.from.as_ref().map(Jid::to_bare)) else {
            return Box::pin(std::future::ready(()));
        };
        let Some(timeline) = self.handle() else { return Box::pin(std::future::ready(())) };
        Box::pin(async move {
            if let Err(error) = timeline.hear(&account, &from, told).await {
                tracing::error!(%account, %from, %error, "a notification is not in the timeline");
            }
        })
    }
}

impl Timeline {
    /// Forgets requests that were never answered.
    pub(super) fn forget_overheard(&self) {
        let now = self.feeder().shared().now();
        let mut overheard = self.overheard.0.lock().unwrap_or_else(PoisonError::into_inner);
        overheard.retain(|_, wish| wish.until > now);
    }

    /// Whether the account may follow one node more.
    pub async fn may_follow(&self, account: &BareJid) -> Result<(), StanzaError> {
        let shared = self.feeder().shared();
        let max = usize::try_from(shared.settings.follows_per_account_max).unwrap_or(usize::MAX);
        let nodes = &shared.nodes;
        let count = async {
            // What is left of nodes that are gone does not count, and is looked at where it might.
            match nodes.follows(account, None, max).await? {
                (rows, _) if rows.len() < max => Ok(rows.len()),
                _ => Ok(nodes.followed(account, max).await?.len()),
            }
        };
        if count.await.map_err(|error: Fault| fault("nodes", &error))? < max {
            return Ok(());
        }
        Err(StanzaError::resource_constraint().with_text(format!("an account follows at most {max} nodes")))
    }

    /// The account's subscription to a node elsewhere is `state` now.
    pub async fn settle(&self, account: &BareJid, home: &BareJid, node: &str, state: SubscriptionState) {
        match self.note(account, home, node, state).await {
            Ok(true) => {
                if state == SubscriptionState::Subscribed {
                    // What it has now was there before it was followed.
                    let newcomers = vec![account.clone()];
                    self.want(Wanted { home: home.clone(), name: node.into(), newcomers, reader: None });
                }
                self.announce(account, home, node, state).await;
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%account, %home, node, %error, "a subscription elsewhere cannot be noted"),
        }
    }

    /// Everything the account is subscribed to.
    pub async fn follows(&self, account: &BareJid) -> Result<Vec<Follow>, Fault> {
        let max = usize::try_from(self.feeder().shared().settings.follows_per_account_max).unwrap_or(usize::MAX);
        let mut follows = self.feeder().shared().nodes.followed(account, max).await?;
        follows.retain(|follow| follow.subscription.jid.is_bare());
        Ok(follows)
    }

    /// The version of what an account follows (XEP-0376 section 4.4).
    pub fn version_of(follows: &[Follow]) -> String {
        let mut sha = Sha1::new();
        for follow in follows {
            for part in [follow.home.as_str(), &follow.name, follow.subscription.state.as_str()] {
                sha.update(part);
                sha.update([0]);
            }
        }
        sha.finalize().iter().take(10).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Tells the account's clients that care what it follows that a subscription is `state` now (XEP-0376 section 4.2), and
    /// the house when it is over. Who is elsewhere is told by nobody here.
    pub async fn announce(&self, account: &BareJid, home: &BareJid, node: &str, state: SubscriptionState) {
        let Some(router) = self.feeder().shared().router.upgrade() else { return };
        if account.localpart().is_none() || !router.serves(account.domain()) {
            return;
        }
        if state == SubscriptionState::None {
            router.tell(|listener| listener.unfollowed(account, home, node)).await;
        }
        let mut sessions = Vec::new();
        router.sessions.for_each_of(account.as_str(), |session| {
            let state = session.state();
            let interest = state.available.as_ref().and_then(|available| available.interest.as_ref());
            if interest.is_some_and(|interest| interest.manages_account) {
                sessions.push(Arc::clone(session));
            }
        });
        if sessions.is_empty() {
            return;
        }
        let version = match self.follows(account).await {
            Ok(follows) => Self::version_of(&follows),
            Err(error) => return tracing::error!(%account, %error, "what it follows cannot be read"),
        };
        let subscription = Element::builder("subscription", ns::PUBSUB)
            .attribute("node", node)
            .attribute("jid", account.as_str())
            .attribute("subscription", state.as_str());
        let notify = Element::builder("notify", ns::ACCOUNT_MANAGEMENT)
            .attribute("ver", &*version)
            .attribute("service", home.as_str())
            .append(subscription.build());
        let mut tail = b">".to_vec();
        tail.extend_from_slice(&element_bytes(&notify.build()));
        tail.extend_from_slice(b"</message>");
        for session in sessions {
            session.mailbox.push(from_account(&session, &tail));
        }
    }

    async fn hear(self: &Arc<Self>, account: &BareJid, home: &BareJid, told: Told) -> Result<(), CommitError> {
        let name = match &told {
            Told::Items(node, _) | Told::Purged(node) | Told::Deleted(node) | Told::Subscription(node, ..) => node,
        };
        if name.len() > 1023 {
            return Ok(());
        }
        let entry = self.feeder().shared().nodes.entry(home, name);
        // Who does not follow it is told nothing here, whatever it was sent.
        let row = match self.copied(account, &entry).await? {
            Some((_, row)) => row,
            None if matches!(told, Told::Items(..)) && self.adopt(account, home, name).await? => {
                let Some((_, row)) = self.copied(account, &entry).await? else { return Ok(()) };
                row
            }
            None => return Ok(()),
        };
        let is_follower = row.state == SubscriptionState::Subscribed;
        match told {
            Told::Items(node, items) if is_follower => {
                let (mut sent, mut gone, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
                for item in items {
                    match item {
                        ToldItem::Retracted(id) => gone.push(id),
                        ToldItem::Published { id, publisher, payload: Some(payload) } => {
                            sent.push(Sent { id, publisher, payload });
                        }
                        ToldItem::Published { id, payload: None, .. } => wanted.push(id),
                    }
                }
                if !gone.is_empty() {
                    self.forget(&entry, Some(&gone)).await?;
                }
                let entered = self.take(account, &entry, sent).await?;
                self.tell(account, &entry, &entered).await;
                self.concern(account, &entry, &entered, &mut Arrivals::new()).await;
                if !wanted.is_empty() {
                    self.ask_items(account, home, &node, wanted).await;
                }
            }
            Told::Purged(_) if is_follower => self.forget(&entry, None).await?,
            Told::Deleted(node) => self.settle(account, home, &node, SubscriptionState::None).await,
            // Who never asked is not made a follower by being told so.
            Told::Subscription(node, jid, state) if jid == Jid::from(account) => {
                self.settle(account, home, &node, state).await;
            }
            _ => {}
        }
        Ok(())
    }

    /// Tells the clients that read the timeline of new entries.
    pub(super) async fn tell(&self, account: &BareJid, entry: &Entry, entered: &[Entered]) {
        let Some(router) = self.feeder().shared().router.upgrade() else { return };
        if entered.is_empty() || !router.sessions.any(account.as_str()) {
            return;
        }
        for one in entered {
            // Of whom it blocks it is told nothing, wherever they write.
            if one.item.publisher != entry.home
                && self.blocks.is_blocked(account, &Jid::from(&one.item.publisher)).await.unwrap_or(true)
            {
                continue;
            }
            let tail = timeline::notification(&timeline::Entry {
                id: &one.place.id(),
                home: &entry.home,
                node: &entry.name,
                config: &one.held.node.config,
                item: &one.item,
            });
            router.sessions.for_each_of(account.as_str(), |session| {
                let state = session.state();
                let interest = state.available.as_ref().and_then(|available| available.interest.as_ref());
                if interest.is_some_and(|interest| interest.wants(ns::TIMELINE)) {
                    session.mailbox.push(from_account(session, &tail));
                }
            });
        }
    }

    /// Says what new entries mean to the account: that somebody mentions it, or answers or repeats what it wrote. Who calls
    /// this for several accounts keeps what was `read` for the next.
    pub(super) async fn concern(&self, account: &BareJid, entry: &Entry, entered: &[Entered], read: &mut Arrivals) {
        let Some(router) = self.feeder().shared().router.upgrade() else { return };
        for one in entered {
            let arrival =
                read.entry(one.item.sequence).or_insert_with(|| Arrival::read(&entry.home, &entry.name, &one.item));
            let Some(happening) = arrival.as_ref().and_then(|arrival| arrival.to(account)) else { continue };
            match self.blocks.is_blocked(account, &Jid::from(&happening.person)).await {
                Ok(true) => {}
                Ok(false) => happenings::tell(&router, &happening).await,
                Err(error) => tracing::error!(%account, %error, "whom it blocks cannot be read"),
            }
        }
    }

    /// Asks for items of which only the ids were told (`pubsub#deliver_payloads`), in the name of the account.
    async fn ask_items(self: &Arc<Self>, account: &BareJid, home: &BareJid, node: &str, ids: Vec<Box<str>>) {
        let Some(router) = self.feeder().shared().router.upgrade() else { return };
        let items = Element::builder("items", ns::PUBSUB).attribute("node", node);
        let asked = ids.iter().map(|id| Element::builder("item", ns::PUBSUB).attribute("id", &**id).build());
        let query = Element::builder("pubsub", ns::PUBSUB).append(items.append_all(asked).build()).build();
        let iq = Stanza::new(Kind::Iq(IqType::Get)).from(account.clone()).with(&query);
        let (timeline, account, home) = (Arc::clone(self), account.clone(), home.clone());
        let node: Box<str> = node.into();
        let to = Jid::from(&home);
        let then = Box::new(move |answer: Option<Stanza>| {
            let answer = answer.filter(|answer| answer.head.kind == Kind::Iq(IqType::Result));
            let pubsub = answer.and_then(|answer| answer.content.child("pubsub", ns::PUBSUB)?.open().ok());
            let Some((_, items)) = pubsub.as_ref().and_then(|pubsub| parse_items(pubsub, ITEMS_MAX)) else { return };
            // What was not asked for is not taken.
            let items = items.into_iter().filter_map(|item| match item {
                ToldItem::Published { id, publisher, payload: Some(payload) } if ids.contains(&id) => {
                    Some(Sent { id, publisher, payload })
                }
                _ => None,
            });
            let pair = (account, home);
            if timeline.answers.put(&pair, Answer { node, items: items.collect() }) {
                // The answer came as a stanza: its lane goes on with what follows.
                start(async move { timeline.take_answers(&pair).await });
            }
        });
        router.ask(to, iq, then).await;
    }

    /// Takes what was asked for until nothing is left.
    async fn take_answers(self: &Arc<Self>, pair: &Pair) {
        let (account, home) = pair;
        while let Some(Answer { node, items }) = self.answers.next(pair) {
            let entry = self.feeder().shared().nodes.entry(home, &node);
            match self.take(account, &entry, items).await {
                Ok(entered) => {
                    self.tell(account, &entry, &entered).await;
                    self.concern(account, &entry, &entered, &mut Arrivals::new()).await;
                }
                Err(error) => tracing::error!(%account, %home, %error, "items are not in the timeline"),
            }
        }
    }
}
