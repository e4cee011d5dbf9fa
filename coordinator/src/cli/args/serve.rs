//! The flags of `serve` and its config file. Owns which of the two wins: the command line, then the
//! environment, then the file, then the default.

use std::{fs, net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::ReachArgs;
use crate::cli::{
    backend::{MaxTier, ServeOptions, Timings},
    failure::Failure,
};

/// Where `serve` listens unless told otherwise: this machine alone.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7433);

#[derive(Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// The address to listen on [default: 127.0.0.1:7433]
    #[arg(long, value_name = "ADDR", env = "WAVEGATE_LISTEN")]
    listen: Option<SocketAddr>,
    /// At most this many agents at once, over all plans
    #[arg(long, value_name = "N", env = "WAVEGATE_MAX_AGENTS",
          value_parser = clap::value_parser!(u32).range(1..))]
    max_agents: Option<u32>,
    /// The strongest coordinator model that plans may use; with sonnet no plan may run in max
    /// [default: opus]
    #[arg(long, value_name = "TIER", env = "WAVEGATE_MAX_TIER")]
    max_tier: Option<TierChoice>,
    /// A price table (TOML) over the built-in one
    #[arg(long, value_name = "FILE", env = "WAVEGATE_PRICES")]
    prices: Option<PathBuf>,
    /// A TOML file with the same names: listen, db, max-agents, max-tier, heartbeat-ms ...
    #[arg(long, value_name = "FILE", env = "WAVEGATE_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    timings: TimingArgs,
}

/// A tier as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TierChoice {
    Sonnet,
    Opus,
}

/// Timings in milliseconds; absent ones take the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct TimingArgs {
    /// How often a worker says that it is alive [default: 10000]
    #[arg(long, value_name = "MS", env = "WAVEGATE_HEARTBEAT_MS", hide_short_help = true,
          value_parser = clap::value_parser!(u64).range(1..))]
    heartbeat_ms: Option<u64>,
    /// A worker that is silent for this long is unreachable; it keeps its leases [default: 30000]
    #[arg(long, value_name = "MS", env = "WAVEGATE_UNREACHABLE_AFTER_MS", hide_short_help = true,
          value_parser = clap::value_parser!(u64).range(1..))]
    unreachable_after_ms: Option<u64>,
    /// A lease without contact for this long is lost [default: 900000]
    #[arg(long, value_name = "MS", env = "WAVEGATE_LOST_AFTER_MS", hide_short_help = true,
          value_parser = clap::value_parser!(u64).range(1..))]
    lost_after_ms: Option<u64>,
    /// A worker stops its own agents this long before their leases are lost [default: 60000]
    #[arg(long, value_name = "MS", env = "WAVEGATE_FENCE_MARGIN_MS", hide_short_help = true)]
    fence_margin_ms: Option<u64>,
    /// The time between TERM and KILL when an agent is ended
    #[arg(long, value_name = "MS", env = "WAVEGATE_KILL_GRACE_MS", hide = true)]
    kill_grace_ms: Option<u64>,
    /// The waits before a failed or lost task is tried again, with commas between
    #[arg(
        long,
        value_name = "MS,MS,..",
        env = "WAVEGATE_RETRY_DELAYS_MS",
        hide = true,
        value_delimiter = ','
    )]
    retry_delays_ms: Option<Vec<u64>>,
    /// A plan of which nothing can run pauses after this long
    #[arg(long, value_name = "MS", env = "WAVEGATE_NO_WORKER_AFTER_MS", hide = true)]
    no_worker_after_ms: Option<u64>,
    /// An account whose limit is reached is tried again after this long where nobody says when
    #[arg(long, value_name = "MS", env = "WAVEGATE_ACCOUNT_PROBE_MS", hide = true,
          value_parser = clap::value_parser!(u64).range(1..))]
    account_probe_ms: Option<u64>,
}

/// The config file: what the flags can say, by the same names.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct ConfigFile {
    listen: Option<SocketAddr>,
    db: Option<PathBuf>,
    max_agents: Option<u32>,
    max_tier: Option<TierChoice>,
    prices: Option<PathBuf>,
    heartbeat_ms: Option<u64>,
    unreachable_after_ms: Option<u64>,
    lost_after_ms: Option<u64>,
    fence_margin_ms: Option<u64>,
    kill_grace_ms: Option<u64>,
    retry_delays_ms: Option<Vec<u64>>,
    no_worker_after_ms: Option<u64>,
    account_probe_ms: Option<u64>,
}

impl ServeArgs {
    /// What to serve with. A wrong config file is a usage error that names the file and the place.
    pub(crate) fn into_options(self, reach: &ReachArgs) -> Result<ServeOptions, Failure> {
        let file = match &self.config {
            Some(path) => ConfigFile::read(path)?,
            None => ConfigFile::default(),
        };
        let db = match (&reach.db, file.db.clone()) {
            (None, Some(db)) => db,
            _ => reach.database(),
        };
        Ok(ServeOptions {
            db,
            listen: self.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN),
            max_agents: self.max_agents.or(file.max_agents),
            max_tier: match self.max_tier.or(file.max_tier) {
                Some(TierChoice::Sonnet) => MaxTier::Sonnet,
                Some(TierChoice::Opus) | None => MaxTier::Opus,
            },
            prices: self.prices.or(file.prices.clone()),
            timings: self.timings.or(file.timings()).into_timings()?,
        })
    }
}

impl ConfigFile {
    fn read(path: &PathBuf) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::Usage(format!("{}: {what}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        toml::from_str(&text).map_err(|error| wrong(error.to_string()))
    }

    fn timings(self) -> TimingArgs {
        TimingArgs {
            heartbeat_ms: self.heartbeat_ms,
            unreachable_after_ms: self.unreachable_after_ms,
            lost_after_ms: self.lost_after_ms,
            fence_margin_ms: self.fence_margin_ms,
            kill_grace_ms: self.kill_grace_ms,
            retry_delays_ms: self.retry_delays_ms,
            no_worker_after_ms: self.no_worker_after_ms,
            account_probe_ms: self.account_probe_ms,
        }
    }
}

impl TimingArgs {
    fn or(self, other: Self) -> Self {
        Self {
            heartbeat_ms: self.heartbeat_ms.or(other.heartbeat_ms),
            unreachable_after_ms: self.unreachable_after_ms.or(other.unreachable_after_ms),
            lost_after_ms: self.lost_after_ms.or(other.lost_after_ms),
            fence_margin_ms: self.fence_margin_ms.or(other.fence_margin_ms),
            kill_grace_ms: self.kill_grace_ms.or(other.kill_grace_ms),
            retry_delays_ms: self.retry_delays_ms.or(other.retry_delays_ms),
            no_worker_after_ms: self.no_worker_after_ms.or(other.no_worker_after_ms),
            account_probe_ms: self.account_probe_ms.or(other.account_probe_ms),
        }
    }

    /// The timings with their defaults; a default shrinks where a given one would contradict it, so
    /// that a short `lost-after-ms` alone is enough. Those that still contradict each other are a
    /// usage error.
    pub(crate) fn into_timings(self) -> Result<Timings, Failure> {
        let default = Timings::default();
        let heartbeat_ms = self.heartbeat_ms.unwrap_or(default.heartbeat_ms);
        let lost_after_ms = self.lost_after_ms.unwrap_or(default.lost_after_ms);
        let half = lost_after_ms / 2;
        let fence_margin_ms = self.fence_margin_ms.unwrap_or(default.fence_margin_ms.min(half));
        let grace_left = fence_margin_ms.saturating_sub(heartbeat_ms.saturating_mul(2));
        let timings = Timings {
            heartbeat_ms,
            unreachable_after_ms: self.unreachable_after_ms.unwrap_or(default.unreachable_after_ms.min(half)),
            lost_after_ms,
            fence_margin_ms,
            kill_grace_ms: self.kill_grace_ms.unwrap_or(default.kill_grace_ms.min(grace_left)),
            retry_delays_ms: self.retry_delays_ms.unwrap_or(default.retry_delays_ms),
            no_worker_after_ms: self.no_worker_after_ms.unwrap_or(default.no_worker_after_ms),
            account_probe_ms: self.account_probe_ms.unwrap_or(default.account_probe_ms),
        };
        timings.check().map_err(Failure::Usage)?;
        Ok(timings)
    }
}
