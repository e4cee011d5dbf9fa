//! A store, a clock and an outbox in memory, each of which can be made to fail.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use tokio::sync::mpsc;
use wavegate_engine::{
    Change, Event, EventKind, LeaseId, LeaseRow, LeaseWork, Mono, PastLease, PlanId, PlanRow, PlanSnapshot,
    PlanState, SessionId, TaskRow, Utc, WaveRow, WorkBrief, WorkerRow,
    spec::{PlanShape, PlanSpec, WorkspaceKind},
};

use crate::driver::{
    Clock, ModeRequest, Outbox, Outgoing, Snapshot, Store, StoreError, Submission, Work, WorkBody,
};

/// What is stored.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    pub(super) plans: BTreeMap<PlanId, StoredPlan>,
    pub(super) leases: BTreeMap<LeaseId, LeaseRow>,
    pub(super) accepted: BTreeSet<LeaseId>,
    pub(super) workers: BTreeMap<String, WorkerRow>,
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Clone)]
pub(super) struct StoredPlan {
    pub(super) shape: PlanShape,
    pub(super) row: PlanRow,
    pub(super) waves: Vec<WaveRow>,
    pub(super) tasks: Vec<TaskRow>,
    pub(super) is_on: bool,
    pub(super) staged_tasks: usize,
    pub(super) column: Option<String>,
}

/// What goes wrong, and where.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    pub(super) begin: Option<StoreError>,
    pub(super) commit: Option<StoreError>,
    /// Every change of a task of this plan is refused.
    pub(super) poisoned: Option<PlanId>,
    pub(super) load: Option<StoreError>,
}

/// The world that a driver under test lives in; shared with the test.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) stored: Rc<RefCell<Stored>>,
    pub(super) faults: Rc<RefCell<Faults>>,
    pub(super) sent: Rc<RefCell<Vec<(SessionId, Outgoing)>>>,
    pub(super) closed: Rc<RefCell<Vec<SessionId>>>,
    pub(super) now: Rc<RefCell<u64>>,
    /// How often the state was read from the file.
    pub(super) loads: Rc<RefCell<u32>>,
}

pub(super) struct MemoryStore {
    world: World,
    open: Option<Stored>,
}

impl World {
    pub(super) fn store(&self) -> MemoryStore {
        MemoryStore { world: self.clone(), open: None }
    }

    pub(super) fn plan(&self, plan: PlanId) -> StoredPlan {
        self.stored.borrow().plans[&plan].clone()
    }

    pub(super) fn take_sent(&self) -> Vec<(SessionId, Outgoing)> {
        self.sent.take()
    }

    pub(super) fn grants(&self) -> Vec<LeaseRow> {
        let sent = self.take_sent().into_iter();
        sent.filter_map(
            |(_, message)| if let Outgoing::Grant { lease, .. } = message { Some(*lease) } else { None },
        )
        .collect()
    }

    pub(super) fn has_event(&self, kind: EventKind) -> bool {
        self.stored.borrow().events.iter().any(|event| event.kind == kind)
    }
}

impl MemoryStore {
    fn open(&mut self) -> Result<&mut Stored, StoreError> {
        self.open.as_mut().ok_or_else(|| StoreError::Constraint("no open transaction".to_owned()))
    }
}

impl Stored {
    fn mode_requests(&self) -> Vec<ModeRequest> {
        let asked = self.plans.values().filter(|plan| plan.is_on && !plan.row.state.is_final());
        let asked = asked.filter(|plan| plan.column.as_deref() != plan.row.mode.map(|mode| mode.as_str()));
        asked.map(|plan| ModeRequest { plan: plan.shape.id, text: plan.column.clone() }).collect()
    }

    fn apply(&mut self, change: &Change) {
        let plan =
            |plans: &mut BTreeMap<PlanId, StoredPlan>, id: &PlanId, change: &dyn Fn(&mut StoredPlan)| {
                plans.entry(*id).and_modify(|plan| change(plan));
            };
        match change {
            Change::SwitchOn(id) => plan(&mut self.plans, id, &|plan| plan.is_on = true),
            Change::Plan { id, row, .. } => plan(&mut self.plans, id, &|plan| plan.row = row.clone()),
            Change::Wave { plan: id, wave, row, .. } => {
                plan(&mut self.plans, id, &|plan| plan.waves[wave.at()] = row.clone());
            }
            Change::Task { plan: id, task, row, .. } => {
                plan(&mut self.plans, id, &|plan| plan.tasks[task.at()] = row.clone());
            }
            Change::ModeColumn { plan: id, value } => {
                plan(&mut self.plans, id, &|plan| plan.column = value.clone());
            }
            Change::LeaseGranted(row) | Change::Lease { row, .. } => {
                self.leases.insert(row.id, row.clone());
            }
            Change::Result { lease, accepted, .. } if *accepted => {
                self.accepted.insert(*lease);
            }
            Change::Worker(row) => {
                self.workers.insert(row.id.to_string(), row.clone());
            }
            Change::WorkerForgotten(id) => {
                self.workers.remove(&id.to_string());
            }
            Change::Event(event) => self.events.push(event.clone()),
            Change::Result { .. }
            | Change::Estimated { .. }
            | Change::Counsel { .. }
            | Change::Verdict(_)
            | Change::Restored { .. }
            | Change::Account(_)
            | Change::Used { .. } => {}
        }
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        *self.world.loads.borrow_mut() += 1;
        if let Some(error) = self.world.faults.borrow().load.clone() {
            return Err(error);
        }
        let stored = self.world.stored.borrow();
        let unfinished = stored.plans.values().filter(|plan| plan.is_on && !plan.row.state.is_final());
        let plans = unfinished.map(|plan| PlanSnapshot {
            shape: plan.shape.clone(),
            row: plan.row.clone(),
            waves: plan.waves.clone(),
            tasks: plan.tasks.clone(),
            leases: stored
                .leases
                .values()
                .filter(|lease| lease.plan == plan.shape.id && lease.state.is_open())
                .cloned()
                .collect(),
            requested_mode: plan.column.clone(),
        });
        Ok(Snapshot {
            accounts: Vec::new(),
            plans: plans.collect(),
            workers: stored.workers.values().cloned().collect(),
        })
    }

    fn begin(&mut self) -> Result<Vec<ModeRequest>, StoreError> {
        if let Some(error) = self.world.faults.borrow().begin.clone() {
            return Err(error);
        }
        let stored = self.world.stored.borrow().clone();
        let requests = stored.mode_requests();
        self.open = Some(stored);
        Ok(requests)
    }

    fn write(&mut self, change: &Change, _now: Utc) -> Result<(), StoreError> {
        let poisoned = self.world.faults.borrow().poisoned;
        if matches!(change, Change::Task { plan, .. } if Some(*plan) == poisoned) {
            return Err(StoreError::Constraint("a check of the table".to_owned()));
        }
        self.open()?.apply(change);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), (PlanId, StoreError)> {
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        if let Some(error) = self.world.faults.borrow().commit.clone() {
            return Err(error);
        }
        let written = self.open.take().ok_or_else(|| StoreError::Constraint("no transaction".to_owned()))?;
        *self.world.stored.borrow_mut() = written;
        Ok(())
    }

    fn roll_back(&mut self) {
        self.open = None;
    }

    fn has_foreign_changes(&mut self) -> Result<bool, StoreError> {
        Ok(!self.world.stored.borrow().mode_requests().is_empty())
    }

    fn stage(&mut self, submission: &Submission, _now: Utc) -> Result<(PlanId, String), StoreError> {
        let mut stored = self.world.stored.borrow_mut();
        let id = PlanId(stored.plans.len() as i64 + 1);
        let name = submission.spec.name.clone();
        let shape = submission.spec.shape(id, name.clone(), submission.base);
        let plan = StoredPlan {
            row: PlanRow {
                state: PlanState::AwaitingApproval,
                mode: None,
                tier: None,
                tree: None,
                spent: Default::default(),
                budget: shape.budget,
                approved: None,
                ended: None,
            },
            waves: vec![WaveRow::new(); shape.waves.len()],
            tasks: vec![TaskRow::new(); shape.tasks.len()],
            is_on: false,
            staged_tasks: 0,
            column: None,
            shape,
        };
        stored.plans.insert(id, plan);
        Ok((id, name))
    }

    fn stage_tasks(
        &mut self,
        plan: PlanId,
        spec: &PlanSpec,
        from: usize,
        limit: usize,
    ) -> Result<Option<usize>, StoreError> {
        let all: usize = spec.waves.iter().map(|wave| wave.tasks.len()).sum();
        let next = (from + limit).min(all);
        self.world.stored.borrow_mut().plans.entry(plan).and_modify(|plan| plan.staged_tasks = next);
        Ok((next < all).then_some(next))
    }

    fn past_lease(&mut self, lease: LeaseId) -> Result<Option<Box<PastLease>>, StoreError> {
        let stored = self.open.clone().unwrap_or_else(|| self.world.stored.borrow().clone());
        Ok(stored.leases.get(&lease).map(|row| {
            let accepted = stored.accepted.contains(&lease).then_some(true);
            Box::new(PastLease { row: row.clone(), accepted })
        }))
    }

    fn load_work(&mut self, lease: &LeaseRow, _brief: &WorkBrief) -> Result<Work, StoreError> {
        let body = match lease.work {
            LeaseWork::Task { .. }
            | LeaseWork::Integrate
            | LeaseWork::Coordinate { .. }
            | LeaseWork::Publish { .. } => WorkBody::Integrate { base: None, results: vec![] },
            LeaseWork::Validate { candidate } => {
                WorkBody::Validate { by_agent: false, candidate, tasks: vec![], verify: vec![] }
            }
        };
        Ok(Work {
            plan: lease.plan,
            plan_name: String::new(),
            wave: String::new(),
            vars: BTreeMap::new(),
            workspace: WorkspaceKind::None,
            head: Box::new(super::spec("greet", 0)),
            wave_spec: Box::new(super::wave(0)),
            body,
        })
    }
}

impl Clock for World {
    fn utc(&self) -> Utc {
        Utc(1_700_000_000_000 + *self.now.borrow() as i64)
    }

    fn mono(&self) -> Mono {
        Mono(*self.now.borrow())
    }

    fn draw(&mut self) -> u128 {
        *self.now.borrow_mut() += 1;
        u128::from(*self.now.borrow()) << 64
    }
}

impl Outbox for World {
    fn open(&mut self, _session: SessionId, _sender: mpsc::Sender<Outgoing>) {}

    fn send(&mut self, session: SessionId, message: Outgoing) -> bool {
        self.sent.borrow_mut().push((session, message));
        true
    }

    fn close(&mut self, session: SessionId) {
        self.closed.borrow_mut().push(session);
    }

    fn committed(&mut self) {}
}
