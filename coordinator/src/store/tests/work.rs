//! The text of a grant.

use wavegate_engine::{
    Change, Counsel, Decision, Finding, IntegrateResult, LeaseId, LeaseRow, LeaseWork, Outcome, Purpose,
    TaskIx, TaskResult, TaskRow, TaskState, Tier, Verdict, VerdictRow, VerdictSource, WaveIx, WorkBrief,
    spec::WorkspaceKind,
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

/// What the coordinator's model says to some tasks, the n-th time.
fn advise(world: &mut World, n: u32, purpose: Purpose, note: &str, tasks: &[(&str, &str)]) {
    let first = task_lease(wavegate_engine::PlanId(1), TaskIx(0), 1);
    let (id, granted) =
        (wavegate_engine::LeaseId(900 + u128::from(n)), wavegate_engine::Utc(100 + i64::from(n)));
    let row = LeaseRow { id, granted, work: LeaseWork::Coordinate { purpose, tier: Tier::Opus }, ..first };
    let tasks = tasks.iter().map(|(task, text)| finding(task, text)).collect();
    let counsel = Counsel { note: note.to_owned(), tasks };
    world.write(&[Change::LeaseGranted(row), Change::Counsel { lease: id, counsel }]);
}

#[test]
fn an_agent_hears_the_newest_briefing_and_the_newest_triage_that_is_about_its_task() {
    let (mut world, plan, _) = World::with_lease();
    let mut spec = greet().waves[0].tasks[0].clone();
    spec.work = wavegate_engine::spec::WorkSpec::Do("write".to_owned());
    let sql = world.stranger();
    sql.execute(
        "UPDATE wg_tasks SET spec = ?1 WHERE plan_id = ?2 AND key = 'T1-01'",
        (serde_json::to_string(&spec).unwrap(), plan.0),
    )
    .unwrap();
    let heard = |world: &mut World| {
        let now = crate::store::work::load_task(&world.stranger(), plan, "T1-01").unwrap().unwrap();
        now.story.counsel.map(|counsel| (counsel.note, counsel.tasks[0].text.clone()))
    };
    let both = |note: &str, text: &str| Some((note.to_owned(), text.to_owned()));
    assert_eq!(heard(&mut world), None);
    advise(&mut world, 1, Purpose::Briefing, "old names", &[("T1-01", "x")]);
    advise(&mut world, 2, Purpose::Briefing, "shared names", &[("T1-02", "y")]);
    assert_eq!(heard(&mut world), both("shared names", ""));
    advise(
        &mut world,
        3,
        Purpose::Triage,
        "mind the brackets",
        &[("T1-01", "close them"), ("T1-02", "you too")],
    );
    advise(&mut world, 4, Purpose::Triage, "only of the other", &[("T1-02", "again")]);
    assert_eq!(heard(&mut world), both("shared names\n\nmind the brackets", "close them"));
    advise(&mut world, 5, Purpose::Triage, "of all", &[]);
    assert_eq!(heard(&mut world), both("shared names\n\nof all", ""));
}

#[test]
fn integration_names_results_by_their_tasks_keys() {
    let (mut world, plan, _) = World::with_lease();
    let lease = LeaseRow { work: LeaseWork::Integrate, ..task_lease(plan, TaskIx(0), 1) };
    let result = IntegrateResult {
        task: TaskIx(1),
        lease: LeaseId(7),
        attempt: 2,
        changes: Some(digest(3)),
        base: Some(digest(4)),
        built_on: vec![TaskIx(0)],
    };
    let brief = WorkBrief::Integrate { base: Some(digest(5)), results: vec![result] };
    let result = ResultToIntegrate {
        key: "T1-02".to_owned(),
        title: "Title of T1-02".to_owned(),
        summary: String::new(),
        lease: LeaseId(7),
        attempt: 2,
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
        awaits_counsel: wavegate_engine::AwaitsCounsel::No,
        budget: Default::default(),
        spent: Default::default(),
        state: TaskState::Submitted,
        attempt: 1,
        failures: 0,
        losses: 0,
        rejections: 0,
        evidence_only: false,
        built_on: Vec::new(),
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
