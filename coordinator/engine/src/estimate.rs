//! What each mode would cost, before one is chosen. Owns the rule of thumb of the two modes; agent
//! tasks only, since shell commands use no tokens.

use std::collections::BTreeSet;

use crate::{
    config::BlendedPrices,
    ids::WaveIx,
    model::Family,
    spec::{PlanSpec, TaskSpec, WaveSpec},
    state::Tier,
};

/// Standard: tokens for each batch of three agent tasks.
pub const STANDARD_BATCH_TOKENS: u64 = 90_000;
/// The batch that estimates speak of.
pub const STANDARD_BATCH: u64 = 3;
/// Max: tokens for each agent task.
pub const MAX_TASK_TOKENS: u64 = 30_000;
/// Max: tokens of the opus coordinator for each wave.
pub const MAX_WAVE_TOKENS: u64 = 50_000;

/// Both estimates, in tokens and, where the prices are known, in millionths of a US dollar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimates {
    pub standard_tokens: u64,
    pub max_tokens: u64,
    pub standard_micro_usd: Option<u64>,
    pub max_micro_usd: Option<u64>,
    /// The part of max that is for its opus coordinator.
    pub max_coordinator_tokens: u64,
    pub agent_tasks: u32,
    /// Why max has nothing to gain, if so.
    pub advice: Option<String>,
}

/// What was estimated when a person chose: it stands, whatever prices become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEstimates {
    pub standard_tokens: u64,
    pub max_tokens: u64,
    pub standard_micro_usd: Option<u64>,
    pub max_micro_usd: Option<u64>,
    pub max_coordinator_tokens: u64,
    /// Of the prices that there were; several, with commas between, where they are of several days.
    pub prices_date: String,
}

impl Estimates {
    /// What is to be kept of them.
    #[must_use]
    pub fn kept(&self, prices_date: String) -> KeptEstimates {
        KeptEstimates {
            standard_tokens: self.standard_tokens,
            max_tokens: self.max_tokens,
            standard_micro_usd: self.standard_micro_usd,
            max_micro_usd: self.max_micro_usd,
            max_coordinator_tokens: self.max_coordinator_tokens,
            prices_date,
        }
    }

    /// These with what was kept in the place of what was computed just now.
    #[must_use]
    pub fn as_kept(self, kept: &KeptEstimates) -> Self {
        Self {
            standard_tokens: kept.standard_tokens,
            max_tokens: kept.max_tokens,
            standard_micro_usd: kept.standard_micro_usd,
            max_micro_usd: kept.max_micro_usd,
            max_coordinator_tokens: kept.max_coordinator_tokens,
            ..self
        }
    }
}

/// Estimates a plan in both modes.
#[must_use]
pub fn estimates(spec: &PlanSpec, prices: &BlendedPrices) -> Estimates {
    let agents = |wave: &WaveSpec| -> Vec<Option<Family>> {
        wave.tasks.iter().filter(|task| task.is_agent()).map(|task| task.route().family).collect()
    };
    let waves: Vec<Vec<Option<Family>>> =
        spec.waves.iter().map(agents).filter(|tasks| !tasks.is_empty()).collect();
    let standard =
        |tasks: &Vec<Option<Family>>| (tasks.len() as u64).div_ceil(STANDARD_BATCH) * STANDARD_BATCH_TOKENS;
    let max = |tasks: &Vec<Option<Family>>| tasks.len() as u64 * MAX_TASK_TOKENS;
    // A wave's tokens are shared by its tasks, each at the price of its own model.
    let cost = |tasks: &Vec<Option<Family>>, tokens: u64| -> Option<u64> {
        tasks.iter().map(|family| prices.of(*family, tokens / tasks.len() as u64)).sum()
    };
    let coordinator = waves.len() as u64 * MAX_WAVE_TOKENS;
    let max_tasks: Option<u64> = waves.iter().map(|tasks| cost(tasks, max(tasks))).sum();
    let opus = prices.of(Some(Tier::Opus.family()), coordinator);
    Estimates {
        standard_tokens: waves.iter().map(standard).sum(),
        max_tokens: waves.iter().map(max).sum::<u64>() + coordinator,
        standard_micro_usd: waves.iter().map(|tasks| cost(tasks, standard(tasks))).sum(),
        max_micro_usd: max_tasks
            .zip(opus.or((coordinator == 0).then_some(0)))
            .map(|(tasks, opus)| tasks + opus),
        max_coordinator_tokens: coordinator,
        agent_tasks: waves.iter().map(Vec::len).sum::<usize>() as u32,
        advice: advice(spec),
    }
}

fn advice(spec: &PlanSpec) -> Option<String> {
    let widest = spec.waves.iter().map(width).max().unwrap_or(0);
    (widest <= STANDARD_BATCH as usize && is_chain(spec)).then(|| {
        let tasks = if widest == 1 { "task" } else { "tasks" };
        format!(
            "max gains nothing here: the waves run one after another and none has more than {widest} {tasks} at once"
        )
    })
}

/// The most tasks of a wave that can run at once: an upper bound. Tasks that follow one another make
/// a chain, of which one runs at a time; each task goes on at most one chain.
fn width(wave: &WaveSpec) -> usize {
    let mut followed = BTreeSet::new();
    let mut follows = |task: &TaskSpec| task.depends_on.iter().any(|before| followed.insert(*before));
    wave.tasks.len() - wave.tasks.iter().filter(|task| follows(task)).count()
}

/// Whether every wave waits, directly or not, for all before it.
fn is_chain(spec: &PlanSpec) -> bool {
    let waves = spec.waves.iter().zip(0..);
    waves.skip(1).all(|(wave, at)| wave.depends_on.contains(&WaveIx(at - 1)))
}
