//! How the rest of the coordinator speaks to the driver: over a bounded channel, so that a flood of
//! requests waits at its source.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::{mpsc, oneshot};
use wavegate_engine::{
    AccountRow, Input, PendingVerdict, PlanId, Refusal, Reply, SessionEvent, SessionId, TaskIx, WaveIx,
};

use super::{Outgoing, Submission};

/// What can be asked of the driver.
#[derive(Debug)]
pub enum Request {
    Apply {
        input: Box<Input>,
        answer: Option<oneshot::Sender<Result<Reply, ApplyError>>>,
    },
    Submit {
        submission: Arc<Submission>,
        answer: oneshot::Sender<Result<Submitted, ApplyError>>,
    },
    OpenSession {
        session: SessionId,
        sender: mpsc::Sender<Outgoing>,
    },
    Look {
        look: Look,
    },
    /// Stops after what has been received.
    Stop,
}

/// Questions about what only the engine's memory knows.
#[derive(Debug)]
pub enum Look {
    Holds { plan: PlanId, answer: oneshot::Sender<wavegate_engine::Holds> },
    Connected { answer: oneshot::Sender<Vec<wavegate_engine::WorkerId>> },
    PendingVerdicts { answer: oneshot::Sender<Vec<PendingVerdict>> },
    Accounts { answer: oneshot::Sender<Vec<AccountRow>> },
}

/// Why what waits waits, in words; computed when asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holds {
    pub waves: BTreeMap<WaveIx, String>,
    pub tasks: BTreeMap<TaskIx, String>,
}

impl From<wavegate_engine::Holds> for Holds {
    fn from(holds: wavegate_engine::Holds) -> Self {
        Self {
            waves: holds.waves.into_iter().map(|(wave, reason)| (wave, reason.to_string())).collect(),
            tasks: holds.tasks.into_iter().map(|(task, reason)| (task, reason.to_string())).collect(),
        }
    }
}

/// A stored plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    pub plan: PlanId,
    pub name: String,
}

/// A session's message on its way through the driver.
#[derive(Debug)]
pub struct Handling(oneshot::Receiver<Result<Reply, ApplyError>>);

impl Handling {
    /// Waits until the driver is done with it.
    pub async fn done(self) {
        // What came of it is said by the session's own messages.
        let _ = self.0.await;
    }
}

/// Why a request had no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Try again later.
    #[error("{0}")]
    Unavailable(String),
    /// The store refuses what this request leads to; its plan is paused.
    #[error("the store refuses what this request leads to; its plan is paused: {0}")]
    Poisoned(String),
    #[error("the coordinator is stopping")]
    Stopping,
}

/// The way to the driver; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
}

impl Handle {
    /// A handle and the end that the driver receives from. `capacity` requests wait at most.
    #[must_use]
    pub fn new(capacity: usize) -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(capacity);
        (Self { requests }, receiver)
    }

    /// Applies an operator's input and waits until it is committed.
    pub async fn apply(&self, input: Input) -> Result<Reply, ApplyError> {
        let (answer, answered) = oneshot::channel();
        self.request(Request::Apply { input: Box::new(input), answer: Some(answer) }).await?;
        answered.await.map_err(|_| ApplyError::Stopping)?
    }

    /// Stores a plan that was read without errors.
    pub async fn submit(&self, submission: Submission) -> Result<Submitted, ApplyError> {
        let (answer, answered) = oneshot::channel();
        let submission = Arc::new(submission);
        // Kept here, so that what may be megabytes is let go of here, too.
        let kept = Arc::clone(&submission);
        self.request(Request::Submit { submission, answer }).await?;
        let submitted = answered.await;
        drop(kept);
        submitted.map_err(|_| ApplyError::Stopping)?
    }

    /// Registers where a session's messages go. The hello follows as an event.
    pub async fn open_session(
        &self,
        session: SessionId,
        sender: mpsc::Sender<Outgoing>,
    ) -> Result<(), ApplyError> {
        self.request(Request::OpenSession { session, sender }).await
    }

    /// Hands a session's message over; its answers come through the session's sender. What is given back comes to
    /// an end when the message was handled, or never will be.
    pub async fn session_event(
        &self,
        session: SessionId,
        event: SessionEvent,
    ) -> Result<Handling, ApplyError> {
        let (answer, answered) = oneshot::channel();
        let input = Box::new(Input::Session { session, event });
        self.request(Request::Apply { input, answer: Some(answer) }).await?;
        Ok(Handling(answered))
    }

    /// Why the waves and tasks of a plan wait.
    pub async fn holds(&self, plan: PlanId) -> Result<Holds, ApplyError> {
        let (answer, answered) = oneshot::channel();
        self.request(Request::Look { look: Look::Holds { plan, answer } }).await?;
        // Put into words here: those of a hundred thousand tasks would hold the driver up.
        answered.await.map(Holds::from).map_err(|_| ApplyError::Stopping)
    }

    /// The workers with an open session.
    pub async fn connected(&self) -> Result<Vec<wavegate_engine::WorkerId>, ApplyError> {
        let (answer, answered) = oneshot::channel();
        self.request(Request::Look { look: Look::Connected { answer } }).await?;
        answered.await.map_err(|_| ApplyError::Stopping)
    }

    /// The candidates that wait for a verdict from outside.
    pub async fn pending_verdicts(&self) -> Result<Vec<PendingVerdict>, ApplyError> {
        let (answer, answered) = oneshot::channel();
        self.request(Request::Look { look: Look::PendingVerdicts { answer } }).await?;
        answered.await.map_err(|_| ApplyError::Stopping)
    }

    /// Every account that ever was in trouble.
    pub async fn accounts(&self) -> Result<Vec<AccountRow>, ApplyError> {
        let (answer, answered) = oneshot::channel();
        self.request(Request::Look { look: Look::Accounts { answer } }).await?;
        answered.await.map_err(|_| ApplyError::Stopping)
    }

    /// Asks the driver to stop after what it has received.
    pub async fn stop(&self) {
        // A driver that is gone has stopped.
        let _ = self.requests.send(Request::Stop).await;
    }

    async fn request(&self, request: Request) -> Result<(), ApplyError> {
        self.requests.send(request).await.map_err(|_| ApplyError::Stopping)
    }
}
