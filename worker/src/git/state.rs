//! A state of a repository as it travels: a commit by its id, and the bundles that hold it where the repository
//! cannot be reached. Owns the form and its checks: what arrives is a peer's word.

use std::{fmt, str::FromStr};

use prost::Message as _;
use wavegate_proto::v1;

use crate::digest::{Digest, DigestError};

/// The full id of a commit or tree: 40 hex digits (SHA-1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(String);

/// A text that is no object's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected the full id of a git object, 40 lower-case hex digits, found {0:?}")]
pub struct OidError(pub String);

impl FromStr for Oid {
    type Err = OidError;

    fn from_str(text: &str) -> Result<Self, OidError> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 40 && text.bytes().all(is_hex) {
            return Ok(Self(text.to_owned()));
        }
        Err(OidError(text.chars().take(100).collect()))
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Oid {
    /// As git takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As people read it.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

/// A git bundle, an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The artifact.
    pub digest: Digest,
    /// The commit that it brings.
    pub tip: Oid,
}

/// A commit, and how to come by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub commit: Oid,
    /// A result: the commit that its work is the difference from.
    pub base: Option<Oid>,
    /// Oldest first; each needs what is before it.
    pub bundles: Vec<Bundle>,
    /// A candidate: the head of the branch that it is meant for.
    pub onto: Option<Oid>,
    /// A candidate: the commit that the tasks' work was put on.
    pub start: Option<Oid>,
    /// The branch of the repository that was seen to hold the commit; empty where none was.
    pub branch: String,
}

/// An artifact that is no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the artifact is no git state: {0}")]
    Form(#[from] prost::DecodeError),
    #[error("the git state's {field}: {source}")]
    Oid { field: &'static str, source: super::OidError },
    #[error("the git state's bundles: {0}")]
    Digest(#[from] DigestError),
}

impl State {
    /// A commit that the repository has.
    #[must_use]
    pub fn of(commit: Oid) -> Self {
        Self { commit, base: None, bundles: Vec::new(), onto: None, start: None, branch: String::new() }
    }

    /// Reads an artifact.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let state = v1::GitState::decode(bytes)?;
        let oid = |field, text: &str| text.parse().map_err(|source| StateError::Oid { field, source });
        let optional =
            |field, text: &str| if text.is_empty() { Ok(None) } else { oid(field, text).map(Some) };
        let bundle = |bundle: &v1::GitBundle| {
            Ok(Bundle { digest: bundle.digest.parse()?, tip: oid("bundles", &bundle.tip)? })
        };
        Ok(Self {
            commit: oid("commit", &state.commit)?,
            base: optional("base", &state.base)?,
            bundles: state.bundles.iter().map(bundle).collect::<Result<_, StateError>>()?,
            onto: optional("onto", &state.onto)?,
            start: optional("start", &state.start)?,
            branch: state.branch,
        })
    }

    /// The artifact.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text = |oid: &Option<Oid>| oid.as_ref().map(Oid::to_string).unwrap_or_default();
        let bundles = self
            .bundles
            .iter()
            .map(|bundle| v1::GitBundle { digest: bundle.digest.to_string(), tip: bundle.tip.to_string() });
        v1::GitState {
            commit: self.commit.to_string(),
            base: text(&self.base),
            bundles: bundles.collect(),
            onto: text(&self.onto),
            start: text(&self.start),
            branch: self.branch.clone(),
        }
        .encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oid(digit: char) -> Oid {
        digit.to_string().repeat(40).parse().unwrap()
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let state = State {
            commit: oid('a'),
            base: Some(oid('b')),
            bundles: vec![Bundle { digest: Digest::of_bytes(b"x"), tip: oid('a') }],
            onto: None,
            start: Some(oid('c')),
            branch: "main".to_owned(),
        };
        assert_eq!(State::decode(&state.encode()).unwrap(), state);
    }

    #[test]
    fn what_is_no_state_says_where() {
        let wrong = v1::GitState { commit: "--output=x".to_owned(), ..v1::GitState::default() };
        let error = State::decode(&wrong.encode_to_vec()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the git state's commit: expected the full id of a git object, 40 lower-case hex digits, found \
             \"--output=x\""
        );
        assert!(matches!(State::decode(b"\xff\xff"), Err(StateError::Form(_))));
    }
}
