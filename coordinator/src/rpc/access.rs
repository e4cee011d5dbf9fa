//! Who may do what: on loopback reading is open, everything else needs the token that the coordinator
//! keeps beside its database.

use std::path::PathBuf;

use tonic::{Status, metadata::MetadataMap};

use super::status;

/// The token, and where its owner finds it.
#[derive(Debug, Clone)]
pub struct Access {
    token: String,
    token_file: PathBuf,
}

impl Access {
    /// Access by this token, which is in this file.
    #[must_use]
    pub fn new(token: String, token_file: PathBuf) -> Self {
        Self { token, token_file }
    }

    /// Refused unless the request carries the token.
    pub(super) fn check(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let given = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
        match given {
            Some(given) if same(given.as_bytes(), self.token.as_bytes()) => Ok(()),
            Some(_) => Err(status::unauthenticated("the token is not this coordinator's", &self.token_file)),
            None => Err(status::unauthenticated("this call needs the token", &self.token_file)),
        }
    }
}

/// Compares in a time that depends on the lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: Option<&str>) -> bool {
        let mut metadata = MetadataMap::new();
        if let Some(value) = value {
            metadata.insert("authorization", value.parse().unwrap());
        }
        Access::new("secret".to_owned(), "token".into()).check(&metadata).is_ok()
    }

    #[test]
    fn only_the_token_itself_opens() {
        assert!(given(Some("Bearer secret")));
        for wrong in
            [None, Some("secret"), Some("Bearer secre"), Some("Bearer secret2"), Some("Bearer "), Some("")]
        {
            assert!(!given(wrong), "{wrong:?}");
        }
    }
}
