//! Walking an audience: explicit subscriptions, wherever they are, and in an account those who asked with `+notify`
//! (XEP-0163 section 4).
//!
//! An explicit subscription is told at its address, whether anybody is there or not. Who sees the account's presence
//! is told at each available resource whose capabilities ask for the node, unless its address is subscribed. Of contacts
//! on other servers those resources are told whose presence the account was sent.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use pubsub::access::{Standing, may_be_notified};
use pubsub::config::AccessModel;
use pubsub::extended::Place as Seen;
use pubsub::model::Shows;
use pubsub::request::{Relation, effective};
use pubsub::wire::notification::is_headline;
use pubsub::wire::{notification, timeline};
use pubsub::{Event, Home, Notice, SubId, Subscription, SubscriptionState};
use store::Fault;
use xmpp::{BareJid, Jid, ns};

use super::{Job, Message, STRIDE, Telling};
use crate::extension::Direction;
use crate::router::Router;
use crate::router::bundle::Bundle;
use crate::router::classify::Destination;
use crate::session::Session;
use crate::session::mailbox::Frame;
use crate::session::remotes::Remote;
use crate::tables::nodes::Lookout;
use crate::tables::timeline::Place;

/// A notification with and without a readable text, with and without its payload, each rendered when it is first needed.
pub(super) struct Variants<'a> {
    telling: &'a Telling,
    pub(super) job: &'a Job,
    pub(super) notice: &'a Notice,
    router: &'a Router,
    /// Who was told by an extended subscription (XEP-0497), by bare address.
    pub(super) told: HashMap<Box<str>, Vec<Jid>>,
    plain: Option<Variant<'a>>,
    with_body: Option<Variant<'a>>,
    /// With the payload where the node has none, without it where it has.
    otherwise: Option<Variant<'a>>,
    otherwise_with_body: Option<Variant<'a>>,
    /// As it is told to who reads it in a timeline.
    timeline: Option<Bytes>,
}

/// A rendered notification, and who is to be told of it on other servers.
struct Variant<'a> {
    message: Message,
    afar: Bundle<'a>,
}

impl<'a> Variants<'a> {
    pub(super) fn new(telling: &'a Telling, router: &'a Router, job: &'a Job, notice: &'a Notice) -> Self {
        Self {
            telling,
            job,
            notice,
            router,
            told: HashMap::new(),
            plain: None,
            with_body: None,
            otherwise: None,
            otherwise_with_body: None,
            timeline: None,
        }
    }

    fn get(&mut self, has_payload: Option<bool>, has_body: bool) -> &mut Variant<'a> {
        let by_default = self.job.held.node.config.deliver_payloads;
        let has_wish = matches!(self.notice.event, Event::Published(_));
        let has_payload = has_payload.filter(|_| has_wish).unwrap_or(by_default);
        let slot = match (has_payload == by_default, has_body) {
            (true, false) => &mut self.plain,
            (true, true) => &mut self.with_body,
            (false, false) => &mut self.otherwise,
            (false, true) => &mut self.otherwise_with_body,
        };
        slot.get_or_insert_with(|| {
            let message = self.telling.render(self.job, &self.notice.event, has_payload, has_body);
            let from = Jid::from(&self.job.entry.home);
            let afar = Bundle::message(self.router, from, message.tail.clone(), !message.is_headline);
            Variant { message, afar }
        })
    }

    /// Sends what waits for others of its domain. Who cannot be reached now is not told: what could not be delivered
    /// later is bounced to the account, and leads to nothing either.
    pub(super) fn finish(self) {
        for variant in [self.plain, self.with_body, self.otherwise, self.otherwise_with_body].into_iter().flatten() {
            let _unreachable = variant.afar.finish();
        }
    }
}

impl Telling {
    pub(super) async fn tell_subscribers(&self, router: &Router, job: &Job, notice: &Notice) {
        let mut variants = Variants::new(self, router, job, notice);
        if let Err(error) = self.tell_explicit(router, &mut variants).await {
            tracing::error!(%error, home = %job.entry.home, node = %job.entry.name, "subscribers cannot be read");
        }
        self.tell_lookouts(router, &mut variants, &job.held).await;
        if job.home == Home::Account
            && let Err(error) = self.tell_implicit(router, &mut variants).await
        {
            tracing::error!(%error, home = %job.entry.home, node = %job.entry.name, "contacts cannot be read");
        }
        variants.finish();
    }

    async fn tell_explicit(&self, router: &Router, variants: &mut Variants<'_>) -> Result<(), Fault> {
        let job = variants.job;
        if job.held.node.tally.subscribers == 0 {
            return Ok(());
        }
        if let Some(all) = self.nodes.all_subscribers(&job.entry, &job.held).await? {
            let mut rest = all.as_slice();
            while !rest.is_empty() {
                let (page, others) = first_page(rest);
                self.tell_page(router, variants, page, None).await?;
                rest = others;
            }
            return Ok(());
        }
        let mut from = None;
        loop {
            let page = self.nodes.subscribers(&job.held, from.as_ref(), STRIDE).await?;
            self.tell_page(router, variants, &page.rows, None).await?;
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    /// Tells some subscribers of the node, or those who are subscribed where it is seen from.
    pub(super) async fn tell_page(
        &self,
        router: &Router,
        variants: &mut Variants<'_>,
        page: &[Subscription],
        lookout: Option<&Lookout>,
    ) -> Result<(), Fault> {
        let job = variants.job;
        let config = &job.held.node.config;
        let is_account = job.home == Home::Account;
        for of_address in page.chunk_by(|one, next| one.jid == next.jid) {
            // Several subscriptions of one address are told of by one notification (XEP-0060 section 6.1.6).
            let Some(mut reader) = Reader::of(of_address, variants.notice, lookout, router) else { continue };
            let to = reader.jid;
            if config.presence_based_delivery && !is_available(router, &job.entry.home, to) {
                continue;
            }
            // Who lost access since it subscribed is not told (XEP-0163 section 7.1).
            if let Some(lookout) = lookout {
                if !self.is_new_to(router, variants, lookout, to).await? {
                    continue;
                }
                // They are of another node, and so say nothing about this one.
                reader.named.clear();
            } else if (job.held.is_watched()
                || !matches!(config.access_model, AccessModel::Open | AccessModel::Authorize))
                && !self.may_read(job, &to.to_bare()).await?
            {
                continue;
            }
            if self.are_apart(router, job, variants.notice, to).await {
                continue;
            }
            if lookout.is_some() {
                variants.told.entry(to.as_bare_str().into()).or_default().push(to.clone());
            }
            let variant = variants.get(reader.has_payload, config.include_body || reader.has_body);
            if !reader.named.is_empty() {
                let tail = notification::by_subscriptions(&variant.message.tail, &reader.named);
                let message = Message { tail, is_headline: variant.message.is_headline };
                self.send(router, &job.entry, to, &message, is_account).await;
                if lookout.is_none() && to.is_bare() && router.serves(to.domain()) {
                    self.tell_timeline(router, variants, to).await;
                }
            } else if router.serves(to.domain()) {
                self.send(router, &job.entry, to, &variant.message, is_account).await;
                if lookout.is_none() && to.is_bare() {
                    self.tell_timeline(router, variants, to).await;
                }
            } else if !is_account || self.may_leave(router, &job.entry.home, to).await {
                variant.afar.add(to.clone()).await;
            }
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Whether a reader blocks who published what is told, or the one who has the node in a service; or is blocked by one
    /// of them. That between a reader and the home itself is asked elsewhere.
    async fn are_apart(&self, router: &Router, job: &Job, notice: &Notice, to: &Jid) -> bool {
        let home = &job.entry.home;
        let publisher = match &notice.event {
            Event::Published(item) => Some(&item.publisher),
            _ => None,
        };
        let creator = (job.home == Home::Service).then_some(&job.held.node.creator);
        let is_here = router.serves(to.domain());
        // Who is not there is told nothing, whatever is between them.
        let is_headline = is_headline(&notice.event, &job.held.node.config);
        if is_here && is_headline && !router.sessions.any(to.as_bare_str()) {
            return false;
        }
        let from = Jid::from(home);
        for other in publisher.into_iter().chain(creator) {
            if other == home || other.as_str() == to.as_bare_str() || other.localpart().is_none() {
                continue;
            }
            let jid = Jid::from(other);
            if is_here && !self.may_pass(router, Direction::Inbound, to.as_bare_str(), &jid, &from, to).await
                || router.serves(other.domain())
                    && !self.may_pass(router, Direction::Outbound, other.as_str(), to, &from, to).await
            {
                return true;
            }
        }
        false
    }

    /// Tells those clients of a follower that read its timeline (`xeps/chirrup-timeline.md`) of the new entry.
    async fn tell_timeline(&self, router: &Router, variants: &mut Variants<'_>, to: &Jid) {
        let job = variants.job;
        let Event::Published(item) = &variants.notice.event else { return };
        // What is not kept is in no timeline.
        if !job.held.node.config.persist_items || item.sequence > job.held.node.tally.sequence {
            return;
        }
        let mut sessions: Vec<Arc<Session>> = Vec::new();
        router.sessions.for_each_of(to.as_bare_str(), |session| {
            if wants(session, ns::TIMELINE) {
                sessions.push(Arc::clone(session));
            }
        });
        let from = Jid::from(&job.entry.home);
        if sessions.is_empty()
            || !self.may_pass(router, Direction::Outbound, job.entry.home.as_str(), to, &from, to).await
            || !self.may_pass(router, Direction::Inbound, to.as_bare_str(), &from, &from, to).await
        {
            return;
        }
        let tail = variants.timeline.get_or_insert_with(|| {
            timeline::notification(&timeline::Entry {
                id: &Place::new(item.updated.0, &job.held.number, item.sequence).id(),
                home: &job.entry.home,
                node: &job.entry.name,
                config: &job.held.node.config,
                item,
            })
        });
        for session in sessions {
            session.mailbox.push(from_account(&session, tail));
        }
    }

    /// Whether an entity may read the node now.
    async fn may_read(&self, job: &Job, entity: &BareJid) -> Result<bool, Fault> {
        let home = &job.entry.home;
        let stored = self.nodes.affiliation(&job.held, entity).await?;
        let affiliation = effective(job.home, home, entity, stored);
        let relation = match job.home {
            Home::Account if entity != home => self.contacts.relation(home, entity).await?,
            Home::Account | Home::Service => Relation::default(),
        };
        let is_subscribed = self.nodes.is_admitted(&job.held, entity).await?.unwrap_or(false);
        let standing = Standing { affiliation, is_subscribed, relation: &relation };
        Ok(may_be_notified(&job.held.node.config, &standing)
            && self.nodes.lets_pass(home, &job.held, entity, &relation).await?)
    }

    async fn tell_implicit(&self, router: &Router, variants: &mut Variants<'_>) -> Result<(), Fault> {
        let job = variants.job;
        let home = &job.entry.home;
        // The account itself: subscribed to all of its nodes (XEP-0060 section 9.1.1).
        self.tell_interested(router, variants, home).await?;
        for contact in self.contacts.watchers(home).await? {
            if contact == *home {
                continue;
            }
            if router.serves(contact.domain()) {
                self.tell_interested(router, variants, &contact).await?;
            } else {
                self.tell_interested_afar(router, variants, &contact).await?;
            }
        }
        Ok(())
    }

    /// The available resources of `bare` that asked for the node.
    async fn tell_interested(&self, router: &Router, variants: &mut Variants<'_>, bare: &BareJid) -> Result<(), Fault> {
        let job = variants.job;
        let home = &job.entry.home;
        let mut sessions: Vec<Arc<Session>> = Vec::new();
        router.sessions.for_each_of(bare.as_str(), |session| {
            if wants(session, &job.entry.name) {
                sessions.push(Arc::clone(session));
            }
        });
        if sessions.is_empty() || !self.may_read(job, bare).await? {
            return Ok(());
        }
        let (from, to) = (Jid::from(&job.entry.home), Jid::from(bare));
        if !self.may_pass(router, Direction::Outbound, job.entry.home.as_str(), &to, &from, &to).await
            || !self.may_pass(router, Direction::Inbound, bare.as_str(), &from, &from, &to).await
        {
            return Ok(());
        }
        if self.are_apart(router, job, variants.notice, &to).await {
            return Ok(());
        }
        let subscribed = self.told_explicitly(router, variants, bare).await?;
        let has_body = job.held.node.config.include_body;
        for session in sessions {
            let to = Jid::from(&session.jid);
            // A bare subscription reaches every resource that is not of negative priority.
            let is_told = subscribed
                .iter()
                .any(|jid| *jid == to || jid.is_bare() && session.priority().is_some_and(|priority| priority >= 0));
            if !is_told && session.is_news(home, &job.entry.name, variants.notice.version) {
                session.mailbox.push(variants.get(None, has_body).message.frame(&to));
            }
        }
        Ok(())
    }

    /// The resources of a contact on another server that the account sees and that asked for the node.
    async fn tell_interested_afar(
        &self,
        router: &Router,
        variants: &mut Variants<'_>,
        bare: &BareJid,
    ) -> Result<(), Fault> {
        let job = variants.job;
        let home = &job.entry.home;
        let wants = |one: &Remote| one.interest.as_ref().is_some_and(|interest| interest.wants(&job.entry.name));
        let remotes = router.remotes.seen(home, bare, wants);
        if remotes.is_empty()
            || !self.may_read(job, bare).await?
            || !self.may_leave(router, home, &Jid::from(bare)).await
            || self.are_apart(router, job, variants.notice, &Jid::from(bare)).await
        {
            return Ok(());
        }
        let subscribed = self.told_explicitly(router, variants, bare).await?;
        let variant = variants.get(None, job.held.node.config.include_body);
        for remote in remotes {
            let to = Jid::from(&remote.jid);
            if !subscribed.iter().any(|jid| *jid == to || jid.is_bare() && remote.priority >= 0) {
                variant.afar.add(to).await;
            }
        }
        Ok(())
    }

    /// Whether the account sends to this address on another server.
    async fn may_leave(&self, router: &Router, home: &BareJid, to: &Jid) -> bool {
        self.may_pass(router, Direction::Outbound, home.as_str(), to, &Jid::from(home), to).await
    }

    /// The subscribed addresses of `bare` that hear of this, there or by way of another node.
    pub(super) async fn told_explicitly(
        &self,
        router: &Router,
        variants: &Variants<'_>,
        bare: &BareJid,
    ) -> Result<Vec<Jid>, Fault> {
        let (job, notice) = (variants.job, variants.notice);
        let mut told = variants.told.get(bare.as_str()).cloned().unwrap_or_default();
        if job.held.node.tally.subscribers > 0 {
            let subscriptions = self.nodes.subscriptions_of(&job.held, bare, STRIDE).await?;
            let hearing = subscriptions.into_iter().filter(|one| hears(one, notice, None) && is_shown(one, router));
            told.extend(hearing.map(|one| one.jid));
        }
        Ok(told)
    }
}

/// Whether a subscription to the node, or where it is seen from, hears of what happened at that version of the node.
fn hears(subscription: &Subscription, notice: &Notice, lookout: Option<&Lookout>) -> bool {
    subscription.state == SubscriptionState::Subscribed
        && subscription.options.deliver
        // Another node counts its versions by itself.
        && (lookout.is_some() || subscription.since <= notice.version)
        && subscription.options.reach.hears(&notice.event, lookout.map_or(Seen::Here, |lookout| lookout.place))
}

/// Whether the subscriber is as available as it wants to be told (`pubsub#show-values`). Of who is elsewhere it is not
/// known, and so it is told.
fn is_shown(subscription: &Subscription, router: &Router) -> bool {
    let Some(wanted) = subscription.options.show else { return true };
    let fits = |session: &Session| session.show().and_then(Shows::one).is_some_and(|show| show.meets(wanted));
    match router.classify(&subscription.jid) {
        Destination::Account(bare) => {
            let mut is_shown = false;
            router.sessions.for_each_of(bare.as_str(), |session| is_shown |= fits(session));
            is_shown
        }
        Destination::Resource(full) => router.sessions.find(&full).is_some_and(|session| fits(&session)),
        Destination::Remote(_) | Destination::Domain(_) | Destination::Service(_) => true,
    }
}

/// A subscribed address that hears of something.
struct Reader<'a> {
    jid: &'a Jid,
    /// Whether it wants a text: where one of several subscriptions does, all do (section 12.8).
    has_body: bool,
    /// Whether it wants payloads, if it has said so: where one of several subscriptions does, all do.
    has_payload: Option<bool>,
    /// By which of its subscriptions it hears, where that must be said.
    named: Vec<SubId>,
}

impl<'a> Reader<'a> {
    /// From all subscriptions of the address; `None` where none of them hears of the notice.
    fn of(all: &'a [Subscription], notice: &Notice, lookout: Option<&Lookout>, router: &Router) -> Option<Self> {
        let is_told = |one: &&Subscription| hears(one, notice, lookout) && is_shown(one, router);
        let first = all.iter().find(is_told)?;
        if all.len() == 1 {
            let options = first.options;
            let (has_body, has_payload) = (options.include_body, options.has_payload);
            return Some(Self { jid: &first.jid, has_body, has_payload, named: Vec::new() });
        }
        let told = || all.iter().filter(is_told);
        let has_body = told().any(|one| one.options.include_body);
        let wishes = || told().map(|one| one.options.has_payload);
        let is_wanted = wishes().any(|wish| wish == Some(true));
        let has_payload = if is_wanted { Some(true) } else { wishes().all(|wish| wish.is_some()).then_some(false) };
        let is_named = notification::names_subscriptions(&notice.event);
        let named = if is_named { told().map(|one| one.id).collect() } else { Vec::new() };
        Some(Self { jid: &first.jid, has_body, has_payload, named })
    }
}

/// The subscriptions to tell before others run, all of one address together; and the rest.
fn first_page(all: &[Subscription]) -> (&[Subscription], &[Subscription]) {
    let last = all.get(STRIDE.saturating_sub(1)).map(|one| &one.jid);
    let more = all.iter().skip(STRIDE).take_while(|one| Some(&one.jid) == last).count();
    all.split_at_checked(STRIDE + more).unwrap_or((all, &[]))
}

/// A message from the account of `session` itself to it.
#[must_use]
pub fn from_account(session: &Session, tail: &[u8]) -> Frame {
    let mut out = Vec::with_capacity(tail.len() + 160);
    notification::prefix(&mut out, session.jid.as_str());
    out.extend_from_slice(b" from='");
    xmpp::xml::escape_attr(&mut out, session.jid.as_bare_str());
    out.push(b'\'');
    out.extend_from_slice(tail);
    Frame::Whole(out.into())
}

/// Whether a resource asked for notifications of the node.
fn wants(session: &Session, node: &str) -> bool {
    let state = session.state();
    let interest = state.available.as_ref().and_then(|available| available.interest.as_ref());
    interest.is_some_and(|interest| interest.wants(node))
}

/// Whether somebody is known to be there; on other servers, by the presence that `home` was sent.
fn is_available(router: &Router, home: &BareJid, jid: &Jid) -> bool {
    match router.classify(jid) {
        Destination::Account(bare) => {
            let mut is_available = false;
            router.sessions.for_each_of(bare.as_str(), |session| is_available |= session.priority().is_some());
            is_available
        }
        Destination::Resource(full) => router.sessions.find(&full).is_some_and(|session| session.priority().is_some()),
        Destination::Remote(_) => router.remotes.is_seen(home, jid),
        Destination::Domain(_) | Destination::Service(_) => false,
    }
}
