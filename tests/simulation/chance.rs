//! Everything a run draws comes from here: SplitMix64 on the seed, so that a seed is a story.

/// A sequence of draws.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The sequence that `seed` begins. `part` makes another for each use, so that one use does not shift the others.
    pub fn new(seed: u64, part: u64) -> Self {
        let mut chance = Self(seed ^ part.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        chance.next();
        chance
    }

    /// The next draw.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, without `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low).max(1)
    }

    /// An index below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.between(0, count as u64)).unwrap()
    }

    /// Between `low` and `high`, small ones as likely as large ones.
    pub fn spread(&mut self, low: u64, high: u64) -> u64 {
        let octaves = (high / low.max(1)).max(2).ilog2();
        let shift = self.between(0, u64::from(octaves) + 1);
        let floor = low.max(1) << shift;
        self.between(floor, (floor * 2).min(high.max(floor + 1))).min(high)
    }

    /// True once in `count` on average.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
