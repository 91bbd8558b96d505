//! Changes of several nodes, and of rows that are not ours, as one step: all of it, or nothing.

use std::sync::Arc;

use pubsub::Change;
use store::{Batch, CommitError, Receipt};

use super::cache::{Abandoned, Entry, Nodes};
use super::save::{Ground, plan};
use super::{Held, Number};

/// What changes of one node. Its turnstile is held.
#[expect(missing_debug_implementations, reason = "an entry has nothing to show")]
pub struct Step<'a> {
    /// The node.
    pub entry: &'a Entry,
    /// The node as it was decided on.
    pub held: Option<&'a Held>,
    /// The changes, perhaps of several decisions one after the other.
    pub changes: &'a [Change],
    /// The number a new node gets.
    pub number: Number,
}

impl Nodes {
    /// Commits the changes of several nodes, each named once, together with `batch`. Resolves when they are applied,
    /// with the nodes as they are then.
    ///
    /// # Errors
    /// A conflict when a node or an expected row was changed behind our back: what is known of the nodes is forgotten,
    /// and everything must be decided anew.
    pub async fn commit_together(
        &self,
        steps: &[Step<'_>],
        mut batch: Batch,
        now: u64,
    ) -> Result<(Receipt, Vec<Option<Arc<Held>>>), CommitError> {
        let mut plans = Vec::with_capacity(steps.len());
        for Step { entry, held, changes, number } in steps {
            let (store, number, held) = (self.store.as_ref(), *number, *held);
            let ground = Ground { store, home: &entry.home, name: &entry.name, held, number, now };
            let mut plan = plan(ground, changes).await?;
            batch.append(std::mem::take(&mut plan.batch));
            plans.push(plan);
        }
        let mut abandoned: Vec<Abandoned<'_>> = steps.iter().map(|step| Abandoned(Some(step.entry))).collect();
        let committed = self.store.commit(batch).await;
        for step in &mut abandoned {
            step.0 = None;
        }
        match committed {
            Ok(receipt) => {
                let settled = steps.iter().zip(plans).map(|(step, plan)| step.entry.settle(step.held.is_none(), plan));
                Ok((receipt, settled.collect()))
            }
            Err(error) => {
                for step in steps {
                    step.entry.forget();
                }
                Err(error)
            }
        }
    }
}
