//! Extended subscriptions (XEP-0497): from where a node is looked at, and by whom.
//!
//! Those who look further than the node they are subscribed to have a row of their own, so that they are found without
//! the others, and the node's counters say whether there are any: a node that is related to nothing costs nothing, and
//! one that is related costs a look at the counters of what is above it.

use std::sync::Arc;

use pubsub::Subscription;
use pubsub::extended::Place;
use store::{Fault, KeyReader, Page};
use xmpp::BareJid;

use super::load::with_resource;
use super::row::read_subscriptions;
use super::{Held, Nodes, Number, rows_of};
use crate::tables::Table;

/// A node from which another is seen.
#[derive(Clone, Debug)]
pub struct Lookout {
    /// The node that is subscribed to.
    pub held: Arc<Held>,
    /// Where the other is, from there.
    pub place: Place,
}

impl Held {
    /// The nodes whose extended subscribers may hear of what happens in this one, nearest first: the node it is linked
    /// to, and those above it. What has the access of another node is below nothing itself.
    pub fn lookouts(&self) -> impl Iterator<Item = Lookout> {
        let (is_linked, is_related) = (self.node.config.link.is_some(), self.guard.is_none());
        let near = self.linked.iter().map(|held| (held, 0));
        let above = self.above.iter().zip(1..).filter_map(|(held, levels)| held.as_ref().map(|held| (held, levels)));
        near.chain(above)
            .filter(move |(held, _)| is_related && held.node.tally.extended > 0)
            .map(move |(held, levels)| Lookout { held: Arc::clone(held), place: Place::Below { levels, is_linked } })
    }
}

impl Nodes {
    /// Up to `rows_max` addresses with extended subscriptions, with all they have, behind a position; and the next
    /// position, unless there are no more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn extended(
        &self,
        number: &Number,
        from: Option<&bytes::Bytes>,
        rows_max: usize,
    ) -> Result<(Vec<Subscription>, Option<bytes::Bytes>), Fault> {
        let mut range = rows_of(Table::ExtendedSubscriptions, number);
        if let Some(from) = from {
            range = range.past(from);
        }
        let rows = self.store.scan(range, Page::rows(rows_max)).await?;
        let (is_complete, mut next, mut found) = (rows.is_complete, None, Vec::new());
        for (key, value) in rows {
            let mut reader = KeyReader::after(&key, 1);
            reader.fixed::<{ size_of::<Number>() }>()?;
            let bare = BareJid::new(&reader.str()?).map_err(|error| Fault::new(error.to_string()))?;
            let jid = with_resource(&bare, &reader.str()?)?;
            found.extend(read_subscriptions(&jid, value)?);
            next = Some(key);
        }
        Ok((found, next.filter(|_| !is_complete)))
    }
}
