//! Running the git program. Owns its environment: nothing of a user's or the system's configuration, no hooks,
//! no prompts, no colours, the transports that are meant to be there, and a mark by which a worker that starts
//! anew finds what its earlier life left. What git is asked is the callers'.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::{io::AsyncWriteExt as _, process::Command, sync::OnceCell};

use super::GitError;
use crate::{runner::environment::PROXIES, supervisor::WORKER_MARK};

/// What git, ssh and the helpers of an operator's configuration may need.
const INHERITED: [&str; 10] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "XDG_RUNTIME_DIR",
    "GIT_SSH_COMMAND",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
];

/// Settings that hold for every call, whatever a repository says.
const SETTINGS: [(&str, &str); 18] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.untrackedCache", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.autocrlf", "false"),
    ("core.quotePath", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("push.gpgSign", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("merge.conflictStyle", "merge"),
    ("init.defaultBranch", "main"),
    // A server that says nothing for a minute is gone.
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
];

/// Longer than a fetch of a huge repository takes: what has not ended by then hangs.
const LIMIT: Duration = Duration::from_secs(3600);
/// So much of what git says of an error is kept.
const MOST_SAID: usize = 1000;

/// The git program as this host's operator wants it run.
#[derive(Debug, Clone, Default)]
pub struct Git {
    config: Option<PathBuf>,
    worker: Option<String>,
    /// Who commits, once it was asked for.
    pub(super) identity: Arc<OnceCell<(String, String)>>,
    /// Whether the program is new enough, once it was asked.
    version: Arc<OnceCell<()>>,
}

/// The oldest git that puts two sides together from a common commit that is named.
const OLDEST: (u32, u32) = (2, 40);

impl Git {
    /// `config`: a file in git's own form that stands in the place of a user's configuration: credentials'
    /// helpers, proxies, `user.name` ...; None: nothing does.
    #[must_use]
    pub fn new(config: Option<PathBuf>) -> Self {
        // Calls are made from other folders.
        let config = config.map(|path| std::path::absolute(&path).unwrap_or(path));
        Self { config, ..Self::default() }
    }

    /// Its processes are this worker's, and are ended when it starts anew.
    #[must_use]
    pub fn of_worker(self, worker_id: &str) -> Self {
        Self { worker: Some(worker_id.to_owned()), ..self }
    }

    /// Whether the program does what is asked of it here.
    pub async fn expect_new_enough(&self) -> Result<(), GitError> {
        let look = || async {
            let text = self.call(["version"]).text().await?;
            let word = text.split_whitespace().nth(2).unwrap_or_default().to_owned();
            let mut numbers = word.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
            let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
            if found >= OLDEST {
                return Ok(());
            }
            let (major, minor) = OLDEST;
            Err(GitError::TooOld { found: word, oldest: format!("{major}.{minor}") })
        };
        self.version.get_or_try_init(look).await.copied()
    }

    /// A call that is to be made.
    pub fn call<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Call {
        let arguments: Vec<OsString> = arguments.into_iter().map(|it| it.as_ref().to_owned()).collect();
        let mut command = Command::new("git");
        command.args(&arguments).env_clear();
        for name in INHERITED.iter().chain(&PROXIES) {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        if env::var_os("GIT_SSH_COMMAND").is_none() {
            let alive = "-oConnectTimeout=30 -oServerAliveInterval=15 -oServerAliveCountMax=4";
            command.env("GIT_SSH_COMMAND", format!("ssh -oBatchMode=yes {alive}"));
        }
        let config = self.config.as_deref().unwrap_or(Path::new("/dev/null"));
        command
            .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_ATTR_NOSYSTEM", "1"), ("LC_ALL", "C")])
            .envs([("GIT_TERMINAL_PROMPT", "0"), ("GIT_ASKPASS", "true"), ("SSH_ASKPASS", "true")])
            .envs([("GIT_EDITOR", ":"), ("GIT_PAGER", "cat"), ("GIT_ADVICE", "0")])
            .env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh")
            .env("GIT_CONFIG_GLOBAL", config);
        for (at, (key, value)) in SETTINGS.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{at}"), key).env(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
        command.env("GIT_CONFIG_COUNT", SETTINGS.len().to_string());
        if let Some(worker) = &self.worker {
            command.env(WORKER_MARK, worker);
        }
        command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = arguments.iter().find(|it| !it.as_encoded_bytes().starts_with(b"-"));
        let name = name.map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        Call { command, name, input: None, folder: None }
    }
}

/// One call of git. Dropping it while it runs ends the program.
#[derive(Debug)]
pub struct Call {
    command: Command,
    name: String,
    input: Option<Vec<u8>>,
    folder: Option<PathBuf>,
}

impl Call {
    /// In this git directory, whatever the current one is.
    #[must_use]
    pub fn git_dir(mut self, path: &Path) -> Self {
        self.command.env("GIT_DIR", path);
        self
    }

    /// On the files in this folder.
    #[must_use]
    pub fn work_tree(mut self, path: &Path) -> Self {
        self.command.env("GIT_WORK_TREE", path);
        self.within(path)
    }

    /// In this folder.
    #[must_use]
    pub fn within(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self.folder = Some(path.to_owned());
        self
    }

    /// With this variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// With these bytes to read.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// What it prints, whatever its exit code.
    pub async fn output(mut self) -> Result<Output, GitError> {
        if self.input.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let folder = self.folder.take();
        let mut child = self.command.spawn().map_err(|source| match folder {
            // Not the program is missing, but where it was to run.
            Some(path) if !path.is_dir() => GitError::Io { path, source },
            Some(_) | None => GitError::NoGit(source),
        })?;
        let input = self.input.take();
        let stdin = child.stdin.take();
        let feed = async move {
            if let (Some(input), Some(mut stdin)) = (input, stdin) {
                // One that does not read to the end says why in what it prints.
                let _ = stdin.write_all(&input).await;
            }
        };
        let ended = async { tokio::join!(child.wait_with_output(), feed) };
        match tokio::time::timeout(LIMIT, ended).await {
            Ok((output, ())) => output.map_err(GitError::NoGit),
            Err(_) => Err(GitError::Failed {
                command: self.name,
                code: None,
                said: format!("ended after {} s without a result", LIMIT.as_secs()),
            }),
        }
    }

    /// What it prints; an error when it fails.
    pub async fn run(self) -> Result<Vec<u8>, GitError> {
        let name = self.name.clone();
        let output = self.output().await?;
        if output.status.success() { Ok(output.stdout) } else { Err(failure(name, &output)) }
    }

    /// What it prints as text without the last line's end.
    pub async fn text(self) -> Result<String, GitError> {
        let printed = self.run().await?;
        Ok(String::from_utf8_lossy(&printed).trim_end_matches('\n').to_owned())
    }

    /// Whether it exits with 0 (yes) or 1 (no); an error otherwise.
    pub async fn holds(self) -> Result<bool, GitError> {
        let name = self.name.clone();
        let output = self.output().await?;
        match output.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(failure(name, &output)),
        }
    }
}

pub(super) fn failure(command: String, output: &Output) -> GitError {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut said = lines.join("; ");
    if said.len() > MOST_SAID {
        said = said[said.ceil_char_boundary(said.len() - MOST_SAID)..].to_owned();
    }
    if said.is_empty() {
        said = match output.status.code() {
            Some(code) => format!("exit code {code} without a word"),
            None => "ended by a signal".to_owned(),
        };
    }
    GitError::Failed { command, code: output.status.code(), said }
}
