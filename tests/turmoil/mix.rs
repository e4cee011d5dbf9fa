//! Everything together, drawn from a seed: some dozens of tasks in two waves, and an hour in which hosts crash and
//! come back, links are cut, deaf, mute, held and slow, and segments get lost.

use std::{cell::RefCell, collections::BTreeSet, process::Command, time::Duration};

use crate::{
    book::Fate,
    chance::Chance,
    plan::Plan,
    scenario::{each_seed, run, small},
    world::{Crash, Link, Setting, World},
};

const SECOND: Duration = Duration::from_secs(1);
/// How long faults go on.
const TROUBLE: Duration = Duration::from_secs(3600);
/// A connection that lost a segment is of no use any more; so many messages come through for one that does not.
const LOSS: f64 = 0.000_5;

/// Where the other process is to write what happens.
const TRACE: &str = "WAVEGATE_TURMOIL_TRACE";
/// The branches of a `select!` that are ready at once are taken by a randomness of tokio's own, unless it is built
/// with `--cfg tokio_unstable`: that may part a pair.
const MOST_PAIRS: u32 = 3;

/// What must have happened somewhere, by two words of a line of the trace.
const KINDS: [(&str, &str); 10] = [
    ("coordinator", "crashes: Killed"),
    ("coordinator", "crashes: PowerLost"),
    ("dies:", "BeforeCommit"),
    ("dies:", "AfterCommit"),
    ("worker", "crashes: "),
    ("link", "now Cut"),
    ("link", "now Mute"),
    ("link", "now Deaf"),
    ("link", "now Held"),
    ("link", "takes up to"),
];

/// Something that is mended later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Coordinator,
    Worker(usize),
    Link(usize),
}

fn setting(seed: u64) -> Setting {
    Setting { seed, workers: 4, plan: Plan::of(12), takes_s: (30, 600) }
}

fn trouble(world: &mut World, setting: &Setting) -> Result<(), String> {
    let chance = Chance::of(setting.seed, "mix");
    world.run_until("work", TROUBLE, |world| !world.book.pages().runs.is_empty())?;
    world.lose(if chance.percent(50) { LOSS } else { 0.0 });
    let end = world.now() + TROUBLE;
    let mut mended: Vec<(Duration, Fault)> = Vec::new();
    while world.now() < end && !world.seen().is_done {
        world.run_for(SECOND * u32::try_from(chance.between(1, 120)).unwrap_or(1))?;
        mend(world, &mut mended, Some(world.now()));
        strike(world, setting, &chance, &mut mended);
    }
    mend(world, &mut mended, None);
    world.lose(0.0);
    for worker in 1..=setting.workers {
        world.slow_down(worker, SECOND / 2);
    }
    Ok(())
}

fn strike(world: &mut World, setting: &Setting, chance: &Chance, mended: &mut Vec<(Duration, Fault)>) {
    let worker = usize::try_from(chance.between(1, setting.workers as u64)).unwrap_or(1);
    // Most faults are short, some last longer than a lease.
    let lasts_s = if chance.percent(80) { chance.between(1, 200) } else { chance.between(300, 1500) };
    let until = world.now() + SECOND * u32::try_from(lasts_s).unwrap_or(1);
    let crash = chance.pick(&[Crash::Killed, Crash::PowerLost]);
    let kind = chance.between(0, 5);
    let fault = match kind {
        0 | 1 => Fault::Coordinator,
        2 => Fault::Worker(worker),
        _ => Fault::Link(worker),
    };
    if kind == 5 {
        return world.slow_down(worker, SECOND / 2 * u32::try_from(chance.between(1, 8)).unwrap_or(1));
    }
    // What is broken is broken; a coordinator that waits for its commit is one of these.
    let is_busy = mended.iter().any(|(_, other)| *other == fault) || !world.coordinator_is_up();
    if is_busy {
        return;
    }
    match fault {
        Fault::Coordinator if kind == 0 => world.crash_coordinator(crash),
        Fault::Coordinator => world.doom(chance.pick(&[Fate::BeforeCommit, Fate::AfterCommit])),
        Fault::Worker(worker) => world.crash_worker(worker, crash),
        Fault::Link(worker) => {
            world.set_link(worker, chance.pick(&[Link::Cut, Link::Mute, Link::Deaf, Link::Held]));
        }
    }
    mended.push((until, fault));
}

/// Mends what is due, or everything.
fn mend(world: &mut World, mended: &mut Vec<(Duration, Fault)>, due: Option<Duration>) {
    let (now, later) = mended.drain(..).partition(|(until, _)| due.is_none_or(|due| *until <= due));
    *mended = later;
    let now: Vec<(Duration, Fault)> = now;
    for (_, fault) in now {
        match fault {
            Fault::Coordinator if world.coordinator_is_up() => world.spare(),
            Fault::Coordinator => world.bounce_coordinator(),
            Fault::Worker(worker) => world.bounce_worker(worker),
            Fault::Link(worker) => world.set_link(worker, Link::Whole),
        }
    }
}

#[test]
fn one_seed_is_one_run() {
    if let Some(path) = std::env::var_os(TRACE) {
        let world = run(&small(2), trouble);
        std::fs::write(path, world.book.pages().trace.join("\n")).expect("a trace");
        return;
    }
    let agree = || {
        let (one, other) = (trace_of_another_process(), trace_of_another_process());
        assert!(one.lines().count() > 50, "{one}");
        one == other
    };
    assert!((0..MOST_PAIRS).any(|_| agree()), "{MOST_PAIRS} pairs of runs of one seed part");
}

/// tokio ends the tasks of a host that crashes in an order that depends on all tasks of the process before.
fn trace_of_another_process() -> String {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("trace");
    let mut test = Command::new(std::env::current_exe().expect("this program"));
    let ran =
        test.args(["--exact", "mix::one_seed_is_one_run"]).env(TRACE, &path).output().expect("it starts");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    std::fs::read_to_string(path).expect("a trace")
}

#[test]
fn whatever_happens_every_task_is_done_once_and_what_was_accepted_stays() {
    let missing = RefCell::new(BTreeSet::from(KINDS));
    each_seed(3, setting, trouble, |world, _| {
        let pages = world.book.pages();
        let happened = |(what, how): &(&str, &str)| {
            pages.trace.iter().any(|line| line.contains(what) && line.contains(how))
        };
        missing.borrow_mut().retain(|kind| !happened(kind));
        Ok(())
    });
    assert!(missing.borrow().is_empty(), "faults that never happened: {missing:?}");
}
