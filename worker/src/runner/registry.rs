//! The agents that this worker has: which kinds there are, which of them are installed, and what the
//! coordinator is told of them. Decides nothing about who may use them but what the operator said.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use tokio::task::JoinSet;
use wavegate_proto::v1;

use super::{
    Runner, claude, codex, command,
    command::{Command, CommandSettings},
    gemini, opencode, program,
    program::ProgramError,
    sections::RunnerSettings,
    shell,
};
use crate::config::WorkerConfig;

/// What the operator says about runners.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunnersConfig {
    /// The runners that this worker may use; None: every one that is found.
    pub allowed: Option<Vec<String>>,
    /// Whether an agent may be given [`v1::Permissions::Full`].
    pub allow_full: bool,
    /// What is said about one runner, by its name.
    pub settings: BTreeMap<String, RunnerSettings>,
}

impl RunnersConfig {
    /// What a worker's config says.
    #[must_use]
    pub fn of(config: &WorkerConfig) -> Self {
        Self {
            allowed: config.runners.clone(),
            allow_full: config.allow_full,
            settings: config.runner_settings.clone(),
        }
    }
}

/// What the operator says about one agent's program: a `[runner.NAME]` section.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProgramConfig {
    /// Its path, or its name on the PATH; absent: the runner's usual name.
    pub program: Option<PathBuf>,
    /// Given to it after all other arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// The families of models that it may be asked for; absent: all that it has.
    pub models: Option<Vec<String>>,
}

/// A runner that was found on this host.
#[derive(Debug)]
pub struct Installed {
    pub runner: Box<dyn Runner>,
    pub version: String,
    /// A fingerprint of the account that it spends from; empty where there is none.
    pub account: String,
    /// The families of models that it can be asked for.
    pub models: Vec<String>,
}

/// A kind of agent that this program knows by itself.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// Its program, where the operator names no other.
    pub(super) program: &'static str,
    pub(super) version_args: &'static [&'static str],
    pub(super) models: &'static [&'static str],
    make: fn(PathBuf, Vec<String>) -> Box<dyn Runner>,
    pub(super) account: fn() -> String,
    /// How to get it, and how to give it an account.
    pub(super) install: &'static str,
    pub(super) log_in: &'static str,
}

/// Every kind. A new one is a file beside this one and an entry here.
pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: claude::NAME,
        program: "claude",
        version_args: &["--version"],
        models: &["haiku", "sonnet", "opus"],
        make: |program, args| Box::new(claude::Claude::new(program, args)),
        account: claude::account,
        install: "npm install -g @anthropic-ai/claude-code",
        log_in: "run `claude` and log in, or set ANTHROPIC_API_KEY",
    },
    Kind {
        name: codex::NAME,
        program: "codex",
        version_args: &["--version"],
        models: &[],
        make: |program, args| Box::new(codex::Codex::new(program, args)),
        account: codex::account,
        install: "npm install -g @openai/codex",
        log_in: "run `codex login`, or set CODEX_API_KEY",
    },
    Kind {
        name: gemini::NAME,
        program: "gemini",
        version_args: &["--version"],
        models: &[],
        make: |program, args| Box::new(gemini::Gemini::new(program, args)),
        account: gemini::account,
        install: "npm install -g @google/gemini-cli",
        log_in: "run `gemini` and log in, or set GEMINI_API_KEY",
    },
    Kind {
        name: opencode::NAME,
        program: "opencode",
        version_args: &["--version"],
        models: &[],
        make: |program, args| Box::new(opencode::Opencode::new(program, args)),
        account: opencode::account,
        install: "npm install -g opencode-ai",
        log_in: "run `opencode auth login`, or set the key of a provider, such as ANTHROPIC_API_KEY",
    },
];

/// The agents that this worker has.
#[derive(Debug, Default)]
pub struct Registry {
    installed: BTreeMap<String, Installed>,
    has_shell: bool,
    allows_full: bool,
    missing: BTreeMap<String, String>,
}

impl Registry {
    /// Shell commands and nothing else.
    #[must_use]
    pub fn of_shell() -> Self {
        Self { has_shell: true, ..Self::default() }
    }

    /// These agents, and shell commands.
    #[must_use]
    pub fn of(installed: Vec<Installed>, allows_full: bool) -> Self {
        let by_name = |one: Installed| (one.runner.name().to_owned(), one);
        let installed = installed.into_iter().map(by_name).collect();
        Self { installed, has_shell: true, allows_full, missing: BTreeMap::new() }
    }

    /// Looks for every agent that the operator allows. What was named and is not there is told in the log.
    pub async fn discover(config: &RunnersConfig) -> Self {
        let names = config.allowed.clone().unwrap_or_else(|| known(&config.settings));
        let has_shell = names.iter().any(|name| name == shell::NAME);
        let mut registry = Self { has_shell, allows_full: config.allow_full, ..Self::default() };
        for (name, found) in find_all(names, &config.settings).await {
            match found {
                Ok(found) => {
                    tracing::info!("runner {name}: version {}", found.version);
                    registry.installed.insert(name, found);
                }
                Err(why) => {
                    if config.allowed.is_some() || config.settings.contains_key(&name) {
                        tracing::warn!("runner {name} cannot be used: {why}");
                    }
                    registry.missing.insert(name, why);
                }
            }
        }
        registry
    }

    /// The agent of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Installed> {
        self.installed.get(name)
    }

    /// Why the operator's runner of this name cannot be used, if so.
    #[must_use]
    pub fn missing(&self) -> &BTreeMap<String, String> {
        &self.missing
    }

    /// Whether an agent may be given [`v1::Permissions::Full`] here.
    #[must_use]
    pub fn allows_full(&self) -> bool {
        self.allows_full
    }

    /// What the coordinator is told.
    #[must_use]
    pub fn hello(&self) -> Vec<v1::Runner> {
        let shell =
            self.has_shell.then(|| v1::Runner { name: shell::NAME.to_owned(), ..v1::Runner::default() });
        let agents = self.installed.iter().map(|(name, found)| v1::Runner {
            name: name.clone(),
            version: found.version.clone(),
            account: found.account.clone(),
            models: found.models.clone(),
        });
        shell.into_iter().chain(agents).collect()
    }

    /// The names of what can be used.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.hello().into_iter().map(|runner| runner.name).collect()
    }
}

/// Whether a runner of this name is known without a word of the operator.
pub(super) fn is_built_in(name: &str) -> bool {
    KINDS.iter().any(|kind| kind.name == name)
}

/// Every runner that could be there.
fn known(settings: &BTreeMap<String, RunnerSettings>) -> Vec<String> {
    let built_in = KINDS.iter().map(|kind| kind.name.to_owned());
    let own = settings.keys().filter(|name| !is_built_in(name)).cloned();
    [shell::NAME.to_owned()].into_iter().chain(built_in).chain(own).collect()
}

type Found = Result<Installed, String>;

/// All at once: some programs take seconds to tell their version.
async fn find_all(
    names: Vec<String>,
    settings: &BTreeMap<String, RunnerSettings>,
) -> BTreeMap<String, Found> {
    let mut looking = JoinSet::new();
    for name in names.into_iter().filter(|name| name != shell::NAME) {
        let settings = settings.get(&name).cloned();
        looking.spawn(async move {
            let found = find(&name, settings).await;
            (name, found)
        });
    }
    looking.join_all().await.into_iter().collect()
}

async fn find(name: &str, settings: Option<RunnerSettings>) -> Found {
    match settings {
        Some(RunnerSettings::Command(settings)) => find_command(name, *settings).await,
        Some(RunnerSettings::Program(config)) => find_built_in(name, config).await,
        None => find_built_in(name, ProgramConfig::default()).await,
    }
}

async fn find_built_in(name: &str, config: ProgramConfig) -> Found {
    let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
        let known: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        let known = known.join(", ");
        return Err(format!(
            "no such runner is known; there are {}, {known}, and [runner.NAME]",
            shell::NAME
        ));
    };
    let models = models_of(kind, config.models.as_deref())?;
    let named = config.program.unwrap_or_else(|| PathBuf::from(kind.program));
    let (program, version) = look(&named, kind).await.map_err(|error| error.to_string())?;
    let runner = (kind.make)(program, config.args);
    Ok(Installed { runner, version, account: (kind.account)(), models })
}

/// A program of the operator's own may have no version to tell.
async fn find_command(name: &str, settings: CommandSettings) -> Found {
    let program = program::find(&settings.program).map_err(|error| error.to_string())?;
    let version = version_of(&program, &settings).await.unwrap_or_default();
    let (account, models) = (command::account(&settings), settings.models.clone());
    let runner = Box::new(Command::new(name.to_owned(), program, settings));
    Ok(Installed { runner, version, account, models })
}

/// What an operator's program says of its version; None where it says nothing, or is not asked.
pub(super) async fn version_of(program: &Path, settings: &CommandSettings) -> Option<String> {
    let args: Vec<_> = settings.version_args.iter().map(String::as_str).collect();
    if args.is_empty() {
        return None;
    }
    program::version(program, &args).await.ok()
}

async fn look(named: &Path, kind: &Kind) -> Result<(PathBuf, String), ProgramError> {
    let program = program::find(named)?;
    let version = program::version(&program, kind.version_args).await?;
    Ok((program, version))
}

/// The kind's families, or those of them that the operator leaves.
fn models_of(kind: &Kind, restricted: Option<&[String]>) -> Result<Vec<String>, String> {
    // A kind without families of its own takes the operator's word for them.
    let known = |name: &str| kind.models.is_empty() || kind.models.contains(&name);
    match restricted {
        None => Ok(kind.models.iter().map(|&name| name.to_owned()).collect()),
        Some(names) => match names.iter().find(|name| !known(name)) {
            Some(unknown) => Err(format!("models: {unknown:?} is none of {}", kind.models.join(", "))),
            None => Ok(names.to_vec()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(program: &Path, models: Option<&[&str]>) -> RunnersConfig {
        let models = models.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        let claude = ProgramConfig { program: Some(program.to_owned()), models, ..ProgramConfig::default() };
        RunnersConfig {
            allowed: Some(vec!["shell".to_owned(), "claude".to_owned()]),
            allow_full: false,
            settings: BTreeMap::from([("claude".to_owned(), RunnerSettings::Program(claude))]),
        }
    }

    fn program(dir: &Path) -> PathBuf {
        let path = dir.join("claude");
        // Written by another process: a child that another test forks meanwhile would hold the file open
        // for writing, and then nobody may run it.
        let script = "printf '#!/bin/sh\\necho 2.1.330 from Claude Code\\n' > \"$0\" && chmod 755 \"$0\"";
        let made = std::process::Command::new("/bin/sh").args(["-c", script]).arg(&path).status().unwrap();
        assert!(made.success());
        path
    }

    #[tokio::test]
    async fn what_is_installed_is_told_with_its_version_and_families() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::discover(&config(&program(dir.path()), Some(&["sonnet"]))).await;
        let told = registry.hello();
        assert_eq!(registry.names(), ["shell", "claude"]);
        assert_eq!(
            (told[1].version.as_str(), told[1].models.clone()),
            ("2.1.330", vec!["sonnet".to_owned()])
        );
        assert!(registry.get("claude").is_some() && registry.get("shell").is_none());
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_told_but_said() {
        let registry = Registry::discover(&config(Path::new("/nowhere/claude"), None)).await;
        assert_eq!(registry.names(), ["shell"]);
        assert!(registry.missing()["claude"].contains("/nowhere/claude"));
    }

    #[tokio::test]
    async fn an_unknown_family_and_an_unknown_runner_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&program(dir.path()), Some(&["gpt"]));
        config.allowed.as_mut().unwrap().push("abacus".to_owned());
        let missing = Registry::discover(&config).await.missing().clone();
        assert!(missing["claude"].contains("\"gpt\" is none of haiku, sonnet, opus"), "{missing:?}");
        assert!(missing["abacus"].contains("no such runner is known"), "{missing:?}");
    }

    #[tokio::test]
    async fn without_a_word_of_the_operator_everything_that_is_found_may_be_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        program(dir.path());
        let settings = format!(
            "[claude]\nprogram = '{path}/claude'\n[codex]\nprogram = '{path}/codex'\n\
             [gemini]\nprogram = '{path}/gemini'\n[opencode]\nprogram = '{path}/opencode'\n\
             [tiny]\nprogram = '/bin/echo'\nversion-args = ['tiny', '1.2']\nmodels = ['small']\n"
        );
        let settings = toml::from_str::<crate::runner::sections::Sections>(&settings).unwrap().0;
        let registry = Registry::discover(&RunnersConfig { settings, ..RunnersConfig::default() }).await;
        assert_eq!(registry.names(), ["shell", "claude", "tiny"]);
        let tiny = registry.get("tiny").unwrap();
        assert_eq!((tiny.version.as_str(), tiny.models.clone()), ("1.2", vec!["small".to_owned()]));
        assert!(registry.missing()["codex"].contains("codex is no program"), "{:?}", registry.missing());
    }
}
