//! Waiting on a level, never for a time.

use std::time::{Duration, Instant};

/// Longer than anything that is not stuck, on a busy machine with two cores.
pub const LONG: Duration = Duration::from_secs(90);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until `condition` gives something; panics with `describe` after [`LONG`].
#[track_caller]
pub fn wait_until<T>(what: &str, describe: impl Fn() -> String, condition: impl FnMut() -> Option<T>) -> T {
    wait_until_within(LONG, what, describe, condition)
}

/// As [`wait_until`], for what may take so long.
#[track_caller]
pub fn wait_until_within<T>(
    limit: Duration,
    what: &str,
    describe: impl Fn() -> String,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "waited {limit:?} for {what}\n{}", describe());
        std::thread::sleep(LOOK);
    }
}
