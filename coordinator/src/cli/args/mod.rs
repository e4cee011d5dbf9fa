//! What can be typed: every command with its flags, as clap reads them. Owns names, defaults and
//! environment variables; decides nothing and opens nothing.
//!
//! Every flag has an environment variable `WAVEGATE_...`, except `--mode`: a mode is chosen for
//! each approval and never by an environment that somebody forgot.

mod reach;
mod run;
mod serve;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use wavegate_proto::v1;

pub(crate) use reach::{DEFAULT_URL, ReachArgs, quoted};
pub(crate) use run::{AgentArgs, BudgetArgs, RunArgs};
pub(crate) use serve::ServeArgs;

/// Runs plans of AI-agent tasks in waves on leased workers.
#[derive(Debug, Parser)]
#[command(name = "wavegate", version, about = "Runs plans of AI-agent tasks in waves on leased workers")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands, in the order in which a plan meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a plan to its end, with a coordinator and workers of its own if none is live
    Run(RunArgs),
    /// Start a coordinator that workers and other commands connect to
    Serve(ServeArgs),
    /// Read a plan file and report everything wrong with it; stores nothing
    Check(CheckArgs),
    /// Store a plan, which then awaits approval
    Submit(SubmitArgs),
    /// List the plans
    Plans(PlansArgs),
    /// Show a plan's waves and tasks, what waits and why, attempts and verdicts
    Show(ShowArgs),
    /// Show what each mode would cost, before one is chosen
    Estimate(PlanArgs),
    /// Start a plan in the mode that you choose
    Approve(ApproveArgs),
    /// Change the mode of an approved plan; nothing that runs is ended
    Mode(ModeArgs),
    /// Print every decision about a plan, as it is made
    Watch(WatchArgs),
    /// Print the output of a plan's tasks
    Logs(LogsArgs),
    /// Grant nothing more of a plan; what runs goes on
    Pause(NotedPlanArgs),
    /// Let a paused plan go on
    Resume(ResumeArgs),
    /// End a plan and everything of it that runs
    Cancel(NotedPlanArgs),
    /// Give a blocked task a fresh start
    Retry(RetryArgs),
    /// Decide about a blocked wave
    Resolve(ResolveArgs),
    /// Show what a plan has published so far, or what one of its tasks has changed
    Diff(DiffArgs),
    /// Put a task's result into a repository of its own, to look at
    Checkout(CheckoutArgs),
    /// Print what a plan took: time, attempts, verdicts, tokens and cost
    Report(ReportArgs),
    /// List the workers and what they hold
    Workers,
    /// List the accounts that agents spend from, or try one again
    Accounts(AccountsArgs),
    /// Copy the database with its artifacts and logs while a coordinator works on it
    Backup(BackupArgs),
    /// Say what this host has to run agents with, what is missing and how to get it
    Doctor(DoctorArgs),
    /// List the candidates that wait for a verdict from outside (`thor: external`)
    Candidates(CandidatesArgs),
    /// Give the verdict on a candidate, as the Thor outside of the workers
    Verdict(VerdictArgs),
    /// Let a worker finish what it holds and give it nothing new
    Drain(WorkerArgs),
    /// Forget a worker that is gone for good; its leases are lost at once
    Forget(WorkerArgs),
}

/// A mode as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeChoice {
    /// At most three tasks at once, waves one at a time
    Standard,
    /// Every independent task at once; needs an opus coordinator
    Max,
}

impl ModeChoice {
    /// The word on the wire.
    pub(crate) const fn into_proto(self) -> v1::Mode {
        match self {
            Self::Standard => v1::Mode::Standard,
            Self::Max => v1::Mode::Max,
        }
    }
}

/// A person's decision as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResolutionChoice {
    /// The candidate stands: every submitted task of the wave is done
    Approve,
    /// The tasks get another try, with the note as instruction
    Rework,
    /// The tasks are left out, the wave goes on without them
    Skip,
    /// The plan ends here
    Cancel,
}

impl ResolutionChoice {
    /// The word on the wire.
    pub(crate) const fn into_proto(self) -> v1::Resolution {
        match self {
            Self::Approve => v1::Resolution::Approve,
            Self::Rework => v1::Resolution::Rework,
            Self::Skip => v1::Resolution::Skip,
            Self::Cancel => v1::Resolution::Cancel,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PlanFileArgs {
    /// The plan file, YAML or JSON
    #[arg(value_name = "PLAN")]
    pub(crate) file: PathBuf,
    /// A value for one of the plan's vars; may be repeated
    #[arg(long, value_name = "KEY=VALUE", env = "WAVEGATE_SET", value_parser = run::parse_pair)]
    pub(crate) set: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) file: PlanFileArgs,
    /// A price table (TOML) over the built-in one, for the estimates
    #[arg(long, value_name = "FILE", env = "WAVEGATE_PRICES")]
    pub(crate) prices: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    pub(crate) file: PlanFileArgs,
    #[command(flatten)]
    pub(crate) budget: BudgetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The plan's id or name
    pub(crate) plan: String,
    /// Print what the agent of this task is told, as it would be now
    #[arg(long, value_name = "TASK", env = "WAVEGATE_PROMPT")]
    pub(crate) prompt: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AccountsArgs {
    #[command(subcommand)]
    pub(crate) action: Option<AccountsAction>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountsAction {
    /// Try an account again now: its credentials were mended, or its limit was raised
    Clear {
        /// The runner, for example claude
        runner: String,
        /// The account's fingerprint, as `wavegate accounts` shows it; its beginning is enough, at least four
        /// characters that no other account of the runner begins with
        account: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The copy of the database; its artifacts and logs go to FILE.d. An earlier backup there is replaced
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// The worker's config file
    #[arg(long, value_name = "FILE", env = "WAVEGATE_WORKER_CONFIG")]
    pub(crate) worker_config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CandidatesArgs {
    /// The plan's id or name; all plans without it
    pub(crate) plan: Option<String>,
    /// Write what is to be judged to this directory, in a folder for each wave
    #[arg(long, value_name = "DIR", env = "WAVEGATE_OUT", requires = "plan")]
    pub(crate) out: Option<PathBuf>,
}

/// Thor's word as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DecisionChoice {
    /// Every task of the wave is done
    Approved,
    /// The tasks that the findings name go back
    Rejected,
    /// The tasks that the findings name give evidence
    Challenged,
    /// A person must decide
    Escalated,
}

impl DecisionChoice {
    /// The word on the wire.
    pub(crate) const fn into_proto(self) -> v1::Decision {
        match self {
            Self::Approved => v1::Decision::Approved,
            Self::Rejected => v1::Decision::Rejected,
            Self::Challenged => v1::Decision::Challenged,
            Self::Escalated => v1::Decision::Escalated,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct VerdictArgs {
    /// The plan's id or name
    pub(crate) plan: String,
    /// The wave's key, for example W1
    pub(crate) wave: String,
    /// The verdict
    pub(crate) decision: DecisionChoice,
    /// The candidate that was judged, as `wavegate candidates` shows it; a verdict on another one is refused.
    /// Without it the one that waits now is meant
    #[arg(long, value_name = "DIGEST", env = "WAVEGATE_CANDIDATE")]
    pub(crate) candidate: Option<String>,
    /// What is wrong: TASK=TEXT, or text about the whole wave; may be repeated
    #[arg(long = "finding", value_name = "[TASK=]TEXT", env = "WAVEGATE_FINDING")]
    pub(crate) findings: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PlansArgs {
    /// Only plans that have not ended
    #[arg(long, env = "WAVEGATE_OPEN", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) open: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The plan's id or name
    pub(crate) plan: String,
}

#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// The plan's id or name
    pub(crate) plan: String,
    /// How many agents may run at once; asked for at a terminal, required without one
    #[arg(long)]
    pub(crate) mode: Option<ModeChoice>,
}

#[derive(Debug, Args)]
pub(crate) struct ModeArgs {
    /// The plan's id or name
    pub(crate) plan: String,
    /// The mode to change to
    pub(crate) mode: ModeChoice,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The plan's id or name
    pub(crate) plan: String,
    /// Only decisions with a greater number than this
    #[arg(long, value_name = "NUMBER", env = "WAVEGATE_AFTER", default_value_t = 0)]
    pub(crate) after: i64,
    /// Go on after the plan has ended
    #[arg(long, env = "WAVEGATE_FOREVER", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) forever: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The plan's id or name
    pub(crate) plan: String,
    /// A task's key, for example T1-01; every task without it
    pub(crate) task: Option<String>,
    /// Which attempt; the newest without it
    #[arg(long, value_name = "N", env = "WAVEGATE_LOGS_ATTEMPT",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) attempt: Option<u32>,
    /// Wait for more until the attempt has ended
    #[arg(short, long, env = "WAVEGATE_FOLLOW", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NotedPlanArgs {
    /// The plan's id or name
    pub(crate) plan: String,
    /// Why: kept with the decision
    #[arg(long, value_name = "TEXT", env = "WAVEGATE_NOTE", default_value = "", hide_default_value = true)]
    pub(crate) note: String,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The plan's id or name
    pub(crate) plan: String,
    /// Add to the budget of this task instead of the plan's
    #[arg(long, value_name = "TASK", env = "WAVEGATE_RESUME_TASK")]
    pub(crate) task: Option<String>,
    /// Tokens to add to the plan's budget before it goes on
    #[arg(
        long,
        value_name = "N",
        env = "WAVEGATE_ADD_TOKENS",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) add_tokens: u64,
    /// US dollars to add to the plan's budget before it goes on, for example 2.50
    #[arg(long, value_name = "DOLLARS", env = "WAVEGATE_ADD_USD", value_parser = run::parse_micro_usd)]
    pub(crate) add_usd: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// The plan's id or name
    pub(crate) plan: String,
    /// The task's key, for example T1-01
    pub(crate) task: String,
}

#[derive(Debug, Args)]
pub(crate) struct ResolveArgs {
    /// The plan's id or name
    pub(crate) plan: String,
    /// What becomes of the wave
    pub(crate) resolution: ResolutionChoice,
    /// The wave's key; not needed when exactly one wave is blocked
    #[arg(
        long,
        value_name = "WAVE",
        env = "WAVEGATE_RESOLVE_WAVE",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) wave: String,
    /// A task that is meant; may be repeated; without it all that block the wave
    #[arg(long = "task", value_name = "TASK", env = "WAVEGATE_RESOLVE_TASK")]
    pub(crate) tasks: Vec<String>,
    /// Why: kept with the decision, and the instruction of a rework
    #[arg(long, value_name = "TEXT", env = "WAVEGATE_NOTE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) note: String,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The plan's id or name
    pub(crate) plan: String,
    /// Write the plan's tree, as last published, to this directory
    #[arg(long, value_name = "DIR", env = "WAVEGATE_OUT")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The plan's id or name; or PLAN/TASK, or the key of a task that only one plan has
    pub(crate) plan: String,
    /// A task's key: what its newest result changed
    pub(crate) task: Option<String>,
    /// Print the files and how many lines changed in each
    #[arg(long, env = "WAVEGATE_STAT", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) stat: bool,
    /// Print the names of the files only
    #[arg(long, env = "WAVEGATE_NAME_ONLY", conflicts_with = "stat",
          value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) name_only: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckoutArgs {
    /// The plan's id or name; or PLAN/TASK, or the key of a task that only one plan has
    pub(crate) plan: String,
    /// The task's key, for example T1-01
    pub(crate) task: Option<String>,
    /// A directory that is empty or not there [default: one of the plan's and the task's name]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// The worker's id or name
    pub(crate) worker: String,
}
