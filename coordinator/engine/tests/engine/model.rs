//! The naive model: what must be granted or started, worked out from the store and the workers'
//! rows alone, task by task, without the engine's counts and queues.

use std::collections::BTreeSet;

use wavegate_engine::{
    Account, AccountState, Change, Effects, Engine, Hello, Input, LeaseRow, LeaseWork, Mode, Moment, Mono,
    PlanId, PlanState, Role, Runner, STANDARD_CAP, SessionEvent, SessionId, TaskIx, TaskState, Utc, WaveIx,
    WaveState, WorkerRow,
    model::Family,
    spec::{Demand, ThorKind},
};

use crate::environment::{Store, Stored, World};

pub(crate) fn task_of(lease: &LeaseRow) -> Option<TaskIx> {
    match lease.work {
        LeaseWork::Task { task, .. } => Some(task),
        LeaseWork::Integrate
        | LeaseWork::Validate { .. }
        | LeaseWork::Coordinate { .. }
        | LeaseWork::Publish { .. } => None,
    }
}

/// After each step everything was granted that can be.
pub(crate) fn check_nothing_left_to_grant(world: &World) {
    let awake: Vec<_> = awake_workers(world);
    for (id, plan) in &world.store.plans {
        if plan.row.state != PlanState::Running {
            continue;
        }
        assert!(plan.waves.iter().any(|wave| wave.state != WaveState::Done), "a plan of done waves is done");
        for (row, at) in plan.waves.iter().zip(0..) {
            let wave = WaveIx(at);
            match row.state {
                WaveState::Waiting => assert!(!may_start(plan, wave), "{} of {id} may start", wave.0),
                WaveState::Running => check_running(world, &awake, *id, plan, wave),
                WaveState::Publishing if publishes(world, *id) => {}
                WaveState::Integrating | WaveState::Publishing => {
                    check_duty(world, &awake, *id, wave, Role::Executor, None)
                }
                WaveState::Validating if plan.shape.thor != ThorKind::External => {
                    let agent = &plan.shape.thor_agent;
                    let demand = (plan.shape.thor == ThorKind::Agent).then(|| Demand {
                        runner: agent.runner.clone(),
                        family: Family::of(&agent.model),
                        requires: Vec::new(),
                    });
                    check_duty(world, &awake, *id, wave, Role::Thor, demand.as_ref());
                }
                WaveState::Validating | WaveState::Done | WaveState::Blocked(_) | WaveState::Cancelled => {}
            }
        }
    }
}

/// One wave of a plan is published after the other.
fn publishes(world: &World, plan: PlanId) -> bool {
    let mut leases = world.store.leases.values();
    leases.any(|lease| {
        lease.plan == plan && lease.state.is_open() && matches!(lease.work, LeaseWork::Publish { .. })
    })
}

fn may_start(plan: &Stored, wave: WaveIx) -> bool {
    let begun = |state: WaveState| !matches!(state, WaveState::Waiting | WaveState::Done);
    let alone = plan.row.mode == Some(Mode::Max) || !plan.waves.iter().any(|wave| begun(wave.state));
    let before = &plan.shape.waves[wave.at()].depends_on;
    alone && before.iter().all(|before| plan.waves[before.at()].state == WaveState::Done)
}

fn check_running(world: &World, awake: &[&WorkerRow], id: PlanId, plan: &Stored, wave: WaveIx) {
    let tasks: Vec<_> = plan.shape.waves[wave.at()].tasks.clone().map(TaskIx).collect();
    let state = |task: &TaskIx| plan.tasks[task.at()].state;
    assert!(tasks.iter().any(|task| !is_settled(state(task))), "a wave of submitted tasks integrates");
    let awaits = |task: &TaskIx| plan.tasks[task.at()].awaits_counsel.is_held();
    if plan.waves[wave.at()].counsel.is_some() {
        let family = plan.row.tier.map(wavegate_engine::Tier::family);
        let demand = Demand { runner: plan.shape.coordinator_runner.clone(), family, requires: Vec::new() };
        check_duty(world, awake, id, wave, Role::Coordinator, Some(&demand));
    } else {
        assert!(!tasks.iter().any(awaits), "a task waits for counsel that nobody asked for");
    }
    let capped = plan.row.mode == Some(Mode::Standard)
        && world.store.open_task_leases(id).count() as u32 >= STANDARD_CAP;
    let agents = world.store.leases.values().filter(|l| l.state.is_open() && task_of(l).is_some()).count();
    if capped || world.store.max_agents.is_some_and(|most| agents as u32 >= most) {
        return;
    }
    for task in tasks {
        let shape = &plan.shape.tasks[task.at()];
        let ready = matches!(state(&task), TaskState::Pending { not_before } if is_past(world, not_before))
            && !awaits(&task)
            && !is_claimed(world, id, task)
            && shape.depends_on.iter().chain(&plan.tasks[task.at()].built_on).all(|it| is_settled(state(it)));
        let worker =
            awake.iter().find(|worker| fits(&world.store, worker, Role::Executor, Some(&shape.demand)));
        assert!(!ready || worker.is_none(), "task {} of {id} is ready and {worker:?} is free", shape.key);
    }
}

fn check_duty(
    world: &World,
    awake: &[&WorkerRow],
    id: PlanId,
    wave: WaveIx,
    role: Role,
    demand: Option<&Demand>,
) {
    let mut leases = world.store.leases.values();
    if leases.any(|l| (l.plan, l.wave, l.state.is_open(), task_of(l)) == (id, wave, true, None)) {
        return;
    }
    let plan = &world.store.plans[&id];
    let tasks = plan.shape.waves[wave.at()].tasks.clone();
    let results = plan.tasks[tasks.start as usize..tasks.end as usize].iter();
    let authors: BTreeSet<_> = results.filter_map(|task| Some(&task.result.as_ref()?.worker)).collect();
    // Another one that could judge, were its account not in trouble for a while.
    let others = awake.iter().any(|worker| {
        worker.roles.contains(&role) && has(worker, demand) && !authors.contains(&worker.id) && {
            let state = account_of(worker, demand).and_then(|account| world.store.accounts.get(&account));
            state.is_none_or(|row| row.state != AccountState::Refused)
        }
    });
    let worker = awake.iter().find(|worker| {
        fits(&world.store, worker, role, demand)
            && !(role == Role::Thor && others && authors.contains(&worker.id))
    });
    assert!(worker.is_none(), "wave {} of {id} waits for a {role}, and {worker:?} is free", wave.0);
}

/// The worker of the newest attempt's lost lease is back with it: its result goes first.
fn is_claimed(world: &World, plan: PlanId, task: TaskIx) -> bool {
    let attempt = world.store.plans[&plan].tasks[task.at()].attempt;
    let mut leases = world.store.leases.values();
    leases.any(|lease| {
        (lease.plan, lease.work) == (plan, LeaseWork::Task { task, attempt }) && world.is_claimed(lease.id)
    })
}

fn is_past(world: &World, time: Option<Utc>) -> bool {
    time.is_none_or(|time| time.0 <= world.utc)
}

fn is_settled(state: TaskState) -> bool {
    !matches!(state, TaskState::Pending { .. } | TaskState::Leased | TaskState::Blocked(_))
}

fn awake_workers(world: &World) -> Vec<&WorkerRow> {
    let rows = world.store.workers.values().filter(|row| !row.draining);
    rows.filter(|row| world.is_awake(&row.id)).collect()
}

fn fits(store: &Store, worker: &WorkerRow, role: Role, demand: Option<&Demand>) -> bool {
    let open = store.leases.values().filter(|lease| lease.worker == worker.id && lease.state.is_open());
    worker.roles.contains(&role)
        && worker.slots.is_none_or(|slots| (open.count() as u32) < slots)
        && has(worker, demand)
        && account_of(worker, demand).is_none_or(|account| {
            let state = store.accounts.get(&account).map(|row| row.state);
            matches!(state, None | Some(AccountState::Open | AccountState::Probing { lease: None, .. }))
        })
}

fn has(worker: &WorkerRow, demand: Option<&Demand>) -> bool {
    demand.is_none_or(|demand| {
        let serves = |runner: &Runner| {
            let family = demand.family.map(Family::as_str);
            let offered =
                |family| runner.models.is_empty() || runner.models.iter().any(|model| model == family);
            runner.name == demand.runner && family.is_none_or(offered)
        };
        worker.runners.iter().any(serves) && demand.requires.iter().all(|label| worker.labels.contains(label))
    })
}

fn account_of(worker: &WorkerRow, demand: Option<&Demand>) -> Option<Account> {
    let runner = worker.runners.iter().find(|runner| Some(&runner.name) == demand.map(|it| &it.runner))?;
    worker.account(runner)
}

/// An engine that starts from the store, and to which the awake workers come back with all that is
/// theirs, holds what the running one holds, for the same reasons, and grants nothing.
pub(crate) fn check_restart_changes_nothing(world: &mut World) {
    let mut restored = world.restored();
    let mut effects = Effects::default();
    let awake: Vec<_> = world.store.workers.values().filter(|row| world.is_awake(&row.id)).cloned().collect();
    for (row, at) in awake.into_iter().zip(1..) {
        let mut held = world.open_leases(&row.id.0);
        let lost =
            world.store.leases.values().filter(|lease| lease.worker == row.id && world.is_claimed(lease.id));
        held.extend(lost.map(|lease| lease.id));
        let hello = SessionEvent::Hello(Box::new(hello(row, held)));
        feed(world, &mut restored, Input::Session { session: SessionId(at), event: hello }, &mut effects);
    }
    feed(world, &mut restored, Input::Tick, &mut effects);
    // A claim outlives the stream for a while, but not the coordinator.
    let mut leases = world.store.leases.values();
    if leases.any(|lease| world.is_claimed(lease.id) && !world.is_awake(&lease.worker)) {
        return;
    }
    let granted = effects.changes.iter().find(|change| matches!(change, Change::LeaseGranted(_)));
    assert_eq!(granted, None, "a restored engine grants what the running one does not");
    for id in world.store.plans.keys() {
        let now = Mono(world.mono);
        assert_eq!(
            restored.holds(*id, now),
            world.engine.holds(*id, now),
            "a restored engine holds otherwise"
        );
    }
}

/// All hellos come together: who of several Thors is free is known only then.
fn feed(world: &World, engine: &mut Engine, input: Input, effects: &mut Effects) {
    let is_tick = matches!(input, Input::Tick);
    let mut draw = || 7;
    let mut moment = Moment { mono: Mono(world.mono), utc: Utc(world.utc), draw: &mut draw };
    engine.apply(input, &mut moment, effects).expect("it is not refused");
    if is_tick {
        engine.settle(&mut moment, effects);
    }
}

fn hello(row: WorkerRow, held: Vec<wavegate_engine::LeaseId>) -> Hello {
    Hello {
        worker: row.id,
        instance: row.instance,
        name: row.name,
        host: row.host,
        version: row.version,
        roles: row.roles,
        runners: row.runners,
        labels: row.labels,
        slots: row.slots,
        held,
        draining: row.draining,
    }
}
