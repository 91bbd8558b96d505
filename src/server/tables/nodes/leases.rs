//! Subscriptions that end by themselves (XEP-0060 section 12.19): when which are due, or their subscribers to be reminded.
//!
//! A lease that is renewed or dropped leaves its old entry behind; whoever finds it there looks at the subscription.

use bytes::Bytes;
use store::{Batch, CommitError, Fault, KeyReader, Page, Range};
use xmpp::{BareJid, Jid};

use super::load::with_resource;
use super::row::read_place;
use super::{Nodes, Number, Table};

/// Rows of work taken at once.
const PAGE: usize = 500;

/// A lease whose end has come, or is near.
#[derive(Debug)]
pub struct Lapsed {
    /// Where the node is.
    pub home: Box<str>,
    /// Which node.
    pub name: Box<str>,
    /// The number the node had.
    pub number: Number,
    /// Whose.
    pub jid: Jid,
    /// What time it was noted for, in milliseconds.
    pub at: u64,
    key: Bytes,
}

impl Nodes {
    /// Leases that were over at `now`, in milliseconds; some at a time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn lapsed(&self, now: u64) -> Result<Vec<Lapsed>, Fault> {
        let range = Range::between(
            Table::LeaseExpiry.key().build(),
            Table::LeaseExpiry.key().u64(now.saturating_add(1)).build(),
        );
        let rows = self.store.scan(range, Page::rows(PAGE)).await?;
        rows.into_iter()
            .map(|(key, value)| {
                let mut reader = KeyReader::after(&key, 1);
                let at = reader.u64()?;
                let (number, bare, resource) = (reader.fixed()?, reader.str()?, reader.str()?);
                let bare = BareJid::new(&bare).map_err(|_| Fault::new("a key of leases has no address"))?;
                let jid = with_resource(&bare, &resource)?;
                let (home, name) = read_place(value)?;
                Ok(Lapsed { home, name, number, jid, at, key })
            })
            .collect()
    }

    /// Takes leases off the list: they were seen to.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn settle_leases(&self, lapsed: &[Lapsed]) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        for one in lapsed {
            batch.delete(one.key.clone());
        }
        self.store.commit_durably(batch).await
    }
}
