//! Whose account the program spends from, as a fingerprint: never the secret itself.

use std::path::{Path, PathBuf};

use crate::runner::account::{of, text_at, variable};

/// The first twelve hex digits of a SHA-256; empty where no account is found.
#[must_use]
pub fn fingerprint() -> String {
    let home = variable(&["HOME"]).map(PathBuf::from);
    let config = variable(&["CLAUDE_CONFIG_DIR"]).map(PathBuf::from);
    // In the order in which the program itself looks.
    let secret = variable(&["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"]);
    let secret = secret.or_else(|| logged_in(config.as_deref(), home.as_deref()));
    secret.map(|secret| of(&secret)).unwrap_or_default()
}

/// Who logged in: the account's own id, which stays when its tokens change, else the token that is renewed
/// least often.
fn logged_in(config: Option<&Path>, home: Option<&Path>) -> Option<String> {
    let profile = config.or(home)?.join(".claude.json");
    let credentials = match config {
        Some(config) => config.join(".credentials.json"),
        None => home?.join(".claude/.credentials.json"),
    };
    let found = text_at(&profile, "/oauthAccount/accountUuid");
    found.or_else(|| text_at(&credentials, "/claudeAiOauth/refreshToken"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_account_of_a_login_is_found_in_the_config_dir_or_at_home() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(logged_in(None, Some(dir.path())), None);
        write(".claude/.credentials.json", r#"{"claudeAiOauth":{"refreshToken":"r-1"}}"#);
        assert_eq!(logged_in(None, Some(dir.path())).as_deref(), Some("r-1"));
        write(".claude.json", r#"{"oauthAccount":{"accountUuid":"u-1"}}"#);
        assert_eq!(logged_in(None, Some(dir.path())).as_deref(), Some("u-1"));
        write("other/.claude.json", r#"{"oauthAccount":{"accountUuid":"u-2"}}"#);
        let config = dir.path().join("other");
        assert_eq!(logged_in(Some(&config), Some(dir.path())).as_deref(), Some("u-2"));
    }
}
