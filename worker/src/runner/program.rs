//! Where an agent's program is, and which version. Starts it only to ask for that.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{process::Command, sync::OnceCell, time::timeout};

/// A program that takes longer to say its version waits for somebody.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `version` may need of the worker's environment.
const KEPT: [&str; 4] = ["PATH", "HOME", "TMPDIR", "LANG"];

/// A program that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProgramError {
    #[error("{0} is not on the PATH")]
    NotFound(String),
    #[error("{} is no program that may be run", .0.display())]
    NotRunnable(PathBuf),
    #[error("{} does not tell its version: {why}", path.display())]
    NoVersion { path: PathBuf, why: String },
}

/// The absolute path of a program that is named by path or found on the PATH.
pub(super) fn find(program: &Path) -> Result<PathBuf, ProgramError> {
    find_in(program, env::var_os("PATH").as_deref())
}

fn find_in(program: &Path, path: Option<&OsStr>) -> Result<PathBuf, ProgramError> {
    if program.components().count() > 1 || program.is_absolute() {
        let absolute = std::path::absolute(program).unwrap_or_else(|_| program.to_owned());
        return if is_runnable(&absolute) { Ok(absolute) } else { Err(ProgramError::NotRunnable(absolute)) };
    }
    let folders = path.map(env::split_paths).into_iter().flatten();
    let found = folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(program));
    found
        .into_iter()
        .find(|path| is_runnable(path))
        .ok_or_else(|| ProgramError::NotFound(program.display().to_string()))
}

fn is_runnable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A program and how it is asked for its version.
type Question = (PathBuf, Vec<String>);

/// The answers of this process's life. The workers of one process ask all at once, and some programs take
/// seconds to answer.
static ANSWERS: Mutex<BTreeMap<Question, Arc<OnceCell<String>>>> = Mutex::new(BTreeMap::new());

/// The first word that looks like a version in what `PROGRAM ARGS` prints. It is asked again only where it
/// did not answer.
pub(super) async fn version(program: &Path, args: &[&str]) -> Result<String, ProgramError> {
    let question = (program.to_owned(), args.iter().map(|&arg| arg.to_owned()).collect());
    let cell = {
        let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(answers.entry(question).or_default())
    };
    cell.get_or_try_init(|| ask(program, args)).await.cloned()
}

async fn ask(program: &Path, args: &[&str]) -> Result<String, ProgramError> {
    let failed = |why: String| ProgramError::NoVersion { path: program.to_owned(), why };
    let mut command = Command::new(program);
    command.args(args).env_clear().env("DISABLE_AUTOUPDATER", "1").stdin(Stdio::null()).kill_on_drop(true);
    command.envs(KEPT.iter().filter_map(|name| Some((name, env::var_os(name)?))));
    let output = match timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
    };
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    version_in(&text).ok_or_else(|| failed(format!("it says {:?}", text.trim())))
}

fn version_in(text: &str) -> Option<String> {
    let words = text.split_whitespace().map(|word| word.trim_start_matches('v'));
    let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    words.into_iter().find(is_version).map(|word| word.chars().take(40).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_among_other_words() {
        assert_eq!(version_in("2.1.330 (Claude Code)\n").as_deref(), Some("2.1.330"));
        assert_eq!(version_in("codex-cli v0.169.0").as_deref(), Some("0.169.0"));
        assert_eq!(version_in("hello"), None);
    }

    #[test]
    fn a_program_is_found_on_the_path_and_only_if_it_may_be_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        let found = || find_in(Path::new("agent"), Some(dir.path().as_os_str()));
        assert_eq!(found(), Err(ProgramError::NotFound("agent".to_owned())));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(found(), Ok(path.clone()));
        assert_eq!(find_in(&path, None), Ok(path));
        let nowhere = PathBuf::from("/nowhere/agent");
        assert_eq!(find_in(&nowhere, None), Err(ProgramError::NotRunnable(nowhere)));
    }

    #[tokio::test]
    async fn a_program_that_fails_has_no_version() {
        let error = version(Path::new("/bin/false"), &[]).await.unwrap_err();
        assert!(error.to_string().contains("/bin/false does not tell its version"), "{error}");
        assert_eq!(version(Path::new("/bin/echo"), &["agent", "1.2.3"]).await, Ok("1.2.3".to_owned()));
    }

    #[tokio::test]
    async fn a_program_that_is_asked_by_many_at_once_is_started_once() {
        let dir = tempfile::tempdir().unwrap();
        let asked = dir.path().join("asked");
        let script = format!("echo x >> '{}'; echo 1.2", asked.display());
        let args = ["-c", script.as_str()];
        let ask = || version(Path::new("/bin/sh"), &args);
        let (one, other) = tokio::join!(ask(), ask());
        assert_eq!((one.as_deref(), other.as_deref()), (Ok("1.2"), Ok("1.2")));
        assert_eq!(fs::read_to_string(asked).unwrap(), "x\n");
    }
}
