//! XEP-0357: Push Notifications: a device that sleeps is woken by way of its maker's app server.
//!
//! A client enables a push service and the node there that stands for it. When something happens that the device
//! sleeps through, one task publishes a summary to that node in the name of the account's domain. Who is asleep is
//! found out for each device by the resource that enabled its service: others may be awake.
//!
//! What was enabled is durable. What happened since a device slept is not: after a restart counting begins anew, and
//! messages still wait where they always do.

mod device;
mod enable;
mod notification;
mod roll;
mod schedule;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde::Deserialize;
use store::Fault;
use tokio::sync::mpsc;
use xmpp::limits::Limits;
use xmpp::{BareJid, Stanza, ns};

use self::device::{Device, Last};
use self::roll::Roll;
use self::schedule::Schedule;
use super::blocking::Blocks;
use super::messages::waking;
use super::roster::Books;
use crate::config::ConfigError;
use crate::extension::{Extension, Kit, Listener, Mount, Occasion, OccasionKind, Pending, Spec, To, Xep};
use crate::router::Router;
use crate::runtime::{Clock, start, survive};
use crate::session::Session;
use crate::session::mailbox::Frame;
use crate::tables::cache::{Cache, Weight};
use crate::tables::push::Registrations;
use crate::tables::turns::Turns;

/// Services kept at hand for accounts that are not online, and accounts without any.
const SERVICES_MAX: usize = 100_000;
/// Publications out at a time, in all and to one domain: services that never answer hold no more than that.
const OUT_MAX: usize = 2_000;
const OUT_PER_DOMAIN_MAX: usize = 100;

static SPEC: Spec = Spec {
    name: "push",
    xeps: &[Xep::partial(286, "1.0.0"), Xep::complete(357, "0.4.1")],
    config: include_str!("config.toml"),
};

/// The section `[push]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether there are push notifications at all.
    pub enabled: bool,
    /// What app servers are told.
    pub content: Content,
    /// Instead of a message's text.
    pub text: String,
    /// Services one account may have enabled.
    pub services_per_account_max: usize,
    /// Bytes of one form of publish options.
    pub form_bytes_max: usize,
    /// Seconds between two notifications for one device.
    pub interval_seconds_min: u64,
    /// Failures in a row until a service is disabled.
    pub failures_max: u32,
}

/// What app servers are told of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// How many there are.
    Counts,
    /// And who sent the last one.
    Sender,
    /// And what it says.
    Body,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            content: Content::Counts,
            text: "New message".to_owned(),
            services_per_account_max: 16,
            form_bytes_max: 4_096,
            interval_seconds_min: 5,
            failures_max: 16,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<(), ConfigError> {
        for (name, value) in [
            ("services_per_account_max", self.services_per_account_max as u64),
            ("interval_seconds_min", self.interval_seconds_min),
            ("failures_max", self.failures_max.into()),
        ] {
            if value == 0 {
                return Err(ConfigError::new(format!("`push.{name}` is 0, which would wake nobody"))
                    .with_hint("leave the key out for the default, or say `enabled = false`"));
            }
        }
        if self.services_per_account_max > 500 {
            return Err(ConfigError::new("`push.services_per_account_max` is more than 500"));
        }
        Ok(())
    }

    fn interval(&self) -> u64 {
        self.interval_seconds_min.saturating_mul(1_000_000)
    }
}

/// The devices of one account.
struct Account {
    jid: BareJid,
    devices: Mutex<Vec<Device>>,
    /// When it stands in the schedule.
    scheduled: Mutex<Option<schedule::Slot>>,
}

impl Account {
    fn devices(&self) -> MutexGuard<'_, Vec<Device>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Weight for Account {
    fn weight(&self) -> usize {
        self.devices().len()
    }
}

/// An occasion, remembered.
struct Happened {
    kind: OccasionKind,
    resource: Option<Box<str>>,
    last: Option<Last>,
    is_again: bool,
}

impl Happened {
    fn concerns(&self, device: &Device) -> bool {
        let resource = &device.registration.resource;
        device.wants(self.kind) && self.resource.as_ref().is_none_or(|only| only == resource)
    }
}

/// Wakes devices.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Push {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    books: Arc<Books>,
    blocks: Arc<Blocks>,
    clock: Arc<dyn Clock>,
    registrations: Registrations,
    accounts: Cache<Account>,
    roll: Arc<Roll>,
    /// One account's services are counted and written in its turn.
    turns: Turns,
    settings: Settings,
    schedule: Arc<Schedule>,
    out: AtomicUsize,
}

impl Push {
    /// Wakes the devices of the kit's accounts. Starts the task that does it.
    ///
    /// # Errors
    /// When a bound makes no sense.
    pub fn new(
        kit: &Kit,
        books: &Arc<Books>,
        blocks: &Arc<Blocks>,
        settings: Settings,
    ) -> Result<Arc<Self>, ConfigError> {
        settings.check()?;
        let router = Arc::downgrade(&kit.router);
        let online = Weak::clone(&router);
        let is_online = move |account: &str| online.upgrade().is_some_and(|router| router.sessions.any(account));
        let (schedule, bell) = Schedule::new();
        let push = Arc::new(Self {
            router,
            books: Arc::clone(books),
            blocks: Arc::clone(blocks),
            clock: Arc::clone(&kit.clock),
            registrations: Registrations::new(Arc::clone(&kit.store)),
            accounts: Cache::new(SERVICES_MAX, is_online),
            roll: Arc::default(),
            turns: Turns::default(),
            settings,
            schedule: Arc::new(schedule),
            out: AtomicUsize::new(0),
        });
        if push.settings.enabled {
            start(work(Arc::downgrade(&push), bell));
            let (roll, registrations) = (Arc::clone(&push.roll), push.registrations.clone());
            start(async move {
                if let Err(error) = roll.fill(&registrations).await {
                    tracing::error!(%error, "who has push services cannot be read; it is looked for each time");
                }
            });
        }
        Ok(push)
    }

    async fn open(&self, account: &BareJid) -> Result<Arc<Account>, Fault> {
        if let Some(account) = self.accounts.get(account.as_str()) {
            return Ok(account);
        }
        let load = async || {
            let registrations = self.registrations.load(account.as_str()).await?;
            let interval = self.settings.interval();
            let devices = registrations.into_iter().map(|registration| Device::new(registration, interval)).collect();
            Ok(Account { jid: account.clone(), devices: Mutex::new(devices), scheduled: Mutex::default() })
        };
        self.accounts.load(account, load).await
    }

    /// Something happened for `account`: notes it for the devices that want to know and sleep.
    fn happened(&self, account: &Arc<Account>, happened: &Happened) {
        let Happened { kind, last, is_again, .. } = happened;
        let Some(router) = self.router.upgrade() else { return };
        let now = self.clock.now();
        let mut next = None;
        {
            let mut devices = account.devices();
            for device in devices.iter_mut().filter(|device| happened.concerns(device)) {
                if is_awake(&router, &account.jid, &device.registration.resource) {
                    device.woke(now, self.settings.interval());
                } else {
                    device.happened(now, *kind, last.clone(), *is_again);
                    next = earlier(next, device.next());
                }
            }
        }
        if let Some(next) = next {
            self.schedule.put(account, next);
        }
    }

    /// What has to be remembered of an occasion: of messages, what may be told.
    fn remembered(&self, occasion: &Occasion<'_>) -> Happened {
        let is_message = matches!(occasion.kind, OccasionKind::Message | OccasionKind::Call);
        let last = (is_message && self.settings.content != Content::Counts).then(|| Last {
            from: occasion.from.as_str().into(),
            text: if self.settings.content == Content::Body { (occasion.text)() } else { None },
        });
        Happened { kind: occasion.kind, resource: occasion.resource.map(Box::from), last, is_again: occasion.is_again }
    }

    /// Publishes whatever is due. The time until something else is, is returned.
    async fn round(self: &Arc<Self>) -> Option<Duration> {
        for (account, service, node) in self.schedule.refused() {
            self.drop_service(&account, &service, &node).await;
        }
        let now = self.clock.now();
        while let Some(account) = self.schedule.take(now) {
            let next = self.publish_due(&account).await;
            if let Some(next) = next {
                self.schedule.put(&account, next);
            }
        }
        let next = self.schedule.next()?;
        Some(Duration::from_micros(next.saturating_sub(self.clock.now()).max(1_000)))
    }

    /// Publishes what is due for one account. When something is next is returned.
    async fn publish_due(self: &Arc<Self>, account: &Arc<Account>) -> Option<u64> {
        let router = self.router.upgrade()?;
        let (now, interval) = (self.clock.now(), self.settings.interval());
        // Requests are counted for who is told, and only then.
        let waiting = match self.books.open(&account.jid).await {
            Ok(book) => book.requests().len() as u64,
            Err(_) => 0,
        };
        let (mut leaving, mut next) = (Vec::new(), None);
        {
            let mut devices = account.devices();
            for device in devices.iter_mut() {
                if device.is_due(now) {
                    if is_awake(&router, &account.jid, &device.registration.resource) {
                        device.woke(now, interval);
                    } else if !self.has_room(device.registration.service.domain()) {
                        device.put_off(now, interval);
                    } else {
                        let (content, text) = (self.settings.content, &self.settings.text);
                        let iq = notification::publication(&account.jid, device, waiting, content, text);
                        device.left(now, interval);
                        let registration = &device.registration;
                        leaving.push((registration.service.clone(), registration.node.clone(), iq));
                    }
                }
                next = earlier(next, device.next());
            }
        }
        for (service, node, iq) in leaving {
            let (push, account, to) = (Arc::downgrade(self), Arc::clone(account), service.clone());
            let then = Box::new(move |answer: Option<Stanza>| {
                let Some(push) = push.upgrade() else { return };
                push.ended(&account, (&service, &node), notification::outcome(answer.as_ref()));
            });
            router.ask(to, iq, then).await;
        }
        next
    }

    /// Whether one more publication may be out; if so, it is counted.
    fn has_room(&self, domain: &str) -> bool {
        if self.out.load(Ordering::Relaxed) >= OUT_MAX || !self.schedule.goes_out(domain, OUT_PER_DOMAIN_MAX) {
            return false;
        }
        self.out.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// A publication was answered, or nobody answered in time.
    fn ended(&self, account: &Arc<Account>, (service, node): (&xmpp::Jid, &str), outcome: device::Outcome) {
        self.out.fetch_sub(1, Ordering::Relaxed);
        self.schedule.came_in(service.domain());
        let now = self.clock.now();
        let (mut stays, mut next) = (true, None);
        for device in account.devices().iter_mut() {
            if device.registration.service == *service && *device.registration.node == *node {
                stays = device.ended(now, outcome, self.settings.failures_max);
                next = device.next();
            }
        }
        if !stays {
            self.schedule.refuse(account, service, node);
        } else if let Some(next) = next {
            self.schedule.put(account, next);
        }
    }

    /// Notes what is in the mailbox of a session that has just lost its stream.
    fn slept_through(&self, account: &Arc<Account>, session: &Session) {
        let resource = session.jid.resource();
        if !account.devices().iter().any(|device| device.is_of(resource)) {
            return;
        }
        for (frame, _) in session.mailbox.copy() {
            let Frame::Whole(bytes) = frame else { continue };
            let Ok(stanza) = Stanza::parse(bytes, &Limits::server()) else { continue };
            let text = || waking::text(&stanza);
            if let Some(occasion) = waking::occasion_of(&stanza, Some(resource), &text) {
                self.happened(account, &self.remembered(&occasion));
            }
        }
    }

    /// The device behind `resource` has come, and is told everything.
    fn woke(&self, account: &str, resource: &str) {
        let Some(account) = self.accounts.get(account) else { return };
        let (now, interval) = (self.clock.now(), self.settings.interval());
        for device in account.devices().iter_mut() {
            if *device.registration.resource == *resource {
                device.woke(now, interval);
            }
        }
    }
}

fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Whether what happens for `account` reaches the device behind `resource` at once.
fn is_awake(router: &Router, account: &BareJid, resource: &str) -> bool {
    let mut is_awake = false;
    router.sessions.for_each_of(account.as_str(), |session| {
        is_awake |= session.jid.resource() == resource && session.is_awake();
    });
    is_awake
}

/// The task that publishes: asleep until something is due, or the bell rings. Ends with the last handle of `push`.
async fn work(push: Weak<Push>, mut bell: mpsc::Receiver<()>) {
    loop {
        let wait = {
            let Some(push) = push.upgrade() else { return };
            let round = survive(push.round()).await;
            round.unwrap_or_else(|| {
                tracing::error!("publishing push notifications panicked");
                None
            })
        };
        let rung = match wait {
            Some(wait) => tokio::time::timeout(wait, bell.recv()).await.unwrap_or(Some(())),
            None => bell.recv().await,
        };
        if rung.is_none() {
            return;
        }
    }
}

/// What [`Push`] hears of.
struct Ears(Arc<Push>);

impl Listener for Ears {
    fn deserves_waking(&self, account: &BareJid, occasion: &Occasion<'_>) -> Pending<()> {
        let (push, kind) = (&self.0, occasion.kind);
        if !push.roll.may_have(account.as_str()) {
            return Pending::now(());
        }
        let is_blocked = push.blocks.is_blocked_at_hand(account.as_str(), occasion.from);
        if let Some(known) = push.accounts.get(account.as_str()) {
            if is_blocked == Some(true) || !known.devices().iter().any(|device| device.wants(kind)) {
                return Pending::now(());
            }
            if is_blocked.is_some() {
                push.happened(&known, &push.remembered(occasion));
                return Pending::now(());
            }
        }
        let (push, account, happened) = (Arc::clone(push), account.clone(), push.remembered(occasion));
        let from = occasion.from.clone();
        Pending::later(async move {
            // What nobody blocks comes through where it is not known whom the account blocks.
            if push.blocks.is_blocked(&account, &from).await.unwrap_or(false) {
                return;
            }
            match push.open(&account).await {
                Ok(account) => push.happened(&account, &happened),
                Err(error) => tracing::error!(%account, %error, "push services could not be read"),
            }
        })
    }

    /// What was written to a stream that is lost, and not acknowledged, the device may not have seen.
    fn session_detached(&self, session: &Arc<Session>) -> Pending<()> {
        if !self.0.roll.may_have(session.jid.as_bare_str()) {
            return Pending::now(());
        }
        let (push, session) = (Arc::clone(&self.0), Arc::clone(session));
        Pending::later(async move {
            if let Ok(account) = push.open(&session.jid.bare()).await {
                push.slept_through(&account, &session);
            }
        })
    }

    fn presence_updated(&self, session: &Arc<Session>) -> Pending<()> {
        if session.is_awake() {
            self.0.woke(session.jid.as_bare_str(), session.jid.resource());
        }
        Pending::now(())
    }

    fn session_resumed(&self, session: &Arc<Session>) -> Pending<()> {
        if session.is_awake() {
            self.0.woke(session.jid.as_bare_str(), session.jid.resource());
        }
        Pending::now(())
    }

    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        let (push, account) = (Arc::clone(&self.0), account.clone());
        Pending::later(async move {
            if let Some(known) = push.accounts.get(account.as_str()) {
                known.devices().clear();
            }
            push.accounts.forget(account.as_str());
            let _turn = push.turns.of(account.as_str()).await;
            if let Err(error) = push.registrations.delete(account.as_str()).await {
                tracing::error!(%account, %error, "the push services of a removed account are left behind");
            }
        })
    }
}

impl Extension for Push {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        if self.settings.enabled {
            at.iq_set(To::ACCOUNT, ("enable", ns::PUSH), &self, Self::enable);
            at.iq_set(To::ACCOUNT, ("disable", ns::PUSH), &self, Self::disable);
            at.feature(To::ACCOUNT, notification::OCCASIONS);
            at.listener(Arc::new(Ears(self)));
        }
    }
}
