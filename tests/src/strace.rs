//! Faults of system calls, made by strace in a process that runs: from attaching to detaching.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{Process, wait_until};

/// How long a tracer may take to let go, and how often that is looked at.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(5);

/// A tracer on a process. Dropping it lets the process go.
#[derive(Debug)]
pub struct Strace {
    tracer: Option<Process>,
    log: PathBuf,
}

impl Strace {
    /// Why the tests that need it cannot run here, if so: there is none, or it may not trace.
    #[must_use]
    pub fn missing() -> Option<String> {
        let tried =
            Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).stdout(Stdio::null()).output();
        match tried {
            Ok(ran) if ran.status.success() => None,
            Ok(ran) => Some(format!("strace may not trace: {}", String::from_utf8_lossy(&ran.stderr).trim())),
            Err(error) => Some(format!("strace: {error}")),
        }
    }

    /// Attaches to every thread of `process`. `calls` on one of `paths` (any, where there is none) are
    /// written to `log` and meet `fault`, in strace's words: `error=EIO`, `signal=KILL:when=3`.
    #[track_caller]
    pub fn attach(process: &Process, paths: &[PathBuf], calls: &str, fault: &str, log: &Path) -> Self {
        Self::attach_beside("", process, paths, calls, fault, log)
    }

    /// As [`Self::attach`]; the calls `beside` are written to the log as well, and are not disturbed.
    #[track_caller]
    pub fn attach_beside(
        beside: &str,
        process: &Process,
        paths: &[PathBuf],
        calls: &str,
        fault: &str,
        log: &Path,
    ) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-y", "-s", "0", "-p", &process.id().to_string()]).arg("-o").arg(log);
        for path in paths {
            command.arg("-P").arg(path);
        }
        let comma = if beside.is_empty() { "" } else { "," };
        let traced = format!("trace={calls}{comma}{beside}");
        command.args(["-e", &traced, "-e", &format!("inject={calls}:{fault}")]);
        let output = log.with_extension("strace");
        let tracer = match Process::start(&mut command, &output) {
            Ok(tracer) => tracer,
            Err(error) => panic!("strace: {error}"),
        };
        let pid = process.id();
        wait_until(
            "strace to attach",
            || fs::read_to_string(&output).unwrap_or_default(),
            // A process that is killed already was traced before.
            || (is_gone(pid) || is_traced(pid)).then_some(()),
        );
        Self { tracer: Some(tracer), log: log.to_owned() }
    }

    /// What was traced so far, a line a call.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How many calls have met the fault so far.
    #[must_use]
    pub fn injected(&self) -> usize {
        self.log().lines().filter(|line| line.contains("(INJECTED)")).count()
    }

    /// Lets the process go on without faults.
    pub fn detach(&mut self) {
        if let Some(mut tracer) = self.tracer.take() {
            tracer.signal(Signal::INT);
            let end = Instant::now() + PATIENCE;
            while !is_gone(tracer.id()) && Instant::now() < end {
                std::thread::sleep(LOOK);
            }
            // One that waits for a process that is ending lets go of all of them when it is killed.
            tracer.kill();
        }
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if let Some(tracer) = &self.tracer {
            tracer.signal(Signal::INT);
        }
        self.detach();
    }
}

/// Every thread has a tracer.
fn is_traced(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    })
}

fn is_gone(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}
