//! The real clocks and the real randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use wavegate_engine::{Mono, Utc};

use super::Clock;

/// This machine's clocks. Deadlines run on CLOCK_BOOTTIME, which counts time in suspend.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn utc(&self) -> Utc {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Utc(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn mono(&self) -> Mono {
        let time = clock_gettime(ClockId::Boottime);
        let (seconds, nanos) = (time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned());
        Mono(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
    }

    fn draw(&mut self) -> u128 {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the kernel's random source cannot fail once it is seeded");
        u128::from_ne_bytes(bytes)
    }
}
