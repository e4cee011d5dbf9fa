//! What a program says that an operator described, and what its end means: success is exit 0 and, where a
//! place for it is named, a result there.

use serde_json::Value;
use wavegate_proto::v1::{self, Outcome};

use super::settings::{CommandSettings, OutputForm, Pointer};
use crate::runner::{
    Ask, Conclusion, Exit, Heard, Listener, Talk, answer,
    provider::{self, Judged},
    telling,
    usage::micro_usd,
};

/// What is kept of the output: words for an outcome are looked for in it.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Follows one run.
#[derive(Debug)]
pub(super) struct Heeding {
    settings: CommandSettings,
    asked_model: String,
    wants_schema: bool,
    /// Plain words are not enough.
    must_answer: bool,
    /// By which the talk was begun or gone on with.
    session: Option<String>,
    is_resumed: bool,
    output: String,
    /// JSON Lines: the last of each that was found.
    found: Found,
}

/// What was found at the places that the section names.
#[derive(Debug, Clone, Default)]
struct Found {
    result: Option<Value>,
    structured: Option<Value>,
    tokens_in: Option<u64>,
    tokens_out: Option<u64>,
    tokens_cached: Option<u64>,
    cost_micro_usd: Option<u64>,
    session: Option<String>,
    model: Option<String>,
    error: Option<Value>,
}

impl Found {
    fn add(&mut self, settings: &CommandSettings, value: &Value) {
        let at = |place: &Option<Pointer>| {
            let found = place.as_ref().and_then(|place| value.pointer(place.as_str()));
            found.filter(|found| !found.is_null()).cloned()
        };
        let text = |place| at(place).as_ref().and_then(Value::as_str).map(str::to_owned);
        let number = |place| at(place).as_ref().and_then(Value::as_u64);
        let sum = settings.sum;
        set(&mut self.result, at(&settings.result));
        set(&mut self.structured, at(&settings.structured));
        set(&mut self.session, text(&settings.session).filter(|id| !id.is_empty()));
        set(&mut self.model, text(&settings.model).filter(|name| !name.is_empty()));
        set(&mut self.error, at(&settings.error).filter(|error| error != false && error != ""));
        count(&mut self.tokens_in, number(&settings.tokens_in), sum);
        count(&mut self.tokens_out, number(&settings.tokens_out), sum);
        count(&mut self.tokens_cached, number(&settings.tokens_cached), sum);
        let cost = at(&settings.cost_usd).as_ref().and_then(Value::as_f64).and_then(micro_usd);
        count(&mut self.cost_micro_usd, cost, sum);
    }

    fn usage(&self, settings: &CommandSettings, asked_model: &str) -> Vec<v1::ModelUsage> {
        let (input, output, cached) = (self.tokens_in, self.tokens_out, self.tokens_cached);
        let cache_read = cached.unwrap_or(0);
        let shared = if settings.cached_in_input { cache_read } else { 0 };
        if input.or(output).or(cached).or(self.cost_micro_usd).is_none() {
            return Vec::new();
        }
        vec![v1::ModelUsage {
            model: self.model.clone().unwrap_or_else(|| asked_model.to_owned()),
            tokens_in: input.unwrap_or(0).saturating_sub(shared),
            tokens_out: output.unwrap_or(0),
            cache_read,
            cost_micro_usd: self.cost_micro_usd,
            ..v1::ModelUsage::default()
        }]
    }
}

fn set<T>(last: &mut Option<T>, found: Option<T>) {
    if found.is_some() {
        *last = found;
    }
}

fn count(all: &mut Option<u64>, found: Option<u64>, sum: bool) {
    let before = all.filter(|_| sum).unwrap_or(0);
    set(all, found.map(|found| before.saturating_add(found)));
}

impl Heeding {
    pub(super) fn new(settings: CommandSettings, ask: &Ask<'_>) -> Self {
        let (session, is_resumed) = match ask.talk {
            Talk::Fresh { id } => (Some(id).filter(|_| settings.takes_session()), false),
            Talk::Resumed { id, .. } => (Some(id), true),
        };
        Self {
            must_answer: ask.work.must_answer || settings.takes_schema(),
            settings,
            asked_model: ask.work.model.clone(),
            wants_schema: !ask.work.schema.is_empty(),
            session: session.map(str::to_owned),
            is_resumed,
            output: String::new(),
            found: Found::default(),
        }
    }

    /// Everything that was found, once all is said.
    fn all_found(&self) -> Found {
        let mut found = self.found.clone();
        match self.settings.output {
            OutputForm::Text => {
                let said = self.output.trim();
                found.result = Some(Value::from(said)).filter(|_| !said.is_empty());
            }
            OutputForm::Json => {
                if let Ok(value) = serde_json::from_str(&self.output) {
                    found.add(&self.settings, &value);
                }
            }
            OutputForm::Jsonl => {}
        }
        found
    }

    fn judge(&self, found: &Found, exit: &Exit) -> Judged {
        let error = found.error.as_ref().map(words);
        let said = error.unwrap_or_else(|| telling::last_line(&exit.stderr).to_owned());
        let is_result_missing = self.settings.result.is_some() && found.result.is_none();
        if exit.code == Some(0) && found.error.is_none() {
            return match is_result_missing {
                false => self.succeeded(found),
                true => Judged::new(Outcome::Nonsense, &self.missing(&said)),
            };
        }
        if let Some(outcome) = self.by_words(&exit.stderr, found.error.as_ref()) {
            return Judged::new(outcome, if said.is_empty() { "by the words of its output" } else { &said });
        }
        match (&found.error, exit.code) {
            (Some(_), _) => Judged::new(Outcome::Failed, &said),
            // What its words mean is the operator's to say.
            (None, Some(code)) if !said.is_empty() && !(129..160).contains(&code) => {
                Judged::new(Outcome::Failed, &said)
            }
            (None, Some(_) | None) => provider::silence(exit, &said),
        }
    }

    fn succeeded(&self, found: &Found) -> Judged {
        let text = found.result.as_ref().map(words).unwrap_or_default();
        let first = telling::first_line(&text);
        match (self.wants_schema, self.structured(found)) {
            (false, _) => Judged::new(Outcome::Succeeded, &first),
            (true, Some(output)) => {
                Judged::new(Outcome::Succeeded, output["summary"].as_str().unwrap_or(&first))
            }
            (true, None) if !self.must_answer => Judged::new(Outcome::Succeeded, &first),
            (true, None) => Judged::new(Outcome::Nonsense, &format!("no answer by the schema, but: {first}")),
        }
    }

    fn missing(&self, said: &str) -> String {
        let place = self.settings.result.as_ref().map_or("", Pointer::as_str);
        let text = format!("it ended well, but its output has no result at {place:?}");
        if said.is_empty() { text } else { format!("{text}: {said}") }
    }

    fn structured(&self, found: &Found) -> Option<Value> {
        if !self.wants_schema {
            return None;
        }
        let own = found.structured.clone().or_else(|| found.result.clone());
        own.and_then(|value| match value {
            Value::String(text) => answer::found_in(&text),
            Value::Object(_) => Some(value),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
        })
    }

    fn by_words(&self, stderr: &str, error: Option<&Value>) -> Option<Outcome> {
        let settings = &self.settings;
        let error = error.map(words).unwrap_or_default();
        // Its answer is the agent's own words, which may be about anything; without a form only the last
        // line could be the program's.
        let last = match self.settings.output {
            OutputForm::Text => telling::last_line(&self.output),
            OutputForm::Json | OutputForm::Jsonl => "",
        };
        let texts = [stderr, last, &error].map(str::to_lowercase);
        let says = |list: &[String]| {
            list.iter().any(|word| texts.iter().any(|text| text.contains(&word.to_lowercase())))
        };
        [
            (Outcome::BadCredentials, &settings.bad_credentials),
            (Outcome::UsageLimit, &settings.usage_limit),
            (Outcome::Overloaded, &settings.overloaded),
        ]
        .into_iter()
        .find(|(_, list)| says(list))
        .map(|(outcome, _)| outcome)
    }

    /// The one that the program tells, else the one that it was given.
    fn session_of(&self, found: &Found) -> Option<String> {
        let session = found.session.clone().or_else(|| self.session.clone());
        session.filter(|_| self.settings.resumes() || self.is_resumed)
    }
}

impl Listener for Heeding {
    fn hear(&mut self, line: &str) -> Heard {
        if self.output.len() + line.len() < MOST_BYTES {
            self.output.push_str(line);
            self.output.push('\n');
        }
        if self.settings.output == OutputForm::Jsonl
            && let Ok(value) = serde_json::from_str(line)
        {
            self.found.add(&self.settings, &value);
        }
        let log = match self.settings.output {
            OutputForm::Text => format!("{line}\n"),
            OutputForm::Json | OutputForm::Jsonl => telling::one_line(line, telling::LINE_CHARS) + "\n",
        };
        Heard { log, give_up: false }
    }

    fn used(&self) -> Vec<v1::ModelUsage> {
        self.found.usage(&self.settings, &self.asked_model)
    }

    fn session(&self) -> Option<String> {
        self.session_of(&self.found)
    }

    fn conclude(self: Box<Self>, exit: &Exit) -> Conclusion {
        let found = self.all_found();
        let Judged { outcome, summary } = self.judge(&found, exit);
        let output = self.structured(&found).filter(|_| outcome == Outcome::Succeeded);
        let error = found.error.as_ref().map(words).unwrap_or_default();
        let wait = provider::wait_in(&error).or_else(|| provider::wait_in(&exit.stderr));
        let has_answered = found.result.is_some();
        Conclusion {
            outcome,
            summary,
            output_json: output.map(|output| output.to_string()).unwrap_or_default(),
            text: found.result.as_ref().map(words).unwrap_or_default(),
            model: found
                .model
                .clone()
                .or(Some(self.asked_model.clone()).filter(|_| has_answered))
                .unwrap_or_default(),
            models: found.usage(&self.settings, &self.asked_model),
            // A session with which nothing could be done may be what is wrong: the next run begins afresh.
            session: self.session_of(&found).filter(|_| {
                let is_silent = !has_answered && found.usage(&self.settings, &self.asked_model).is_empty();
                !(self.is_resumed && matches!(outcome, Outcome::Failed | Outcome::Nonsense) && is_silent)
            }),
            retry_after_ms: wait.filter(|_| outcome == Outcome::UsageLimit),
            ..Conclusion::default()
        }
    }
}

/// A text itself; anything else as JSON.
fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
