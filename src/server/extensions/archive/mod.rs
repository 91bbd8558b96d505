//! XEP-0313: Message Archive Management, with XEP-0359 (stanza-ids), XEP-0334 (hints), XEP-0424 (tombstones) and
//! XEP-0441 (preferences).
//!
//! Every account has an archive of what it says and hears. A message is archived on both sides in one batch, and
//! delivered when that is durable, with the id it has in the recipient's archive: whoever was told an id can ask for
//! it after a power cut. What is kept is the stanza as it was delivered; pages are put together from those bytes.
//!
//! [`Archive`] is what other extensions use; [`Service`] answers queries.

mod configure;
mod preferences;
pub(super) mod request;
pub(super) mod results;
pub(super) mod retract;
mod serve;
pub(super) mod splice;
pub(super) mod worth;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::Deserialize;
use store::{Batch, CommitError, Fault, Store};
use xmpp::{BareJid, Jid, Stanza};

pub use self::serve::{Others, Service};
use super::messages::Ticket;
use super::roster::Books;
use crate::config::ConfigError;
use crate::extension::{Kit, Spec, Xep};
use crate::runtime::{Clock, Ids, Timestamp};
use crate::tables::archive::{Arrival, Keep, Ledger, Ledgers, Place, Policy, Preferences};

/// Microseconds in a day.
const DAY: u64 = 24 * 60 * 60 * 1_000_000;
/// Archives looked at each minute for what is too old or too much.
const SWEEP_ACCOUNTS: usize = 200;
/// Times that something is removed in one such look, 16 blocks each.
const SWEEP_TRIMS: usize = 200;
/// Segments of archives indexed each minute because somebody waits for it, and accounts that can wait.
const SEGMENTS_A_MINUTE: usize = 256;
const BEHIND_MAX: usize = 256;

static SPEC: Spec = Spec {
    name: "archive",
    xeps: &[
        Xep::complete(313, "1.1.3"),
        Xep::complete(359, "0.7.0"),
        Xep::complete(424, "0.4.2"),
        Xep::complete(431, "0.2.0"),
        Xep::complete(441, "0.2.0"),
    ],
    config: include_str!("config.toml"),
};

/// The section `[archive]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether there are archives at all.
    pub enabled: bool,
    /// For accounts that never said what they want.
    pub default: DefaultPolicy,
    /// Days a message is kept; 0 is forever.
    pub days_max: u64,
    /// Bytes of one account's archive.
    pub bytes_per_account_max: u64,
    /// Messages in one page.
    pub page_messages_max: usize,
    /// Addresses in one account's preferences.
    pub preferences_max: usize,
    /// Whether archives can be searched for what messages say.
    pub search: bool,
    /// Other bounds for the accounts of some hosts.
    pub host: Vec<HostBounds>,
}

/// What is kept for the accounts of one host: `[[archive.host]]`. What is left out is as for all.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostBounds {
    /// The host.
    pub domain: String,
    /// Instead of [`Settings::days_max`].
    pub days_max: Option<u64>,
    /// Instead of [`Settings::bytes_per_account_max`].
    pub bytes_per_account_max: Option<u64>,
}

/// A policy as the configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultPolicy {
    /// Everything.
    Always,
    /// Contacts in the roster.
    Roster,
    /// Nothing.
    Never,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            default: DefaultPolicy::Always,
            days_max: 0,
            bytes_per_account_max: 268_435_456,
            page_messages_max: 100,
            preferences_max: 1_000,
            search: true,
            host: Vec::new(),
        }
    }
}

impl Settings {
    pub(in crate::extensions) fn check(&self, hosts: &[&str]) -> Result<(), ConfigError> {
        for bounds in &self.host {
            let HostBounds { domain, bytes_per_account_max, .. } = bounds;
            if !hosts.contains(&domain.as_str()) {
                return Err(ConfigError::new(format!("`archive.host.domain`: `{domain}` is no host of this server"))
                    .with_hint("hosts are listed under `[[host]]`"));
            }
            if *bytes_per_account_max == Some(0) {
                return Err(ConfigError::new(
                    "`archive.host.bytes_per_account_max` is 0, which would refuse everything",
                ));
            }
        }
        for (name, value) in [
            ("bytes_per_account_max", self.bytes_per_account_max),
            ("page_messages_max", self.page_messages_max as u64),
            ("preferences_max", self.preferences_max as u64),
        ] {
            if value == 0 {
                return Err(ConfigError::new(format!("`archive.{name}` is 0, which would refuse everything"))
                    .with_hint("leave the key out for the default, or say `enabled = false`"));
            }
        }
        Ok(())
    }
}

/// The archive of one account.
pub(super) type Account = Ledger<Ticket>;

/// The archives of all accounts.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Archive {
    ledgers: Ledgers<Ticket>,
    store: Arc<dyn Store>,
    books: Arc<Books>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    settings: Settings,
    /// The account whose archive was last looked at for what is too old.
    swept: Mutex<String>,
    /// Accounts that search, and whose index does not reach the end of their archive.
    behind: Mutex<BTreeSet<BareJid>>,
}

impl Archive {
    /// The archives in the kit's store, as the section `[archive]` wants them.
    ///
    /// # Errors
    /// When a bound is zero.
    pub fn new(kit: &Kit, books: &Arc<Books>, settings: Settings) -> Result<Arc<Self>, ConfigError> {
        settings.check(&kit.router.hosts().collect::<Vec<_>>())?;
        let router = Arc::downgrade(&kit.router);
        let is_online = move |account: &str| router.upgrade().is_some_and(|router| router.sessions.any(account));
        let policy = match settings.default {
            DefaultPolicy::Always => Policy::Always,
            DefaultPolicy::Roster => Policy::Roster,
            DefaultPolicy::Never => Policy::Never,
        };
        let preferences = Preferences { default: policy, ..Preferences::default() };
        Ok(Arc::new(Self {
            ledgers: Ledgers::new(Arc::clone(&kit.store), preferences, is_online),
            store: Arc::clone(&kit.store),
            books: Arc::clone(books),
            clock: Arc::clone(&kit.clock),
            ids: Arc::clone(&kit.ids),
            settings,
            swept: Mutex::default(),
            behind: Mutex::default(),
        }))
    }

    /// Whether `stanza` is one that archives are for.
    pub(super) fn is_for(&self, stanza: &Stanza) -> bool {
        self.settings.enabled && worth::is_worthy(stanza)
    }

    /// The archive of `account`, if it wants messages with `contact` archived.
    pub(super) async fn open_for(&self, account: &BareJid, contact: &Jid) -> Result<Option<Arc<Account>>, Fault> {
        let ledger = self.ledgers.open(account).await?;
        let is_wanted = match ledger.preferences().decide(contact) {
            Policy::Always => true,
            Policy::Never => false,
            Policy::Roster => {
                let book = self.books.open(account).await?;
                book.contact(contact.as_bare_str()).is_some_and(|contact| contact.is_listed)
            }
        };
        Ok(is_wanted.then_some(ledger))
    }

    /// Chance for the ids of one message in two archives.
    pub(super) fn chances(&self) -> [u64; 2] {
        let mut bytes = [0; 16];
        self.ids.fill(&mut bytes);
        let both = u128::from_be_bytes(bytes);
        // Both halves fit.
        [u64::try_from(both >> 64).unwrap_or(0), u64::try_from(both & u128::from(u64::MAX)).unwrap_or(0)]
    }

    /// Gives `message` a place in `ledger`, if its account still exists.
    pub(super) fn add(
        &self,
        ledger: &Arc<Account>,
        (contact, is_outgoing): (&Jid, bool),
        chance: u64,
        message: &[u8],
        batch: &mut Batch,
    ) -> Option<InAir> {
        let arrival = Arrival { now: self.clock.now(), chance, contact: contact.as_str(), is_outgoing, message };
        let place = ledger.add(&arrival, batch)?;
        Some(InAir { ledger: Arc::clone(ledger), place })
    }

    /// The message at `place` in the archive of `account`.
    pub(super) async fn message(&self, account: &BareJid, place: Place) -> Result<Fetched, Fault> {
        let ledger = self.ledgers.open(account).await?;
        if place >= ledger.horizon() {
            return Ok(Fetched::NotYet);
        }
        let entry = self.ledgers.get(&ledger, place).await?;
        Ok(entry.map_or(Fetched::Gone, |entry| Fetched::Message(entry.message)))
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// What is said of the host of `ledger`, if that is anything of its own.
    fn host(&self, ledger: &Account) -> Option<&HostBounds> {
        let domain = ledger.account().domain();
        self.settings.host.iter().find(|host| host.domain == domain)
    }

    /// Days that messages of `ledger` are kept; 0 is forever.
    fn days(&self, ledger: &Account) -> u64 {
        let days = self.host(ledger).and_then(|host| host.days_max).unwrap_or(self.settings.days_max);
        fewer(days, ledger.preferences().days_max)
    }

    /// What is kept now of `ledger`: what its owner wants, as far as the administrator allows.
    fn keep(&self, ledger: &Account) -> Keep {
        let bytes = self.host(ledger).and_then(|host| host.bytes_per_account_max);
        let bytes = bytes.unwrap_or(self.settings.bytes_per_account_max);
        let since = match self.days(ledger) {
            0 => 0,
            days => self.clock.now().saturating_sub(days.saturating_mul(DAY)),
        };
        Keep { since, bytes_max: bytes }
    }

    /// Makes room if the archive is too full. Bounded: what is left is for the next message.
    pub(super) async fn make_room(&self, ledger: &Account) {
        let keep = self.keep(ledger);
        if ledger.size().1 <= keep.bytes_max {
            return;
        }
        if let Err(error) = self.ledgers.trim(ledger, keep).await {
            tracing::error!(account = %ledger.account(), %error, "an archive could not be trimmed");
        }
    }

    /// Removes what is too old or too much from a few archives, each time from others.
    async fn sweep(&self, _now: Timestamp) -> Result<(), CommitError> {
        let after = self.swept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let accounts = self.ledgers.accounts(&after, SWEEP_ACCOUNTS).await?;
        *self.swept.lock().unwrap_or_else(PoisonError::into_inner) = accounts.last().cloned().unwrap_or_default();
        let mut trims = SWEEP_TRIMS;
        for account in accounts {
            let Ok(account) = BareJid::new(&account) else { continue };
            let ledger = self.ledgers.open(&account).await?;
            while trims > 0 && self.ledgers.trim(&ledger, self.keep(&ledger)).await? {
                trims -= 1;
            }
        }
        Ok(())
    }

    /// The index of `account`'s archive is to be brought up to its end.
    fn is_behind(&self, account: &BareJid) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        if behind.len() < BEHIND_MAX {
            behind.insert(account.clone());
        }
    }

    /// Indexes a bounded part of what is to be.
    async fn catch_up(&self) -> Result<(), Fault> {
        let behind = std::mem::take(&mut *self.behind.lock().unwrap_or_else(PoisonError::into_inner));
        let each = (SEGMENTS_A_MINUTE / behind.len().max(1)).max(1);
        for account in behind {
            let ledger = self.ledgers.open(&account).await?;
            if self.ledgers.index(&ledger, each).await? {
                self.is_behind(&account);
            }
        }
        Ok(())
    }
}

/// The fewer of two numbers of days, where 0 is forever.
fn fewer(one: u64, other: u64) -> u64 {
    match (one, other) {
        (0, days) | (days, 0) => days,
        (one, other) => one.min(other),
    }
}

/// What became of an archived message.
pub(super) enum Fetched {
    /// It is there.
    Message(Bytes),
    /// It is on its way, or behind one that is.
    NotYet,
    /// It was too old.
    Gone,
}

/// A message on its way into an archive. Dropped before it landed, it lets those behind it pass.
pub(super) struct InAir {
    pub(super) ledger: Arc<Account>,
    pub(super) place: Place,
}

impl Drop for InAir {
    fn drop(&mut self) {
        self.ledger.abandon(self.place);
    }
}
