//! The supervisor process. Single-threaded: it starts the command, waits for the control pipe, the
//! command and the deadline, and ends the tree when any of them says so.

use std::{
    env,
    fs::File,
    io::{Write as _, stderr, stdout},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use rustix::process::{Pid, WaitStatus, setsid};

use super::{
    LEASE_MARK, WORKER_MARK,
    badge::Badge,
    boottime_ms,
    control::{ControlPipe, Deadline, Event},
    protocol::{KilledBecause, Spec, Status},
    tree::{Witness, become_subreaper, end_descendants, reap},
};

/// Runs the supervisor: control on standard input, status on standard output, and standard error
/// becomes the output of the command, and its standard error too where the spec names no file for it.
#[must_use]
pub fn main() -> ExitCode {
    // Fails only for a group leader, which is a session's leader or becomes nobody's concern.
    let _ = setsid();
    if become_subreaper().is_err() {
        tell(&Status::Failed("this kernel has no child subreapers".to_owned()));
        return ExitCode::FAILURE;
    }
    put_on_badges();
    tell(&Status::Ready { version: env!("CARGO_PKG_VERSION").to_owned(), pid: std::process::id() });
    let mut control = ControlPipe::default();
    let Some(spec) = control.read_spec() else { return ExitCode::FAILURE };
    // The worker may have been stopped between its own look at the clock and this one.
    if spec.deadline_boottime_ms <= boottime_ms() {
        tell(&Status::Exited { code: None, signal: None, killed_because: Some(KilledBecause::Deadline) });
        return ExitCode::SUCCESS;
    }
    match start(&spec) {
        Ok((pid, timer)) => {
            tell(&Status::Started { pid: pid.as_raw_pid() });
            Watch { pid, status: None }.run(&spec, &timer, &mut control);
            ExitCode::SUCCESS
        }
        Err(text) => {
            tell(&Status::Failed(text));
            ExitCode::FAILURE
        }
    }
}

/// Where there is no room for a badge, the marks in the environment are all there is.
fn put_on_badges() {
    let worker = env::var(WORKER_MARK).map(|id| Badge::of_worker(&id));
    let lease = env::var(LEASE_MARK).map(|id| Badge::of_lease(&id));
    for badge in worker.into_iter().chain(lease) {
        badge.put_on();
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

fn start(spec: &Spec) -> Result<(Pid, Deadline), String> {
    let timer = Deadline::new().map_err(|error| format!("no timer on CLOCK_BOOTTIME: {error}"))?;
    timer.set(spec.deadline_boottime_ms).map_err(|error| format!("the deadline's timer: {error}"))?;
    let output = || stderr().as_fd().try_clone_to_owned().map(Stdio::from).map_err(|e| e.to_string());
    let (input, out) = (input_of(spec)?, output()?);
    let err = match &spec.stderr {
        Some(path) => File::create(path).map_err(|error| format!("{}: {error}", path.display()))?.into(),
        None => output()?,
    };
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).current_dir(&spec.cwd).env_clear().envs(spec.env.iter().cloned());
    command.stdin(input).stdout(out).stderr(err).process_group(0);
    let child = command
        .spawn()
        .map_err(|error| format!("{} in {}: {error}", spec.program.display(), spec.cwd.display()))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok((pid.ok_or("the command has no process id")?, timer))
}

fn input_of(spec: &Spec) -> Result<Stdio, String> {
    match &spec.stdin {
        Some(path) => {
            File::open(path).map(Stdio::from).map_err(|error| format!("{}: {error}", path.display()))
        }
        None => Ok(Stdio::null()),
    }
}

/// The watch over one command.
struct Watch {
    pid: Pid,
    status: Option<WaitStatus>,
}

impl Watch {
    fn run(mut self, spec: &Spec, timer: &Deadline, control: &mut ControlPipe) {
        let killed_because = self.until_end(spec.deadline_boottime_ms, timer, control);
        // Its background children end with the command.
        end_descendants(Duration::from_millis(spec.kill_grace_ms), &mut self);
        tell(&Status::Exited {
            code: self.status.and_then(WaitStatus::exit_status),
            signal: self.status.and_then(WaitStatus::terminating_signal),
            killed_because,
        });
    }

    /// Waits until the command ended by itself (None) or must be ended.
    fn until_end(
        &mut self,
        mut deadline_ms: u64,
        timer: &Deadline,
        control: &mut ControlPipe,
    ) -> Option<KilledBecause> {
        loop {
            reap(self);
            if self.status.is_some() {
                return None;
            }
            match control.next(self.pid, deadline_ms, timer) {
                Some(Event::Deadline(new)) => {
                    deadline_ms = new;
                    if timer.set(new).is_err() {
                        return Some(KilledBecause::Deadline);
                    }
                }
                Some(Event::End(reason)) => return Some(reason),
                None => {}
            }
        }
    }
}

impl Witness for Watch {
    fn died(&mut self, pid: Pid, status: WaitStatus) {
        if pid == self.pid {
            self.status = Some(status);
        }
    }

    fn stuck(&mut self, pids: &[Pid]) {
        tell(&Status::Stuck(pids.iter().map(|pid| pid.as_raw_pid()).collect()));
    }
}
