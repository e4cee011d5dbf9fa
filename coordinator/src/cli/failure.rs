//! Why a command failed, as one line that says what happened and what to do. Owns the reading of
//! gRPC statuses; prints nothing.

use std::{error::Error as _, io, path::PathBuf};

use tonic::{Code, Status};

use super::exit;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line, a config file or a plan file is wrong. Nothing was started.
    #[error("{0}")]
    Usage(String),
    /// The person at the terminal did not choose a mode. Nothing was started.
    #[error("not approved: no mode was chosen, nothing was started")]
    NotApproved,
    #[error("not approved: interrupted, nothing was started")]
    /// Ctrl-C instead of a mode. Nothing was started.
    Interrupted,
    #[error("no coordinator at {url}: start one with `wavegate serve`, or name it with --coordinator")]
    NoCoordinator { url: String },
    #[error(
        "no coordinator is live on {db}: start one with `wavegate serve --db {db}`, or name it \
         with --coordinator"
    )]
    NoOwner {
        /// As a shell reads it.
        db: String,
    },
    #[error("{url} wants a token, and {}", token_advice(token_file.as_ref()))]
    Unauthenticated {
        url: String,
        /// The file that was read, if one was.
        token_file: Option<PathBuf>,
    },
    #[error("the coordinator refuses: {0}")]
    Denied(String),
    /// The coordinator's own words on a request that it does not grant.
    #[error("{0}")]
    Refused(String),
    /// The coordinator's words on a plan file or an argument that is wrong.
    #[error("{0}")]
    Invalid(String),
    #[error("the coordinator at {url} cannot be reached: {text}")]
    Unavailable { url: String, text: String },
    #[error("the coordinator does not know this request ({0}): it is older than this command")]
    TooOld(String),
    #[error("the coordinator failed: {0}")]
    Internal(String),
    /// Nobody reads the output any more, as under `| head`.
    #[error("the output was closed")]
    ClosedOutput,
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    #[error("{0:#}")]
    Backend(anyhow::Error),
}

impl Failure {
    /// The program's exit code.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::NotApproved | Self::Invalid(_) => exit::USAGE,
            Self::Interrupted => exit::INTERRUPTED,
            // The reader has what it wanted.
            Self::ClosedOutput => exit::DONE,
            Self::NoCoordinator { .. }
            | Self::NoOwner { .. }
            | Self::Unauthenticated { .. }
            | Self::Denied(_)
            | Self::Refused(_)
            | Self::Unavailable { .. }
            | Self::TooOld(_)
            | Self::Internal(_)
            | Self::Output(_)
            | Self::Backend(_) => exit::FAILED,
        }
    }

    /// Whether the same request may succeed later: the coordinator is away, not unwilling.
    pub(crate) const fn is_transient(&self) -> bool {
        matches!(self, Self::NoCoordinator { .. } | Self::Unavailable { .. })
    }

    /// Reads a status of the coordinator at `url`; `token_file` is the one that was used.
    pub(crate) fn from_status(status: &Status, url: &str, token_file: Option<PathBuf>) -> Self {
        let text = status.message().to_owned();
        let url = url.to_owned();
        match status.code() {
            Code::Unauthenticated => Self::Unauthenticated { url, token_file },
            Code::PermissionDenied => Self::Denied(text),
            Code::NotFound
            | Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::Aborted
            | Code::ResourceExhausted => Self::Refused(text),
            Code::InvalidArgument | Code::OutOfRange => Self::Invalid(text),
            Code::Unavailable if is_refused_connection(status) => Self::NoCoordinator { url },
            // A stream that broke off shows up as any of these.
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => Self::Unavailable { url, text },
            Code::Unknown if status.source().is_some() => Self::Unavailable { url, text },
            Code::Unimplemented => Self::TooOld(text),
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Self::Internal(text),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ClosedOutput;
        }
        Self::Output(error)
    }
}

fn token_advice(token_file: Option<&PathBuf>) -> String {
    match token_file {
        Some(path) => {
            format!("the one in {} is not it: name the coordinator's with --token-file", path.display())
        }
        None => "none was found: name its file with --token-file".to_owned(),
    }
}

/// Whether nobody listens: the chain of causes holds an I/O error that says so.
fn is_refused_connection(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return matches!(io.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: Status) -> Failure {
        Failure::from_status(&status, "http://host:1", Some(PathBuf::from("/t/token")))
    }

    #[test]
    fn a_missing_plan_is_told_in_the_coordinators_words() {
        let failure = read(Status::not_found("no plan is called \"x\""));
        assert_eq!(failure.to_string(), "no plan is called \"x\"");
        assert_eq!(failure.code(), 1);
    }

    #[test]
    fn a_wrong_token_names_its_file() {
        let failure = read(Status::unauthenticated("wrong"));
        assert_eq!(
            failure.to_string(),
            "http://host:1 wants a token, and the one in /t/token is not it: \
             name the coordinator's with --token-file"
        );
    }

    #[test]
    fn a_wrong_argument_is_a_usage_error() {
        assert_eq!(read(Status::invalid_argument("mode: none")).code(), 2);
    }

    #[test]
    fn only_an_absent_coordinator_is_transient() {
        assert!(read(Status::unavailable("store is locked")).is_transient());
        assert!(!read(Status::failed_precondition("blocked")).is_transient());
        assert!(!read(Status::internal("bug")).is_transient());
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure.code(), 0);
    }
}
