//! What each mode would cost, before one is chosen.

use wavegate_engine::{
    BlendedPrices, TaskIx,
    estimate::{Estimates, estimates},
    model::Family,
    spec::{
        Budget, MergeMode, OnLost, Permissions, PlanSpec, ProjectSpec, TaskSpec, ThorKind, WaveSpec, WorkSpec,
    },
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
        thor_agent: Default::default(),
        coordinator_runner: "claude".to_owned(),
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
        permissions: Permissions::default(),
        allowed_tools: Vec::new(),
        budget: Budget::default(),
        env: Vec::new(),
        skip_if: None,
    }
}

fn prices() -> BlendedPrices {
    let micro_usd_per_million = [(Family::Sonnet, 3_000_000), (Family::Opus, 6_000_000)].into();
    BlendedPrices { micro_usd_per_million }
}

#[test]
fn dollars_are_the_tokens_at_the_price_of_each_model() {
    let four = estimates(&one_wave(&[&[], &[], &[], &[]]), &prices());
    assert_eq!(four.standard_micro_usd, Some(180_000 * 3));
    assert_eq!(four.max_micro_usd, Some(120_000 * 3 + 50_000 * 6));
    let unknown = estimates(&one_wave(&[&[]]), &BlendedPrices::default());
    assert_eq!((unknown.standard_micro_usd, unknown.max_micro_usd), (None, None));
}

#[test]
fn for_a_small_wave_max_is_the_cheaper_one() {
    let one = estimates(&one_wave(&[&[], &[], &[], &[]]), &BlendedPrices::default());
    assert!(one.max_tokens < one.standard_tokens);
}

#[test]
fn estimates_follow_the_rule_of_thumb() {
    let Estimates { standard_tokens, max_tokens, agent_tasks, .. } =
        estimates(&one_wave(&[&[], &[], &[], &[]]), &prices());
    assert_eq!((standard_tokens, max_tokens, agent_tasks), (180_000, 170_000, 4));
}

#[test]
fn max_has_something_to_gain_where_more_than_three_tasks_can_run_at_once() {
    // B and C wait for A only, so that they can run beside D and E.
    assert_eq!(estimates(&one_wave(&[&[], &[0], &[0], &[], &[]]), &prices()).advice, None);
}

#[test]
fn max_gains_nothing_for_a_chain() {
    let advice = estimates(&one_wave(&[&[], &[0], &[1], &[2], &[3]]), &prices()).advice;
    assert!(advice.expect("nothing to gain").contains("more than 1 task at once"));
}
