//! The name of a lease as this worker trusts it: it names files, so it is checked first.

use std::fmt;

/// A lease's name: the fence that every message about it carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(String);

/// A lease's name that this worker does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lease id {found:?} is not 1 to 128 letters, digits, '-' or '_'")]
pub struct BadLeaseId {
    found: String,
}

impl LeaseId {
    const MAX_BYTES: usize = 128;

    /// Takes a name from a peer or a file.
    pub fn parse(text: &str) -> Result<Self, BadLeaseId> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if text.is_empty() || text.len() > Self::MAX_BYTES || !text.bytes().all(allowed) {
            return Err(BadLeaseId { found: text.chars().take(Self::MAX_BYTES).collect() });
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::LeaseId;

    #[test]
    fn a_name_that_would_leave_its_folder_is_refused() {
        for text in ["", "..", "../x", "a/b", "a.report", "x\0", &"a".repeat(129)] {
            assert!(LeaseId::parse(text).is_err(), "{text:?} was taken");
        }
        assert!(LeaseId::parse("00ff-A_z").is_ok());
    }
}
