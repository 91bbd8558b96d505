//! What is read, each a bounded number of rows.

use bytes::Bytes;
use pubsub::model::ItemHead;
use pubsub::{Affiliation, Item, Subscription, SubscriptionState};
use store::{Fault, KeyBuilder, KeyReader, Page, Range, Store};
use xmpp::{BareJid, Jid};

use super::super::Table;
use super::row::{read_affiliation, read_item, read_item_head, read_moved, read_node, read_subscriptions, read_tally};
use super::{
    COUNT_ITEMS, COUNT_MOVED, COUNT_NODES, Held, NODE, Number, TALLY, affiliation_key, creator_key, home_key,
    item_id_key, item_key, moved_key, node_key, rows_of, sequence_of, tally_key,
};

/// One of an entity's own subscriptions: the node, and the subscription to it.
pub type SubscriptionRow = (Box<str>, Subscription);

fn broken(what: &str) -> Fault {
    Fault::new(format!("a key of {what} has an unexpected shape"))
}

/// The node of that name.
pub(super) async fn held(store: &dyn Store, home: &str, name: &str) -> Result<Option<Held>, Fault> {
    let Some(row) = store.get(&node_key(home, name)).await? else { return Ok(None) };
    // Read after the node: if it was deleted in between, there is none.
    let Some(tally) = store.get(&tally_key(home, name)).await? else { return Ok(None) };
    assemble(name, row, tally).map(Some)
}

fn assemble(name: &str, row: Bytes, tally: Bytes) -> Result<Held, Fault> {
    let (mut node, number) = read_node(name, row)?;
    let (tally, floor) = read_tally(tally)?;
    node.tally = tally;
    Ok(Held { node, number, floor, guard: None, above: Vec::new(), linked: None })
}

/// How many nodes a home has.
pub(super) async fn node_count(store: &dyn Store, home: &str) -> Result<u64, Fault> {
    let row = store.get(&home_key(home)).await?;
    Ok(store::counter(row.as_deref()).and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}

/// What one entity created in a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Created {
    /// Nodes that are there.
    pub nodes: u64,
    /// Items in them.
    pub items: u64,
}

/// What `creator` has in a service.
pub(super) async fn created_by(store: &dyn Store, service: &str, creator: &BareJid) -> Result<Created, Fault> {
    let mut counts = [0; 2];
    for (count, counted) in counts.iter_mut().zip([COUNT_NODES, COUNT_ITEMS]) {
        let row = store.get(&creator_key(service, creator, counted)).await?;
        *count = store::counter(row.as_deref()).and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    }
    let [nodes, items] = counts;
    Ok(Created { nodes, items })
}

/// Where a deleted node has gone, and who said so.
pub(super) async fn moved(store: &dyn Store, home: &str, name: &str) -> Result<Option<(BareJid, Box<str>)>, Fault> {
    store.get(&moved_key(home, name)).await?.map(read_moved).transpose()
}

/// How many addresses `owner` has left behind in a home.
pub(super) async fn moved_by(store: &dyn Store, home: &str, owner: &BareJid) -> Result<i64, Fault> {
    let row = store.get(&creator_key(home, owner, COUNT_MOVED)).await?;
    Ok(store::counter(row.as_deref()).unwrap_or(0))
}

/// Up to `rows_max` addresses whose subscription to a node is pending, by address.
pub(super) async fn pending(store: &dyn Store, number: &Number, rows_max: usize) -> Result<Vec<Jid>, Fault> {
    let rows = store.scan(rows_of(Table::Pending, number), Page::rows(rows_max)).await?;
    rows.into_iter().map(|(key, _)| subscriber(&key)).collect()
}

/// Up to `rows_max` nodes of a home whose names follow `after`, by name.
pub(super) async fn nodes(
    store: &dyn Store,
    home: &str,
    after: Option<&str>,
    rows_max: usize,
) -> Result<Vec<Held>, Fault> {
    let prefix = home_key(home);
    let mut range = KeyBuilder::extend(&prefix).range().after(&prefix);
    if let Some(after) = after {
        range = range.after(&tally_key(home, after));
    }
    let mut found = Vec::new();
    let mut pending: Option<(String, Bytes)> = None;
    loop {
        let rows = store.scan(range.clone(), Page::rows(200)).await?;
        let is_complete = rows.is_complete;
        for (key, value) in rows {
            range = range.past(&key);
            let mut reader = KeyReader::after(&key, prefix.len());
            let name = reader.str()?;
            match (reader.u8()?, pending.take()) {
                (NODE, _) => pending = Some((name, value)),
                (TALLY, Some((node, row))) if node == name => found.push(assemble(&name, row, value)?),
                _ => return Err(broken("nodes")),
            }
            if found.len() >= rows_max {
                return Ok(found);
            }
        }
        if is_complete {
            return Ok(found);
        }
    }
}

/// The stored affiliation of an entity.
pub(super) async fn affiliation(store: &dyn Store, number: &Number, bare: &BareJid) -> Result<Affiliation, Fault> {
    match store.get(&affiliation_key(number, bare)).await? {
        Some(row) => read_affiliation(row),
        None => Ok(Affiliation::None),
    }
}

/// Up to `rows_max` affiliations that follow `after`, by address.
pub(super) async fn affiliations(
    store: &dyn Store,
    number: &Number,
    after: Option<&BareJid>,
    rows_max: usize,
) -> Result<Vec<(BareJid, Affiliation)>, Fault> {
    let mut range = rows_of(Table::Affiliations, number);
    if let Some(after) = after {
        range = range.after(&affiliation_key(number, after));
    }
    let rows = store.scan(range, Page::rows(rows_max)).await?;
    rows.into_iter()
        .map(|(key, value)| {
            let bare = KeyReader::after(&key, 1 + number.len()).str()?;
            let bare = BareJid::new(&bare).map_err(|_| broken("affiliations"))?;
            Ok((bare, read_affiliation(value)?))
        })
        .collect()
}

/// The subscriptions of a bare address and its resources.
pub(super) async fn subscriptions_of(
    store: &dyn Store,
    number: &Number,
    bare: &BareJid,
    rows_max: usize,
) -> Result<Vec<Subscription>, Fault> {
    let range = Table::Subscriptions.key().fixed(number).str(bare.as_str()).range();
    let rows = store.scan(range, Page::rows(rows_max)).await?;
    all_of(rows)
}

/// The subscriptions in rows, each row those of one address.
fn all_of(rows: impl IntoIterator<Item = (Bytes, Bytes)>) -> Result<Vec<Subscription>, Fault> {
    let mut all = Vec::new();
    for (key, value) in rows {
        all.extend(read_subscriptions(&subscriber(&key)?, value)?);
    }
    Ok(all)
}

/// The address in a key that begins with a node's number.
fn subscriber(key: &Bytes) -> Result<Jid, Fault> {
    let mut reader = KeyReader::after(key, 1 + size_of::<Number>());
    let (bare, resource) = (reader.str()?, reader.str()?);
    with_resource(&BareJid::new(&bare).map_err(|_| broken("subscriptions"))?, &resource)
}

/// A page of subscriptions.
#[derive(Debug, Default)]
pub struct Subscribers {
    /// Some, in the order of their addresses. All subscriptions of one address are in one page.
    pub rows: Vec<Subscription>,
    /// Where the next page begins; none after the last.
    pub next: Option<Bytes>,
}

/// A page of all subscriptions to a node; `from` is where the page before ended.
pub(super) async fn subscribers(
    store: &dyn Store,
    number: &Number,
    from: Option<&Bytes>,
    rows_max: usize,
) -> Result<Subscribers, Fault> {
    let mut range = rows_of(Table::Subscriptions, number);
    if let Some(from) = from {
        range = range.past(from);
    }
    let rows = store.scan(range, Page::rows(rows_max)).await?;
    let next = if rows.is_complete { None } else { rows.last().map(|(key, _)| key.clone()) };
    Ok(Subscribers { rows: all_of(rows)?, next })
}

/// Where the subscription of that address stands, to go on after it.
pub(super) fn subscriber_position(number: &Number, jid: &Jid) -> Bytes {
    super::subscription_key(number, jid)
}

/// The caller's own subscriptions at a home: the number the node had, node and state, up to `rows_max` rows.
pub(super) async fn own_subscriptions(
    store: &dyn Store,
    bare: &BareJid,
    home: &str,
    rows_max: usize,
) -> Result<Vec<(Number, SubscriptionRow)>, Fault> {
    let prefix = Table::SubscriptionsBySubscriber.key().str(bare.as_str()).str(home).build();
    let rows = store.scan(KeyBuilder::extend(&prefix).range(), Page::rows(rows_max)).await?;
    let mut own = Vec::with_capacity(rows.len());
    for (key, value) in rows {
        let mut reader = KeyReader::after(&key, prefix.len());
        let name = reader.str()?;
        let number = reader.fixed()?;
        let jid = with_resource(bare, &reader.str()?)?;
        own.extend(read_subscriptions(&jid, value)?.into_iter().map(|row| (number, (Box::from(&*name), row))));
    }
    Ok(own)
}

/// A subscription, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// Where the node is: an account or service, here or elsewhere.
    pub home: BareJid,
    /// What it is called.
    pub name: Box<str>,
    /// Its number.
    pub number: Number,
    /// What the subscriber has there; where it has several, one that is told if any is.
    pub subscription: Subscription,
}

/// Up to `rows_max` subscriptions of a bare address and its resources anywhere, by home and name, and whether there are
/// no more.
pub(super) async fn follows(
    store: &dyn Store,
    bare: &BareJid,
    after: Option<&Follow>,
    rows_max: usize,
) -> Result<(Vec<Follow>, bool), Fault> {
    let prefix = Table::SubscriptionsBySubscriber.key().str(bare.as_str()).build();
    let mut range = KeyBuilder::extend(&prefix).range();
    if let Some(after) = after {
        let jid = &after.subscription.jid;
        range = range.after(&super::subscriber_key(jid, after.home.as_str(), &after.name, &after.number));
    }
    let rows = store.scan(range, Page::rows(rows_max).bytes(usize::MAX)).await?;
    let is_complete = rows.is_complete;
    let follows = rows.into_iter().map(|(key, value)| {
        let mut reader = KeyReader::after(&key, prefix.len());
        let (home, name) = (reader.str()?, reader.str()?);
        let number = reader.fixed()?;
        let jid = with_resource(bare, &reader.str()?)?;
        let home = BareJid::new(&home).map_err(|_| broken("subscribers"))?;
        let mut rows = read_subscriptions(&jid, value)?;
        let is_read = |row: &Subscription| row.options.deliver && row.options.reach.has_items();
        rows.sort_by_key(|row| (row.state != SubscriptionState::Subscribed, !is_read(row), row.after));
        let subscription = rows.into_iter().next().ok_or_else(|| broken("subscribers"))?;
        Ok(Follow { home, name: name.into(), number, subscription })
    });
    Ok((follows.collect::<Result<_, Fault>>()?, is_complete))
}

/// The address of a bare one and what a key says of its resource.
pub(super) fn with_resource(bare: &BareJid, resource: &str) -> Result<Jid, Fault> {
    match resource {
        "" => Ok(Jid::from(bare)),
        resource => Ok(bare.with_resource(resource).map_err(|_| broken("subscribers"))?.into()),
    }
}

/// One of an entity's own affiliations, with the number the node had.
type AffiliationRow = (Number, (Box<str>, Affiliation));

/// The caller's own affiliations at a home, up to `rows_max`.
pub(super) async fn own_affiliations(
    store: &dyn Store,
    bare: &BareJid,
    home: &str,
    rows_max: usize,
) -> Result<Vec<AffiliationRow>, Fault> {
    let prefix = Table::AffiliationsByEntity.key().str(bare.as_str()).str(home).build();
    let rows = store.scan(KeyBuilder::extend(&prefix).range(), Page::rows(rows_max)).await?;
    rows.into_iter()
        .map(|(key, value)| {
            let mut reader = KeyReader::after(&key, prefix.len());
            let name = reader.str()?;
            Ok((reader.fixed()?, (name.into(), read_affiliation(value)?)))
        })
        .collect()
}

/// The head of the item with that id.
pub(super) async fn item_head(store: &dyn Store, held: &Held, id: &str) -> Result<Option<ItemHead>, Fault> {
    let Some(row) = store.get(&item_id_key(&held.number, id)).await? else { return Ok(None) };
    let head = read_item_head(id, row)?;
    Ok((head.sequence > held.floor).then_some(head))
}

/// The item at a position.
pub(super) async fn item(store: &dyn Store, held: &Held, sequence: u64) -> Result<Option<Item>, Fault> {
    let row = store.get(&item_key(&held.number, sequence)).await?;
    row.map(|row| read_item(sequence, row)).transpose()
}

/// Which items, by position; both bounds are excluded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Between {
    pub(super) after: u64,
    pub(super) before: Option<u64>,
}

/// Items in their order, or newest first; and whether there are no more.
pub(super) async fn items(
    store: &dyn Store,
    held: &Held,
    between: Between,
    is_reversed: bool,
    page: Page,
) -> Result<(Vec<Item>, bool), Fault> {
    let after = between.after.max(held.floor);
    let from = item_key(&held.number, after.saturating_add(1));
    let mut range: Range = match between.before {
        Some(before) => Range::between(from, item_key(&held.number, before)),
        None => {
            let mut end = item_key(&held.number, u64::MAX).to_vec();
            end.push(0);
            Range::between(from, end)
        }
    };
    if range.is_empty() {
        return Ok((Vec::new(), true));
    }
    if is_reversed {
        range = range.reversed();
    }
    let rows = store.scan(range, page).await?;
    let is_complete = rows.is_complete;
    let items = rows.into_iter().map(|(key, value)| {
        let sequence = sequence_of(&key).ok_or_else(|| broken("items"))?;
        read_item(sequence, value)
    });
    Ok((items.collect::<Result<_, Fault>>()?, is_complete))
}
