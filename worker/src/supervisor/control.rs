//! The supervisor's end of the control pipe: waits for what the worker says, for the command's end
//! and for the deadline at once.

use std::{io::stdin, os::fd::AsFd as _};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    io::{self, Errno},
    process::{Pid, PidfdFlags, pidfd_open},
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime},
};

use super::{
    boottime_ms,
    protocol::{Control, KilledBecause, Lines, Spec},
};

/// The longest single wait: a bound on what a missed event could cost.
const LONGEST_WAIT: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };
/// The wait where the kernel tells nothing of the command's end.
const SHORT_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// Later deadlines are as good as none, and a timer does not take every number.
const LATEST_DEADLINE_MS: u64 = 1 << 52;

/// What ends or changes the watch over the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Deadline(u64),
    End(KilledBecause),
}

/// What was read from the control pipe and not used yet.
#[derive(Debug, Default)]
pub(super) struct ControlPipe {
    lines: Lines,
    is_closed: bool,
}

impl ControlPipe {
    /// Waits for the first line; None when the worker is gone or says nonsense.
    pub(super) fn read_spec(&mut self) -> Option<Spec> {
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
    pub(super) fn next(&mut self, command: Pid, deadline_ms: u64, timer: &Deadline) -> Option<Event> {
        if let Some(line) = self.lines.next_line() {
            return match serde_json::from_slice(&line).ok()? {
                Control::Deadline(new) => Some(Event::Deadline(new)),
                Control::Kill => Some(Event::End(KilledBecause::Asked)),
            };
        }
        if self.is_closed {
            return Some(Event::End(KilledBecause::WorkerGone));
        }
        if deadline_ms <= boottime_ms() {
            return Some(Event::End(KilledBecause::Deadline));
        }
        if has_input(command, timer) {
            self.read();
        }
        None
    }

    fn read(&mut self) {
        let mut buffer = [0; 64 * 1024];
        match io::read(stdin().as_fd(), &mut buffer) {
            Ok(0) => self.is_closed = true,
            Ok(read) => self.lines.push(&buffer[..read]),
            Err(Errno::INTR) => {}
            Err(_) => self.is_closed = true,
        }
    }
}

/// Waits until something happens; whether there is something to read on the control pipe.
fn has_input(command: Pid, timer: &Deadline) -> bool {
    let command = pidfd_open(command, PidfdFlags::empty()).ok();
    let input = stdin();
    let mut fds = vec![PollFd::new(&input, PollFlags::IN), PollFd::new(&timer.timer, PollFlags::IN)];
    fds.extend(command.as_ref().map(|command| PollFd::new(command, PollFlags::IN)));
    let longest = if command.is_some() { LONGEST_WAIT } else { SHORT_WAIT };
    matches!(poll(&mut fds, Some(&longest)), Ok(ready) if ready > 0) && !fds[0].revents().is_empty()
}

/// A timer on CLOCK_BOOTTIME: unlike the time limit of a poll, it does not stand still while the host
/// sleeps.
#[derive(Debug)]
pub(super) struct Deadline {
    timer: OwnedFd,
}

impl Deadline {
    /// A timer that is not set.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { timer: timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC)? })
    }

    /// Wakes the wait at this time, in milliseconds on CLOCK_BOOTTIME.
    pub(super) fn set(&self, deadline_ms: u64) -> io::Result<()> {
        // All zero would switch the timer off.
        let ms = deadline_ms.clamp(1, LATEST_DEADLINE_MS);
        let it_value =
            Timespec { tv_sec: (ms / 1000).cast_signed(), tv_nsec: (ms % 1000 * 1_000_000).cast_signed() };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Itimerspec { it_interval, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &value).map(drop)
    }
}
