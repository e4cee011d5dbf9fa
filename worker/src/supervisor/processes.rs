//! What /proc tells of the processes on this host. Signals nothing.

use std::fs;

use rustix::process::Pid;

use super::SUBCOMMAND;

/// One process as it was when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) parent: i32,
    pub(super) session: i32,
    state: char,
}

impl Process {
    /// Not a zombie: it may still do something.
    pub(super) const fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }

    /// Whether its environment, as it was at its start, held this variable with this value.
    pub(super) fn carries(&self, name: &str, value: &str) -> bool {
        let wanted = format!("{name}={value}");
        self.parts_of("environ").any(|variable| variable == wanted.as_bytes())
    }

    /// Whether it was started as a supervisor.
    pub(super) fn is_supervisor(&self) -> bool {
        self.parts_of("cmdline").nth(1).is_some_and(|argument| argument == SUBCOMMAND.as_bytes())
    }

    /// The parts of a file of this process that end in NUL; none when it is gone or another user's.
    fn parts_of(&self, file: &str) -> impl Iterator<Item = Vec<u8>> {
        let bytes = fs::read(format!("/proc/{}/{file}", self.pid)).unwrap_or_default();
        bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter()
    }
}

/// Every process, zombies too. One that starts or ends meanwhile may be missing.
pub(super) fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// The children of this single-threaded process by one quick read; None where the kernel does not
/// tell.
pub(super) fn children() -> Option<Vec<Pid>> {
    let text = fs::read_to_string("/proc/thread-self/children").ok()?;
    Some(text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect())
}

/// From `PID (NAME) STATE PARENT GROUP SESSION ...`; the name may hold spaces and parentheses.
fn read(pid: i32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Process { pid: Pid::from_raw(pid)?, parent, session, state })
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    /// A session of its own: the tests' may have begun outside this process namespace, where it has no number.
    #[test]
    fn a_child_is_seen_with_its_parent_and_session() {
        let mut child = Command::new("setsid").args(["sleep", "1000"]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let leads = || read(pid).is_some_and(|process| process.session == pid);
        let end = Instant::now() + Duration::from_secs(60);
        while !leads() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        let seen = all().into_iter().find(|process| process.pid.as_raw_pid() == pid);
        child.kill().unwrap();
        child.wait().unwrap();
        let seen = seen.unwrap();
        assert!(seen.is_alive() && !seen.is_supervisor());
        assert_eq!(seen.parent, rustix::process::getpid().as_raw_pid());
        assert_eq!(seen.session, pid);
    }

    #[test]
    fn a_variable_is_carried_only_with_its_whole_value() {
        let me = read(rustix::process::getpid().as_raw_pid()).unwrap();
        let (name, value) = ("CARGO_PKG_NAME", "wavegate-worker");
        assert!(me.carries(name, value));
        assert!(!me.carries(name, "wavegate"));
    }
}
