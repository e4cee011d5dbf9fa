//! How a scenario is run: seed by seed, to the end of its plan and of what is owed, then checked. A seed that fails is
//! named with what happened in it.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use crate::{
    checks::{check, owed},
    plan::Plan,
    world::{Setting, World},
};

/// A plan that goes on when the faults have stopped is done within this: a lease is lost, its task waits, is done
/// again, and the same for what follows.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// The end of a trace that says the most.
const LAST_LINES: usize = 200;

/// Three workers, and tasks of some minutes.
pub(crate) fn small(seed: u64) -> Setting {
    Setting { seed, workers: 3, plan: Plan::of(4), takes_s: (60, 420) }
}

/// Runs a scenario under each of its seeds.
pub(crate) fn each_seed(
    bounded: u64,
    setting: impl Fn(u64) -> Setting,
    trouble: impl Fn(&mut World, &Setting) -> Result<(), String>,
    holds: impl Fn(&World, &Setting) -> Result<(), String>,
) {
    for seed in seeds(bounded) {
        let setting = setting(seed);
        let world = run(&setting, &trouble);
        let judged = catch_unwind(AssertUnwindSafe(|| holds(&world, &setting)));
        match judged {
            Ok(Ok(())) => {}
            Ok(Err(broken)) => panic!("seed {seed}: {broken}\n{}", told(&world)),
            Err(_) => panic!("seed {seed}\n{}", told(&world)),
        }
    }
}

/// So many seeds, or those that the environment asks for.
fn seeds(bounded: u64) -> Range<u64> {
    let from = of_environment("WAVEGATE_TURMOIL_FROM").unwrap_or(0);
    from..from + of_environment("WAVEGATE_TURMOIL_SEEDS").unwrap_or(bounded)
}

/// One world, from its beginning to the end of its plan.
pub(crate) fn run(setting: &Setting, trouble: impl Fn(&mut World, &Setting) -> Result<(), String>) -> World {
    let seed = setting.seed;
    let mut world = World::new(setting);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        trouble(&mut world, setting)?;
        world.run_until("the plan to be done", PATIENCE, |world| world.seen().is_done)?;
        world
            .run_until("every result to be answered", PATIENCE, |world| owed(world, setting.workers) == 0)?;
        check(&world, setting)
    }));
    match ran {
        Ok(Ok(())) => world,
        Ok(Err(broken)) => panic!("seed {seed}: {broken}\n{}", told(&world)),
        Err(_) => panic!("seed {seed}\n{}", told(&world)),
    }
}

/// Nothing was done twice: each task has as many attempts as it was reported failed, and one.
pub(crate) fn nothing_is_lost(world: &World, _: &Setting) -> Result<(), String> {
    let pages = world.book.pages();
    let lost = pages.count("SELECT count(*) FROM wg_leases WHERE state = 'lost'");
    // A grant that never arrived is no loss.
    let released = pages.texts("SELECT id FROM wg_leases WHERE state = 'released'");
    let returned = pages.runs.iter().filter(|run| released.contains(&run.lease)).count();
    let failed = pages.count(
        "SELECT count(*) FROM wg_results r JOIN wg_leases l ON l.id = r.lease_id \
         WHERE l.kind = 'task' AND r.outcome = 'failed'",
    );
    let tasks = pages.count("SELECT count(*) FROM wg_tasks");
    if lost == 0 && returned == 0 && pages.runs.len() == tasks + failed {
        return Ok(());
    }
    Err(format!(
        "{lost} leases are lost, {returned} stopped, {} stand-ins worked on {tasks} tasks that failed {failed} times",
        pages.runs.len()
    ))
}

fn of_environment(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}

fn told(world: &World) -> String {
    let pages = world.book.pages();
    pages.trace[pages.trace.len().saturating_sub(LAST_LINES)..].join("\n")
}
