//! What a host has of what a worker needs: its directory, a shell, git, and agents; what is missing, and
//! how to get it. Looks only: writes nothing, asks no network, and tells of accounts a fingerprint.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{
    RunnerSettings, command,
    command::CommandSettings,
    program,
    registry::{KINDS, Kind, ProgramConfig, version_of},
    shell,
};
use crate::config::WorkerConfig;

/// What was found on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Examination {
    /// The worker's own directory.
    pub state_dir: Finding,
    pub shell: Finding,
    pub git: Finding,
    pub runners: Vec<RunnerFinding>,
    /// Whether agents may be given full permissions here.
    pub allow_full: bool,
}

/// Something that a worker needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub path: PathBuf,
    /// Empty where it has none.
    pub version: String,
    /// What is wrong, and what to do; None: nothing.
    pub problem: Option<String>,
}

/// A runner that this host has, or could have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunnerFinding {
    pub name: String,
    /// None: not found.
    pub path: Option<PathBuf>,
    /// Empty where it tells none.
    pub version: String,
    /// A fingerprint; empty where no account is found.
    pub account: String,
    /// Whether the operator lets this worker use it.
    pub is_allowed: bool,
    /// What is wrong with it; None: it can be used, as far as can be seen without asking its provider.
    pub problem: Option<String>,
    /// What to do about it.
    pub advice: Vec<String>,
}

impl Examination {
    /// Whether a worker can start here and run shell commands.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.state_dir.problem.is_none() && self.shell.problem.is_none()
    }
}

/// Looks at this host as a worker of this configuration would find it. Takes up to five seconds where a
/// program does not answer.
pub async fn examine(config: &WorkerConfig) -> Examination {
    let (shell, git, runners) = tokio::join!(examine_shell(), examine_git(), examine_runners(config));
    Examination {
        state_dir: examine_state_dir(&config.state_dir),
        shell,
        git,
        runners,
        allow_full: config.allow_full,
    }
}

fn examine_state_dir(path: &Path) -> Finding {
    // It is made at the worker's first start, in the nearest folder that is there.
    let nearest = path.ancestors().find(|folder| folder.exists());
    let problem = match nearest {
        None => Some("no folder of its path is there".to_owned()),
        Some(found) if !found.is_dir() => Some(format!("{} is no folder", found.display())),
        Some(found) => access(found, Access::WRITE_OK | Access::EXEC_OK)
            .err()
            .map(|error| format!("cannot write in {}: {error}", found.display())),
    };
    let with_advice = |problem| format!("{problem}; name another one with --state-dir");
    Finding { path: path.to_owned(), version: String::new(), problem: problem.map(with_advice) }
}

async fn examine_shell() -> Finding {
    let path = PathBuf::from("/bin/sh");
    let ran = program::version(&path, &["-c", "echo 1.0"]).await;
    let problem = ran.err().map(|error| format!("{error}; every command of a plan needs it"));
    Finding { path, version: String::new(), problem }
}

async fn examine_git() -> Finding {
    let advice = "plans that work on a repository need it";
    match program::find(Path::new("git")) {
        Err(error) => Finding {
            path: "git".into(),
            version: String::new(),
            problem: Some(format!("{error}; {advice}")),
        },
        Ok(path) => match program::version(&path, &["--version"]).await {
            Ok(version) => Finding { path, version, problem: None },
            Err(error) => {
                Finding { path, version: String::new(), problem: Some(format!("{error}; {advice}")) }
            }
        },
    }
}

async fn examine_runners(config: &WorkerConfig) -> Vec<RunnerFinding> {
    let mut looking = JoinSet::new();
    for (place, kind) in KINDS.iter().enumerate() {
        let said = match config.runner_settings.get(kind.name) {
            Some(RunnerSettings::Program(said)) => said.clone(),
            Some(RunnerSettings::Command(_)) | None => ProgramConfig::default(),
        };
        looking.spawn(async move { (place, examine_built_in(kind, &said).await) });
    }
    let own = config.runner_settings.iter().filter_map(|(name, settings)| match settings {
        RunnerSettings::Command(settings) => Some((name.clone(), settings.clone())),
        RunnerSettings::Program(_) => None,
    });
    for (place, (name, settings)) in own.enumerate() {
        looking.spawn(async move { (KINDS.len() + place, examine_own(name, &settings).await) });
    }
    let mut found = looking.join_all().await;
    found.sort_by_key(|(place, _)| *place);
    let is_allowed = |name: &str| config.runners.as_ref().is_none_or(|all| all.iter().any(|one| one == name));
    let shell = RunnerFinding { path: Some("/bin/sh".into()), ..nothing(shell::NAME) };
    let all = std::iter::once(shell).chain(found.into_iter().map(|(_, finding)| finding));
    all.map(|finding| RunnerFinding { is_allowed: is_allowed(&finding.name), ..finding }).collect()
}

fn nothing(name: &str) -> RunnerFinding {
    RunnerFinding {
        name: name.to_owned(),
        path: None,
        version: String::new(),
        account: String::new(),
        is_allowed: true,
        problem: None,
        advice: Vec::new(),
    }
}

async fn examine_built_in(kind: &'static Kind, said: &ProgramConfig) -> RunnerFinding {
    let account = (kind.account)();
    let named = said.program.clone().unwrap_or_else(|| PathBuf::from(kind.program));
    let log_in = Some(format!("log in: {}", kind.log_in)).filter(|_| account.is_empty());
    let install = format!("get it: {}", kind.install);
    let wrong = |path: Option<PathBuf>, problem: String| RunnerFinding {
        path,
        account: account.clone(),
        problem: Some(problem),
        advice: [install.clone()].into_iter().chain(log_in.clone()).collect(),
        ..nothing(kind.name)
    };
    let path = match program::find(&named) {
        Ok(path) => path,
        Err(error) => return wrong(None, error.to_string()),
    };
    match program::version(&path, kind.version_args).await {
        Err(error) => wrong(Some(path), error.to_string()),
        Ok(version) => RunnerFinding {
            path: Some(path),
            version,
            // A login may lie where only its program looks: this is no proof that there is none.
            problem: log_in.as_ref().map(|_| "no account is found".to_owned()),
            account: account.clone(),
            advice: log_in.into_iter().collect(),
            ..nothing(kind.name)
        },
    }
}

async fn examine_own(name: String, settings: &CommandSettings) -> RunnerFinding {
    let unset: Vec<_> = settings.env.iter().filter(|name| std::env::var_os(name).is_none()).collect();
    let advice =
        unset.iter().map(|variable| format!("set {variable}: [runner.{name}] says that it needs it"));
    let advice: Vec<_> = advice.collect();
    match program::find(&settings.program) {
        Err(error) => RunnerFinding { problem: Some(error.to_string()), advice, ..nothing(&name) },
        Ok(path) => RunnerFinding {
            version: version_of(&path, settings).await.unwrap_or_default(),
            path: Some(path),
            account: command::account(settings),
            problem: (!advice.is_empty()).then(|| "not every variable is set".to_owned()),
            advice,
            ..nothing(&name)
        },
    }
}

/// The examination in words.
#[must_use]
pub fn render(examination: &Examination) -> String {
    let mut out = String::from("worker\n");
    let needs = [("state", &examination.state_dir), ("sh", &examination.shell), ("git", &examination.git)];
    for (name, finding) in needs {
        line(&mut out, name, &[&finding.version, &finding.path.display().to_string()]);
        explain(&mut out, finding.problem.iter());
    }
    out.push_str("runners\n");
    for finding in &examination.runners {
        render_runner(&mut out, finding);
    }
    let full = if examination.allow_full { "allowed" } else { "not allowed (--allow-full)" };
    line(&mut out, "full permissions:", &[full]);
    out
}

fn render_runner(out: &mut String, finding: &RunnerFinding) {
    let path = finding.path.as_ref().map(|path| path.display().to_string());
    let account = Some(&finding.account).filter(|account| !account.is_empty());
    let account = account.map(|account| format!("account {account}")).unwrap_or_default();
    let forbidden = if finding.is_allowed { "" } else { "(not in --allow-runner)" };
    let path = path.as_deref().unwrap_or("not found");
    line(out, &finding.name, &[&finding.version, path, &account, forbidden]);
    explain(out, finding.problem.iter().chain(&finding.advice));
}

fn line(out: &mut String, name: &str, words: &[&str]) {
    let words: Vec<_> = words.iter().filter(|word| !word.is_empty()).copied().collect();
    // Writing into a string does not fail.
    let _ = writeln!(out, "  {name:<10} {}", words.join("  "));
}

fn explain<'a>(out: &mut String, texts: impl Iterator<Item = &'a String>) {
    for text in texts {
        let _ = writeln!(out, "  {:<10} - {text}", "");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        config::{Address, TokenSource},
        runner::sections::Sections,
    };

    fn config(state_dir: &Path, sections: &str) -> WorkerConfig {
        let address = Address::Url("http://127.0.0.1:1".to_owned());
        let mut config = WorkerConfig::new(address, TokenSource::File("/t".into()), state_dir.to_owned());
        let nowhere = ["claude", "codex", "gemini", "opencode"]
            .map(|name| format!("[{name}]\nprogram = '/nowhere/{name}'\n"))
            .concat();
        let said = toml::from_str::<Sections>(&format!("{nowhere}{sections}")).unwrap().0;
        config.runner_settings = said;
        config
    }

    fn by_name(examination: &Examination) -> BTreeMap<&str, &RunnerFinding> {
        examination.runners.iter().map(|finding| (finding.name.as_str(), finding)).collect()
    }

    #[tokio::test]
    async fn a_host_without_agents_is_usable_and_is_told_how_to_get_them() {
        let dir = tempfile::tempdir().unwrap();
        let examination = examine(&config(&dir.path().join("not/yet"), "")).await;
        assert!(examination.is_usable(), "{examination:?}");
        let text = render(&examination);
        for package in ["@anthropic-ai/claude-code", "@openai/codex", "@google/gemini-cli", "opencode-ai"] {
            assert!(text.contains(&format!("get it: npm install -g {package}\n")), "{text}");
        }
        assert!(text.contains("/nowhere/codex is no program that may be run"), "{text}");
        assert!(by_name(&examination)["shell"].problem.is_none());
        assert!(!dir.path().join("not").exists());
    }

    #[tokio::test]
    async fn a_runner_of_the_operator_is_looked_at_too() {
        let dir = tempfile::tempdir().unwrap();
        let tiny = "[tiny]\nprogram = '/bin/echo'\nversion-args = ['9.8.7']\nenv = ['SURELY_NOT_SET_X']\n\
                    account-env = 'CARGO_PKG_NAME'\n[gone]\nprogram = '/nowhere/gone'\n";
        let mut config = config(dir.path(), tiny);
        config.runners = Some(vec!["shell".to_owned(), "gone".to_owned()]);
        let examination = examine(&config).await;
        let found = by_name(&examination);
        let tiny = found["tiny"];
        assert_eq!((tiny.version.as_str(), tiny.account.len(), tiny.is_allowed), ("9.8.7", 12, false));
        assert!(tiny.advice[0].starts_with("set SURELY_NOT_SET_X:"), "{tiny:?}");
        assert!(found["gone"].path.is_none() && found["gone"].is_allowed);
        let text = render(&examination);
        assert!(text.contains("(not in --allow-runner)") && !text.contains("wavegate-worker\n"), "{text}");
    }

    #[tokio::test]
    async fn a_state_directory_that_cannot_be_is_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let examination = examine(&config(&file.join("state"), "")).await;
        assert!(!examination.is_usable());
        let text = render(&examination);
        assert!(text.contains("is no folder; name another one with --state-dir"), "{text}");
    }

    #[tokio::test]
    async fn a_program_that_cannot_tell_its_version_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path(), "");
        let broken = ProgramConfig { program: Some("/bin/false".into()), ..ProgramConfig::default() };
        config.runner_settings.insert("codex".to_owned(), RunnerSettings::Program(broken));
        let examination = examine(&config).await;
        let codex = by_name(&examination)["codex"];
        assert_eq!(codex.path.as_deref(), Some(Path::new("/bin/false")));
        assert!(codex.problem.as_ref().is_some_and(|text| text.contains("does not tell its version")));
    }
}
