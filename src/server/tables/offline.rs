//! Messages kept for accounts that are away (XEP-0160): a queue for each account.
//!
//! ```text
//! account           -> head: next place, messages, bytes
//! account, place    -> when it came, the message
//! ```
//!
//! Places only grow, so messages come out in the order they went in, whatever the clock does. The head bounds the
//! queue without reading it. Changes of one queue must not overlap: the caller takes [`Queues::turn`] first and
//! keeps it until the change is applied.

use std::sync::Arc;

use bytes::Bytes;
use store::{Batch, CommitError, Fault, KeyBuilder, KeyReader, Page, Receipt, Store};
use tokio::sync::MutexGuard;

use super::Table;
use super::row::{Reader, Writer};
use super::turns::Turns;

const FORMAT: u8 = 1;

/// One message kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the queue.
    pub place: u64,
    /// When it came, in microseconds since the Unix epoch.
    pub received: u64,
    /// The whole stanza.
    pub stanza: Bytes,
}

/// How much is kept for one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    next: u64,
    /// Messages in the queue.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The queues, by account.
#[expect(missing_debug_implementations, reason = "a store has nothing to show")]
pub struct Queues {
    store: Arc<dyn Store>,
    turns: Turns,
}

/// The right to change one queue.
#[derive(Debug)]
pub struct Turn<'a> {
    account: &'a str,
    _held: MutexGuard<'a, ()>,
}

impl Queues {
    /// The queues in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, turns: Turns::default() }
    }

    /// Waits until nobody else changes the queue of `account`.
    pub async fn turn<'a>(&'a self, account: &'a str) -> Turn<'a> {
        Turn { account, _held: self.turns.of(account).await }
    }

    /// How much is kept for `account`.
    pub async fn head(&self, account: &str) -> Result<Head, Fault> {
        let Some(row) = self.store.get(&head_key(account)).await? else { return Ok(Head::default()) };
        let mut row = Reader::new(row, FORMAT, "offline messages")?;
        Ok(Head { next: row.u64()?, messages: row.u64()?, bytes: row.u64()? })
    }

    /// Adds `stanza`, received at `received` (microseconds since the Unix epoch), behind the others.
    ///
    /// `head` is what [`head`](Self::head) answered during the same turn. The message may be acknowledged when the
    /// receipt is durable; for that the turn need not be kept.
    pub async fn append(
        &self,
        turn: Turn<'_>,
        head: Head,
        received: u64,
        stanza: &[u8],
    ) -> Result<Receipt, CommitError> {
        let mut batch = Batch::new();
        batch.put(key(turn.account, head.next), Writer::new(FORMAT).u64(received).bytes(stanza).finish());
        let after = Head { next: head.next + 1, messages: head.messages + 1, bytes: head.bytes + stanza.len() as u64 };
        put_head(&mut batch, turn.account, after);
        self.store.commit(batch).await
    }

    /// The first messages of the queue, as many as fit in `page`, and whether that is all.
    pub async fn first(&self, account: &str, page: Page) -> Result<(Vec<Kept>, bool), Fault> {
        let prefix = head_key(account);
        let rows = self.store.scan(KeyBuilder::extend(&prefix).range().after(&prefix), page).await?;
        let is_complete = rows.is_complete;
        let mut kept = Vec::with_capacity(rows.len());
        for (key, value) in rows {
            let place = KeyReader::after(&key, prefix.len()).u64()?;
            let mut row = Reader::new(value, FORMAT, "offline messages")?;
            kept.push(Kept { place, received: row.u64()?, stanza: row.bytes()? });
        }
        Ok((kept, is_complete))
    }

    /// Removes messages that were delivered or are too old.
    pub async fn remove(&self, turn: &Turn<'_>, kept: &[Kept]) -> Result<Receipt, CommitError> {
        let mut head = self.head(turn.account).await?;
        let mut batch = Batch::new();
        for message in kept {
            batch.delete(key(turn.account, message.place));
            head.messages = head.messages.saturating_sub(1);
            head.bytes = head.bytes.saturating_sub(message.stanza.len() as u64);
        }
        put_head(&mut batch, turn.account, head);
        self.store.commit(batch).await
    }

    /// Deletes the queue of `account`.
    pub async fn delete(&self, account: &str) -> Result<(), CommitError> {
        let _turn = self.turn(account).await;
        super::delete_range(self.store.as_ref(), Table::Offline.key().str(account).range()).await
    }
}

fn head_key(account: &str) -> Bytes {
    Table::Offline.key().str(account).build()
}

fn key(account: &str, place: u64) -> Bytes {
    Table::Offline.key().str(account).u64(place).build()
}

fn put_head(batch: &mut Batch, account: &str, head: Head) {
    let row = Writer::new(FORMAT).u64(head.next).u64(head.messages).u64(head.bytes).finish();
    batch.put(head_key(account), row);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn messages_come_out_in_the_order_they_went_in() {
        let queues = Queues::new(Arc::new(store::Memory::new()));
        let (juliet, nurse) = ("juliet@capulet.com", "nurse@capulet.com");
        // The clock steps back; the order stays.
        for (account, received, text) in
            [(juliet, 30, "one"), (nurse, 31, "other"), (juliet, 20, "two"), (juliet, 10, "three")]
        {
            let turn = queues.turn(account).await;
            let head = queues.head(account).await.unwrap();
            queues.append(turn, head, received, text.as_bytes()).await.unwrap().durable().await.unwrap();
        }
        let (first, is_all) = queues.first(juliet, Page::rows(2)).await.unwrap();
        assert!(!is_all);
        assert_eq!(first.iter().map(|kept| &kept.stanza[..]).collect::<Vec<_>>(), [&b"one"[..], b"two"]);
        let head = queues.head(juliet).await.unwrap();
        assert_eq!((head.messages, head.bytes), (3, 11));

        let turn = queues.turn(juliet).await;
        queues.remove(&turn, &first).await.unwrap().durable().await.unwrap();
        drop(turn);
        let (rest, is_all) = queues.first(juliet, Page::rows(10)).await.unwrap();
        assert!(is_all);
        assert_eq!((rest.len(), rest[0].received), (1, 10));
        assert_eq!(queues.head(juliet).await.unwrap().bytes, 5);

        queues.delete(juliet).await.unwrap();
        assert_eq!(queues.head(juliet).await.unwrap().messages, 0);
        assert_eq!(queues.head(nurse).await.unwrap().messages, 1);
    }
}
