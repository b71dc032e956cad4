//! Luck with a seed: fast, and the same everywhere.

/// A random generator (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Luck(u64);

impl Luck {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// Below 1, and at least 0.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// From `low` to `high`, both possible.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }
}

/// A number that looks random, for one that need not.
pub(super) const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// About normal with mean 0 and deviation 1, fixed by the number: the sum of four parts of it.
pub(super) fn normal(number: u64) -> f64 {
    let number = mixed(number);
    let parts = (0..4).map(|part| f64::from((number >> (16 * part)) as u16));
    // Each is uniform on 0 to 65535; the variance of the sum is a third of a whole squared.
    (parts.sum::<f64>() / 65_535.0 - 2.0) * 3.0_f64.sqrt()
}
