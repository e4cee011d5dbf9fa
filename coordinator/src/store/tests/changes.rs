//! Every change that the engine can ask for, written and read back equal.

use wavegate_engine::{
    Account, Change, Decision, Event, EventKind, Evidence, Finding, LeaseId, LeaseRow, LeaseState, LeaseWork,
    Mode, ModelUsage, Outcome, PauseReason, PlanId, PlanRow, PlanState, Purpose, ReleaseReason, TaskBlock,
    TaskIx, TaskResult, TaskRow, TaskState, Tier, Usage, Utc, Verdict, VerdictRow, VerdictSource, WaveBlock,
    WaveIx, WaveRow, WaveState, WorkerId, estimate::KeptEstimates, spec::Budget,
};

use super::world::{
    NOW, World, approve, digest, greet, report, running, submission, task_lease, usage, worker,
};
use crate::driver::Store as _;

#[test]
fn a_submitted_plan_is_loaded_with_its_shape_and_the_rows_that_it_begins_with() {
    let mut world = World::new();
    let plan = world.submit(&greet());
    let found = world.load();

    let submitted = submission(&greet());
    assert_eq!(found.shape, greet().shape(plan, "greet".to_owned(), submitted.base));
    assert_eq!(
        found.row,
        PlanRow {
            state: PlanState::AwaitingApproval,
            mode: None,
            tier: None,
            tree: submitted.base,
            spent: Usage::default(),
            budget: Budget { tokens: Some(1000), micro_usd: None },
            approved: None,
            ended: None,
        }
    );
    let wave = WaveRow {
        counsel: None,
        counsel_failures: 0,
        state: WaveState::Waiting,
        round: 1,
        candidate: None,
        target: None,
        target_moves: 0,
        integrate_failures: 0,
        validate_failures: 0,
    };
    assert_eq!(found.waves, vec![wave.clone(), wave]);
    assert_eq!(found.tasks, vec![pending(); 3]);
    assert_eq!(found.leases, vec![]);
    assert_eq!(found.requested_mode, None);
}

fn pending() -> TaskRow {
    TaskRow {
        awaits_counsel: wavegate_engine::AwaitsCounsel::No,
        budget: Default::default(),
        spent: Default::default(),
        state: TaskState::Pending { not_before: None },
        attempt: 0,
        failures: 0,
        losses: 0,
        rejections: 0,
        evidence_only: false,
        built_on: Vec::new(),
        own: None,
        result: None,
    }
}

#[test]
fn every_state_of_a_plan_is_read_back_with_its_reason_and_numbers() {
    let mut world = World::new();
    let plan = world.submit(&greet());
    let mut states = vec![PlanState::Running, PlanState::Done, PlanState::Cancelled];
    states.extend(PauseReason::ALL.iter().copied().map(PlanState::Paused));
    states.extend(WaveBlock::ALL.iter().copied().map(PlanState::Blocked));
    let mut was = PlanState::AwaitingApproval;
    for state in states {
        let row = PlanRow {
            state,
            mode: Some(Mode::Max),
            tier: Some(Tier::Opus),
            tree: None,
            spent: usage(7),
            budget: Budget { tokens: None, micro_usd: Some(5_000_000) },
            approved: Some(Utc(3)),
            ended: Some(Utc(4)),
        };
        world.write(&[Change::Plan { id: plan, was: was.name(), row: row.clone() }]);
        assert_eq!(world.opened.reader.summary(plan).unwrap().unwrap().row, row);
        was = state;
    }
}

#[test]
fn what_the_coordinators_model_used_is_told_apart_from_a_tasks() {
    let mut world = World::new();
    let plan = world.submit(&greet());
    let account = Some(Account { runner: "claude".to_owned(), fingerprint: "ab".to_owned() });
    let work = LeaseWork::Coordinate { purpose: Purpose::Triage, tier: Tier::Sonnet };
    let of_task = LeaseRow { account: account.clone(), ..task_lease(plan, TaskIx(0), 1) };
    let own = LeaseRow { id: LeaseId(77), account, work, ..of_task.clone() };
    let of_shell = LeaseRow { id: LeaseId(78), account: None, ..task_lease(plan, TaskIx(1), 1) };
    world.write(&[approve(plan)]);
    for lease in [of_task, own, of_shell] {
        let mut told = report(Outcome::Succeeded);
        told.talk.models =
            vec![ModelUsage { model: "sonnet".to_owned(), tokens_in: 1, ..ModelUsage::default() }];
        let result = Change::Result { lease: lease.id, accepted: true, report: Box::new(told) };
        world.write(&[Change::LeaseGranted(lease), result]);
    }
    let stranger = world.stranger();
    let mut agents = stranger.prepare("SELECT agent FROM token_usage ORDER BY id").unwrap();
    let agents: Vec<String> = agents.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(agents, ["claude", "claude/coordinate", "shell"]);
}

#[test]
fn what_was_estimated_at_approval_is_read_back() {
    let mut world = World::new();
    let plan = world.submit(&greet());
    let read = |world: &World| world.opened.reader.summary(plan).unwrap().unwrap().estimates;
    assert_eq!(read(&world), None);
    let kept = KeptEstimates {
        standard_tokens: 90_000,
        max_tokens: 80_000,
        standard_micro_usd: Some(288_000),
        max_micro_usd: None,
        max_coordinator_tokens: 50_000,
        prices_date: "2026-11-23".to_owned(),
    };
    world.write(&[approve(plan), Change::Estimated { plan, estimates: Box::new(kept.clone()) }]);
    assert_eq!(read(&world), Some(kept));
}

#[test]
fn every_state_of_a_wave_is_read_back_with_its_numbers() {
    let mut world = World::new();
    let plan = world.submit(&greet());
    let mut states = vec![
        WaveState::Running,
        WaveState::Integrating,
        WaveState::Validating,
        WaveState::Publishing,
        WaveState::Done,
        WaveState::Cancelled,
        WaveState::Waiting,
    ];
    states.extend(WaveBlock::ALL.iter().copied().map(WaveState::Blocked));
    let mut was = WaveState::Waiting;
    for state in states {
        let row = WaveRow {
            counsel: None,
            counsel_failures: 0,
            state,
            round: 2,
            candidate: Some(digest(4)),
            target: Some(digest(5)),
            target_moves: 3,
            integrate_failures: 4,
            validate_failures: 5,
        };
        world.write(&[Change::Wave { plan, wave: WaveIx(1), was: was.name(), row: row.clone() }]);
        let found = world.load().waves;
        assert_eq!(found[1], row);
        assert_ne!(found[0], row);
        was = state;
    }
}

#[test]
fn every_state_of_a_task_is_read_back_with_its_result() {
    let mut world = World::new();
    let plan = world.submit(&greet());
    let mut states = vec![
        TaskState::Leased,
        TaskState::Submitted,
        TaskState::Skipped,
        TaskState::Cancelled,
        TaskState::Done,
        TaskState::Pending { not_before: None },
        TaskState::Pending { not_before: Some(Utc(9)) },
    ];
    states.extend(TaskBlock::ALL.iter().copied().map(TaskState::Blocked));
    let mut was = TaskState::Pending { not_before: None };
    for (state, has_changes) in states.into_iter().zip([true, false].into_iter().cycle()) {
        let result = TaskResult {
            lease: LeaseId(u128::MAX),
            attempt: 6,
            worker: WorkerId::from("worker-1"),
            changes: has_changes.then(|| digest(6)),
            base: (!has_changes).then(|| digest(7)),
        };
        let row = TaskRow {
            own: None,
            awaits_counsel: wavegate_engine::AwaitsCounsel::No,
            budget: Default::default(),
            spent: Default::default(),
            state,
            attempt: 7,
            failures: 1,
            losses: 2,
            rejections: 3,
            evidence_only: true,
            built_on: Vec::new(),
            result: Some(result),
        };
        world.write(&[Change::Task { plan, task: TaskIx(1), was: was.name(), row: row.clone() }]);
        let found = world.load().tasks;
        assert_eq!(found[1], row);
        assert_eq!(found[0], pending());
        was = state;
    }
}

/// Writes the changes of a lease's life and gives what is loaded of it after each.
fn live(world: &mut World, first: LeaseRow, states: &[LeaseState]) -> Vec<Option<LeaseRow>> {
    let mut row = first;
    states
        .iter()
        .map(|state| {
            let was = row.state.name();
            row.state = *state;
            row.started = Some(Utc(5));
            row.ended = (!state.is_open()).then_some(Utc(6));
            row.progress = usage(20);
            world.write(&[Change::Lease { was, row: row.clone() }]);
            let found = world.load().leases.into_iter().next();
            if let Some(found) = &found {
                assert_eq!(*found, row);
            }
            found
        })
        .collect()
}

const OPEN: [LeaseState; 4] = [
    LeaseState::Running,
    LeaseState::Cancelling,
    LeaseState::Unreachable { cancelling: true },
    LeaseState::Unreachable { cancelling: false },
];

#[test]
fn open_leases_of_every_kind_are_loaded_and_ended_ones_are_not() {
    let works = [
        LeaseWork::Task { task: TaskIx(0), attempt: 1 },
        LeaseWork::Integrate,
        LeaseWork::Validate { candidate: digest(8) },
    ];
    for (reason, work) in ReleaseReason::ALL.iter().zip(works.into_iter().cycle()) {
        let mut world = World::new();
        let plan = world.submit(&greet());
        let lease = LeaseRow { work, base: None, ..task_lease(plan, TaskIx(0), 1) };
        world.write(&[Change::LeaseGranted(lease.clone())]);
        assert_eq!(world.load().leases, vec![lease.clone()]);
        let found = live(&mut world, lease.clone(), &OPEN);
        assert!(found.iter().all(Option::is_some));
        let end = LeaseRow { state: OPEN[3], ..lease };
        assert_eq!(live(&mut world, end, &[LeaseState::Released(*reason)]), vec![None]);
    }
}

#[test]
fn a_finished_lease_is_remembered_with_its_worker_and_whether_its_result_was_accepted() {
    let (mut world, _, lease) = World::with_lease();
    assert_eq!(live(&mut world, lease.clone(), &[LeaseState::Finished]), vec![None]);
    let past = world.store().past_lease(lease.id).unwrap().unwrap();
    assert_eq!((past.row.state, past.accepted), (LeaseState::Finished, None));
    assert_eq!(past.row.worker, lease.worker);

    let report = Box::new(report(Outcome::Succeeded));
    world.write(&[Change::Result { lease: lease.id, accepted: true, report }]);
    assert_eq!(world.store().past_lease(lease.id).unwrap().unwrap().accepted, Some(true));
    assert_eq!(world.store().past_lease(LeaseId(99)).unwrap(), None);
}

#[test]
fn only_the_newest_attempt_of_a_task_is_loaded_when_lost() {
    let (mut world, plan, first) = World::with_lease();
    let lost = LeaseRow { state: LeaseState::Lost, ended: Some(NOW), ..first.clone() };
    let attempt = |attempt, was: &'static str| {
        let row = TaskRow { state: TaskState::Leased, attempt, ..pending() };
        Change::Task { plan, task: TaskIx(0), was, row }
    };
    world.write(&[attempt(1, "pending"), Change::Lease { was: "granted", row: lost.clone() }]);
    assert_eq!(world.load().leases, vec![lost]);

    let second = task_lease(plan, TaskIx(0), 2);
    world.write(&[attempt(2, "leased"), Change::LeaseGranted(second.clone())]);
    assert_eq!(world.load().leases, vec![second]);
}

#[test]
fn results_and_verdicts_are_read_with_everything_that_they_say() {
    let (mut world, plan, lease) = World::with_lease();
    let verdict = Verdict {
        gates: Vec::new(),
        decision: Decision::Rejected,
        findings: vec![
            Finding { task: "T1-01".to_owned(), text: "no greeting".to_owned() },
            Finding { task: String::new(), text: "too long".to_owned() },
        ],
        evidence: vec![Evidence {
            task: "T1-01".to_owned(),
            command: "test -s hello.txt".to_owned(),
            exit_code: None,
            timed_out: true,
            output_tail: "…".to_owned(),
            run_ms: 12,
        }],
    };
    let row = VerdictRow {
        plan,
        wave: WaveIx(0),
        round: 3,
        candidate: Some(digest(9)),
        source: VerdictSource::Thor,
        verdict: verdict.clone(),
        by: "thor-1".to_owned(),
        note: "again".to_owned(),
    };
    let report = report(Outcome::TimedOut);
    world.write(&[
        Change::Worker(worker("worker-1", "anvil")),
        Change::Result { lease: lease.id, accepted: false, report: Box::new(report.clone()) },
        Change::Verdict(Box::new(row)),
    ]);

    let found = world.opened.reader.plan(plan).unwrap().unwrap();
    assert_eq!(found.source, "name: greet\n");
    assert_eq!(found.head.vars, greet().vars);
    let told = &found.waves[0].verdicts[0];
    assert_eq!(
        (told.round, told.candidate, told.source, told.at),
        (3, Some(digest(9)), VerdictSource::Thor, NOW)
    );
    assert_eq!((told.by.as_str(), told.note.as_str()), ("thor-1", "again"));
    assert_eq!(told.verdict, verdict);
    let attempt = &found.waves[0].tasks[0].attempts[0];
    assert_eq!((&attempt.lease, attempt.worker_name.as_str()), (&lease, "anvil"));
    let result = attempt.result.as_ref().unwrap();
    assert_eq!((result.outcome, result.accepted, result.exit_code), (Outcome::TimedOut, false, Some(-1)));
    assert_eq!((result.run_ms, result.usage), (1234, report.usage));
    assert_eq!(
        (&result.summary, &result.output_tail, &result.output_json),
        (&report.summary, &report.output_tail, &report.output_json)
    );
    assert_eq!(found.summary.usage, report.usage);
}

#[test]
fn workers_are_kept_renewed_and_forgotten() {
    let mut world = World::new();
    let mut row = worker("worker-1", "anvil");
    world.write(&[Change::Worker(row.clone())]);
    assert_eq!(world.store().load().unwrap().workers, vec![row.clone()]);

    row.name = "bellows".to_owned();
    row.slots = None;
    row.draining = false;
    row.roles = vec![];
    row.last_seen = Utc(77);
    world.write(&[Change::Worker(row.clone())]);
    assert_eq!(world.store().load().unwrap().workers, vec![row.clone()]);

    world.write(&[Change::WorkerForgotten(row.id)]);
    assert_eq!(world.store().load().unwrap().workers, vec![]);
}

#[test]
fn every_kind_of_event_is_read_back_in_order() {
    let (mut world, plan, lease) = World::with_lease();
    let events: Vec<_> =
        EventKind::ALL.iter().map(|kind| event(*kind, plan, &lease)).map(Change::Event).collect();
    world.write(&events);
    let found = world.opened.reader.events(0, None, 1000).unwrap();
    let kinds: Vec<_> = found.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, EventKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>());
    let first = &found[0];
    assert_eq!(
        (first.wave.as_str(), first.task.as_str(), first.worker.as_str()),
        ("W1", "T1-01", "worker-1")
    );
    assert_eq!(
        (first.plan, first.at, first.lease.as_str()),
        (Some(plan), NOW, lease.id.to_string().as_str())
    );
    assert_eq!(
        (first.actor.as_str(), first.reason.as_str(), first.text.as_str()),
        ("ada", "budget", "enough")
    );
}

fn event(kind: EventKind, plan: PlanId, lease: &LeaseRow) -> Event {
    Event {
        kind,
        plan: Some(plan),
        wave: Some(WaveIx(0)),
        task: Some(TaskIx(0)),
        lease: Some(lease.id),
        worker: Some(lease.worker.clone()),
        actor: "ada".to_owned(),
        reason: "budget".to_owned(),
        text: "enough".to_owned(),
    }
}

#[test]
fn the_table_of_plans_follows_in_the_words_of_existing_tools() {
    let mut world = World::new();
    let plan = world.submit(&greet());
    let status = |world: &World| -> (String, i64, i64, Option<String>, Option<String>) {
        let columns =
            "SELECT status, tasks_total, tasks_done, started_at, completed_at FROM plans WHERE id = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok((
                row.get("status")?,
                row.get("tasks_total")?,
                row.get("tasks_done")?,
                row.get("started_at")?,
                row.get("completed_at")?,
            ))
        };
        world.stranger().query_row(columns, [plan.0], read).unwrap()
    };
    assert_eq!(status(&world), ("todo".to_owned(), 3, 0, None, None));

    let done = TaskRow { state: TaskState::Done, ..pending() };
    let task = |was| Change::Task { plan, task: TaskIx(0), was, row: done.clone() };
    world.write(&[approve(plan), task("pending"), task("done")]);
    let at = Some("2025-06-15 11:06:40".to_owned());
    assert_eq!(status(&world), ("doing".to_owned(), 3, 1, at.clone(), None));

    let row = PlanRow { state: PlanState::Done, ended: Some(NOW), ..running() };
    world.write(&[Change::Plan { id: plan, was: "running", row }]);
    assert_eq!(status(&world), ("done".to_owned(), 3, 1, at.clone(), at));
}
