//! A person's recorded word on a blocked wave. Owns the overrides: the only way past Thor, and each
//! leaves who and why.

use super::{Context, Plan};
use crate::{
    effect::{EventKind, Reply, VerdictSource},
    ids::{TaskIx, WaveIx},
    input::{Refusal, Resolution, Resolve},
    row::{Decision, Finding, Verdict},
    state::{TaskState, WaveBlock, WaveState},
    transition::TaskEvent,
};

impl Plan {
    pub(crate) fn resolve(&mut self, ctx: &mut Context<'_, '_>, resolve: &Resolve) -> Result<Reply, Refusal> {
        if resolve.note.trim().is_empty() {
            return Err(Refusal::NoteMissing);
        }
        let wave = self.blocked_wave(&resolve.wave)?;
        let tasks = self.meant_tasks(wave, resolve)?;
        if resolve.resolution == Resolution::Approve {
            self.expect_candidate(wave)?;
        }
        self.record_resolution(ctx, wave, resolve, &tasks);
        match resolve.resolution {
            Resolution::Approve => {
                self.accept_results(ctx, wave);
                self.approve_wave(ctx, wave);
            }
            Resolution::Rework => {
                for task in tasks {
                    self.begin_anew(ctx, task);
                }
                self.change_wave(ctx, wave, |row| row.round += 1);
                self.run_again(ctx, wave);
            }
            Resolution::Skip => {
                for task in tasks {
                    self.change_task(ctx, task, TaskEvent::Skipped, |_| {});
                }
                self.run_again(ctx, wave);
            }
            Resolution::Cancel => {
                self.cancel(ctx, &resolve.by, &resolve.note)?;
            }
        }
        self.unblock(ctx);
        Ok(Reply::Done)
    }

    /// The person takes the results that Thor sent back: should the target have moved meanwhile, the
    /// candidate that is built anew holds them too.
    fn accept_results(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx) {
        for task in self.tasks_of(wave) {
            if matches!(self.tasks[task.at()].state, TaskState::Pending { .. } | TaskState::Blocked(_)) {
                self.change_task(ctx, task, TaskEvent::Submitted, |row| {
                    row.rejections = 0;
                    row.evidence_only = false;
                });
            }
        }
    }

    /// Running, unless a task of it still waits for a person.
    fn run_again(&mut self, ctx: &mut Context<'_, '_>, wave: WaveIx) {
        let escalated = self.waves[wave.at()].row.state == WaveState::Blocked(WaveBlock::Escalated);
        if escalated && self.blocked_tasks(wave).next().is_some() {
            return;
        }
        self.change_wave(ctx, wave, |row| row.state = WaveState::Running);
    }

    fn blocked_wave(&self, key: &str) -> Result<WaveIx, Refusal> {
        let is_blocked = |wave: &WaveIx| matches!(self.waves[wave.at()].row.state, WaveState::Blocked(_));
        if key.is_empty() {
            let blocked: Vec<_> = (0..self.waves.len() as u32).map(WaveIx).filter(is_blocked).collect();
            return match blocked[..] {
                [] => Err(Refusal::NothingBlocked(self.id())),
                [wave] => Ok(wave),
                _ => Err(Refusal::WaveAmbiguous { plan: self.id(), count: blocked.len() }),
            };
        }
        let wave =
            self.wave_named(key).ok_or_else(|| Refusal::NoWave { plan: self.id(), wave: key.to_owned() })?;
        if is_blocked(&wave) {
            return Ok(wave);
        }
        let state = self.waves[wave.at()].row.state.name();
        Err(Refusal::WaveState { wave: key.to_owned(), state })
    }

    fn blocked_tasks(&self, wave: WaveIx) -> impl Iterator<Item = TaskIx> {
        self.tasks_of(wave).filter(|task| matches!(self.tasks[task.at()].state, TaskState::Blocked(_)))
    }

    /// The tasks that the person named, or all that block the wave. Submitted ones can be named too.
    fn meant_tasks(&self, wave: WaveIx, resolve: &Resolve) -> Result<Vec<TaskIx>, Refusal> {
        if resolve.tasks.is_empty() {
            return Ok(self.blocked_tasks(wave).collect());
        }
        resolve.tasks.iter().map(|key| self.meant_task(wave, resolve.resolution, key)).collect()
    }

    fn meant_task(&self, wave: WaveIx, resolution: Resolution, key: &str) -> Result<TaskIx, Refusal> {
        let task = self
            .task_named(key)
            .filter(|task| self.shape.tasks[task.at()].wave == wave)
            .ok_or_else(|| Refusal::NoTask { plan: self.id(), task: key.to_owned() })?;
        let state = self.tasks[task.at()].state;
        let fits = match resolution {
            Resolution::Rework => matches!(state, TaskState::Blocked(_) | TaskState::Submitted),
            Resolution::Skip => matches!(state, TaskState::Blocked(_) | TaskState::Pending { .. }),
            Resolution::Approve | Resolution::Cancel => true,
        };
        if fits {
            return Ok(task);
        }
        let wave = self.shape.waves[wave.at()].key.clone();
        Err(Refusal::TaskNotBlocking { wave, task: key.to_owned(), state: state.name() })
    }

    /// The candidate can stand only if it was judged and holds a result of every task.
    fn expect_candidate(&self, wave: WaveIx) -> Result<(), Refusal> {
        let no_candidate = |task: String| {
            let wave = self.shape.waves[wave.at()].key.clone();
            Err(Refusal::NoCandidate { wave, task })
        };
        let without_result = self.tasks_of(wave).find(|task| {
            let row = &self.tasks[task.at()];
            row.result.is_none() && !matches!(row.state, TaskState::Skipped | TaskState::Cancelled)
        });
        if let Some(task) = without_result {
            return no_candidate(self.shape.tasks[task.at()].key.clone());
        }
        // Blocked by failures, the last candidate is older than what was submitted since.
        let judged = self.waves[wave.at()].row.state == WaveState::Blocked(WaveBlock::Escalated);
        match self.blocked_tasks(wave).next() {
            Some(task) if !judged => no_candidate(self.shape.tasks[task.at()].key.clone()),
            _ if self.waves[wave.at()].row.candidate.is_none() => no_candidate("the wave".to_owned()),
            _ => Ok(()),
        }
    }

    fn record_resolution(
        &self,
        ctx: &mut Context<'_, '_>,
        wave: WaveIx,
        resolve: &Resolve,
        tasks: &[TaskIx],
    ) {
        let decision = match resolve.resolution {
            Resolution::Approve | Resolution::Skip => Decision::Approved,
            Resolution::Rework => Decision::Rejected,
            Resolution::Cancel => Decision::Escalated,
        };
        let findings = tasks
            .iter()
            .map(|task| Finding { task: self.shape.tasks[task.at()].key.clone(), text: resolve.note.clone() })
            .collect();
        let verdict = Verdict::bare(decision, findings);
        let (by, note) = (resolve.by.clone(), format!("{}: {}", resolve.resolution, resolve.note));
        self.record_verdict(ctx, wave, VerdictSource::Override, &verdict, by, note);
        let mut event = self.event(EventKind::WaveResolved);
        event.wave = Some(wave);
        event.actor = resolve.by.clone();
        event.reason = resolve.resolution.as_str().to_owned();
        event.text = resolve.note.clone();
        ctx.emit(event);
    }
}
