//! Our errors as gRPC statuses: the only place that names codes. For each code, what the caller should
//! do:
//!
//! - `INVALID_ARGUMENT`: change the request.
//! - `UNAUTHENTICATED`: send the token.
//! - `NOT_FOUND`: name something that exists.
//! - `FAILED_PRECONDITION`: change the state of things first, as the text says.
//! - `UNAVAILABLE`: try again later.
//! - `DATA_LOSS`: the database or an artifact is damaged; restore it.
//! - `INTERNAL`: report it.

use std::path::Path;

use tonic::{Code, Status};
use wavegate_engine::Refusal;

use crate::{
    driver::{ApplyError, StoreError},
    store::artifacts::ArtifactError,
};

impl From<ApplyError> for Status {
    fn from(error: ApplyError) -> Self {
        let code = match &error {
            ApplyError::Refused(refusal) => code_of(refusal),
            ApplyError::Unavailable(_) | ApplyError::Stopping => Code::Unavailable,
            ApplyError::Poisoned(_) => Code::FailedPrecondition,
        };
        Self::new(code, error.to_string())
    }
}

fn code_of(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::ModeMissing
        | Refusal::NoteMissing
        | Refusal::VerdictTask { .. }
        | Refusal::EmptyRejection
        | Refusal::WaveAmbiguous { .. }
        | Refusal::Timing { .. } => Code::InvalidArgument,
        Refusal::NoTask { .. } | Refusal::NoWave { .. } | Refusal::NoWorker(_) => Code::NotFound,
        Refusal::NoOpenPlan(_)
        | Refusal::PlanExists { .. }
        | Refusal::OpusForbidden
        | Refusal::PlanState { .. }
        | Refusal::TaskState { .. }
        | Refusal::NothingBlocked(_)
        | Refusal::WaveState { .. }
        | Refusal::NoCandidate { .. }
        | Refusal::TaskNotBlocking { .. }
        | Refusal::StaleVerdict { .. }
        | Refusal::NotExternal(_)
        | Refusal::WorkerConnected(_)
        | Refusal::NoSession => Code::FailedPrecondition,
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Unavailable(_) => Code::Unavailable,
            StoreError::Constraint(_) => Code::Internal,
            StoreError::Corrupt(_) => Code::DataLoss,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ArtifactError> for Status {
    fn from(error: ArtifactError) -> Self {
        let code = match &error {
            ArtifactError::Digest { .. } | ArtifactError::Size { .. } => Code::InvalidArgument,
            ArtifactError::Io { .. } => Code::Unavailable,
        };
        Self::new(code, error.to_string())
    }
}

pub(super) fn unauthenticated(what: &str, token_file: &Path) -> Status {
    let file = token_file.display();
    Status::new(Code::Unauthenticated, format!("{what}: send `authorization: Bearer TOKEN`; it is in {file}"))
}

pub(super) fn invalid(text: impl Into<String>) -> Status {
    Status::new(Code::InvalidArgument, text)
}

pub(super) fn not_found(what: &str, name: &str) -> Status {
    Status::new(Code::NotFound, format!("no {what} {name:?}"))
}

pub(super) fn unavailable(text: impl Into<String>) -> Status {
    Status::new(Code::Unavailable, text)
}

/// Why a stream ends that its client would have gone on with.
pub(super) fn stopping() -> Status {
    unavailable("the coordinator stops; try again when it is back")
}

/// A task of our own that panicked or was cut off.
pub(super) fn internal(text: impl std::fmt::Display) -> Status {
    Status::new(Code::Internal, text.to_string())
}
