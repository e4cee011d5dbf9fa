//! The plan's `project`: what it works on. Owns which texts may stand for a repository and for what a plan starts
//! from; whether they are there is looked at where the plan is submitted.

use std::path::Path;

use wavegate_engine::spec::{ProjectSpec, WorkspaceKind};

use super::{
    fields::{Field, Fields},
    level::PROJECT,
    node::{Place, Value, shorten},
    report::Report,
};

/// Where the file says what a plan works on, for what is found out later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectPlaces {
    /// Line and column of `repo`; of `workspace` or the plan where there is none.
    pub repo: (u32, u32),
    /// Line and column of `base`; of `repo` where there is none.
    pub base: (u32, u32),
}

impl Default for ProjectPlaces {
    fn default() -> Self {
        Self { repo: (1, 1), base: (1, 1) }
    }
}

const WORKSPACES: [(&str, WorkspaceKind); 3] =
    [("dir", WorkspaceKind::Dir), ("none", WorkspaceKind::None), ("git", WorkspaceKind::Git)];

/// Reads it; a plan without one works in a directory.
pub(super) fn read(fields: &Fields<'_>, report: &mut Report) -> (ProjectSpec, ProjectPlaces) {
    let Some(field) = fields.get("project") else {
        return Default::default();
    };
    if let Value::Text(_) = field.node.value {
        let name = field.text(report).unwrap_or_default();
        return (ProjectSpec { name, ..ProjectSpec::default() }, ProjectPlaces::default());
    }
    if !matches!(field.node.value, Value::Map(_)) {
        field.wrong("the project's name, or a mapping", report);
        return Default::default();
    }
    let Some(project) = Fields::of(field.node, "`project`", report) else {
        return Default::default();
    };
    project.note_unknown(&PROJECT, report);
    (read_fields(&project, report), places(&project))
}

fn read_fields(project: &Fields<'_>, report: &mut Report) -> ProjectSpec {
    let kind = project.get("workspace").and_then(|field| field.choice(&WORKSPACES, report));
    let workspace = kind.unwrap_or_default();
    let (repo, base) = (project.get("repo"), project.get("base"));
    let is_git = workspace == WorkspaceKind::Git;
    let name = project.get("name").and_then(|field| field.text(report)).unwrap_or_default();
    let repo = repo.and_then(|field| if is_git { repository(&field, report) } else { field.text(report) });
    let base = match base {
        Some(field) if is_git => revision(&field, report),
        Some(field) => {
            report.warning(
                field.key,
                format!(
                    "{} has no effect: only `workspace: git` starts from a branch or commit",
                    field.label
                ),
            );
            field.text(report)
        }
        None => None,
    };
    ProjectSpec { name, repo, base, workspace }
}

fn places(project: &Fields<'_>) -> ProjectPlaces {
    let place = |name: &str| project.get(name).map(|field| field.node.place);
    let spot = |place: Place| (place.line, place.column);
    let repo = place("repo").or_else(|| place("workspace")).unwrap_or(project.place);
    ProjectPlaces { repo: spot(repo), base: spot(place("base").unwrap_or(repo)) }
}

/// The repository; one that git would take for something else, or that holds a secret, is reported.
fn repository(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.text(report)?.trim().to_owned();
    if let Err(problem) = check_repository(&text) {
        report.error(field.node.place, format!("{}: {problem}", field.label));
        return None;
    }
    Some(text)
}

/// Whether the text may stand for a repository: what is wrong, and what is expected.
pub fn check_repository(text: &str) -> Result<(), String> {
    let expected = "expected a path or a URL (https, http, ssh, git, file, or host:path)";
    repository_objection(text).map_or(Ok(()), |objection| Err(format!("{objection}; {expected}")))
}

/// Whether the repository is a path that means something only where the plan's file is.
#[must_use]
pub fn is_relative(repository: &str) -> bool {
    let has_host = repository.split_once(':').is_some_and(|(before, _)| !before.contains('/'));
    !has_host && !Path::new(repository).is_absolute()
}

const SCHEMES: [&str; 5] = ["https", "http", "ssh", "git", "file"];
/// Never repeated in a message: whoever reads it may not be who wrote the file.
const SECRET: &str = "the URL holds a user's secret, which would be stored with the plan and shown; credentials are \
                      the workers' own (a credential helper, or an ssh agent)";

fn repository_objection(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("the text is empty".to_owned());
    }
    if text.starts_with('-') {
        return Some(format!("\"{}\" begins with `-`, which git reads as an option", shorten(text)));
    }
    if text.contains(char::is_control) {
        return Some("the text holds control characters".to_owned());
    }
    match text.split_once("://") {
        Some((scheme, rest)) => url_objection(scheme, rest),
        None => short_form_objection(text),
    }
}

fn url_objection(scheme: &str, rest: &str) -> Option<String> {
    if !SCHEMES.contains(&scheme) {
        return Some(format!("the scheme `{}` is not served", shorten(scheme)));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    let is_web = scheme.starts_with("http");
    // A user's name alone is how tokens are written there.
    if user.contains(':') || (is_web && !user.is_empty()) || (is_web && has_secret_query(rest)) {
        return Some(SECRET.to_owned());
    }
    if scheme == "file" {
        let is_here = matches!(authority, "" | "localhost") && rest.len() > authority.len();
        return (!is_here).then(|| "a `file` URL has three slashes: `file:///srv/repository`".to_owned());
    }
    (authority.is_empty() || authority.starts_with('-')).then(|| "the URL has no host".to_owned())
}

fn has_secret_query(rest: &str) -> bool {
    let query = rest.split_once('?').map_or("", |(_, query)| query).to_ascii_lowercase();
    ["token", "password", "secret"].iter().any(|word| query.contains(word))
}

/// A path, `host:path`, or `helper::address`, which would run a program.
fn short_form_objection(text: &str) -> Option<String> {
    let (before, after) = text.split_once(':').filter(|(before, _)| !before.contains('/'))?;
    if after.starts_with(':') {
        return Some(format!("`{}::` would run a helper program", shorten(before)));
    }
    let (user, address) = text.split_once('@').unwrap_or_default();
    (user.contains(':') && address.contains(':')).then(|| SECRET.to_owned())
}

/// What a plan starts from; `HEAD` is the same as nothing.
fn revision(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.text(report)?.trim().to_owned();
    if text == "HEAD" {
        return None;
    }
    if let Err(problem) = check_revision(&text) {
        report.error(field.node.place, format!("{}: {problem}", field.label));
        return None;
    }
    Some(text)
}

/// Whether the text may stand for a branch, a tag or a commit: what is wrong, and what is expected.
pub fn check_revision(text: &str) -> Result<(), String> {
    let expected = "expected the name of a branch or tag, or the id of a commit";
    revision_objection(text).map_or(Ok(()), |objection| Err(format!("{objection}; {expected}")))
}

/// What git does not allow in the name of a reference.
fn revision_objection(name: &str) -> Option<String> {
    let shown = shorten(name);
    let forbidden = |c: char| c == ' ' || "~^:?*[\\".contains(c);
    if name.starts_with('-') {
        return Some(format!("\"{shown}\" begins with `-`"));
    }
    if name.contains(char::is_control) {
        return Some("the text holds control characters".to_owned());
    }
    if let Some(found) = name.chars().find(|c| forbidden(*c)) {
        return Some(format!("\"{shown}\" holds `{found}`"));
    }
    if let Some(found) = ["..", "@{", "//"].iter().find(|part| name.contains(**part)) {
        return Some(format!("\"{shown}\" holds `{found}`"));
    }
    let wrong_part = |part: &str| {
        part.starts_with('.') || part.ends_with(".lock") || part.ends_with('.') || part.is_empty()
    };
    (name == "@" || name.split('/').any(wrong_part)).then(|| format!("\"{shown}\" is no name in git"))
}

#[cfg(test)]
mod tests {
    use super::{is_relative, repository_objection, revision_objection};

    #[test]
    fn paths_and_urls_without_secrets_stand_for_repositories() {
        for text in [
            ".",
            "../other repository",
            "/srv/a",
            "./a:b",
            "https://example.org/a.git",
            "ssh://git@example.org:22/a",
            "git://example.org/a",
            "file:///srv/a",
            "git@example.org:a/b.git",
            "host:a@2",
        ] {
            assert_eq!(repository_objection(text), None, "{text}");
        }
    }

    #[test]
    fn what_holds_a_secret_is_refused_and_not_repeated() {
        for text in [
            "https://me:hunter2@example.org/a",
            "https://hunter2@example.org/a",
            "https://example.org/a?private_token=hunter2",
            "ssh://me:hunter2@example.org/a",
            "me:hunter2@example.org:a",
        ] {
            let objection = repository_objection(text).unwrap();
            assert!(objection.contains("secret") && !objection.contains("hunter2"), "{text}: {objection}");
        }
    }

    #[test]
    fn what_git_would_run_is_refused() {
        for (text, part) in [
            ("--upload-pack=touch x", "option"),
            ("ext::sh -c touch", "helper program"),
            ("ext://x", "scheme"),
            ("ssh://-oProxyCommand=x/a", "no host"),
            ("file://server/a", "three slashes"),
        ] {
            let objection = repository_objection(text).unwrap();
            assert!(objection.contains(part), "{text}: {objection}");
        }
    }

    #[test]
    fn a_path_without_a_root_is_relative_and_a_url_is_not() {
        for text in [".", "a/b", "../a:b", "./a:b"] {
            assert!(is_relative(text), "{text}");
        }
        for text in ["/a", "https://example.org/a", "git@example.org:a", "host:a"] {
            assert!(!is_relative(text), "{text}");
        }
    }

    #[test]
    fn names_of_branches_tags_and_commits_are_what_git_allows() {
        for name in ["main", "v1.2", "feature/a-b_c", "origin/main", "refs/heads/main", "0a1b2c3"] {
            assert_eq!(revision_objection(name), None, "{name}");
        }
        for name in [
            "-x", "a..b", "a b", "HEAD~1", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "/a", "a/", "a//b",
            "a.lock", ".a", "a.", "a@{1}", "@", "a/.b", "a\u{7f}",
        ] {
            assert!(revision_objection(name).is_some(), "{name}");
        }
    }
}
