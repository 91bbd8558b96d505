//! Chance: identifiers nobody can guess, or, in simulation, ones everybody can repeat.

use std::sync::Mutex;

/// Where identifiers, nonces and salts come from.
pub trait Ids: Send + Sync + 'static {
    /// Fills `bytes` with chance.
    fn fill(&self, bytes: &mut [u8]);

    /// An identifier of 120 bits in 24 letters, digits, `-` and `_`: safe in attributes and file names.
    fn id(&self) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut bytes = [0_u8; 24];
        self.fill(&mut bytes);
        bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
    }
}

/// The operating system's chance.
#[derive(Debug, Default)]
pub struct SystemIds;

impl Ids for SystemIds {
    #[expect(clippy::disallowed_methods, reason = "the one place where the house draws chance")]
    fn fill(&self, bytes: &mut [u8]) {
        // Without chance there is no security to offer: better to stop than to hand out guessable nonces.
        if let Err(error) = getrandom::fill(bytes) {
            tracing::error!(%error, "the operating system gives no random bytes");
            std::process::abort();
        }
    }
}

/// A repeatable sequence for simulations (SplitMix64). Never for a real server.
#[derive(Debug)]
pub struct SeededIds(Mutex<u64>);

impl SeededIds {
    /// The sequence that `seed` begins.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Ids for SeededIds {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ids, SeededIds, SystemIds};

    #[test]
    fn identifiers_are_long_and_repeat_only_by_seed() {
        assert_eq!(SystemIds.id().len(), 24);
        assert_ne!(SystemIds.id(), SystemIds.id());
        let (one, two) = (SeededIds::new(7), SeededIds::new(7));
        assert_eq!(one.id(), two.id());
        assert_ne!(one.id(), one.id());
    }
}
