//! Elements that accounts keep and we do not look into: private XML (XEP-0049) and vCards (XEP-0054).
//!
//! ```text
//! Private:  account, namespace, name -> the element
//! Vcard:    account                  -> the element
//! ```
//!
//! The bytes are checked XML that stands on its own, as the reader left them; they are served as they are kept.

use std::sync::Arc;

use bytes::Bytes;
use store::{Batch, CommitError, Fault, Page, Store};

use super::Table;
use super::row::{Reader, Writer};

const FORMAT: u8 = 1;

/// Private XML storage, by account.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a store has nothing to show")]
pub struct PrivateElements {
    store: Arc<dyn Store>,
}

impl PrivateElements {
    /// The private elements in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The element of this name, if one is kept.
    pub async fn get(&self, account: &str, ns: &str, name: &str) -> Result<Option<Bytes>, Fault> {
        let row = self.store.get(&Table::Private.key().str(account).str(ns).str(name).build()).await?;
        row.map(|row| read(row, "private elements")).transpose()
    }

    /// Keeps `element` in place of what was kept under the name. Durable when it resolves.
    pub async fn put(&self, account: &str, ns: &str, name: &str, element: &[u8]) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        batch.put(Table::Private.key().str(account).str(ns).str(name), write(element));
        self.store.commit_durably(batch).await
    }

    /// Has `batch` keep `element` in place of what was kept under the name, or nothing in its place.
    pub fn put_in(&self, batch: &mut Batch, account: &str, ns: &str, name: &str, element: Option<&[u8]>) {
        let key = Table::Private.key().str(account).str(ns).str(name);
        match element {
            Some(element) => batch.put(key, write(element)),
            None => batch.delete(key),
        };
    }

    /// Bytes kept for `account` beside what is kept under this name, to hold a bound against.
    pub async fn bytes_beside(&self, account: &str, ns: &str, name: &str) -> Result<usize, Fault> {
        let own = Table::Private.key().str(account).str(ns).str(name).build();
        let mut range = Table::Private.key().str(account).range();
        let mut bytes = 0;
        loop {
            let rows = self.store.scan(range.clone(), Page::rows(100)).await?;
            bytes += rows.iter().filter(|(key, _)| *key != own).map(|(_, value)| value.len()).sum::<usize>();
            match rows.last() {
                Some((key, _)) if !rows.is_complete => range = range.past(key),
                _ => return Ok(bytes),
            }
        }
    }

    /// Deletes everything `account` kept.
    pub async fn delete(&self, account: &str) -> Result<(), CommitError> {
        super::delete_range(self.store.as_ref(), Table::Private.key().str(account).range()).await
    }
}

/// vCards, by account.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a store has nothing to show")]
pub struct Vcards {
    store: Arc<dyn Store>,
}

impl Vcards {
    /// The vCards in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The vCard of `account`, if it has one.
    pub async fn get(&self, account: &str) -> Result<Option<Bytes>, Fault> {
        let row = self.store.get(&Table::Vcard.key().str(account).build()).await?;
        row.map(|row| read(row, "vCards")).transpose()
    }

    /// Has `batch` keep `element` as the vCard of `account`.
    pub fn put_in(&self, batch: &mut Batch, account: &str, element: &[u8]) {
        batch.put(Table::Vcard.key().str(account), write(element));
    }

    /// Has `batch` delete the vCard of `account`.
    pub fn remove_in(&self, batch: &mut Batch, account: &str) {
        batch.delete(Table::Vcard.key().str(account));
    }

    /// Deletes the vCard of `account`.
    pub async fn delete(&self, account: &str) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        self.remove_in(&mut batch, account);
        self.store.commit_durably(batch).await
    }
}

fn write(element: &[u8]) -> Bytes {
    Writer::new(FORMAT).bytes(element).finish()
}

fn read(row: Bytes, what: &'static str) -> Result<Bytes, Fault> {
    Reader::new(row, FORMAT, what)?.bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn elements_are_kept_by_account_and_name() {
        let store: Arc<dyn Store> = Arc::new(store::Memory::new());
        let (juliet, nurse) = ("juliet@capulet.com", "nurse@capulet.com");
        let elements = PrivateElements::new(Arc::clone(&store));
        elements.put(juliet, "exodus:prefs", "exodus", b"<exodus/>").await.unwrap();
        elements.put(juliet, "storage:bookmarks", "storage", b"<storage/>").await.unwrap();
        assert_eq!(elements.get(juliet, "exodus:prefs", "exodus").await.unwrap().unwrap(), &b"<exodus/>"[..]);
        assert!(elements.get(juliet, "exodus:prefs", "other").await.unwrap().is_none());
        assert!(elements.get(nurse, "exodus:prefs", "exodus").await.unwrap().is_none());
        assert_eq!(elements.bytes_beside(juliet, "exodus:prefs", "exodus").await.unwrap(), 5 + b"<storage/>".len());
        elements.delete(juliet).await.unwrap();
        assert!(elements.get(juliet, "exodus:prefs", "exodus").await.unwrap().is_none());

        let vcards = Vcards::new(Arc::clone(&store));
        let mut batch = Batch::new();
        vcards.put_in(&mut batch, juliet, b"<vCard/>");
        store.commit_durably(batch).await.unwrap();
        assert_eq!(vcards.get(juliet).await.unwrap().unwrap(), &b"<vCard/>"[..]);
        vcards.delete(juliet).await.unwrap();
        assert!(vcards.get(juliet).await.unwrap().is_none());
    }
}
