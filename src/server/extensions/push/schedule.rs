//! When which account's devices are looked at, how much is out where, and what is to be disabled: the desk of the one
//! task that publishes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use xmpp::Jid;

use super::Account;
use crate::runtime::Timestamp;

/// When an account is looked at, and a number that makes it the only one then.
pub(super) type Slot = (Timestamp, u64);

/// A service that said never again: whose it was, and its node.
type Refusal = (Arc<Account>, Jid, Box<str>);

#[derive(Default)]
struct Desk {
    due: BTreeMap<Slot, Arc<Account>>,
    slots: u64,
    refused: Vec<Refusal>,
    /// Publications that are out, by the service's domain.
    out: HashMap<Box<str>, usize>,
}

/// The desk, and the bell on it.
pub(super) struct Schedule {
    desk: Mutex<Desk>,
    bell: mpsc::Sender<()>,
}

impl Schedule {
    /// An empty desk, and who hears its bell.
    pub(super) fn new() -> (Self, mpsc::Receiver<()>) {
        let (bell, heard) = mpsc::channel(1);
        (Self { desk: Mutex::default(), bell }, heard)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        // Full: it rings already.
        let _rings = self.bell.try_send(());
    }

    /// Has `account` looked at when it is `due`, if it is not before. One entry for each account at most.
    pub(super) fn put(&self, account: &Arc<Account>, due: Timestamp) {
        let is_first = {
            let mut desk = self.desk();
            let mut scheduled = account.scheduled.lock().unwrap_or_else(PoisonError::into_inner);
            match *scheduled {
                Some((sooner, _)) if sooner <= due => return,
                Some(later) => drop(desk.due.remove(&later)),
                None => {}
            }
            desk.slots += 1;
            let slot = (due, desk.slots);
            desk.due.insert(slot, Arc::clone(account));
            *scheduled = Some(slot);
            desk.due.first_key_value().is_some_and(|(first, _)| *first == slot)
        };
        if is_first {
            self.ring();
        }
    }

    /// The next account that is due at `now`.
    pub(super) fn take(&self, now: Timestamp) -> Option<Arc<Account>> {
        let mut desk = self.desk();
        let first = desk.due.first_entry().filter(|first| first.key().0 <= now)?;
        let account = first.remove();
        *account.scheduled.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Some(account)
    }

    /// When the next account is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.desk().due.first_key_value().map(|((due, _), _)| *due)
    }

    /// Has a service disabled.
    pub(super) fn refuse(&self, account: &Arc<Account>, service: &Jid, node: &str) {
        self.desk().refused.push((Arc::clone(account), service.clone(), node.into()));
        self.ring();
    }

    /// What is to be disabled.
    pub(super) fn refused(&self) -> Vec<Refusal> {
        std::mem::take(&mut self.desk().refused)
    }

    /// Counts one more publication to `domain`, unless `out_max` are out.
    pub(super) fn goes_out(&self, domain: &str, out_max: usize) -> bool {
        let mut desk = self.desk();
        match desk.out.get_mut(domain) {
            Some(out) if *out >= out_max => return false,
            Some(out) => *out += 1,
            None => drop(desk.out.insert(domain.into(), 1)),
        }
        true
    }

    /// A publication to `domain` has ended.
    pub(super) fn came_in(&self, domain: &str) {
        let mut desk = self.desk();
        if let Some(out) = desk.out.get_mut(domain) {
            *out = out.saturating_sub(1);
            if *out == 0 {
                desk.out.remove(domain);
            }
        }
    }
}
