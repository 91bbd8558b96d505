//! What time undoes: items that expire, subscriptions whose lease is over, and what remains of deleted nodes.

use std::sync::Arc;

use pubsub::Timestamp;
use pubsub::decide::{expire, lapse};
use pubsub::model::is_expired;
use store::CommitError;
use xmpp::BareJid;

use super::Pep;
use super::public::subscribed;
use crate::tables::nodes::Number;

/// Rounds of expired items seen to in one minute, each of some hundreds.
const ROUNDS: usize = 20;

impl Pep {
    /// Once a minute. `now` is in microseconds.
    pub(super) async fn housekeep(&self, now: u64) {
        for _ in 0..ROUNDS {
            match self.expire_some(now / 1000).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::error!(%error, "expired items cannot be removed");
                    break;
                }
            }
        }
        for _ in 0..ROUNDS {
            match self.lapse_some(now / 1000).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::error!(%error, "leases that are over cannot be ended");
                    break;
                }
            }
        }
        self.tend_tags().await;
        if let Err(error) = self.nodes.clear_remains(now).await {
            tracing::error!(%error, "what remains of deleted nodes cannot be cleared");
        }
    }

    /// Ends some leases that are over; whether there may be more. `now` is in milliseconds.
    async fn lapse_some(&self, now: u64) -> Result<bool, CommitError> {
        let due = self.nodes.lapsed(now).await?;
        if due.is_empty() {
            return Ok(false);
        }
        for one in &due {
            let Ok(home) = BareJid::new(&one.home) else { continue };
            let entry = self.nodes.entry(&home, &one.name);
            let turnstile = entry.turnstile.lock().await;
            let Some(held) = self.nodes.held(&entry).await?.filter(|held| held.number == one.number) else { continue };
            let rows_max = self.limits.subscriptions_per_jid_max;
            let mut rows = self.nodes.subscriptions_of(&held, &one.jid.to_bare(), rows_max).await?;
            rows.retain(|row| row.jid == one.jid);
            // It may have been renewed since.
            let decision = lapse(&held.node, &rows, Timestamp(one.at), Timestamp(now));
            let ended = subscribed(&decision.changes);
            if !decision.changes.is_empty() || !decision.notices.is_empty() {
                self.carry_out(&entry, &held, decision).await?;
            }
            drop(turnstile);
            self.note_subscribed(&home, &one.name, ended).await;
            if self.is_list(&home, &one.name) {
                self.unwatched(&home, &one.name).await;
            }
        }
        self.nodes.settle_leases(&due).await?;
        Ok(true)
    }

    /// Removes some expired items; whether there may be more. `now` is in milliseconds.
    async fn expire_some(&self, now: u64) -> Result<bool, CommitError> {
        let due = self.nodes.expired(now).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let mut rest = due.as_slice();
        while let Some(first) = rest.first() {
            let is_same = |number: &Number| *number == first.number;
            let count = rest.iter().take_while(|one| is_same(&one.number)).count();
            let (group, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = others;
            let sequences: Vec<u64> = group.iter().map(|one| one.sequence).collect();
            if let Ok(home) = BareJid::new(&first.home) {
                self.expire_items(&home, &first.name, &first.number, &sequences, Timestamp(now)).await?;
            }
        }
        self.nodes.settle(&due).await?;
        Ok(true)
    }

    async fn expire_items(
        &self,
        home: &BareJid,
        name: &str,
        number: &Number,
        sequences: &[u64],
        now: Timestamp,
    ) -> Result<(), CommitError> {
        let entry = self.nodes.entry(home, name);
        let turnstile = entry.turnstile.lock().await;
        let Some(held) = self.nodes.held(&entry).await?.filter(|held| held.number == *number) else { return Ok(()) };
        let heads = self.nodes.heads(&held, sequences).await?;
        // The owner may have given them more time since.
        let expired: Vec<_> = heads
            .into_iter()
            .filter(|(_, updated)| is_expired(*updated, &held.node.config, now))
            .map(|(head, _)| head)
            .collect();
        if expired.is_empty() {
            return Ok(());
        }
        let decision = expire(&held.node, &expired);
        let carried = self.carry_out(&entry, &Arc::clone(&held), decision).await;
        drop(turnstile);
        let ids = expired.into_iter().map(|head| head.id).collect();
        self.forget_expired(home, name, ids).await;
        carried
    }
}
