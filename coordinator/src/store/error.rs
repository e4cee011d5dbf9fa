//! What SQLite's errors mean to the coordinator, and what to do about them.

use rusqlite::{Error, ErrorCode, ffi};

use crate::driver::StoreError;

/// What to do about a full disk.
const MAKE_ROOM: &str = "make room on the disk of the database";

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        if let Error::SqliteFailure(failure, _) | Error::SqlInputError { error: failure, .. } = &error {
            by_code(*failure, &error)
        } else if is_of_the_content(&error) {
            Self::Corrupt(error.to_string())
        } else {
            Self::Unavailable(error.to_string())
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "it grows: what is not known may pass by itself")]
fn by_code(failure: ffi::Error, error: &Error) -> StoreError {
    let later = |advice: &str| StoreError::Unavailable(format!("{error}: {advice}"));
    match failure.code {
        ErrorCode::DiskFull => later(MAKE_ROOM),
        ErrorCode::SystemIoFailure => {
            later("reading or writing the disk of the database fails; see that it has room and is sound")
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            later("another program holds the database; end its transaction")
        }
        ErrorCode::ReadOnly if failure.extended_code == ffi::SQLITE_READONLY_DBMOVED => {
            later("the database file was moved or deleted; put it back and start the coordinator again")
        }
        ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            later("the database and its folder must be writable")
        }
        ErrorCode::ConstraintViolation | ErrorCode::TooBig => StoreError::Constraint(error.to_string()),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch => {
            StoreError::Corrupt(error.to_string())
        }
        // SQLITE_ERROR: a table or column that is not there, since the statements are ours.
        ErrorCode::Unknown if failure.extended_code == ffi::SQLITE_ERROR => {
            StoreError::Corrupt(error.to_string())
        }
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// Whether it is about what was read, not about reading.
fn is_of_the_content(error: &Error) -> bool {
    matches!(
        error,
        Error::QueryReturnedNoRows
            | Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::InvalidColumnName(_)
            | Error::Utf8Error(..)
    )
}

/// A word in the database that this program does not know.
pub(super) fn unknown(what: &str, found: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what}: found \"{found}\""))
}
