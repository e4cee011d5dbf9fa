//! The section `[runner.NAME]` of a runner that is not built in. Reads and checks; runs nothing.

use std::path::PathBuf;

use serde::Deserialize;

use super::template::Template;

/// How the prompt reaches the program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptBy {
    /// On standard input.
    #[default]
    Stdin,
    /// Where an argument says `{prompt}` or `{prompt_file}`, else as the last argument.
    Argument,
}

/// What the program's standard output is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputForm {
    /// Its words; nothing else is known of the run.
    #[default]
    Text,
    /// One JSON value.
    Json,
    /// A JSON value a line.
    Jsonl,
}

/// A place in a JSON value: an RFC 6901 pointer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pointer(String);

/// A text that is no pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no JSON Pointer: expected \"\" for the whole, or parts that each begin with \"/\"")]
pub struct PointerError(String);

impl TryFrom<String> for Pointer {
    type Error = PointerError;

    fn try_from(text: String) -> Result<Self, PointerError> {
        if text.is_empty() || text.starts_with('/') { Ok(Self(text)) } else { Err(PointerError(text)) }
    }
}

impl Pointer {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a program is used as a runner. Names may be written with `-` or `_`. What it says together is
/// checked by [`Checked`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CommandSettings {
    /// Its path, or its name on the PATH.
    pub program: PathBuf,
    /// Its arguments in every run.
    #[serde(default)]
    pub args: Vec<Template>,
    /// Added to them where a model is asked for.
    #[serde(default, alias = "model_args")]
    pub model_args: Vec<Template>,
    /// Added for a session to go on with; without them there is none.
    #[serde(default, alias = "resume_args")]
    pub resume_args: Vec<Template>,
    /// Added where an answer by a schema is asked for.
    #[serde(default, alias = "schema_args")]
    pub schema_args: Vec<Template>,
    /// Added where there is a budget.
    #[serde(default, alias = "budget_args")]
    pub budget_args: Vec<Template>,
    #[serde(default)]
    pub prompt: PromptBy,
    #[serde(default)]
    pub output: OutputForm,
    /// The agent's last words.
    pub result: Option<Pointer>,
    /// Its answer by the schema; absent: in its last words.
    pub structured: Option<Pointer>,
    #[serde(alias = "tokens_in")]
    pub tokens_in: Option<Pointer>,
    #[serde(alias = "tokens_out")]
    pub tokens_out: Option<Pointer>,
    #[serde(alias = "tokens_cached")]
    pub tokens_cached: Option<Pointer>,
    #[serde(alias = "cost_usd")]
    pub cost_usd: Option<Pointer>,
    pub session: Option<Pointer>,
    pub model: Option<Pointer>,
    /// Where something that is neither null, false nor empty means failure.
    pub error: Option<Pointer>,
    /// Figures of all lines are added up; else the last line that has them counts.
    #[serde(default)]
    pub sum: bool,
    /// Whether `tokens-in` holds those of `tokens-cached` too.
    #[serde(default, alias = "cached_in_input")]
    pub cached_in_input: bool,
    /// What makes it tell its version; empty: it is not asked.
    #[serde(default = "asks_version", alias = "version_args")]
    pub version_args: Vec<String>,
    /// The worker's variables that it needs.
    #[serde(default)]
    pub env: Vec<String>,
    /// The variable that tells accounts apart; only a fingerprint of its value leaves the worker.
    #[serde(alias = "account_env")]
    pub account_env: Option<String>,
    /// The families of models that it can be asked for.
    #[serde(default)]
    pub models: Vec<String>,
    /// Words in the output of a run that failed, in any case, that mean this outcome.
    #[serde(default, alias = "usage_limit")]
    pub usage_limit: Vec<String>,
    #[serde(default, alias = "bad_credentials")]
    pub bad_credentials: Vec<String>,
    #[serde(default)]
    pub overloaded: Vec<String>,
}

fn asks_version() -> Vec<String> {
    vec!["--version".to_owned()]
}

/// Settings that say nothing together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("output = \"text\" has no place for `{0}`: say output = \"json\" or \"jsonl\"")]
    NoPlaces(&'static str),
    #[error("output = \"jsonl\" needs `result`: the place of the agent's last words")]
    NoResult,
    #[error(
        "`resume-args` need `session`: the place where the program tells its session, or {{session}} in `args`"
    )]
    NoSession,
    #[error("`sum` adds up the lines of output = \"jsonl\" only")]
    NothingToSum,
}

/// Settings that say something together.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "CommandSettings")]
pub struct Checked(pub CommandSettings);

impl TryFrom<CommandSettings> for Checked {
    type Error = SettingsError;

    fn try_from(settings: CommandSettings) -> Result<Self, SettingsError> {
        check(&settings).map(|()| Self(settings))
    }
}

fn check(settings: &CommandSettings) -> Result<(), SettingsError> {
    let places = [
        ("result", &settings.result),
        ("structured", &settings.structured),
        ("tokens-in", &settings.tokens_in),
        ("tokens-out", &settings.tokens_out),
        ("tokens-cached", &settings.tokens_cached),
        ("cost-usd", &settings.cost_usd),
        ("session", &settings.session),
        ("model", &settings.model),
        ("error", &settings.error),
    ];
    let placed = places.into_iter().find(|(_, place)| place.is_some());
    let takes_session = settings.args.iter().any(|arg| arg.has("session"));
    match settings.output {
        OutputForm::Text if placed.is_some() => {
            Err(SettingsError::NoPlaces(placed.map_or("", |(name, _)| name)))
        }
        OutputForm::Jsonl if settings.result.is_none() => Err(SettingsError::NoResult),
        OutputForm::Text | OutputForm::Json if settings.sum => Err(SettingsError::NothingToSum),
        _ if !settings.resume_args.is_empty() && settings.session.is_none() && !takes_session => {
            Err(SettingsError::NoSession)
        }
        OutputForm::Text | OutputForm::Json | OutputForm::Jsonl => Ok(()),
    }
}

impl CommandSettings {
    /// Whether an argument holds the prompt already.
    pub(super) fn places_prompt(&self) -> bool {
        self.args.iter().any(|arg| arg.has("prompt") || arg.has("prompt_file"))
    }

    /// Whether the program takes a schema; else it is asked for in words.
    pub(super) fn takes_schema(&self) -> bool {
        !self.schema_args.is_empty() || self.args.iter().any(|arg| arg.has("schema_file"))
    }

    /// Whether a talk can be gone on with.
    pub(super) fn resumes(&self) -> bool {
        !self.resume_args.is_empty()
    }

    /// Whether it takes the session's id that it is given.
    pub(super) fn takes_session(&self) -> bool {
        self.args.iter().any(|arg| arg.has("session"))
    }
}
