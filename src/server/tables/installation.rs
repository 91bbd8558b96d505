//! Secrets of this installation: drawn when they are wanted first, and kept.

use std::sync::Arc;

use store::{Batch, Fault, Store};

use super::Table;
use crate::runtime::Ids;

/// Bytes of a secret.
const SECRET_BYTES: usize = 32;

/// The secret of that name; drawn when there is none yet, and durable when this returns.
///
/// # Errors
/// When the store fails.
pub async fn secret(store: &Arc<dyn Store>, ids: &dyn Ids, name: &str) -> Result<Vec<u8>, Fault> {
    let key = Table::Installation.key().str(name).build();
    if let Some(secret) = store.get(&key).await? {
        return Ok(secret.to_vec());
    }
    let mut secret = vec![0_u8; SECRET_BYTES];
    ids.fill(&mut secret);
    let mut batch = Batch::new();
    batch.expect_absent(key.clone()).put(key, secret.clone());
    store.commit_durably(batch).await.map_err(super::fault)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::runtime::SeededIds;

    #[tokio::test]
    async fn a_secret_is_drawn_once_and_kept() {
        let memory = || -> Arc<dyn Store> { Arc::new(store::Memory::new()) };
        let store = memory();
        let first = secret(&store, &SeededIds::new(1), "a").await.unwrap();
        assert_eq!(secret(&store, &SeededIds::new(2), "a").await.unwrap(), first);
        assert_ne!(secret(&store, &SeededIds::new(2), "b").await.unwrap(), first);
        assert_ne!(secret(&memory(), &SeededIds::new(2), "a").await.unwrap(), first);
    }
}
