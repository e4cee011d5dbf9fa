//! A process under test: its output goes to a file, and it is killed when it is dropped.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait_until;

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts the command with stdin closed and both outputs in one file.
    pub fn start(command: &mut Command, output: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(output)?;
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(Self { child, output: output.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits until it has printed the text.
    #[track_caller]
    pub fn wait_for_output(&self, text: &str) {
        wait_until(text, || self.output(), || self.output().contains(text).then_some(()));
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let output = &self.output;
        wait_until(
            "the process to end",
            || fs::read_to_string(output).unwrap_or_default(),
            || child.try_wait().ok().flatten(),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
