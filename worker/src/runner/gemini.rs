//! Gemini CLI as a runner, its events line by line. This file knows its flags and its account, `listener`
//! its events. It keeps sessions by the directory that they began in, has no budget and no schema: that
//! is asked for in words.

mod listener;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use wavegate_proto::v1::Permissions;

use super::{Ask, Listener, Runner, Talk, account, answer, environment};
use crate::supervisor::Order;

/// The runner's name in plans.
pub const NAME: &str = "gemini";

/// What the program reads of the worker's environment besides proxies.
const VARIABLES: [&str; 10] = [
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "GOOGLE_GEMINI_BASE_URL",
    "GOOGLE_VERTEX_BASE_URL",
    "GOOGLE_GENAI_USE_VERTEXAI",
    "GOOGLE_GENAI_USE_GCA",
    "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_CLOUD_LOCATION",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GEMINI_CLI_HOME",
];

/// The program at one path.
#[derive(Debug, Clone)]
pub struct Gemini {
    program: PathBuf,
    /// The operator's, after all other flags.
    args: Vec<String>,
}

impl Gemini {
    /// The program at this absolute path, with these arguments after its own.
    #[must_use]
    pub fn new(program: PathBuf, args: Vec<String>) -> Self {
        Self { program, args }
    }
}

impl Runner for Gemini {
    fn name(&self) -> &str {
        NAME
    }

    fn variables(&self) -> Vec<String> {
        VARIABLES.iter().chain(&environment::PROXIES).map(|&name| name.to_owned()).collect()
    }

    fn order(&self, ask: &Ask<'_>) -> io::Result<Order> {
        let work = ask.work;
        let mut args = vec!["--skip-trust".to_owned(), "--output-format=stream-json".to_owned()];
        args.push(match ask.talk {
            Talk::Fresh { id } => format!("--session-id={id}"),
            Talk::Resumed { id, .. } => format!("--resume={id}"),
        });
        // Where nobody can be asked, tools that would ask are not there at all. Its own plan mode would
        // change what the agent is told.
        args.push(match work.permissions() {
            Permissions::Read => "--approval-mode=default".to_owned(),
            Permissions::Edit | Permissions::Unspecified => "--approval-mode=auto_edit".to_owned(),
            Permissions::Full => "--approval-mode=yolo".to_owned(),
        });
        if !work.model.is_empty() {
            args.push(format!("--model={}", work.model));
        }
        args.extend(work.allowed_tools.iter().map(|tool| format!("--allowed-tools={tool}")));
        args.extend(self.args.iter().cloned());
        let stdin = ask.aside.join("prompt.txt");
        answer::write_private(&stdin, &answer::asked_in_words(ask.prompt(), &work.schema))?;
        Ok(Order {
            program: self.program.clone(),
            args,
            cwd: ask.cwd.to_owned(),
            env: ask.env.to_vec(),
            stdin: Some(stdin),
            // What it says of tries that failed is said there alone, and must be heard while it runs.
            stderr: None,
            timeout: ask.timeout,
        })
    }

    fn listener(&self, ask: &Ask<'_>) -> Box<dyn Listener> {
        Box::new(listener::Heeding::new(ask))
    }
}

/// A fingerprint of the account that it spends from; empty where none is found.
#[must_use]
pub fn account() -> String {
    let home = account::variable(&["GEMINI_CLI_HOME", "HOME"]).map(|home| Path::new(&home).join(".gemini"));
    let key = account::variable(&["GEMINI_API_KEY", "GOOGLE_API_KEY"]);
    key.or_else(|| logged_in(&home?)).map(|secret| account::of(&secret)).unwrap_or_default()
}

/// Who logged in, as long as the login is there.
fn logged_in(home: &Path) -> Option<String> {
    let token = account::text_at(&home.join("oauth_creds.json"), "/refresh_token");
    fs::metadata(home.join("oauth_creds.json")).ok()?;
    account::text_at(&home.join("google_accounts.json"), "/active").or(token)
}
