//! What follows by itself: waves that may begin, that are ready for integration or Thor, that are
//! stuck, that are done. Owns the life of a wave but for what verdicts and persons decide.

use sha2::Digest as _;

use super::{Context, Plan};
use crate::{
    effect::{Change, EventKind},
    ids::{Digest, WaveIx},
    spec::WorkspaceKind,
    state::{Mode, PauseReason, PlanState, WaveBlock, WaveState},
};

impl Plan {
    /// Takes every step that can be taken now. Solving twice changes nothing.
    pub(crate) fn progress(&mut self, ctx: &mut Context<'_, '_>) {
        self.expect_allowed_tier(ctx);
        while self.row.state == PlanState::Running && std::mem::take(&mut self.stirred) {
            if !std::mem::take(&mut self.waves_stirred) {
                // Only what happened in a wave that has begun can be news.
                for wave in self.waves_in(WaveState::Running).collect::<Vec<_>>() {
                    self.progress_wave(ctx, wave);
                }
                continue;
            }
            for wave in (0..self.waves.len() as u32).map(WaveIx) {
                self.progress_wave(ctx, wave);
            }
            if self.waves.iter().all(|wave| wave.row.state == WaveState::Done) {
                self.set_state(ctx, PlanState::Done);
                ctx.emit(self.event(EventKind::PlanDone));
            }
        }
    }

    /// A plan that was approved under another operator's settings does not go on against these.
    fn expect_allowed_tier(&mut self, ctx: &mut Context<'_, '_>) {
        if self.row.state == PlanState::Running && self.tier() > ctx.config.max_tier {
            let why = format!(
                "it runs in max, whose coordinator is {}, and this coordinator's operator allows no more than {} (--max-tier): `wavegate mode {} standard`, then `wavegate resume {}`",
                self.tier(),
                ctx.config.max_tier,
                self.id(),
                self.id()
            );
            self.pause(ctx, PauseReason::Tier, &why);
        }
    }

    fn progress_wave(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx) {
        match self.waves[wave.at()].row.state {
            WaveState::Waiting => self.try_start(ctx, wave),
            WaveState::Running => self.try_leave_running(ctx, wave),
            WaveState::Integrating
            | WaveState::Validating
            | WaveState::Publishing
            | WaveState::Done
            | WaveState::Blocked(_)
            | WaveState::Cancelled => {}
        }
    }

    fn try_start(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx) {
        if self.waves_before(wave).next().is_some() || self.wave_in_the_way(wave).is_some() {
            return;
        }
        self.change_wave(ctx, wave, |row| row.state = WaveState::Running);
        let mut event = self.event(EventKind::WaveStarted);
        event.wave = Some(wave);
        let tasks = self.shape.waves[wave.at()].tasks.len();
        event.text = format!("{tasks} {}", if tasks == 1 { "task" } else { "tasks" });
        ctx.emit(event);
        self.ask_for_briefing(ctx, wave);
    }

    /// The waves that this one still waits for.
    pub(crate) fn waves_before(&self, wave: WaveIx) -> impl Iterator<Item = WaveIx> {
        self.shape.waves[wave.at()]
            .depends_on
            .iter()
            .copied()
            .filter(|before| self.waves[before.at()].row.state != WaveState::Done)
    }

    /// In standard, the wave that has begun and is not done: one wave at a time.
    pub(crate) fn wave_in_the_way(&self, wave: WaveIx) -> Option<WaveIx> {
        if self.row.mode == Some(Mode::Max) {
            return None;
        }
        self.begun.iter().copied().find(|other| *other != wave)
    }

    fn try_leave_running(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx) {
        let state = &self.waves[wave.at()];
        let counts = state.counts;
        if counts.pending + counts.leased + counts.blocked == 0 {
            self.integrate(ctx, wave);
        } else if counts.blocked > 0
            && counts.leased == 0
            && state.ready == 0
            && state.delayed == 0
            && state.row.counsel.is_none()
        {
            self.block_wave(ctx, wave, WaveBlock::Tasks);
        }
    }

    /// Every task is submitted, skipped or cancelled: the candidate is to be built.
    pub(super) fn integrate(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx) {
        let tree = self.row.tree;
        self.change_wave(ctx, wave, |row| {
            row.state = WaveState::Integrating;
            row.target = tree;
            row.candidate = None;
            row.integrate_failures = 0;
            row.validate_failures = 0;
        });
        match self.shape.workspace {
            // Nothing to put together: the candidate is the set of accepted results.
            WorkspaceKind::None => {
                let candidate = self.candidate_of_results(wave);
                self.validate(ctx, wave, candidate);
            }
            WorkspaceKind::Dir | WorkspaceKind::Git => {
                let mut event = self.event(EventKind::WaveIntegrating);
                event.wave = Some(wave);
                ctx.emit(event);
            }
        }
    }

    /// The candidate is built: Thor's turn.
    pub(super) fn validate(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx, candidate: Digest) {
        self.change_wave(ctx, wave, |row| {
            row.state = WaveState::Validating;
            row.candidate = Some(candidate);
            row.validate_failures = 0;
        });
        let mut event = self.event(EventKind::WaveValidating);
        event.wave = Some(wave);
        event.text = format!("round {}", self.waves[wave.at()].row.round);
        ctx.emit(event);
    }

    fn candidate_of_results(&self, wave: WaveIx) -> Digest {
        let mut hash = sha2::Sha256::new();
        hash.update(b"wavegate candidate of results\n");
        for task in self.tasks_of(wave) {
            let (shape, row) = self.task(task);
            let lease = row.result.as_ref().map(|result| result.lease.to_string()).unwrap_or_default();
            hash.update(format!("{}\t{}\t{lease}\n", shape.key, row.state.name()));
        }
        Digest(hash.finalize().into())
    }

    pub(super) fn block_wave(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx, reason: WaveBlock) {
        self.change_wave(ctx, wave, |row| row.state = WaveState::Blocked(reason));
        let blocked: Vec<_> = self
            .tasks_of(wave)
            .filter(|task| matches!(self.tasks[task.at()].state, crate::state::TaskState::Blocked(_)))
            .map(|task| self.shape.tasks[task.at()].key.as_str())
            .collect();
        let mut event = self.event(EventKind::WaveBlocked);
        event.wave = Some(wave);
        event.reason = reason.as_str().to_owned();
        event.text = blocked.join(", ");
        let mut plan_event = event.clone();
        plan_event.kind = EventKind::PlanBlocked;
        ctx.emit(event);
        if self.row.state == PlanState::Running {
            self.set_state(ctx, PlanState::Blocked(reason));
            ctx.emit(plan_event);
        }
    }

    /// A person moved a wave on: the plan runs again when none is left blocked.
    pub(super) fn unblock(&mut self, ctx: &mut Context<'_, '_>) {
        let blocked = self.waves.iter().any(|wave| matches!(wave.row.state, WaveState::Blocked(_)));
        if !blocked && matches!(self.row.state, PlanState::Blocked(_)) {
            self.set_state(ctx, PlanState::Running);
        }
    }

    /// An approved candidate of trees reaches the plan's tree, if that is still what it was built on.
    pub(super) fn try_publish(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx) -> bool {
        let row = &self.waves[wave.at()].row;
        let (target, candidate) = (row.target, row.candidate);
        if self.shape.workspace == WorkspaceKind::None {
            return true;
        }
        if target != self.row.tree {
            return false;
        }
        self.change_plan(ctx, |row| row.tree = candidate);
        let mut event = self.event(EventKind::WavePublished);
        event.wave = Some(wave);
        event.text = candidate.map(|digest| digest.to_string()).unwrap_or_default();
        ctx.emit(event);
        true
    }

    pub(super) fn finish_wave(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx) {
        self.change_wave(ctx, wave, |row| row.state = WaveState::Done);
        let mut event = self.event(EventKind::WaveDone);
        event.wave = Some(wave);
        ctx.emit(event);
    }

    pub(crate) fn mode_column(&self, ctx: &mut Context<'_, '_>) {
        let value = self.row.mode.map(|mode| mode.as_str().to_owned());
        ctx.effects.changes.push(Change::ModeColumn { plan: self.id(), value });
    }
}
