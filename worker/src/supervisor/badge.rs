//! A mark that outlives a cleared environment and a session of one's own: two resource limits that the
//! kernel hands down over fork and exec, and that no process changes by chance.
//!
//! Linux heeds neither of them: RLIMIT_LOCKS since 2.4.25, RLIMIT_RSS since 2.4.30. One names the worker,
//! the other the lease. What lowers its own limits on purpose is not found; nobody but root can raise them.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, setrlimit};

use crate::digest::Digest;

/// Values from here on are as good as no limit for whoever reads them.
const LEAST: u64 = 1 << 58;
/// Limits can only go down: below a badge that is worn already, as under a worker that an agent started, a
/// smaller one is still free.
const SIZES: [u32; 4] = [62, 61, 60, 59];

/// What is known of a process by its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Badge {
    Worker([u64; SIZES.len()]),
    Lease([u64; SIZES.len()]),
}

impl Badge {
    pub(super) fn of_worker(worker_id: &str) -> Self {
        Self::Worker(values(worker_id))
    }

    pub(super) fn of_lease(lease_id: &str) -> Self {
        Self::Lease(values(lease_id))
    }

    /// This process and all that it starts wear it from now on. False where a limit that was set before
    /// leaves no room for it.
    pub(super) fn put_on(self) -> bool {
        let (resource, values) = match self {
            Self::Worker(values) => (Resource::Locks, values),
            Self::Lease(values) => (Resource::Rss, values),
        };
        let limit = |value| Rlimit { current: Some(value), maximum: Some(value) };
        values.into_iter().any(|value| setrlimit(resource, limit(value)).is_ok())
    }

    pub(super) fn is_worn_by(self, pid: Pid) -> bool {
        let (name, values) = match self {
            Self::Worker(values) => ("Max file locks", values),
            Self::Lease(values) => ("Max resident set", values),
        };
        // Gone, or a zombie.
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        let line = limits.lines().find_map(|line| line.strip_prefix(name));
        let hard = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        hard.is_some_and(|hard| values.contains(&hard))
    }
}

/// From the greatest to the smallest.
fn values(text: &str) -> [u64; SIZES.len()] {
    let Digest(bytes) = Digest::of_bytes(text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    let random = u64::from_be_bytes(first) % LEAST;
    SIZES.map(|size| (1 << size) + random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_as_good_as_no_limit_and_below_the_one_before() {
        for text in ["", "worker", "lease"] {
            let values = values(text);
            assert!(values.iter().all(|value| *value > LEAST) && values.is_sorted_by(|one, next| one > next));
            assert!(values[0] < 1 << 63, "what reads it as a signed number must not see a negative one");
        }
        assert_ne!(values("one"), values("two"));
    }

    #[test]
    fn a_process_without_a_badge_wears_none() {
        let me = rustix::process::getpid();
        assert!(!Badge::of_worker("nobody").is_worn_by(me) && !Badge::of_lease("nobody").is_worn_by(me));
    }
}
