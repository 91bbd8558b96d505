//! What is done about a node afterwards, in pages: clearing what nobody sees any more of deleted nodes and purged
//! items, giving items an expiry, finding those whose time is over.

use pubsub::Subscription;
use pubsub::config::Bound;
use pubsub::model::ItemHead;
use store::{Batch, CommitError, Fault, KeyBuilder, KeyReader, Page, Store};
use xmpp::BareJid;

use super::super::{Table, delete_range};
use super::load::{Between, items, subscribers, with_resource};
use super::row::{Work, read_item_head, read_place, read_remains, read_subscriptions, write_place};
use super::{Held, Number, entity_key, expiry_key, item_id_key, rows_of, subscriber_key};

/// Rows of work taken at once.
const PAGE: usize = 500;

/// Does the work that is due.
pub(super) async fn clear_remains(store: &dyn Store, now: u64) -> Result<(), CommitError> {
    let mut range = Table::NodeRemains.key().range();
    loop {
        let rows = store.scan(range.clone(), Page::rows(PAGE)).await?;
        let is_complete = rows.is_complete;
        for (key, value) in rows {
            range = range.past(&key);
            let remains = read_remains(value)?;
            if remains.not_before > now {
                continue;
            }
            let mut reader = KeyReader::after(&key, 1);
            let number: Number = reader.fixed().map_err(Fault::from)?;
            let upto = reader.u64().map_err(Fault::from)?;
            match remains.work {
                Work::Items => clear_items(store, &number, upto).await?,
                Work::Expiry => schedule(store, &number, &remains.home, &remains.name).await?,
                Work::Node => {
                    clear_items(store, &number, upto).await?;
                    clear_entities(store, &number, &remains.home, &remains.name).await?;
                    for table in [
                        Table::ItemIds,
                        Table::Subscriptions,
                        Table::ExtendedSubscriptions,
                        Table::Pending,
                        Table::Affiliations,
                        Table::Hearts,
                    ] {
                        delete_range(store, rows_of(table, &number)).await?;
                    }
                }
            }
            let mut batch = Batch::new();
            batch.delete(key);
            store.commit_durably(batch).await?;
        }
        if is_complete {
            return Ok(());
        }
    }
}

/// Deletes items up to a position, and their ids unless a newer item has taken one over.
async fn clear_items(store: &dyn Store, number: &Number, upto: u64) -> Result<(), CommitError> {
    let whole = Held { node: nobodys_node()?, number: *number, floor: 0, guard: None, above: Vec::new(), linked: None };
    loop {
        let between = Between { after: 0, before: Some(upto.saturating_add(1)) };
        let (found, is_complete) = items(store, &whole, between, false, Page::rows(PAGE)).await?;
        let mut batch = Batch::new();
        for item in found {
            batch.delete(super::item_key(number, item.sequence));
            let id_key = item_id_key(number, &item.id);
            if let Some(row) = store.get(&id_key).await?
                && read_item_head(&item.id, row)?.sequence == item.sequence
            {
                batch.delete(id_key);
            }
        }
        store.commit_durably(batch).await?;
        if is_complete {
            return Ok(());
        }
    }
}

/// Gives every item of a node the expiry that its configuration has now.
async fn schedule(store: &dyn Store, number: &Number, home: &str, name: &str) -> Result<(), CommitError> {
    let Some(held) = super::load::held(store, home, name).await?.filter(|held| held.number == *number) else {
        return Ok(());
    };
    let Bound::At(seconds) = held.node.config.item_expire else { return Ok(()) };
    let mut after = 0;
    loop {
        let between = Between { after, before: None };
        let (found, is_complete) = items(store, &held, between, false, Page::rows(PAGE)).await?;
        let mut batch = Batch::new();
        for item in found {
            after = item.sequence;
            let pubsub::Timestamp(expiry) = item.updated.plus_seconds(seconds);
            batch.put(expiry_key(expiry, number, item.sequence), write_place(home, name));
        }
        store.commit_durably(batch).await?;
        if is_complete {
            return Ok(());
        }
    }
}

/// The loader of items wants a node; of this one only the number counts.
fn nobodys_node() -> Result<pubsub::Node, Fault> {
    let creator = BareJid::new("invalid").map_err(|error| Fault::new(error.to_string()))?;
    Ok(pubsub::Node {
        name: "".into(),
        creator,
        created: pubsub::Timestamp(0),
        config: std::sync::Arc::new(pubsub::NodeConfig::service(0)),
        tally: pubsub::Tally::default(),
    })
}

/// Deletes the rows by which subscribers and affiliated entities find the node.
async fn clear_entities(store: &dyn Store, number: &Number, home: &str, name: &str) -> Result<(), CommitError> {
    let mut from = None;
    loop {
        let page = subscribers(store, number, from.as_ref(), PAGE).await?;
        let mut batch = Batch::new();
        for subscription in &page.rows {
            batch.delete(subscriber_key(&subscription.jid, home, name, number));
        }
        store.commit_durably(batch).await?;
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    let mut after: Option<BareJid> = None;
    loop {
        let page = super::load::affiliations(store, number, after.as_ref(), PAGE).await?;
        let mut batch = Batch::new();
        for (bare, _) in &page {
            batch.delete(entity_key(bare, home, name, number));
        }
        store.commit_durably(batch).await?;
        if page.len() < PAGE {
            return Ok(());
        }
        after = page.last().map(|(bare, _)| bare.clone());
    }
}

/// An item whose time is over.
#[derive(Debug)]
pub struct Expired {
    /// Where it is.
    pub home: Box<str>,
    /// In which node.
    pub name: Box<str>,
    /// The number the node had.
    pub number: Number,
    /// Which item.
    pub sequence: u64,
    pub(super) key: bytes::Bytes,
}

/// Items whose time was over at `now` (milliseconds), some at a time.
pub(super) async fn expired(store: &dyn Store, now: u64) -> Result<Vec<Expired>, Fault> {
    let range = store::Range::between(Table::ItemExpiry.key().build(), Table::ItemExpiry.key().u64(now + 1).build());
    let rows = store.scan(range, Page::rows(PAGE)).await?;
    rows.into_iter()
        .map(|(key, value)| {
            let mut reader = KeyReader::after(&key, 1);
            reader.u64()?;
            let (number, sequence) = (reader.fixed()?, reader.u64()?);
            let (home, name) = read_place(value)?;
            Ok(Expired { home, name, number, sequence, key })
        })
        .collect()
}

/// Takes expiries off the list.
pub(super) async fn settle(store: &dyn Store, expired: &[Expired]) -> Result<(), CommitError> {
    let mut batch = Batch::new();
    for one in expired {
        batch.delete(one.key.clone());
    }
    store.commit_durably(batch).await
}

/// The heads of those items that are still there.
pub(super) async fn heads(
    store: &dyn Store,
    held: &Held,
    sequences: &[u64],
) -> Result<Vec<(ItemHead, pubsub::Timestamp)>, Fault> {
    let mut heads = Vec::new();
    for sequence in sequences.iter().filter(|sequence| **sequence > held.floor) {
        if let Some(item) = super::load::item(store, held, *sequence).await? {
            let head =
                ItemHead { sequence: item.sequence, id: item.id, publisher: item.publisher, published: item.published };
            heads.push((head, item.updated));
        }
    }
    Ok(heads)
}

/// What an address has at a node: home, name, subscriptions.
pub(super) type Anywhere = (BareJid, Box<str>, Vec<Subscription>);

/// Every subscription an account has anywhere in this house, those of one address to one node together; some at a time.
pub(super) async fn subscriptions_anywhere(store: &dyn Store, bare: &BareJid) -> Result<Vec<Anywhere>, Fault> {
    let prefix = Table::SubscriptionsBySubscriber.key().str(bare.as_str()).build();
    let rows = store.scan(KeyBuilder::extend(&prefix).range(), Page::rows(PAGE)).await?;
    rows.into_iter()
        .map(|(key, value)| {
            let mut reader = KeyReader::after(&key, prefix.len());
            let (home, name) = (reader.str()?, reader.str()?);
            reader.fixed::<{ size_of::<Number>() }>()?;
            let jid = with_resource(bare, &reader.str()?)?;
            let home = BareJid::new(&home).map_err(|error| Fault::new(error.to_string()))?;
            Ok((home, name.into(), read_subscriptions(&jid, value)?))
        })
        .collect()
}
