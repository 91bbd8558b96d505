//! The message of the day, and who was given it (XEP-0133 section 4.23).
//!
//! ```text
//! MessageOfTheDay: domain            -> version, text
//! MessageOfTheDay: domain, localpart -> version of the message the account was given last
//! ```

use std::sync::Arc;

use bytes::Bytes;
use store::{Batch, CommitError, Fault, Store};
use xmpp::BareJid;

use super::Table;
use super::row::{Reader, Writer};

const FORMAT: u8 = 1;
const WHAT: &str = "messages of the day";

/// A message of the day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Motd {
    /// When it was set, in microseconds since the Unix epoch: it is given once for each version.
    pub version: u64,
    /// What it says.
    pub text: Box<str>,
}

/// The messages of all domains.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a store has nothing to show")]
pub struct Motds {
    store: Arc<dyn Store>,
}

impl Motds {
    /// The messages in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The message of `domain`, if it has one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(&self, domain: &str) -> Result<Option<Motd>, Fault> {
        let Some(row) = self.store.get(&of_domain(domain)).await? else { return Ok(None) };
        let mut row = Reader::new(row, FORMAT, WHAT)?;
        Ok(Some(Motd { version: row.u64()?, text: row.text()? }))
    }

    /// Sets the message of `domain`, or takes it away. Durable when it resolves.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set(&self, domain: &str, motd: Option<&Motd>) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        match motd {
            Some(motd) => batch.put(of_domain(domain), Writer::new(FORMAT).u64(motd.version).text(&motd.text).finish()),
            None => batch.delete(of_domain(domain)),
        };
        self.store.commit_durably(batch).await
    }

    /// Whether `account` was given this version. If not, notes that it was.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn give(&self, account: &BareJid, version: u64) -> Result<bool, CommitError> {
        let key = of_account(account);
        if let Some(row) = self.store.get(&key).await?
            && Reader::new(row, FORMAT, WHAT)?.u64()? == version
        {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.put(key, Writer::new(FORMAT).u64(version).finish());
        let _visible = self.store.commit(batch).await?;
        Ok(true)
    }

    /// Forgets what `account` was given. Durable when it resolves.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget(&self, account: &BareJid) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        batch.delete(of_account(account));
        self.store.commit_durably(batch).await
    }
}

fn of_domain(domain: &str) -> Bytes {
    Table::MessageOfTheDay.key().str(domain).build()
}

fn of_account(account: &BareJid) -> Bytes {
    Table::MessageOfTheDay.key().str(account.domain()).str(account.localpart().unwrap_or_default()).build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn a_message_is_given_once_and_a_new_one_again() {
        let motds = Motds::new(Arc::new(store::Memory::new()));
        let romeo = BareJid::new("romeo@montague.lit").unwrap();
        assert_eq!(motds.load("montague.lit").await.unwrap(), None);
        let motd = Motd { version: 7, text: "Ball tonight".into() };
        motds.set("montague.lit", Some(&motd)).await.unwrap();
        assert_eq!(motds.load("montague.lit").await.unwrap(), Some(motd));
        assert!(motds.give(&romeo, 7).await.unwrap() && !motds.give(&romeo, 7).await.unwrap());
        assert!(motds.give(&romeo, 8).await.unwrap());
        motds.forget(&romeo).await.unwrap();
        assert!(motds.give(&romeo, 8).await.unwrap());
        motds.set("montague.lit", None).await.unwrap();
        assert_eq!(motds.load("montague.lit").await.unwrap(), None);
    }
}
