//! What a person asks of a plan: approve, change the mode, pause, resume, cancel, retry. Owns the
//! rule that no plan starts without a chosen mode and that max runs under opus.

use super::{Context, Plan};
use crate::{
    effect::{EventKind, Message, Reply},
    files,
    ids::{TaskIx, WaveIx},
    input::Refusal,
    row::AwaitsCounsel,
    spec::Budget,
    state::{Mode, PauseReason, PlanState, TaskBlock, TaskState, Tier, WaveBlock, WaveState},
    transition::{LeaseEvent, TaskEvent},
};

impl Plan {
    pub(crate) fn approve(
        &mut self,
        ctx: &mut Context<'_, '_>,
        mode: Option<Mode>,
        by: &str,
    ) -> Result<Reply, Refusal> {
        let mode = mode.ok_or(Refusal::ModeMissing)?;
        self.expect_state(
            self.row.state == PlanState::AwaitingApproval,
            "only a plan that awaits approval can be approved",
        )?;
        allowed(ctx, mode)?;
        let now = ctx.moment.utc;
        self.change_plan(ctx, |row| {
            row.state = PlanState::Running;
            row.mode = Some(mode);
            row.tier = Some(mode.tier());
            row.approved = Some(now);
        });
        self.mode_column(ctx);
        let mut event = self.event(EventKind::PlanApproved);
        event.actor = by.to_owned();
        event.text = format!("mode {mode}, coordinator tier {}", mode.tier());
        ctx.emit(event);
        Ok(Reply::Mode { mode, tier: mode.tier(), warnings: self.warnings(ctx) })
    }

    /// What a person should know before money is spent.
    fn warnings(&self, ctx: &Context<'_, '_>) -> Vec<String> {
        let mut warnings: Vec<_> = self.shape.tasks.iter().filter_map(|task| task.warning.clone()).collect();
        let unpriced = |task: &&crate::spec::TaskShape| {
            task.agent && ctx.config.prices.of(task.demand.family, 1_000_000).is_none()
        };
        let capped = self.row.budget.micro_usd.is_some()
            || self.shape.tasks.iter().any(|it| it.budget.micro_usd.is_some());
        if capped && let Some(task) = self.shape.tasks.iter().find(unpriced) {
            warnings.push(format!(
                "{}: the price of its model is unknown, so a budget in dollars holds only what its runner tells",
                task.key
            ));
        }
        warnings.extend(self.overlap_warnings());
        warnings
    }

    /// Tasks that may get into each other's way, by the files that they declare.
    fn overlap_warnings(&self) -> Vec<String> {
        let (mut warnings, mut more) = (Vec::new(), 0);
        let mut search = files::Search::default();
        for wave in &self.shape.waves {
            let first = wave.tasks.start as usize;
            let tasks = &self.shape.tasks[first..wave.tasks.end as usize];
            let declared: Vec<&[String]> = tasks.iter().map(|task| task.files.as_slice()).collect();
            let edges = tasks.iter().enumerate().flat_map(|(at, task)| {
                task.depends_on.iter().filter_map(move |before| Some((before.at().checked_sub(first)?, at)))
            });
            for overlap in search.overlaps(&declared, edges) {
                if warnings.len() == MOST_OVERLAP_WARNINGS {
                    more += 1;
                    continue;
                }
                let (left, right) = (&tasks[overlap.tasks.0].key, &tasks[overlap.tasks.1].key);
                warnings.push(overlap.words(left, right));
            }
        }
        warnings.extend(search.rest_in_words(more));
        warnings
    }

    pub(crate) fn set_mode(
        &mut self,
        ctx: &mut Context<'_, '_>,
        mode: Mode,
        by: &str,
    ) -> Result<Reply, Refusal> {
        self.expect_state(self.row.state != PlanState::AwaitingApproval, "approve it with the mode instead")?;
        self.expect_state(!self.row.state.is_final(), "it has ended")?;
        allowed(ctx, mode)?;
        if self.row.mode != Some(mode) {
            self.change_plan(ctx, |row| {
                row.mode = Some(mode);
                row.tier = Some(mode.tier());
            });
            let mut event = self.event(EventKind::ModeChanged);
            event.actor = by.to_owned();
            event.text = format!("mode {mode}, coordinator tier {}", mode.tier());
            ctx.emit(event);
            self.on_tier_changed(ctx);
        }
        self.mode_column(ctx);
        Ok(Reply::Mode { mode, tier: mode.tier(), warnings: Vec::new() })
    }

    /// Somebody wrote `plans.parallel_mode`: a request, never an approval.
    pub(crate) fn on_mode_requested(&mut self, ctx: &mut Context<'_, '_>, text: Option<&str>) {
        let wanted = text.and_then(Mode::from_word);
        let refused = match wanted {
            None => "expected standard or max".to_owned(),
            Some(mode) => match self.set_mode(ctx, mode, "sql") {
                Ok(_) => return,
                Err(refusal) => refusal.to_string(),
            },
        };
        self.mode_column(ctx);
        let mut event = self.event(EventKind::ModeRefused);
        event.actor = "sql".to_owned();
        event.text = format!("parallel_mode {:?}: {refused}", text.unwrap_or("NULL"));
        ctx.emit(event);
    }

    pub(crate) fn pause_by(
        &mut self,
        ctx: &mut Context<'_, '_>,
        by: &str,
        note: &str,
    ) -> Result<Reply, Refusal> {
        if self.row.state == PlanState::Paused(PauseReason::Operator) {
            return Ok(Reply::Done);
        }
        let pausable = matches!(self.row.state, PlanState::Running | PlanState::Paused(_));
        self.expect_state(pausable, "only a running plan can be paused")?;
        self.set_state(ctx, PlanState::Paused(PauseReason::Operator));
        let mut event = self.event(EventKind::PlanPaused);
        event.actor = by.to_owned();
        event.reason = PauseReason::Operator.as_str().to_owned();
        event.text = note.to_owned();
        ctx.emit(event);
        Ok(Reply::Done)
    }

    pub(crate) fn resume(
        &mut self,
        ctx: &mut Context<'_, '_>,
        by: &str,
        task: Option<&str>,
        add: Budget,
    ) -> Result<Reply, Refusal> {
        let resumable = matches!(self.row.state, PlanState::Running | PlanState::Paused(_));
        self.expect_state(resumable, "only a paused plan can be resumed")?;
        let no_task = |key: &str| Refusal::NoTask { plan: self.id(), task: key.to_owned() };
        let task = task.map(|key| self.task_named(key).ok_or_else(|| no_task(key))).transpose()?;
        let budget = task.map_or(self.row.budget, |task| self.tasks[task.at()].budget);
        if let Some(limit) = budget.lacks(add) {
            let what = task.map_or_else(
                || format!("plan {}", self.id()),
                |task| format!("task {}", self.shape.tasks[task.at()].key),
            );
            return Err(Refusal::NoBudget { what, limit });
        }
        match task {
            None => self.change_plan(ctx, |row| row.budget = row.budget.plus(add)),
            Some(task) => self.adjust_task(ctx, task, |row| row.budget = row.budget.plus(add)),
        }
        if add.is_some() {
            let mut event = self.event(EventKind::BudgetAdded);
            event.actor = by.to_owned();
            event.task = task;
            event.text = add.to_string();
            ctx.emit(event);
        }
        let PlanState::Paused(reason) = self.row.state else {
            return Ok(Reply::Done);
        };
        self.go_on(ctx);
        let mut event = self.event(EventKind::PlanResumed);
        event.actor = by.to_owned();
        event.reason = reason.as_str().to_owned();
        ctx.emit(event);
        Ok(Reply::Done)
    }

    /// Out of a pause: the limits of integration and validation begin again, and a wave that was
    /// blocked meanwhile blocks the plan.
    pub(crate) fn go_on(&mut self, ctx: &mut Context<'_, '_>) {
        self.idle_since = None;
        for wave in (0..self.waves.len() as u32).map(WaveIx) {
            let row = &self.waves[wave.at()].row;
            if row.integrate_failures + row.validate_failures + row.counsel_failures > 0 {
                self.change_wave(ctx, wave, |row| {
                    row.integrate_failures = 0;
                    row.validate_failures = 0;
                    row.counsel_failures = 0;
                });
            }
        }
        let blocked = self.waves.iter().find_map(|wave| match wave.row.state {
            WaveState::Blocked(reason) => Some(reason),
            WaveState::Waiting
            | WaveState::Running
            | WaveState::Integrating
            | WaveState::Validating
            | WaveState::Publishing
            | WaveState::Done
            | WaveState::Cancelled => None,
        });
        self.set_state(ctx, blocked.map_or(PlanState::Running, PlanState::Blocked));
    }

    pub(crate) fn cancel(
        &mut self,
        ctx: &mut Context<'_, '_>,
        by: &str,
        note: &str,
    ) -> Result<Reply, Refusal> {
        self.expect_state(!self.row.state.is_final(), "it has ended")?;
        self.cancel_leases(ctx, "the plan was cancelled");
        for task in (0..self.tasks.len() as u32).map(TaskIx) {
            if !matches!(
                self.tasks[task.at()].state,
                TaskState::Done | TaskState::Skipped | TaskState::Cancelled
            ) {
                self.change_task(ctx, task, TaskEvent::Cancelled, |_| {});
            }
        }
        for wave in (0..self.waves.len() as u32).map(WaveIx) {
            if self.waves[wave.at()].row.state != WaveState::Done {
                self.change_wave(ctx, wave, |row| row.state = WaveState::Cancelled);
            }
        }
        self.set_state(ctx, PlanState::Cancelled);
        let mut event = self.event(EventKind::PlanCancelled);
        event.actor = by.to_owned();
        event.text = note.to_owned();
        ctx.emit(event);
        Ok(Reply::Done)
    }

    fn cancel_leases(&mut self, ctx: &mut Context<'_, '_>, reason: &'static str) {
        let open: Vec<_> = self
            .leases
            .values()
            .filter(|lease| lease.row.state.is_open())
            .map(|lease| lease.row.clone())
            .collect();
        for row in open {
            if self.change_lease(ctx, row.id, LeaseEvent::CancelAsked) {
                ctx.send(&row.worker, Message::Cancel { lease: row.id, reason });
                let mut event = self.lease_event(EventKind::LeaseCancelled, &row);
                event.text = reason.to_owned();
                ctx.emit(event);
            }
        }
    }

    /// A blocked task begins anew.
    pub(crate) fn retry(&mut self, ctx: &mut Context<'_, '_>, key: &str, by: &str) -> Result<Reply, Refusal> {
        let task =
            self.task_named(key).ok_or_else(|| Refusal::NoTask { plan: self.id(), task: key.to_owned() })?;
        let state = self.tasks[task.at()].state;
        if !matches!(state, TaskState::Blocked(_)) {
            return Err(Refusal::TaskState { task: key.to_owned(), state: state.name() });
        }
        self.begin_anew(ctx, task);
        let mut event = self.task_event(EventKind::TaskRetried, task);
        event.actor = by.to_owned();
        ctx.emit(event);
        let wave = self.shape.tasks[task.at()].wave;
        let escalated = self.waves[wave.at()].row.state == WaveState::Blocked(WaveBlock::Escalated);
        let still_escalated = escalated
            && self
                .tasks_of(wave)
                .any(|task| self.tasks[task.at()].state == TaskState::Blocked(TaskBlock::Rejections));
        if matches!(self.waves[wave.at()].row.state, WaveState::Blocked(_)) && !still_escalated {
            self.change_wave(ctx, wave, |row| row.state = WaveState::Running);
            self.unblock(ctx);
        }
        Ok(Reply::Done)
    }

    /// Back to pending, with counters that begin again; so is what was built on it.
    pub(super) fn begin_anew(&mut self, ctx: &mut Context<'_, '_>, task: TaskIx) {
        self.change_task(ctx, task, TaskEvent::Returned { not_before: None }, |row| {
            row.failures = 0;
            row.losses = 0;
            row.rejections = 0;
            row.evidence_only = false;
            row.awaits_counsel = AwaitsCounsel::No;
            row.built_on.clear();
            row.own = None;
        });
        self.return_dependents(ctx, &[task].into());
    }

    pub(super) fn expect_state(&self, fits: bool, expected: &'static str) -> Result<(), Refusal> {
        if fits {
            return Ok(());
        }
        Err(Refusal::PlanState { plan: self.id(), state: self.row.state.name(), expected })
    }
}

/// So many pairs of tasks are named.
const MOST_OVERLAP_WARNINGS: usize = 5;

/// Whether the operator allows the tier that the mode requires.
fn allowed(ctx: &Context<'_, '_>, mode: Mode) -> Result<(), Refusal> {
    if mode.tier() == Tier::Opus && ctx.config.max_tier == Tier::Sonnet {
        return Err(Refusal::OpusForbidden);
    }
    Ok(())
}
