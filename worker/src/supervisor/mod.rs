//! The small process that owns one command's whole process tree, and the worker's side of it.
//!
//! The worker starts its own program again as a supervisor (`process`), tells it over the control
//! pipe what to run and until when, and hears over the status pipe what became of it (`handle`).
//! When the control pipe ends (the worker was killed) or the deadline passes (the worker hangs, the
//! host slept), the supervisor ends the tree: a command never outlives its right to run.
//! `processes` reads /proc, `tree` ends what is below this process, `marks` what carries a mark: a variable of
//! the environment, or a `badge` that is left when that is cleared. Knows nothing of leases but these marks.

mod badge;
mod control;
mod handle;
mod marks;
mod process;
mod processes;
mod protocol;
mod tree;

pub use handle::{Ended, Order, Right, SpawnError, own_program, run};
pub use marks::{LeftoverError, clear_leftovers};
pub use process::main;
pub use tree::become_subreaper;

use rustix::time::{ClockId, clock_gettime};

/// The hidden first argument that makes the program a supervisor.
pub const SUBCOMMAND: &str = "__supervise";

/// The environment variable that marks every process of a lease.
pub const LEASE_MARK: &str = "WAVEGATE_LEASE_ID";
/// The environment variable that marks every process of a worker's leases.
pub const WORKER_MARK: &str = "WAVEGATE_WORKER_ID";

/// Milliseconds on CLOCK_BOOTTIME, which runs during suspend.
#[must_use]
pub fn boottime_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (time.tv_sec.cast_unsigned(), time.tv_nsec.cast_unsigned());
    seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
}
