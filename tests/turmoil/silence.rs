//! Links between workers and the coordinator that are cut, deaf, mute, held or slow, and whole again.

use std::time::Duration;

use crate::{
    book::{How, Run},
    chance::Chance,
    plan::Plan,
    scenario::{each_seed, nothing_is_lost, small},
    world::{Link, Setting, World},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Until this worker works.
fn at_work(world: &mut World, worker: usize) -> Result<(), String> {
    world.run_until("work", 30 * MINUTE, |world| {
        world.book.pages().runs.iter().any(|run| run.worker == worker && run.ended.is_none())
    })
}

/// Every kind of silence between two parts, for a time drawn between these seconds.
fn silences(world: &mut World, setting: &Setting, least_s: u64, most_s: u64) -> Result<(), String> {
    let chance = Chance::of(setting.seed, "silence");
    for link in [Link::Cut, Link::Mute, Link::Deaf, Link::Held] {
        if world.seen().is_done {
            break;
        }
        let worker = usize::try_from(chance.between(1, setting.workers as u64)).unwrap_or(1);
        world.run_for(SECOND * u32::try_from(chance.between(5, 40)).unwrap_or(1))?;
        world.set_link(worker, link);
        world.run_for(SECOND * u32::try_from(chance.between(least_s, most_s)).unwrap_or(1))?;
        world.set_link(worker, Link::Whole);
    }
    Ok(())
}

#[test]
fn a_silence_shorter_than_lost_after_costs_nothing() {
    let short = |world: &mut World, setting: &Setting| {
        at_work(world, 1)?;
        // The worker comes back within its own margin, too: less than lost_after minus the fence margin.
        silences(world, setting, 5, 600)
    };
    each_seed(2, small, short, nothing_is_lost);
}

#[test]
fn a_silence_longer_than_lost_after_ends_the_agents_before_others_begin() {
    for link in [Link::Cut, Link::Mute, Link::Deaf, Link::Held] {
        let cut = |world: &mut World, _: &Setting| {
            at_work(world, 1)?;
            world.set_link(1, link);
            world.run_for(17 * MINUTE)?;
            world.set_link(1, Link::Whole);
            Ok(())
        };
        // Work that a silence finds is not over when it is lost.
        let long = |seed| Setting { takes_s: (1100, 1300), plan: Plan::of(2), ..small(seed) };
        each_seed(1, long, cut, |world, _| {
            let pages = world.book.pages();
            let ended = |run: &&Run| run.worker == 1 && matches!(run.ended, Some((_, How::Fenced)));
            let again = |task: &str| pages.runs.iter().filter(|run| run.task == task).count() > 1;
            match pages.runs.iter().find(ended) {
                Some(run) if again(&run.task) => Ok(()),
                found => Err(format!("{link:?}: {found:?} was fenced and done again")),
            }
        });
    }
}

#[test]
fn results_of_a_long_silence_are_accepted_once_or_refused_and_kept() {
    let late = |world: &mut World, setting: &Setting| {
        at_work(world, 1)?;
        silences(world, setting, 850, 1500)
    };
    each_seed(2, small, late, |_, _| Ok(()));
}

#[test]
fn slow_peers_lose_nothing() {
    let slow = |world: &mut World, setting: &Setting| {
        let chance = Chance::of(setting.seed, "silence");
        for worker in 1..=setting.workers {
            world.slow_down(worker, SECOND * u32::try_from(chance.between(1, 4)).unwrap_or(1));
        }
        Ok(())
    };
    each_seed(2, small, slow, nothing_is_lost);
}
