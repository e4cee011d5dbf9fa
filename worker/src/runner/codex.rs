//! Codex as a runner: `codex exec`, its events line by line. This file knows its flags and its account,
//! `listener` its events. Its program tells tokens and no cost, and takes no budget.

mod listener;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use serde_json::Value;
use wavegate_proto::v1::Permissions;

use super::{Ask, Listener, Runner, Talk, account, answer, environment};
use crate::supervisor::Order;

/// The runner's name in plans.
pub const NAME: &str = "codex";

/// What the program reads of the worker's environment besides proxies.
const VARIABLES: [&str; 8] = [
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_ORGANIZATION",
    "OPENAI_PROJECT",
    "CODEX_API_KEY",
    "CODEX_HOME",
    "AZURE_OPENAI_API_KEY",
    "OPENROUTER_API_KEY",
];

/// The program at one path.
#[derive(Debug, Clone)]
pub struct Codex {
    program: PathBuf,
    /// The operator's, after all other flags.
    args: Vec<String>,
}

impl Codex {
    /// The program at this absolute path, with these arguments after its own.
    #[must_use]
    pub fn new(program: PathBuf, args: Vec<String>) -> Self {
        Self { program, args }
    }
}

impl Runner for Codex {
    fn name(&self) -> &str {
        NAME
    }

    fn variables(&self) -> Vec<String> {
        VARIABLES.iter().chain(&environment::PROXIES).map(|&name| name.to_owned()).collect()
    }

    fn order(&self, ask: &Ask<'_>) -> io::Result<Order> {
        let strict = answer::strict(&ask.work.schema);
        let mut args: Vec<_> = ["exec", "--json", "--skip-git-repo-check"].map(str::to_owned).into();
        args.extend(asked(ask));
        if let Some(schema) = &strict {
            let file = ask.aside.join("schema.json");
            answer::write_private(&file, &schema.to_string())?;
            args.push(format!("--output-schema={}", file.display()));
        }
        args.extend(self.args.iter().cloned());
        if let Talk::Resumed { id, .. } = ask.talk {
            args.extend(["resume".to_owned(), id.to_owned()]);
        }
        args.push("-".to_owned());
        // A prompt may be longer than any argument, and is nobody's business on this host.
        let stdin = ask.aside.join("prompt.txt");
        answer::write_private(&stdin, &prompt(ask, strict.as_ref()))?;
        Ok(Order {
            program: self.program.clone(),
            args,
            cwd: ask.cwd.to_owned(),
            env: ask.env.to_vec(),
            stdin: Some(stdin),
            stderr: Some(ask.aside.join("stderr.txt")),
            timeout: ask.timeout,
        })
    }

    fn listener(&self, ask: &Ask<'_>) -> Box<dyn Listener> {
        Box::new(listener::Heeding::new(ask))
    }
}

fn asked(ask: &Ask<'_>) -> Vec<String> {
    let work = ask.work;
    // Commands run in every mode, since without them it could not even look; the sandbox holds them.
    let mut args = vec![match work.permissions() {
        Permissions::Read => "--sandbox=read-only".to_owned(),
        Permissions::Edit | Permissions::Unspecified => "--sandbox=workspace-write".to_owned(),
        Permissions::Full => "--sandbox=danger-full-access".to_owned(),
    }];
    if !work.model.is_empty() {
        args.push(format!("--model={}", work.model));
    }
    let effort = match work.effort {
        0 => return args,
        1 => "low",
        2 => "medium",
        _ => "high",
    };
    args.push(format!("--config=model_reasoning_effort={effort:?}"));
    args
}

/// A schema that its provider would refuse is asked for in words.
fn prompt(ask: &Ask<'_>, strict: Option<&Value>) -> String {
    let schema = if strict.is_some() { "" } else { &ask.work.schema };
    answer::asked_in_words(ask.prompt(), schema)
}

/// A fingerprint of the account that it spends from; empty where none is found.
#[must_use]
pub fn account() -> String {
    let home = account::variable(&["CODEX_HOME"]).map(PathBuf::from);
    let home = home.or_else(|| account::variable(&["HOME"]).map(|home| Path::new(&home).join(".codex")));
    let key = account::variable(&["CODEX_API_KEY", "OPENAI_API_KEY"]);
    key.or_else(|| logged_in(&home?)).map(|secret| account::of(&secret)).unwrap_or_default()
}

/// Who logged in: the account's id, which stays when its tokens change, or the key that was stored.
fn logged_in(home: &Path) -> Option<String> {
    let file = home.join("auth.json");
    account::text_at(&file, "/tokens/account_id").or_else(|| account::text_at(&file, "/OPENAI_API_KEY"))
}
