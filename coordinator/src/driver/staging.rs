//! Big plans are stored in chunks between turns, so that no transaction is long; one row then
//! switches the plan on. Owns what is under way.

use std::collections::VecDeque;

use tokio::sync::oneshot;
use wavegate_engine::{Input, PlanId, Refusal};

use super::{
    ApplyError, Clock, Driver, Outbox, Store, StoreError, Submission, Submitted,
    turn::{Answer, Envelope},
};

/// Tasks stored in one transaction: about 5 ms.
const CHUNK_TASKS: usize = 500;

#[derive(Default)]
pub(super) struct Staging {
    waiting: VecDeque<Staged>,
}

struct Staged {
    submission: Submission,
    answer: oneshot::Sender<Result<Submitted, ApplyError>>,
    /// Its id, its name, and the task to go on from.
    begun: Option<(PlanId, String, usize)>,
}

impl Staging {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(
        &mut self,
        submission: Submission,
        answer: oneshot::Sender<Result<Submitted, ApplyError>>,
    ) {
        self.waiting.push_back(Staged { submission, answer, begun: None });
    }
}

impl<S: Store, C: Clock, O: Outbox> Driver<S, C, O> {
    /// Stores one chunk of the plan that came first; when it is whole, gives the input that switches
    /// it on.
    pub(super) fn stage_chunk(&mut self) -> Option<Envelope> {
        let mut staged = self.staging.waiting.pop_front()?;
        match self.try_stage(&mut staged) {
            Ok(None) => {
                self.staging.waiting.push_front(staged);
                None
            }
            Ok(Some((plan, name))) => {
                let Submission { spec, base, by, .. } = staged.submission;
                let shape = Box::new(spec.shape(plan, name.clone(), base));
                let answer = Answer::Submit(staged.answer, Submitted { plan, name });
                Some(Envelope::new(Input::Submit { shape, by }, answer))
            }
            Err(error) => {
                // A caller that is gone asks nothing.
                let _ = staged.answer.send(Err(error));
                None
            }
        }
    }

    fn try_stage(&mut self, staged: &mut Staged) -> Result<Option<(PlanId, String)>, ApplyError> {
        let Some((plan, name, from)) = staged.begun.take() else {
            self.check_timings(&staged.submission)?;
            let (plan, name) = self.store.stage(&staged.submission, self.clock.utc())?;
            staged.begun = Some((plan, name, 0));
            return Ok(None);
        };
        match self.store.stage_tasks(plan, &staged.submission.spec, from, CHUNK_TASKS)? {
            Some(next) => {
                staged.begun = Some((plan, name, next));
                Ok(None)
            }
            None => Ok(Some((plan, name))),
        }
    }

    fn check_timings(&self, submission: &Submission) -> Result<(), ApplyError> {
        let shape = submission.spec.shape(PlanId(0), String::new(), None);
        let checked = self.engine.config().timings.check_plan(&shape);
        checked.map_err(|(task, error)| Refusal::Timing { task, error }.into())
    }
}

impl From<StoreError> for ApplyError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(text) => Self::Unavailable(text),
            StoreError::Constraint(text) | StoreError::Corrupt(text) => Self::Poisoned(text),
        }
    }
}
