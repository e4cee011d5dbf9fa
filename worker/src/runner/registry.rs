//! The agents that this worker has: which kinds there are, which of them are installed, and what the
//! coordinator is told of them. Decides nothing about who may use them but what the operator said.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use wavegate_proto::v1;

use super::{Runner, claude, program, program::ProgramError, shell};

/// What the operator says about runners.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunnersConfig {
    /// The runners that this worker may use.
    pub allowed: Vec<String>,
    /// Whether an agent may be given [`v1::Permissions::Full`].
    pub allow_full: bool,
    /// What is said about one runner, by its name.
    pub programs: BTreeMap<String, ProgramConfig>,
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
struct Kind {
    name: &'static str,
    /// Its program, where the operator names no other.
    program: &'static str,
    version_args: &'static [&'static str],
    models: &'static [&'static str],
    make: fn(PathBuf, Vec<String>) -> Box<dyn Runner>,
    account: fn() -> String,
}

/// Every kind. A new one is a file beside this one and an entry here.
const KINDS: &[Kind] = &[Kind {
    name: claude::NAME,
    program: "claude",
    version_args: &["--version"],
    models: &["haiku", "sonnet", "opus"],
    make: |program, args| Box::new(claude::Claude::new(program, args)),
    account: claude::account,
}];

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

    /// Looks for every agent that the operator allows. What is not there is told in the log.
    pub async fn discover(config: &RunnersConfig) -> Self {
        let has_shell = config.allowed.iter().any(|name| name == shell::NAME);
        let mut registry = Self { has_shell, allows_full: config.allow_full, ..Self::default() };
        for name in config.allowed.iter().filter(|name| *name != shell::NAME) {
            match find(name, config.programs.get(name)).await {
                Ok(found) => {
                    tracing::info!("runner {name}: version {}", found.version);
                    registry.installed.insert(name.clone(), found);
                }
                Err(why) => {
                    tracing::warn!("runner {name} cannot be used: {why}");
                    registry.missing.insert(name.clone(), why);
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

async fn find(name: &str, config: Option<&ProgramConfig>) -> Result<Installed, String> {
    let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
        let known: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        return Err(format!("no such runner is known; there are {}, {}", shell::NAME, known.join(", ")));
    };
    let config = config.cloned().unwrap_or_default();
    let models = models_of(kind, config.models.as_deref())?;
    let named = config.program.unwrap_or_else(|| PathBuf::from(kind.program));
    let (program, version) = look(&named, kind).await.map_err(|error| error.to_string())?;
    let runner = (kind.make)(program, config.args);
    Ok(Installed { runner, version, account: (kind.account)(), models })
}

async fn look(named: &Path, kind: &Kind) -> Result<(PathBuf, String), ProgramError> {
    let program = program::find(named)?;
    let version = program::version(&program, kind.version_args).await?;
    Ok((program, version))
}

/// The kind's families, or those of them that the operator leaves.
fn models_of(kind: &Kind, restricted: Option<&[String]>) -> Result<Vec<String>, String> {
    let known = |name: &str| kind.models.contains(&name);
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
            allowed: vec!["shell".to_owned(), "claude".to_owned()],
            allow_full: false,
            programs: BTreeMap::from([("claude".to_owned(), claude)]),
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
        config.allowed.push("abacus".to_owned());
        let missing = Registry::discover(&config).await.missing().clone();
        assert!(missing["claude"].contains("\"gpt\" is none of haiku, sonnet, opus"), "{missing:?}");
        assert!(missing["abacus"].contains("no such runner is known"), "{missing:?}");
    }
}
