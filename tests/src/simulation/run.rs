//! Runs scenarios: one, many, and the least of a failing one that still fails.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use super::{figures::Figures, mutation::Mutation, scenario::Scenario, world::World};

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub message: String,
}

/// A run that held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub figures: Figures,
    /// Of all that happened, in order.
    pub fingerprint: u64,
}

thread_local! {
    /// A broken invariant is told by who runs the simulation, not where it is found.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs a scenario to its end.
pub fn run(scenario: &Scenario, mutation: Option<Mutation>) -> Result<Held, Failure> {
    attempt(scenario, mutation, false).0
}

/// The same with a line for each thing that happened.
pub fn run_traced(scenario: &Scenario, mutation: Option<Mutation>) -> (Result<Held, Failure>, Vec<String>) {
    attempt(scenario, mutation, true)
}

fn attempt(
    scenario: &Scenario,
    mutation: Option<Mutation>,
    traced: bool,
) -> (Result<Held, Failure>, Vec<String>) {
    let mut world = World::new(scenario.clone(), mutation, traced);
    let ran = quietly(|| world.run());
    let trace = world.take_trace();
    let held = || Held { figures: world.figures(), fingerprint: world.fingerprint() };
    (ran.map(|()| held()).map_err(|message| Failure { message }), trace)
}

/// What was panicked with, if so; nothing is printed.
pub(super) fn quietly<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                before(info);
            }
        }));
    });
    let was = IS_QUIET.replace(true);
    let ran = catch_unwind(AssertUnwindSafe(run));
    IS_QUIET.set(was);
    ran.map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

impl Failure {
    /// The invariant that the message names, or its first words.
    #[must_use]
    pub fn invariant(&self) -> &str {
        let names = ["I10", "I11", "I12", "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9"];
        let named = names.into_iter().find(|name| self.message.contains(&format!("{name}: ")));
        named.unwrap_or_else(|| self.message.split([':', '\n']).next().unwrap_or_default())
    }
}

/// Leaves out of a failing scenario what it fails without: faults and words, plans, waves, tasks, workers.
#[must_use]
pub fn shrink(scenario: &Scenario, mutation: Option<Mutation>, failure: &Failure) -> (Scenario, Failure) {
    let mut least = (scenario.clone(), failure.clone());
    // Bounded: a failure that is rare after each cut is worth no more.
    let mut tries = 1_500;
    loop {
        let before = size(&least.0);
        for candidates in [chunks_of_script, plans_left_out, tasks_left_out, workers_left_out] {
            for candidate in candidates(&least.0) {
                if tries == 0 {
                    return least;
                }
                tries -= 1;
                // A later candidate may be about what an earlier one left out.
                if size(&candidate) < size(&least.0)
                    && let Err(found) = run(&candidate, mutation)
                    && found.invariant() == failure.invariant()
                {
                    least = (candidate, found);
                }
            }
        }
        if size(&least.0) == before {
            return least;
        }
    }
}

/// Of how many parts a scenario is made.
#[must_use]
pub fn size(scenario: &Scenario) -> usize {
    let waves = scenario.plans.iter().flat_map(|plan| &plan.waves);
    let tasks: usize = waves.map(|wave| wave.tasks.len() + 1).sum();
    scenario.script.len() + scenario.plans.len() + tasks + scenario.workers.len()
}

fn chunks_of_script(scenario: &Scenario) -> Vec<Scenario> {
    let all = scenario.script.len();
    let mut found = Vec::new();
    let mut chunk = all.div_ceil(2);
    while chunk > 0 {
        for from in (0..all).step_by(chunk) {
            let mut less = scenario.clone();
            less.script.drain(from..(from + chunk).min(all));
            found.push(less);
        }
        chunk /= 2;
    }
    found
}

fn plans_left_out(scenario: &Scenario) -> Vec<Scenario> {
    let left_out = |at: usize| {
        let mut less = scenario.clone();
        less.plans.remove(at);
        less
    };
    (0..scenario.plans.len()).map(left_out).collect()
}

fn tasks_left_out(scenario: &Scenario) -> Vec<Scenario> {
    let mut found = Vec::new();
    for (plan, sketch) in scenario.plans.iter().enumerate() {
        for (wave, tasks) in sketch.waves.iter().enumerate() {
            if sketch.waves.len() > 1 {
                let mut less = scenario.clone();
                less.plans[plan].waves.remove(wave);
                found.push(less);
            }
            for task in (0..tasks.tasks.len()).filter(|_| tasks.tasks.len() > 1) {
                let mut less = scenario.clone();
                less.plans[plan].waves[wave].tasks.remove(task);
                found.push(less);
            }
        }
    }
    found
}

fn workers_left_out(scenario: &Scenario) -> Vec<Scenario> {
    let left_out = |at: usize| {
        let mut less = scenario.clone();
        less.workers.remove(at);
        less
    };
    (0..scenario.workers.len()).filter(|_| scenario.workers.len() > 1).map(left_out).collect()
}
