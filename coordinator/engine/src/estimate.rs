//! What each mode would cost, before one is chosen. Owns the rule of thumb of the two modes; agent
//! tasks only, since shell commands use no tokens.

use std::collections::BTreeSet;

use crate::{
    ids::WaveIx,
    spec::{PlanSpec, TaskSpec, WaveSpec},
};

/// Standard: tokens for each batch of three agent tasks.
pub const STANDARD_BATCH_TOKENS: u64 = 90_000;
/// The batch that estimates speak of.
pub const STANDARD_BATCH: u64 = 3;
/// Max: tokens for each agent task.
pub const MAX_TASK_TOKENS: u64 = 30_000;
/// Max: tokens of the opus coordinator for each wave.
pub const MAX_WAVE_TOKENS: u64 = 50_000;

/// Both estimates, in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimates {
    pub standard_tokens: u64,
    pub max_tokens: u64,
    pub agent_tasks: u32,
    /// Why max has nothing to gain, if so.
    pub advice: Option<String>,
}

/// Estimates a plan in both modes.
#[must_use]
pub fn estimates(spec: &PlanSpec) -> Estimates {
    let agents = |wave: &WaveSpec| wave.tasks.iter().filter(|task| task.is_agent()).count() as u64;
    let waves: Vec<u64> = spec.waves.iter().map(agents).filter(|tasks| *tasks > 0).collect();
    Estimates {
        standard_tokens: waves
            .iter()
            .map(|tasks| tasks.div_ceil(STANDARD_BATCH) * STANDARD_BATCH_TOKENS)
            .sum(),
        max_tokens: waves.iter().map(|tasks| tasks * MAX_TASK_TOKENS + MAX_WAVE_TOKENS).sum(),
        agent_tasks: waves.iter().sum::<u64>() as u32,
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
