//! A database in a folder of its own, and rows to put into it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::Connection;
use tempfile::TempDir;
use wavegate_engine::{
    Change, Digest, LeaseId, LeaseRow, LeaseState, LeaseWork, Mode, Outcome, PlanId, PlanRow, PlanSnapshot,
    PlanState, Report, Role, Runner, TaskIx, Tier, Usage, Utc, WaveIx, WorkerId, WorkerRow,
    spec::{
        Budget, MergeMode, OnLost, PlanSpec, ProjectSpec, TaskSpec, ThorKind, WaveSpec, WorkSpec,
        WorkspaceKind,
    },
};

use crate::{
    driver::{Store as _, StoreError, Submission},
    store::{OpenError, Opened, SqliteStore, open},
};

/// The time of every write, unless a test says otherwise: 2025-06-15 11:06:40 UTC.
pub(super) const NOW: Utc = Utc(1_749_985_600_000);

pub(super) struct World {
    pub(super) opened: Opened,
    folder: TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let opened = open_in(folder.path()).unwrap();
        Self { opened, folder }
    }

    pub(super) fn store(&mut self) -> &mut SqliteStore {
        &mut self.opened.store
    }

    pub(super) fn db(&self) -> PathBuf {
        db_in(self.folder.path())
    }

    /// As after a crash: nothing is told that it ends.
    pub(super) fn crash(self) -> Self {
        let Self { opened, folder } = self;
        drop(opened);
        Self { opened: open_in(folder.path()).unwrap(), folder }
    }

    /// Another program with the file open.
    pub(super) fn stranger(&self) -> Connection {
        Connection::open(self.db()).unwrap()
    }

    pub(super) fn write(&mut self, changes: &[Change]) {
        self.try_write(changes).unwrap();
    }

    /// One transaction; given up when a change is refused, as the driver does.
    pub(super) fn try_write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        try_write(self.store(), changes)
    }

    /// Stores a plan and switches it on.
    pub(super) fn submit(&mut self, spec: &PlanSpec) -> PlanId {
        let store = self.store();
        let (plan, _) = store.stage(&submission(spec), NOW).unwrap();
        let mut from = Some(0);
        while let Some(at) = from {
            from = store.stage_tasks(plan, spec, at, 2).unwrap();
        }
        self.write(&[Change::SwitchOn(plan)]);
        plan
    }

    /// A plan that runs in standard, with one task lease that is granted.
    pub(super) fn with_lease() -> (Self, PlanId, LeaseRow) {
        let mut world = Self::new();
        let plan = world.submit(&greet());
        let lease = task_lease(plan, TaskIx(0), 1);
        world.write(&[approve(plan), Change::LeaseGranted(lease.clone())]);
        (world, plan, lease)
    }

    /// The only plan that is open.
    pub(super) fn load(&mut self) -> PlanSnapshot {
        let mut plans = self.store().load().unwrap().plans;
        assert_eq!(plans.len(), 1);
        plans.remove(0)
    }
}

pub(super) fn try_write(store: &mut SqliteStore, changes: &[Change]) -> Result<(), StoreError> {
    let written = (|| {
        store.begin()?;
        changes.iter().try_for_each(|change| store.write(change, NOW))?;
        store.flush().map_err(|(_, error)| error)?;
        store.commit()
    })();
    if written.is_err() {
        store.roll_back();
    }
    written
}

pub(super) fn db_in(folder: &Path) -> PathBuf {
    folder.join("wavegate.db")
}

/// Other tests start programs: until such a program has begun it holds a copy of every lock.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn open_in(folder: &Path) -> Result<Opened, OpenError> {
    open(&db_in(folder), PATIENCE, NOW)
}

pub(super) fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

pub(super) fn usage(tokens: u64) -> Usage {
    Usage {
        tokens_in: tokens,
        tokens_out: tokens + 1,
        tokens_cached: tokens + 2,
        cost_micro_usd: Some(tokens + 3),
    }
}

pub(super) fn submission(spec: &PlanSpec) -> Submission {
    Submission {
        spec: spec.clone(),
        source: "name: greet\n".to_owned(),
        file_name: "greet.yaml".to_owned(),
        base: Some(digest(1)),
        by: "ada".to_owned(),
    }
}

/// Two waves: T1-01 and T1-02, which depends on it; then T2-01.
pub(super) fn greet() -> PlanSpec {
    let mut second = task("T1-02");
    second.depends_on = vec![TaskIx(0)];
    PlanSpec {
        coordinator_runner: "claude".to_owned(),
        thor_agent: Default::default(),
        name: "greet".to_owned(),
        description: "Greets".to_owned(),
        project: ProjectSpec { workspace: WorkspaceKind::Dir, ..ProjectSpec::default() },
        vars: [("repo".to_owned(), "/src".to_owned())].into(),
        requirements: Vec::new(),
        constraints: Vec::new(),
        budget: Budget { tokens: Some(1000), micro_usd: None },
        thor: ThorKind::External,
        waves: vec![
            wave("W1", vec![], vec![task("T1-01"), second]),
            wave("W2", vec![WaveIx(0)], vec![task("T2-01")]),
        ],
    }
}

pub(super) fn wave(key: &str, depends_on: Vec<WaveIx>, tasks: Vec<TaskSpec>) -> WaveSpec {
    let verify = vec![format!("test -e {key}")];
    WaveSpec {
        key: key.to_owned(),
        name: String::new(),
        depends_on,
        verify,
        merge_mode: MergeMode::default(),
        tasks,
    }
}

pub(super) fn task(key: &str) -> TaskSpec {
    TaskSpec {
        allowed_tools: Vec::new(),
        budget: Default::default(),
        key: key.to_owned(),
        title: format!("Title of {key}"),
        work: WorkSpec::Run("true".to_owned()),
        runner: "shell".to_owned(),
        model: None,
        effort: 1,
        priority: 2,
        kind: String::new(),
        files: Vec::new(),
        verify: vec!["true".to_owned()],
        criteria: Vec::new(),
        depends_on: Vec::new(),
        requires: vec!["gpu".to_owned()],
        timeout_ms: 1000,
        max_failures: 3,
        on_lost: OnLost::Retry,
        lost_after_ms: Some(5),
        setup: Vec::new(),
        permissions: Default::default(),
        env: Vec::new(),
        skip_if: None,
    }
}

/// The row of a plan that runs in standard.
pub(super) fn running() -> PlanRow {
    PlanRow {
        state: PlanState::Running,
        mode: Some(Mode::Standard),
        tier: Some(Tier::Sonnet),
        tree: Some(digest(1)),
        spent: Usage::default(),
        budget: Budget { tokens: Some(1000), micro_usd: None },
        approved: Some(NOW),
        ended: None,
    }
}

pub(super) fn approve(plan: PlanId) -> Change {
    Change::Plan { id: plan, was: "awaiting_approval", row: running() }
}

pub(super) fn task_lease(plan: PlanId, task: TaskIx, attempt: u32) -> LeaseRow {
    LeaseRow {
        account: None,
        id: LeaseId(u128::from(task.0) << 64 | u128::from(attempt)),
        state: LeaseState::Granted,
        plan,
        wave: WaveIx(0),
        work: LeaseWork::Task { task, attempt },
        round: 1,
        worker: WorkerId::from("worker-1"),
        base: Some(digest(2)),
        lost_after_ms: 900_000,
        granted: NOW,
        started: None,
        ended: None,
        progress: Usage::default(),
    }
}

pub(super) fn report(outcome: Outcome) -> Report {
    Report {
        counsel: None,
        talk: Default::default(),
        outcome,
        exit_code: Some(-1),
        summary: "Said hello".to_owned(),
        output_tail: "hello\n".to_owned(),
        run_ms: 1234,
        usage: usage(10),
        output_json: "{}".to_owned(),
        changes: Some(digest(3)),
        changed_files: 1,
        candidate: None,
        conflicts: Vec::new(),
        target: None,
        published: Default::default(),
        verdict: None,
    }
}

pub(super) fn worker(id: &str, name: &str) -> WorkerRow {
    let runner = Runner {
        models: Vec::new(),
        name: "shell".to_owned(),
        version: "1".to_owned(),
        account: "a b".to_owned(),
    };
    WorkerRow {
        id: WorkerId::from(id),
        instance: "i1".to_owned(),
        name: name.to_owned(),
        host: "host".to_owned(),
        version: "0.1.0".to_owned(),
        roles: vec![Role::Executor, Role::Thor],
        runners: vec![runner],
        labels: vec!["os=linux".to_owned(), "two words".to_owned()],
        slots: Some(4),
        draining: true,
        first_seen: Utc(1),
        last_seen: Utc(2),
    }
}
