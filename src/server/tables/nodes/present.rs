//! What is there of a node at a time (XEP-0060 section 16.4.4, `item_expire`): items that have outlived the node's limit
//! are gone from that moment, though they are removed, and told of, a little later.
//!
//! Items of a node are in order of time, so those that have expired are the oldest. Whoever reads a node as it is
//! [`Nodes::present`] finds none of them, and the count without them. Who changes it must not: what is stored has them.

use std::borrow::Cow;

use pubsub::Timestamp;
use pubsub::config::Bound;
use store::{Fault, Page};

use super::load::{self, Between};
use super::{Entry, Held, Nodes};

/// Expired items counted at most. If more than these wait to be removed, the count is what it comes to without these
/// (XEP-0059 section 2.6: it may be approximate).
const COUNTED_MAX: usize = 1_000;
/// Of these, read at once.
const PAGE: usize = 200;

impl Nodes {
    /// The node as it is at `now` for who reads it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn present<'a>(&self, entry: &Entry, held: &'a Held, now: Timestamp) -> Result<Cow<'a, Held>, Fault> {
        let all = Cow::Borrowed(held);
        let Bound::At(seconds) = held.node.config.item_expire else { return Ok(all) };
        let Some(time) = seconds.checked_mul(1_000).and_then(|age| now.0.checked_sub(age)) else { return Ok(all) };
        if held.node.tally.items == 0 {
            return Ok(all);
        }
        // Mostly nothing has expired since somebody looked, and that is soon seen.
        let oldest = match self.recent(entry, held, |recent| recent.after(held.floor, 1)).await? {
            Some(items) => items.first().map(|item| item.updated),
            None => self.items(held, held.floor, None, false, Page::rows(1)).await?.first().map(|item| item.updated),
        };
        if oldest.is_none_or(|oldest| oldest.0 > time) {
            return Ok(all);
        }
        let floor = self.position_at(entry, held, time).await?;
        let mut present = held.clone();
        present.node.tally.items = match self.recent(entry, held, |recent| recent.after(floor, usize::MAX)).await? {
            Some(rest) => u64::try_from(rest.len()).unwrap_or(u64::MAX),
            None => held.node.tally.items.saturating_sub(self.count_up_to(held, floor).await?),
        };
        present.floor = floor;
        Ok(Cow::Owned(present))
    }

    /// How many items there are up to a position, which is included; [`COUNTED_MAX`] for more.
    async fn count_up_to(&self, held: &Held, floor: u64) -> Result<u64, Fault> {
        let (mut after, mut count) = (held.floor, 0);
        while count < COUNTED_MAX {
            let between = Between { after, before: Some(floor.saturating_add(1)) };
            let (items, is_complete) = load::items(self.store.as_ref(), held, between, false, Page::rows(PAGE)).await?;
            count += items.len();
            after = items.last().map_or(after, |item| item.sequence);
            if is_complete {
                break;
            }
        }
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }
}
