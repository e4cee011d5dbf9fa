//! What an operator sets: limits and timings. Owns the defaults and says where they come from.

use std::collections::BTreeMap;

use crate::{model::Family, spec::PlanShape, state::Tier};

/// How the engine decides where a plan does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Task leases of all plans together; absent: no limit.
    pub max_agents: Option<u32>,
    /// Sonnet forbids mode max.
    pub max_tier: Tier,
    pub scope: Scope,
    pub timings: Timings,
    pub prices: BlendedPrices,
}

/// What a million tokens of a family cost, input and output mixed as agents use them: for estimates and
/// reservations, never for the ledger. A family that is not there has no known price.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlendedPrices {
    /// Millionths of a US dollar.
    pub micro_usd_per_million: BTreeMap<Family, u64>,
}

impl BlendedPrices {
    /// What so many tokens cost, where the price is known.
    #[must_use]
    pub fn of(&self, family: Option<Family>, tokens: u64) -> Option<u64> {
        let price = *self.micro_usd_per_million.get(&family?)?;
        Some((u128::from(price) * u128::from(tokens) / 1_000_000) as u64)
    }
}

/// Which plans are granted anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    All,
    /// Only plans that a person approved, resumed or moved on since this start: an embedded run
    /// grants its own plan and leaves what else the database holds alone.
    Asked,
}

/// Durations in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timings {
    pub heartbeat_ms: u64,
    /// Silence after which nothing new is granted to a worker.
    pub unreachable_after_ms: u64,
    /// Silence after which a lease is lost, where its task does not say.
    pub lost_after_ms: u64,
    /// How long before that a worker stops its own agents.
    pub fence_margin_ms: u64,
    /// Between TERM and KILL.
    pub kill_grace_ms: u64,
    /// Waits before the first, second and every further retry.
    pub retry_delays_ms: [u64; 3],
    /// A plan of which nothing runs or can run pauses after this.
    pub no_worker_pause_ms: u64,
    /// A gap in the coordinator's own clock after which every lease gets its lost_after again.
    pub clock_gap_ms: u64,
    /// How long an account whose limit is reached waits where nobody says until when.
    pub account_probe_ms: u64,
    /// The first wait of an account whose provider is overloaded or cannot be reached; each further one
    /// is twice as long, up to `account_probe_ms`.
    pub provider_wait_ms: u64,
}

impl Default for Timings {
    /// Agents run for minutes to hours, and a lost one is lost money: patience is cheap.
    fn default() -> Self {
        Self {
            heartbeat_ms: 10_000,
            unreachable_after_ms: 30_000,
            lost_after_ms: 15 * 60_000,
            fence_margin_ms: 60_000,
            kill_grace_ms: 10_000,
            retry_delays_ms: [5_000, 30_000, 120_000],
            no_worker_pause_ms: 10 * 60_000,
            clock_gap_ms: 30_000,
            account_probe_ms: 15 * 60_000,
            provider_wait_ms: 30_000,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_agents: None,
            max_tier: Tier::Opus,
            scope: Scope::All,
            timings: Timings::default(),
            prices: BlendedPrices::default(),
        }
    }
}

/// Settings that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "lost_after is {lost_after_ms} ms, but a worker stops its agents fence_margin ({fence_margin_ms} ms) earlier \
         and needs two heartbeats ({heartbeat_ms} ms each) before that: expected more than {least_ms} ms"
    )]
    LostAfterTooShort { lost_after_ms: u64, fence_margin_ms: u64, heartbeat_ms: u64, least_ms: u64 },
    #[error(
        "fence_margin is {fence_margin_ms} ms, expected at least two heartbeats ({heartbeat_ms} ms each) and the \
         kill grace ({kill_grace_ms} ms)"
    )]
    FenceMarginTooShort { fence_margin_ms: u64, heartbeat_ms: u64, kill_grace_ms: u64 },
}

impl Timings {
    /// Checks that a worker can keep its leases and end its agents in time.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Self { heartbeat_ms, fence_margin_ms, kill_grace_ms, .. } = *self;
        if fence_margin_ms < heartbeat_ms.saturating_mul(2).max(kill_grace_ms) {
            return Err(ConfigError::FenceMarginTooShort { fence_margin_ms, heartbeat_ms, kill_grace_ms });
        }
        self.check_lost_after(self.lost_after_ms)
    }

    /// The longest wait before a retry, with its jitter.
    #[must_use]
    pub fn longest_retry_ms(&self) -> u64 {
        let longest = self.retry_delays_ms.into_iter().fold(0, u64::max);
        longest.saturating_add(longest / 2)
    }

    /// Checks one lost_after: the coordinator's own or a task's.
    pub fn check_lost_after(&self, lost_after_ms: u64) -> Result<(), ConfigError> {
        let Self { heartbeat_ms, fence_margin_ms, .. } = *self;
        let least_ms = fence_margin_ms.saturating_add(heartbeat_ms.saturating_mul(2));
        if lost_after_ms > least_ms {
            return Ok(());
        }
        Err(ConfigError::LostAfterTooShort { lost_after_ms, fence_margin_ms, heartbeat_ms, least_ms })
    }

    /// Checks every lost_after that a plan's tasks set; the error comes with the task's key.
    pub fn check_plan(&self, shape: &PlanShape) -> Result<(), (String, ConfigError)> {
        shape.tasks.iter().try_for_each(|task| match task.lost_after_ms {
            Some(ms) => self.check_lost_after(ms).map_err(|error| (task.key.clone(), error)),
            None => Ok(()),
        })
    }
}
