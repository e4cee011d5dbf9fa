//! Randomness of a run and the clocks of its hosts: a function of the seed and of simulated time.

use std::sync::{Arc, Mutex, PoisonError};

use wavegate_coordinator::driver::Clock;
use wavegate_engine::{Mono, Utc};

/// When simulated time begins, in milliseconds since 1970.
const BEGINNING_MS: u64 = 1_800_000_000_000;

/// Hosts were not all started at once: their clocks differ by days.
const HOST_APART_MS: u64 = 123_456_789;

/// A stream of numbers; clones draw from the same one.
#[derive(Debug, Clone)]
pub(crate) struct Chance(Arc<Mutex<u64>>);

impl Chance {
    /// A stream of its own for each concern of a seed.
    pub(crate) fn of(seed: u64, concern: &str) -> Self {
        let mixed = concern.bytes().fold(seed, |mixed, byte| mix(mixed ^ u64::from(byte)));
        Self(Arc::new(Mutex::new(mixed)))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(*state)
    }

    /// Both ends included.
    pub(crate) fn between(&self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    /// True so many times of a hundred.
    pub(crate) fn percent(&self, percent: u64) -> bool {
        self.between(1, 100) <= percent
    }

    pub(crate) fn pick<T: Copy>(&self, of: &[T]) -> T {
        of[usize::try_from(self.between(0, of.len() as u64 - 1)).expect("an index")]
    }
}

/// splitmix64.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// Milliseconds since the simulation began; on a simulated host only.
pub(crate) fn now_ms() -> u64 {
    let elapsed = turmoil::sim_elapsed().expect("asked for on a simulated host");
    u64::try_from(elapsed.as_millis()).expect("a simulation of less than ages")
}

/// The clock of this host that runs during suspend.
pub(crate) fn boottime_ms(host: usize) -> u64 {
    now_ms() + (host as u64 + 1) * HOST_APART_MS
}

/// The coordinator's clocks, and its lease ids.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedClock(pub(crate) Chance);

impl Clock for SimulatedClock {
    fn utc(&self) -> Utc {
        Utc(i64::try_from(BEGINNING_MS + now_ms()).expect("a simulation of less than ages"))
    }

    fn mono(&self) -> Mono {
        Mono(boottime_ms(0))
    }

    fn draw(&mut self) -> u128 {
        u128::from(self.0.next()) << 64 | u128::from(self.0.next())
    }
}
