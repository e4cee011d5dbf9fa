//! Randomness of a run: a function of its seed, and of nothing else.

/// A stream of numbers.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for one concern, so that what another concern draws does not move it.
    #[must_use]
    pub(super) fn apart(&self, concern: u64) -> Self {
        let mut mixed = Self(self.0 ^ concern.wrapping_mul(0xA24B_AED4_963E_E407));
        Self(mixed.next())
    }

    /// splitmix64.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// 128 bits.
    pub(super) fn wide(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    /// Below `bound`, which is at least one.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Both ends included.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// Each order of magnitude as often as any other.
    pub(super) fn magnitude(&mut self, least: u64, most: u64) -> u64 {
        let mut top = least.max(1);
        let mut steps = 0;
        while top < most {
            top = top.saturating_mul(2);
            steps += 1;
        }
        let low = least.max(1) << self.below(steps.max(1));
        self.between(low, low.saturating_mul(2).min(most.max(low)))
    }

    /// True so many times of a thousand.
    pub(super) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of them.
    pub(super) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }
}
