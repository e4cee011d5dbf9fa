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

use std::{path::Path, time::Duration};

use tonic::{Code, Status};
use wavegate_engine::{PlanId, Refusal};

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
        status(code, error.to_string())
    }
}

fn code_of(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::ModeMissing
        | Refusal::NoteMissing
        | Refusal::VerdictTask { .. }
        | Refusal::EmptyRejection
        | Refusal::ApprovedFindings
        | Refusal::WaveAmbiguous { .. }
        | Refusal::Timing { .. } => Code::InvalidArgument,
        Refusal::NoTask { .. } | Refusal::NoWave { .. } | Refusal::NoWorker(_) => Code::NotFound,
        Refusal::NoOpenPlan(_)
        | Refusal::PlanExists { .. }
        | Refusal::OpusForbidden
        | Refusal::PlanState { .. }
        | Refusal::TaskState { .. }
        | Refusal::NothingBlocked(_)
        | Refusal::NoBudget { .. }
        | Refusal::WaveState { .. }
        | Refusal::NoCandidate { .. }
        | Refusal::TaskNotBlocking { .. }
        | Refusal::StaleVerdict { .. }
        | Refusal::NotExternal(_)
        | Refusal::WorkerConnected(_)
        | Refusal::AccountOpen(_)
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
        status(code, error.to_string())
    }
}

impl From<ArtifactError> for Status {
    fn from(error: ArtifactError) -> Self {
        let code = match &error {
            ArtifactError::Digest { .. } | ArtifactError::Size { .. } => Code::InvalidArgument,
            ArtifactError::Io { .. } => Code::Unavailable,
        };
        status(code, error.to_string())
    }
}

/// A status travels as a header, and headers of more than 8 KiB end the connection at many clients:
/// they would see that instead of the text.
const MAX_ENCODED_BYTES: usize = 7 * 1024;

fn status(code: Code, text: impl Into<String>) -> Status {
    let text = text.into();
    let fits = fitting(&text, MAX_ENCODED_BYTES);
    if fits == text.len() {
        return Status::new(code, text);
    }
    Status::new(code, format!("{} ... ({} bytes in all)", &text[..fits], text.len()))
}

/// How much of the text, up to a whole character, takes at most so many bytes in a header, where all
/// but plain characters take three for each of theirs.
fn fitting(text: &str, most: usize) -> usize {
    let cost = |c: char| if c.is_ascii_alphanumeric() || "-_.,:/".contains(c) { 1 } else { 3 * c.len_utf8() };
    let mut left = most;
    let cut = text.char_indices().find(|(_, c)| match left.checked_sub(cost(*c)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    cut.map_or(text.len(), |(at, _)| at)
}

/// Several things to change in the request, a line each: as many as one answer can hold, the number of
/// the others, and who tells those.
pub(super) fn invalid_lines(lines: &[String], rest: &str) -> Status {
    let all = lines.join("\n");
    // Room for the last line.
    let fits = fitting(&all, MAX_ENCODED_BYTES - 512);
    if fits == all.len() {
        return invalid(all);
    }
    // One long line is cut, several are kept whole.
    let kept = all[..fits].rfind('\n').map_or(&all[..fits], |end| &all[..end]);
    let more = lines.len() - kept.lines().count().min(lines.len());
    invalid(format!("{kept}\n... and {more} more: {rest}"))
}

pub(super) fn unauthenticated(what: &str, token_file: &Path) -> Status {
    let file = token_file.display();
    status(Code::Unauthenticated, format!("{what}: send `authorization: Bearer TOKEN`; it is in {file}"))
}

pub(super) fn invalid(text: impl Into<String>) -> Status {
    status(Code::InvalidArgument, text)
}

pub(super) fn not_found(what: &str, name: &str) -> Status {
    status(Code::NotFound, format!("no {what} {name:?}"))
}

pub(super) fn no_task(plan: PlanId, task: &str) -> Status {
    status(Code::NotFound, format!("plan {plan} has no task {task:?}"))
}

/// There is more to it than a name.
pub(super) fn not_found_as(text: impl Into<String>) -> Status {
    status(Code::NotFound, text)
}

pub(super) fn unavailable(text: impl Into<String>) -> Status {
    status(Code::Unavailable, text)
}

/// Why a stream ends that its client would have gone on with.
pub(super) fn stopping() -> Status {
    unavailable("the coordinator stops; try again when it is back")
}

pub(super) fn too_slow(patience: Duration) -> Status {
    let seconds = patience.as_secs();
    unavailable(format!("nothing came for {seconds} s; try again when there is something to send"))
}

pub(super) fn too_many_uploads(most: usize) -> Status {
    unavailable(format!("{most} uploads are under way, which is the most at a time; try again in a moment"))
}

/// A task of our own that panicked or was cut off.
pub(super) fn internal(text: impl std::fmt::Display) -> Status {
    status(Code::Internal, text.to_string())
}
