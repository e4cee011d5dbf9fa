//! Ending what carries a mark: the way to processes whose supervisor is gone.
//!
//! A process may clear its environment and leave its supervisor's session; it still wears its badge, where
//! there was room for one. A living supervisor needs none of that, and knows how long its command may tidy
//! up: a starting worker lets the supervisors of its earlier life finish their own work first.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions, getpid, waitpid};

use super::{
    LEASE_MARK, WORKER_MARK,
    badge::Badge,
    processes::{self, Process},
    tree::{LOOK, signal_all},
};

/// How long processes may take to vanish after SIGKILL: only one in an uninterruptible wait takes
/// longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a supervisor whose worker is gone is left to end its tree: the usual grace between TERM
/// and KILL is well within.
const SUPERVISOR_PATIENCE: Duration = Duration::from_secs(15);
/// A walk through /proc may miss a process that is just being started; so many in a row do not.
const EMPTY_LOOKS: u32 = 3;

/// Processes that do not end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("processes of an earlier start of this worker do not end: {}; end them, or restart the host", list(.0))]
pub struct LeftoverError(Vec<i32>);

/// Ends every process that an earlier start of this worker left, and waits until they are gone.
/// Blocks, for 35 seconds at most.
pub fn clear_leftovers(worker_id: &str) -> Result<(), LeftoverError> {
    let begun = Instant::now();
    let badge = Badge::of_worker(worker_id);
    let is_left =
        |process: &Process| process.carries(WORKER_MARK, worker_id) || badge.is_worn_by(process.pid);
    let may_kill = |process: &Process| begun.elapsed() > SUPERVISOR_PATIENCE || !process.is_supervisor();
    end_all(&is_left, &may_kill, SUPERVISOR_PATIENCE + PATIENCE).map_err(LeftoverError)
}

/// Ends what the supervisor of a lease left when it was killed: what carries the lease's mark or badge, or is
/// in the supervisor's session. Blocks; gives the processes that do not end.
pub(super) fn end_orphans(lease_id: &str, supervisor: Option<u32>) -> Result<(), Vec<i32>> {
    let session = supervisor.and_then(|pid| i32::try_from(pid).ok());
    let badge = Badge::of_lease(lease_id);
    let is_left = |process: &Process| {
        Some(process.pid.as_raw_pid()) != session
            && (Some(process.session) == session
                || process.carries(LEASE_MARK, lease_id)
                || badge.is_worn_by(process.pid))
    };
    end_all(&is_left, &|_| true, PATIENCE)
}

fn end_all(
    is_left: &dyn Fn(&Process) -> bool,
    may_kill: &dyn Fn(&Process) -> bool,
    patience: Duration,
) -> Result<(), Vec<i32>> {
    let end = Instant::now() + patience;
    let mut empty_looks = 0;
    while empty_looks < EMPTY_LOOKS {
        let (left, dead): (Vec<_>, Vec<_>) = others(is_left).partition(Process::is_alive);
        reap_own(&dead);
        empty_looks = if left.is_empty() { empty_looks + 1 } else { 0 };
        if !left.is_empty() && Instant::now() >= end {
            return Err(left.iter().map(|process| process.pid.as_raw_pid()).collect());
        }
        let doomed: Vec<Pid> = left.iter().filter(|process| may_kill(process)).map(|p| p.pid).collect();
        signal_all(&doomed, Signal::KILL);
        thread::sleep(LOOK);
    }
    Ok(())
}

fn others(is_left: &dyn Fn(&Process) -> bool) -> impl Iterator<Item = Process> {
    let me = getpid();
    processes::all().into_iter().filter(move |process| process.pid != me && is_left(process))
}

/// Orphans that became this process's children.
fn reap_own(dead: &[Process]) {
    let me = getpid().as_raw_pid();
    for process in dead.iter().filter(|process| process.parent == me) {
        let _ = waitpid(Some(process.pid), WaitOptions::NOHANG);
    }
}

fn list(pids: &[i32]) -> String {
    pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
