//! Who is granted what, in which order.

use wavegate_engine::{HoldReason, Mode, Role};

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
    assert_eq!(world.hold("B"), Some(HoldReason::Dependencies(vec!["A".to_owned()])));
    world.succeed("A");
    world.granted_only(&["B"]);
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
