//! What the coordinator's process has of the world: its store, its clocks and its outbox, each of which
//! fails when the script says so, and a process that can end between any two things that it does with
//! them. Owns what is durable; knows nothing of networks and workers.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    panic::resume_unwind,
    rc::Rc,
};

use tokio::sync::mpsc;
use wavegate_coordinator::driver::{
    Clock, ModeRequest, Outbox, Outgoing, Snapshot, Store, StoreError, Submission, Work, WorkBody,
};
use wavegate_engine::{
    Change, Config, Event, LeaseId, LeaseRow, Mono, PastLease, PlanId, SessionId, Utc, WorkBrief,
    spec::{PlanSpec, WorkspaceKind},
};

use super::{
    book::Book,
    causes::Causes,
    figures::Figures,
    fingerprint::Fingerprint,
    ledger,
    mutation::Mutation,
    naive,
    random::Random,
    specs::{empty_plan, empty_wave},
};

/// Both the coordinator's process and the world around it hold it.
pub(super) type Shared = Rc<RefCell<Outside>>;

/// The end of the process, as what unwinds through it.
pub(super) struct ProcessEnds;

/// What the process has of the world.
pub(super) struct Outside {
    pub(super) now: u64,
    /// CLOCK_BOOTTIME of its host when the run began.
    pub(super) mono_base: u64,
    pub(super) utc_offset: i64,
    draws: Random,
    pub(super) durable: naive::Store,
    /// Of the open transaction.
    written: Option<Vec<Change>>,
    /// What `PRAGMA data_version` counts: changes of others.
    pub(super) version: u64,
    seen: Option<u64>,
    looking: Option<u64>,
    pub(super) faults: DiskFaults,
    /// The process ends after so many more things.
    pub(super) ends_after: Option<u32>,
    pub(super) open: BTreeSet<SessionId>,
    pub(super) deaf: BTreeSet<SessionId>,
    pub(super) sent: Vec<(SessionId, Outgoing)>,
    pub(super) closed: Vec<SessionId>,
    pub(super) book: Book,
    pub(super) causes: Causes,
    pub(super) figures: Figures,
    pub(super) happened: Fingerprint,
    /// What was stored, for the trace, if one is kept.
    pub(super) told: Option<Vec<String>>,
    pub(super) mutation: Option<Mutation>,
    /// Since it was loaded nothing was written.
    is_loaded: bool,
    /// Under [`Mutation::CommitInMemory`]: what is on the disk in truth.
    synced: Option<Box<naive::Store>>,
}

/// What goes wrong with the file next.
#[derive(Debug, Clone, Default)]
pub(super) struct DiskFaults {
    pub(super) begins_fail: u32,
    pub(super) commits_fail: u32,
    pub(super) commit_fails_late: bool,
    pub(super) loads_fail: u32,
    pub(super) poison: Option<(PlanId, u32)>,
}

impl Outside {
    pub(super) fn new(config: &Config, random: &Random, mutation: Option<Mutation>) -> Shared {
        let durable = naive::Store { max_agents: config.max_agents, ..naive::Store::default() };
        Rc::new(RefCell::new(Self {
            now: 0,
            mono_base: 5_000_000,
            utc_offset: 0,
            draws: random.apart(1),
            durable,
            written: None,
            version: 0,
            seen: None,
            looking: None,
            faults: DiskFaults::default(),
            ends_after: None,
            open: BTreeSet::new(),
            deaf: BTreeSet::new(),
            sent: Vec::new(),
            closed: Vec::new(),
            book: Book::default(),
            causes: Causes::default(),
            figures: Figures::default(),
            happened: Fingerprint::NEW,
            told: None,
            mutation,
            is_loaded: false,
            synced: None,
        }))
    }

    /// The process is gone: what it had in memory, too.
    pub(super) fn on_process_end(&mut self) {
        (self.written, self.looking, self.seen) = (None, None, None);
        self.ends_after = None;
        self.open.clear();
        self.deaf.clear();
        self.closed.clear();
        if let Some(synced) = self.synced.take() {
            self.durable = *synced;
        }
    }

    /// Another program's `UPDATE plans SET parallel_mode`.
    pub(super) fn update_mode_column(&mut self, plan: PlanId, text: Option<&str>) {
        if let Some(plan) = self.durable.plans.get_mut(&plan) {
            plan.mode_column = text.map(str::to_owned);
            self.version += 1;
        }
    }

    fn mode_requests(&self) -> Vec<ModeRequest> {
        if self.mutation == Some(Mutation::BlindToColumn) {
            return Vec::new();
        }
        let open = self.durable.plans.iter().filter(|(_, plan)| plan.visible && !plan.row.state.is_final());
        let asked =
            open.filter(|(_, plan)| plan.mode_column.as_deref() != plan.row.mode.map(|it| it.as_str()));
        asked.map(|(id, plan)| ModeRequest { plan: *id, text: plan.mode_column.clone() }).collect()
    }

    fn make_durable(&mut self, changes: &[Change]) {
        self.figures.commits += 1;
        for (at, change) in changes.iter().enumerate() {
            self.happened.take(change);
            self.book.check(change, &self.durable);
            self.causes.check(change, &self.durable);
            ledger::note(&mut self.figures, change, &changes[at + 1..], &self.durable);
            self.durable.write(change);
            if let (Some(told), Change::Event(event)) = (&mut self.told, change) {
                told.push(line(event));
            }
        }
        self.durable.check();
        if self.mutation == Some(Mutation::CommitInMemory) && self.figures.commits % 8 == 1 {
            self.synced = Some(Box::new(self.durable.clone()));
        }
    }
}

/// An event in a line.
fn line(event: &Event) -> String {
    let plan = event.plan.map(|plan| format!(" plan {plan}")).unwrap_or_default();
    let task = event.task.map(|task| format!(" task {}", task.0)).unwrap_or_default();
    let lease = event.lease.map(|lease| format!(" {lease}")).unwrap_or_default();
    format!("  stored: {}{plan}{task}{lease} {} {}", event.kind, event.reason, event.text)
}

/// The store of one start of the process.
pub(super) struct SimStore(pub(super) Shared);

impl SimStore {
    /// One thing done with the world; the process may end before it.
    fn point(&self, fault: &'static str) {
        point(&self.0, fault);
    }
}

fn point(shared: &Shared, fault: &'static str) {
    let mut outside = shared.borrow_mut();
    match outside.ends_after {
        Some(0) => {
            outside.ends_after = None;
            outside.figures.fault(fault);
            drop(outside);
            resume_unwind(Box::new(ProcessEnds));
        }
        Some(left) => outside.ends_after = Some(left - 1),
        None => {}
    }
}

fn fails(count: &mut u32) -> bool {
    let does = *count > 0;
    *count = count.saturating_sub(1);
    does
}

fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable(format!("the disk fails at {what}"))
}

impl Store for SimStore {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        self.point("crash: at loading");
        let mut outside = self.0.borrow_mut();
        if fails(&mut outside.faults.loads_fail) {
            outside.figures.fault("store: load fails");
            return Err(unavailable("load"));
        }
        let mut snapshot = Snapshot {
            plans: outside.durable.snapshots(),
            workers: outside.durable.workers.values().cloned().collect(),
            accounts: outside.durable.accounts.values().cloned().collect(),
        };
        if let Some(mutation) = outside.mutation {
            mutation.spoil_snapshot(&mut snapshot);
        }
        outside.is_loaded = true;
        Ok(snapshot)
    }

    fn begin(&mut self) -> Result<Vec<ModeRequest>, StoreError> {
        self.point("crash: before a transaction");
        let mut outside = self.0.borrow_mut();
        if fails(&mut outside.faults.begins_fail) {
            outside.figures.fault("store: begin fails");
            return Err(unavailable("begin"));
        }
        outside.written = Some(Vec::new());
        outside.looking = Some(outside.version);
        if outside.seen == outside.looking {
            return Ok(Vec::new());
        }
        Ok(outside.mode_requests())
    }

    fn write(&mut self, change: &Change, _now: Utc) -> Result<(), StoreError> {
        self.point("crash: between decision and commit");
        let mut outside = self.0.borrow_mut();
        let outside = &mut *outside;
        if let (Change::Task { plan, .. }, Some((poisoned, left))) = (change, &mut outside.faults.poison)
            && plan == poisoned
        {
            *left -= 1;
            if *left == 0 {
                outside.faults.poison = None;
            }
            outside.figures.fault("store: a change is refused");
            outside.causes.refused.insert(*plan);
            return Err(StoreError::Constraint("a check of the table".to_owned()));
        }
        let written = outside.written.as_mut().ok_or_else(|| unavailable("write"))?;
        written.push(change.clone());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), (PlanId, StoreError)> {
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.point("crash: before the commit");
        {
            let mut outside = self.0.borrow_mut();
            if fails(&mut outside.faults.commits_fail) {
                outside.figures.fault("store: commit fails");
                return Err(unavailable("commit"));
            }
            let mut written = outside.written.take().ok_or_else(|| unavailable("commit"))?;
            if let Some(mutation) = outside.mutation {
                let is_first = std::mem::take(&mut outside.is_loaded);
                mutation.spoil_commit(&mut written, &outside.durable, is_first);
            }
            outside.make_durable(&written);
            if std::mem::take(&mut outside.faults.commit_fails_late) {
                outside.figures.fault("store: commit fails and is stored");
                return Err(unavailable("the end of a commit"));
            }
            outside.seen = outside.looking.take();
        }
        self.point("crash: after the commit");
        Ok(())
    }

    fn roll_back(&mut self) {
        let mut outside = self.0.borrow_mut();
        (outside.written, outside.looking) = (None, None);
    }

    fn has_foreign_changes(&mut self) -> Result<bool, StoreError> {
        let mut outside = self.0.borrow_mut();
        if outside.seen == Some(outside.version) {
            return Ok(false);
        }
        let asked = !outside.mode_requests().is_empty();
        if !asked {
            outside.seen = Some(outside.version);
        }
        Ok(asked)
    }

    fn stage(&mut self, submission: &Submission, _now: Utc) -> Result<(PlanId, String), StoreError> {
        self.point("crash: at staging");
        let mut outside = self.0.borrow_mut();
        if fails(&mut outside.faults.commits_fail) {
            outside.figures.fault("store: commit fails");
            return Err(unavailable("staging"));
        }
        let plan = PlanId(outside.durable.plans.len() as i64 + 1);
        let name = format!("{} ({plan})", submission.spec.name);
        outside.durable.stage(submission.spec.shape(plan, name.clone(), submission.base));
        Ok((plan, name))
    }

    fn stage_tasks(
        &mut self,
        _plan: PlanId,
        _spec: &PlanSpec,
        _from: usize,
        _limit: usize,
    ) -> Result<Option<usize>, StoreError> {
        self.point("crash: at staging");
        Ok(None)
    }

    fn past_lease(&mut self, lease: LeaseId) -> Result<Option<Box<PastLease>>, StoreError> {
        let outside = self.0.borrow();
        let mut past = outside.durable.past(lease);
        for change in outside.written.iter().flatten() {
            match (change, &mut past) {
                (Change::LeaseGranted(row), past) if row.id == lease => {
                    *past = Some(Box::new(PastLease { row: row.clone(), accepted: None }));
                }
                (Change::Lease { row, .. }, Some(past)) if row.id == lease => past.row = row.clone(),
                (Change::Result { lease: id, accepted, .. }, Some(past)) if *id == lease => {
                    past.accepted = Some(*accepted);
                }
                _ => {}
            }
        }
        if let (Some(Mutation::ForgetAccepted), Some(past)) = (outside.mutation, &mut past) {
            past.accepted = None;
        }
        Ok(past)
    }

    fn load_work(&mut self, lease: &LeaseRow, _brief: &WorkBrief) -> Result<Work, StoreError> {
        Ok(Work {
            plan: lease.plan,
            plan_name: String::new(),
            wave: String::new(),
            vars: BTreeMap::new(),
            workspace: WorkspaceKind::None,
            head: Box::new(empty_plan(String::new(), WorkspaceKind::None)),
            wave_spec: Box::new(empty_wave(String::new())),
            body: WorkBody::Integrate { base: None, results: Vec::new() },
        })
    }
}

/// The clocks of the process's host.
pub(super) struct SimClock(pub(super) Shared);

impl Clock for SimClock {
    fn utc(&self) -> Utc {
        let outside = self.0.borrow();
        let now = i64::try_from(outside.now).unwrap_or(i64::MAX);
        Utc(1_700_000_000_000 + now + outside.utc_offset)
    }

    fn mono(&self) -> Mono {
        let outside = self.0.borrow();
        if outside.mutation == Some(Mutation::FrozenClock) {
            return Mono(outside.mono_base);
        }
        Mono(outside.mono_base + outside.now)
    }

    fn draw(&mut self) -> u128 {
        self.0.borrow_mut().draws.wide()
    }
}

/// The ways to the sessions.
pub(super) struct SimOutbox(pub(super) Shared);

impl Outbox for SimOutbox {
    fn open(&mut self, session: SessionId, _sender: mpsc::Sender<Outgoing>) {
        self.0.borrow_mut().open.insert(session);
    }

    fn send(&mut self, session: SessionId, message: Outgoing) -> bool {
        point(&self.0, "crash: between commit and send");
        let mut outside = self.0.borrow_mut();
        if outside.deaf.remove(&session) && outside.open.contains(&session) {
            outside.figures.fault("network: a worker does not read");
            drop(outside);
            self.close(session);
            return false;
        }
        if !outside.open.contains(&session) {
            return false;
        }
        outside.sent.push((session, message));
        true
    }

    fn close(&mut self, session: SessionId) {
        let mut outside = self.0.borrow_mut();
        if outside.open.remove(&session) {
            outside.closed.push(session);
        }
    }

    fn committed(&mut self) {
        point(&self.0, "crash: between commit and send");
    }
}
