//! How the work of a task is run. One file a runner: each makes an order for the supervisor, listens to
//! what its program prints, and says what came of it. Starts no process itself and knows no leases.
//!
//! `shell` runs commands. Everything else is an agent, behind one small trait: [`Runner`] knows the
//! program's flags, its [`Listener`] the program's words. What an agent must be told is the
//! coordinator's; when a run counts as what is decided here, by the conclusion's outcome.

mod account;
mod answer;
pub mod claude;
pub mod codex;
pub mod command;
pub mod doctor;
pub mod environment;
pub mod gemini;
pub mod opencode;
mod program;
mod provider;
pub mod registry;
#[cfg(test)]
mod replay;
pub mod result_file;
pub mod scrub;
pub mod sections;
pub mod sessions;
pub mod shell;
mod telling;
mod usage;

use std::{fmt::Debug, io, path::Path, time::Duration};

use wavegate_proto::v1;

use crate::supervisor::Order;

pub use registry::{Installed, Registry, RunnersConfig};
pub use sections::RunnerSettings;
pub use usage::usage_of;

/// What an agent is asked in one run of its program.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub work: &'a v1::AgentWork,
    /// The directory that it works in.
    pub cwd: &'a Path,
    /// A directory beside it, for files between us and the program.
    pub aside: &'a Path,
    /// The program's whole environment.
    pub env: &'a [(String, String)],
    /// A fresh session, or one to go on with.
    pub talk: Talk<'a>,
    pub timeout: Option<Duration>,
}

/// Whether a session begins or goes on.
#[derive(Debug, Clone, Copy)]
pub enum Talk<'a> {
    /// Begins, with `work.prompt`. The id is a fresh UUID, for programs that take one.
    Fresh { id: &'a str },
    /// Goes on, with `work.resume_prompt`. The counters are what the program's own cumulative figures
    /// were when it last ended, by model.
    Resumed { id: &'a str, counters: &'a [v1::ModelUsage] },
}

impl Ask<'_> {
    /// What the agent is told in this run.
    #[must_use]
    pub fn prompt(&self) -> &str {
        match self.talk {
            Talk::Fresh { .. } => &self.work.prompt,
            Talk::Resumed { .. } => &self.work.resume_prompt,
        }
    }
}

/// One kind of agent.
pub trait Runner: Debug + Send + Sync {
    /// Its name in plans.
    fn name(&self) -> &str;

    /// The worker's own variables that its program needs: credentials, addresses. Their values are kept
    /// out of logs where the name says that they are secret.
    fn variables(&self) -> Vec<String>;

    /// Those of the variables that are secret whatever their names say.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// How its program is started; writes what the program is to read. Standard output is given to the
    /// listener line by line.
    fn order(&self, ask: &Ask<'_>) -> io::Result<Order>;

    /// Who listens to this run.
    fn listener(&self, ask: &Ask<'_>) -> Box<dyn Listener>;
}

/// Follows one run of an agent's program.
pub trait Listener: Send {
    /// A line of its standard output, without the line's end.
    fn hear(&mut self, line: &str) -> Heard;

    /// What it has used so far, for progress and for a run that ends without a word.
    fn used(&self) -> Vec<v1::ModelUsage>;

    /// The session's id, as soon as it is known.
    fn session(&self) -> Option<String>;

    /// What came of it, once the program's whole tree is gone.
    fn conclude(self: Box<Self>, exit: &Exit) -> Conclusion;
}

/// What a line meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// For the log of the task, in words; empty where there is nothing to tell.
    pub log: String,
    /// The run cannot come to anything (the program would retry for minutes): end it now.
    pub give_up: bool,
}

/// How the program ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exit {
    /// None: ended by a signal.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// It was ended because [`Heard::give_up`] was said.
    pub gave_up: bool,
    /// Its time was up.
    pub timed_out: bool,
    /// The last part of its standard error.
    pub stderr: String,
}

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conclusion {
    pub outcome: v1::Outcome,
    /// One line for people: the agent's claim, or what went wrong.
    pub summary: String,
    /// The structured answer as JSON; empty where there is none.
    pub output_json: String,
    /// The agent's last words, whole.
    pub text: String,
    /// The model that answered last in the main talk; empty when nobody did.
    pub model: String,
    /// What each model used in this run alone.
    pub models: Vec<v1::ModelUsage>,
    /// The program's cumulative figures of the session, where it has such; kept for the next run.
    pub counters: Vec<v1::ModelUsage>,
    /// By which the program can go on with the talk; None when it cannot.
    pub session: Option<String>,
    /// The program does not know the session that it was to go on with: a fresh one is to begin.
    pub is_unknown_session: bool,
    /// What it was denied.
    pub denials: Vec<v1::Finding>,
    /// How long the account is of no use, where the program says so.
    pub retry_after_ms: Option<u64>,
}
