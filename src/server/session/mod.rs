//! Who is here: the sessions of this house, by account.
//!
//! A [`Session`] is one bound resource (RFC 6120 section 7, RFC 6121 section 1.4.2): its address, its
//! [`Mailbox`], its presence and what it cares about. [`Sessions`] finds them; it knows nothing of sockets.

mod frame;
pub mod interest;
pub mod mailbox;
pub mod management;
pub mod remotes;
pub mod unacked;
mod urgency;

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use xmpp::stanza::Content;
use xmpp::stream::Condition;
use xmpp::stream::entry::Proof;
use xmpp::{BareJid, FullJid, Jid, StanzaError, ns};

use self::interest::Interest;
use self::mailbox::{Frame, Mailbox};
use self::management::{Ended, Resumable};
use crate::config::ResourceConflict;
use crate::runtime::Timestamp;
use crate::tables::archive::Place;
use crate::tables::clients::Certificate;

/// Seconds at the allowed rate that a quiet stream may send at once.
const BURST_SECONDS: u64 = 4;

/// One bound resource.
#[derive(Debug)]
pub struct Session {
    /// Its address.
    pub jid: FullJid,
    /// What is to be written to its stream.
    pub mailbox: Mailbox,
    state: Mutex<State>,
    /// When bytes last came, in microseconds since the Unix epoch.
    heard: AtomicU64,
    /// Until when the bytes that came are paid for, at the rate allowed; in the same unit.
    paid_until: AtomicU64,
    /// When an acknowledgement was asked for that has not come, in the same unit; else 0.
    asked: AtomicU64,
}

/// What changes during a session.
#[derive(Debug, Default)]
pub struct State {
    /// `Some` while the resource is available (RFC 6121 section 4).
    pub available: Option<Available>,
    /// Whether the roster was asked for: an *interested* resource (RFC 6121 section 2.1.6).
    pub interested: bool,
    /// Whether the blocklist was asked for, so that pushes are wanted (XEP-0191 section 3.2).
    pub blocklist_interested: bool,
    /// What was told since the resource said what it wants to be told; there for the first minute only.
    pub settling: Option<Box<Settling>>,
    /// Who was sent directed presence and must hear of the end (RFC 6121 section 4.6.5).
    pub directed: BTreeSet<Jid>,
    /// Whether it wants copies of what the account's other resources say and hear (XEP-0280).
    pub wants_carbons: bool,
    /// Messages it sent or received lately of which others got copies, so that they hear of errors too.
    pub copied: Option<Box<Copied>>,
    /// Which client it is of and how that logged in. Of a session that waits since an earlier run nothing is known.
    pub login: Option<Box<Login>>,
    /// Whether its stream is not encrypted.
    pub is_in_clear: bool,
    /// How far it has read its archive, if it has (XEP-0313).
    pub archive_read: Option<ArchiveRead>,
    /// How it can be resumed when its stream is lost, if it can (XEP-0198).
    pub resumable: Option<Box<Resumable>>,
}

/// How a client logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// What its account calls the client, if that is known again.
    pub client: Option<Box<str>>,
    /// How it has proven who it is.
    pub proof: Proof,
    /// The certificate it has shown for that, or for the token it has shown.
    pub certificate: Option<Certificate>,
    /// Whether it may change who has access to the account (XEP-0257).
    pub may_manage: bool,
}

/// The last few messages that were copied to other resources, by who they were to or from, and their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    hashes: [u64; COPIED_MAX],
    next: usize,
}

/// An error that comes after so many other messages is not copied any more.
const COPIED_MAX: usize = 32;

impl Copied {
    /// Remembers the message with this id to or from `other`.
    pub fn remember(&mut self, other: &Jid, id: &str) {
        if let Some(slot) = self.hashes.get_mut(self.next) {
            *slot = Self::hash(other, id);
        }
        self.next = (self.next + 1) % COPIED_MAX;
    }

    /// Whether the message is remembered. Another may seem to be, so rarely that it does no harm.
    #[must_use]
    pub fn has(&self, other: &Jid, id: &str) -> bool {
        self.hashes.contains(&Self::hash(other, id))
    }

    fn hash(other: &Jid, id: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (other.as_str(), id).hash(&mut hasher);
        hasher.finish()
    }
}

/// How far a session has read the archive of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveRead {
    /// The last message it was given.
    pub to: Place,
    /// Whether that was the last one there was.
    pub reached_end: bool,
}

/// What a resource was told of nodes while it settles in: the last item, news, or both, with the node's version.
///
/// Both are on their way at the same time then. Each looks here first, so that nobody hears of one item twice.
#[derive(Debug)]
pub struct Settling {
    since: Timestamp,
    told: HashMap<(BareJid, Box<str>), Told>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    last_item: Option<u64>,
    news: Option<u64>,
}

/// For how long last items and news can overtake each other, in microseconds.
const SETTLING: Timestamp = 60_000_000;

/// The last available presence of a resource.
#[derive(Clone, Debug)]
pub struct Available {
    /// RFC 6121 section 4.7.2.3.
    pub priority: i8,
    /// How available it says it is: see [`Session::show`].
    pub show: &'static str,
    /// The children of the presence stanza, as checked bytes.
    pub content: Bytes,
    /// The stanza from behind the recipient's address: the same for everybody who may see it.
    pub shared: Bytes,
    /// When the resource became available, in microseconds since the Unix epoch.
    pub since: u64,
    /// What the entity behind it wants to be told, once its capabilities are known (XEP-0115, XEP-0163).
    pub interest: Option<Arc<Interest>>,
}

/// What a presence stanza says of how available its sender is: the value of `<show/>`, `online` if there is none.
#[must_use]
pub fn show_in(content: &Content) -> &'static str {
    let said = content.child("show", ns::CLIENT).and_then(|show| show.open().ok()).map(|show| show.text());
    let known = ["away", "chat", "dnd", "xa"];
    said.and_then(|said| known.into_iter().find(|known| *known == said.trim())).unwrap_or("online")
}

impl Session {
    /// The changing part. Held briefly, never across an await.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The priority, if the resource is available.
    #[must_use]
    pub fn priority(&self) -> Option<i8> {
        self.state().available.as_ref().map(|available| available.priority)
    }

    /// How available the resource says it is: the value of `<show/>` (RFC 6121 section 4.7.2.1), `online` if it says
    /// nothing; `None` if it is not available.
    #[must_use]
    pub fn show(&self) -> Option<&'static str> {
        self.state().available.as_ref().map(|available| available.show)
    }

    /// Whether what happens for the account reaches this resource at once: it is there to be told, and takes messages.
    #[must_use]
    pub fn is_awake(&self) -> bool {
        !self.mailbox.is_closed() && !self.is_detached() && self.priority().is_some_and(|priority| priority >= 0)
    }

    /// Notes that bytes came at `now`.
    pub fn heard(&self, now: Timestamp) {
        self.heard.store(now, Ordering::Relaxed);
    }

    /// When bytes last came; 0 before the first ones after binding.
    #[must_use]
    pub fn last_heard(&self) -> Timestamp {
        self.heard.load(Ordering::Relaxed)
    }

    /// Notes that the client was asked `at` that time how far it is (XEP-0198).
    pub fn asked(&self, at: Timestamp) {
        self.asked.store(at, Ordering::Relaxed);
    }

    /// Notes that it has answered.
    pub fn answered(&self) {
        self.asked.store(0, Ordering::Relaxed);
    }

    /// Whether it was asked more than `seconds` ago and has not answered.
    #[must_use]
    pub fn is_unresponsive(&self, seconds: u64, now: Timestamp) -> bool {
        let asked = self.asked.load(Ordering::Relaxed);
        asked > 0 && asked.saturating_add(seconds * 1_000_000) < now
    }

    /// How long to wait before reading on so that the stream stays below `bytes_per_second_max` on average, with
    /// `BURST_SECONDS` of credit for whoever was quiet. Called by the connection's own loop only.
    #[must_use]
    pub fn pace(&self, bytes: usize, bytes_per_second_max: u64, now: Timestamp) -> Option<Duration> {
        let cost = (bytes as u64).saturating_mul(1_000_000) / bytes_per_second_max.max(1);
        let from = self.paid_until.load(Ordering::Relaxed).max(now.saturating_sub(BURST_SECONDS * 1_000_000));
        self.paid_until.store(from + cost, Ordering::Relaxed);
        (from + cost).checked_sub(now).filter(|wait| *wait > 0).map(Duration::from_micros)
    }

    /// The resource has just said what it wants to be told.
    pub fn settles(&self) {
        let since = self.last_heard();
        self.state().settling = Some(Box::new(Settling { since, told: HashMap::new() }));
    }

    /// Forgets what was told, if that was long enough ago.
    pub fn settled(&self, now: Timestamp) {
        self.state().settling.take_if(|settling| settling.since.saturating_add(SETTLING) < now);
    }

    /// Whether news of `version` is still news here: not if the last item, as told, covers it.
    #[must_use]
    pub fn is_news(&self, home: &BareJid, node: &str, version: u64) -> bool {
        let mut state = self.state();
        let Some(settling) = &mut state.settling else { return true };
        let told = settling.told.entry((home.clone(), node.into())).or_default();
        told.news = told.news.max(Some(version));
        told.last_item.is_none_or(|covered| covered < version)
    }

    /// Whether the last item of a node at `version` should be told: not if it was, or came as news.
    #[must_use]
    pub fn wants_last_item(&self, home: &BareJid, node: &str, version: u64) -> bool {
        let mut state = self.state();
        let Some(settling) = &mut state.settling else { return true };
        let told = settling.told.entry((home.clone(), node.into())).or_default();
        let is_covered = told.news.max(told.last_item).is_some_and(|covered| covered >= version);
        told.last_item = told.last_item.max(Some(version));
        !is_covered
    }

    /// Queues a finished stanza; see [`Mailbox::push`].
    pub fn deliver(&self, bytes: Bytes) -> bool {
        self.mailbox.push(Frame::Whole(bytes))
    }
}

/// Bounds on sessions.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Sessions one account may have at once.
    pub sessions_per_account_max: usize,
    /// Bytes that may wait in one mailbox.
    pub mailbox_bytes_max: usize,
}

const SHARDS: usize = 64;
type Shard = HashMap<BareJid, Vec<Arc<Session>>>;

/// Every session of the house.
#[derive(Debug)]
pub struct Sessions {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    limits: SessionLimits,
    count: AtomicUsize,
    /// Those that are over.
    pub ended: Ended,
}

impl Sessions {
    /// No sessions yet.
    #[must_use]
    pub fn new(limits: SessionLimits) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            limits,
            count: AtomicUsize::new(0),
            ended: Ended::default(),
        }
    }

    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the length")]
    fn shard(&self, account: &str) -> MutexGuard<'_, Shard> {
        let at = usize::try_from(self.hasher.hash_one(account) % SHARDS as u64).unwrap_or(0);
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Binds `jid` to a new session.
    ///
    /// `now` counts as the first sign of life; `fresh` makes another resource when `policy` is [`ResourceConflict::Rename`]. Errors are those of RFC 6120
    /// section 7: `conflict`, and `resource-constraint` when the account has too many sessions.
    pub fn bind(
        &self,
        jid: FullJid,
        policy: ResourceConflict,
        now: Timestamp,
        fresh: impl FnOnce() -> String,
    ) -> Result<Arc<Session>, StanzaError> {
        let bare = jid.bare();
        let mut shard = self.shard(bare.as_str());
        let sessions = shard.entry(bare.clone()).or_default();
        let mut jid = jid;
        if let Some(at) = sessions.iter().position(|session| session.jid == jid) {
            match policy {
                ResourceConflict::Replace => {
                    sessions.swap_remove(at).mailbox.close(Some(Condition::Conflict));
                    self.count.fetch_sub(1, Ordering::Relaxed);
                }
                ResourceConflict::Refuse => return Err(StanzaError::conflict()),
                ResourceConflict::Rename => {
                    jid = bare.with_resource(&fresh()).map_err(|_| StanzaError::internal_server_error())?;
                }
            }
        }
        if sessions.len() >= self.limits.sessions_per_account_max {
            return Err(StanzaError::resource_constraint());
        }
        let session = Arc::new(Session {
            jid,
            mailbox: Mailbox::new(self.limits.mailbox_bytes_max),
            state: Mutex::default(),
            heard: AtomicU64::new(now),
            paid_until: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        });
        sessions.push(Arc::clone(&session));
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(session)
    }

    /// Forgets `session`. Its mailbox is closed; whether it was still known is returned.
    pub fn unbind(&self, session: &Arc<Session>) -> bool {
        session.mailbox.close(None);
        let account = session.jid.bare();
        let mut shard = self.shard(account.as_str());
        let Some(sessions) = shard.get_mut(&account) else { return false };
        let before = sessions.len();
        sessions.retain(|other| !Arc::ptr_eq(other, session));
        let known = sessions.len() < before;
        if sessions.is_empty() {
            shard.remove(&account);
        }
        if known {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        known
    }

    /// The session bound to `jid`.
    #[must_use]
    pub fn find(&self, jid: &FullJid) -> Option<Arc<Session>> {
        let account = jid.as_bare_str();
        self.shard(account).get(account)?.iter().find(|session| session.jid == *jid).cloned()
    }

    /// Every session of the account `bare`.
    #[must_use]
    pub fn of(&self, bare: &str) -> Vec<Arc<Session>> {
        self.shard(bare).get(bare).cloned().unwrap_or_default()
    }

    /// Calls `each` with every session of the account `bare`, without copying the list. Must not call back here.
    pub fn for_each_of(&self, bare: &str, mut each: impl FnMut(&Arc<Session>)) {
        if let Some(sessions) = self.shard(bare).get(bare) {
            sessions.iter().for_each(&mut each);
        }
    }

    /// Whether the account has any session.
    #[must_use]
    pub fn any(&self, bare: &str) -> bool {
        self.shard(bare).contains_key(bare)
    }

    /// How many sessions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Every session, for shutting down and for listing. A copy: not for hot paths.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.shards
            .iter()
            .flat_map(|shard| {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard.values().flatten().cloned().collect::<Vec<_>>()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{ResourceConflict, SessionLimits, Sessions};
    use xmpp::{BareJid, FullJid};

    #[test]
    fn an_item_is_told_as_the_last_one_or_as_news_and_not_as_both() {
        let sessions = Sessions::new(SessionLimits { sessions_per_account_max: 1, mailbox_bytes_max: 1 });
        let jid = FullJid::new("romeo@montague.lit/orchard").unwrap();
        let session = sessions.bind(jid, ResourceConflict::Replace, 1, String::new).unwrap();
        let home = BareJid::new("juliet@capulet.lit").unwrap();
        assert!(session.is_news(&home, "n", 1) && session.is_news(&home, "n", 1), "nothing is remembered in peace");

        session.settles();
        assert!(session.wants_last_item(&home, "n", 7));
        assert!(!session.is_news(&home, "n", 6) && !session.is_news(&home, "n", 7), "the last item covered it");
        assert!(session.is_news(&home, "n", 8) && session.is_news(&home, "n", 8), "a change may bring two notices");
        assert!(!session.wants_last_item(&home, "n", 8), "it came as news");
        assert!(session.is_news(&home, "other", 1));

        session.settled(59_000_000);
        assert!(!session.wants_last_item(&home, "n", 8));
        session.settled(62_000_000);
        assert!(session.wants_last_item(&home, "n", 8));
    }
}
