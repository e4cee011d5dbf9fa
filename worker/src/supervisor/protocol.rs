//! What worker and supervisor tell each other: a JSON text on each line.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The first line on the control pipe.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) cwd: PathBuf,
    /// The whole environment.
    pub(super) env: Vec<(String, String)>,
    /// The file that is standard input; None: an empty one.
    #[serde(default)]
    pub(super) stdin: Option<PathBuf>,
    /// The file that takes standard error; None: it goes where the output goes.
    #[serde(default)]
    pub(super) stderr: Option<PathBuf>,
    pub(super) deadline_boottime_ms: u64,
    /// Between TERM and KILL.
    pub(super) kill_grace_ms: u64,
}

/// The other lines on the control pipe.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Control {
    Deadline(u64),
    Kill,
}

/// The lines on the status pipe.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// The handshake: this really is a supervisor.
    Ready {
        version: String,
        pid: u32,
    },
    Started {
        pid: i32,
    },
    /// The command could not be started.
    Failed(String),
    /// These processes do not end though they were killed; the supervisor goes on trying.
    Stuck(Vec<i32>),
    /// The whole tree is gone.
    Exited {
        code: Option<i32>,
        signal: Option<i32>,
        killed_because: Option<KilledBecause>,
    },
}

/// Why the supervisor ended the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KilledBecause {
    Asked,
    Deadline,
    /// The control pipe ended: the worker is gone.
    WorkerGone,
}

/// Lines out of a stream that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, without its end.
    pub(super) fn next_line(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
        line.pop();
        Some(line)
    }
}
