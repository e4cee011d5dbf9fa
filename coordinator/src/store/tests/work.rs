//! The text of a grant.

use wavegate_engine::{
    Change, Decision, Finding, IntegrateResult, LeaseRow, LeaseWork, Outcome, TaskIx, TaskResult, TaskRow,
    TaskState, Verdict, VerdictRow, VerdictSource, WaveIx, WorkBrief, spec::WorkspaceKind,
};

use super::world::{World, digest, greet, report, task_lease};
use crate::driver::{ResultToIntegrate, Store as _, StoreError, TaskToCheck, WorkBody};

fn finding(task: &str, text: &str) -> Finding {
    Finding { task: task.to_owned(), text: text.to_owned() }
}

fn verdict(world: &mut World, source: VerdictSource, decision: Decision, findings: &[(&str, &str)]) {
    let findings = findings.iter().map(|(task, text)| finding(task, text)).collect();
    let row = VerdictRow {
        plan: wavegate_engine::PlanId(1),
        wave: WaveIx(0),
        round: 1,
        candidate: None,
        source,
        verdict: Verdict::bare(decision, findings),
        by: "thor".to_owned(),
        note: String::new(),
    };
    world.write(&[Change::Verdict(Box::new(row))]);
}

fn findings_of(world: &mut World, task: u32) -> Vec<Finding> {
    let lease = task_lease(wavegate_engine::PlanId(1), TaskIx(task), 2);
    let brief = WorkBrief::Task { budget_micro_usd: None, own: None, base: None, layers: vec![] };
    let body = world.store().load_work(&lease, &brief).unwrap().body;
    let WorkBody::Task { story, .. } = body else { panic!("expected a task, found {body:?}") };
    story.findings
}

#[test]
fn the_work_of_a_task_is_its_text_and_the_plans_vars() {
    let (mut world, plan, lease) = World::with_lease();
    let brief = WorkBrief::Task {
        budget_micro_usd: None,
        own: None,
        base: Some(digest(1)),
        layers: vec![digest(2), digest(3)],
    };
    let work = world.store().load_work(&lease, &brief).unwrap();
    assert_eq!((work.plan, work.plan_name.as_str(), work.wave.as_str()), (plan, "greet", "W1"));
    assert_eq!((work.vars, work.workspace), (greet().vars, WorkspaceKind::Dir));
    let spec = Box::new(greet().waves[0].tasks[0].clone());
    let layers = vec![digest(2), digest(3)];
    assert_eq!(
        work.body,
        WorkBody::Task {
            spec,
            base: Some(digest(1)),
            layers,
            own: None,
            budget_micro_usd: None,
            story: Box::default(),
        }
    );
}

#[test]
fn a_task_that_was_sent_back_gets_the_findings_of_the_newest_round_that_names_it() {
    let (mut world, _, _) = World::with_lease();
    use Decision::{Approved, Challenged, Rejected};
    use VerdictSource::{Integration, Override, Thor};
    verdict(&mut world, Thor, Rejected, &[("T1-01", "first"), ("T1-02", "other")]);
    assert_eq!(findings_of(&mut world, 0), vec![finding("T1-01", "first")]);
    verdict(&mut world, Integration, Challenged, &[("T1-01", "b"), ("", "all"), ("T1-01", "a")]);
    let told = vec![finding("T1-01", "b"), finding("", "all"), finding("T1-01", "a")];
    assert_eq!(findings_of(&mut world, 0), told);
    assert_eq!(findings_of(&mut world, 1), vec![finding("", "all")]);
    // Rounds that do not send it back, or name others, change nothing.
    verdict(&mut world, Thor, Approved, &[("T1-01", "praise")]);
    verdict(&mut world, Thor, Rejected, &[("T1-02", "only the other")]);
    assert_eq!(findings_of(&mut world, 0), told);
    verdict(&mut world, Override, Rejected, &[("T1-01", "a person's note")]);
    assert_eq!(findings_of(&mut world, 0), vec![finding("T1-01", "a person's note")]);
}

#[test]
fn integration_names_results_by_their_tasks_keys() {
    let (mut world, plan, _) = World::with_lease();
    let lease = LeaseRow { work: LeaseWork::Integrate, ..task_lease(plan, TaskIx(0), 1) };
    let result = IntegrateResult {
        task: TaskIx(1),
        changes: Some(digest(3)),
        base: Some(digest(4)),
        built_on: vec![TaskIx(0)],
    };
    let brief = WorkBrief::Integrate { base: Some(digest(5)), results: vec![result] };
    let result = ResultToIntegrate {
        key: "T1-02".to_owned(),
        changes: Some(digest(3)),
        base: Some(digest(4)),
        built_on: vec!["T1-01".to_owned()],
    };
    let expected = WorkBody::Integrate { base: Some(digest(5)), results: vec![result] };
    assert_eq!(world.store().load_work(&lease, &brief).unwrap().body, expected);
}

#[test]
fn validation_brings_each_task_with_the_claim_of_the_result_that_counts() {
    let (mut world, plan, lease) = World::with_lease();
    let result =
        TaskResult { lease: lease.id, attempt: 1, worker: lease.worker.clone(), changes: None, base: None };
    let row = TaskRow {
        awaits_counsel: false,
        budget: Default::default(),
        spent: Default::default(),
        state: TaskState::Submitted,
        attempt: 1,
        failures: 0,
        losses: 0,
        rejections: 0,
        evidence_only: false,
        own: None,
        result: Some(result),
    };
    world.write(&[
        Change::Result { lease: lease.id, accepted: true, report: Box::new(report(Outcome::Succeeded)) },
        Change::Task { plan, task: TaskIx(0), was: "pending", row },
    ]);
    let candidate = digest(7);
    let lease = LeaseRow { work: LeaseWork::Validate { candidate }, ..lease };
    let brief = WorkBrief::Validate {
        by_agent: false,
        candidate,
        tasks: vec![(TaskIx(0), Some(digest(3))), (TaskIx(1), None)],
    };
    let specs = greet().waves[0].tasks.clone();
    let tasks = vec![
        TaskToCheck {
            output_json: "{}".to_owned(),
            spec: specs[0].clone(),
            claim: "Said hello".to_owned(),
            changes: Some(digest(3)),
        },
        TaskToCheck {
            output_json: String::new(),
            spec: specs[1].clone(),
            claim: String::new(),
            changes: None,
        },
    ];
    let verify = vec!["test -e W1".to_owned()];
    let found = world.store().load_work(&lease, &brief).unwrap().body;
    assert_eq!(found, WorkBody::Validate { by_agent: false, candidate, tasks, verify });
}

#[test]
fn a_brief_of_another_kind_than_its_lease_is_refused() {
    let (mut world, _, lease) = World::with_lease();
    let brief = WorkBrief::Integrate { base: None, results: vec![] };
    let error = world.store().load_work(&lease, &brief).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
}
