//! Who is connected. Owns the workers and their sessions: the only state that is not kept over a
//! restart, beside when each lease was last heard of. Decides nothing about leases.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    account::{Account, AccountState, Accounts},
    ids::{LeaseId, Mono, PlanId, SessionId, WorkerId},
    row::{Role, WorkerRow},
    spec::Demand,
};

/// All workers ever heard of and not forgotten, and the open sessions.
///
/// Cheap to clone: the driver keeps a copy to go back to when a batch cannot be committed.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    workers: BTreeMap<WorkerId, Worker>,
    sessions: BTreeMap<SessionId, WorkerId>,
    pub(crate) accounts: Accounts,
    /// When this coordinator began to listen; absent where it never had others before.
    began: Option<Mono>,
}

/// One worker.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) row: Arc<WorkerRow>,
    pub(crate) session: Option<Session>,
}

/// The open stream of a worker.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// The number of the last grant sent in it.
    pub(crate) grants: u64,
    pub(crate) heard: Mono,
    /// Not heard of for so long that it is given nothing new.
    pub(crate) silent: bool,
}

/// Which plan an open or late lease belongs to, and which leases a worker may still be working on.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeaseIndex {
    pub(crate) plan_of: BTreeMap<LeaseId, PlanId>,
    open_of: BTreeMap<WorkerId, BTreeSet<LeaseId>>,
}

impl Fleet {
    pub(crate) fn new(rows: Vec<WorkerRow>, accounts: Accounts) -> Self {
        let workers = rows
            .into_iter()
            .map(|row| (row.id.clone(), Worker { row: Arc::new(row), session: None }))
            .collect();
        Self { workers, sessions: BTreeMap::new(), accounts, began: None }
    }

    /// What is stored of workers and accounts, whoever is connected: a transaction that was given up may have
    /// been stored all the same.
    pub(crate) fn refresh(&mut self, rows: Vec<WorkerRow>, accounts: Accounts) {
        let mut before = std::mem::take(&mut self.workers);
        self.workers = rows
            .into_iter()
            .map(|row| {
                let session = before.remove(&row.id).and_then(|worker| worker.session);
                (row.id.clone(), Worker { row: Arc::new(row), session })
            })
            .collect();
        self.sessions.retain(|_, id| self.workers.contains_key(id));
        let before = std::mem::replace(&mut self.accounts, accounts);
        self.accounts.keep_waits(before);
    }

    /// It goes on from what is stored, with nobody connected.
    pub(crate) fn begin(&mut self, now: Mono) {
        self.began.get_or_insert(now);
    }

    /// Whether the workers of before had time to come back: so many ms since the start.
    pub(crate) fn is_gathered(&self, now: Mono, patience: u64) -> bool {
        self.began.is_none_or(|began| now.since(began) >= patience)
    }

    pub(crate) fn worker(&self, id: &WorkerId) -> Option<&Worker> {
        self.workers.get(id)
    }

    pub(crate) fn worker_of(&self, session: SessionId) -> Option<&Worker> {
        self.sessions.get(&session).and_then(|id| self.workers.get(id))
    }

    pub(crate) fn session_of(&self, worker: &WorkerId) -> Option<SessionId> {
        self.workers.get(worker)?.session.as_ref().map(|session| session.id)
    }

    /// The worker's label for people, or its id.
    pub(crate) fn name_of<'a>(&'a self, worker: &'a WorkerId) -> &'a str {
        self.workers.get(worker).map_or(&worker.0, |worker| &worker.row.name)
    }

    /// What the worker's runner spends from for such a demand; None for work that spends nothing.
    pub(crate) fn account_of(&self, worker: &Worker, demand: Option<&Demand>) -> Option<Account> {
        let runner =
            worker.row.runners.iter().find(|runner| Some(&runner.name) == demand.map(|it| &it.runner))?;
        worker.row.account(runner)
    }

    /// Whether the worker may be granted this at all, however full it is and whatever its account waits
    /// for; credentials that are not accepted are none.
    pub(crate) fn able(&self, worker: &Worker, role: Role, demand: Option<&Demand>) -> bool {
        worker.has(role, demand)
            && self
                .account_of(worker, demand)
                .is_none_or(|account| self.accounts.state(&account) != AccountState::Refused)
    }

    /// Whether the worker may be granted this now, however full it is.
    pub(crate) fn can(&self, worker: &Worker, role: Role, demand: Option<&Demand>) -> bool {
        worker.has(role, demand)
            && self.account_of(worker, demand).is_none_or(|account| self.accounts.is_free(&account))
    }

    /// Every worker with an open session.
    pub(crate) fn connected(&self) -> impl Iterator<Item = &Worker> {
        self.sessions.values().filter_map(|id| self.workers.get(id))
    }

    pub(crate) fn put(&mut self, row: WorkerRow, session: Option<Session>) {
        let id = row.id.clone();
        if let Some(session) = &session {
            self.sessions.insert(session.id, id.clone());
        }
        self.workers.insert(id, Worker { row: Arc::new(row), session });
    }

    pub(crate) fn set_row(&mut self, row: WorkerRow) {
        if let Some(worker) = self.workers.get_mut(&row.id) {
            worker.row = Arc::new(row);
        }
    }

    pub(crate) fn heard(&mut self, session: SessionId, now: Mono) {
        if let Some(open) = self.session_mut(session) {
            open.heard = now;
            open.silent = false;
        }
    }

    /// Marks the sessions that were not heard of for `after` ms.
    pub(crate) fn mark_silent(&mut self, now: Mono, after: u64) {
        for id in self.sessions.values() {
            if let Some(session) = self.workers.get_mut(id).and_then(|worker| worker.session.as_mut()) {
                session.silent = now.since(session.heard) >= after;
            }
        }
    }

    /// When the next session becomes silent.
    pub(crate) fn next_silence(&self, after: u64) -> Option<Mono> {
        let sessions = self.connected().filter_map(|worker| worker.session.as_ref());
        sessions.filter(|session| !session.silent).map(|session| session.heard.plus(after)).min()
    }

    /// The number for the next grant in the worker's session.
    pub(crate) fn next_grant(&mut self, worker: &WorkerId) -> Option<(SessionId, u64)> {
        let session = self.workers.get_mut(worker)?.session.as_mut()?;
        session.grants += 1;
        Some((session.id, session.grants))
    }

    /// Ends the session, if it is open; gives its worker.
    pub(crate) fn close(&mut self, session: SessionId) -> Option<WorkerId> {
        let id = self.sessions.remove(&session)?;
        if let Some(worker) = self.workers.get_mut(&id)
            && worker.session.as_ref().is_some_and(|open| open.id == session)
        {
            worker.session = None;
        }
        Some(id)
    }

    pub(crate) fn forget(&mut self, worker: &WorkerId) {
        self.workers.remove(worker);
    }

    fn session_mut(&mut self, session: SessionId) -> Option<&mut Session> {
        let id = self.sessions.get(&session)?;
        self.workers.get_mut(id)?.session.as_mut()
    }
}

impl Worker {
    /// Whether it may be granted anything.
    pub(crate) fn is_awake(&self) -> bool {
        !self.row.draining && self.session.as_ref().is_some_and(|session| !session.silent)
    }

    /// Whether it has what is asked, whatever its account and however full it is.
    pub(crate) fn has(&self, role: Role, demand: Option<&Demand>) -> bool {
        let row = &self.row;
        self.is_awake()
            && row.roles.contains(&role)
            && demand.is_none_or(|demand| {
                row.runners.iter().any(|runner| {
                    runner.name == demand.runner
                        && demand.family.is_none_or(|family| {
                            runner.models.is_empty()
                                || runner.models.iter().any(|model| model == family.as_str())
                        })
                }) && demand.requires.iter().all(|label| row.labels.contains(label))
            })
    }
}

impl LeaseIndex {
    pub(crate) fn open(&mut self, lease: LeaseId, plan: PlanId, worker: &WorkerId) {
        self.plan_of.insert(lease, plan);
        self.open_of.entry(worker.clone()).or_default().insert(lease);
    }

    /// No agent works under it any more; a late result may still come.
    pub(crate) fn close(&mut self, lease: LeaseId, worker: &WorkerId) {
        if let Some(open) = self.open_of.get_mut(worker) {
            open.remove(&lease);
            if open.is_empty() {
                self.open_of.remove(worker);
            }
        }
    }

    pub(crate) fn forget(&mut self, lease: LeaseId) {
        self.plan_of.remove(&lease);
    }

    pub(crate) fn open_of(&self, worker: &WorkerId) -> Vec<LeaseId> {
        self.open_of.get(worker).map(|open| open.iter().copied().collect()).unwrap_or_default()
    }

    pub(crate) fn count_of(&self, worker: &WorkerId) -> u64 {
        self.open_of.get(worker).map_or(0, |open| open.len() as u64)
    }
}
