//! opencode as a runner: `opencode run`, its events line by line. This file knows its flags and its
//! account, `listener` its events. It has no schema and no budget of its own: the first is asked for in
//! words, the second is watched here.

mod listener;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use wavegate_proto::v1::{AgentWork, Permissions};

use super::{Ask, Listener, Runner, Talk, account, answer, environment};
use crate::supervisor::Order;

/// The runner's name in plans.
pub const NAME: &str = "opencode";

/// Where its program reads what is permitted.
const PERMISSION: &str = "OPENCODE_PERMISSION";

/// Where it reads config without a file.
const CONFIG_CONTENT: &str = "OPENCODE_CONFIG_CONTENT";

/// Keys of the providers that it knows.
const KEYS: [&str; 9] = [
    "ANTHROPIC_API_KEY",
    "OPENAI_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_GENERATIVE_AI_API_KEY",
    "OPENROUTER_API_KEY",
    "GROQ_API_KEY",
    "MISTRAL_API_KEY",
    "DEEPSEEK_API_KEY",
    "XAI_API_KEY",
];

/// What else the program reads of the worker's environment besides proxies.
const VARIABLES: [&str; 8] = [
    "OPENCODE_CONFIG",
    "OPENCODE_CONFIG_DIR",
    "OPENCODE_CONFIG_CONTENT",
    "OPENCODE_DISABLE_MODELS_FETCH",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS",
    "XDG_DATA_HOME",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
];

/// The program at one path.
#[derive(Debug, Clone)]
pub struct Opencode {
    program: PathBuf,
    /// The operator's, after all other flags.
    args: Vec<String>,
}

impl Opencode {
    /// The program at this absolute path, with these arguments after its own.
    #[must_use]
    pub fn new(program: PathBuf, args: Vec<String>) -> Self {
        Self { program, args }
    }
}

impl Runner for Opencode {
    fn name(&self) -> &str {
        NAME
    }

    fn variables(&self) -> Vec<String> {
        let all = KEYS.iter().chain(&VARIABLES).chain(&environment::PROXIES);
        all.map(|&name| name.to_owned()).collect()
    }

    fn order(&self, ask: &Ask<'_>) -> io::Result<Order> {
        let work = ask.work;
        let mut args = vec!["run".to_owned(), "--format=json".to_owned()];
        args.push(match ask.talk {
            // Without a title it asks a small model for one, whose tokens it does not tell.
            Talk::Fresh { .. } => "--title=wavegate".to_owned(),
            Talk::Resumed { id, .. } => format!("--session={id}"),
        });
        if !work.model.is_empty() {
            args.push(format!("--model={}", work.model));
        }
        if work.permissions() == Permissions::Full {
            args.push("--auto".to_owned());
        }
        args.extend(self.args.iter().cloned());
        let stdin = ask.aside.join("prompt.txt");
        answer::write_private(&stdin, &answer::asked_in_words(ask.prompt(), &work.schema))?;
        Ok(Order {
            program: self.program.clone(),
            args,
            cwd: ask.cwd.to_owned(),
            env: env(ask),
            stdin: Some(stdin),
            stderr: Some(ask.aside.join("stderr.txt")),
            timeout: ask.timeout,
        })
    }

    fn listener(&self, ask: &Ask<'_>) -> Box<dyn Listener> {
        Box::new(listener::Heeding::new(ask))
    }
}

fn env(ask: &Ask<'_>) -> Vec<(String, String)> {
    let mut ours =
        vec![(PERMISSION, permission(ask.work).to_string()), ("OPENCODE_DISABLE_AUTOUPDATE", "1".to_owned())];
    if ask.work.permissions() != Permissions::Full {
        // What the workspace says of itself would be run: its plugins are code, its servers commands, and
        // an agent may have written them.
        ours.push(("OPENCODE_DISABLE_PROJECT_CONFIG", "1".to_owned()));
    }
    if ask.work.permissions() == Permissions::Edit || ask.work.permissions() == Permissions::Unspecified {
        let said = ask.env.iter().find(|(name, _)| name == CONFIG_CONTENT).map(|(_, value)| value.as_str());
        ours.extend(with_instructions(said, ask.cwd).map(|config| (CONFIG_CONTENT, config)));
    }
    let is_ours = |name: &str| ours.iter().any(|(known, _)| *known == name);
    let kept: Vec<_> = ask.env.iter().filter(|(name, _)| !is_ours(name)).cloned().collect();
    kept.into_iter().chain(ours.into_iter().map(|(name, value)| (name.to_owned(), value))).collect()
}

/// The operator's config, or an empty one, with the workspace's instructions: these are words alone. None
/// where the operator's names instructions of its own, or cannot be read.
fn with_instructions(config: Option<&str>, workspace: &Path) -> Option<String> {
    let mut config: Map<String, Value> = serde_json::from_str(config.unwrap_or("{}")).ok()?;
    if config.contains_key("instructions") {
        return None;
    }
    let files = ["AGENTS.md", "CLAUDE.md"].map(|name| workspace.join(name).display().to_string());
    config.insert("instructions".to_owned(), json!(files));
    Some(Value::Object(config).to_string())
}

/// It has no sandbox, so that a command could do anything: without all permissions there are none.
fn permission(work: &AgentWork) -> Value {
    let denied: &[&str] = match work.permissions() {
        Permissions::Read => &["edit", "bash", "webfetch", "external_directory"],
        Permissions::Edit | Permissions::Unspecified => &["bash", "webfetch", "external_directory"],
        Permissions::Full => return json!({ "*": "allow" }),
    };
    let mut all: Map<_, _> = denied.iter().map(|tool| ((*tool).to_owned(), json!("deny"))).collect();
    if work.permissions() != Permissions::Read {
        all.insert("edit".to_owned(), json!("allow"));
    }
    all.extend(work.allowed_tools.iter().map(|tool| (tool.clone(), json!("allow"))));
    Value::Object(all)
}

/// A fingerprint of the accounts that it spends from; empty where none is found.
#[must_use]
pub fn account() -> String {
    let data = account::variable(&["XDG_DATA_HOME"]).map(PathBuf::from);
    let data =
        data.or_else(|| account::variable(&["HOME"]).map(|home| Path::new(&home).join(".local/share")));
    let secret = data.and_then(|data| logged_in(&data)).or_else(|| account::variable(&KEYS));
    secret.map(|secret| account::of(&secret)).unwrap_or_default()
}

/// What its logins are, if there are any.
fn logged_in(data: &Path) -> Option<String> {
    let text = fs::read_to_string(data.join("opencode/auth.json")).ok()?;
    Some(text).filter(|text| !["", "{}"].contains(&text.trim()))
}
