//! XEP-0160: Best Practices for Handling Offline Messages, with XEP-0203 (delay) and the hints of XEP-0334.
//!
//! A message that no resource can take is kept, in order, until a resource sends presence with a priority that is
//! not negative. It counts as kept when it is durable: whoever sent it has nothing else done for it before. A
//! message is taken off the queue when it is in the mailbox of a resource.
//!
//! Kept: normal and chat messages that say something. Not kept: chat states alone (XEP-0085), what carries
//! `<no-store/>`, and what comes when the queue is full.
//!
//! What is in the archive of the account (XEP-0313) is not kept a second time: the queue says where it is. Who reads
//! the archive gets nothing from the queue that is or will be in its pages.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use store::{Batch, Fault, Page};
use xmpp::stanza::{Child, Content, Kind, MessageType};
use xmpp::{BareJid, Jid, Stanza, ns};

use super::archive::{Archive, Fetched, splice};
use crate::config::Config;
use crate::extension::{Extension, Kit, Listener, Mount, Pending, Spec, To, Xep};
use crate::router::Router;
use crate::runtime::{Clock, Timestamp};
use crate::session::Session;
use crate::tables::archive::Place;
use crate::tables::fault;
use crate::tables::offline::{Head, Kept, Message, Queues, Turn};

/// Microseconds a message is kept for: a year.
const KEPT_FOR: u64 = 365 * 24 * 60 * 60 * 1_000_000;
/// Messages taken off a queue at once.
const PAGE: Page = Page { rows_max: 100, bytes_max: 512 * 1024 };
/// How often a queue is given to a resource that reads slowly is up to [`Listener::minute_passed`]; this many
/// accounts at most can wait for that.
const WAITING_MAX: usize = 10_000;

/// Keeps messages for accounts that are away.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Offline {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    clock: Arc<dyn Clock>,
    archive: Arc<Archive>,
    queues: Queues,
    messages_max: u64,
    bytes_max: u64,
    /// Accounts whose resource could not take all at once.
    waiting: Mutex<HashSet<BareJid>>,
}

static SPEC: Spec = Spec {
    name: "offline",
    xeps: &[Xep::complete(160, "1.0.1"), Xep::complete(203, "2.0"), Xep::complete(334, "1.0.0")],
    config: "",
};

/// What became of a message that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Kept,
    /// It says nothing that is of use later; nobody need know.
    Worthless,
    /// It may not be kept, or there is no room: its sender should know.
    Refused,
}

impl Offline {
    /// Keeps messages in the kit's store, beside those in `archive`.
    #[must_use]
    pub fn new(kit: &Kit, archive: &Arc<Archive>, config: &Config) -> Arc<Self> {
        Arc::new(Self {
            router: Arc::downgrade(&kit.router),
            clock: Arc::clone(&kit.clock),
            archive: Arc::clone(archive),
            queues: Queues::new(Arc::clone(&kit.store)),
            messages_max: config.limits.offline_messages_per_account_max as u64,
            // What is kept must fit into the mailbox of who reads it, with room for what else goes there.
            bytes_max: config.limits.mailbox_bytes_max as u64 / 2,
            waiting: Mutex::default(),
        })
    }

    /// Keeps `stanza` for `account`, which exists; it came `since` then, or just now. Durable when it resolves with
    /// [`Outcome::Kept`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep(
        &self,
        account: &BareJid,
        mut stanza: Stanza,
        since: Option<Timestamp>,
    ) -> Result<Outcome, Fault> {
        match worth(&stanza) {
            Worth::Nothing => return Ok(Outcome::Worthless),
            Worth::NotAllowed => return Ok(Outcome::Refused),
            Worth::Keeping => {}
        }
        let now = since.unwrap_or_else(|| self.clock.now());
        // Nobody but us speaks of when we held it up.
        let domain = account.domain();
        stanza.content = stanza.content.without(|child| is_delay_of(child, domain));
        stanza.content.push_bytes("delay", ns::DELAY, &splice::delay(domain, now));
        self.append(account, now, &stanza).await
    }

    /// Was the message kept before, as its delay says? Only asked of what came out of a mailbox of ours.
    pub fn was_kept(&self, stanza: &Stanza) -> bool {
        stanza.head.to.as_ref().is_some_and(|to| stanza.content.children().any(|child| is_delay_of(child, to.domain())))
    }

    /// Keeps a message once more that was taken off the queue and never read.
    pub async fn keep_again(&self, stanza: Stanza) {
        let Some(account) = stanza.head.to.as_ref().map(Jid::to_bare) else { return };
        if let Err(error) = self.append(&account, self.clock.now(), &stanza).await {
            tracing::error!(%account, %error, "a message could not be kept again");
        }
    }

    async fn append(&self, account: &BareJid, now: Timestamp, stanza: &Stanza) -> Result<Outcome, Fault> {
        self.add(account, now, Message::Whole(stanza.render())).await
    }

    /// Notes that the archived message at `place` waits. Nobody need know when there is no room: it is archived.
    pub async fn refer(&self, account: &BareJid, place: Place) {
        if let Err(error) = self.add(account, place.time, Message::Archived(place)).await {
            tracing::error!(%account, %error, "an archived message could not be kept");
        }
    }

    async fn add(&self, account: &BareJid, received: Timestamp, message: Message) -> Result<Outcome, Fault> {
        let turn = self.queues.turn(account.as_str()).await;
        let head = self.queues.head(account.as_str()).await?;
        let bytes = match &message {
            Message::Whole(stanza) => stanza.len() as u64,
            Message::Archived(_) => 0,
        };
        if head.messages >= self.messages_max || head.bytes + bytes > self.bytes_max {
            return Ok(Outcome::Refused);
        }
        let receipt = self.queues.append(turn, head, received, &message).await.map_err(fault)?;
        receipt.durable().await?;
        self.somebody_came(account).await;
        Ok(Outcome::Kept)
    }

    /// Room in the queue of `account` for one archived message, held until it is dropped.
    pub(super) async fn room<'a>(&'a self, account: &'a BareJid) -> Result<Room<'a>, Fault> {
        let turn = self.queues.turn(account.as_str()).await;
        let head = self.queues.head(account.as_str()).await?;
        let has_room = head.messages < self.messages_max && head.bytes <= self.bytes_max;
        Ok(Room { offline: self, turn, head, has_room })
    }

    /// A resource may have come while a message was on its way into the queue.
    pub(super) async fn somebody_came(&self, account: &BareJid) {
        if let Some(session) = self.reader(account) {
            self.deliver(&session).await;
        }
    }

    /// What is archived from `first` to `last` was given to a resource of `account`: it need not wait any more.
    pub(super) async fn was_served(&self, account: &BareJid, first: Place, last: Place) {
        if let Err(error) = self.strike(account, first, last).await {
            tracing::error!(%account, %error, "offline messages could not be read");
        }
    }

    async fn strike(&self, account: &BareJid, first: Place, last: Place) -> Result<(), Fault> {
        // Nothing is new after this: who looks without a turn may at worst strike less.
        if self.queues.head(account.as_str()).await?.messages == 0 {
            return Ok(());
        }
        let turn = self.queues.turn(account.as_str()).await;
        let mut after = None;
        loop {
            let (kept, is_all) = self.queues.behind(account.as_str(), after, PAGE).await?;
            after = kept.last().map(|kept| kept.place);
            let served: Vec<Kept> = kept
                .into_iter()
                .filter(|kept| matches!(kept.message, Message::Archived(place) if first <= place && place <= last))
                .collect();
            if !served.is_empty() {
                let _applied = self.queues.remove(&turn, &served).await.map_err(fault)?;
            }
            if is_all {
                return Ok(());
            }
        }
    }

    /// A resource of `account` that takes messages.
    fn reader(&self, account: &BareJid) -> Option<Arc<Session>> {
        let router = self.router.upgrade()?;
        let mut reader = None;
        router.sessions.for_each_of(account.as_str(), |session| {
            if session.priority().is_some_and(|priority| priority >= 0) && !session.mailbox.is_closed() {
                reader = Some(Arc::clone(session));
            }
        });
        reader
    }

    /// Gives `session` what is kept for its account, as far as its mailbox has room; the rest follows later.
    pub async fn deliver(&self, session: &Arc<Session>) {
        let account = session.jid.bare();
        match self.empty(&account, session).await {
            Ok(true) => {}
            Ok(false) => {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.len() < WAITING_MAX {
                    waiting.insert(account);
                }
            }
            Err(error) => tracing::error!(%account, %error, "offline messages could not be read"),
        }
    }

    /// `true` when nothing is left that the session takes.
    async fn empty(&self, account: &BareJid, session: &Session) -> Result<bool, Fault> {
        let turn = self.queues.turn(account.as_str()).await;
        if self.queues.head(account.as_str()).await?.messages == 0 {
            return Ok(true);
        }
        let mut after = None;
        loop {
            let (kept, is_all) = self.queues.behind(account.as_str(), after, PAGE).await?;
            after = kept.last().map(|kept| kept.place);
            let oldest = self.clock.now().saturating_sub(KEPT_FOR);
            let mut done = Vec::with_capacity(kept.len());
            let mut is_blocked = false;
            for message in kept {
                if message.received < oldest {
                    done.push(message);
                    continue;
                }
                match self.to_deliver(account, session, &message).await? {
                    ToDeliver::Now(bytes) if hand(session, &bytes) => done.push(message),
                    ToDeliver::Now(_) => {
                        is_blocked = true;
                        break;
                    }
                    ToDeliver::Never => done.push(message),
                    ToDeliver::OtherWay => {}
                }
            }
            if !done.is_empty() {
                // Applied is enough: should it not survive, the messages come twice and none is missing.
                let _applied = self.queues.remove(&turn, &done).await.map_err(fault)?;
            }
            if is_blocked || is_all {
                return Ok(!is_blocked);
            }
        }
    }

    async fn to_deliver(&self, account: &BareJid, session: &Session, kept: &Kept) -> Result<ToDeliver, Fault> {
        let place = match &kept.message {
            Message::Whole(stanza) => return Ok(ToDeliver::Now(stanza.clone())),
            Message::Archived(place) => *place,
        };
        let read = session.state().archive_read;
        if let Some(read) = read
            && !(read.reached_end && place > read.to)
        {
            return Ok(ToDeliver::OtherWay);
        }
        let message = match self.archive.message(account, place).await? {
            Fetched::Message(message) => message,
            Fetched::NotYet => return Ok(ToDeliver::OtherWay),
            Fetched::Gone => return Ok(ToDeliver::Never),
        };
        let mut tail = splice::stanza_id(account.as_str(), place);
        tail.extend_from_slice(&splice::delay(account.domain(), kept.received));
        Ok(ToDeliver::Now(splice::with_child(&message, &tail)))
    }
}

/// What to do with a message that waits.
enum ToDeliver {
    Now(Bytes),
    /// The session gets it from the archive, or who brings it looks here again.
    OtherWay,
    /// It is gone.
    Never,
}

/// Room in a queue.
pub(super) struct Room<'a> {
    offline: &'a Offline,
    turn: Turn<'a>,
    head: Head,
    has_room: bool,
}

impl Room<'_> {
    /// Adds to `batch` that the archived message at `place` waits, if there is room. What is held here may be dropped
    /// when the batch is applied.
    pub(super) fn put(&self, place: Place, batch: &mut Batch) {
        if self.has_room {
            let message = Message::Archived(place);
            self.offline.queues.put(&self.turn, self.head, place.time, &message, batch);
        }
    }
}

fn is_delay_of(child: &Child, domain: &str) -> bool {
    child.is("delay", ns::DELAY) && child.open().is_ok_and(|delay| delay.attr("from") == Some(domain))
}

/// Delivers if the mailbox is at most half full afterwards.
fn hand(session: &Session, stanza: &Bytes) -> bool {
    session.mailbox.has_room(stanza.len()) && session.deliver(stanza.clone())
}

#[derive(Debug, PartialEq, Eq)]
enum Worth {
    Keeping,
    Nothing,
    NotAllowed,
}

/// Should the message be kept (XEP-0160 section 3, XEP-0334 section 4)?
fn worth(stanza: &Stanza) -> Worth {
    if !matches!(stanza.head.kind, Kind::Message(MessageType::Normal | MessageType::Chat)) {
        return Worth::Nothing;
    }
    let content = &stanza.content;
    let says_something = content.has("store", ns::HINTS)
        || content.children().any(|child| child.ns() != ns::CHAT_STATES && !child.is("thread", ns::CLIENT));
    if !says_something {
        return Worth::Nothing;
    }
    if is_transient(content) { Worth::NotAllowed } else { Worth::Keeping }
}

fn is_transient(content: &Content) -> bool {
    content.has("no-store", ns::HINTS)
}

/// The extension: what [`Offline`] hears of.
struct Ears(Arc<Offline>);

impl Listener for Ears {
    /// What came while the session was being written down could not be put into its mailbox any more.
    fn session_resumed(&self, session: &Arc<Session>) -> Pending<()> {
        if session.priority().is_none_or(|priority| priority < 0) {
            return Pending::now(());
        }
        let (offline, session) = (Arc::clone(&self.0), Arc::clone(session));
        Pending::later(async move { offline.deliver(&session).await })
    }

    fn minute_passed(&self, _now: Timestamp) -> Pending<()> {
        let waiting = std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return Pending::now(());
        }
        let offline = Arc::clone(&self.0);
        Pending::later(async move {
            for account in waiting {
                if let Some(session) = offline.reader(&account) {
                    offline.deliver(&session).await;
                }
            }
        })
    }

    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        let (offline, account) = (Arc::clone(&self.0), account.clone());
        Pending::later(async move {
            if let Err(error) = offline.queues.delete(account.as_str()).await {
                tracing::error!(%account, %error, "the offline messages of a removed account are left behind");
            }
        })
    }
}

impl Extension for Offline {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.feature(To::DOMAIN, ns::OFFLINE);
        at.listener(Arc::new(Ears(self)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use xmpp::limits::Limits;

    #[test]
    fn what_is_worth_keeping() {
        let states = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        for (type_, content, expected) in [
            ("chat", "<body>Hello</body>", Worth::Keeping),
            ("normal", "<subject>Hello</subject>", Worth::Keeping),
            ("chat", states, Worth::Nothing),
            ("chat", &format!("{states}<thread>t</thread>"), Worth::Nothing),
            ("chat", "", Worth::Nothing),
            ("chat", &format!("{states}<store xmlns='urn:xmpp:hints'/>"), Worth::Keeping),
            ("chat", "<body>x</body><no-store xmlns='urn:xmpp:hints'/>", Worth::NotAllowed),
            ("chat", "<body>x</body><no-permanent-store xmlns='urn:xmpp:hints'/>", Worth::Keeping),
            ("headline", "<body>x</body>", Worth::Nothing),
            ("groupchat", "<body>x</body>", Worth::Nothing),
            ("error", "<body>x</body><store xmlns='urn:xmpp:hints'/>", Worth::Nothing),
        ] {
            let stanza = format!("<message type='{type_}' to='a@b'>{content}</message>");
            let stanza = Stanza::parse(stanza.into(), &Limits::server()).unwrap();
            assert_eq!(worth(&stanza), expected, "{type_} {content}");
        }
    }
}
