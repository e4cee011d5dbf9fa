//! A plan's repository before anything is stored: whether it is one, what the plan would start from, and what would
//! stop its work at the end. Owns the words of it; changes nothing, not even the index.

use std::path::{Path, PathBuf};

use wavegate_engine::spec::PlanSpec;
use wavegate_proto::v1;
use wavegate_worker::git::{Git, GitError, Location};

use super::{folder_of, moves_the_base};
use crate::{cli::RepositoryBase, planfile::ProjectPlaces};

/// What was found.
#[derive(Debug, Default)]
pub(in super::super) struct Examination {
    pub(in super::super) diagnostics: Vec<v1::Diagnostic>,
    /// Absent after an error.
    pub(in super::super) base: Option<RepositoryBase>,
}

/// Looks at the repository of a plan whose workspace is git. One elsewhere is only named: its workers reach it, not we.
pub(in super::super) async fn examine(
    spec: &PlanSpec,
    file_name: &str,
    places: ProjectPlaces,
) -> Examination {
    let mut notes = Notes { file: file_name.to_owned(), places, diagnostics: Vec::new() };
    let base = match look(spec, file_name, &mut notes).await {
        Ok(base) => base,
        Err(error) => {
            notes.error(places.repo, format!("`repo` of `project`: {error}"));
            None
        }
    };
    Examination { base: base.filter(|_| !notes.has_errors()), diagnostics: notes.diagnostics }
}

/// What is said of it, with places.
struct Notes {
    file: String,
    places: ProjectPlaces,
    diagnostics: Vec<v1::Diagnostic>,
}

impl Notes {
    fn add(&mut self, severity: v1::Severity, (line, column): (u32, u32), message: String) {
        let file = self.file.clone();
        // What git says may hold anything.
        let message = message.replace(char::is_control, " ");
        let severity = severity.into();
        self.diagnostics.push(v1::Diagnostic { severity, file, line, column, message });
    }

    fn error(&mut self, place: (u32, u32), message: String) {
        self.add(v1::Severity::Error, place, message);
    }

    fn warning(&mut self, message: String) {
        self.add(v1::Severity::Warning, self.places.repo, message);
    }

    fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|one| one.severity() == v1::Severity::Error)
    }
}

async fn look(
    spec: &PlanSpec,
    file_name: &str,
    notes: &mut Notes,
) -> Result<Option<RepositoryBase>, GitError> {
    let base = spec.project.base.clone().unwrap_or_default();
    let path = match &spec.project.repo {
        None => folder_of(file_name),
        Some(repo) => match Location::parse(repo)? {
            Location::Url(location) => return Ok(Some(RepositoryBase { location, base, commit: None })),
            Location::Path(_) => folder_of(file_name)
                .join(repo.trim().trim_start_matches("file://localhost").trim_start_matches("file://")),
        },
    };
    let Some(found) = Found::at(&path, spec.project.repo.is_some(), notes).await? else {
        return Ok(None);
    };
    let Some(start) = found.start(&base, notes).await? else {
        return Ok(None);
    };
    if moves_the_base(spec) {
        found.expect_movable(&start, &base, notes).await?;
    }
    found.warn(&start, notes).await?;
    let location = found.location.display().to_string();
    let base = start.branch.unwrap_or_else(|| start.commit.clone());
    Ok(Some(RepositoryBase { location, base, commit: Some(start.commit) }))
}

/// A repository of this host.
struct Found {
    git: Git,
    /// What workers are told: the main working copy, or the bare repository.
    location: PathBuf,
    /// The working copy that was named; absent for a bare repository.
    working_copy: Option<PathBuf>,
}

/// What a plan starts from.
struct Start {
    commit: String,
    /// Absent for a tag or a commit.
    branch: Option<String>,
}

impl Found {
    async fn at(path: &Path, is_named: bool, notes: &mut Notes) -> Result<Option<Self>, GitError> {
        let place = notes.places.repo;
        let shown = path.display();
        let Ok(path) = std::fs::canonicalize(path) else {
            notes
                .error(place, format!("`repo` of `project`: there is no {shown}; expected a git repository"));
            return Ok(None);
        };
        let git = Git::new(None);
        let asked = git.call([
            "rev-parse",
            "--show-object-format",
            "--is-shallow-repository",
            "--is-bare-repository",
        ]);
        let asked = match asked.within(&path).text().await {
            Err(GitError::Failed { said, .. }) => {
                notes.error(place, not_a_repository(&path, is_named, &said));
                return Ok(None);
            }
            other => other?,
        };
        let mut answers = asked.lines();
        let mut next = || answers.next().unwrap_or_default().to_owned();
        let (format, shallow, bare) = (next(), next(), next());
        if format != "sha1" {
            notes.error(
                place,
                format!("`repo` of `project`: {shown} is a repository of {format} objects, which workers cannot work on; expected SHA-1"),
            );
            return Ok(None);
        }
        if shallow == "true" {
            notes.error(
                place,
                format!("`repo` of `project`: {shown} is a shallow clone, which git fetches nothing from; `git fetch --unshallow` makes it whole"),
            );
            return Ok(None);
        }
        let found = Self::whole(git, &path, bare == "true").await?;
        let root = found.working_copy.as_ref().unwrap_or(&found.location);
        if is_named && *root != path {
            notes.warning(format!("`repo` of `project`: {shown} is a folder of the repository {}, which the plan works on as a whole", root.display()));
        }
        Ok(Some(found))
    }

    async fn whole(git: Git, path: &Path, is_bare: bool) -> Result<Self, GitError> {
        let ask = async |what: [&str; 2]| -> Result<PathBuf, GitError> {
            let arguments = ["rev-parse", "--path-format=absolute", what[0], what[1]];
            let arguments = arguments.into_iter().filter(|it| !it.is_empty());
            Ok(PathBuf::from(git.call(arguments).within(path).text().await?))
        };
        let common = ask(["--git-common-dir", ""]).await?;
        if is_bare {
            return Ok(Self { git, location: common, working_copy: None });
        }
        let working_copy = ask(["--show-toplevel", ""]).await?;
        let main = common.parent().filter(|_| common.file_name().is_some_and(|name| name == ".git"));
        let location = main.map_or_else(|| common.clone(), Path::to_owned);
        Ok(Self { git, location, working_copy: Some(working_copy) })
    }

    fn folder(&self) -> &Path {
        self.working_copy.as_ref().unwrap_or(&self.location)
    }

    /// What git prints, and whether it succeeded.
    async fn ask(&self, arguments: &[&str]) -> Result<(bool, String), GitError> {
        let call = self.git.call(arguments).within(self.folder()).env("GIT_OPTIONAL_LOCKS", "0");
        let output = call.output().await?;
        Ok((
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned(),
        ))
    }

    async fn printed(&self, arguments: &[&str]) -> Result<String, GitError> {
        self.git.call(arguments).within(self.folder()).env("GIT_OPTIONAL_LOCKS", "0").text().await
    }

    /// The commit of this name; None where there is none.
    async fn commit(&self, name: &str) -> Result<Option<String>, GitError> {
        let name = format!("{name}^{{commit}}");
        let asked = self.ask(&["rev-parse", "--verify", "--quiet", "--end-of-options", &name]).await?;
        Ok(asked.0.then_some(asked.1))
    }

    /// What the plan would start from; that there is nothing is told.
    async fn start(&self, base: &str, notes: &mut Notes) -> Result<Option<Start>, GitError> {
        let name = if base.is_empty() { self.current_branch().await? } else { Some(base.to_owned()) };
        let name = name.unwrap_or_else(|| "HEAD".to_owned());
        let branch = name.strip_prefix("refs/heads/").unwrap_or(&name);
        if let Some(commit) = self.commit(&format!("refs/heads/{branch}")).await? {
            return Ok(Some(Start { commit, branch: Some(branch.to_owned()) }));
        }
        if let Some(commit) = self.commit(&format!("refs/tags/{name}")).await? {
            return Ok(Some(Start { commit, branch: None }));
        }
        if let Some(commit) = self.commit(&name).await? {
            return Ok(Some(Start { commit, branch: None }));
        }
        let repository = self.location.display();
        match base {
            "" => notes.error(
                notes.places.repo,
                format!("`repo` of `project`: {repository} has no commit yet; expected at least one, for a plan to start from"),
            ),
            base => notes.error(
                notes.places.base,
                format!("`base` of `project`: {repository} has no branch, tag or commit \"{base}\"; expected one, or no `base` for the branch that it is on"),
            ),
        }
        Ok(None)
    }

    /// The branch that HEAD is on, whether or not it has a commit; None where it is on a commit.
    async fn current_branch(&self) -> Result<Option<String>, GitError> {
        let (is_on_one, name) = self.ask(&["symbolic-ref", "--quiet", "HEAD"]).await?;
        Ok(is_on_one.then_some(name))
    }

    /// Git would refuse to move it only after all the work was done: so it is said now.
    async fn expect_movable(&self, start: &Start, base: &str, notes: &mut Notes) -> Result<(), GitError> {
        let Some(branch) = &start.branch else {
            let what = match base {
                "" => format!("HEAD of {} is on no branch", self.location.display()),
                base => format!("\"{base}\" is a tag or a commit"),
            };
            notes.error(
                notes.places.base,
                format!("`base` of `project`: {what}, which `merge_mode: sync` (the default of a wave) cannot move; expected a branch, or `merge_mode: batch`, `async` or `none` on each wave"),
            );
            return Ok(());
        };
        let Some(place) = self.checked_out_in(branch).await? else {
            return Ok(());
        };
        let (_, configured) = self.ask(&["config", "--get", "receive.denyCurrentBranch"]).await?;
        if !configured.eq_ignore_ascii_case("updateInstead") {
            notes.error(notes.places.repo, checked_out(branch, &place));
            return Ok(());
        }
        if self.uncommitted(Path::new(&place), "no").await? > 0 {
            notes.warning(format!(
                "git updates the files in {place} only while none of them has changes that are not committed: commit or \
                 stash them before the work is published"
            ));
        }
        Ok(())
    }

    /// The working copy that has the branch, if one has it.
    async fn checked_out_in(&self, branch: &str) -> Result<Option<String>, GitError> {
        let listed = self.printed(&["worktree", "list", "--porcelain", "-z"]).await?;
        let wanted = format!("branch refs/heads/{branch}");
        let mut place = "";
        for line in listed.split('\0') {
            if let Some(path) = line.strip_prefix("worktree ") {
                place = path;
            }
            if line == wanted {
                return Ok(Some(place.to_owned()));
            }
        }
        Ok(None)
    }

    /// What a person should know of what the work will not see.
    async fn warn(&self, start: &Start, notes: &mut Notes) -> Result<(), GitError> {
        let commit = start.commit.as_str();
        if self.ask(&["cat-file", "-e", &format!("{commit}:.gitmodules")]).await?.0 {
            notes.warning(
                "the repository has submodules: their folders are empty where tasks work".to_owned(),
            );
        }
        let attributes = [".gitattributes", ":(glob)**/.gitattributes"];
        let lfs = ["grep", "-q", "-F", "-e", "filter=lfs", commit, "--", attributes[0], attributes[1]];
        if self.ask(&lfs).await?.0 {
            notes.warning(
                "the repository uses Git LFS: where tasks work, its files are pointers, not their contents"
                    .to_owned(),
            );
        }
        let Some(place) = &self.working_copy else {
            return Ok(());
        };
        let uncommitted = self.uncommitted(place, "normal").await?;
        if uncommitted > 0 {
            let place = place.display();
            let (what, verb) = match uncommitted {
                1 => ("1 file".to_owned(), "has"),
                many => (format!("{many} files"), "have"),
            };
            notes.warning(format!(
                "{what} in {place} {verb} changes that are not committed: they are no part of the plan"
            ));
        }
        Ok(())
    }

    /// How many files of a working copy have changes that are not committed.
    async fn uncommitted(&self, folder: &Path, untracked: &str) -> Result<usize, GitError> {
        let untracked = format!("--untracked-files={untracked}");
        let status =
            ["status", "--porcelain=v1", "-z", "--no-renames", "--ignore-submodules=all", &untracked];
        let call = self.git.call(status).within(folder).env("GIT_OPTIONAL_LOCKS", "0");
        Ok(call.text().await?.split('\0').filter(|record| !record.is_empty()).count())
    }
}

fn not_a_repository(path: &Path, is_named: bool, said: &str) -> String {
    let path = path.display();
    if !said.contains("not a git repository") {
        return format!("`repo` of `project`: git cannot read {path}: {said}");
    }
    match is_named {
        true => format!("`repo` of `project`: {path} is no git repository; expected one, as a path or URL"),
        false => format!(
            "`workspace: git`: the plan names no `repo`, and its folder {path} is in no git repository; \
             expected `repo` with a path or URL"
        ),
    }
}

fn checked_out(branch: &str, place: &str) -> String {
    format!(
        "`repo` of `project`: the branch \"{branch}\" is checked out in {place}, and git refuses to move it under \
         somebody's files. Three ways out: switch that working copy to another branch, or detach it \
         (`git switch --detach`); gather the work elsewhere with `merge_mode: batch`, `async` or `none` on each wave; \
         or let git update the files there with `git config receive.denyCurrentBranch updateInstead`"
    )
}
