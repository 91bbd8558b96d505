//! Sessions that waited for their clients when the server stopped (XEP-0198 section 5), to be resumed from the next.
//!
//! ```text
//! account, resource          -> what the session is
//! account, resource, number  -> a stanza it has not got yet, or not acknowledged
//! ```
//!
//! A mark says whether all of it was written by a server that stopped in good order, and has not been taken up since.
//! If it has, the sessions may have gone on, and what is written here is true only of what they had not got: it can be
//! given to somebody, and nothing can be resumed from it.

use bytes::Bytes;
use store::{Batch, CommitError, Fault, KeyBuilder, KeyReader, Page, Store};
use xmpp::stream::acks::Acks;

use super::Table;
use super::archive::Place;
use super::row::{Reader, Writer};
use crate::runtime::Timestamp;

const FORMAT: u8 = 1;
const WHAT: &str = "sessions";
/// The name of the mark, in [`Table::Installation`].
const MARK: &str = "sessions";
/// It was written in good order.
const WHOLE: u8 = 1;
/// It was taken up.
const BEGUN: u8 = 2;
/// Rows read, or written, at once.
const ROWS: usize = 1_000;
const BYTES: usize = 4 << 20;

/// A session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The account.
    pub account: Box<str>,
    /// Its resource.
    pub resource: Box<str>,
    /// What it is resumed with.
    pub id: Box<str>,
    /// For how many seconds.
    pub seconds_max: u32,
    /// Since when it waits.
    pub since: Timestamp,
    /// The counters.
    pub acks: Acks,
    /// Its presence, if it is available.
    pub available: Option<Presence>,
    /// Whether it asked for the roster, for the blocklist, for carbon copies.
    pub wishes: [bool; 3],
    /// How far it has read its archive, and whether that was all.
    pub archive_read: Option<(Place, bool)>,
    /// Who has directed presence of it.
    pub directed: Vec<Box<str>>,
    /// What it has not got or not acknowledged, each since when.
    pub frames: Vec<(Timestamp, Bytes)>,
}

/// The presence of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Presence {
    /// The priority.
    pub priority: i8,
    /// The children.
    pub content: Bytes,
    /// What follows the recipient's address.
    pub shared: Bytes,
    /// Since when it is available.
    pub since: Timestamp,
    /// The nodes it wants to be told of, if that is known.
    pub notify: Option<Vec<Box<str>>>,
    /// Whether it is known to understand what lets it manage the account's subscriptions.
    pub manages_account: bool,
}

impl Row {
    fn key(&self) -> KeyBuilder {
        Table::Detached.key().str(&self.account).str(&self.resource)
    }

    fn head(&self) -> Bytes {
        let mut row = Writer::new(FORMAT).text(&self.id).u64(self.seconds_max.into()).u64(self.since);
        for number in self.acks.numbers() {
            row = row.u64(number);
        }
        for wish in self.wishes {
            row = row.u8(wish.into());
        }
        row = match self.archive_read {
            Some((place, is_all)) => row.u8(1 + u8::from(is_all)).u64(place.time).u64(place.chance),
            None => row.u8(0),
        };
        row = texts(row, &self.directed);
        row = match &self.available {
            None => row.u8(0),
            Some(Presence { priority, content, shared, since, notify, manages_account }) => {
                let kind = 1 + u8::from(notify.is_some()) + u8::from(notify.is_some() && *manages_account);
                let row = row.u8(kind).u8(priority.cast_unsigned());
                texts(row.bytes(content).bytes(shared).u64(*since), notify.as_deref().unwrap_or_default())
            }
        };
        row.finish()
    }

    fn read(account: Box<str>, resource: Box<str>, row: Bytes) -> Result<Self, Fault> {
        let mut row = Reader::new(row, FORMAT, WHAT)?;
        let id = row.text()?;
        let seconds_max = u32::try_from(row.u64()?).unwrap_or(u32::MAX);
        let since = row.u64()?;
        let mut numbers = [0; 6];
        for number in &mut numbers {
            *number = row.u64()?;
        }
        let mut wishes = [false; 3];
        for wish in &mut wishes {
            *wish = row.u8()? != 0;
        }
        let archive_read = match row.u8()? {
            0 => None,
            kind => Some((Place { time: row.u64()?, chance: row.u64()? }, kind == 2)),
        };
        let directed = read_texts(&mut row)?;
        let available = match row.u8()? {
            0 => None,
            kind => {
                let (priority, content, shared) = (row.u8()?.cast_signed(), row.bytes()?, row.bytes()?);
                let (since, notify) = (row.u64()?, read_texts(&mut row)?);
                let (notify, manages_account) = ((kind >= 2).then_some(notify), kind == 3);
                Some(Presence { priority, content, shared, since, notify, manages_account })
            }
        };
        let acks = Acks::from_numbers(numbers);
        let frames = Vec::new();
        Ok(Self { account, resource, id, seconds_max, since, acks, available, wishes, archive_read, directed, frames })
    }
}

fn texts(row: Writer, texts: &[Box<str>]) -> Writer {
    let row = row.u64(texts.len() as u64);
    texts.iter().fold(row, |row, text| row.text(text))
}

fn read_texts(row: &mut Reader) -> Result<Vec<Box<str>>, Fault> {
    (0..row.u64()?).map(|_| row.text()).collect()
}

fn mark() -> Bytes {
    Table::Installation.key().str(MARK).build()
}

/// Writes `row` down. It counts when [`close`] has been called.
///
/// # Errors
/// When the store fails.
pub async fn save(store: &dyn Store, row: &Row) -> Result<(), CommitError> {
    let mut batch = Batch::new();
    batch.put(row.key().build(), row.head());
    for (number, (since, frame)) in row.frames.iter().enumerate() {
        if batch.len() >= ROWS || batch.bytes() >= BYTES {
            let _applied = store.commit(std::mem::take(&mut batch)).await?;
        }
        let value = Writer::new(FORMAT).u64(*since).bytes(frame).finish();
        batch.put(row.key().u64(number as u64).build(), value);
    }
    let _applied = store.commit(batch).await?;
    Ok(())
}

/// All that waits is written down. Durable when it resolves, and so is what was [saved](save).
///
/// # Errors
/// When the store fails.
pub async fn close(store: &dyn Store) -> Result<(), CommitError> {
    set(store, WHOLE).await
}

async fn set(store: &dyn Store, how: u8) -> Result<(), CommitError> {
    let mut batch = Batch::new();
    batch.put(mark(), Writer::new(how).finish());
    store.commit_durably(batch).await
}

/// Takes up what is written down: every session, and whether it can be resumed. What becomes of one is to be followed by
/// [`forget`].
///
/// # Errors
/// When the store fails.
pub async fn open(store: &dyn Store) -> Result<(Vec<Row>, bool), CommitError> {
    let is_whole = store.get(&mark()).await?.is_some_and(|mark| mark.first() == Some(&WHOLE));
    if is_whole {
        set(store, BEGUN).await?;
    }
    Ok((load(store).await?, is_whole))
}

async fn load(store: &dyn Store) -> Result<Vec<Row>, Fault> {
    let mut range = Table::Detached.key().range();
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let page = store.scan(range.clone(), Page::rows(ROWS)).await?;
        let (is_complete, mut last) = (page.is_complete, None);
        for (key, value) in page {
            let mut reader = KeyReader::new(&key, Table::Detached as u8)?;
            let (account, resource): (Box<str>, Box<str>) = (reader.str()?.into(), reader.str()?.into());
            if reader.rest().is_empty() {
                rows.push(Row::read(account, resource, value)?);
            } else if let Some(row) = rows.last_mut()
                && row.account == account
                && row.resource == resource
            {
                let mut value = Reader::new(value, FORMAT, WHAT)?;
                row.frames.push((value.u64()?, value.bytes()?));
            }
            last = Some(key);
        }
        match last {
            Some(last) if !is_complete => range = range.after(&last),
            _ => return Ok(rows),
        }
    }
}

/// Forgets a session. Durable when it resolves.
///
/// # Errors
/// When the store fails.
pub async fn forget(store: &dyn Store, account: &str, resource: &str) -> Result<(), CommitError> {
    super::delete_range(store, Table::Detached.key().str(account).str(resource).range()).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_taken_up_once() {
        let store = store::Memory::new();
        assert_eq!(open(&store).await.unwrap(), (vec![], false));
        let mut acks = Acks::default();
        acks.sent(7);
        acks.received();
        let presence = Presence {
            priority: -3,
            content: "<show>away</show>".into(),
            shared: "x".into(),
            since: 5,
            notify: Some(vec!["n".into(), "m".into()]),
            manages_account: true,
        };
        let phone = Row {
            account: "a@b".into(),
            resource: "phone".into(),
            id: "id".into(),
            seconds_max: 600,
            since: 9,
            acks,
            available: Some(presence.clone()),
            wishes: [true, false, true],
            archive_read: Some((Place { time: 1, chance: 2 }, true)),
            directed: vec!["c@d/e".into()],
            frames: (0..2_500).map(|number| (number, number.to_string().into())).collect(),
        };
        let desk = Row { account: "a@b".into(), resource: "phone2".into(), ..Row::default() };
        let shy = Presence { notify: None, manages_account: false, ..presence };
        let other = Row { account: "c@d".into(), available: Some(shy), ..Row::default() };
        for row in [&phone, &desk, &other] {
            save(&store, row).await.unwrap();
        }
        close(&store).await.unwrap();
        let all = vec![phone, desk, other];
        assert_eq!(open(&store).await.unwrap(), (all.clone(), true));
        assert_eq!(open(&store).await.unwrap(), (all.clone(), false), "somebody has begun with it");
        forget(&store, "a@b", "phone").await.unwrap();
        assert_eq!(open(&store).await.unwrap().0, all[1..]);
    }
}
