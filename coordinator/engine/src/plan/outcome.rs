//! What the end of a lease means: a result, a release, a loss. Owns the counters of a task and the
//! retries that follow; which inputs lead here is decided by `session` and `deadline`.

use super::{Context, Plan};
use crate::{
    account::Trouble,
    config::Config,
    effect::{Change, Event, EventKind, Message, VerdictRow, VerdictSource},
    ids::{LeaseId, TaskIx, Utc, WaveIx},
    row::{
        Conflict, Decision, Finding, LeaseRow, LeaseWork, Outcome, OwnWork, Report, TaskResult, Usage,
        Verdict,
    },
    spec::{Budget, OnLost, WorkspaceKind},
    state::{LeaseState, PauseReason, PlanState, ReleaseReason, TaskBlock, TaskState, WaveBlock, WaveState},
    transition::{LeaseEvent, TaskEvent},
};

/// Losses that block a task.
pub(crate) const MAX_LOSSES: u32 = 2;
/// Integrations of a round that fail before a person is asked.
pub(crate) const MAX_INTEGRATE_FAILURES: u32 = 3;
/// Validations of a round that are lost, fail or answer nonsense before a person is asked.
pub(crate) const MAX_VALIDATE_FAILURES: u32 = 3;
/// Coordinate leases for one counsel that are lost, fail or answer nonsense and are granted again.
pub(crate) const MAX_COUNSEL_FAILURES: u32 = 2;
/// Failures of an agent's task from which the coordinator's model is asked what to do differently.
const TRIAGE_FAILURES: u32 = 2;

impl Plan {
    /// A worker reports the end of a lease that the plan keeps. The worker is the lease's own.
    pub(crate) fn on_finished(&mut self, ctx: &mut Context<'_, '_>, id: LeaseId, mut report: Report) {
        let Some(lease) = self.leases.get(&id) else {
            return;
        };
        let (row, was_lost) = (lease.row.clone(), lease.is_lost());
        self.forget_claim(ctx, id);
        report.expect_usage(row.progress);
        if let Some(reason) = self.late_result_refused(&row) {
            self.refuse_result(ctx, &row, report, reason);
            return;
        }
        // Without an account there is nothing that could be waited for: such an end is a failure like others.
        let trouble = Trouble::of(report.outcome).filter(|_| row.account.is_some());
        self.note_account(ctx, &row, trouble, &report);
        match trouble {
            // Nobody's fault: as if it had never been granted, but for what it cost.
            Some(trouble) if !was_lost => {
                self.change_lease(ctx, id, LeaseEvent::Released(trouble.release()));
            }
            Some(_) | None => {
                self.change_lease(ctx, id, LeaseEvent::Finished);
            }
        }
        self.book(ctx, &row, report.usage);
        ctx.effects.changes.push(Change::Result {
            lease: id,
            accepted: true,
            report: Box::new(report.clone()),
        });
        ctx.send(&row.worker, Message::Accepted { lease: id });
        if let LeaseWork::Task { task, .. } = row.work
            && !was_lost
            && report.outcome.is_interruption()
        {
            self.keep_interrupted(ctx, &row, task, &report);
        }
        if let Some(trouble) = trouble {
            self.on_account_trouble(ctx, &row, trouble, &report.summary, was_lost);
            return;
        }
        match row.work {
            LeaseWork::Task { task, .. } => self.on_task_finished(ctx, &row, task, &report, was_lost),
            LeaseWork::Integrate => self.on_integrated(ctx, &row, report),
            LeaseWork::Validate { .. } => self.on_validated(ctx, &row, report),
            LeaseWork::Coordinate { .. } => self.on_counsel(ctx, &row, &report),
            LeaseWork::Publish { .. } => self.on_published(ctx, &row, &report),
        }
    }

    /// An agent was broken off: what it had made by then is not lost with its directory. Of one that gives
    /// evidence only nothing is taken.
    fn keep_interrupted(&mut self, ctx: &mut Context<'_, '_>, row: &LeaseRow, task: TaskIx, report: &Report) {
        let state = &self.tasks[task.at()];
        let is_taken = self.shape.tasks[task.at()].agent && !state.evidence_only && report.changes.is_some();
        if is_taken && state.state == TaskState::Leased {
            let own = OwnWork { changes: report.changes, base: row.base };
            self.adjust_task(ctx, task, |task| task.own = Some(own));
        }
    }

    /// Why a result of a lost lease comes too late, if it does.
    fn late_result_refused(&self, row: &LeaseRow) -> Option<&'static str> {
        let LeaseWork::Task { task, .. } = row.work else {
            return None;
        };
        if row.state.is_open() {
            return None;
        }
        match self.tasks[task.at()].state {
            TaskState::Pending { .. } | TaskState::Blocked(TaskBlock::Lost | TaskBlock::Held) => None,
            TaskState::Leased => Some("a newer attempt was granted"),
            TaskState::Blocked(TaskBlock::Failures | TaskBlock::Rejections)
            | TaskState::Submitted
            | TaskState::Done
            | TaskState::Skipped
            | TaskState::Cancelled => Some("the task went on without it"),
        }
    }

    fn refuse_result(&mut self, ctx: &mut Context<'_, '_>, row: &LeaseRow, report: Report, reason: &str) {
        self.book(ctx, row, report.usage);
        ctx.effects.changes.push(Change::Result { lease: row.id, accepted: false, report: Box::new(report) });
        ctx.send(&row.worker, Message::Refused { lease: row.id, reason: reason.to_owned() });
        let mut event = self.lease_event(EventKind::ResultRefused, row);
        event.text = reason.to_owned();
        ctx.emit(event);
        // Its right ends with the answer: a second copy is answered from the store.
        self.forget_lease(ctx, row);
    }

    /// What the lease has cost, now that it is known: in the place of what its end was booked at.
    fn book(&mut self, ctx: &mut Context<'_, '_>, row: &LeaseRow, usage: Usage) {
        let guess = match row.state {
            LeaseState::Lost => self.cost_of_loss(ctx.config, row),
            LeaseState::Released(_) => row.progress,
            LeaseState::Granted
            | LeaseState::Running
            | LeaseState::Cancelling
            | LeaseState::Unreachable { .. }
            | LeaseState::Finished => Usage::default(),
        };
        if usage != guess {
            self.change_plan(ctx, |plan| plan.spent = plan.spent.less(guess).plus(usage));
            if let LeaseWork::Task { task, .. } = row.work {
                self.adjust_task(ctx, task, |task| task.spent = task.spent.less(guess).plus(usage));
            }
        }
    }

    /// Nobody will say what it cost: its reservation or its last progress, whichever is more.
    fn cost_of_loss(&self, config: &Config, row: &LeaseRow) -> Usage {
        self.reservation(config, row.work).at_least(row.progress)
    }

    /// A worker that came back tells what a lost lease used until its end.
    pub(crate) fn on_late_progress(&mut self, ctx: &mut Context<'_, '_>, row: &LeaseRow, usage: Usage) {
        let known = self.cost_of_loss(ctx.config, &LeaseRow { progress: usage, ..row.clone() });
        self.book(ctx, row, known);
    }

    /// A result of a lease that the plan no longer keeps, and of which none came before: only what it cost
    /// counts.
    pub(crate) fn on_past_result(&mut self, ctx: &mut Context<'_, '_>, row: &LeaseRow, report: &mut Report) {
        report.expect_usage(row.progress);
        self.book(ctx, row, report.usage);
    }

    fn on_task_finished(
        &mut self,
        ctx: &mut Context<'_, '_>,
        row: &LeaseRow,
        task: TaskIx,
        report: &Report,
        was_lost: bool,
    ) {
        match report.outcome {
            Outcome::Succeeded => self.on_task_succeeded(ctx, row, task, report),
            Outcome::Skipped => {
                if self.change_task(ctx, task, TaskEvent::Skipped, |_| {}) {
                    let mut event = self.lease_event(EventKind::TaskSkipped, row);
                    event.reason = "skip_if".to_owned();
                    ctx.emit(event);
                    self.revive(ctx, row.wave);
                }
            }
            // A lost attempt was counted as a loss; that it failed as well changes nothing.
            _ if was_lost => {}
            Outcome::BudgetLimit if self.tasks[task.at()].budget != Budget::default() => {
                self.on_budget_limit(ctx, task);
            }
            Outcome::Failed
            | Outcome::TimedOut
            | Outcome::Conflict
            | Outcome::Denied
            | Outcome::TurnLimit
            | Outcome::BudgetLimit
            | Outcome::Refused
            | Outcome::Killed
            | Outcome::Nonsense
            | Outcome::UsageLimit
            | Outcome::BadCredentials
            | Outcome::Overloaded
            | Outcome::Unreachable
            | Outcome::TargetMoved => {
                self.on_task_failed(ctx, row, task, report.outcome.as_str(), &report.summary);
            }
        }
    }

    fn on_task_succeeded(
        &mut self,
        ctx: &mut Context<'_, '_>,
        row: &LeaseRow,
        task: TaskIx,
        report: &Report,
    ) {
        let LeaseWork::Task { attempt, .. } = row.work else {
            return;
        };
        let submitted = self.change_task(ctx, task, TaskEvent::Submitted, |task| {
            let worker = row.worker.clone();
            let (mut changes, mut base) = (report.changes, row.base);
            if let Some(old) = task.result.as_ref().filter(|_| task.evidence_only) {
                (changes, base) = (old.changes, old.base);
            }
            let result = TaskResult { lease: row.id, attempt, worker, changes, base };
            task.own = Some(OwnWork { changes, base });
            task.evidence_only = false;
            task.result = Some(result);
        });
        if submitted {
            let mut event = self.lease_event(EventKind::TaskSubmitted, row);
            event.text = report.summary.clone();
            ctx.emit(event);
            self.revive(ctx, row.wave);
        }
    }

    /// The task used up what it may: more of it is a person's to give.
    fn on_budget_limit(&mut self, ctx: &mut Context<'_, '_>, task: TaskIx) {
        if self.tasks[task.at()].state == TaskState::Leased {
            self.change_task(ctx, task, TaskEvent::Returned { not_before: None }, |_| {});
            let why = self.over_task_budget(task);
            self.pause(ctx, PauseReason::Budget, &why);
        }
    }

    /// What a person is asked when a task has used up its own budget.
    pub(crate) fn over_task_budget(&self, task: TaskIx) -> String {
        let key = &self.shape.tasks[task.at()].key;
        format!(
            "{key} used up its own budget: `wavegate resume {} --task {key} --add-usd N` gives it more",
            self.id()
        )
    }

    /// A late result may have moved on what its wave was blocked for.
    fn revive(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx) {
        if self.waves[wave.at()].row.state == WaveState::Blocked(WaveBlock::Tasks)
            && self.waves[wave.at()].counts.blocked == 0
        {
            self.change_wave(ctx, wave, |row| row.state = WaveState::Running);
            self.unblock(ctx);
        }
    }

    pub(crate) fn on_task_failed(
        &mut self,
        ctx: &mut Context<'_, '_>,
        row: &LeaseRow,
        task: TaskIx,
        reason: &str,
        summary: &str,
    ) {
        if self.tasks[task.at()].state != TaskState::Leased {
            return;
        }
        let failures = self.tasks[task.at()].failures + 1;
        let most = self.shape.tasks[task.at()].max_failures;
        let mut event = self.lease_event(EventKind::TaskFailed, row);
        event.reason = reason.to_owned();
        event.text = format!("{summary} (failure {failures} of {most})");
        ctx.emit(event);
        if failures >= most {
            self.block_task(ctx, task, TaskBlock::Failures, |row| row.failures = failures);
        } else {
            let not_before = Some(retry_at(ctx, failures + self.tasks[task.at()].losses));
            self.change_task(ctx, task, TaskEvent::Returned { not_before }, |row| row.failures = failures);
            if failures >= TRIAGE_FAILURES {
                self.ask_for_triage(ctx, self.shape.tasks[task.at()].wave, &[task]);
            }
        }
    }

    pub(super) fn block_task(
        &mut self,
        ctx: &mut Context<'_, '_>,
        task: TaskIx,
        reason: TaskBlock,
        adjust: impl FnOnce(&mut crate::row::TaskRow),
    ) {
        if self.change_task(ctx, task, TaskEvent::Blocked(reason), adjust) {
            let mut event = self.task_event(EventKind::TaskBlocked, task);
            event.reason = reason.as_str().to_owned();
            ctx.emit(event);
        }
    }

    fn on_integrated(&mut self, ctx: &mut Context<'_, '_>, row: &LeaseRow, report: Report) {
        let state = &self.waves[row.wave.at()].row;
        if state.state != WaveState::Integrating || state.round != row.round {
            return;
        }
        self.note_target(ctx, row, &report);
        match (report.outcome, report.candidate) {
            (Outcome::Succeeded, Some(candidate)) => self.validate(ctx, row.wave, candidate),
            (Outcome::Conflict, _) if !report.conflicts.is_empty() => {
                self.on_conflict(ctx, row, report.conflicts);
            }
            _ => self.count_integrate_failure(ctx, row.wave, &report.summary),
        }
    }

    /// Somebody moved the target: from now on everything starts from there, unless the plan itself has gone on since the
    /// lease began, which it then knows nothing of.
    fn note_target(&mut self, ctx: &mut Context<'_, '_>, row: &LeaseRow, report: &Report) {
        let is_known = matches!(report.outcome, Outcome::Succeeded | Outcome::Conflict);
        let Some(target) = report.target.filter(|_| is_known && self.shape.workspace == WorkspaceKind::Git)
        else {
            return;
        };
        if self.row.tree == row.base {
            self.change_plan(ctx, |plan| plan.tree = Some(target));
            self.change_wave(ctx, row.wave, |wave| wave.target = Some(target));
        }
    }

    fn on_conflict(&mut self, ctx: &mut Context<'_, '_>, row: &LeaseRow, conflicts: Vec<Conflict>) {
        let findings = conflicts.iter().map(|conflict| conflict.finding.clone()).collect();
        let verdict = Verdict::bare(Decision::Rejected, findings);
        let Ok(named) = self.named_tasks(row.wave, &verdict) else {
            self.count_integrate_failure(ctx, row.wave, "the conflicts name no task of the wave");
            return;
        };
        let mut event = self.lease_event(EventKind::WaveConflict, row);
        event.text = texts(&verdict.findings);
        ctx.emit(event);
        let by = ctx.fleet.name_of(&row.worker).to_owned();
        self.record_verdict(ctx, row.wave, VerdictSource::Integration, &verdict, by, String::new());
        self.send_back(ctx, row.wave, &named, false);
        for conflict in &conflicts {
            self.build_on(ctx, row.wave, conflict);
        }
    }

    /// The next attempt at a task that conflicts starts from what it conflicts with: only so can it keep both.
    fn build_on(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx, conflict: &Conflict) {
        let of_wave =
            |key: &String| self.task_named(key).filter(|task| self.shape.tasks[task.at()].wave == wave);
        let Some(task) = of_wave(&conflict.finding.task) else { return };
        let dependents = self.all_dependents(task);
        let others = conflict.with.iter().filter_map(of_wave);
        let mut built_on = self.tasks[task.at()].built_on.clone();
        built_on.extend(others.filter(|other| *other != task && !dependents.contains(other)));
        built_on.sort_unstable();
        built_on.dedup();
        if built_on != self.tasks[task.at()].built_on {
            self.adjust_task(ctx, task, |row| row.built_on = built_on);
        }
    }

    fn on_published(&mut self, ctx: &mut Context<'_, '_>, row: &LeaseRow, report: &Report) {
        let state = &self.waves[row.wave.at()].row;
        let is_current = state.state == WaveState::Publishing && state.round == row.round;
        match (report.outcome, report.candidate) {
            (Outcome::Succeeded, Some(state)) => {
                let mut event = self.lease_event(EventKind::WavePublished, row);
                event.text = report.summary.clone();
                ctx.emit(event);
                // A plan that was cancelled meanwhile stays so; that its work is there is said above.
                if is_current {
                    self.change_plan(ctx, |plan| plan.tree = Some(state));
                    self.accept_wave(ctx, row.wave);
                }
            }
            (Outcome::TargetMoved, _) if is_current => self.on_target_moved(ctx, row.wave, &report.summary),
            _ if is_current => self.count_integrate_failure(ctx, row.wave, &report.summary),
            _ => {}
        }
    }

    fn count_integrate_failure(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx, why: &str) {
        if !matches!(self.waves[wave.at()].row.state, WaveState::Integrating | WaveState::Publishing) {
            return;
        }
        self.change_wave(ctx, wave, |row| row.integrate_failures += 1);
        if self.waves[wave.at()].row.integrate_failures >= MAX_INTEGRATE_FAILURES {
            self.pause(ctx, PauseReason::Integration, why);
        }
    }

    fn on_validated(&mut self, ctx: &mut Context<'_, '_>, row: &LeaseRow, report: Report) {
        let state = &self.waves[row.wave.at()].row;
        let current = LeaseWork::Validate { candidate: state.candidate.unwrap_or(NO_CANDIDATE) };
        if state.state != WaveState::Validating || state.round != row.round || row.work != current {
            return;
        }
        let by = ctx.fleet.name_of(&row.worker).to_owned();
        let judged = match (report.outcome, report.verdict) {
            (Outcome::Succeeded, Some(verdict)) => self
                .apply_verdict(ctx, row.wave, verdict, VerdictSource::Thor, by)
                .map_err(|no| no.to_string()),
            _ => Err(report.summary),
        };
        if let Err(why) = judged {
            self.count_validate_failure(ctx, row.wave, &why);
        }
    }

    /// No verdict, no advance: Thor is asked again, and after some tries a person is.
    fn count_validate_failure(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx, why: &str) {
        if self.waves[wave.at()].row.state != WaveState::Validating {
            return;
        }
        self.change_wave(ctx, wave, |row| row.validate_failures += 1);
        if self.waves[wave.at()].row.validate_failures >= MAX_VALIDATE_FAILURES {
            self.pause(ctx, PauseReason::Validation, why);
        }
    }

    pub(crate) fn pause(&mut self, ctx: &mut Context<'_, '_>, reason: PauseReason, why: &str) {
        // Out of want of a worker it would go on by itself into the same refusal. That it may repeat what was
        // done is more than any other reason but a person's; also out of a block it could go on by itself, by a
        // late result, and what is blocked then blocks it again when it is resumed.
        let stronger = match (reason, self.row.state) {
            (PauseReason::Store, PlanState::Paused(now)) => now == PauseReason::NoWorker,
            (PauseReason::Restored, PlanState::Paused(now)) => {
                !matches!(now, PauseReason::Operator | PauseReason::Restored)
            }
            (PauseReason::Restored, PlanState::Blocked(_)) => true,
            _ => false,
        };
        if self.row.state == PlanState::Running || stronger {
            self.set_state(ctx, PlanState::Paused(reason));
            let mut event = self.event(EventKind::PlanPaused);
            event.reason = reason.as_str().to_owned();
            event.text = why.to_owned();
            ctx.emit(event);
        }
    }

    /// A lease ends without a result, and it is nobody's fault.
    pub(crate) fn on_released(
        &mut self,
        ctx: &mut Context<'_, '_>,
        id: LeaseId,
        reason: ReleaseReason,
        note: &str,
    ) -> bool {
        let Some(row) = self.leases.get(&id).map(|lease| lease.row.clone()) else {
            return false;
        };
        self.forget_claim(ctx, id);
        if !self.change_lease(ctx, id, LeaseEvent::Released(reason)) {
            return false;
        }
        self.book(ctx, &row, row.progress);
        let mut event = self.lease_event(EventKind::LeaseReleased, &row);
        event.reason = reason.as_str().to_owned();
        event.text = note.to_owned();
        ctx.emit(event);
        if reason == ReleaseReason::Repository && self.shape.workspace == WorkspaceKind::Git {
            // It would be granted the same again and again; when it connects anew it is tried anew.
            self.out_of_reach.insert((row.work.kind(), row.worker.clone()));
        }
        match row.work {
            // A worker that cannot do the work would be granted it again and again.
            LeaseWork::Task { task, .. } if reason == ReleaseReason::Unable => {
                self.on_task_failed(ctx, &row, task, reason.as_str(), note);
            }
            LeaseWork::Task { task, .. } => {
                if self.tasks[task.at()].state == TaskState::Leased {
                    self.change_task(ctx, task, TaskEvent::Returned { not_before: None }, |_| {});
                }
            }
            LeaseWork::Integrate | LeaseWork::Publish { .. } if reason == ReleaseReason::Unable => {
                self.count_integrate_failure(ctx, row.wave, note);
            }
            LeaseWork::Validate { .. } if reason == ReleaseReason::Unable => {
                self.count_validate_failure(ctx, row.wave, note);
            }
            LeaseWork::Coordinate { .. } if reason == ReleaseReason::Unable => {
                self.count_counsel_failure(ctx, row.wave, note);
            }
            LeaseWork::Integrate
            | LeaseWork::Validate { .. }
            | LeaseWork::Coordinate { .. }
            | LeaseWork::Publish { .. } => {}
        }
        true
    }

    /// The worker vanished with the lease.
    pub(crate) fn on_lost(&mut self, ctx: &mut Context<'_, '_>, id: LeaseId, why: &str) {
        let Some(row) = self.leases.get(&id).map(|lease| lease.row.clone()) else {
            return;
        };
        if !self.change_lease(ctx, id, LeaseEvent::Lost) {
            return;
        }
        let cost = self.cost_of_loss(ctx.config, &row);
        self.book(ctx, &row, cost);
        let mut event = self.lease_event(EventKind::LeaseLost, &row);
        event.text = why.to_owned();
        ctx.emit(event);
        match row.work {
            LeaseWork::Task { task, .. } => self.on_task_lost(ctx, task),
            LeaseWork::Integrate | LeaseWork::Publish { .. } => {
                self.count_integrate_failure(ctx, row.wave, "the worker vanished");
            }
            LeaseWork::Validate { .. } => {
                self.count_validate_failure(ctx, row.wave, "the Thor worker vanished")
            }
            LeaseWork::Coordinate { .. } => {
                self.count_counsel_failure(ctx, row.wave, "the coordinator's worker vanished")
            }
        }
    }

    fn on_task_lost(&mut self, ctx: &mut Context<'_, '_>, task: TaskIx) {
        if self.tasks[task.at()].state != TaskState::Leased {
            return;
        }
        let losses = self.tasks[task.at()].losses + 1;
        let block = match self.shape.tasks[task.at()].on_lost {
            OnLost::Hold => Some(TaskBlock::Held),
            OnLost::Fail => Some(TaskBlock::Lost),
            OnLost::Retry if losses >= MAX_LOSSES => Some(TaskBlock::Lost),
            OnLost::Retry => None,
        };
        if let Some(reason) = block {
            self.block_task(ctx, task, reason, |row| row.losses = losses);
        } else {
            let not_before = Some(retry_at(ctx, losses + self.tasks[task.at()].failures));
            self.change_task(ctx, task, TaskEvent::Returned { not_before }, |row| row.losses = losses);
        }
    }

    pub(super) fn record_verdict(
        &self,
        ctx: &mut Context<'_, '_>,
        wave: WaveIx,
        source: VerdictSource,
        verdict: &Verdict,
        by: String,
        note: String,
    ) {
        let row = &self.waves[wave.at()].row;
        ctx.effects.changes.push(Change::Verdict(Box::new(VerdictRow {
            plan: self.id(),
            wave,
            round: row.round,
            candidate: row.candidate,
            source,
            verdict: verdict.clone(),
            by,
            note,
        })));
    }

    pub(crate) fn lease_event(&self, kind: EventKind, row: &LeaseRow) -> Event {
        let mut event = self.event(kind);
        event.wave = Some(row.wave);
        event.lease = Some(row.id);
        event.worker = Some(row.worker.clone());
        if let LeaseWork::Task { task, .. } = row.work {
            event.task = Some(task);
        }
        event
    }

    pub(crate) fn task_event(&self, kind: EventKind, task: TaskIx) -> Event {
        let mut event = self.event(kind);
        event.wave = Some(self.shape.tasks[task.at()].wave);
        event.task = Some(task);
        event
    }
}

/// No candidate has this digest: SHA-256 of nothing known.
const NO_CANDIDATE: crate::ids::Digest = crate::ids::Digest([0; 32]);

/// When the next try after the n-th setback may begin: the configured wait, and up to half of it more
/// so that what failed together does not come back together.
fn retry_at(ctx: &mut Context<'_, '_>, setbacks: u32) -> Utc {
    let delays = ctx.config.timings.retry_delays_ms;
    let wait = delays[(setbacks.max(1) as usize - 1).min(delays.len() - 1)];
    let jitter = ((ctx.moment.draw)() % u128::from(wait / 2 + 1)) as u64;
    Utc(ctx.moment.utc.0.saturating_add_unsigned(wait + jitter))
}

pub(super) fn texts(findings: &[Finding]) -> String {
    let texts: Vec<_> = findings
        .iter()
        .map(|finding| match finding.task.as_str() {
            "" => finding.text.clone(),
            task => format!("{task}: {}", finding.text),
        })
        .collect();
    texts.join("; ")
}
