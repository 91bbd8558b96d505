//! What an address has at nodes, its subscriptions and affiliations; and what the home timeline asks of them: items by
//! their positions.
//!
//! What remains of a deleted node is cleared after a while. Until then it is left out here: what is listed, and counted,
//! is what an address has at nodes that are there.

use std::sync::Arc;

use pubsub::{Affiliation, Item};
use store::{Fault, Page};
use xmpp::BareJid;

use super::load::{self, Between, Follow, SubscriptionRow};
use super::{Entry, Held, Nodes, Number};

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

    /// Up to `rows_max` of them, those to nodes that are there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn followed(&self, bare: &BareJid, rows_max: usize) -> Result<Vec<Follow>, Fault> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let (page, is_complete) = self.follows(bare, after.as_ref(), rows_max).await?;
            for follow in &page {
                if found.len() < rows_max && self.is_there(&follow.home, &follow.name, &follow.number).await? {
                    found.push(follow.clone());
                }
            }
            after = page.into_iter().next_back();
            if is_complete || after.is_none() || found.len() >= rows_max {
                return Ok(found);
            }
        }
    }

    /// The caller's own subscriptions at a home, in up to `rows_max` rows.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn own_subscriptions(
        &self,
        bare: &BareJid,
        home: &BareJid,
        rows_max: usize,
    ) -> Result<Vec<SubscriptionRow>, Fault> {
        let mut own = Vec::new();
        for (number, row) in load::own_subscriptions(self.store.as_ref(), bare, home.as_str(), rows_max).await? {
            if self.is_there(home, &row.0, &number).await? {
                own.push(row);
            }
        }
        Ok(own)
    }

    /// The caller's own affiliations at a home, in up to `rows_max` rows.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn own_affiliations(
        &self,
        bare: &BareJid,
        home: &BareJid,
        rows_max: usize,
    ) -> Result<Vec<(Box<str>, Affiliation)>, Fault> {
        let mut own = Vec::new();
        for (number, row) in load::own_affiliations(self.store.as_ref(), bare, home.as_str(), rows_max).await? {
            if self.is_there(home, &row.0, &number).await? {
                own.push(row);
            }
        }
        Ok(own)
    }

    /// Whether there is a node of that name that has that number.
    async fn is_there(&self, home: &BareJid, name: &str, number: &Number) -> Result<bool, Fault> {
        let held = self.held(&self.entry(home, name)).await?;
        Ok(held.is_some_and(|held| held.number == *number))
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
