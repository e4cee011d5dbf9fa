//! Who is granted what, in which order.

use wavegate_engine::{HoldReason, Mode, Role, WaveIx};

use crate::environment::*;

#[test]
fn grants_go_by_priority_and_then_plan_order_over_all_plans() {
    let mut world = World::new();
    world.start(one_wave(&["A", "B"]).task("B", |task| task.priority = 0), Mode::Max);
    world.start(one_wave(&["C", "D"]).task("D", |task| task.priority = 0), Mode::Max);
    world.connect(WorkerBuilder::new("w1"));
    let what: Vec<_> = world.take_grants().into_iter().map(|grant| grant.what).collect();
    assert_eq!(what, ["B", "D", "A", "C"]);
}

#[test]
fn grants_are_numbered_in_a_session() {
    let mut world = World::running(one_wave(&["A", "B"]), Mode::Standard);
    let numbers: Vec<_> = world.take_grants().into_iter().map(|grant| grant.number).collect();
    assert_eq!(numbers, [1, 2]);
}

#[test]
fn the_worker_with_most_free_slots_is_chosen_and_a_full_one_never() {
    let mut world = World::new();
    world.connect(WorkerBuilder::new("w1").slots(1));
    world.connect(WorkerBuilder::new("w2").slots(2));
    world.start(one_wave(&["A", "B", "C", "D"]), Mode::Max);
    let workers: Vec<_> = world.take_grants().into_iter().map(|grant| grant.worker).collect();
    assert_eq!(workers, ["w2", "w1", "w2"]);
    assert_eq!(world.hold("D"), Some(HoldReason::NoSlot));
}

#[test]
fn a_task_waits_for_what_it_depends_on() {
    let mut world = World::running(chain(&["A", "B"]), Mode::Max);
    world.granted_only(&["A"]);
    assert_eq!(world.hold("B"), Some(HoldReason::Dependencies(listed(&["A"], 0))));
    world.succeed("A");
    world.granted_only(&["B"]);
}

#[test]
fn of_very_much_that_something_waits_for_the_first_twenty_are_named() {
    let keys: Vec<_> = (10..35).map(|at| at.to_string()).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let all: Vec<_> = keys.iter().copied().chain(["Z"]).collect();
    let mut world = World::running(one_wave(&all).needs("Z", &keys), Mode::Standard);
    assert_eq!(world.hold("Z"), Some(HoldReason::Dependencies(listed(&keys[..20], 5))));
    let words = world.hold("Z").expect("it waits").to_string();
    assert!(words.ends_with("28, 29 and 5 more not submitted"), "{words}");
    world.succeed("10");
    assert_eq!(world.hold("Z"), Some(HoldReason::Dependencies(listed(&keys[1..21], 4))));

    let waves = keys.iter().fold(plan(), |plan, key| plan.free_wave(key, &[&format!("T{key}")]));
    let last = |shape: &mut wavegate_engine::spec::PlanShape| {
        shape.waves[25].depends_on = (0..25).map(WaveIx).collect();
    };
    let world = World::running(waves.wave("last", &["Z"]).with(last), Mode::Standard);
    assert_eq!(world.hold("Z"), Some(HoldReason::WavesBefore(listed(&keys[..20], 5).into())));
    let words = world.wave_hold(WaveIx(25)).expect("it waits").to_string();
    assert!(words.ends_with("28, 29 and 5 more not done"), "{words}");
}

#[test]
fn thor_comes_before_new_tasks() {
    let mut world = World::new();
    world.connect(WorkerBuilder::new("w1").slots(1).roles(&[Role::Executor, Role::Thor]));
    world.start(plan().free_wave("W1", &["A"]).free_wave("W2", &["B"]), Mode::Max);
    world.granted_only(&["A"]);
    world.succeed("A");
    world.granted_only(&["validate W1"]);
}
