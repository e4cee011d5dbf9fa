//! Where a repository is, as a plan says. Owns what may stand there: a path or a URL without a password; git is
//! never handed a word that it could take for an option or for a helper to run.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use crate::digest::Digest;

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// On this host.
    Path(PathBuf),
    /// Elsewhere, as git writes it.
    Url(String),
}

/// What cannot stand for a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    #[error("the repository is not named; expected a path or a URL")]
    Empty,
    #[error("the repository {0:?} begins with `-`; expected a path or a URL")]
    Option(String),
    #[error("the repository {0:?} holds control characters; expected a path or a URL")]
    Control(String),
    /// The text is not repeated: it holds a secret.
    #[error(
        "the repository's URL holds a password; credentials are the workers' own (a git configuration with a \
         credential helper, or an ssh agent)"
    )]
    Password,
    #[error(
        "the repository {0:?} has a scheme that is not used; expected https, http, ssh, git or file, or a path"
    )]
    Scheme(String),
}

const SCHEMES: [&str; 5] = ["https", "http", "ssh", "git", "file"];

impl Location {
    /// Reads what a plan says.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        if text.starts_with('-') {
            return Err(LocationError::Option(text.to_owned()));
        }
        if text.contains(char::is_control) {
            return Err(LocationError::Control(text.to_owned()));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            if !SCHEMES.contains(&scheme) {
                return Err(LocationError::Scheme(text.to_owned()));
            }
            let authority = rest.split('/').next().unwrap_or_default();
            let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
            if user.contains(':') || (!user.is_empty() && scheme.starts_with("http")) {
                return Err(LocationError::Password);
            }
            if scheme == "file" {
                return Ok(Self::of_path(Path::new(rest.trim_start_matches("localhost"))));
            }
            return Ok(Self::Url(text.to_owned()));
        }
        // `helper::address` runs git-remote-helper; `host:path` is ssh, unless a slash stands before the colon.
        if let Some((before, after)) = text.split_once(':')
            && !before.contains('/')
        {
            if after.starts_with(':') {
                return Err(LocationError::Scheme(text.to_owned()));
            }
            // `user:secret@host:path`, as if it were a URL: no host has an @ in its path's first part.
            if after.split('/').next().is_some_and(|first| first.contains('@')) {
                return Err(LocationError::Password);
            }
            return Ok(Self::Url(text.to_owned()));
        }
        Ok(Self::of_path(Path::new(text)))
    }

    /// The path without links, where it is there: one store serves all names of a repository.
    fn of_path(path: &Path) -> Self {
        Self::Path(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()))
    }

    /// A folder's name for it: a part that people know, and a digest that nobody else has.
    #[must_use]
    pub(super) fn key(&self) -> String {
        let text = self.to_string();
        let last = text.trim_end_matches('/').trim_end_matches(".git").trim_end_matches('/');
        let last = last.rsplit(['/', ':']).next().unwrap_or_default();
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
        let last: String = last.chars().map(plain).take(40).collect();
        let digest = Digest::of_bytes(text.as_bytes()).to_string();
        format!("{last}-{}", &digest[..16])
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_urls_without_secrets_are_read() {
        for url in
            ["https://example.org/a.git", "ssh://git@example.org/a", "git@example.org:a/b.git", "host:a"]
        {
            assert_eq!(Location::parse(url), Ok(Location::Url(url.to_owned())));
        }
        for path in ["/srv/a", "./a:b", "a"] {
            assert_eq!(Location::parse(path), Ok(Location::Path(path.into())));
        }
        assert_eq!(Location::parse("file:///srv/a"), Ok(Location::Path("/srv/a".into())));
    }

    #[test]
    fn what_git_would_run_or_nobody_may_see_is_refused() {
        for (text, error) in [
            ("", LocationError::Empty),
            ("--upload-pack=touch x", LocationError::Option("--upload-pack=touch x".into())),
            ("ext::sh -c touch", LocationError::Scheme("ext::sh -c touch".into())),
            ("ftp://a/b", LocationError::Scheme("ftp://a/b".into())),
            ("https://me:secret@example.org/a", LocationError::Password),
            ("https://token@example.org/a", LocationError::Password),
            ("me:secret@example.org:a", LocationError::Password),
            ("a\nb", LocationError::Control("a\nb".into())),
        ] {
            assert_eq!(Location::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn names_of_one_repository_share_a_key_and_two_repositories_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        let real = dir.path().join("real.git");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let key = |path: &Path| Location::parse(&path.display().to_string()).unwrap().key();
        assert_eq!(key(&link), key(&real));
        assert!(key(&real).starts_with("real-"), "{}", key(&real));
        assert_ne!(key(&real), key(&dir.path().join("other/real.git")));
    }
}
