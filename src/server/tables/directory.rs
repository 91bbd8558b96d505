//! Accounts that want to be found (XEP-0055), and what they want to be found by.
//!
//! ```text
//! domain, localpart -> first, last, nick, email, whether its feeds are listed
//! ```

use std::sync::Arc;

use store::{Batch, CommitError, Fault, KeyReader, Page, Range, Store};
use xmpp::BareJid;

use super::Table;
use super::row::{Reader, Writer};

const FORMAT: u8 = 1;

/// What an account shows of itself; each may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Given name, family name, nickname, electronic mail: the fields of `jabber:iq:search` in their order.
    pub texts: [String; 4],
    /// Whether its feeds that everybody may read are listed.
    pub has_feeds: bool,
}

/// Who wants to be found.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a store has nothing to show")]
pub struct Directory {
    store: Arc<dyn Store>,
}

fn key(account: &BareJid) -> bytes::Bytes {
    Table::Directory.key().str(account.domain()).str(account.localpart().unwrap_or_default()).build()
}

impl Directory {
    /// The directory in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// What `account` shows, if it wants to be found.
    pub async fn get(&self, account: &BareJid) -> Result<Option<Entry>, Fault> {
        self.store.get(&key(account)).await?.map(read).transpose()
    }

    /// `account` wants to be found by `entry`. Durable when it resolves.
    pub async fn put(&self, account: &BareJid, entry: &Entry) -> Result<(), CommitError> {
        let row = entry.texts.iter().fold(Writer::new(FORMAT), |row, text| row.text(text));
        let mut batch = Batch::new();
        batch.put(key(account), row.u8(entry.has_feeds.into()).finish());
        self.store.commit_durably(batch).await
    }

    /// `account` does not want to be found. Durable when it resolves.
    pub async fn delete(&self, account: &BareJid) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        batch.delete(key(account));
        self.store.commit_durably(batch).await
    }

    /// Entries of `domain` in the order of their names, at most `rows_max`, going on after `after`; and whether these are
    /// all.
    pub async fn page(
        &self,
        domain: &str,
        after: Option<&BareJid>,
        rows_max: usize,
    ) -> Result<(Vec<(BareJid, Entry)>, bool), Fault> {
        let mut range = Range::prefix(Table::Directory.key().str(domain).build());
        if let Some(after) = after {
            range = range.after(&key(after));
        }
        let rows = self.store.scan(range, Page::rows(rows_max)).await?;
        let is_complete = rows.is_complete;
        let read = rows.into_iter().map(|(key, value)| {
            let mut reader = KeyReader::new(&key, Table::Directory as u8)?;
            let (domain, localpart) = (reader.str()?, reader.str()?);
            let account = BareJid::from_parts(Some(&localpart), &domain)
                .map_err(|error| Fault::new(format!("the directory has a bad address: {error}")))?;
            Ok((account, read(value)?))
        });
        Ok((read.collect::<Result<_, Fault>>()?, is_complete))
    }
}

fn read(row: bytes::Bytes) -> Result<Entry, Fault> {
    let mut reader = Reader::new(row, FORMAT, "the directory")?;
    let mut entry = Entry::default();
    for text in &mut entry.texts {
        *text = reader.text()?.to_string();
    }
    // Rows of before there were feeds end here.
    entry.has_feeds = reader.rest().first() == Some(&1);
    Ok(entry)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn who_wants_to_be_found_is_found_in_order() {
        let directory = Directory::new(Arc::new(store::Memory::new()));
        let jid = |text: &str| BareJid::new(text).unwrap();
        let entry = |nick: &str| Entry { texts: ["", "", nick, ""].map(str::to_owned), has_feeds: nick == "J" };
        for (account, nick) in [("romeo@a.example", "R"), ("juliet@a.example", "J"), ("nurse@b.example", "N")] {
            directory.put(&jid(account), &entry(nick)).await.unwrap();
        }
        assert_eq!(directory.get(&jid("romeo@a.example")).await.unwrap(), Some(entry("R")));
        let (first, is_all) = directory.page("a.example", None, 1).await.unwrap();
        assert_eq!((first[0].0.as_str(), is_all), ("juliet@a.example", false));
        let (second, is_all) = directory.page("a.example", Some(&first[0].0), 10).await.unwrap();
        assert_eq!((second.len(), second[0].0.as_str(), is_all), (1, "romeo@a.example", true));
        directory.delete(&jid("romeo@a.example")).await.unwrap();
        assert_eq!(directory.page("a.example", None, 10).await.unwrap().0.len(), 1);
        assert_eq!(directory.page("b.example", None, 10).await.unwrap().0.len(), 1);
    }
}
