//! Why something waits. Owns the typed reasons and computes them when asked, by the same questions
//! in the same order as a grant.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    account::{Account, AccountState, Trouble},
    engine::Engine,
    fleet::Fleet,
    grant::choose_thor,
    ids::{Mono, TaskIx, WaveIx},
    model::Family,
    plan::{Plan, STANDARD_CAP},
    row::{LeaseKind, Role},
    spec::{Demand, ThorKind, WorkspaceKind},
    state::{PauseReason, PlanState, Purpose, TaskState, WaveBlock, WaveState},
};

/// Why a wave or a task is not granted anything now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldReason {
    AwaitsApproval,
    PlanPaused(PauseReason),
    PlanBlocked(WaveBlock),
    /// An embedded run grants its own plan only.
    NotServed,
    /// Waves that are not done, by key.
    WavesBefore(Arc<Listed>),
    /// Standard runs one wave at a time: the one that has begun, by key.
    OneWaveAtATime(String),
    WaveBlocked(WaveBlock),
    /// Tasks that are not submitted, by key.
    Dependencies(Listed),
    /// A retry's wait.
    Delay {
        ms: u64,
    },
    /// The worker of its lost lease is back and may bring what it made.
    ResultOwed,
    /// Mode standard.
    Cap,
    MaxAgents(u32),
    NoWorker(Missing),
    /// Every worker that could do it is full.
    NoSlot,
    /// In standard, a task at work says that it touches the same files; its key.
    FilesOverlap(String),
    /// The account that it would spend from is in trouble; in so many ms it is tried again, if that is
    /// known.
    AccountInTrouble {
        account: Account,
        trouble: Trouble,
        ms: Option<u64>,
    },
    /// The coordinator's model is asked first.
    Counsel(Purpose),
    /// The verdict comes from outside of the workers.
    ExternalVerdict,
    /// It is granted in this very step.
    Next,
}

/// What no connected worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    Any,
    Role(Role),
    Runner(String),
    /// A runner that can be asked for models of this family.
    Model(String, Family),
    /// Credentials that are accepted: this account's are not.
    Credentials(Account),
    Labels(Vec<String>),
    /// A way to the repository: nobody could reach it.
    Repository(String),
}

impl HoldReason {
    /// The reason's word; part of the API.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::AwaitsApproval => "awaits_approval",
            Self::PlanPaused(_) => "plan_paused",
            Self::PlanBlocked(_) => "plan_blocked",
            Self::NotServed => "not_served",
            Self::WavesBefore(_) => "waves_before",
            Self::OneWaveAtATime(_) => "one_wave_at_a_time",
            Self::WaveBlocked(_) => "wave_blocked",
            Self::Dependencies(_) => "dependencies",
            Self::Delay { .. } => "delay",
            Self::ResultOwed => "result_owed",
            Self::Cap => "cap",
            Self::MaxAgents(_) => "max_agents",
            Self::NoWorker(_) => "no_worker",
            Self::NoSlot => "no_slot",
            Self::FilesOverlap(_) => "files_overlap",
            Self::AccountInTrouble { .. } => "account_in_trouble",
            Self::Counsel(_) => "counsel",
            Self::ExternalVerdict => "external_verdict",
            Self::Next => "next",
        }
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwaitsApproval => f.write_str("the plan awaits approval"),
            Self::PlanPaused(reason) => write!(f, "the plan is paused ({reason})"),
            Self::PlanBlocked(reason) => write!(f, "the plan is blocked ({reason})"),
            Self::NotServed => f.write_str("this embedded run grants its own plan only"),
            Self::WavesBefore(keys) => write!(f, "{keys} not done"),
            Self::OneWaveAtATime(key) => {
                write!(f, "one wave at a time in standard: {key} is not done")
            }
            Self::WaveBlocked(reason) => write!(f, "the wave is blocked ({reason})"),
            Self::Dependencies(keys) => write!(f, "{keys} not submitted"),
            Self::Delay { ms } => write!(f, "retry in {} s", ms.div_ceil(1000)),
            Self::ResultOwed => f.write_str("the worker of its lost lease is back: waiting for its result"),
            Self::Cap => write!(f, "{} leases live", CAP_IN_WORDS),
            Self::MaxAgents(most) => write!(f, "{most} agents at work, the coordinator's limit"),
            Self::NoWorker(missing) => missing.fmt(f),
            Self::NoSlot => f.write_str("every worker that could do it is full"),
            Self::FilesOverlap(key) => write!(f, "{key} is at work on files that it touches, too"),
            Self::AccountInTrouble { account, trouble, ms: Some(ms) } => {
                write!(f, "{account} {}; tried again in {} s", trouble.words(), ms.div_ceil(1000))
            }
            Self::AccountInTrouble { account, trouble, ms: None } => {
                write!(f, "{account} {}; one task tries whether it answers again", trouble.words())
            }
            Self::Counsel(Purpose::Briefing) => f.write_str("the coordinator's briefing"),
            Self::Counsel(Purpose::Triage) => f.write_str("the coordinator's triage"),
            Self::ExternalVerdict => f.write_str("a verdict from outside"),
            Self::Next => f.write_str("next to be granted"),
        }
    }
}

/// So many keys are told: a task may wait for thousands, and thousands of tasks for the same.
const MOST_KEYS: usize = 20;

/// Keys in a sentence: the first of them, and how many there are besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    pub keys: Vec<String>,
    pub more: usize,
}

impl<'k> FromIterator<&'k String> for Listed {
    fn from_iter<I: IntoIterator<Item = &'k String>>(all: I) -> Self {
        let mut all = all.into_iter();
        let keys = all.by_ref().take(MOST_KEYS).cloned().collect();
        Self { keys, more: all.count() }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.keys.join(", "))?;
        match self.more {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

const CAP_IN_WORDS: &str = {
    assert!(STANDARD_CAP == 3, "the word says three");
    "three"
};

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("no worker is connected"),
            Self::Role(role) => write!(f, "no connected worker has the role {role}"),
            Self::Runner(runner) => write!(f, "no connected worker has the runner {runner}"),
            Self::Model(runner, family) => {
                write!(f, "no connected worker's {runner} can be asked for {family}")
            }
            Self::Credentials(account) => write!(
                f,
                "{account} is not accepted: mend its credentials on the worker, then restart it or run `wavegate \
                 accounts clear {} {}`",
                account.runner, account.fingerprint
            ),
            Self::Repository(location) => {
                write!(f, "no connected worker can reach the repository {location}")
            }
            Self::Labels(labels) => write!(f, "no connected worker has the labels {}", labels.join(", ")),
        }
    }
}

impl Fleet {
    /// What is missing for such a lease, if no connected worker can ever do it as things are.
    pub(crate) fn missing(&self, role: Role, demand: Option<&Demand>) -> Option<Missing> {
        if self.connected().any(|worker| self.able(worker, role, demand)) {
            return None;
        }
        let has = |demand: Option<&Demand>| self.connected().any(|worker| worker.has(role, demand));
        let refused = self.connected().find(|worker| worker.has(role, demand));
        if let Some(account) = refused.and_then(|worker| self.account_of(worker, demand)) {
            return Some(Missing::Credentials(account));
        }
        let awake = self.connected().any(|worker| worker.is_awake());
        Some(match demand {
            _ if !awake => Missing::Any,
            _ if !has(None) => Missing::Role(role),
            Some(demand) => {
                let runner = Demand { requires: Vec::new(), family: None, runner: demand.runner.clone() };
                let model = Demand { family: demand.family, ..runner.clone() };
                match demand.family {
                    _ if !has(Some(&runner)) => Missing::Runner(runner.runner),
                    Some(family) if !has(Some(&model)) => Missing::Model(runner.runner, family),
                    _ => Missing::Labels(demand.requires.clone()),
                }
            }
            None => Missing::Role(role),
        })
    }
}

impl Engine {
    /// Why the waves and tasks of a plan wait; those that do not wait are left out. None: no such
    /// open plan.
    #[must_use]
    pub fn holds(&self, plan: crate::ids::PlanId, now: Mono) -> Option<Holds> {
        let plan = self.plans.get(&plan)?;
        let whole = self.plan_hold(plan);
        let mut holds = Holds::default();
        let mut known = Known { limit: self.limit(plan), ..Known::default() };
        for wave in (0..plan.waves.len() as u32).map(WaveIx) {
            if let Some(reason) = self.wave_hold(plan, wave, now, whole.as_ref()) {
                holds.waves.push((wave, reason));
            }
        }
        for task in (0..plan.tasks.len() as u32).map(TaskIx) {
            if matches!(plan.tasks[task.at()].state, TaskState::Pending { .. }) {
                holds.tasks.push((task, self.task_hold(plan, task, now, whole.as_ref(), &mut known)));
            }
        }
        Some(holds)
    }

    /// What keeps the whole plan from being granted anything.
    pub(crate) fn plan_hold(&self, plan: &Plan) -> Option<HoldReason> {
        match plan.row.state {
            PlanState::AwaitingApproval => Some(HoldReason::AwaitsApproval),
            // What is missing says more than that it paused for want of it.
            PlanState::Paused(PauseReason::NoWorker) if self.serves(plan.id()) => None,
            PlanState::Paused(reason) => Some(HoldReason::PlanPaused(reason)),
            PlanState::Blocked(reason) => Some(HoldReason::PlanBlocked(reason)),
            PlanState::Running if !self.serves(plan.id()) => Some(HoldReason::NotServed),
            PlanState::Running | PlanState::Done | PlanState::Cancelled => None,
        }
    }

    fn wave_hold(
        &self,
        plan: &Plan,
        wave: WaveIx,
        now: Mono,
        whole: Option<&HoldReason>,
    ) -> Option<HoldReason> {
        let row = &plan.waves[wave.at()];
        match row.row.state {
            WaveState::Waiting => Some(waiting_wave(plan, wave, whole)),
            WaveState::Blocked(reason) => Some(HoldReason::WaveBlocked(reason)),
            WaveState::Integrating | WaveState::Publishing | WaveState::Validating if row.duty.is_some() => {
                None
            }
            WaveState::Integrating | WaveState::Publishing => {
                // Another wave of the plan is being published.
                let kind = duty_of(plan, wave)?.kind;
                Some(
                    whole
                        .cloned()
                        .unwrap_or_else(|| self.full_or_missing(plan, kind, Role::Executor, None, now)),
                )
            }
            WaveState::Validating if plan.shape.thor == ThorKind::External => {
                Some(HoldReason::ExternalVerdict)
            }
            WaveState::Validating => Some(whole.cloned().unwrap_or_else(|| self.thor_hold(plan, wave, now))),
            WaveState::Running => {
                let Duty { kind, role, demand } = duty_of(plan, wave)?;
                let demand = demand.as_ref();
                Some(whole.cloned().unwrap_or_else(|| self.full_or_missing(plan, kind, role, demand, now)))
            }
            WaveState::Done | WaveState::Cancelled => None,
        }
    }

    fn task_hold(
        &self,
        plan: &Plan,
        task: TaskIx,
        now: Mono,
        whole: Option<&HoldReason>,
        known: &mut Known,
    ) -> HoldReason {
        let (shape, _) = plan.task(task);
        if let Some(whole) = whole {
            return whole.clone();
        }
        match plan.waves[shape.wave.at()].row.state {
            WaveState::Waiting => {
                let reason = known.waiting.entry(shape.wave);
                return reason.or_insert_with(|| waiting_wave(plan, shape.wave, None)).clone();
            }
            WaveState::Blocked(reason) => return HoldReason::WaveBlocked(reason),
            WaveState::Running
            | WaveState::Integrating
            | WaveState::Validating
            | WaveState::Publishing
            | WaveState::Done
            | WaveState::Cancelled => {}
        }
        let unmet: Listed = plan.unsettled(task).map(|before| &plan.shape.tasks[before.at()].key).collect();
        if !unmet.keys.is_empty() {
            return HoldReason::Dependencies(unmet);
        }
        if let Some(until) = plan.delayed.get(&task) {
            if plan.is_claimed(task, now) {
                return HoldReason::ResultOwed;
            }
            return HoldReason::Delay { ms: until.since(now) };
        }
        if let Some(purpose) =
            plan.waves[shape.wave.at()].row.counsel.filter(|_| plan.tasks[task.at()].awaits_counsel.is_held())
        {
            return HoldReason::Counsel(purpose);
        }
        if let Some(limit) = &known.limit {
            return limit.clone();
        }
        if let Some(other) = plan.overlaps_live(task) {
            return HoldReason::FilesOverlap(plan.shape.tasks[other.at()].key.clone());
        }
        let reason = known.by_class.entry(plan.class_of(task));
        let demand = Some(&shape.demand);
        reason
            .or_insert_with(|| self.full_or_missing(plan, LeaseKind::Task, Role::Executor, demand, now))
            .clone()
    }

    /// What is missing for such a lease of the plan, if no connected worker can ever do it as things are.
    pub(crate) fn missing(
        &self,
        plan: &Plan,
        kind: LeaseKind,
        role: Role,
        demand: Option<&Demand>,
    ) -> Option<Missing> {
        if let Some(missing) = self.fleet.missing(role, demand) {
            return Some(missing);
        }
        let without = plan.out_of_reach_for(kind);
        let reaches = |worker: &crate::fleet::Worker| {
            self.fleet.able(worker, role, demand) && !without.contains(&worker.row.id)
        };
        let is_reached = without.is_empty() || self.fleet.connected().any(reaches);
        (!is_reached).then(|| Missing::Repository(plan.shape.repository.clone()))
    }

    /// The limit on agents that keeps the plan from one more task lease.
    pub(crate) fn limit(&self, plan: &Plan) -> Option<HoldReason> {
        if plan.cap().is_some_and(|cap| plan.open_tasks >= cap) {
            return Some(HoldReason::Cap);
        }
        let most = self.config.max_agents?;
        (self.index.open_tasks >= most).then_some(HoldReason::MaxAgents(most))
    }

    /// The trouble of the account by which it could be done soonest, when every one is in trouble.
    fn account_hold(&self, role: Role, demand: Option<&Demand>, now: Mono) -> Option<HoldReason> {
        let able = || self.fleet.connected().filter(|worker| self.fleet.able(worker, role, demand));
        if able().any(|worker| self.fleet.can(worker, role, demand)) {
            return None;
        }
        let troubles = able().filter_map(|worker| {
            let account = self.fleet.account_of(worker, demand)?;
            let (trouble, ms) = match self.fleet.accounts.state(&account) {
                AccountState::Waiting { trouble, .. } => {
                    (trouble, Some(self.fleet.accounts.wait_ms(&account, now)))
                }
                AccountState::Probing { trouble, .. } => (trouble, None),
                AccountState::Open | AccountState::Refused => return None,
            };
            Some((ms, account, trouble))
        });
        let (ms, account, trouble) = troubles.min()?;
        Some(HoldReason::AccountInTrouble { account, trouble, ms })
    }

    /// A free Thor that did the work itself is none while another one could come free.
    fn thor_hold(&self, plan: &Plan, wave: WaveIx, now: Mono) -> HoldReason {
        let demand = plan.thor_demand();
        let reason = self.full_or_missing(plan, LeaseKind::Validate, Role::Thor, demand.as_ref(), now);
        let thor = || choose_thor(&self.fleet, &self.index, plan, wave, demand.as_ref());
        if reason == HoldReason::Next && thor().is_none() {
            return HoldReason::NoSlot;
        }
        reason
    }

    fn full_or_missing(
        &self,
        plan: &Plan,
        kind: LeaseKind,
        role: Role,
        demand: Option<&Demand>,
        now: Mono,
    ) -> HoldReason {
        if let Some(missing) = self.missing(plan, kind, role, demand) {
            return HoldReason::NoWorker(missing);
        }
        let without = plan.out_of_reach_for(kind);
        if let Some(trouble) = self.account_hold(role, demand, now) {
            return trouble;
        }
        let can = |id: &crate::ids::WorkerId| {
            let worker = self.fleet.worker(id).filter(|_| !without.contains(id));
            worker.is_some_and(|worker| self.fleet.can(worker, role, demand))
        };
        let free = self.index.room().any(can);
        if free { HoldReason::Next } else { HoldReason::NoSlot }
    }
}

/// What holds many tasks alike, found once.
#[derive(Debug, Default)]
struct Known {
    limit: Option<HoldReason>,
    waiting: BTreeMap<WaveIx, HoldReason>,
    by_class: BTreeMap<usize, HoldReason>,
}

/// What waits in a plan, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds {
    pub waves: Vec<(WaveIx, HoldReason)>,
    pub tasks: Vec<(TaskIx, HoldReason)>,
}

fn waiting_wave(plan: &Plan, wave: WaveIx, whole: Option<&HoldReason>) -> HoldReason {
    let key = |wave: WaveIx| &plan.shape.waves[wave.at()].key;
    let before: Listed = plan.waves_before(wave).map(key).collect();
    if !before.keys.is_empty() {
        return HoldReason::WavesBefore(Arc::new(before));
    }
    match (whole, plan.wave_in_the_way(wave)) {
        (Some(whole), _) => whole.clone(),
        (None, Some(other)) => HoldReason::OneWaveAtATime(key(other).clone()),
        (None, None) => HoldReason::Next,
    }
}

/// A lease of the coordinator's own doing: what it is, who may have it, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Duty {
    pub(crate) kind: LeaseKind,
    pub(crate) role: Role,
    pub(crate) demand: Option<Demand>,
}

/// The lease of the coordinator's own doing that a wave waits for.
pub(crate) fn duty_of(plan: &Plan, wave: WaveIx) -> Option<Duty> {
    let wave = &plan.waves[wave.at()];
    if wave.duty.is_some() {
        return None;
    }
    let duty = |kind, role, demand| Some(Duty { kind, role, demand });
    match wave.row.state {
        WaveState::Validating if plan.shape.thor == ThorKind::External => None,
        WaveState::Validating => duty(LeaseKind::Validate, Role::Thor, plan.thor_demand()),
        WaveState::Integrating if plan.shape.workspace == WorkspaceKind::None => None,
        WaveState::Integrating => duty(LeaseKind::Integrate, Role::Executor, None),
        // One after the other: each starts from what the one before has published.
        WaveState::Publishing if plan.publishes() => None,
        WaveState::Publishing => duty(LeaseKind::Publish, Role::Executor, None),
        WaveState::Running if wave.row.counsel.is_none() => None,
        WaveState::Running => duty(LeaseKind::Coordinate, Role::Coordinator, Some(plan.counsel_demand())),
        WaveState::Waiting | WaveState::Done | WaveState::Blocked(_) | WaveState::Cancelled => None,
    }
}
