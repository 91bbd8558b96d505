//! What the home timeline asks of nodes: whom an account follows, and items by their positions.

use std::sync::Arc;

use pubsub::Item;
use store::{Fault, Page};
use xmpp::BareJid;

use super::load::{self, Between, Follow};
use super::{Entry, Held, Nodes};

impl Nodes {
    /// Up to `rows_max` subscriptions of a bare address and its resources anywhere, those behind `after`, by home and
    /// name; and whether there are no more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn follows(
        &self,
        bare: &BareJid,
        after: Option<&Follow>,
        rows_max: usize,
    ) -> Result<(Vec<Follow>, bool), Fault> {
        load::follows(self.store.as_ref(), bare, after, rows_max).await
    }

    /// The item at a position.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn item_at(&self, entry: &Entry, held: &Held, sequence: u64) -> Result<Option<Arc<Item>>, Fault> {
        if sequence <= held.floor || sequence > held.node.tally.sequence {
            return Ok(None);
        }
        if let Some(here) = Self::recent_at_hand(entry, |recent| recent.after(sequence - 1, 1)) {
            return Ok(here.into_iter().find(|item| item.sequence == sequence));
        }
        Ok(load::item(self.store.as_ref(), held, sequence).await?.map(Arc::new))
    }

    /// Up to `count` items before a position, newest first, or behind it (`is_backwards`: before).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn items_beside(
        &self,
        entry: &Entry,
        held: &Held,
        bound: Option<u64>,
        is_backwards: bool,
        count: usize,
    ) -> Result<Vec<Arc<Item>>, Fault> {
        let here = self
            .recent(entry, held, |recent| match is_backwards {
                true => recent.before(bound, count),
                false => recent.after(bound.unwrap_or(0), count),
            })
            .await?;
        let mut items = match here {
            Some(items) => items,
            None => {
                let between = match is_backwards {
                    true => Between { after: 0, before: bound },
                    false => Between { after: bound.unwrap_or(0), before: None },
                };
                let page = Page::rows(count);
                let (items, _) = load::items(self.store.as_ref(), held, between, is_backwards, page).await?;
                return Ok(items.into_iter().map(Arc::new).collect());
            }
        };
        if is_backwards {
            items.reverse();
        }
        Ok(items)
    }

    /// The position of the last item that is not newer than `time` (milliseconds), or 0: found by halving, since items
    /// of a node are in order of time as they are of position.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn position_at(&self, entry: &Entry, held: &Held, time: u64) -> Result<u64, Fault> {
        let (mut low, mut high) = (held.floor, held.node.tally.sequence);
        // The newest are asked first: almost everybody reads there.
        if let Some(recent) = self.recent(entry, held, |recent| recent.before(None, 1)).await?
            && recent.first().is_none_or(|newest| newest.updated.0 <= time)
        {
            return Ok(high);
        }
        // Items at or below `low` are not newer, those above `high` are.
        while low < high {
            let middle = low + (high - low) / 2;
            let next = self.items(held, middle, None, false, Page::rows(1)).await?;
            match next.first() {
                Some(item) if item.updated.0 <= time => low = item.sequence.min(high),
                _ => high = middle,
            }
        }
        Ok(low)
    }
}
