//! What is too old or too much leaves an archive, the oldest first and a block at a time, so that there are no holes
//! (XEP-0313 section 3.2).

use store::{Batch, CommitError, Fault, KeyReader, Page};

use super::super::Table;
use super::{BLOCK, Entry, Ledger, Ledgers, Place, at, bare, between, index_prefix, rows_prefix};

/// Blocks removed in one go; what is left is for the next time.
const BLOCKS_MAX: usize = 16;

/// How long and how much messages are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Only what came at this time or later, in microseconds since the Unix epoch.
    pub since: u64,
    /// At most about so many bytes.
    pub bytes_max: u64,
}

impl<T: Send + 'static> Ledgers<T> {
    /// Removes what is too old or too much, a bounded number of blocks. Whether there may be more to do is returned.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn trim(&self, ledger: &Ledger<T>, keep: Keep) -> Result<bool, CommitError> {
        let Some(oldest) = ledger.begin_trim() else { return Ok(false) };
        let trimmed = self.trim_blocks(ledger, oldest, keep).await;
        ledger.end_trim();
        trimmed
    }

    async fn trim_blocks(&self, ledger: &Ledger<T>, oldest: Place, keep: Keep) -> Result<bool, CommitError> {
        let mut from = oldest;
        for _ in 0..BLOCKS_MAX {
            let (rows, bytes, is_last) = self.oldest_block(ledger, from).await?;
            let Some(last) = rows.last().map(|entry| entry.place) else { return Ok(false) };
            let is_old = last.time < keep.since;
            if !is_old && ledger.size().1 <= keep.bytes_max {
                return Ok(false);
            }
            let account = ledger.account().as_str();
            let (prefix, block) = (rows_prefix(account), rows.first().map_or(last, |entry| entry.place));
            let mut batch = Batch::new();
            let mut contacts: Vec<&str> = rows.iter().map(|entry| bare(entry.contact())).collect();
            contacts.sort_unstable();
            contacts.dedup();
            for contact in contacts {
                batch.delete(at(&index_prefix(account, contact), block));
            }
            for entry in &rows {
                batch.delete(at(&prefix, entry.place));
            }
            let _turn = self.words.of(account).await;
            self.forget_segments(account, last, &mut batch).await?;
            if !ledger.forget_block(&rows, bytes, is_last, &mut batch) {
                return Ok(false);
            }
            let _applied = self.store.commit(batch).await?;
            from = last.next();
        }
        Ok(true)
    }

    /// The rows of the first block from `from` on, their bytes, and whether no other block follows.
    async fn oldest_block(&self, ledger: &Ledger<T>, from: Place) -> Result<(Vec<Entry>, u64, bool), Fault> {
        let prefix = rows_prefix(ledger.account().as_str());
        let mut range = between(&prefix, from, Place::LAST);
        let (mut entries, mut bytes) = (Vec::<Entry>::new(), 0);
        loop {
            let rows = self.store.scan(range.clone(), Page::rows(BLOCK + 1)).await?;
            for (key, row) in &rows {
                let entry = Entry::read(key, prefix.len(), row.clone())?;
                if entry.begins_block() && !entries.is_empty() {
                    return Ok((entries, bytes, false));
                }
                bytes += row.len() as u64;
                entries.push(entry);
            }
            match rows.last() {
                Some((key, _)) if !rows.is_complete => range = range.past(key),
                _ => return Ok((entries, bytes, true)),
            }
        }
    }

    /// Accounts with an archive, the first `accounts_max` behind `after`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn accounts(&self, after: &str, accounts_max: usize) -> Result<Vec<String>, Fault> {
        let mut range = Table::ArchiveHeads.key().range();
        if !after.is_empty() {
            range = range.after(&Table::ArchiveHeads.key().str(after).build());
        }
        let rows = self.store.scan(range, Page::rows(accounts_max)).await?;
        rows.iter().map(|(key, _)| Ok(KeyReader::new(key, Table::ArchiveHeads as u8)?.str()?)).collect()
    }
}
