//! Who is connected. Owns the workers and their sessions: the only state that is not kept over a
//! restart, beside when each lease was last heard of. Decides nothing about leases.

use std::{
    cmp::Reverse,
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
#[derive(Debug, Clone, Default)]
pub(crate) struct Fleet {
    workers: BTreeMap<WorkerId, Worker>,
    sessions: BTreeMap<SessionId, WorkerId>,
    pub(crate) accounts: Accounts,
    /// When this coordinator began to listen; absent where it never had others before.
    began: Option<Mono>,
    /// No session that is not silent was heard of before this.
    least_heard: Option<Mono>,
    /// What to go back to when a batch cannot be committed. Ten thousand workers are not copied for each
    /// batch: only what it changes is kept. Absent where nobody asks for that.
    before: Option<Before>,
}

/// How the fleet was when the batch began: what has changed since, as it was, the newest last.
#[derive(Debug, Clone, Default)]
struct Before {
    workers: Vec<(WorkerId, Option<Worker>)>,
    sessions: Vec<(SessionId, Option<WorkerId>)>,
    accounts: Accounts,
    least_heard: Option<Mono>,
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

/// Grants on their way to one worker. What is told of a lease makes room for the next, so only one that does not
/// read gets no more: it must not take with it what waits for it. Half of what a session's outbox holds.
const MOST_UNSEEN: u64 = 512;
/// Leases of one worker, also of one without a limit of its own: a heartbeat of 256 KiB names them all.
const MOST_LEASES: u64 = 5_000;

/// Which plan an open or late lease belongs to, which leases a worker may still be working on, and who has
/// room for more.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeaseIndex {
    pub(crate) plan_of: BTreeMap<LeaseId, PlanId>,
    open_of: BTreeMap<WorkerId, BTreeSet<LeaseId>>,
    /// Slots of the workers that may be granted something as long as they are heard.
    seats: BTreeMap<WorkerId, u64>,
    /// Grants of which nothing shows yet that they arrived.
    unseen: BTreeMap<WorkerId, u64>,
    /// Those of them that can be granted more: most free slots first, then lowest id.
    room: BTreeSet<(Reverse<u64>, WorkerId)>,
    /// Open task leases of all plans.
    pub(crate) open_tasks: u32,
}

impl Fleet {
    pub(crate) fn new(rows: Vec<WorkerRow>, accounts: Accounts) -> Self {
        let workers = rows
            .into_iter()
            .map(|row| (row.id.clone(), Worker { row: Arc::new(row), session: None }))
            .collect();
        Self { workers, accounts, ..Self::default() }
    }

    /// A batch begins: what changes from now on can be taken back.
    pub(crate) fn mark(&mut self) {
        let (accounts, least_heard) = (self.accounts.clone(), self.least_heard);
        self.before = Some(Before { accounts, least_heard, ..Before::default() });
    }

    /// Takes back what has changed since the mark.
    pub(crate) fn go_back(&mut self) {
        let Some(Before { workers, sessions, accounts, least_heard }) = self.before.take() else { return };
        for (id, worker) in workers.into_iter().rev() {
            match worker {
                Some(worker) => self.workers.insert(id, worker),
                None => self.workers.remove(&id),
            };
        }
        for (id, worker) in sessions.into_iter().rev() {
            match worker {
                Some(worker) => self.sessions.insert(id, worker),
                None => self.sessions.remove(&id),
            };
        }
        self.accounts = accounts;
        self.least_heard = least_heard;
    }

    /// A worker is about to change.
    fn note_worker(&mut self, id: &WorkerId) {
        if let Some(before) = &mut self.before {
            before.workers.push((id.clone(), self.workers.get(id).cloned()));
        }
    }

    /// A session is about to begin or to end.
    fn note_session(&mut self, id: SessionId) {
        if let Some(before) = &mut self.before {
            before.sessions.push((id, self.sessions.get(&id).cloned()));
        }
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
        // A batch that is under way goes on from here.
        self.before = None;
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

    pub(crate) fn put(&mut self, row: WorkerRow, session: Session) {
        let id = row.id.clone();
        self.note_worker(&id);
        self.note_session(session.id);
        self.listens_since(session.heard);
        self.sessions.insert(session.id, id.clone());
        self.workers.insert(id, Worker { row: Arc::new(row), session: Some(session) });
    }

    pub(crate) fn set_row(&mut self, row: WorkerRow) {
        self.note_worker(&row.id);
        if let Some(worker) = self.workers.get_mut(&row.id) {
            worker.row = Arc::new(row);
        }
    }

    pub(crate) fn heard(&mut self, session: SessionId, now: Mono) {
        if let Some(open) = self.session_mut(session) {
            open.heard = now;
            if std::mem::take(&mut open.silent) {
                self.listens_since(now);
            }
        }
    }

    /// Marks the sessions that were not heard of for `after` ms.
    pub(crate) fn mark_silent(&mut self, now: Mono, after: u64) {
        let mut fallen = Vec::new();
        self.least_heard = None;
        for id in self.sessions.values() {
            let Some(session) = self.workers.get(id).and_then(|worker| worker.session.as_ref()) else {
                continue;
            };
            let silent = now.since(session.heard) >= after;
            if silent != session.silent {
                fallen.push((session.id, silent));
            }
            if !silent {
                self.least_heard =
                    Some(self.least_heard.map_or(session.heard, |least| least.min(session.heard)));
            }
        }
        for (session, silent) in fallen {
            if let Some(session) = self.session_mut(session) {
                session.silent = silent;
            }
        }
    }

    fn listens_since(&mut self, now: Mono) {
        self.least_heard = Some(self.least_heard.map_or(now, |least| least.min(now)));
    }

    /// When the next session may become silent; never too late.
    pub(crate) fn next_silence(&self, after: u64) -> Option<Mono> {
        Some(self.least_heard?.plus(after))
    }

    /// The number for the next grant in the worker's session.
    pub(crate) fn next_grant(&mut self, worker: &WorkerId) -> Option<(SessionId, u64)> {
        self.note_worker(worker);
        let session = self.workers.get_mut(worker)?.session.as_mut()?;
        session.grants += 1;
        Some((session.id, session.grants))
    }

    /// Ends the session, if it is open; gives its worker.
    pub(crate) fn close(&mut self, session: SessionId) -> Option<WorkerId> {
        self.note_session(session);
        let id = self.sessions.remove(&session)?;
        self.note_worker(&id);
        if let Some(worker) = self.workers.get_mut(&id)
            && worker.session.as_ref().is_some_and(|open| open.id == session)
        {
            worker.session = None;
        }
        Some(id)
    }

    pub(crate) fn forget(&mut self, worker: &WorkerId) {
        self.note_worker(worker);
        self.workers.remove(worker);
    }

    fn session_mut(&mut self, session: SessionId) -> Option<&mut Session> {
        let id = self.sessions.get(&session)?.clone();
        self.note_worker(&id);
        self.workers.get_mut(&id)?.session.as_mut()
    }
}

impl Worker {
    /// How many leases it may have at a time; None: none at all, whoever asks.
    pub(crate) fn seats(&self) -> Option<u64> {
        let is_open = self.session.is_some() && !self.row.draining;
        is_open.then(|| self.row.slots.map_or(MOST_LEASES, u64::from).min(MOST_LEASES))
    }

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
        self.with_room(worker, |index| {
            index.open_of.entry(worker.clone()).or_default().insert(lease);
        });
    }

    /// No agent works under it any more; a late result may still come.
    pub(crate) fn close(&mut self, lease: LeaseId, worker: &WorkerId) {
        self.with_room(worker, |index| {
            if let Some(open) = index.open_of.get_mut(worker) {
                open.remove(&lease);
                if open.is_empty() {
                    index.open_of.remove(worker);
                }
            }
        });
    }

    /// The worker may have so many leases from now on; None: no new one.
    pub(crate) fn seat(&mut self, worker: &WorkerId, slots: Option<u64>) {
        self.with_room(worker, |index| {
            match slots {
                Some(slots) => index.seats.insert(worker.clone(), slots),
                None => index.seats.remove(worker),
            };
        });
    }

    /// The workers that can be granted more: most free slots first, then lowest id.
    pub(crate) fn room(&self) -> impl Iterator<Item = &WorkerId> {
        self.room.iter().map(|(_, worker)| worker)
    }

    fn with_room(&mut self, worker: &WorkerId, change: impl FnOnce(&mut Self)) {
        let before = self.free(worker);
        change(self);
        let after = self.free(worker);
        if before == after {
            return;
        }
        if before > 0 {
            self.room.remove(&(Reverse(before), worker.clone()));
        }
        if after > 0 {
            self.room.insert((Reverse(after), worker.clone()));
        }
    }

    /// A grant is on its way.
    pub(crate) fn sent(&mut self, worker: &WorkerId) {
        self.with_room(worker, |index| *index.unseen.entry(worker.clone()).or_default() += 1);
    }

    /// A grant that was on its way has arrived, or its lease is over.
    pub(crate) fn seen(&mut self, worker: &WorkerId) {
        self.with_room(worker, |index| {
            if let Some(unseen) = index.unseen.get_mut(worker) {
                *unseen = unseen.saturating_sub(1);
                if *unseen == 0 {
                    index.unseen.remove(worker);
                }
            }
        });
    }

    fn free(&self, worker: &WorkerId) -> u64 {
        if self.unseen.get(worker).is_some_and(|unseen| *unseen >= MOST_UNSEEN) {
            return 0;
        }
        self.seats.get(worker).map_or(0, |slots| slots.saturating_sub(self.count_of(worker)))
    }

    pub(crate) fn forget(&mut self, lease: LeaseId) {
        self.plan_of.remove(&lease);
    }

    pub(crate) fn open_of(&self, worker: &WorkerId) -> Vec<LeaseId> {
        self.open_of.get(worker).map(|open| open.iter().copied().collect()).unwrap_or_default()
    }

    fn count_of(&self, worker: &WorkerId) -> u64 {
        self.open_of.get(worker).map_or(0, |open| open.len() as u64)
    }
}
