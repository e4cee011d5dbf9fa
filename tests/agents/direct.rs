//! The real program asked directly, without Wavegate: what it says and what it cost.

use std::process::{Command, Stdio};

use serde_json::Value;
use wavegate_tests::{ACCOUNT, AgentPrograms, Home, model_api::ModelApi};

/// A stand-in, and a home for the program that sees it alone.
pub(crate) struct Direct {
    pub(crate) api: ModelApi,
    pub(crate) home: Home,
    programs: AgentPrograms,
}

/// What the program left.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) events: Vec<Value>,
    pub(crate) stderr: String,
}

impl Direct {
    pub(crate) fn new() -> Self {
        let home = Home::new(
            env!("CARGO_BIN_EXE_wavegate-under-test"),
            env!("CARGO_BIN_EXE_wavegate-worker-under-test"),
        )
        .unwrap();
        std::fs::create_dir_all(home.path("work")).unwrap();
        Self { api: ModelApi::start().unwrap(), home, programs: AgentPrograms::find().unwrap() }
    }

    /// Asks, with the program's own number of retries.
    pub(crate) fn ask(&self, prompt: &str, args: &[&str]) -> Said {
        self.ask_with(prompt, args, &[])
    }

    pub(crate) fn ask_with(&self, prompt: &str, args: &[&str], environment: &[(&str, &str)]) -> Said {
        let ran = Command::new(&self.programs.claude)
            .args(["-p", prompt, "--output-format", "stream-json", "--verbose"])
            .args(["--permission-mode", "acceptEdits"])
            .args(args)
            .env_clear()
            .envs(self.programs.environment(&self.home, &self.api, ACCOUNT).unwrap())
            .env("HOME", self.home.path(""))
            .envs(environment.iter().copied())
            .current_dir(self.home.path("work"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let lines = String::from_utf8_lossy(&ran.stdout);
        Said {
            code: ran.status.code(),
            events: lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(),
            stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
        }
    }
}

impl Said {
    #[track_caller]
    pub(crate) fn result(&self) -> &Value {
        let last = self.events.last();
        last.filter(|event| event["type"] == "result")
            .unwrap_or_else(|| panic!("no result: {:?}, stderr {}", self.events, self.stderr))
    }

    /// The events of a kind of the system's.
    pub(crate) fn system(&self, subtype: &str) -> Vec<&Value> {
        let of_kind = |event: &&Value| event["type"] == "system" && event["subtype"] == subtype;
        self.events.iter().filter(of_kind).collect()
    }

    /// The models that the assistant's messages name.
    pub(crate) fn models(&self) -> Vec<&str> {
        let said = self.events.iter().filter(|event| event["type"] == "assistant");
        said.filter_map(|event| event["message"]["model"].as_str()).collect()
    }
}
