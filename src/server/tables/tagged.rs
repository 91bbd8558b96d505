//! Which posts of accounts here are listed under which hashtags.
//!
//! ```text
//! account, node, item       -> when, tags
//! account, time, node, item -> tags
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use store::{Batch, CommitError, Fault, KeyReader, Page, Range, Store};
use xmpp::BareJid;

use super::Table;
use super::row::{Reader, Writer};

const FORMAT: u8 = 1;
const WHAT: &str = "tagged posts";

/// Tags, folded.
pub type Tags = BTreeSet<Box<str>>;

/// A post that is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// Whose.
    pub account: BareJid,
    /// In which node.
    pub node: Box<str>,
    /// Which item.
    pub item: Box<str>,
    /// Since when, in milliseconds since the Unix epoch.
    pub time: u64,
    /// Under which tags.
    pub tags: Tags,
}

/// The posts that are listed.
#[expect(missing_debug_implementations, reason = "a store has nothing to show")]
pub struct TaggedPosts {
    store: Arc<dyn Store>,
}

fn key(account: &str, node: &str, item: &str) -> Bytes {
    Table::Tagged.key().str(account).str(node).str(item).build()
}

fn time_key(account: &str, time: u64, node: &str, item: &str) -> Bytes {
    Table::TaggedByTime.key().str(account).u64(time).str(node).str(item).build()
}

fn write(time: u64, tags: &Tags) -> Bytes {
    tags.iter().fold(Writer::new(FORMAT).u64(time).u64(tags.len() as u64), |row, tag| row.text(tag)).finish()
}

fn read(row: Bytes) -> Result<(u64, Tags), Fault> {
    let mut row = Reader::new(row, FORMAT, WHAT)?;
    let time = row.u64()?;
    let tags = (0..row.u64()?).map(|_| row.text()).collect::<Result<_, Fault>>()?;
    Ok((time, tags))
}

impl TaggedPosts {
    /// Those in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Since when and under which tags a post is listed, if it is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(&self, account: &BareJid, node: &str, item: &str) -> Result<Option<(u64, Tags)>, Fault> {
        self.store.get(&key(account.as_str(), node, item)).await?.map(read).transpose()
    }

    /// Notes that a post is listed under `tags` since `time`, and not as it was `before`; under none, it is not listed.
    /// Durable when this resolves.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put(
        &self,
        account: &BareJid,
        (node, item): (&str, &str),
        before: Option<u64>,
        time: u64,
        tags: &Tags,
    ) -> Result<(), CommitError> {
        let account = account.as_str();
        let mut batch = Batch::new();
        if let Some(before) = before {
            batch.delete(time_key(account, before, node, item));
        }
        if tags.is_empty() {
            batch.delete(key(account, node, item));
        } else {
            batch.put(key(account, node, item), write(time, tags));
            batch.put(time_key(account, time, node, item), write(time, tags));
        }
        self.store.commit_durably(batch).await
    }

    /// The posts of an account that are listed, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn of(&self, account: &BareJid, rows_max: usize) -> Result<Vec<Tagged>, Fault> {
        let range = Table::TaggedByTime.key().str(account.as_str()).range();
        let rows = self.store.scan(range, Page::rows(rows_max)).await?;
        rows.into_iter()
            .map(|(key, value)| {
                let mut reader = KeyReader::new(&key, Table::TaggedByTime as u8)?;
                let (_account, time) = (reader.str()?, reader.u64()?);
                let (node, item) = (reader.str()?.into(), reader.str()?.into());
                Ok(Tagged { account: account.clone(), node, item, time, tags: read(value)?.1 })
            })
            .collect()
    }

    /// Posts that are listed, of all accounts, going on after `after`; those of one node if it is named.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn page(
        &self,
        within: Option<(&BareJid, &str)>,
        after: Option<&Tagged>,
        rows_max: usize,
    ) -> Result<Vec<Tagged>, Fault> {
        let mut range = match within {
            Some((account, node)) => Table::Tagged.key().str(account.as_str()).str(node).range(),
            None => Range::prefix(Table::Tagged.key().build()),
        };
        if let Some(after) = after {
            range = range.after(&key(after.account.as_str(), &after.node, &after.item));
        }
        let rows = self.store.scan(range, Page::rows(rows_max)).await?;
        rows.into_iter()
            .map(|(key, value)| {
                let mut reader = KeyReader::new(&key, Table::Tagged as u8)?;
                let account = reader.str()?;
                let account = BareJid::new(&account)
                    .map_err(|error| Fault::new(format!("a row of {WHAT} names {account}: {error}")))?;
                let (node, item) = (reader.str()?.into(), reader.str()?.into());
                let (time, tags) = read(value)?;
                Ok(Tagged { account, node, item, time, tags })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn posts_are_found_by_place_and_by_age() {
        let posts = TaggedPosts::new(Arc::new(store::Memory::new()));
        let jid = |text: &str| BareJid::new(text).unwrap();
        let tags = |tags: &[&str]| -> Tags { tags.iter().map(|tag| Box::from(*tag)).collect() };
        let juliet = jid("juliet@a.example");
        posts.put(&juliet, ("blog", "2"), None, 20, &tags(&["verona"])).await.unwrap();
        posts.put(&juliet, ("blog", "1"), None, 30, &tags(&["verona", "love"])).await.unwrap();
        posts.put(&jid("juliet@a.example.net"), ("blog", "9"), None, 1, &tags(&["x"])).await.unwrap();
        let ids = |found: Vec<Tagged>| found.into_iter().map(|one| one.item).collect::<Vec<_>>();
        assert_eq!(ids(posts.of(&juliet, 10).await.unwrap()), ["2".into(), "1".into()]);
        assert_eq!(posts.get(&juliet, "blog", "1").await.unwrap(), Some((30, tags(&["love", "verona"]))));
        posts.put(&juliet, ("blog", "2"), Some(20), 40, &tags(&["verona"])).await.unwrap();
        assert_eq!(ids(posts.of(&juliet, 10).await.unwrap()), ["1".into(), "2".into()]);
        let page = posts.page(None, None, 1).await.unwrap();
        assert_eq!(ids(posts.page(None, page.first(), 10).await.unwrap()), ["2".into(), "9".into()]);
        assert_eq!(ids(posts.page(Some((&juliet, "blog")), None, 10).await.unwrap()).len(), 2);
        posts.put(&juliet, ("blog", "2"), Some(40), 0, &tags(&[])).await.unwrap();
        assert_eq!(ids(posts.of(&juliet, 10).await.unwrap()), ["1".into()]);
        assert_eq!(posts.get(&juliet, "blog", "2").await.unwrap(), None);
    }
}
