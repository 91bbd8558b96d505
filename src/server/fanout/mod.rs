//! Telling many: each notice is rendered once into shared bytes, and its audience walked.
//!
//! A fixed number of long-lived tasks does it, each with a bounded queue; a node always goes to the same one, so its
//! notices leave in the order of its versions. Who queues a notice holds the node's turnstile; when the queue is full,
//! that one waits, and with it the client that publishes. A notice waits in its place until the one who queued it says
//! that the change is durable.

mod audience;
pub mod contacts;
mod extended;

pub use audience::from_account;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use pubsub::wire::notification::{self, Origin, is_headline};
use pubsub::{Audience, Event, Home, NodeConfig, Notice, Timestamp};
use store::Fault;
use tokio::sync::{mpsc, oneshot};
use xmpp::limits::Limits;
use xmpp::{Jid, Stanza};

use self::contacts::Contacts;
use crate::extension::{Caller, Direction};
use crate::router::Router;
use crate::router::classify::Destination;
use crate::runtime::{Clock, Ids, start, survive};
use crate::session::mailbox::Frame;
use crate::tables::nodes::{Entry, Held, Nodes};

/// Tasks that tell. More than the cores would only take turns.
const TASKS: usize = 4;
/// Jobs waiting for one task.
const JOBS_MAX: usize = 256;
/// Recipients told before the task lets others run.
const STRIDE: usize = 256;

/// What one change to a node has to tell.
pub struct Job {
    /// The node.
    pub entry: Arc<Entry>,
    /// The node as the change left it; as it was, if it was deleted.
    pub held: Arc<Held>,
    /// What kind of home it is in.
    pub home: Home,
    /// What to tell, in this order.
    pub notices: Vec<Notice>,
    /// `true` when the change is durable and its asker answered, `false` when it failed.
    pub go: oneshot::Receiver<bool>,
}

/// The queues.
pub struct Fanout {
    told: Arc<Telling>,
    queues: Vec<mpsc::Sender<Job>>,
    hasher: RandomState,
}

/// What a task needs to tell.
struct Telling {
    router: Weak<Router>,
    nodes: Arc<Nodes>,
    contacts: Arc<dyn Contacts>,
    ids: Arc<dyn Ids>,
    clock: Arc<dyn Clock>,
}

impl Fanout {
    /// Starts the tasks; they end when the last handle is dropped.
    #[must_use]
    pub fn start(
        router: Weak<Router>,
        nodes: Arc<Nodes>,
        contacts: Arc<dyn Contacts>,
        (ids, clock): (Arc<dyn Ids>, Arc<dyn Clock>),
    ) -> Self {
        let told = Arc::new(Telling { router, nodes, contacts, ids, clock });
        let queues = (0..TASKS)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(JOBS_MAX);
                start(Arc::clone(&told).work(receiver));
                sender
            })
            .collect();
        Self { told, queues, hasher: RandomState::new() }
    }

    /// Queues a job. Waits when there is no room; the caller holds the node's turnstile.
    pub async fn queue(&self, job: Job) {
        let at = self.hasher.hash_one((job.entry.home.as_str(), &*job.entry.name)) % self.queues.len().max(1) as u64;
        let Some(queue) = usize::try_from(at).ok().and_then(|at| self.queues.get(at)) else { return };
        // A closed queue means that the house is closing: nobody is there to be told.
        let _closing = queue.send(job).await;
    }

    /// Tells one address the newest item of a node, because it came online or gained access. Not queued: nothing
    /// else is to be told before or after it.
    pub async fn tell_last_item(&self, entry: &Entry, held: &Held, to: &Jid) {
        let Some(router) = self.told.router.upgrade() else { return };
        if let Some(tail) = self.told.last_item(entry, held).await {
            let telling = Message::new(&held.node.config, &Event::LastItem, tail);
            self.told.send(&router, entry, to, &telling, true).await;
        }
    }
}

/// A rendered notification.
struct Message {
    /// Everything after the `to` attribute.
    tail: Bytes,
    is_headline: bool,
}

impl Message {
    fn new(config: &NodeConfig, event: &Event, tail: Bytes) -> Self {
        Self { tail, is_headline: is_headline(event, config) }
    }

    /// The whole message for one recipient.
    fn whole(&self, to: &Jid) -> Bytes {
        let mut out = Vec::with_capacity(self.tail.len() + 64);
        notification::prefix(&mut out, to.as_str());
        out.extend_from_slice(&self.tail);
        out.into()
    }

    fn frame(&self, to: &Jid) -> Frame {
        Frame::Addressed { before: "<message to='", to: to.clone(), after: self.tail.clone() }
    }
}

impl Telling {
    async fn work(self: Arc<Self>, mut jobs: mpsc::Receiver<Job>) {
        while let Some(mut job) = jobs.recv().await {
            let goes = match (&mut job.go).await {
                Ok(goes) => goes,
                // Who asked is gone, and the change is made all the same: tell it when it is durable.
                Err(_) => self.nodes.flushed().await.is_ok(),
            };
            if !goes {
                continue;
            }
            let before = Arc::clone(&job.held);
            if let Err(error) = self.raise(&mut job).await {
                tracing::error!(%error, home = %job.entry.home, node = %job.entry.name, "what is above cannot be read");
                continue;
            }
            if survive(self.tell(&job, &before)).await.is_none() {
                tracing::error!(home = %job.entry.home, node = %job.entry.name, "telling a notice panicked");
            }
        }
    }

    /// Who hears of a change is decided by what is above the node after it; of a node that is gone, by what was.
    async fn raise(&self, job: &mut Job) -> Result<(), Fault> {
        let is_gone = job.notices.iter().any(|notice| matches!(notice.event, Event::Deleted(_)));
        if !is_gone && job.held.guard.is_none() {
            job.held = self.nodes.raised(&job.entry, Arc::clone(&job.held)).await?;
        }
        Ok(())
    }

    /// `before`: the node as it was related before the change.
    async fn tell(&self, job: &Job, before: &Held) {
        let Some(router) = self.router.upgrade() else { return };
        for notice in &job.notices {
            match &notice.audience {
                Audience::One(to) => self.tell_one(&router, job, notice, to).await,
                Audience::Owners => match job.home {
                    Home::Account => self.tell_one(&router, job, notice, &Jid::from(&job.entry.home)).await,
                    Home::Service => self.tell_owners(&router, job, notice).await,
                },
                Audience::Subscribers => self.tell_subscribers(&router, job, notice).await,
                Audience::Extended => self.tell_extended(&router, job, before, notice).await,
            }
        }
    }

    /// Renders a notice. `has_payload`: with the payload; `has_body`: with a readable text, if the payload has one.
    fn render(&self, job: &Job, event: &Event, has_payload: bool, has_body: bool) -> Message {
        let otherwise;
        let config: &NodeConfig = match &job.held.node.config {
            config if config.deliver_payloads == has_payload => config,
            config => {
                otherwise = NodeConfig { deliver_payloads: has_payload, ..NodeConfig::clone(config) };
                &otherwise
            }
        };
        let id = self.ids.id();
        let origin = Origin { home: &job.entry.home, node: &job.entry.name, config, id: &id };
        Message::new(config, event, notification::tail(&origin, event, has_body))
    }

    async fn last_item(&self, entry: &Entry, held: &Held) -> Option<Bytes> {
        // The newest of its time: what came later is told as news.
        let end = held.node.tally.sequence.saturating_add(1);
        let newest = async {
            let present = self.nodes.present(entry, held, Timestamp(self.clock.now() / 1000)).await?;
            self.nodes.recent(entry, &present, |recent| recent.before(Some(end), 1)).await
        };
        let newest = newest.await.inspect_err(|error| tracing::error!(%error, "the newest item cannot be read"));
        let newest = newest.ok()??;
        let newest = newest.first()?;
        let id = self.ids.id();
        let config = &held.node.config;
        let origin = Origin { home: &entry.home, node: &entry.name, config, id: &id };
        Some(notification::last_item(&origin, newest, config.include_body))
    }

    async fn tell_one(&self, router: &Router, job: &Job, notice: &Notice, to: &Jid) {
        let message = if notice.event == Event::LastItem {
            let Some(tail) = self.last_item(&job.entry, &job.held).await else { return };
            Message::new(&job.held.node.config, &notice.event, tail)
        } else {
            self.render(job, &notice.event, job.held.node.config.deliver_payloads, false)
        };
        self.send(router, &job.entry, to, &message, job.home == Home::Account).await;
    }

    async fn tell_owners(&self, router: &Router, job: &Job, notice: &Notice) {
        let mut after = None;
        loop {
            let page = match self.nodes.affiliations(&job.held, after.as_ref(), STRIDE).await {
                Ok(page) => page,
                Err(error) => return tracing::error!(%error, "owners cannot be read"),
            };
            for (owner, affiliation) in &page {
                if *affiliation == pubsub::Affiliation::Owner {
                    self.tell_one(router, job, notice, &Jid::from(owner)).await;
                }
            }
            if page.len() < STRIDE {
                return;
            }
            after = page.last().map(|(bare, _)| bare.clone());
        }
    }

    /// Sends a message to one address. A headline for somebody here goes straight to the sessions; everything else
    /// takes the way of all messages.
    async fn send(&self, router: &Router, entry: &Entry, to: &Jid, message: &Message, is_account: bool) {
        let from = Jid::from(&entry.home);
        if is_account && !self.may_pass(router, Direction::Outbound, entry.home.as_str(), to, &from, to).await {
            return;
        }
        match router.classify(to) {
            Destination::Account(bare) if message.is_headline => {
                // RFC 6121 section 8.5.2.1.1: a headline goes to every resource that is not of negative priority.
                if !router.sessions.any(bare.as_str())
                    || !self.may_pass(router, Direction::Inbound, bare.as_str(), &from, &from, to).await
                {
                    return;
                }
                router.sessions.for_each_of(bare.as_str(), |session| {
                    if session.priority().is_some_and(|priority| priority >= 0) {
                        session.mailbox.push(message.frame(to));
                    }
                });
            }
            Destination::Resource(full) if message.is_headline => {
                if let Some(session) = router.sessions.find(&full)
                    && self.may_pass(router, Direction::Inbound, full.as_bare_str(), &from, &from, to).await
                {
                    session.mailbox.push(message.frame(to));
                }
            }
            // The house has no use for notifications addressed to itself.
            Destination::Domain(_) | Destination::Service(_) => {}
            Destination::Remote(domain) => {
                let _unreachable = router.relay_frame(Some(&from), &domain, message.frame(to));
            }
            Destination::Account(_) | Destination::Resource(_) => {
                match Stanza::parse(message.whole(to), &Limits { stanza_bytes_max: usize::MAX, ..Limits::server() }) {
                    Ok(stanza) => router.route(Caller { jid: from, session: None }, stanza).await,
                    Err(_) => tracing::error!(home = %entry.home, node = %entry.name, "a notification cannot be read"),
                }
            }
        }
    }

    /// Blocking covers notifications (XEP-0163 section 4.3.3, XEP-0191 section 3.2).
    async fn may_pass(
        &self,
        router: &Router,
        direction: Direction,
        account: &str,
        other: &Jid,
        from: &Jid,
        to: &Jid,
    ) -> bool {
        if account == other.as_bare_str() || router.wiring().guards.is_empty() {
            return true;
        }
        let head = Stanza::new(xmpp::stanza::Kind::Message(xmpp::stanza::MessageType::Headline));
        let stanza = head.from(from.clone()).to(to.clone());
        router.guard(direction, account, other, &stanza).await.is_ok()
    }
}
