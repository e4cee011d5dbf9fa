//! Coordinators and workers that crash and come back.

use std::time::Duration;

use crate::{
    book::{Fate, How},
    chance::Chance,
    plan::Plan,
    scenario::{each_seed, nothing_is_lost, small},
    world::{Crash, Link, Setting, World},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Until a stand-in works.
fn begun(world: &mut World) -> Result<(), String> {
    world.run_until("work", 10 * MINUTE, |world| !world.book.pages().runs.is_empty())
}

fn crash_coordinators(world: &mut World, setting: &Setting, most_down_s: u64) -> Result<(), String> {
    let chance = Chance::of(setting.seed, "restarts");
    begun(world)?;
    for _ in 0..8 {
        world.run_for(SECOND * u32::try_from(chance.between(5, 150)).unwrap_or(1))?;
        match chance.pick(&[None, Some(Fate::BeforeCommit), Some(Fate::AfterCommit)]) {
            None => world.crash_coordinator(chance.pick(&[Crash::Killed, Crash::PowerLost])),
            Some(fate) => {
                world.doom(fate);
                world.run_until("a commit, or the end", 20 * MINUTE, |world| {
                    !world.coordinator_is_up() || world.seen().is_done
                })?;
            }
        }
        if !world.coordinator_is_up() {
            world.run_for(SECOND * u32::try_from(chance.between(1, most_down_s)).unwrap_or(1))?;
            world.bounce_coordinator();
        }
    }
    Ok(())
}

#[test]
fn a_coordinator_that_crashes_again_and_again_loses_and_repeats_nothing() {
    each_seed(2, small, |world, setting| crash_coordinators(world, setting, 300), nothing_is_lost);
}

#[test]
fn a_coordinator_that_is_away_for_five_minutes_stops_and_repeats_nothing() {
    let away = |world: &mut World, _: &Setting| {
        world
            .run_until("three stand-ins at work", 10 * MINUTE, |world| world.book.pages().runs.len() == 3)?;
        world.crash_coordinator(Crash::Killed);
        world.run_for(5 * MINUTE)?;
        world.bounce_coordinator();
        Ok(())
    };
    each_seed(1, small, away, nothing_is_lost);
}

#[test]
fn a_coordinator_that_is_away_for_longer_than_lost_after_finds_agents_that_ended_themselves() {
    let away = |world: &mut World, _: &Setting| {
        begun(world)?;
        world.run_for(5 * SECOND)?;
        world.crash_coordinator(Crash::Killed);
        world.run_for(20 * MINUTE)?;
        world.bounce_coordinator();
        Ok(())
    };
    // Each takes longer than its right to work without an answer.
    let long = |seed| Setting { takes_s: (1200, 1500), plan: Plan::of(2), ..small(seed) };
    each_seed(1, long, away, |world, _| {
        let pages = world.book.pages();
        let fenced = pages.runs.iter().filter(|run| matches!(run.ended, Some((_, How::Fenced)))).count();
        if fenced == 2 { Ok(()) } else { Err(format!("{fenced} stand-ins were ended by their deadline")) }
    });
}

#[test]
fn a_result_that_nobody_had_heard_of_survives_the_crash_of_its_worker() {
    let reported = |world: &World| {
        let pages = world.book.pages();
        pages.runs.iter().any(|run| run.worker == 1 && matches!(run.ended, Some((_, How::Reported))))
    };
    let crash = |world: &mut World, setting: &Setting| {
        let chance = Chance::of(setting.seed, "restarts");
        world.run_until("worker 1 at work", 10 * MINUTE, |world| {
            world.book.pages().runs.iter().any(|run| run.worker == 1)
        })?;
        world.set_link(1, chance.pick(&[Link::Cut, Link::Mute, Link::Deaf, Link::Held]));
        world.run_until("a result of worker 1", 10 * MINUTE, reported)?;
        world.run_for(SECOND)?;
        world.crash_worker(1, chance.pick(&[Crash::Killed, Crash::PowerLost]));
        world.run_for(SECOND * 30)?;
        world.bounce_worker(1);
        world.set_link(1, Link::Whole);
        Ok(())
    };
    // One at a time for each worker: what else it did would end with it, and be done again.
    let alone = |seed| Setting { takes_s: (60, 90), plan: Plan::of(2), ..small(seed) };
    each_seed(3, alone, crash, nothing_is_lost);
}

#[test]
fn workers_that_crash_are_replaced_without_two_agents_on_one_task() {
    let crash = |world: &mut World, setting: &Setting| {
        let chance = Chance::of(setting.seed, "restarts");
        begun(world)?;
        for _ in 0..6 {
            world.run_for(SECOND * u32::try_from(chance.between(20, 200)).unwrap_or(1))?;
            let worker = usize::try_from(chance.between(1, setting.workers as u64)).unwrap_or(1);
            world.crash_worker(worker, chance.pick(&[Crash::Killed, Crash::PowerLost]));
            // Sometimes it is back before anybody misses it, sometimes its leases are lost meanwhile.
            let down_s = if chance.percent(70) { chance.between(1, 60) } else { chance.between(600, 1200) };
            world.run_for(SECOND * u32::try_from(down_s).unwrap_or(1))?;
            world.bounce_worker(worker);
        }
        Ok(())
    };
    each_seed(2, small, crash, |world, _| {
        let pages = world.book.pages();
        let orphaned = pages.runs.iter().any(|run| matches!(run.ended, Some((_, How::Orphaned))));
        if orphaned { Ok(()) } else { Err("no crash met work".to_owned()) }
    });
}
