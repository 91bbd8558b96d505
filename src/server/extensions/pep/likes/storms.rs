//! Sums that change many times a second: who watches one is told at once, and then once in a while what it is by then.
//!
//! The last state is always told. What is waiting is only which sums those are, never what they were.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use pubsub::{Audience, Event, Notice};
use store::Fault;
use tokio::sync::{mpsc, oneshot};
use xmpp::BareJid;

use super::super::{Pep, home_of};
use crate::fanout::Job;
use crate::runtime::{pause, start, survive};

/// How often watchers are told of one sum at most.
const INTERVAL: Duration = Duration::from_secs(2);
/// Sums remembered. When that many were told of within one interval, further ones are told of each time.
const SUMS_MAX: usize = 10_000;

/// A summary node, and the item in it.
type Sum = (BareJid, Box<str>, Box<str>);

/// What was told of lately, and whether it has changed since.
pub(in crate::extensions::pep) struct Storms {
    told: Mutex<BTreeMap<Sum, bool>>,
    bell: mpsc::Sender<()>,
}

impl Storms {
    /// Nothing was told of yet; and who hears the bell when something was.
    pub(in crate::extensions::pep) fn new() -> (Self, mpsc::Receiver<()>) {
        let (bell, heard) = mpsc::channel(1);
        (Self { told: Mutex::default(), bell }, heard)
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<Sum, bool>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether watchers are told of a sum now; if not, they are soon.
    pub(super) fn is_calm(&self, home: &BareJid, node: &str, item: &str) -> bool {
        let mut told = self.told();
        let sum = (home.clone(), node.into(), item.into());
        if let Some(has_changed) = told.get_mut(&sum) {
            *has_changed = true;
            return false;
        }
        if told.len() < SUMS_MAX {
            told.insert(sum, false);
            // Full: it rings already.
            let _rings = self.bell.try_send(());
        }
        true
    }

    /// The sums that have changed since they were told of. The others are forgotten. `None` when nothing is left.
    fn changed(&self) -> Option<Vec<Sum>> {
        let mut told = self.told();
        told.retain(|_, has_changed| *has_changed);
        told.values_mut().for_each(|has_changed| *has_changed = false);
        let changed: Vec<Sum> = told.keys().cloned().collect();
        (!changed.is_empty()).then_some(changed)
    }
}

/// Starts the task that tells of what changed in a storm. It ends with the house.
pub(in crate::extensions::pep) fn watch(pep: &Arc<Pep>, bell: mpsc::Receiver<()>) {
    start(run(Arc::downgrade(pep), bell));
}

async fn run(pep: Weak<Pep>, mut bell: mpsc::Receiver<()>) {
    while bell.recv().await.is_some() {
        loop {
            pause(INTERVAL).await;
            let Some(pep) = pep.upgrade() else { return };
            let Some(changed) = pep.storms.changed() else { break };
            for sum in changed {
                match survive(pep.tell_sum(&sum)).await {
                    Some(Ok(())) => {}
                    Some(Err(error)) => tracing::error!(%error, node = %sum.1, "a sum cannot be told of"),
                    None => tracing::error!(node = %sum.1, "telling of a sum panicked"),
                }
            }
        }
    }
}

impl Pep {
    /// Tells of a sum as it is now.
    async fn tell_sum(&self, (home, node, id): &Sum) -> Result<(), Fault> {
        let entry = self.nodes.entry(home, node);
        let _turnstile = entry.turnstile.lock().await;
        let Some(held) = self.nodes.held(&entry).await? else { return Ok(()) };
        let Some(item) = self.item_in(&entry, &held, id).await? else { return Ok(()) };
        let event = Event::Published((*item).clone());
        let notices = vec![Notice { audience: Audience::Subscribers, event, version: held.node.tally.version }];
        // Nobody says when: it is told when what is known now is durable.
        let (_, go) = oneshot::channel();
        self.fanout.queue(Job { entry: Arc::clone(&entry), held, home: home_of(home), notices, go }).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::{SUMS_MAX, Storms};
    use xmpp::BareJid;

    #[test]
    fn the_first_is_told_and_the_last() {
        let (storms, _bell) = Storms::new();
        let home = BareJid::new("juliet@example.com").unwrap();
        assert!(storms.is_calm(&home, "s", "a"));
        assert!(storms.is_calm(&home, "s", "b"));
        for _ in 0..1000 {
            assert!(!storms.is_calm(&home, "s", "a"));
        }
        let changed = storms.changed().unwrap();
        assert_eq!(changed.iter().map(|(_, _, id)| &**id).collect::<Vec<_>>(), ["a"]);
        assert!(!storms.is_calm(&home, "s", "a"), "not again within the interval");
        assert!(storms.is_calm(&home, "s", "b"));
        assert_eq!(storms.changed().unwrap().len(), 1);
        assert_eq!(storms.changed(), None);
        assert!(storms.is_calm(&home, "s", "a"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (storms, _bell) = Storms::new();
        let home = BareJid::new("juliet@example.com").unwrap();
        for number in 0..SUMS_MAX + 10 {
            assert!(storms.is_calm(&home, "s", &number.to_string()));
        }
        assert_eq!(storms.told().len(), SUMS_MAX);
    }
}
