//! What each mode would cost, before one is chosen.

use wavegate_engine::{
    TaskIx,
    estimate::{Estimates, estimates},
    spec::{Budget, MergeMode, OnLost, PlanSpec, ProjectSpec, TaskSpec, ThorKind, WaveSpec, WorkSpec},
};

/// One wave; each task depends on the tasks at these places.
fn one_wave(tasks: &[&[u32]]) -> PlanSpec {
    let wave = WaveSpec {
        key: "W1".to_owned(),
        name: String::new(),
        depends_on: Vec::new(),
        verify: Vec::new(),
        merge_mode: MergeMode::Sync,
        tasks: tasks.iter().map(|depends_on| task(depends_on)).collect(),
    };
    PlanSpec {
        name: "greet".to_owned(),
        description: String::new(),
        project: ProjectSpec::default(),
        vars: Default::default(),
        requirements: Vec::new(),
        constraints: Vec::new(),
        budget: Budget::default(),
        thor: ThorKind::Worker,
        waves: vec![wave],
    }
}

fn task(depends_on: &[u32]) -> TaskSpec {
    TaskSpec {
        key: "T".to_owned(),
        title: String::new(),
        work: WorkSpec::Do("greet".to_owned()),
        runner: "claude".to_owned(),
        model: None,
        effort: 2,
        priority: 1,
        kind: String::new(),
        files: Vec::new(),
        verify: Vec::new(),
        criteria: Vec::new(),
        depends_on: depends_on.iter().copied().map(TaskIx).collect(),
        requires: Vec::new(),
        timeout_ms: 1,
        max_failures: 3,
        on_lost: OnLost::Retry,
        lost_after_ms: None,
        setup: Vec::new(),
        permissions: None,
        env: Vec::new(),
        skip_if: None,
    }
}

#[test]
fn estimates_follow_the_rule_of_thumb() {
    let Estimates { standard_tokens, max_tokens, agent_tasks, .. } =
        estimates(&one_wave(&[&[], &[], &[], &[]]));
    assert_eq!((standard_tokens, max_tokens, agent_tasks), (180_000, 170_000, 4));
}

#[test]
fn max_has_something_to_gain_where_more_than_three_tasks_can_run_at_once() {
    // B and C wait for A only, so that they can run beside D and E.
    assert_eq!(estimates(&one_wave(&[&[], &[0], &[0], &[], &[]])).advice, None);
}

#[test]
fn max_gains_nothing_for_a_chain() {
    let advice = estimates(&one_wave(&[&[], &[0], &[1], &[2], &[3]])).advice;
    assert!(advice.expect("nothing to gain").contains("more than 1 task at once"));
}
