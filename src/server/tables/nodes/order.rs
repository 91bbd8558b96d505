//! Items in an order other than that of publication (XEP-0413): by when their ids were first published.
//!
//! There is no index for it: almost nobody asks, and everybody who publishes would pay. The heads of a node's items
//! are small; they are read and sorted, which the engine allows up to a number of items. Also the ends of the order that
//! there is.

use std::sync::Arc;

use pubsub::model::ItemHead;
use pubsub::{Item, Timestamp};
use store::{Fault, Page};

use super::super::Table;
use super::cache::{Entry, Nodes};
use super::load::{self, Between};
use super::row::read_item_times;
use super::{Held, rows_of};

/// When an item's id was first published, and where the item is now.
pub type Appeared = (Timestamp, u64);

/// Heads read at once.
const HEADS_PAGE: usize = 2_000;

impl Nodes {
    /// The head of the oldest item.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn oldest(&self, held: &Held) -> Result<Option<ItemHead>, Fault> {
        self.outermost(held, false).await
    }

    /// The head of the newest item of a node.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest(&self, held: &Held) -> Result<Option<ItemHead>, Fault> {
        self.outermost(held, true).await
    }

    async fn outermost(&self, held: &Held, is_newest: bool) -> Result<Option<ItemHead>, Fault> {
        let between = Between { after: 0, before: None };
        let (items, _) = load::items(self.store.as_ref(), held, between, is_newest, Page::rows(1)).await?;
        Ok(items.first().map(Item::head))
    }

    /// The items of a node by when their ids were first published, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn by_creation(&self, entry: &Entry, held: &Held) -> Result<Vec<Appeared>, Fault> {
        let here =
            self.recent(entry, held, |recent| if recent.is_all() { recent.before(None, usize::MAX) } else { None });
        let mut created: Vec<Appeared> = match here.await? {
            Some(items) => items.iter().map(|item| (item.published, item.sequence)).collect(),
            None => {
                let mut range = rows_of(Table::ItemIds, &held.number);
                let mut created = Vec::new();
                loop {
                    let rows = self.store.scan(range.clone(), Page::rows(HEADS_PAGE)).await?;
                    let is_complete = rows.is_complete;
                    for (key, value) in rows {
                        range = range.past(&key);
                        let (sequence, published) = read_item_times(value)?;
                        if sequence > held.floor {
                            created.push((published, sequence));
                        }
                    }
                    if is_complete {
                        break;
                    }
                }
                created
            }
        };
        created.sort_unstable();
        Ok(created)
    }

    /// Up to `count` items between two positions (both excluded), in their order: the first of them, or with `is_last`
    /// the last; and whether there are no others between.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn between(
        &self,
        entry: &Entry,
        held: &Held,
        (after, before): (u64, Option<u64>),
        is_last: bool,
        count: usize,
    ) -> Result<(Vec<Arc<Item>>, bool), Fault> {
        let more = count.saturating_add(1);
        let here = self.recent(entry, held, |recent| match is_last {
            true => recent.before(before, more),
            false => recent.after(after, more),
        });
        let (mut items, is_complete) = match here.await? {
            Some(mut items) => {
                items.retain(|item| item.sequence > after && before.is_none_or(|before| item.sequence < before));
                (items, true)
            }
            None => {
                let page = Page::rows(more);
                let between = Between { after, before };
                let (mut items, is_complete) = load::items(self.store.as_ref(), held, between, is_last, page).await?;
                if is_last {
                    items.reverse();
                }
                (items.into_iter().map(Arc::new).collect(), is_complete)
            }
        };
        let surplus = items.len().saturating_sub(count);
        match is_last {
            true => drop(items.drain(..surplus)),
            false => items.truncate(count),
        }
        Ok((items, is_complete && surplus == 0))
    }
}
