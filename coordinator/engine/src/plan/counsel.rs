//! The counsel of the coordinator's own model: a briefing before each wave in max, a triage after a
//! rejection or repeated failures. Owns who waits for it and what its end means; that the tier's family
//! answers, and no other, is checked here.
//!
//! Counsel is for agents: plans of shell commands have none. In standard the findings themselves serve
//! where no connected worker can give counsel; max waits for one that can.

use super::{Context, Plan, outcome::MAX_COUNSEL_FAILURES};
use crate::{
    effect::{Change, EventKind},
    ids::{TaskIx, WaveIx},
    model::Family,
    row::{AwaitsCounsel, LeaseRow, LeaseWork, Outcome, Report, Role},
    spec::Demand,
    state::{Mode, PauseReason, PlanState, Purpose, TaskState, Tier, WaveState},
};

impl Plan {
    /// The tier that the plan runs under.
    pub(crate) fn tier(&self) -> Tier {
        self.row.tier.unwrap_or(Tier::Sonnet)
    }

    /// What a coordinate lease asks of a worker.
    pub(crate) fn counsel_demand(&self) -> Demand {
        Demand {
            runner: self.shape.coordinator_runner.clone(),
            family: Some(self.tier().family()),
            requires: Vec::new(),
        }
    }

    /// A wave begins: in max its agents are briefed first.
    pub(super) fn ask_for_briefing(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx) {
        if self.row.mode == Some(Mode::Max) {
            let agents: Vec<_> =
                self.tasks_of(wave).filter(|task| self.shape.tasks[task.at()].agent).collect();
            self.ask_for_counsel(ctx, wave, Purpose::Briefing, &agents);
        }
    }

    /// Tasks go back or fail again: what should be different this time?
    pub(super) fn ask_for_triage(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx, tasks: &[TaskIx]) {
        if self.waves[wave.at()].row.state != WaveState::Running || self.row.state.is_final() {
            return;
        }
        let agents: Vec<_> = tasks
            .iter()
            .copied()
            .filter(|task| {
                self.shape.tasks[task.at()].agent
                    && matches!(self.tasks[task.at()].state, TaskState::Pending { .. })
            })
            .collect();
        let demand = self.counsel_demand();
        let can_be_had = ctx.fleet.missing(Role::Coordinator, Some(&demand)).is_none();
        if self.row.mode == Some(Mode::Max) || can_be_had {
            self.ask_for_counsel(ctx, wave, Purpose::Triage, &agents);
        }
    }

    fn ask_for_counsel(
        &mut self,
        ctx: &mut Context<'_, '_>,
        wave: WaveIx,
        purpose: Purpose,
        tasks: &[TaskIx],
    ) {
        if tasks.is_empty() {
            return;
        }
        for task in tasks {
            self.adjust_task(ctx, *task, |row| row.awaits_counsel = AwaitsCounsel::ToBeAsked);
        }
        // A briefing that is still owed says more than a triage.
        if self.waves[wave.at()].row.counsel != Some(Purpose::Briefing) {
            self.change_wave(ctx, wave, |row| {
                row.counsel = Some(purpose);
                row.counsel_failures = 0;
            });
        }
        let mut event = self.event(EventKind::WaveCounsel);
        event.wave = Some(wave);
        event.reason = purpose.as_str().to_owned();
        event.text = format!("{} of {}", self.tier(), keys(self, tasks));
        ctx.emit(event);
    }

    /// Counsel that nobody will give is not waited for: in standard without a worker that could give it,
    /// and a briefing that the mode no longer asks for. Workers come and go without a word to the plan, so
    /// this is looked at each time.
    pub(crate) fn drop_vain_counsel(&mut self, ctx: &mut Context<'_, '_>) {
        let goes_on = matches!(self.row.state, PlanState::Running | PlanState::Paused(PauseReason::NoWorker));
        if self.row.mode == Some(Mode::Max) || !goes_on {
            return;
        }
        for wave in self.waves_in(WaveState::Running).collect::<Vec<_>>() {
            let state = &self.waves[wave.at()];
            if let Some(purpose) = state.row.counsel.filter(|_| state.duty.is_none())
                && (purpose == Purpose::Briefing || self.is_counsel_vain(ctx))
            {
                self.end_counsel(ctx, wave);
            }
        }
    }

    /// Whether no worker can give it. After a start the workers are given the time to come back.
    fn is_counsel_vain(&self, ctx: &Context<'_, '_>) -> bool {
        let patience = ctx.config.timings.unreachable_after_ms;
        ctx.fleet.is_gathered(ctx.moment.mono, patience)
            && ctx.fleet.missing(Role::Coordinator, Some(&self.counsel_demand())).is_some()
    }

    /// The tasks that waited go on.
    fn end_counsel(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx) {
        self.change_wave(ctx, wave, |row| {
            row.counsel = None;
            row.counsel_failures = 0;
        });
        for task in self.awaiting_counsel(wave) {
            self.adjust_task(ctx, task, |row| row.awaits_counsel = AwaitsCounsel::No);
        }
    }

    /// Counsel was given on what was asked. What came to wait meanwhile has had none: it is asked about
    /// now.
    fn counsel_given(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx) {
        let asked = |plan: &Self, task: &TaskIx| {
            let row = &plan.tasks[task.at()];
            row.awaits_counsel == AwaitsCounsel::Asked || !matches!(row.state, TaskState::Pending { .. })
        };
        let (given, later): (Vec<_>, Vec<_>) =
            self.awaiting_counsel(wave).into_iter().partition(|task| asked(self, task));
        if later.is_empty() {
            self.end_counsel(ctx, wave);
            return;
        }
        for task in given {
            self.adjust_task(ctx, task, |row| row.awaits_counsel = AwaitsCounsel::No);
        }
        self.change_wave(ctx, wave, |row| {
            row.counsel = Some(Purpose::Triage);
            row.counsel_failures = 0;
        });
    }

    /// The tasks of the wave that wait for counsel, in plan order.
    pub(crate) fn awaiting_counsel(&self, wave: WaveIx) -> Vec<TaskIx> {
        self.tasks_of(wave).filter(|task| self.tasks[task.at()].awaits_counsel.is_held()).collect()
    }

    /// A coordinate lease came to an end by itself.
    pub(super) fn on_counsel(&mut self, ctx: &mut Context<'_, '_>, row: &LeaseRow, report: &Report) {
        let LeaseWork::Coordinate { purpose, tier } = row.work else {
            return;
        };
        if !self.is_counsel_wanted(row.wave) {
            return;
        }
        let answered = report.talk.model.as_str();
        if !answered.is_empty() && Family::of(answered) != Some(tier.family()) {
            let why = format!("the coordinator's tier is {tier}, but {answered} answered");
            self.pause(ctx, PauseReason::Tier, &why);
            return;
        }
        match (report.outcome, &report.counsel) {
            // The plan has moved to max meanwhile: that tier's word is no longer enough, and is asked for.
            (Outcome::Succeeded, Some(_)) if tier < self.tier() => {}
            (Outcome::Succeeded, Some(counsel)) if !answered.is_empty() => {
                ctx.effects.changes.push(Change::Counsel { lease: row.id, counsel: counsel.clone() });
                let mut event = self.lease_event(EventKind::WaveAdvised, row);
                event.reason = purpose.as_str().to_owned();
                event.text = format!("{answered}: {}", counsel.note.lines().next().unwrap_or_default());
                ctx.emit(event);
                self.counsel_given(ctx, row.wave);
            }
            _ => self.count_counsel_failure(ctx, row.wave, &report.summary),
        }
    }

    fn is_counsel_wanted(&self, wave: WaveIx) -> bool {
        let row = &self.waves[wave.at()].row;
        row.counsel.is_some() && row.state == WaveState::Running
    }

    /// The coordinator is asked again, and after that a person is.
    pub(super) fn count_counsel_failure(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx, why: &str) {
        if !self.is_counsel_wanted(wave) {
            return;
        }
        self.change_wave(ctx, wave, |row| row.counsel_failures += 1);
        if self.waves[wave.at()].row.counsel_failures > MAX_COUNSEL_FAILURES {
            self.pause(ctx, PauseReason::Coordination, why);
        }
    }

    /// A mode without briefings, or another tier: what was asked of the old one is asked anew.
    pub(super) fn on_tier_changed(&mut self, ctx: &mut Context<'_, '_>) {
        if self.row.state == PlanState::AwaitingApproval {
            return;
        }
        self.drop_vain_counsel(ctx);
    }
}

fn keys(plan: &Plan, tasks: &[TaskIx]) -> String {
    let keys: Vec<_> = tasks.iter().map(|task| plan.shape.tasks[task.at()].key.as_str()).collect();
    keys.join(", ")
}
