//! What Thor's word means. Owns rounds, rejections and their limit, and the rule that only a verdict
//! or a recorded override makes a task done.

use std::collections::BTreeSet;

use super::{Context, Plan, outcome::texts};
use crate::{
    effect::{EventKind, VerdictSource},
    ids::{TaskIx, WaveIx},
    input::Refusal,
    row::{Decision, Verdict},
    spec::WorkspaceKind,
    state::{PauseReason, TaskBlock, TaskState, WaveBlock, WaveState},
    transition::TaskEvent,
};

/// The rejection of a task that makes a person decide.
pub(crate) const MAX_REJECTIONS: u32 = 3;
/// How often the target may move under a wave before a person is asked.
pub(crate) const MAX_TARGET_MOVES: u32 = 5;

impl Plan {
    /// Applies the verdict on the wave's present candidate. Refused, and nothing changed, when it is
    /// nonsense.
    pub(crate) fn apply_verdict(
        &mut self,
        ctx: &mut Context<'_, '_>,
        wave: WaveIx,
        verdict: Verdict,
        source: VerdictSource,
        by: String,
    ) -> Result<(), Refusal> {
        let named = self.named_tasks(wave, &verdict)?;
        let (decision, reasons) = (verdict.decision, texts(&verdict.findings));
        self.record_verdict(ctx, wave, source, &verdict, by.clone(), String::new());
        let mut event = self.event(match decision {
            Decision::Approved => EventKind::WaveApproved,
            Decision::Rejected => EventKind::WaveRejected,
            Decision::Challenged => EventKind::WaveChallenged,
            Decision::Escalated => EventKind::WaveEscalated,
        });
        event.wave = Some(wave);
        event.actor = by;
        event.reason = source.as_str().to_owned();
        event.text = reasons;
        ctx.emit(event);
        match decision {
            Decision::Approved => self.approve_wave(ctx, wave),
            Decision::Rejected => self.send_back(ctx, wave, &named, false),
            Decision::Challenged => self.send_back(ctx, wave, &named, true),
            Decision::Escalated => self.escalate(ctx, wave, &named),
        }
        Ok(())
    }

    /// The submitted tasks that the findings name; an empty key names all of the wave.
    pub(super) fn named_tasks(&self, wave: WaveIx, verdict: &Verdict) -> Result<BTreeSet<TaskIx>, Refusal> {
        let key = || self.shape.waves[wave.at()].key.clone();
        let submitted = |task: &TaskIx| self.tasks[task.at()].state == TaskState::Submitted;
        let mut named = BTreeSet::new();
        for finding in &verdict.findings {
            if finding.task.is_empty() {
                named.extend(self.tasks_of(wave).filter(submitted));
                continue;
            }
            let task = self
                .task_named(&finding.task)
                .filter(|task| self.shape.tasks[task.at()].wave == wave)
                .ok_or_else(|| Refusal::VerdictTask { wave: key(), task: finding.task.clone() })?;
            named.extend(Some(task).filter(submitted));
        }
        match verdict.decision {
            Decision::Approved if !verdict.findings.is_empty() => Err(Refusal::ApprovedFindings),
            Decision::Rejected | Decision::Challenged if verdict.findings.is_empty() => {
                Err(Refusal::EmptyRejection)
            }
            Decision::Escalated if verdict.findings.is_empty() => {
                Ok(self.tasks_of(wave).filter(submitted).collect())
            }
            Decision::Approved | Decision::Rejected | Decision::Challenged | Decision::Escalated => Ok(named),
        }
    }

    /// By a verdict or an override: publish, or, if the target moved meanwhile, integrate anew. Only a worker can
    /// move the branch of a repository: its word is awaited.
    pub(super) fn approve_wave(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx) {
        if self.shape.workspace == WorkspaceKind::Git {
            self.change_wave(ctx, wave, |row| {
                row.state = WaveState::Publishing;
                row.integrate_failures = 0;
            });
            let mut event = self.event(EventKind::WavePublishing);
            event.wave = Some(wave);
            ctx.emit(event);
        } else if self.try_publish(ctx, wave) {
            self.accept_wave(ctx, wave);
        } else {
            self.on_target_moved(ctx, wave, "another wave was published meanwhile");
        }
    }

    /// The approved candidate is where it belongs: the wave is done, and so are its tasks.
    pub(super) fn accept_wave(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx) {
        for task in self.tasks_of(wave) {
            if !matches!(self.tasks[task.at()].state, TaskState::Skipped | TaskState::Cancelled) {
                self.change_task(ctx, task, TaskEvent::Approved, |row| row.rejections = 0);
            }
        }
        self.finish_wave(ctx, wave);
    }

    /// Nobody is to blame: the same results are put on what is there now, and judged there.
    pub(super) fn on_target_moved(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx, why: &str) {
        let mut event = self.event(EventKind::TargetMoved);
        event.wave = Some(wave);
        event.text = why.to_owned();
        ctx.emit(event);
        self.change_wave(ctx, wave, |row| {
            row.round += 1;
            row.target_moves += 1;
        });
        self.integrate(ctx, wave);
        if self.waves[wave.at()].row.target_moves >= MAX_TARGET_MOVES {
            self.change_wave(ctx, wave, |row| row.target_moves = 0);
            self.pause(ctx, PauseReason::TargetMoved, &format!("five times: {why}"));
        }
    }

    /// The named tasks are done again, with what was found as instructions, and so is what was built
    /// on them; the others stay submitted.
    pub(super) fn send_back(
        &mut self,
        ctx: &mut Context<'_, '_>,
        wave: WaveIx,
        named: &BTreeSet<TaskIx>,
        evidence_only: bool,
    ) {
        if named.is_empty() {
            // Nothing could be done again (all was skipped): the same verdict would come for ever.
            self.escalate(ctx, wave, named);
            return;
        }
        for task in named {
            let rejections = self.tasks[task.at()].rejections + 1;
            if rejections >= MAX_REJECTIONS {
                self.block_task(ctx, *task, TaskBlock::Rejections, |row| row.rejections = rejections);
            } else {
                self.change_task(ctx, *task, TaskEvent::Returned { not_before: None }, |row| {
                    row.rejections = rejections;
                    row.evidence_only = evidence_only;
                });
            }
        }
        if !evidence_only {
            self.return_dependents(ctx, named);
        }
        self.change_wave(ctx, wave, |row| row.round += 1);
        let blocked = named.iter().any(|task| matches!(self.tasks[task.at()].state, TaskState::Blocked(_)));
        if blocked {
            self.block_wave(ctx, wave, WaveBlock::Escalated);
        } else {
            self.change_wave(ctx, wave, |row| row.state = WaveState::Running);
            if !evidence_only {
                let named: Vec<_> = named.iter().copied().collect();
                self.ask_for_triage(ctx, wave, &named);
            }
        }
    }

    /// What was built on work that goes back goes back too; that is no rejection of it.
    pub(super) fn return_dependents(&mut self, ctx: &mut Context<'_, '_>, returned: &BTreeSet<TaskIx>) {
        let dependents: BTreeSet<_> = returned.iter().flat_map(|task| self.all_dependents(*task)).collect();
        for task in dependents.difference(returned) {
            if self.tasks[task.at()].state == TaskState::Submitted {
                // It was built on what is done again: what it made begins anew, too.
                self.change_task(ctx, *task, TaskEvent::Returned { not_before: None }, |row| row.own = None);
                let mut event = self.task_event(EventKind::TaskReturned, *task);
                event.reason = "dependency".to_owned();
                ctx.emit(event);
            }
        }
    }

    fn escalate(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx, named: &BTreeSet<TaskIx>) {
        for task in named {
            self.block_task(ctx, *task, TaskBlock::Rejections, |_| {});
        }
        self.change_wave(ctx, wave, |row| row.round += 1);
        self.block_wave(ctx, wave, WaveBlock::Escalated);
    }
}
