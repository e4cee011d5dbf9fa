//! Fingerprints of accounts: which one it is, never the secret itself.

use std::{env, fs, path::Path};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The first twelve hex digits of the SHA-256 of what names an account.
pub(super) fn of(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The value of the first of these variables that has one.
pub(super) fn variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
}

/// A text in a JSON file.
pub(super) fn text_at(file: &Path, pointer: &str) -> Option<String> {
    let value: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_twelve_digits_and_not_the_secret() {
        assert_eq!(of("sk-one").len(), 12);
        assert_ne!(of("sk-one"), of("sk-two"));
    }

    #[test]
    fn a_text_is_found_where_the_pointer_says() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("auth.json");
        assert_eq!(text_at(&file, "/a/b"), None);
        fs::write(&file, r#"{"a":{"b":"x","c":""}}"#).unwrap();
        assert_eq!(text_at(&file, "/a/b").as_deref(), Some("x"));
        assert_eq!((text_at(&file, "/a/c"), text_at(&file, "/d")), (None, None));
    }
}
