//! Items of a node in the order that was asked for (XEP-0413), a page at a time.

use std::sync::Arc;

use pubsub::order::{By, Order};
use pubsub::{Item, Refusal};
use store::Fault;
use xmpp::paging::{Query, Start};

use super::Pep;
use super::lists::Found;
use super::serve::Failure;
use crate::tables::nodes::{Appeared, Entry, Held};

/// Bytes of items read in one go: the last of them goes beyond.
const GO_BYTES: usize = 1 << 20;

/// A node's items in an order.
pub(super) enum Sorted {
    /// As they are kept.
    Kept,
    /// By creation: all of them.
    Created(Vec<Appeared>),
}

/// Which of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Only those whose position is behind the one and before the other, whatever the order.
    pub(super) between: (u64, Option<u64>),
    /// Only those behind this position in the order, or before it if `is_backwards`.
    pub(super) bound: Option<u64>,
    /// The last of those, not the first.
    pub(super) is_backwards: bool,
    /// How many.
    pub(super) count: usize,
}

/// What was found, in the order, ascending.
pub(super) struct Chosen {
    pub(super) items: Vec<Arc<Item>>,
    /// How many stand before the first, where that is known.
    pub(super) index: Option<u64>,
    /// Whether there is nothing more in that direction.
    pub(super) is_complete: bool,
    /// How far it was looked in that direction: where to go on, even where nothing was found.
    pub(super) end: Option<u64>,
    /// How many were looked at. Those that are gone by now are among them.
    pub(super) looked_at: usize,
}

impl Pep {
    /// The items of a node, in order.
    pub(super) async fn sorted(&self, entry: &Entry, held: &Held, by: By) -> Result<Sorted, Fault> {
        Ok(match by {
            By::Modification => Sorted::Kept,
            By::Creation => Sorted::Created(self.nodes.by_creation(entry, held).await?),
        })
    }

    /// A part of them.
    pub(super) async fn choose(
        &self,
        (entry, held): (&Entry, &Held),
        sorted: &Sorted,
        part: &Part,
    ) -> Result<Chosen, Fault> {
        let Part { between: (mut after, mut before), bound, is_backwards, count } = *part;
        let created = match sorted {
            Sorted::Created(created) => created,
            Sorted::Kept => {
                match bound {
                    Some(bound) if is_backwards => before = Some(before.map_or(bound, |before| before.min(bound))),
                    Some(bound) => after = after.max(bound),
                    None => {}
                }
                let (items, is_complete) =
                    self.nodes.between(entry, held, (after, before), is_backwards, count).await?;
                let first = items.first().map(|item| item.sequence);
                let index = match first {
                    Some(first) => self.nodes.recent(entry, held, |recent| recent.index_of(first)).await?,
                    None => None,
                };
                let end = if is_backwards { items.first() } else { items.last() };
                let (end, looked_at) = (end.map(|item| item.sequence), items.len());
                return Ok(Chosen { items, index, is_complete, end, looked_at });
            }
        };
        let wanted = |(_, sequence): &&Appeared| *sequence > after && before.is_none_or(|before| *sequence < before);
        let all: Vec<Appeared> = created.iter().filter(wanted).copied().collect();
        // The bound may be an item that the other conditions leave out: its place in the order counts.
        let place = |sequence: u64| created.iter().find(|(_, other)| *other == sequence).copied();
        let (from, to) = match (bound.and_then(place), is_backwards) {
            (None, _) => (0, all.len()),
            (Some(bound), false) => (all.partition_point(|other| *other <= bound), all.len()),
            (Some(bound), true) => (0, all.partition_point(|other| *other < bound)),
        };
        let there = all.get(from..to).unwrap_or_default();
        let mut chosen = Chosen { items: Vec::new(), index: None, is_complete: false, end: None, looked_at: 0 };
        let mut bytes = 0;
        let mut next = there.iter();
        while chosen.looked_at < count
            && bytes < GO_BYTES
            && let Some((_, sequence)) = if is_backwards { next.next_back() } else { next.next() }
        {
            (chosen.end, chosen.looked_at) = (Some(*sequence), chosen.looked_at + 1);
            // It may be gone since.
            if let Some(item) = self.nodes.item_at(entry, held, *sequence).await? {
                bytes += item.payload.len();
                chosen.items.push(item);
            }
        }
        if is_backwards {
            chosen.items.reverse();
        }
        chosen.is_complete = chosen.looked_at == there.len();
        let first = if is_backwards { to - chosen.looked_at } else { from };
        chosen.index = u64::try_from(first).ok().filter(|_| part.between == (0, None));
        Ok(chosen)
    }

    /// Items in an order, for who asks for them by XEP-0060.
    pub(super) async fn ordered(
        &self,
        entry: &Entry,
        held: &Held,
        order: Order,
        (newest, page): (Option<u64>, &Query),
    ) -> Result<Found, Failure> {
        let page_max = self.page_max();
        let size = match newest {
            Some(newest) => usize::try_from(newest).unwrap_or(usize::MAX).min(page_max),
            None => page.size(page_max),
        };
        let position = async |id: &str| -> Result<u64, Failure> {
            let head = self.nodes.item_head(entry, held, id).await?;
            Ok(head.ok_or(Refusal::ItemNotFound)?.sequence)
        };
        // What comes first when the last comes first is the last.
        let (bound, is_backwards) = match (page.start(), order.is_descending) {
            (Start::First, false) => (None, newest.is_some()),
            (Start::First, true) | (Start::Last, false) => (None, true),
            (Start::Last, true) => (None, false),
            (Start::After(id), is_descending) => (Some(position(id).await?), is_descending),
            (Start::Before(id), is_descending) => (Some(position(id).await?), !is_descending),
            (Start::Index(_), _) => return Err(Refusal::Unsupported("rsm").into()),
        };
        let sorted = self.sorted(entry, held, order.by).await?;
        let part = Part { between: (0, None), bound, is_backwards, count: size };
        let Chosen { mut items, index, is_complete, .. } = self.choose((entry, held), &sorted, &part).await?;
        let given = u64::try_from(items.len()).unwrap_or(u64::MAX);
        let index = match order.is_descending {
            true => index.and_then(|index| held.node.tally.items.checked_sub(index)?.checked_sub(given)),
            false => index,
        };
        // What does not fit is left away at the end that is further from where the page begins.
        let is_cut = cut(&mut items, self.limits.page_bytes_max, is_backwards);
        let index = index.filter(|_| !is_cut);
        if order.is_descending {
            items.reverse();
        }
        let is_page = newest.is_some() || *page != Query::default() || !is_complete || is_cut;
        Ok(Found { items, index, is_page })
    }
}

/// Leaves away what is too much, at the front or at the back, and says whether it did.
fn cut(items: &mut Vec<Arc<Item>>, bytes_max: usize, is_from_front: bool) -> bool {
    let (mut bytes, count) = (0, items.len());
    let mut fits = |item: &Arc<Item>| {
        bytes += item.payload.len();
        bytes <= bytes_max
    };
    if is_from_front {
        let kept = items.iter().rev().take_while(|item| fits(item)).count().max(1);
        drop(items.drain(..items.len().saturating_sub(kept)));
    } else {
        let kept = items.iter().take_while(|item| fits(item)).count().max(1);
        items.truncate(kept);
    }
    items.len() < count
}
