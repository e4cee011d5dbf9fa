//! The figures of plans whose every time is known.

use wavegate_engine::{
    LeaseId, LeaseRow, LeaseState, LeaseWork, PlanId, PlanRow, PlanState, TaskIx, TaskRow, TaskState, Tier,
    Usage, Utc, WaveIx, WaveRow, WaveState, WorkerId, WorkerRow,
    spec::{TaskSpec, WaveSpec},
};

use super::*;
use crate::store::reader::{PlanSummary, ResultDetail};

/// A lease from grant to end, in seconds, on a worker.
fn lease(work: LeaseWork, worker: &str, from: i64, to: i64) -> LeaseDetail {
    let lease = LeaseRow {
        account: None,
        id: LeaseId(0),
        state: LeaseState::Finished,
        plan: PlanId(1),
        wave: WaveIx(0),
        work,
        round: 1,
        worker: WorkerId::from(worker),
        base: None,
        lost_after_ms: 0,
        granted: Utc(from * 1000),
        started: None,
        ended: Some(Utc(to * 1000)),
        progress: Usage::default(),
    };
    LeaseDetail { lease, worker_name: worker.to_owned(), result: None }
}

/// An attempt that ran from one second to another and ended like this.
fn attempt(from: i64, to: i64, outcome: Outcome) -> LeaseDetail {
    let result = ResultDetail {
        findings: Vec::new(),
        model: String::new(),
        session: String::new(),
        outcome,
        accepted: true,
        exit_code: None,
        summary: String::new(),
        output_tail: String::new(),
        output_json: String::new(),
        run_ms: ms((to - from) * 1000),
        usage: Usage::default(),
    };
    let work = LeaseWork::Task { task: TaskIx(0), attempt: 1 };
    LeaseDetail { result: Some(result), ..lease(work, "w", from, to) }
}

/// An attempt that did it.
fn ran(from: i64, to: i64) -> LeaseDetail {
    attempt(from, to, Outcome::Succeeded)
}

fn spec<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> T {
    serde_json::from_value(json).unwrap()
}

fn task(ix: u32, depends_on: &[u32], attempts: Vec<LeaseDetail>) -> TaskDetail {
    let spec: TaskSpec = spec(serde_json::json!({
        "key": format!("T{ix}"), "title": "", "work": { "run": "true" }, "runner": "shell", "effort": 1,
        "priority": 1, "depends_on": depends_on, "timeout_ms": 1, "max_failures": 3, "on_lost": "retry",
    }));
    let row = TaskRow {
        awaits_counsel: wavegate_engine::AwaitsCounsel::No,
        budget: Default::default(),
        spent: Default::default(),
        state: TaskState::Done,
        attempt: 1,
        failures: 0,
        losses: 0,
        rejections: 0,
        evidence_only: false,
        built_on: Vec::new(),
        own: None,
        result: None,
    };
    TaskDetail { ix: TaskIx(ix), spec, row, attempts }
}

fn wave(depends_on: &[u32], tasks: Vec<TaskDetail>) -> WaveDetail {
    let spec: WaveSpec = spec(serde_json::json!({ "key": "W", "depends_on": depends_on, "tasks": [] }));
    let row = WaveRow {
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
    WaveDetail {
        counsels: Vec::new(),
        spec,
        row,
        tasks,
        verdicts: Vec::new(),
        duties: Vec::new(),
        commits: Vec::new(),
    }
}

fn plan(mode: Mode, waves: Vec<WaveDetail>) -> PlanDetail {
    let row = PlanRow {
        state: PlanState::Done,
        mode: Some(mode),
        tier: Some(Tier::Sonnet),
        tree: None,
        spent: Usage::default(),
        budget: wavegate_engine::spec::Budget::default(),
        approved: None,
        ended: None,
    };
    let summary = PlanSummary {
        estimates: None,
        has_unknown_cost: false,
        pause_text: String::new(),
        id: PlanId(1),
        name: String::new(),
        row,
        waves: 0,
        waves_done: 0,
        tasks: 0,
        tasks_done: 0,
        tasks_running: 0,
        created: Utc(0),
        usage: Usage::default(),
    };
    let source = "name: p\nwaves: [{ id: W, tasks: [{ id: T, run: 'true' }] }]";
    let head = crate::planfile::read(source, "p.yaml", &BTreeMap::new()).spec.unwrap();
    PlanDetail { summary, source: source.to_owned(), base: None, head, waves }
}

fn worker(id: &str, slots: Option<u32>) -> WorkerDetail {
    let row = WorkerRow {
        id: WorkerId::from(id),
        instance: String::new(),
        name: id.to_owned(),
        host: String::new(),
        version: String::new(),
        roles: vec![Role::Executor],
        runners: Vec::new(),
        labels: Vec::new(),
        slots,
        draining: false,
        first_seen: Utc(0),
        last_seen: Utc(0),
    };
    WorkerDetail { row, leases: Vec::new() }
}

/// Twelve tasks of two seconds, three at a time.
fn twelve(mode: Mode) -> PlanDetail {
    let at = |ix: i64| if mode == Mode::Max { 0 } else { ix / 3 * 2 };
    let tasks = (0..12_u32).map(|ix| task(ix, &[], vec![ran(at(ix.into()), at(ix.into()) + 2)]));
    plan(mode, vec![wave(&[], tasks.collect())])
}

#[test]
fn standard_is_bound_by_three_at_a_time_and_max_by_the_longest_task() {
    let workers = [worker("w", None)];
    let standard = figures(&twelve(Mode::Standard), &workers);
    assert_eq!((standard.work_ms, standard.wall_ms, standard.bound_ms), (24_000, 8_000, 8_000));
    assert_eq!((standard.width, standard.peak_leases, standard.critical_path_ms), (3, 3, 2_000));
    let max = figures(&twelve(Mode::Max), &workers);
    assert_eq!((max.work_ms, max.wall_ms, max.bound_ms), (24_000, 2_000, 2_000));
    assert_eq!((max.width, max.peak_leases), (0, 12));
}

#[test]
fn the_slots_of_those_who_worked_limit_the_width() {
    let idle = worker("idle", Some(100));
    let figures_with = |mode, slots| figures(&twelve(mode), &[worker("w", slots), idle.clone()]);
    assert_eq!(figures_with(Mode::Standard, Some(2)).bound_ms, 12_000);
    assert_eq!(figures_with(Mode::Standard, Some(50)).width, 3);
    assert_eq!(figures_with(Mode::Max, Some(5)).width, 5);
    assert_eq!(figures_with(Mode::Max, Some(5)).bound_ms, 4_800);
}

#[test]
fn a_chain_of_tasks_is_the_critical_path_in_whatever_order_they_stand() {
    let tasks =
        vec![task(0, &[2], vec![ran(5, 9)]), task(1, &[], vec![ran(0, 3)]), task(2, &[1], vec![ran(3, 5)])];
    let figures = figures(&plan(Mode::Max, vec![wave(&[], tasks)]), &[worker("w", None)]);
    assert_eq!((figures.critical_path_ms, figures.bound_ms, figures.wall_ms), (9_000, 9_000, 9_000));
}

#[test]
fn independent_waves_add_up_in_standard_and_overlap_in_max() {
    let waves = |mode| {
        let of =
            |ix, depends_on: &[u32], from, to| wave(depends_on, vec![task(ix, &[], vec![ran(from, to)])]);
        plan(mode, vec![of(0, &[], 0, 4), of(1, &[], 0, 6), of(2, &[0], 4, 9)])
    };
    let standard = figures(&waves(Mode::Standard), &[worker("w", None)]);
    assert_eq!((standard.critical_path_ms, standard.bound_ms), (15_000, 15_000));
    let max = figures(&waves(Mode::Max), &[worker("w", None)]);
    assert_eq!((max.critical_path_ms, max.bound_ms), (9_000, 9_000));
    // One slot for all: the work itself is what no schedule beats.
    assert_eq!(figures(&waves(Mode::Max), &[worker("w", Some(1))]).bound_ms, 15_000);
}

#[test]
fn every_accepted_attempt_is_work_and_no_other() {
    let late = |mut attempt: LeaseDetail| {
        attempt.lease.state = LeaseState::Lost;
        attempt.result.as_mut().unwrap().accepted = false;
        attempt
    };
    let attempts = vec![attempt(0, 3, Outcome::Failed), late(ran(3, 10)), ran(10, 12), ran(20, 25)];
    let figures = figures(&plan(Mode::Standard, vec![wave(&[], vec![task(0, &[], attempts)])]), &[]);
    assert_eq!((figures.work_ms, figures.bound_ms), (10_000, 10_000));
    assert_eq!((figures.attempts, figures.failures, figures.losses), (4, 1, 1));
}

#[test]
fn a_plan_that_has_not_begun_has_no_times() {
    let figures = figures(&plan(Mode::Standard, vec![wave(&[], vec![task(0, &[], Vec::new())])]), &[]);
    assert_eq!((figures.wall_ms, figures.work_ms, figures.bound_ms, figures.peak_leases), (0, 0, 0, 0));
}

#[test]
fn spans_that_overlap_are_covered_once_and_counted_at_their_peak() {
    let spans = [(0, 10), (5, 15), (20, 30), (30, 40)];
    assert_eq!(covered(&spans), 35);
    assert_eq!(peak(&spans), 2);
    assert_eq!((covered(&[]), peak(&[])), (0, 0));
}

#[test]
fn wall_leaves_out_what_only_thor_did() {
    let tasks = [(0, 10), (30, 50)];
    assert_eq!(wall(&tasks, &[(10, 25), (50, 60)]), 35);
    assert_eq!(wall(&tasks, &[(5, 25)]), 35, "work under Thor's eyes counts");
    assert_eq!(wall(&[], &[(0, 5)]), 0);
}

#[test]
fn waves_in_a_row_are_measured_without_thor_between_them() {
    let mut first = wave(&[], vec![task(0, &[], vec![ran(0, 4)])]);
    first.duties = vec![lease(LeaseWork::Integrate, "w", 4, 5), lease(LeaseWork::Integrate, "w", 5, 7)];
    let second = wave(&[0], vec![task(1, &[], vec![ran(7, 10)])]);
    let figures = figures(&plan(Mode::Standard, vec![first, second]), &[worker("w", None)]);
    assert_eq!((figures.wall_ms, figures.thor_ms, figures.bound_ms), (7_000, 3_000, 7_000));
}
