//! Where notifications that wake a device are published (XEP-0357 section 5).
//!
//! ```text
//! account, service, node -> resource, what is wanted, when it was renewed, publish options
//! ```

use std::sync::Arc;

use bytes::Bytes;
use store::{Batch, CommitError, Fault, KeyBuilder, KeyReader, Page, Store};
use xmpp::Jid;

use super::Table;
use super::row::{Reader, Writer};

const FORMAT: u8 = 1;
const WHAT: &str = "push services";
/// Rows read for one account: more were never written.
const ROWS_MAX: usize = 1_000;

/// One service and node that an account enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The push service.
    pub service: Jid,
    /// The node there that stands for the device; empty if none was named.
    pub node: Box<str>,
    /// The resource that enabled it last.
    pub resource: Box<str>,
    /// What it is for, a bit for each kind of occasion; this table does not know them.
    pub wanted: u64,
    /// When it was enabled last, in microseconds since the Unix epoch.
    pub renewed: u64,
    /// The form that goes with each publication, as it was submitted; empty if there is none.
    pub options: Bytes,
}

impl Registration {
    fn to_row(&self) -> Bytes {
        let row = Writer::new(FORMAT).text(&self.resource).u64(self.wanted).u64(self.renewed);
        row.bytes(&self.options).finish()
    }

    fn read(key: &[u8], prefix_len: usize, row: Bytes) -> Result<Self, Fault> {
        let mut key = KeyReader::after(key, prefix_len);
        let service = Jid::new(&key.str()?).map_err(|_| Fault::new("a push service has no address"))?;
        let node = key.str()?.into();
        let mut row = Reader::new(row, FORMAT, WHAT)?;
        let (resource, wanted, renewed) = (row.text()?, row.u64()?, row.u64()?);
        Ok(Self { service, node, resource, wanted, renewed, options: row.bytes()? })
    }
}

/// The services of all accounts.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a store has nothing to show")]
pub struct Registrations {
    store: Arc<dyn Store>,
}

impl Registrations {
    /// The services in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// What `account` enabled.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(&self, account: &str) -> Result<Vec<Registration>, Fault> {
        let prefix = prefix(account);
        let rows = self.store.scan(KeyBuilder::extend(&prefix).range(), Page::rows(ROWS_MAX)).await?;
        rows.into_iter().map(|(key, row)| Registration::read(&key, prefix.len(), row)).collect()
    }

    /// The accounts of up to `rows_max` rows after a position, and the position behind them; `None` when there are no more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn accounts(
        &self,
        after: Option<Bytes>,
        rows_max: usize,
    ) -> Result<(Vec<Box<str>>, Option<Bytes>), Fault> {
        let mut range = Table::PushServices.key().range();
        if let Some(after) = after {
            range = range.after(&after);
        }
        let rows = self.store.scan(range, Page::rows(rows_max)).await?;
        let (is_complete, mut accounts, mut last) = (rows.is_complete, Vec::<Box<str>>::new(), None);
        for (key, _) in rows {
            let account: Box<str> = KeyReader::after(&key, 1).str()?.into();
            if accounts.last() != Some(&account) {
                accounts.push(account);
            }
            last = Some(key);
        }
        Ok((accounts, last.filter(|_| !is_complete)))
    }

    /// Writes `enabled`, and deletes `dropped`. Durable when it resolves.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn change(
        &self,
        account: &str,
        enabled: Option<&Registration>,
        dropped: &[Registration],
    ) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        for registration in dropped {
            batch.delete(key(account, registration));
        }
        if let Some(registration) = enabled {
            batch.put(key(account, registration), registration.to_row());
        }
        self.store.commit_durably(batch).await
    }

    /// Deletes everything of `account`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, account: &str) -> Result<(), CommitError> {
        super::delete_range(self.store.as_ref(), KeyBuilder::extend(&prefix(account)).range()).await
    }
}

fn prefix(account: &str) -> Bytes {
    Table::PushServices.key().str(account).build()
}

fn key(account: &str, registration: &Registration) -> Bytes {
    KeyBuilder::extend(&prefix(account)).str(registration.service.as_str()).str(&registration.node).build()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn registration(service: &str, node: &str) -> Registration {
        Registration {
            service: Jid::new(service).unwrap(),
            node: node.into(),
            resource: "phone".into(),
            wanted: 7,
            renewed: 1,
            options: Bytes::from_static(b"<x/>"),
        }
    }

    #[tokio::test]
    async fn services_are_kept_for_each_account() {
        let table = Registrations::new(Arc::new(store::Memory::new()));
        let (one, other) = (registration("push.example", "a"), registration("push.example", "b"));
        let account = "juliet@capulet.example";
        table.change(account, Some(&one), &[]).await.unwrap();
        table.change(account, Some(&other), &[]).await.unwrap();
        table.change("nurse@capulet.example", Some(&one), &[]).await.unwrap();
        assert_eq!(table.load(account).await.unwrap(), [one.clone(), other.clone()]);
        let renewed = Registration { renewed: 2, options: Bytes::new(), ..other.clone() };
        table.change(account, Some(&renewed), std::slice::from_ref(&one)).await.unwrap();
        assert_eq!(table.load(account).await.unwrap(), [renewed]);
        table.delete(account).await.unwrap();
        assert!(table.load(account).await.unwrap().is_empty());
        assert_eq!(table.load("nurse@capulet.example").await.unwrap(), [one]);
    }
}
