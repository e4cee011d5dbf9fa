//! Plans that are stored in pieces.

use wavegate_engine::{Change, PlanId};

use super::world::{NOW, World, greet, submission, task, wave};
use crate::driver::Store as _;

fn rows(world: &World, table: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {table}");
    world.stranger().query_row(&count, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_repeated_name_gets_a_number() {
    let mut world = World::new();
    let names: Vec<_> = (0..3).map(|_| world.store().stage(&submission(&greet()), NOW).unwrap().1).collect();
    assert_eq!(names, ["greet", "greet (2)", "greet (3)"]);
    let mut other = greet();
    other.name = "greet (2)".to_owned();
    assert_eq!(world.store().stage(&submission(&other), NOW).unwrap().1, "greet (2) (2)");
}

#[test]
fn a_staged_plan_is_seen_by_nobody_until_it_is_switched_on() {
    let mut world = World::new();
    let spec = greet();
    let (plan, name) = world.store().stage(&submission(&spec), NOW).unwrap();
    assert_eq!(world.store().stage_tasks(plan, &spec, 0, 100).unwrap(), None);
    assert!(world.store().load().unwrap().plans.is_empty());
    assert!(world.opened.reader.plans().unwrap().is_empty());
    assert_eq!(world.opened.reader.plan_id(&name).unwrap(), None);
    assert_eq!(rows(&world, "plans"), 0);

    world.write(&[Change::SwitchOn(plan)]);
    assert_eq!(world.load().shape.tasks.len(), 3);
    assert_eq!(world.opened.reader.plan_id("greet").unwrap(), Some(plan));
    assert_eq!(rows(&world, "plans"), 1);
}

#[test]
fn pieces_of_every_size_make_the_same_plan() {
    let mut spec = greet();
    spec.waves.push(wave("W3", vec![], (0..5).map(|at| task(&format!("T3-0{at}"))).collect()));
    for limit in 1..10 {
        let mut world = World::new();
        let (plan, _) = world.store().stage(&submission(&spec), NOW).unwrap();
        let mut steps = Vec::new();
        let mut from = Some(0);
        while let Some(at) = from {
            steps.push(at);
            from = world.store().stage_tasks(plan, &spec, at, limit).unwrap();
        }
        assert_eq!(steps, (0..8).step_by(limit).collect::<Vec<_>>());
        world.write(&[Change::SwitchOn(plan)]);
        assert_eq!(world.load().shape, spec.shape(plan, "greet".to_owned(), submission(&spec).base));
        assert_eq!(world.opened.reader.spec(plan).unwrap(), Some(spec.clone()));
    }
}

#[test]
fn what_was_never_switched_on_is_gone_at_the_next_start_and_its_number_is_not_used_again() {
    let mut world = World::new();
    let spec = greet();
    let kept = world.submit(&spec);
    let (left, _) = world.store().stage(&submission(&spec), NOW).unwrap();
    world.store().stage_tasks(left, &spec, 0, 2).unwrap();
    let mut world = world.crash();
    for (table, expected) in [("wg_plans", 1), ("wg_plan_texts", 1), ("wg_waves", 2), ("wg_tasks", 3)] {
        assert_eq!(rows(&world, table), expected, "{table}");
    }
    assert_eq!(world.load().shape.id, kept);
    assert_eq!(world.submit(&spec), PlanId(left.0 + 1));
}
