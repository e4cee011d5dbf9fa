//! The supervisor process. Single-threaded: it waits for the control pipe, the command and the
//! deadline, and ends the tree when any of them says so.

use std::{
    io::{Write as _, stderr, stdin, stdout},
    os::fd::{AsFd as _, BorrowedFd},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, WaitStatus, pidfd_open, setsid},
};

use super::{
    boottime_ms,
    protocol::{Control, KilledBecause, Lines, Spec, Status},
    tree::{become_subreaper, end_descendants, reap},
};

/// The longest single wait: a bound on what a missed event could cost.
const LONGEST_WAIT_MS: u64 = 60_000;

/// Runs the supervisor: control on standard input, status on standard output, and standard error
/// becomes both outputs of the command.
#[must_use]
pub fn main() -> ExitCode {
    // Fails only for a group leader, which is a session's leader or becomes nobody's concern.
    let _ = setsid();
    if become_subreaper().is_err() {
        tell(&Status::Failed("this kernel has no child subreapers".to_owned()));
        return ExitCode::FAILURE;
    }
    tell(&Status::Ready { version: env!("CARGO_PKG_VERSION").to_owned() });
    let mut control = ControlPipe::default();
    let Some(spec) = control.read_spec() else { return ExitCode::FAILURE };
    // The worker may have been stopped between its own look at the clock and this one.
    if spec.deadline_boottime_ms <= boottime_ms() {
        tell(&Status::Exited { code: None, signal: None, killed_because: Some(KilledBecause::Deadline) });
        return ExitCode::SUCCESS;
    }
    match start(&spec) {
        Ok(pid) => {
            tell(&Status::Started { pid: pid.as_raw_pid() });
            supervise(&spec, pid, control);
            ExitCode::SUCCESS
        }
        Err(text) => {
            tell(&Status::Failed(text));
            ExitCode::FAILURE
        }
    }
}

/// A worker that is gone hears nothing; its end shows on the control pipe.
fn tell(status: &Status) {
    if let Ok(mut line) = serde_json::to_vec(status) {
        line.push(b'\n');
        let mut out = stdout().lock();
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }
}

fn start(spec: &Spec) -> Result<Pid, String> {
    let output = || stderr().as_fd().try_clone_to_owned().map(Stdio::from);
    let (out, err) = (output().map_err(|e| e.to_string())?, output().map_err(|e| e.to_string())?);
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).current_dir(&spec.cwd).env_clear().envs(spec.env.iter().cloned());
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.spawn().map_err(|error| format!("{}: {error}", spec.program.display()))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| "the command has no process id".to_owned())
}

fn supervise(spec: &Spec, pid: Pid, mut control: ControlPipe) {
    let mut deadline = spec.deadline_boottime_ms;
    let grace = Duration::from_millis(spec.kill_grace_ms);
    let mut ended = None;
    let killed_because = loop {
        ended = ended.or(status_of(pid));
        if ended.is_some() {
            break None;
        }
        match control.next(pid, deadline) {
            Some(Event::Deadline(new)) => deadline = new,
            Some(Event::End(reason)) => break Some(reason),
            None => {}
        }
    };
    // Its background children end with the command.
    let ended = ended.or_else(|| end_and_find(pid, grace));
    if killed_because.is_none() {
        end_descendants(grace);
    }
    tell(&Status::Exited {
        code: ended.and_then(WaitStatus::exit_status),
        signal: ended.and_then(WaitStatus::terminating_signal),
        killed_because,
    });
}

fn status_of(pid: Pid) -> Option<WaitStatus> {
    reap().into_iter().find(|(dead, _)| *dead == pid).map(|(_, status)| status)
}

/// Ends the tree; the command's own status is among those that are reaped, if it can still be had.
fn end_and_find(pid: Pid, grace: Duration) -> Option<WaitStatus> {
    let status = status_of(pid);
    end_descendants(grace);
    status
}

enum Event {
    Deadline(u64),
    End(KilledBecause),
}

#[derive(Default)]
struct ControlPipe {
    lines: Lines,
    is_closed: bool,
}

impl ControlPipe {
    /// Waits for the first line; None when the worker is gone or says nonsense.
    fn read_spec(&mut self) -> Option<Spec> {
        loop {
            if let Some(line) = self.lines.next_line() {
                return serde_json::from_slice(&line).ok();
            }
            if self.is_closed {
                return None;
            }
            self.read();
        }
    }

    /// Waits for the control pipe, the command's end or the deadline; None when there is nothing to
    /// tell but that it is worth looking at the command.
    fn next(&mut self, pid: Pid, deadline: u64) -> Option<Event> {
        if let Some(line) = self.lines.next_line() {
            return match serde_json::from_slice(&line).ok()? {
                Control::Deadline(new) => Some(Event::Deadline(new)),
                Control::Kill => Some(Event::End(KilledBecause::Asked)),
            };
        }
        if self.is_closed {
            return Some(Event::End(KilledBecause::WorkerGone));
        }
        let left = deadline.saturating_sub(boottime_ms());
        if left == 0 {
            return Some(Event::End(KilledBecause::Deadline));
        }
        if self.wait(pid, left.min(LONGEST_WAIT_MS)) {
            self.read();
        }
        None
    }

    /// Whether there is something to read.
    fn wait(&self, pid: Pid, ms: u64) -> bool {
        let Ok(child) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        let input = stdin();
        let input: BorrowedFd<'_> = input.as_fd();
        let mut fds = [PollFd::new(&input, PollFlags::IN), PollFd::new(&child, PollFlags::IN)];
        let timeout =
            Timespec { tv_sec: (ms / 1000).cast_signed(), tv_nsec: (ms % 1000 * 1_000_000).cast_signed() };
        matches!(poll(&mut fds, Some(&timeout)), Ok(ready) if ready > 0) && !fds[0].revents().is_empty()
    }

    fn read(&mut self) {
        let mut buffer = [0; 64 * 1024];
        match rustix::io::read(stdin().as_fd(), &mut buffer) {
            Ok(0) => self.is_closed = true,
            Ok(read) => self.lines.push(&buffer[..read]),
            Err(Errno::INTR) => {}
            Err(_) => self.is_closed = true,
        }
    }
}
