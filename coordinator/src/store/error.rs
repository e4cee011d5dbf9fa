//! What SQLite's errors mean to the coordinator, and what to do about them.

use rusqlite::ErrorCode;

use crate::driver::StoreError;

#[expect(clippy::wildcard_enum_match_arm, reason = "both enums grow: what is not known may pass by itself")]
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        let Some(code) = error.sqlite_error_code() else {
            return match error {
                rusqlite::Error::QueryReturnedNoRows
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..) => Self::Corrupt(text),
                _ => Self::Unavailable(text),
            };
        };
        match code {
            ErrorCode::DiskFull => {
                Self::Unavailable(format!("{text}: make room on the disk of the database"))
            }
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                Self::Unavailable(format!("{text}: another program holds the database; end its transaction"))
            }
            ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                Self::Unavailable(format!("{text}: the database and its folder must be writable"))
            }
            ErrorCode::ConstraintViolation => Self::Constraint(text),
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Corrupt(text),
            _ => Self::Unavailable(text),
        }
    }
}

/// A word in the database that this program does not know.
pub(super) fn unknown(what: &str, found: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what}: found \"{found}\""))
}
