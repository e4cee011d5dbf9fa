//! What each state makes of each event. Owns the tables of legal transitions and nothing else: the
//! same functions serve live work and recovery, and an illegal pair is an error that holds both.

use crate::{
    ids::Utc,
    state::{LeaseState, ReleaseReason, TaskBlock, TaskState},
};

/// A state that cannot take an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {state} {thing} cannot be {event}")]
pub struct IllegalTransition {
    /// "lease" or "task".
    pub thing: &'static str,
    pub state: &'static str,
    pub event: &'static str,
}

/// What can happen to a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseEvent {
    /// Its worker says that the work began.
    Started,
    /// Its worker is silent for too long.
    Silent,
    /// Its worker is back and holds it.
    Heard,
    /// The coordinator wants it ended.
    CancelAsked,
    Finished,
    Released(ReleaseReason),
    Lost,
}

impl LeaseEvent {
    const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Silent => "unreachable",
            Self::Heard => "heard",
            Self::CancelAsked => "cancelled",
            Self::Finished => "finished",
            Self::Released(_) => "released",
            Self::Lost => "lost",
        }
    }
}

impl LeaseState {
    /// The state after the event.
    pub fn next(self, event: LeaseEvent) -> Result<Self, IllegalTransition> {
        use LeaseEvent as E;
        let illegal = Err(IllegalTransition { thing: "lease", state: self.name(), event: event.name() });
        match (self, event) {
            (Self::Granted, E::Started) => Ok(Self::Running),
            (Self::Granted | Self::Running, E::Silent) => Ok(Self::Unreachable { cancelling: false }),
            (Self::Cancelling, E::Silent) => Ok(Self::Unreachable { cancelling: true }),
            // Held by its worker: it began, whether or not the word of it got through.
            (Self::Unreachable { cancelling: false }, E::Heard | E::Started) => Ok(Self::Running),
            (Self::Unreachable { cancelling: true }, E::Heard | E::Started) => Ok(Self::Cancelling),
            (Self::Granted | Self::Running, E::CancelAsked) => Ok(Self::Cancelling),
            (Self::Unreachable { cancelling: false }, E::CancelAsked) => {
                Ok(Self::Unreachable { cancelling: true })
            }
            (Self::Granted | Self::Running | Self::Cancelling | Self::Unreachable { .. }, E::Finished) => {
                Ok(Self::Finished)
            }
            (
                Self::Granted | Self::Running | Self::Cancelling | Self::Unreachable { .. },
                E::Released(reason),
            ) => Ok(Self::Released(reason)),
            (Self::Granted | Self::Running | Self::Cancelling | Self::Unreachable { .. }, E::Lost) => {
                Ok(Self::Lost)
            }
            // A late result, within its right.
            (Self::Lost, E::Finished) => Ok(Self::Finished),
            (Self::Granted, E::Heard)
            | (Self::Running, E::Started | E::Heard)
            | (Self::Cancelling, E::Started | E::Heard | E::CancelAsked)
            | (Self::Unreachable { .. }, E::Silent)
            | (Self::Unreachable { cancelling: true }, E::CancelAsked)
            | (Self::Finished | Self::Released(_), _)
            | (Self::Lost, E::Started | E::Silent | E::Heard | E::CancelAsked | E::Released(_) | E::Lost) => {
                illegal
            }
        }
    }
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEvent {
    Granted,
    /// A successful result was accepted, in time or late.
    Submitted,
    /// `skip_if` held, or a person leaves it out.
    Skipped,
    /// Its attempt ended without a result, or its work was sent back: it waits again.
    Returned {
        not_before: Option<Utc>,
    },
    Blocked(TaskBlock),
    /// By a verdict or a person's override.
    Approved,
    Cancelled,
}

impl TaskEvent {
    const fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Submitted => "submitted",
            Self::Skipped => "skipped",
            Self::Returned { .. } => "returned",
            Self::Blocked(_) => "blocked",
            Self::Approved => "approved",
            Self::Cancelled => "cancelled",
        }
    }
}

impl TaskState {
    /// The state after the event.
    pub fn next(self, event: TaskEvent) -> Result<Self, IllegalTransition> {
        use TaskEvent as E;
        let illegal = Err(IllegalTransition { thing: "task", state: self.name(), event: event.name() });
        match (self, event) {
            (Self::Pending { .. }, E::Granted) => Ok(Self::Leased),
            // Pending and blocked: a late result of a lost lease, or a person takes what was sent back.
            (Self::Leased | Self::Pending { .. } | Self::Blocked(_), E::Submitted) => Ok(Self::Submitted),
            (Self::Leased | Self::Pending { .. } | Self::Blocked(_), E::Skipped) => Ok(Self::Skipped),
            (Self::Leased | Self::Submitted | Self::Blocked(_), E::Returned { not_before }) => {
                Ok(Self::Pending { not_before })
            }
            (Self::Leased | Self::Submitted, E::Blocked(reason)) => Ok(Self::Blocked(reason)),
            (Self::Submitted, E::Approved) => Ok(Self::Done),
            (Self::Pending { .. } | Self::Leased | Self::Submitted | Self::Blocked(_), E::Cancelled) => {
                Ok(Self::Cancelled)
            }
            (Self::Pending { .. }, E::Returned { .. } | E::Blocked(_) | E::Approved)
            | (Self::Leased, E::Granted | E::Approved)
            | (Self::Submitted, E::Granted | E::Submitted | E::Skipped)
            | (Self::Blocked(_), E::Granted | E::Blocked(_) | E::Approved)
            | (Self::Done | Self::Skipped | Self::Cancelled, _) => illegal,
        }
    }
}
