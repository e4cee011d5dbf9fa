//! What Codex says while it runs, and what its end means. Its token counts are cumulative over a session,
//! also over resumed ones, so that a run's own are a difference. It never says which model answered: the
//! one that was asked for is taken, since it has no other to fall back to.

use serde_json::Value;
use wavegate_proto::v1;

use crate::runner::{
    Ask, Conclusion, Exit, Heard, Listener, Talk, answer,
    provider::{self, Judged},
    telling,
};

/// What it says of a session that it does not have.
const UNKNOWN_SESSION: &str = "no rollout found";

/// What it says again and again while nobody answers; it would wait for ever.
const WAITS_FOR_NETWORK: &str = "waiting for network";
/// So often in a row, which takes it about half a minute.
const MOST_WAITS: u32 = 3;

/// Follows one run.
#[derive(Debug)]
pub(super) struct Heeding {
    model: String,
    wants_schema: bool,
    session: Option<String>,
    /// The last message of the agent.
    text: String,
    /// The session's figures before this run, and now.
    before: v1::ModelUsage,
    now: Option<v1::ModelUsage>,
    is_completed: bool,
    error: Option<String>,
    /// How often in a row it said that it waits for the network.
    waits: u32,
    denials: Vec<v1::Finding>,
}

impl Heeding {
    pub(super) fn new(ask: &Ask<'_>) -> Self {
        let (session, counters) = match ask.talk {
            Talk::Fresh { .. } => (None, &[][..]),
            Talk::Resumed { id, counters } => (Some(id.to_owned()), counters),
        };
        Self {
            model: ask.work.model.clone(),
            wants_schema: !ask.work.schema.is_empty(),
            session,
            text: String::new(),
            before: sum_of(&ask.work.model, counters),
            now: None,
            is_completed: false,
            error: None,
            waits: 0,
            denials: Vec::new(),
        }
    }

    fn event(&mut self, event: &Value) -> String {
        match event["type"].as_str().unwrap_or_default() {
            "thread.started" => {
                self.session = event["thread_id"].as_str().map(str::to_owned).or(self.session.take());
                String::new()
            }
            "item.started" => begun(&event["item"]),
            "item.completed" => self.item(&event["item"]),
            "turn.completed" => {
                self.is_completed = true;
                self.now = Some(figures(&self.model, &event["usage"]));
                String::new()
            }
            "turn.failed" => {
                let error = message(&event["error"]);
                let log = telling::noted("failed", &error);
                self.error = Some(error);
                log
            }
            // It may try again after one; only a failed turn is an end.
            "error" => self.warned(&message(event)),
            _ => String::new(),
        }
    }

    fn warned(&mut self, text: &str) -> String {
        self.waits = if text.contains(WAITS_FOR_NETWORK) { self.waits + 1 } else { 0 };
        if self.waits >= MOST_WAITS {
            self.error = Some(text.to_owned());
        }
        telling::noted("error", text)
    }

    fn item(&mut self, item: &Value) -> String {
        self.waits = 0;
        if item["status"] == "declined" {
            let text =
                format!("the agent was denied {}", telling::one_line(&told(item), telling::LINE_CHARS));
            self.denials.push(v1::Finding { task: String::new(), text });
        }
        let text = item["text"].as_str().unwrap_or_default();
        match item["type"].as_str().unwrap_or_default() {
            "agent_message" => {
                text.clone_into(&mut self.text);
                telling::said(text)
            }
            "reasoning" => telling::noted("thinks", text),
            "command_execution" => {
                let is_error = item["exit_code"].as_i64() != Some(0);
                telling::given_back(item["aggregated_output"].as_str().unwrap_or_default(), is_error)
            }
            "error" => telling::noted("warning", &message(item)),
            "file_change" | "mcp_tool_call" | "web_search" => telling::tool(kind(item), &told(item)),
            _ => String::new(),
        }
    }

    fn judge(&self, exit: &Exit) -> Judged {
        match (&self.error, self.is_completed) {
            (Some(error), _) => Judged::new(provider::of_words(error), error),
            // What was said before the time was up was said.
            (None, true) if exit.code.is_none_or(|code| code == 0) => self.succeeded(),
            (None, _) => provider::silence(exit, telling::last_line(&exit.stderr)),
        }
    }

    fn succeeded(&self) -> Judged {
        let first = telling::first_line(&self.text);
        match (self.wants_schema, self.output()) {
            (false, _) => Judged::new(v1::Outcome::Succeeded, &first),
            (true, Some(output)) => {
                Judged::new(v1::Outcome::Succeeded, output["summary"].as_str().unwrap_or(&first))
            }
            (true, None) if !self.denials.is_empty() => {
                Judged::new(v1::Outcome::Denied, &format!("it was denied what it needed: {first}"))
            }
            (true, None) => {
                Judged::new(v1::Outcome::Nonsense, &format!("no answer by the schema, but: {first}"))
            }
        }
    }

    fn output(&self) -> Option<Value> {
        answer::found_in(&self.text).filter(|_| self.wants_schema).map(answer::without_nulls)
    }
}

impl Listener for Heeding {
    fn hear(&mut self, line: &str) -> Heard {
        let log = match serde_json::from_str::<Value>(line) {
            Ok(event) => self.event(&event),
            Err(_) => telling::noted("codex", line),
        };
        Heard { log, give_up: self.waits >= MOST_WAITS }
    }

    fn used(&self) -> Vec<v1::ModelUsage> {
        let used = self.now.as_ref().map(|now| {
            crate::runner::usage::since(std::slice::from_ref(now), std::slice::from_ref(&self.before))
        });
        used.unwrap_or_default()
    }

    fn session(&self) -> Option<String> {
        self.session.clone()
    }

    fn conclude(self: Box<Self>, exit: &Exit) -> Conclusion {
        let Judged { outcome, summary } = self.judge(exit);
        let is_unknown_session = self.error.is_none() && exit.stderr.contains(UNKNOWN_SESSION);
        let output = self.output().filter(|_| outcome == v1::Outcome::Succeeded);
        let waits = outcome == v1::Outcome::UsageLimit;
        Conclusion {
            outcome,
            summary,
            output_json: output.map(|output| output.to_string()).unwrap_or_default(),
            model: if self.is_completed { self.model.clone() } else { String::new() },
            models: self.used(),
            // A run that was cut short counts in the next one: the program counts on.
            counters: vec![self.now.clone().unwrap_or_else(|| self.before.clone())],
            session: self.session.clone().filter(|_| !is_unknown_session),
            is_unknown_session,
            retry_after_ms: self.error.as_deref().filter(|_| waits).and_then(provider::wait_in),
            denials: self.denials,
            text: self.text,
        }
    }
}

/// All of a session, whichever model was asked: the program keeps one count.
fn sum_of(model: &str, counters: &[v1::ModelUsage]) -> v1::ModelUsage {
    let all = |of: fn(&v1::ModelUsage) -> u64| counters.iter().map(of).fold(0, u64::saturating_add);
    v1::ModelUsage {
        model: model.to_owned(),
        tokens_in: all(|one| one.tokens_in),
        tokens_out: all(|one| one.tokens_out),
        cache_read: all(|one| one.cache_read),
        cache_write: all(|one| one.cache_write),
        ..v1::ModelUsage::default()
    }
}

/// Its input holds what was read from and written to the cache.
fn figures(model: &str, usage: &Value) -> v1::ModelUsage {
    let count = |name: &str| usage[name].as_u64().unwrap_or(0);
    let (cache_read, cache_write) = (count("cached_input_tokens"), count("cache_write_input_tokens"));
    v1::ModelUsage {
        model: model.to_owned(),
        tokens_in: count("input_tokens").saturating_sub(cache_read).saturating_sub(cache_write),
        tokens_out: count("output_tokens"),
        cache_read,
        cache_write,
        ..v1::ModelUsage::default()
    }
}

/// Commands are told when they begin, all else when it is done.
fn begun(item: &Value) -> String {
    match kind(item) {
        "command_execution" => telling::tool("shell", &told(item)),
        _ => String::new(),
    }
}

fn kind(item: &Value) -> &str {
    item["type"].as_str().unwrap_or("tool")
}

/// What of an item says most.
fn told(item: &Value) -> String {
    if let Some(changes) = item["changes"].as_array() {
        let paths: Vec<_> = changes.iter().filter_map(|change| change["path"].as_str()).collect();
        return paths.join(", ");
    }
    let telling = ["command", "query", "tool"].iter().find_map(|key| item[*key].as_str());
    telling.unwrap_or_default().to_owned()
}

fn message(error: &Value) -> String {
    error["message"].as_str().unwrap_or("an error without a word").to_owned()
}
