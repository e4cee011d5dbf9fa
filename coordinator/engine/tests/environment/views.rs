//! What a test looks at: rows of the first plan by key, and why something waits.

use wavegate_engine::{
    HoldReason, Mono, PlanRow, PlanState, SessionId, TaskIx, TaskRow, TaskState, WaveIx, WaveRow, WaveState,
};

use super::{P1, World, store::task_of};

impl World {
    pub(crate) fn plan(&self) -> &PlanRow {
        &self.store.plans[&P1].row
    }

    pub(crate) fn plan_state(&self) -> PlanState {
        self.plan().state
    }

    pub(crate) fn wave(&self, key: &str) -> &WaveRow {
        let plan = &self.store.plans[&P1];
        let at = plan.shape.waves.iter().position(|wave| wave.key == key).expect("the plan has the wave");
        &plan.waves[at]
    }

    pub(crate) fn wave_state(&self, key: &str) -> WaveState {
        self.wave(key).state
    }

    pub(crate) fn task(&self, key: &str) -> &TaskRow {
        &self.store.plans[&P1].tasks[self.task_ix(key).at()]
    }

    pub(crate) fn task_state(&self, key: &str) -> TaskState {
        self.task(key).state
    }

    /// Attempt, failures, losses, rejections of a task, and the round of its wave.
    pub(crate) fn counters(&self, key: &str) -> (u32, u32, u32, u32, u32) {
        let row = self.task(key);
        let plan = &self.store.plans[&P1];
        let wave = plan.shape.tasks[self.task_ix(key).at()].wave;
        (row.attempt, row.failures, row.losses, row.rejections, plan.waves[wave.at()].round)
    }

    pub(crate) fn task_ix(&self, key: &str) -> TaskIx {
        let tasks = &self.store.plans[&P1].shape.tasks;
        TaskIx(tasks.iter().position(|task| task.key == key).expect("the plan has the task") as u32)
    }

    pub(crate) fn cap_count(&self) -> usize {
        self.store.open_task_leases(P1).count()
    }

    /// Why a task of the first plan waits.
    pub(crate) fn hold(&self, task: &str) -> Option<HoldReason> {
        let holds = self.engine.holds(P1, Mono(self.mono))?;
        let task = self.task_ix(task);
        holds.tasks.into_iter().find(|(held, _)| *held == task).map(|(_, reason)| reason)
    }

    pub(crate) fn wave_hold(&self, wave: WaveIx) -> Option<HoldReason> {
        let holds = self.engine.holds(P1, Mono(self.mono))?;
        holds.waves.into_iter().find(|(held, _)| *held == wave).map(|(_, reason)| reason)
    }

    pub(crate) fn session_of(&self, worker: &str) -> Option<SessionId> {
        self.sessions.get(worker).copied()
    }

    /// The keys of the tasks that have an open lease.
    pub(crate) fn at_work(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.store.open_task_leases(P1).filter(|l| task_of(l).is_some()).collect();
        keys.sort_by_key(|lease| task_of(lease));
        keys.into_iter().map(|lease| self.what(lease)).collect()
    }
}
