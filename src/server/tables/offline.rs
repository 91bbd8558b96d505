//! Messages kept for accounts that are away (XEP-0160): a queue for each account.
//!
//! ```text
//! account           -> head: next place, messages, bytes
//! account, place    -> when it came, the message or where it is archived
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
use super::archive;
use super::row::{Reader, Writer};
use super::turns::Turns;

const FORMAT: u8 = 1;
/// The format of a row whose message is in the archive.
const ARCHIVED: u8 = 2;
/// What such a row counts for.
const ARCHIVED_BYTES: u64 = 64;

/// One message kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the queue.
    pub place: u64,
    /// When it came, in microseconds since the Unix epoch.
    pub received: u64,
    /// What is to be delivered.
    pub message: Message,
}

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The whole stanza.
    Whole(Bytes),
    /// It is in the archive of the account.
    Archived(archive::Place),
}

impl Message {
    fn weigh(&self) -> u64 {
        match self {
            Self::Whole(stanza) => stanza.len() as u64,
            Self::Archived(_) => ARCHIVED_BYTES,
        }
    }

    fn to_row(&self, received: u64) -> Bytes {
        match self {
            Self::Whole(stanza) => Writer::new(FORMAT).u64(received).bytes(stanza).finish(),
            Self::Archived(place) => Writer::new(ARCHIVED).u64(received).u64(place.time).u64(place.chance).finish(),
        }
    }

    fn read(row: Bytes) -> Result<(u64, Self), Fault> {
        const WHAT: &str = "offline messages";
        if row.first() == Some(&ARCHIVED) {
            let mut row = Reader::new(row, ARCHIVED, WHAT)?;
            let received = row.u64()?;
            return Ok((received, Self::Archived(archive::Place { time: row.u64()?, chance: row.u64()? })));
        }
        let mut row = Reader::new(row, FORMAT, WHAT)?;
        Ok((row.u64()?, Self::Whole(row.bytes()?)))
    }
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

    /// Adds `message`, received at `received` (microseconds since the Unix epoch), behind the others, to `batch`.
    ///
    /// `head` is what [`head`](Self::head) answered during the same turn, which lasts until the batch is applied. The
    /// message may be acknowledged when it is durable; for that the turn need not be kept.
    pub fn put(&self, turn: &Turn<'_>, head: Head, received: u64, message: &Message, batch: &mut Batch) {
        batch.put(key(turn.account, head.next), message.to_row(received));
        let after = Head { next: head.next + 1, messages: head.messages + 1, bytes: head.bytes + message.weigh() };
        put_head(batch, turn.account, after);
    }

    /// The same for a message that comes alone.
    pub async fn append(
        &self,
        turn: Turn<'_>,
        head: Head,
        received: u64,
        message: &Message,
    ) -> Result<Receipt, CommitError> {
        let mut batch = Batch::new();
        self.put(&turn, head, received, message, &mut batch);
        self.store.commit(batch).await
    }

    /// The first messages of the queue, as many as fit in `page`, and whether that is all.
    pub async fn first(&self, account: &str, page: Page) -> Result<(Vec<Kept>, bool), Fault> {
        self.behind(account, None, page).await
    }

    /// The same, of those behind the place `after`.
    pub async fn behind(&self, account: &str, after: Option<u64>, page: Page) -> Result<(Vec<Kept>, bool), Fault> {
        let prefix = head_key(account);
        let start = after.map_or_else(|| prefix.clone(), |after| key(account, after));
        let rows = self.store.scan(KeyBuilder::extend(&prefix).range().after(&start), page).await?;
        let is_complete = rows.is_complete;
        let mut kept = Vec::with_capacity(rows.len());
        for (key, value) in rows {
            let place = KeyReader::after(&key, prefix.len()).u64()?;
            let (received, message) = Message::read(value)?;
            kept.push(Kept { place, received, message });
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
            head.bytes = head.bytes.saturating_sub(message.message.weigh());
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
            let message = Message::Whole(text.into());
            queues.append(turn, head, received, &message).await.unwrap().durable().await.unwrap();
        }
        let (first, is_all) = queues.first(juliet, Page::rows(2)).await.unwrap();
        assert!(!is_all);
        let texts = ["one", "two"].map(|text| Message::Whole(text.into()));
        assert_eq!(first.iter().map(|kept| &kept.message).collect::<Vec<_>>(), texts.iter().collect::<Vec<_>>());
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
