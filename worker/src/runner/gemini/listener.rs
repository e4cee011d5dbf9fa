//! What Gemini CLI says while it runs, and what its end means. Lines that are no events are its standard
//! error: among them are the tries that failed, which it goes on with for minutes.

use serde_json::Value;
use wavegate_proto::v1::{self, Outcome};

use crate::runner::{
    Ask, Conclusion, Exit, Heard, Listener, Talk, answer,
    provider::{self, Judged},
    telling,
};

/// A provider that failed so often will not answer within the minute.
const MOST_TRIES: u32 = 3;
/// What it says of a session that it does not have.
const UNKNOWN_SESSION: &str = "Error resuming session";
/// Its own exit codes. Beside these, an HTTP status of the provider's in eight bits.
const EXIT_AUTH: i32 = 41;
const EXIT_TURNS: i32 = 53;

/// Follows one run.
#[derive(Debug)]
pub(super) struct Heeding {
    wants_schema: bool,
    /// Plain words are not enough.
    must_answer: bool,
    session: Option<String>,
    model: String,
    /// What the agent says, since it last used a tool.
    text: String,
    /// How much of it is in the log.
    told: usize,
    tool: String,
    models: Vec<v1::ModelUsage>,
    /// The end as it tells it: nothing, or an error.
    result: Option<Result<(), String>>,
    gave_up: Option<Judged>,
    is_unknown_session: bool,
    /// The last line that was no event and says something.
    stray: String,
    denials: Vec<v1::Finding>,
}

impl Heeding {
    pub(super) fn new(ask: &Ask<'_>) -> Self {
        let (Talk::Fresh { id } | Talk::Resumed { id, .. }) = ask.talk;
        Self {
            wants_schema: !ask.work.schema.is_empty(),
            must_answer: ask.work.must_answer,
            session: Some(id.to_owned()),
            model: String::new(),
            text: String::new(),
            told: 0,
            tool: String::new(),
            models: Vec::new(),
            result: None,
            gave_up: None,
            is_unknown_session: false,
            stray: String::new(),
            denials: Vec::new(),
        }
    }

    fn event(&mut self, event: &Value) -> String {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        match text("type") {
            "init" => {
                text("model").clone_into(&mut self.model);
                self.session = event["session_id"].as_str().map(str::to_owned).or(self.session.take());
                String::new()
            }
            "message" if event["role"] == "assistant" => {
                self.text.push_str(text("content"));
                String::new()
            }
            "tool_use" => {
                let log = self.untold();
                let parameters = &event["parameters"];
                self.tool = format!("{}: {}", text("tool_name"), what_of(parameters));
                self.text.clear();
                self.told = 0;
                log + &telling::tool(text("tool_name"), &what_of(parameters))
            }
            "tool_result" => self.tool_result(event),
            "error" => self.untold() + &telling::noted("warning", text("message")),
            "result" => self.ended(event),
            _ => String::new(),
        }
    }

    fn tool_result(&mut self, event: &Value) -> String {
        let is_error = event["status"] == "error";
        if is_error && is_denial(&event["error"]) {
            let text = format!("the agent was denied {}", telling::one_line(&self.tool, telling::LINE_CHARS));
            self.denials.push(v1::Finding { task: String::new(), text });
        }
        telling::given_back(event["output"].as_str().unwrap_or_default(), is_error)
    }

    fn ended(&mut self, event: &Value) -> String {
        self.models = figures(&event["stats"]["models"]);
        let log = self.untold();
        if event["status"] == "success" {
            self.result = Some(Ok(()));
            return log;
        }
        let error = event["error"]["message"].as_str().unwrap_or("an error without a word").to_owned();
        let log = log + &telling::noted("failed", &error);
        self.result = Some(Err(error));
        log
    }

    /// What the agent said and the log does not hold yet: it comes in pieces.
    fn untold(&mut self) -> String {
        let log = telling::said(self.text.get(self.told..).unwrap_or_default());
        self.told = self.text.len();
        log
    }

    fn stray(&mut self, line: &str) -> Heard {
        let is_noise = line.starts_with([' ', '\t', '}', '[']) || line.contains("256-color");
        if is_noise || line.trim().is_empty() {
            return Heard::default();
        }
        self.is_unknown_session |= line.starts_with(UNKNOWN_SESSION);
        line.clone_into(&mut self.stray);
        if let Some(tries) = tries_in(line)
            && tries >= MOST_TRIES
        {
            let outcome = provider::of_words(line);
            self.gave_up = Some(Judged::new(outcome, &format!("given up after {tries} tries: {line}")));
        }
        Heard { log: telling::noted("gemini", line), give_up: self.gave_up.is_some() }
    }

    fn judge(&self, exit: &Exit) -> Judged {
        match (&self.result, &self.gave_up) {
            (Some(Ok(())), _) => self.succeeded(),
            (Some(Err(error)), _) => Judged::new(self.error(error, exit), error),
            (None, Some(judged)) => judged.clone(),
            (None, None) => self.silence(exit),
        }
    }

    fn error(&self, error: &str, exit: &Exit) -> Outcome {
        match (provider::of_words(error), exit.code.and_then(http_status)) {
            (Outcome::Failed, Some(status)) => provider::of_status(status),
            (outcome, _) => outcome,
        }
    }

    fn silence(&self, exit: &Exit) -> Judged {
        let judged = provider::silence(exit, &self.stray);
        let outcome = match exit.code {
            Some(EXIT_AUTH) => Outcome::BadCredentials,
            Some(EXIT_TURNS) => Outcome::TurnLimit,
            _ => judged.outcome,
        };
        Judged { outcome, ..judged }
    }

    fn succeeded(&self) -> Judged {
        let first = telling::first_line(&self.text);
        match (self.wants_schema, self.output()) {
            (true, Some(output)) => {
                Judged::new(Outcome::Succeeded, output["summary"].as_str().unwrap_or(&first))
            }
            (false, _) if !self.text.trim().is_empty() => Judged::new(Outcome::Succeeded, &first),
            _ if !self.denials.is_empty() => {
                Judged::new(Outcome::Denied, &format!("it was denied what it needed: {first}"))
            }
            (true, None) if !self.must_answer => Judged::new(Outcome::Succeeded, &first),
            (true, None) => Judged::new(Outcome::Nonsense, &format!("no answer by the schema, but: {first}")),
            (false, _) => Judged::new(Outcome::Nonsense, "it ended without a word"),
        }
    }

    fn output(&self) -> Option<Value> {
        answer::found_in(&self.text).filter(|_| self.wants_schema)
    }

    /// The model of the main talk: the one that was asked, or the one that said most where it answered
    /// under another name.
    fn model(&self) -> String {
        let asked = self.models.iter().find(|one| one.model == self.model);
        let most = self.models.iter().max_by_key(|one| one.tokens_out);
        asked.or(most).map(|one| one.model.clone()).unwrap_or_default()
    }
}

impl Listener for Heeding {
    fn hear(&mut self, line: &str) -> Heard {
        match serde_json::from_str::<Value>(line) {
            Ok(event @ Value::Object(_)) => Heard { log: self.event(&event), give_up: false },
            Ok(_) | Err(_) => self.stray(line),
        }
    }

    fn used(&self) -> Vec<v1::ModelUsage> {
        self.models.clone()
    }

    fn session(&self) -> Option<String> {
        self.session.clone()
    }

    fn conclude(self: Box<Self>, exit: &Exit) -> Conclusion {
        let Judged { outcome, summary } = self.judge(exit);
        let output = self.output().filter(|_| outcome == Outcome::Succeeded);
        let error = self.result.as_ref().and_then(|result| result.as_ref().err());
        Conclusion {
            outcome,
            output_json: output.map(|output| output.to_string()).unwrap_or_default(),
            model: self.model(),
            session: self.session.clone().filter(|_| !self.is_unknown_session && !self.model.is_empty()),
            is_unknown_session: self.is_unknown_session,
            retry_after_ms: error
                .filter(|_| outcome == Outcome::UsageLimit)
                .and_then(|e| provider::wait_in(e)),
            summary,
            models: self.models,
            // Its figures are of one run alone.
            counters: Vec::new(),
            denials: self.denials,
            text: self.text,
        }
    }
}

/// Its input holds what was read from the cache; its output lacks what the model thought, its total does
/// not.
fn figures(models: &Value) -> Vec<v1::ModelUsage> {
    let of = |(name, stats): (&String, &Value)| {
        let count = |name: &str| stats[name].as_u64().unwrap_or(0);
        let (input, cached) = (count("input_tokens"), count("cached"));
        v1::ModelUsage {
            model: name.clone(),
            tokens_in: input.saturating_sub(cached),
            tokens_out: count("output_tokens").max(count("total_tokens").saturating_sub(input)),
            cache_read: cached,
            ..v1::ModelUsage::default()
        }
    };
    let all = models.as_object().into_iter().flatten().map(of);
    all.filter(|one| one.tokens_in > 0 || one.tokens_out > 0 || one.cache_read > 0).collect()
}

/// The number in "Attempt 3 failed ...".
fn tries_in(line: &str) -> Option<u32> {
    let (number, rest) = line.strip_prefix("Attempt ")?.split_once(' ')?;
    rest.starts_with("failed").then(|| number.parse().ok())?
}

fn http_status(code: i32) -> Option<u16> {
    u16::try_from(code + 256).ok().filter(|status| (400..512).contains(status))
}

/// A tool that would have asked is not there where nobody can answer.
fn is_denial(error: &Value) -> bool {
    let kind = error["type"].as_str().unwrap_or_default();
    ["tool_not_registered", "policy_violation", "execution_denied"].contains(&kind)
}

fn what_of(parameters: &Value) -> String {
    let telling = ["command", "file_path", "path", "pattern", "query", "url", "prompt"];
    let found = telling.iter().find_map(|key| parameters[*key].as_str());
    found.map_or_else(|| parameters.to_string(), str::to_owned)
}
