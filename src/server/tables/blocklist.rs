//! Blocklists in the store: one row for each blocked address (XEP-0191).
//!
//! ```text
//! account, address -> (nothing)
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use store::{Batch, CommitError, Fault, KeyBuilder, KeyReader, Page, Store};
use xmpp::Jid;

use super::Table;

const FORMAT: u8 = 1;

/// Blocklists, by account.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a store has nothing to show")]
pub struct Blocklists {
    store: Arc<dyn Store>,
}

impl Blocklists {
    /// The blocklists in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Reads the blocklist of `account`.
    pub async fn load(&self, account: &str) -> Result<BTreeSet<Jid>, Fault> {
        let mut found = BTreeSet::new();
        let prefix = Table::Blocklist.key().str(account).build();
        let mut range = KeyBuilder::extend(&prefix).range();
        loop {
            let rows = self.store.scan(range.clone(), Page::rows(1_000)).await?;
            let is_complete = rows.is_complete;
            for (key, _) in rows {
                let address = KeyReader::after(&key, prefix.len()).str()?;
                let address =
                    Jid::new(&address).map_err(|error| Fault::new(format!("a blocklist names {address}: {error}")))?;
                found.insert(address);
                range = range.past(&key);
            }
            if is_complete {
                return Ok(found);
            }
        }
    }

    /// Adds and removes addresses, durably and as one step.
    pub async fn change(&self, account: &str, add: &[Jid], remove: &[Jid]) -> Result<(), CommitError> {
        let key = |jid: &Jid| Table::Blocklist.key().str(account).str(jid.as_str()).build();
        let mut batch = Batch::new();
        for jid in add {
            batch.put(key(jid), Bytes::from_static(&[FORMAT]));
        }
        for jid in remove {
            batch.delete(key(jid));
        }
        self.store.commit_durably(batch).await
    }

    /// Deletes the blocklist of `account`.
    pub async fn delete(&self, account: &str) -> Result<(), CommitError> {
        super::delete_range(self.store.as_ref(), Table::Blocklist.key().str(account).range()).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn what_is_added_is_found_until_it_is_removed() {
        let blocklists = Blocklists::new(Arc::new(store::Memory::new()));
        let jid = |text: &str| Jid::new(text).unwrap();
        let (iago, romeo) = (jid("iago@shakespeare.lit"), jid("romeo@montague.net/orchard"));
        blocklists.change("juliet@capulet.com", &[iago.clone(), romeo.clone()], &[]).await.unwrap();
        blocklists.change("nurse@capulet.com", std::slice::from_ref(&iago), &[]).await.unwrap();
        let found = blocklists.load("juliet@capulet.com").await.unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [iago.clone(), romeo]);
        blocklists.change("juliet@capulet.com", &[], &[iago]).await.unwrap();
        assert_eq!(blocklists.load("juliet@capulet.com").await.unwrap().len(), 1);
        blocklists.delete("juliet@capulet.com").await.unwrap();
        assert!(blocklists.load("juliet@capulet.com").await.unwrap().is_empty());
        assert_eq!(blocklists.load("nurse@capulet.com").await.unwrap().len(), 1);
    }
}
