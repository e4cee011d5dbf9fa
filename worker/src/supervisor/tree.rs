//! Finding and signalling processes through /proc: descendants of a process, and what carries a mark
//! in its environment.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    io,
    process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait, waitpid},
};

use super::WORKER_MARK;

/// How long leftovers may take to vanish after SIGKILL: only a process in an uninterruptible wait
/// takes longer.
const LEFTOVER_PATIENCE: Duration = Duration::from_secs(20);
/// How often the processes are looked at while they are ended.
const LOOK: Duration = Duration::from_millis(5);

/// Processes of an earlier life of this worker do not end.
#[derive(Debug, thiserror::Error)]
#[error("processes of an earlier start of this worker do not end: {}; end them, or restart the host", list(.0))]
pub struct LeftoverError(Vec<i32>);

fn list(pids: &[i32]) -> String {
    pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Orphans of this process's descendants become its children, so that it can find and end them.
pub fn become_subreaper() -> io::Result<()> {
    set_child_subreaper(Some(getpid()))
}

/// Ends every process that an earlier start of this worker left, and waits until they are gone.
pub fn clear_leftovers(worker_id: &str) -> Result<(), LeftoverError> {
    let end = Instant::now() + LEFTOVER_PATIENCE;
    while let left = marked(WORKER_MARK, worker_id)
        && !left.is_empty()
    {
        if Instant::now() >= end {
            return Err(LeftoverError(left.into_iter().map(Pid::as_raw_pid).collect()));
        }
        signal_all(&left, Signal::KILL);
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Ends every process with the mark; those that became our children are reaped. Blocks until they are
/// gone or the patience is at its end.
pub(super) fn kill_marked(mark: &str, value: &str) {
    let end = Instant::now() + LEFTOVER_PATIENCE;
    while let left = marked(mark, value)
        && !left.is_empty()
        && Instant::now() < end
    {
        signal_all(&left, Signal::KILL);
        for pid in &left {
            // Not our child, or not dead yet: the next look tells.
            let _ = waitpid(Some(*pid), WaitOptions::NOHANG);
        }
        std::thread::sleep(LOOK);
    }
}

/// Ends all descendants of this process: TERM, and KILL after the grace until none is left.
pub(super) fn end_descendants(grace: Duration) {
    let term_until = Instant::now() + grace;
    let mut told = BTreeSet::new();
    loop {
        reap();
        let left = descendants(getpid());
        if left.is_empty() {
            return;
        }
        if Instant::now() >= term_until {
            signal_all(&left, Signal::KILL);
        } else {
            let fresh: Vec<_> = left.into_iter().filter(|pid| told.insert(pid.as_raw_pid())).collect();
            signal_all(&fresh, Signal::TERM);
        }
        std::thread::sleep(LOOK);
    }
}

/// Collects every dead child; gives (pid, status) of each.
pub(super) fn reap() -> Vec<(Pid, rustix::process::WaitStatus)> {
    let mut dead = Vec::new();
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        dead.push((pid, status));
    }
    dead
}

fn signal_all(pids: &[Pid], signal: Signal) {
    for pid in pids {
        // Gone meanwhile is what is wanted.
        let _ = kill_process(*pid, signal);
    }
}

/// Living processes below this one, whatever session or group they moved to.
fn descendants(root: Pid) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let mut living = BTreeSet::new();
    for (pid, folder) in processes() {
        if let Some((parent, state)) = parent_and_state(&folder) {
            children.entry(parent).or_default().push(pid);
            if !matches!(state, 'Z' | 'X') {
                living.insert(pid);
            }
        }
    }
    let mut found = Vec::new();
    let mut open = vec![root.as_raw_pid()];
    while let Some(pid) = open.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(below.iter().filter(|pid| living.contains(pid)));
        open.extend(below);
    }
    found.into_iter().filter_map(Pid::from_raw).collect()
}

/// Living processes whose environment at their start held `mark=value`.
fn marked(mark: &str, value: &str) -> Vec<Pid> {
    let wanted = format!("{mark}={value}");
    let me = getpid().as_raw_pid();
    let has_mark = |folder: &Path| {
        let environ = fs::read(folder.join("environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    processes()
        .filter(|(pid, folder)| *pid != me && has_mark(folder))
        .filter(|(_, folder)| parent_and_state(folder).is_some_and(|(_, state)| !matches!(state, 'Z' | 'X')))
        .filter_map(|(pid, _)| Pid::from_raw(pid))
        .collect()
}

fn processes() -> impl Iterator<Item = (i32, PathBuf)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

/// From `PID (NAME) STATE PPID ...`; the name may hold spaces and parentheses.
fn parent_and_state(folder: &Path) -> Option<(i32, char)> {
    let stat = fs::read(folder.join("stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}
