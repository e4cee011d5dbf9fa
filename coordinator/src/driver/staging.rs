//! Big plans are stored in chunks between turns, so that no transaction is long; one row then
//! switches the plan on. Owns what is under way.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::oneshot;
use wavegate_engine::{Input, PlanId, Refusal, spec::PlanShape};

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
    submission: Arc<Submission>,
    answer: oneshot::Sender<Result<Submitted, ApplyError>>,
    begun: Option<Begun>,
}

/// A plan of which something is stored.
struct Begun {
    /// With its id and its name.
    shape: PlanShape,
    /// The task to go on from.
    next: usize,
}

impl Staging {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(
        &mut self,
        submission: Arc<Submission>,
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
            Ok(Some(shape)) => {
                let submitted = Submitted { plan: shape.id, name: shape.name.clone() };
                let (shape, by) = (Arc::new(shape), staged.submission.by.clone());
                let answer = Answer::Submit(staged.answer, submitted);
                Some(Envelope::new(Input::Submit { shape, by }, answer))
            }
            Err(error) => {
                // A caller that is gone asks nothing.
                let _ = staged.answer.send(Err(error));
                None
            }
        }
    }

    fn try_stage(&mut self, staged: &mut Staged) -> Result<Option<PlanShape>, ApplyError> {
        let Some(Begun { shape, next }) = staged.begun.take() else {
            let Submission { spec, base, .. } = &*staged.submission;
            let mut shape = spec.shape(PlanId(0), String::new(), *base);
            let checked = self.engine.config().timings.check_plan(&shape);
            checked.map_err(|(task, error)| Refusal::Timing { task, error })?;
            (shape.id, shape.name) = self.store.stage(&staged.submission, self.clock.utc())?;
            staged.begun = Some(Begun { shape, next: 0 });
            return Ok(None);
        };
        match self.store.stage_tasks(shape.id, &staged.submission.spec, next, CHUNK_TASKS)? {
            Some(next) => {
                staged.begun = Some(Begun { shape, next });
                Ok(None)
            }
            None => Ok(Some(shape)),
        }
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
