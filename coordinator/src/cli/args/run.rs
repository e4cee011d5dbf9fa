//! The flags of `run`, and the readers of values that several commands share.

use std::path::PathBuf;

use clap::Args;

use super::{ModeChoice, serve::TimingArgs};

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The plan file, YAML or JSON
    #[arg(value_name = "PLAN", required_unless_present = "resume")]
    pub(crate) file: Option<PathBuf>,
    /// How many agents may run at once; asked for at a terminal, required without one
    #[arg(long)]
    pub(crate) mode: Option<ModeChoice>,
    /// Workers to start, each without a limit of slots [default: 1]
    #[arg(long, value_name = "N", env = "WAVEGATE_WORKERS", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: Option<u16>,
    /// A value for one of the plan's vars; may be repeated
    #[arg(long, value_name = "KEY=VALUE", env = "WAVEGATE_SET", value_parser = parse_pair)]
    pub(crate) set: Vec<(String, String)>,
    /// Write the plan's tree to this directory when it is done
    #[arg(long, value_name = "DIR", env = "WAVEGATE_OUT")]
    pub(crate) out: Option<PathBuf>,
    /// Go on with a stored plan, by its id or name, instead of reading a file
    #[arg(long, value_name = "ID", env = "WAVEGATE_RESUME", 
          conflicts_with_all = ["file", "set", "budget_usd", "budget_tokens"])]
    pub(crate) resume: Option<String>,
    /// A shell command to run when the plan is blocked, paused or done; it finds WAVEGATE_PLAN,
    /// WAVEGATE_STATUS and WAVEGATE_REASON in its environment
    #[arg(long, value_name = "CMD", env = "WAVEGATE_NOTIFY")]
    pub(crate) notify: Option<String>,
    /// At most this many agents at once, whatever the mode
    #[arg(long, value_name = "N", env = "WAVEGATE_MAX_AGENTS",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_agents: Option<u32>,
    #[command(flatten)]
    pub(crate) budget: BudgetArgs,
    #[command(flatten)]
    pub(crate) agents: AgentArgs,
    #[command(flatten)]
    pub(crate) timings: TimingArgs,
}

/// What a plan may spend, in the place of what its file says.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct BudgetArgs {
    /// US dollars that the plan may spend, for example 5.00; it pauses and asks before more is spent
    #[arg(long, value_name = "DOLLARS", env = "WAVEGATE_BUDGET_USD", value_parser = parse_micro_usd)]
    pub(crate) budget_usd: Option<u64>,
    /// Tokens that the plan may spend
    #[arg(long, value_name = "N", env = "WAVEGATE_BUDGET_TOKENS")]
    pub(crate) budget_tokens: Option<u64>,
}

/// How the workers of this process run agents.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AgentArgs {
    /// The worker's config file for the workers of this process: its runners
    #[arg(long, value_name = "FILE", env = "WAVEGATE_WORKER_CONFIG")]
    pub(crate) worker_config: Option<PathBuf>,
    /// Agents of tasks with `permissions: full` may run here: they may do anything that you may
    #[arg(long, env = "WAVEGATE_ALLOW_FULL", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) allow_full: bool,
    /// A price table (TOML) over the built-in one
    #[arg(long, value_name = "FILE", env = "WAVEGATE_PRICES")]
    pub(crate) prices: Option<PathBuf>,
}

impl RunArgs {
    /// The flags that were given and mean nothing where another process coordinates.
    pub(crate) fn of_an_own_coordinator(&self) -> Vec<&'static str> {
        let AgentArgs { worker_config, allow_full, prices } = &self.agents;
        let flags = [
            ("--workers", self.workers.is_some()),
            ("--max-agents", self.max_agents.is_some()),
            ("--worker-config", worker_config.is_some()),
            ("--allow-full", *allow_full),
            ("--prices", prices.is_some()),
        ];
        flags.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect()
    }
}

/// Reads `KEY=VALUE`; the value may be empty and may hold further `=`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// The coordinator takes no more.
const MOST_USD: u64 = 1_000_000_000;

/// Reads dollars with at most six decimals, as millionths.
pub(crate) fn parse_micro_usd(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "expected dollars, for example 2.50";
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return Err(EXPECTED.to_owned());
    }
    let too_much = || format!("expected at most {MOST_USD} dollars");
    let micro: u64 = format!("{whole}{fraction:0<6}").parse().map_err(|_| too_much())?;
    if micro > MOST_USD * 1_000_000 { Err(too_much()) } else { Ok(micro) }
}
