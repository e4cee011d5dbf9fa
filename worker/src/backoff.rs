//! Growing, jittered waits between tries. Pure: the randomness is a seed given by the caller, and
//! nothing here sleeps.

/// The waits between tries: each twice the one before up to a cap, each jittered downwards by up to
/// half so that workers which lost the same coordinator do not come back together.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first_ms: u64,
    cap_ms: u64,
    tries: u32,
    random: u64,
}

impl Backoff {
    /// Waits of about `first_ms`, then growing up to `cap_ms`.
    pub(crate) fn new(first_ms: u64, cap_ms: u64, seed: u64) -> Self {
        // xorshift stands still at zero.
        Self { first_ms, cap_ms, tries: 0, random: seed | 1 }
    }

    /// The next wait in milliseconds.
    pub(crate) fn next_ms(&mut self) -> u64 {
        let whole = self.first_ms.saturating_mul(1 << self.tries.min(20)).min(self.cap_ms);
        self.tries = self.tries.saturating_add(1);
        let half = whole / 2;
        half + self.roll() % (whole - half + 1)
    }

    /// A random number below `bound`, for a wait that is not the consequence of a failure.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    /// The tries led somewhere: the next wait is short again.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }

    fn roll(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;

    #[test]
    fn waits_grow_up_to_the_cap_and_keep_at_least_half() {
        let mut backoff = Backoff::new(100, 1_000, 7);
        for whole in [100, 200, 400, 800, 1_000, 1_000] {
            let wait = backoff.next_ms();
            assert!((whole / 2..=whole).contains(&wait), "{wait} for {whole}");
        }
        backoff.reset();
        assert!(backoff.next_ms() <= 100);
    }

    #[test]
    fn different_seeds_wait_differently() {
        let waits = |seed| {
            let mut backoff = Backoff::new(100, 10_000, seed);
            (0..5).map(|_| backoff.next_ms()).collect::<Vec<_>>()
        };
        assert_ne!(waits(3), waits(5_000_000_011));
    }
}
