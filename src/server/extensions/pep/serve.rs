//! One request, from the IQ to the answer.

use std::sync::Arc;

use pubsub::config::Bound;
use pubsub::request::{Entity, NewItem};
use pubsub::wire::reply::{Rendered, render, unmodified};
use pubsub::{
    Caller, Change, Decision, Home, Item, Needs, Refusal, Request, SubscriptionState, Timestamp, View, decide, wire,
};
use store::{CommitError, Fault};
use tokio::sync::oneshot;
use xmpp::stanza::Content;
use xmpp::{BareJid, Stanza, StanzaError, ns};

use super::happenings::Happened;
use super::public::{Subscribed, subscribed};
use super::tags::Tagging;
use super::{Pep, home_of, public};
use crate::extension::{Answer, Asked, BoxFuture, Reply, fault};
use crate::fanout::Job;
use crate::tables::nodes::{Entry, Held, Number};

/// How often a request is decided anew because somebody else was first. The turnstile makes that rare.
pub(super) const ATTEMPTS: usize = 4;

/// Why a request came to nothing.
#[derive(Debug)]
pub enum Failure {
    /// The engine said no.
    Refused(Refusal),
    /// Ours.
    Fault(Fault),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Failure> for StanzaError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.to_error(),
            Failure::Fault(error) => fault("nodes", &error),
        }
    }
}

/// What came of a change.
pub(super) struct Changed {
    pub(super) reply: pubsub::Reply,
    /// Whether the item that was published is a new one, and not another version of one; `None` where that is not known.
    pub(super) is_new: Option<bool>,
    /// The version that it replaced, in a feed.
    pub(super) before: Option<Arc<Item>>,
    /// Tells the fan-out that it may begin; absent when there is nothing to tell.
    pub(super) go: Option<oneshot::Sender<bool>>,
    /// The same for each node that changed, where several did.
    pub(super) goes: Vec<oneshot::Sender<bool>>,
    /// What bare addresses whose subscriptions changed are to the node now.
    pub(super) subscribed: Subscribed,
    /// To be done when everybody is being told.
    pub(super) after: Option<BoxFuture<()>>,
}

/// A change that the house made and told of; what is listed elsewhere does not follow yet.
#[must_use = "what is listed elsewhere is behind"]
pub(super) struct Made {
    reply: pubsub::Reply,
    is_new: Option<bool>,
    tagging: Option<Tagging>,
    /// The node, if it was deleted.
    gone: Option<Arc<Held>>,
}

impl Changed {
    /// One node changed.
    pub(super) fn one(reply: pubsub::Reply, go: Option<oneshot::Sender<bool>>) -> Self {
        Self { reply, is_new: None, before: None, go, goes: Vec::new(), subscribed: Vec::new(), after: None }
    }

    /// It is durable: those who should hear of it do.
    pub(super) fn tell(self) {
        for go in self.go.into_iter().chain(self.goes) {
            let _told = go.send(true);
        }
    }

    /// It may be lost: nobody hears of it.
    pub(super) fn abandon(self) {
        for go in self.go.into_iter().chain(self.goes) {
            let _nobody = go.send(false);
        }
    }
}

impl Pep {
    pub(super) async fn get(self: Arc<Self>, asked: Asked) -> Answer {
        let request = wire::parse(false, &asked.open()?);
        self.serve(asked, request, ns::PUBSUB).await
    }

    pub(super) async fn set(self: Arc<Self>, asked: Asked) -> Answer {
        let request = wire::parse(true, &asked.open()?);
        self.serve(asked, request, ns::PUBSUB).await
    }

    pub(super) async fn get_owner(self: Arc<Self>, asked: Asked) -> Answer {
        let request = wire::parse_owner(false, &asked.open()?);
        self.serve(asked, request, ns::PUBSUB_OWNER).await
    }

    pub(super) async fn set_owner(self: Arc<Self>, asked: Asked) -> Answer {
        let request = wire::parse_owner(true, &asked.open()?);
        self.serve(asked, request, ns::PUBSUB_OWNER).await
    }

    async fn serve(&self, asked: Asked, request: Result<Request, Refusal>, namespace: &'static str) -> Answer {
        let request = request.map_err(|refusal| refusal.to_error())?;
        if home_of(&asked.to) == Home::Account && request.node().is_some_and(|node| **node == *ns::TIMELINE) {
            return self.timeline.answer(&asked, &request).await;
        }
        let mut request = self.as_kept(&asked.to, request);
        let caller = Caller::new(asked.caller.jid.clone());
        let held = self.require_together(&asked.to, &caller.bare, &request).await?;
        self.require_notified(&asked.to, &caller, &request).await?;
        self.require_tagged(&asked.to, &request).map_err(|refusal| refusal.to_error())?;
        self.require_calm(&asked.to, &caller, &request, held.as_deref()).await?;
        public::may_ask(&request).map_err(|refusal| refusal.to_error())?;
        if request.is_change() {
            let turn = self.relate(&asked.to, &caller, &mut request).await?;
            let happenings = self.happenings(&asked.to, &caller, &request).await;
            let tagging = self.tagging(&asked.to, &request);
            let subscription = self.subscription_in(&asked, &caller, &request).await?;
            let going = self.going(&asked.to, &request).await.map_err(Failure::from)?;
            let changed = match self.mirror_of(&asked.to, &request) {
                Some(mirror) => self.change_in_step(mirror.as_ref(), &asked.to, &caller, &request).await,
                None => self.change_whole(&asked.to, &caller, request).await,
            };
            drop(turn);
            let changed = match changed {
                Err(Failure::Refused(Refusal::Unmodified(entries))) => return self.unmodified(&asked, *entries).await,
                other => other?,
            };
            if let Some((request, is_public)) = subscription {
                self.note_public(&asked.to, &caller, &request, &changed.reply, is_public).await;
            }
            let (reply, is_new, before) = (changed.reply.clone(), changed.is_new, changed.before.clone());
            let answer = self.answer_change(&asked, changed, namespace).await;
            self.note_gone(&asked.to, going).await;
            let happened = Happened { id: published(&reply), is_edit: is_new == Some(false), before };
            self.tell_happenings(&asked.to, &caller, happenings, happened).await;
            self.settle_tags(&asked.to, tagging, &reply, is_new).await;
            return answer;
        }
        let payload = self.read(&asked.to, &caller, &request).await?;
        Ok(match payload {
            Some(bytes) => Reply::Bytes { name: "pubsub", ns: namespace, bytes },
            None => Reply::Empty,
        })
    }

    /// The request with the name under which its node is kept, where it has others.
    pub(super) fn as_kept(&self, home: &BareJid, request: Request) -> Request {
        self.folded(home, Self::named(home, request))
    }

    /// The subscription that is asked for, if one is, and whether it is said to be public (XEP-0465).
    async fn subscription_in(
        &self,
        asked: &Asked,
        caller: &Caller,
        request: &Request,
    ) -> Result<Option<(Request, bool)>, StanzaError> {
        match request {
            Request::Subscribe { .. } => {
                if asked.caller.session.is_some() {
                    self.timeline.may_follow(&caller.bare).await?;
                }
                let verb = asked.open()?;
                let is_public = verb.get_child("subscribe", ns::PUBSUB).is_some_and(public::is_public);
                Ok(Some((request.clone(), is_public)))
            }
            _ => Ok(None),
        }
    }

    /// The answer first, then the notices: who publishes knows that it did before it hears of it.
    async fn answer_change(&self, asked: &Asked, mut changed: Changed, namespace: &'static str) -> Answer {
        let reply = match render(&changed.reply, home_of(&asked.to)) {
            Rendered::Payload(bytes) => Stanza::iq_result_bytes(&asked.stanza.head, "pubsub", namespace, &bytes),
            Rendered::Empty | Rendered::List(_) => Stanza::iq_result(&asked.stanza.head, None),
        };
        self.deliver(asked, reply).await;
        let after = changed.after.take();
        changed.tell();
        if let Some(after) = after {
            after.await;
        }
        Ok(Reply::Sent)
    }

    pub(in crate::extensions) async fn deliver(&self, asked: &Asked, reply: Stanza) {
        match (&asked.caller.session, self.router.upgrade()) {
            (Some(session), _) => drop(session.deliver(reply.render())),
            (None, Some(router)) => router.answer(reply).await,
            (None, None) => {}
        }
    }

    /// The error of [`Refusal::Unmodified`] has company: the entries that could not be changed.
    async fn unmodified(&self, asked: &Asked, entries: pubsub::decision::Unmodified) -> Answer {
        let mut content = Content::empty();
        content.push_bytes("pubsub", ns::PUBSUB_OWNER, &unmodified(&entries));
        let error = Refusal::Unmodified(Box::new(entries)).to_error();
        match Stanza::error_reply(&asked.stanza.head, Some(&content), &error) {
            Some(reply) => {
                self.deliver(asked, reply).await;
                Ok(Reply::Sent)
            }
            None => Err(error),
        }
    }

    /// Decides and commits, and waits until that is durable.
    pub(super) async fn change(&self, home: &BareJid, caller: &Caller, request: Request) -> Result<Changed, Failure> {
        let instant: pubsub::model::NodeName;
        let name = match request.node() {
            Some(name) => name,
            None => {
                // An instant node: the name is ours to choose.
                instant = self.ids.id().into();
                &instant
            }
        };
        if name.len() > self.limits.name_bytes_max {
            return Err(Refusal::NameTooLong(self.limits.name_bytes_max).into());
        }
        let entry = self.nodes.entry(home, name);
        for attempt in 0..ATTEMPTS {
            if let Some((receipt, mut changed)) = self.try_change(&entry, caller, &request, attempt == 0).await? {
                let durable = match receipt {
                    Some(receipt) => receipt.durable().await,
                    None => Ok(()),
                };
                if let Err(error) = durable {
                    changed.abandon();
                    return Err(error.into());
                }
                // Of what was asked for it is told when it is known whether it is public.
                if is_ended_or_given(&request) {
                    let mut subscribed = std::mem::take(&mut changed.subscribed);
                    // Who had several subscriptions and ends one has not left.
                    subscribed.retain(|(_, state)| *state == SubscriptionState::None || !is_leaving(&request));
                    self.note_subscribed(home, name, subscribed).await;
                }
                return Ok(changed);
            }
        }
        Err(Fault::new("a node was changed by somebody else again and again").into())
    }

    /// Publishes in a node of `account` what its own `publisher` asked for in another way, if there still is such an
    /// account. Durable when it resolves.
    pub(in crate::extensions) async fn publish_own(
        &self,
        account: &BareJid,
        publisher: &xmpp::Jid,
        request: Request,
    ) -> Result<(), Failure> {
        if !self.accounts.exists(account).await? {
            return Err(Refusal::ItemNotFound.into());
        }
        self.do_change(account, &Caller::new(publisher.clone()), request).await
    }

    /// A change that the house itself makes in the caller's name, and tells of.
    pub(super) async fn do_change(&self, home: &BareJid, caller: &Caller, request: Request) -> Result<(), Failure> {
        let mut request = request;
        let turn = match &request {
            Request::Delete { .. } => self.relate(home, caller, &mut request).await?,
            _ => None,
        };
        let made = self.make(home, caller, request).await?;
        drop(turn);
        self.settle(home, made).await;
        Ok(())
    }

    /// The same, without what can wait for [`Pep::settle`]. Who deletes a node holds the turn of what relates nodes.
    pub(super) async fn make(&self, home: &BareJid, caller: &Caller, request: Request) -> Result<Made, Failure> {
        let tagging = self.tagging(home, &request);
        let gone = self.going(home, &request).await?;
        let changed = self.change_whole(home, caller, request).await?;
        let made = Made { reply: changed.reply.clone(), is_new: changed.is_new, tagging, gone };
        changed.tell();
        Ok(made)
    }

    /// What is listed under hashtags, and as followed, follows a change.
    pub(super) async fn settle(&self, home: &BareJid, Made { reply, is_new, tagging, gone }: Made) {
        self.note_gone(home, gone).await;
        self.settle_tags(home, tagging, &reply, is_new).await;
    }

    /// One attempt; `None` when somebody else was first.
    async fn try_change(
        &self,
        entry: &Arc<Entry>,
        caller: &Caller,
        request: &Request,
        may_guess: bool,
    ) -> Result<Option<(Option<store::Receipt>, Changed)>, Failure> {
        let turnstile = entry.turnstile.lock().await;
        let held = self.nodes.held(entry).await?;
        let new_id = if may_guess { self.guess_new(entry, held.as_deref(), request) } else { None };
        let mut view = self.view_with(entry, held.as_deref(), request, caller, new_id).await?;
        if matches!(request, Request::Create { node: None, .. }) {
            view.fresh = entry.name.clone();
        }
        // Its time is given under the turnstile, so that the items of a node are in order of time.
        let feeder = self.timeline.feeder();
        let reservation = match request {
            Request::Publish { .. } => Some(feeder.reserve().await?),
            _ => None,
        };
        let now = reservation.as_ref().map_or_else(|| self.now(), |given| Timestamp(given.time()));
        let Decision { changes, reply, notices } = decide(&view, caller, request, now)?;
        if changes.is_empty() && notices.is_empty() {
            return Ok(Some((None, Changed::one(reply, None))));
        }
        let mut number = Number::default();
        if held.is_none() {
            self.ids.fill(&mut number);
        }
        let before = match held.as_deref() {
            Some(held) => self.replaced(entry, held, &changes).await?,
            None => None,
        };
        let (receipt, after) = if changes.is_empty() {
            (None, held.clone())
        } else {
            match self.nodes.commit(entry, held.as_deref(), &changes, new_id, number, self.clock.now()).await {
                Ok((receipt, after)) => (Some(receipt), after),
                Err(error) if error.is_conflict() => return Ok(None),
                Err(error) => return Err(broken(error).into()),
            }
        };
        let landing = after.as_ref().map(|held| feeder.landing(entry, held, &changes)).unwrap_or_default();
        drop(reservation);
        feeder.write(landing).await;
        let go = match after.or(held) {
            Some(held) if !notices.is_empty() => {
                let (go, gone) = oneshot::channel();
                let job = Job { entry: Arc::clone(entry), held, home: home_of(&entry.home), notices, go: gone };
                self.fanout.queue(job).await;
                Some(go)
            }
            _ => None,
        };
        drop(turnstile);
        self.keep_if_account(entry, request, &changes).await?;
        Ok(Some((
            receipt,
            Changed { is_new: is_new(&changes), before, subscribed: subscribed(&changes), ..Changed::one(reply, go) },
        )))
    }

    /// The id of a publish, if it may be taken for new without looking: almost every post has an id nobody used. The
    /// commit looks, and if the guess was wrong the request is decided anew. Not where a full node would make a
    /// refusal of it.
    fn guess_new<'a>(&self, entry: &Entry, held: Option<&Held>, request: &'a Request) -> Option<&'a str> {
        let Request::Publish { item: Some(NewItem { id: Some(id), .. }), .. } = request else { return None };
        let node = &held?.node;
        let has_room = match node.config.max_items {
            Bound::Max => node.tally.items < self.limits.items_per_node_max,
            Bound::At(max) => node.tally.items < max,
        };
        let is_unknown = self.nodes.item_head_here(entry, id).is_none();
        (has_room && node.config.persist_items && is_unknown).then_some(id)
    }

    /// Loads what the request needs.
    pub(super) async fn view(
        &self,
        entry: &Entry,
        held: Option<&Held>,
        request: &Request,
        caller: &Caller,
    ) -> Result<View, Fault> {
        self.view_with(entry, held, request, caller, None).await
    }

    async fn view_with(
        &self,
        entry: &Entry,
        held: Option<&Held>,
        request: &Request,
        caller: &Caller,
        new_id: Option<&str>,
    ) -> Result<View, Fault> {
        let home = &entry.home;
        let mut view = View::new(home_of(home), home.clone(), held.map(|held| held.node.clone()));
        view.limits = self.limits_of(view.home);
        let mut needs = request.needs(view.home, home, caller, view.node.as_ref());
        if new_id.is_some() {
            needs.item = None;
        }
        if let Some(held) = held {
            self.load(&mut view, &needs, entry, held, caller).await?;
        }
        if needs.creation {
            view.nodes = match view.home {
                Home::Account => self.nodes.count(home).await?,
                Home::Service => self.nodes.created_by(home, &caller.bare).await?.nodes,
            };
            view.may_create = view.home == Home::Service && self.hosting.may_create(&caller.bare);
            view.is_account = view.home == Home::Account && self.keeps_feed(home).await?;
        }
        if needs.creators_items
            && let Some(node) = &view.node
        {
            view.creators_items = self.nodes.created_by(home, &node.creator).await?.items;
        }
        if needs.moved {
            view.moved = self.nodes.moved(home, &entry.name).await?;
        }
        if needs.fresh {
            view.fresh = self.ids.id().into();
        }
        Ok(view)
    }

    async fn load(
        &self,
        view: &mut View,
        needs: &Needs,
        entry: &Entry,
        held: &Held,
        caller: &Caller,
    ) -> Result<(), Fault> {
        if needs.affiliation {
            view.affiliation = self.nodes.affiliation(held, &caller.bare).await?;
        }
        let is_strange = view.home == Home::Account && caller.bare != entry.home;
        if needs.relation || (is_strange && !held.above.is_empty()) {
            view.relation = self.contacts.relation(&entry.home, &caller.bare).await?;
        }
        view.above = self.nodes.above(&entry.home, held, &caller.bare).await?;
        view.admitted = self.nodes.is_admitted(held, &caller.bare).await?;
        let rows_max = self.limits.subscriptions_per_jid_max;
        if let Some(bare) = &needs.subscriptions_of {
            view.subscriptions = self.nodes.subscriptions_of(held, bare, rows_max).await?;
        }
        if let Some(id) = &needs.item {
            view.item = self.nodes.item_head(entry, held, id).await?;
        }
        if needs.oldest {
            view.oldest = self.nodes.oldest(held).await?;
        }
        if needs.newest {
            let present = self.nodes.present(entry, held, self.now()).await?;
            view.newest = self.nodes.newest(&present).await?;
        }
        for jid in needs.entities.iter().take(self.limits.batch_max) {
            let bare = jid.to_bare();
            view.entities.push(Entity {
                affiliation: self.nodes.affiliation(held, &bare).await?,
                subscriptions: self.nodes.subscriptions_of(held, &bare, rows_max).await?,
                jid: jid.clone(),
            });
        }
        Ok(())
    }

    /// Commits a decision nobody asked for (an item expired), and tells of it when it is durable.
    pub(super) async fn carry_out(
        &self,
        entry: &Arc<Entry>,
        held: &Arc<Held>,
        decision: Decision,
    ) -> Result<(), CommitError> {
        let Decision { changes, notices, .. } = decision;
        let (receipt, after) = match changes.is_empty() {
            true => (None, None),
            false => {
                let now = self.clock.now();
                let done = self.nodes.commit(entry, Some(held), &changes, None, held.number, now).await?;
                (Some(done.0), done.1)
            }
        };
        let (go, gone) = oneshot::channel();
        let held = after.unwrap_or_else(|| Arc::clone(held));
        let home = home_of(&entry.home);
        self.fanout.queue(Job { entry: Arc::clone(entry), held, home, notices, go: gone }).await;
        let durable = match receipt {
            Some(receipt) => receipt.durable().await,
            None => Ok(()),
        };
        let _told = go.send(durable.is_ok());
        Ok(durable?)
    }
}

const fn is_leaving(request: &Request) -> bool {
    matches!(request, Request::Unsubscribe { .. })
}

/// Whether a request ends subscriptions, or begins them by the word of others than the subscriber.
const fn is_ended_or_given(request: &Request) -> bool {
    matches!(
        request,
        Request::Unsubscribe { .. }
            | Request::SetSubscribers { .. }
            | Request::SetAffiliated { .. }
            | Request::Authorize { .. }
    )
}

/// Whether the item that changes of a node put there is a new one; `None` where they put none.
pub(super) fn is_new(changes: &[Change]) -> Option<bool> {
    let is_put = changes.iter().any(|change| matches!(change, Change::PutItem(_)));
    is_put.then(|| !changes.iter().any(|change| matches!(change, Change::DropItem { .. })))
}

/// The id of the item that was published, if one was.
pub(super) fn published(reply: &pubsub::Reply) -> Option<&str> {
    match reply {
        pubsub::Reply::Published { id, .. } => id.as_deref(),
        _ => None,
    }
}

pub(super) fn broken(error: CommitError) -> Fault {
    match error {
        CommitError::Fault(fault) => fault,
        other => Fault::new(other.to_string()),
    }
}
