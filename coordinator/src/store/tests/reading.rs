//! What people and tools are shown.

use wavegate_engine::{
    Change, Event, EventKind, LeaseRow, LeaseState, LeaseWork, Outcome, PlanId, Report, TaskIx, TaskRow,
    TaskState, Usage, Utc, WaveIx, WaveRow, WaveState,
};

use super::world::{NOW, World, approve, greet, report, task_lease, worker};
use crate::driver::Store as _;

fn event(kind: EventKind, plan: Option<PlanId>) -> Change {
    Change::Event(Event {
        kind,
        plan,
        wave: None,
        task: None,
        lease: None,
        worker: None,
        actor: "coordinator".to_owned(),
        reason: String::new(),
        text: String::new(),
    })
}

#[test]
fn a_plan_is_found_by_its_id_or_its_name_and_the_id_comes_first() {
    let mut world = World::new();
    let mut named = |name: &str| {
        let mut spec = greet();
        spec.name = name.to_owned();
        world.submit(&spec)
    };
    let (first, second, third) = (named("2"), named("two"), named("17"));
    let find = |plan: &str| world.opened.reader.plan_id(plan).unwrap();
    assert_eq!(find("1"), Some(first));
    assert_eq!(find("2"), Some(second));
    assert_eq!(find("two"), Some(second));
    assert_eq!(find("17"), Some(third));
    assert_eq!((find("18"), find(""), find("two ")), (None, None, None));
}

#[test]
fn a_summary_counts_waves_tasks_and_everything_that_was_used() {
    let (mut world, plan, lease) = World::with_lease();
    let other = world.submit(&greet());
    let task = |ix, state| {
        let row = TaskRow {
            awaits_counsel: wavegate_engine::AwaitsCounsel::No,
            budget: Default::default(),
            spent: Default::default(),
            state,
            attempt: 1,
            failures: 0,
            losses: 0,
            rejections: 0,
            evidence_only: false,
            built_on: Vec::new(),
            own: None,
            result: None,
        };
        Change::Task { plan, task: TaskIx(ix), was: "pending", row }
    };
    let wave = WaveRow {
        counsel: None,
        counsel_failures: 0,
        state: WaveState::Done,
        round: 1,
        candidate: None,
        target: None,
        target_moves: 0,
        integrate_failures: 0,
        validate_failures: 0,
    };
    let second = LeaseRow { work: LeaseWork::Integrate, ..task_lease(plan, TaskIx(1), 1) };
    let result = |lease: &LeaseRow, accepted, usage| {
        let report = Box::new(Report { usage, ..report(Outcome::Succeeded) });
        Change::Result { lease: lease.id, accepted, report }
    };
    let used = Usage { tokens_in: 5, tokens_out: 6, tokens_cached: 7, cost_micro_usd: None };
    world.write(&[
        task(0, TaskState::Leased),
        task(1, TaskState::Done),
        task(2, TaskState::Skipped),
        Change::Wave { plan, wave: WaveIx(0), was: "waiting", row: wave },
        Change::LeaseGranted(second.clone()),
        result(&lease, true, used),
        result(&second, false, Usage { tokens_in: u64::MAX, tokens_out: 1, ..Usage::default() }),
    ]);
    let found = world.opened.reader.plans().unwrap();
    assert_eq!(found.iter().map(|plan| plan.id).collect::<Vec<_>>(), [other, plan]);
    let one = &found[1];
    assert_eq!(world.opened.reader.summary(plan).unwrap().as_ref(), Some(one));
    assert_eq!((one.waves, one.waves_done, one.tasks), (2, 1, 3));
    assert_eq!((one.tasks_done, one.tasks_running, one.created), (2, 1, NOW));
    // A worker may claim any number: it is cut, not an error.
    let most = u64::try_from(i64::MAX).unwrap();
    assert_eq!(one.usage, Usage { tokens_in: most, tokens_out: 7, tokens_cached: 7, cost_micro_usd: None });
    assert_eq!(found[0].usage, Usage::default());
}

#[test]
fn events_are_read_from_a_number_on_of_one_plan_or_of_all() {
    let mut world = World::new();
    let (one, two) = (world.submit(&greet()), world.submit(&greet()));
    world.write(&[
        event(EventKind::PlanSubmitted, Some(one)),
        event(EventKind::WorkerConnected, None),
        event(EventKind::PlanSubmitted, Some(two)),
        event(EventKind::PlanApproved, Some(one)),
    ]);
    let numbers = |after, plan, limit| -> Vec<i64> {
        let found = world.opened.reader.events(after, plan, limit).unwrap();
        found.iter().map(|event| event.number).collect()
    };
    assert_eq!(numbers(0, None, 100), [1, 2, 3, 4]);
    assert_eq!(numbers(1, None, 2), [2, 3]);
    assert_eq!(numbers(0, Some(one), 100), [1, 4]);
    assert_eq!(numbers(1, Some(one), 100), [4]);
    assert_eq!(numbers(4, Some(one), 100), [] as [i64; 0]);
}

#[test]
fn workers_are_shown_with_their_open_leases_and_forgotten_ones_by_their_id() {
    let (mut world, plan, lease) = World::with_lease();
    world
        .write(&[Change::Worker(worker("worker-1", "anvil")), Change::Worker(worker("worker-2", "bellows"))]);
    let found = world.opened.reader.workers().unwrap();
    assert_eq!(found.iter().map(|worker| worker.row.name.as_str()).collect::<Vec<_>>(), ["anvil", "bellows"]);
    let open = &found[0].leases[0];
    assert_eq!((&open.lease, open.plan_name.as_str()), (&lease, "greet"));
    assert_eq!((open.wave.as_str(), open.task.as_str()), ("W1", "T1-01"));
    assert!(found[1].leases.is_empty());
    assert_eq!(world.opened.reader.worker_id("anvil").unwrap().as_deref(), Some("worker-1"));
    assert_eq!(world.opened.reader.worker_id("worker-2").unwrap().as_deref(), Some("worker-2"));
    assert_eq!(world.opened.reader.worker_id("tongs").unwrap(), None);

    world.write(&[Change::WorkerForgotten(lease.worker.clone())]);
    let detail = world.opened.reader.plan(plan).unwrap().unwrap();
    assert_eq!(detail.waves[0].tasks[0].attempts[0].worker_name, "worker-1");
}

#[test]
fn attempts_and_duties_stand_at_their_tasks_and_waves_in_order_even_when_the_clock_was_set_back() {
    let (mut world, plan, first) = World::with_lease();
    let lost = LeaseRow { state: LeaseState::Lost, ended: Some(NOW), ..first.clone() };
    let again = LeaseRow { granted: Utc(NOW.0 - 5 * 3_600_000), ..task_lease(plan, TaskIx(0), 2) };
    let other = task_lease(plan, TaskIx(1), 1);
    let duty = LeaseRow { work: LeaseWork::Integrate, ..task_lease(plan, TaskIx(9), 1) };
    world.write(&[
        Change::Lease { was: "granted", row: lost.clone() },
        Change::LeaseGranted(duty.clone()),
        Change::LeaseGranted(again.clone()),
        Change::LeaseGranted(other.clone()),
    ]);
    let detail = world.opened.reader.plan(plan).unwrap().unwrap();
    let leases = |of: &[crate::store::reader::LeaseDetail]| -> Vec<LeaseRow> {
        of.iter().map(|it| it.lease.clone()).collect()
    };
    assert_eq!(leases(&detail.waves[0].tasks[0].attempts), [lost, again]);
    assert_eq!(leases(&detail.waves[0].tasks[1].attempts), [other]);
    assert_eq!(leases(&detail.waves[0].duties), [duty]);
    assert!(detail.waves[1].duties.is_empty());
    let task_leases = |task| {
        let found = world.opened.reader.task_leases(plan, task).unwrap();
        found.iter().map(|it| (it.task.clone(), it.lease.id.0)).collect::<Vec<_>>()
    };
    let (one, two) = ("T1-01".to_owned(), "T1-02".to_owned());
    assert_eq!(task_leases(Some("T1-01")), [(one.clone(), 1), (one.clone(), 2)]);
    assert_eq!(task_leases(None), [(one.clone(), 1), (one, 2), (two, 1 << 64 | 1)]);
    assert_eq!(task_leases(Some("T9")), []);
    assert!(world.opened.reader.plan(PlanId(9)).unwrap().is_none());
}

#[test]
fn readers_see_what_is_committed_while_a_transaction_is_open() {
    let mut world = World::new();
    let plan = world.submit(&greet());
    world.store().begin().unwrap();
    world.store().write(&approve(plan), NOW).unwrap();
    let state = |world: &World| world.opened.reader.summary(plan).unwrap().unwrap().row.state.name();
    assert_eq!(state(&world), "awaiting_approval");
    world.store().commit().unwrap();
    assert_eq!(state(&world), "running");
}

#[test]
fn words_and_places_that_mean_nothing_are_errors_that_name_their_column() {
    let (mut world, plan, _) = World::with_lease();
    let stranger = world.stranger();
    stranger.execute("UPDATE wg_waves SET state = 'dancing'", []).unwrap();
    let error = world.store().load().unwrap_err().to_string();
    assert!(error.ends_with("state: found \"dancing\""), "{error}");
    assert_eq!(world.opened.reader.plan(plan).unwrap_err().to_string(), error);

    stranger
        .execute_batch("UPDATE wg_waves SET state = 'running'; UPDATE wg_leases SET task_ix = 99")
        .unwrap();
    let error = world.store().load().unwrap_err().to_string();
    assert!(error.contains("plan 1 points to waves or tasks that are not there"), "{error}");
}
