//! When accounts were last there (XEP-0012).
//!
//! ```text
//! account -> when its last available resource went, in microseconds since the Unix epoch
//! ```

use std::sync::Arc;

use store::{Batch, CommitError, Fault, Store};

use super::Table;
use super::row::{Reader, Writer};
use crate::runtime::Timestamp;

const FORMAT: u8 = 1;

/// When accounts were last there.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a store has nothing to show")]
pub struct LastSeen {
    store: Arc<dyn Store>,
}

impl LastSeen {
    /// What is in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// When `account` was last there, if it ever was and went.
    pub async fn get(&self, account: &str) -> Result<Option<Timestamp>, Fault> {
        let row = self.store.get(&Table::LastSeen.key().str(account).build()).await?;
        row.map(|row| Reader::new(row, FORMAT, "last activity")?.u64()).transpose()
    }

    /// `account` has gone at `now`. Applied when it resolves, and durable with what is committed next: it is worth no wait.
    pub async fn put(&self, account: &str, now: Timestamp) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        batch.put(Table::LastSeen.key().str(account), Writer::new(FORMAT).u64(now).finish());
        self.store.commit(batch).await.map(drop)
    }

    /// Deletes what is known of `account`.
    pub async fn delete(&self, account: &str) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        batch.delete(Table::LastSeen.key().str(account));
        self.store.commit_durably(batch).await
    }
}
