//! Accounts that nobody can log in to for the time being (XEP-0133 section 4.3).
//!
//! ```text
//! Disabled: domain, localpart -> address, when
//! ```
//!
//! They are few, and asked for at every login: all are kept at hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use store::{Batch, CommitError, Fault, Page, Store};
use xmpp::BareJid;

use super::Table;
use super::row::{Reader, Writer};
use crate::runtime::Timestamp;

const FORMAT: u8 = 1;
/// Rows read at once.
const ROWS: usize = 1_000;

/// All of them.
pub struct Disabled {
    store: Arc<dyn Store>,
    at_hand: Mutex<BTreeMap<BareJid, Timestamp>>,
}

impl std::fmt::Debug for Disabled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disabled").finish_non_exhaustive()
    }
}

impl Disabled {
    /// Those in `store`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(store: Arc<dyn Store>) -> Result<Self, Fault> {
        let mut at_hand = BTreeMap::new();
        let mut range = Table::Disabled.key().range();
        loop {
            let rows = store.scan(range.clone(), Page::rows(ROWS)).await?;
            let (is_complete, mut last) = (rows.is_complete, None);
            for (key, row) in rows {
                let mut row = Reader::new(row, FORMAT, "disabled accounts")?;
                let (account, since) = (row.text()?, row.u64()?);
                let account = BareJid::new(&account)
                    .map_err(|error| Fault::new(format!("a disabled account has a bad address: {error}")))?;
                at_hand.insert(account, since);
                last = Some(key);
            }
            match last {
                Some(last) if !is_complete => range = range.after(&last),
                _ => break,
            }
        }
        Ok(Self { store, at_hand: Mutex::new(at_hand) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<BareJid, Timestamp>> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `account` is one of them.
    #[must_use]
    pub fn has(&self, account: &BareJid) -> bool {
        self.lock().contains_key(account)
    }

    /// Those of `domain`, in order.
    #[must_use]
    pub fn of(&self, domain: &str) -> Vec<BareJid> {
        self.lock().keys().filter(|account| account.domain() == domain).cloned().collect()
    }

    /// Disables `account`. Durable when this returns.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn add(&self, account: &BareJid, now: Timestamp) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        batch.put(key(account), Writer::new(FORMAT).text(account.as_str()).u64(now).finish());
        self.lock().insert(account.clone(), now);
        self.store.commit_durably(batch).await
    }

    /// Enables `account`. Durable when this returns.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove(&self, account: &BareJid) -> Result<bool, CommitError> {
        if !self.has(account) {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.delete(key(account));
        self.store.commit_durably(batch).await?;
        self.lock().remove(account);
        Ok(true)
    }
}

fn key(account: &BareJid) -> Bytes {
    Table::Disabled.key().str(account.domain()).str(account.localpart().unwrap_or_default()).build()
}
