//! What opencode says while it runs, and what its end means. Its figures are of each step. It never says
//! which model answered: the one that was asked for is taken, since it has no other to fall back to.

use serde_json::Value;
use wavegate_proto::v1::{self, Outcome};

use crate::runner::{
    Ask, Conclusion, Exit, Heard, Listener, Talk, answer,
    provider::{self, Judged},
    telling,
    usage::micro_usd,
};

/// What it says of a session that it does not have.
const UNKNOWN_SESSION: &str = "Session not found";
/// Shorter waits are between two tries; they say nothing about a limit.
const SHORTEST_WAIT_S: u64 = 60;

/// Follows one run.
#[derive(Debug)]
pub(super) struct Heeding {
    model: String,
    wants_schema: bool,
    /// Plain words are not enough.
    must_answer: bool,
    budget: Option<u64>,
    session: Option<String>,
    /// The message that is being said, and its id.
    text: String,
    message: String,
    used: v1::ModelUsage,
    /// Why the last step ended.
    reason: String,
    error: Option<Value>,
    is_over_budget: bool,
    denials: Vec<v1::Finding>,
}

impl Heeding {
    pub(super) fn new(ask: &Ask<'_>) -> Self {
        let session = match ask.talk {
            Talk::Fresh { .. } => None,
            Talk::Resumed { id, .. } => Some(id.to_owned()),
        };
        let model = ask.work.model.clone();
        Self {
            wants_schema: !ask.work.schema.is_empty(),
            must_answer: ask.work.must_answer,
            budget: ask.work.budget_micro_usd,
            session,
            text: String::new(),
            message: String::new(),
            used: v1::ModelUsage { model: model.clone(), ..v1::ModelUsage::default() },
            model,
            reason: String::new(),
            error: None,
            is_over_budget: false,
            denials: Vec::new(),
        }
    }

    fn event(&mut self, event: &Value) -> String {
        if let Some(id) = event["sessionID"].as_str() {
            self.session = Some(id.to_owned());
        }
        let part = &event["part"];
        match event["type"].as_str().unwrap_or_default() {
            "text" => self.said(part),
            "tool_use" => self.tool(part),
            // What ended an earlier step says nothing about this one.
            "step_start" => {
                self.reason.clear();
                String::new()
            }
            "step_finish" => {
                part["reason"].as_str().unwrap_or_default().clone_into(&mut self.reason);
                self.error = self.error.take().filter(|_| self.reason != "stop");
                self.count(part);
                String::new()
            }
            "error" => {
                self.error = Some(event["error"].clone());
                telling::noted("failed", &message(&event["error"]))
            }
            _ => String::new(),
        }
    }

    fn said(&mut self, part: &Value) -> String {
        let text = part["text"].as_str().unwrap_or_default();
        let message = part["messageID"].as_str().unwrap_or_default();
        if message != self.message {
            message.clone_into(&mut self.message);
            self.text.clear();
        }
        self.text.push_str(text);
        telling::said(text)
    }

    fn tool(&mut self, part: &Value) -> String {
        let (name, state) = (part["tool"].as_str().unwrap_or("tool"), &part["state"]);
        let told = what_of(&state["input"]);
        if is_denial(name, state) {
            let text =
                format!("the agent was denied {name}: {}", telling::one_line(&told, telling::LINE_CHARS));
            self.denials.push(v1::Finding { task: String::new(), text });
        }
        let is_error = state["status"] == "error" || state["metadata"]["exit"].as_i64().unwrap_or(0) != 0;
        let output = state["error"].as_str().or_else(|| state["output"].as_str()).unwrap_or_default();
        telling::tool(name, &told) + &telling::given_back(output, is_error)
    }

    fn count(&mut self, part: &Value) {
        let tokens = &part["tokens"];
        let count = |value: &Value| value.as_u64().unwrap_or(0);
        let (input, output) = (count(&tokens["input"]), count(&tokens["output"]));
        let (read, write) = (count(&tokens["cache"]["read"]), count(&tokens["cache"]["write"]));
        let used = &mut self.used;
        used.tokens_in = used.tokens_in.saturating_add(input);
        used.tokens_out = used.tokens_out.saturating_add(output).saturating_add(count(&tokens["reasoning"]));
        used.cache_read = used.cache_read.saturating_add(read);
        used.cache_write = used.cache_write.saturating_add(write);
        used.calls += 1;
        // It takes a model without a known price for a free one.
        let cost = part["cost"].as_f64().and_then(micro_usd).filter(|cost| *cost > 0);
        let before = if used.calls == 1 { Some(0) } else { used.cost_micro_usd };
        used.cost_micro_usd = before.zip(cost).map(|(before, cost)| before.saturating_add(cost));
        self.is_over_budget = self.budget.zip(used.cost_micro_usd).is_some_and(|(most, cost)| cost >= most);
    }

    fn judge(&self, exit: &Exit) -> Judged {
        match (&self.error, self.reason.as_str()) {
            (Some(error), _) => Judged::new(outcome_of(error), &message(error)),
            (None, "stop") => self.succeeded(),
            _ if exit.gave_up && self.is_over_budget => {
                Judged::new(Outcome::BudgetLimit, "it used up the budget that it was given")
            }
            (None, "length") => Judged::new(Outcome::Failed, "its answer was cut short by its length"),
            (None, "content-filter") => Judged::new(Outcome::Refused, "the model refused"),
            (None, _) if exit.code == Some(0) && !self.denials.is_empty() => self.denied(),
            (None, _) => provider::silence(exit, &plain(telling::last_line(&exit.stderr))),
        }
    }

    fn succeeded(&self) -> Judged {
        let first = telling::first_line(&self.text);
        match (self.wants_schema, self.output()) {
            (false, _) => Judged::new(Outcome::Succeeded, &first),
            (true, Some(output)) => {
                Judged::new(Outcome::Succeeded, output["summary"].as_str().unwrap_or(&first))
            }
            (true, None) if !self.denials.is_empty() => self.denied(),
            (true, None) if !self.must_answer => Judged::new(Outcome::Succeeded, &first),
            (true, None) => Judged::new(Outcome::Nonsense, &format!("no answer by the schema, but: {first}")),
        }
    }

    fn denied(&self) -> Judged {
        let first = self.denials.first().map_or("", |finding| finding.text.as_str());
        Judged::new(Outcome::Denied, first)
    }

    fn output(&self) -> Option<Value> {
        answer::found_in(&self.text).filter(|_| self.wants_schema)
    }

    /// It still waits for a tool's answer when it is over its budget.
    fn gives_up(&self) -> bool {
        self.is_over_budget && self.reason != "stop"
    }
}

impl Listener for Heeding {
    fn hear(&mut self, line: &str) -> Heard {
        let log = match serde_json::from_str::<Value>(line) {
            Ok(event) => self.event(&event),
            Err(_) => telling::noted("opencode", line),
        };
        Heard { log, give_up: self.gives_up() }
    }

    fn used(&self) -> Vec<v1::ModelUsage> {
        if self.used.calls == 0 { Vec::new() } else { vec![self.used.clone()] }
    }

    fn session(&self) -> Option<String> {
        self.session.clone()
    }

    fn conclude(self: Box<Self>, exit: &Exit) -> Conclusion {
        let Judged { outcome, summary } = self.judge(exit);
        let is_unknown_session = exit.stderr.contains(UNKNOWN_SESSION);
        let output = self.output().filter(|_| outcome == Outcome::Succeeded);
        let waits = outcome == Outcome::UsageLimit;
        Conclusion {
            outcome,
            summary,
            output_json: output.map(|output| output.to_string()).unwrap_or_default(),
            model: if self.used.calls > 0 { self.model.clone() } else { String::new() },
            models: self.used(),
            counters: Vec::new(),
            session: self.session.clone().filter(|_| !is_unknown_session),
            is_unknown_session,
            retry_after_ms: self.error.as_ref().filter(|_| waits).and_then(wait_of),
            denials: self.denials,
            text: self.text,
        }
    }
}

fn outcome_of(error: &Value) -> Outcome {
    let status = error["data"]["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok());
    match (error["name"].as_str().unwrap_or_default(), status) {
        ("ProviderAuthError", _) => Outcome::BadCredentials,
        ("MessageAbortedError", _) => Outcome::Killed,
        (_, Some(status)) => provider::of_status(status),
        (_, None) => provider::of_words(&message(error)),
    }
}

fn message(error: &Value) -> String {
    let name = error["name"].as_str().unwrap_or("error");
    error["data"]["message"].as_str().unwrap_or(name).to_owned()
}

fn wait_of(error: &Value) -> Option<u64> {
    let header = error["data"]["responseHeaders"]["retry-after"].as_str().and_then(|text| text.parse().ok());
    let told = header
        .filter(|seconds: &u64| *seconds >= SHORTEST_WAIT_S)
        .map(|seconds| seconds.saturating_mul(1000));
    told.or_else(|| provider::wait_in(&message(error)))
}

/// A tool that is denied by what is permitted is not there, or asked for in vain.
fn is_denial(name: &str, state: &Value) -> bool {
    let says = |key: &str, words: &str| state[key].as_str().is_some_and(|text| text.contains(words));
    (name == "invalid" && says("output", "unavailable tool"))
        || (state["status"] == "error"
            && (says("error", "permission") || says("error", "rule which prevents")))
}

fn what_of(input: &Value) -> String {
    let telling = ["command", "filePath", "path", "pattern", "query", "url", "tool", "description"];
    let found = telling.iter().find_map(|key| input[*key].as_str());
    found.map_or_else(|| input.to_string(), str::to_owned)
}

/// Without the colours of a terminal.
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').map_or(part, |(_, rest)| rest))
}
