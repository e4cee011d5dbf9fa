//! Ending everything below this process, whatever session or group it moved to and however it forks.
//!
//! This process is a subreaper: an orphan below it becomes its child. So "no child is left" says
//! exactly that the tree is gone, which no walk through /proc could: a process may start another one
//! behind the walk and end before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::{self, Errno},
    process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, wait},
};

use super::processes;

/// How often the processes are looked at while they are ended.
pub(super) const LOOK: Duration = Duration::from_millis(5);
/// What is left so long after SIGKILL needs a person: it belongs to another user, or waits for a
/// device.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// How often in a row the own children are killed before the whole tree is looked at again.
const HUNT_ROUNDS: usize = 500;

/// Who hears what becomes of the processes that are ended.
pub(super) trait Witness {
    /// A child was reaped.
    fn died(&mut self, pid: Pid, status: WaitStatus);
    /// These do not end though they were killed. Told once.
    fn stuck(&mut self, pids: &[Pid]);
}

/// Whether this process has children, dead or alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Children {
    Some,
    None,
}

/// Orphans of this process's descendants become its children, so that it can find and end them.
pub fn become_subreaper() -> io::Result<()> {
    set_child_subreaper(Some(getpid()))
}

/// Ends all descendants of this process: TERM once to each, and KILL after the grace until none is
/// left. Does not return before the tree is gone: what runs on has no right to, and nobody may begin
/// the same work meanwhile.
pub(super) fn end_descendants(grace: Duration, witness: &mut dyn Witness) {
    let term_until = Instant::now() + grace;
    let mut told = BTreeSet::new();
    let mut before = Vec::new();
    let mut is_told_stuck = false;
    while reap(witness) == Children::Some {
        let left = descendants();
        if Instant::now() < term_until {
            let fresh: Vec<_> = left.into_iter().filter(|pid| told.insert(pid.as_raw_pid())).collect();
            signal_all(&fresh, Signal::TERM);
            thread::sleep(LOOK);
            continue;
        }
        signal_all(&left, Signal::KILL);
        hunt(witness);
        if left == before {
            if !is_told_stuck && Instant::now() > term_until + STUCK_AFTER {
                witness.stuck(&left);
                is_told_stuck = true;
            }
            thread::sleep(LOOK);
        }
        before = left;
    }
}

/// Collects every dead child.
pub(super) fn reap(witness: &mut dyn Witness) -> Children {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => witness.died(pid, status),
            Ok(None) | Err(Errno::INTR) => return Children::Some,
            Err(_) => return Children::None,
        }
    }
}

pub(super) fn signal_all(pids: &[Pid], signal: Signal) {
    for pid in pids {
        // Gone meanwhile is what is wanted.
        let _ = kill_process(*pid, signal);
    }
}

/// Kills children as fast as they appear: a chain in which each process starts the next one and ends
/// is faster than a walk through /proc, but each of its links is a child here.
fn hunt(witness: &mut dyn Witness) {
    for _ in 0..HUNT_ROUNDS {
        let Some(children) = processes::children() else { return };
        if children.is_empty() {
            return;
        }
        signal_all(&children, Signal::KILL);
        reap(witness);
    }
}

/// Living processes below this one.
fn descendants() -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<processes::Process>> = BTreeMap::new();
    for process in processes::all() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut open = vec![getpid().as_raw_pid()];
    while let Some(pid) = open.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(below.iter().filter(|process| process.is_alive()).map(|process| process.pid));
        open.extend(below.iter().map(|process| process.pid.as_raw_pid()));
    }
    found
}
