//! Who has push services: what is asked for everything that happens to anybody, and so is asked of memory alone.
//!
//! A number for each account that has a service, or had one since this house was opened: 8 bytes, never taken back. Two
//! accounts with one number, or one whose services are gone, cost a read that finds nothing; nobody who has a service is
//! missed. It is filled from the store in the background, page after page. Until then everybody may have one.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use store::Fault;

use crate::tables::push::Registrations;

/// Rows read at once while it is filled.
const PAGE_ROWS: usize = 500;

/// The accounts that may have push services.
#[derive(Default)]
pub(super) struct Roll {
    hasher: RandomState,
    numbers: RwLock<HashSet<u64>>,
    is_complete: AtomicBool,
}

impl Roll {
    /// Notes that `account` has a service. Before that is in the store: what is written while the roll is being filled may
    /// be behind where the filling is.
    pub(super) fn put(&self, account: &str) {
        let number = self.hasher.hash_one(account);
        self.numbers.write().unwrap_or_else(PoisonError::into_inner).insert(number);
    }

    /// Whether `account` may have a service.
    pub(super) fn may_have(&self, account: &str) -> bool {
        if !self.is_complete.load(Ordering::Acquire) {
            return true;
        }
        let number = self.hasher.hash_one(account);
        self.numbers.read().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }

    /// Reads who has a service.
    ///
    /// # Errors
    /// When the store fails; then everybody may go on having one.
    pub(super) async fn fill(&self, registrations: &Registrations) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let (accounts, next) = registrations.accounts(after, PAGE_ROWS).await?;
            for account in accounts {
                self.put(&account);
            }
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
            tokio::task::yield_now().await;
        }
        self.is_complete.store(true, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::Arc;

    use super::*;
    use crate::tables::push::Registration;

    #[tokio::test]
    async fn nobody_who_has_a_service_is_missed() {
        let registrations = Registrations::new(Arc::new(store::Memory::new()));
        let registration = |node: String| Registration {
            service: xmpp::Jid::new("push.example").unwrap(),
            node: node.into(),
            resource: "phone".into(),
            wanted: 1,
            renewed: 1,
            options: bytes::Bytes::new(),
        };
        // More rows than one page has, and accounts across its ends.
        for number in 0..PAGE_ROWS {
            for node in ["a", "b", "c"] {
                let account = format!("{number}@example.net");
                registrations.change(&account, Some(&registration(node.to_owned())), &[]).await.unwrap();
            }
        }
        let roll = Roll::default();
        assert!(roll.may_have("nobody@example.net"), "it is not known yet");
        roll.put("new@example.net");
        roll.fill(&registrations).await.unwrap();
        assert!((0..PAGE_ROWS).all(|number| roll.may_have(&format!("{number}@example.net"))));
        assert!(roll.may_have("new@example.net"));
        assert!(!roll.may_have("nobody@example.net"));
    }
}
