//! Follows a talk event by event: what is told to people, what was used, what was denied, and whether
//! going on is of any use.

use std::collections::BTreeMap;

use serde_json::Value;
use wavegate_proto::v1;

use super::{conclusion, ledger::Ledger, limits, words};
use crate::runner::{self, Ask, Conclusion, Exit, Heard, Listener, telling};

/// A program that waits longer than this for its account blocks its place for nothing.
const LONGEST_DELAY_MS: u64 = 60_000;
/// So many tries at an account whose limit is reached.
const TRIES: u64 = 3;
/// More denials tell nothing new.
const MOST_DENIALS: usize = 50;

/// One run, as far as it was heard.
#[derive(Debug, Default)]
pub(super) struct Talk {
    pub(super) wants_schema: bool,
    pub(super) session: Option<String>,
    /// Who answered last in the main talk.
    pub(super) model: String,
    pub(super) ledger: Ledger,
    /// The last words in the main talk.
    pub(super) text: String,
    /// The last result; None again while the talk goes on after it (a subagent came back).
    pub(super) result: Option<Value>,
    /// The id of the tool's use, and the use in words.
    pub(super) denials: Vec<(String, String)>,
    /// The program's own word for the error that the provider gave.
    pub(super) error: String,
    /// When the account's limit ends, in seconds since 1970.
    pub(super) reset: Option<u64>,
    pub(super) gave_up: Option<GaveUp>,
    /// Tools in use, by id: a denial names the id alone.
    tools: BTreeMap<String, String>,
}

/// Why going on is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GaveUp {
    Credentials {
        status: u64,
    },
    /// The delay is what the program was about to wait.
    UsageLimit {
        delay_ms: u64,
    },
}

impl Talk {
    pub(super) fn new(ask: &Ask<'_>) -> Self {
        let before = match ask.talk {
            runner::Talk::Fresh { .. } => Vec::new(),
            runner::Talk::Resumed { counters, .. } => counters.to_vec(),
        };
        let wants_schema = !ask.work.schema.is_empty();
        Self { wants_schema, ledger: Ledger::new(before), ..Self::default() }
    }

    fn on_event(&mut self, event: Value) -> Heard {
        if let Some(id) = event["session_id"].as_str() {
            self.session = Some(id.to_owned());
        }
        if let Some(reset) = limits::reset_of(&event) {
            self.reset = Some(reset);
        }
        let log = match event["type"].as_str().unwrap_or_default() {
            "stream_event" => self.on_stream(&event),
            "assistant" => self.on_assistant(&event),
            "user" => self.on_user(&event),
            "system" => return self.on_system(&event),
            "rate_limit_event" => limit_words(&event),
            "result" => {
                let log = words::ended(&event);
                self.ledger.on_result(&event);
                self.heard_denials(&event);
                self.result = Some(event);
                log
            }
            _ => String::new(),
        };
        Heard { log, give_up: false }
    }

    fn on_stream(&mut self, event: &Value) -> String {
        let talk = event["parent_tool_use_id"].as_str().unwrap_or_default();
        let inner = &event["event"];
        self.ledger.on_event(talk, inner);
        if talk.is_empty() && inner["type"] == "message_start" {
            self.result = None;
            self.answered_by(&inner["message"]["model"]);
        }
        String::new()
    }

    /// The program's own messages carry "<synthetic>" for a model.
    fn answered_by(&mut self, model: &Value) {
        if let Some(model) = model.as_str().filter(|model| !model.is_empty() && !model.starts_with('<')) {
            self.model = model.to_owned();
        }
    }

    fn on_assistant(&mut self, event: &Value) -> String {
        let is_main = event["parent_tool_use_id"].is_null();
        let message = &event["message"];
        self.ledger.on_message(event["parent_tool_use_id"].as_str().unwrap_or_default(), message);
        if is_main {
            self.answered_by(&message["model"]);
        }
        if let Some(error) = event["error"].as_str() {
            self.error = error.to_owned();
        }
        let parts = message["content"].as_array().into_iter().flatten();
        parts.map(|part| self.on_part(part, is_main)).collect()
    }

    fn on_part(&mut self, part: &Value, is_main: bool) -> String {
        match part["type"].as_str() {
            Some("text") => {
                let text = part["text"].as_str().unwrap_or_default();
                if is_main {
                    self.text = text.to_owned();
                }
                telling::said(text)
            }
            Some("tool_use") => {
                let told = words::tool(part["name"].as_str().unwrap_or("?"), &part["input"]);
                self.tools.insert(part["id"].as_str().unwrap_or_default().to_owned(), told.clone());
                format!("> {told}\n")
            }
            _ => String::new(),
        }
    }

    fn on_user(&mut self, event: &Value) -> String {
        let mut log = String::new();
        for part in event["message"]["content"].as_array().into_iter().flatten() {
            if part["type"] != "tool_result" {
                continue;
            }
            let (text, is_error) = (words::text_of(&part["content"]), part["is_error"] == true);
            log.push_str(&telling::given_back(&text, is_error));
            let id = part["tool_use_id"].as_str().unwrap_or_default();
            // A tool that the permissions leave out is not denied but unknown to the program.
            if is_error && text.contains("No such tool available") && text.contains("disabled") {
                self.denied(id, None);
            }
            self.tools.remove(id);
        }
        log
    }

    fn on_system(&mut self, event: &Value) -> Heard {
        let log = match event["subtype"].as_str().unwrap_or_default() {
            "init" => format!(
                "[session] {}, {}, permissions {}\n",
                event["session_id"].as_str().unwrap_or("?"),
                event["model"].as_str().unwrap_or("?"),
                event["permissionMode"].as_str().unwrap_or("?"),
            ),
            "permission_denied" => {
                let id = event["tool_use_id"].as_str().unwrap_or_default();
                let told = self.denied(id, event["tool_name"].as_str());
                format!("[denied] {told}\n")
            }
            "api_retry" => return self.on_retry(event),
            "model_fallback" | "informational" => {
                let text = event["content"].as_str().map_or_else(|| event.to_string(), str::to_owned);
                format!("[note] {}\n", telling::one_line(&text, 300))
            }
            _ => String::new(),
        };
        Heard { log, give_up: false }
    }

    /// The denied use in words.
    fn denied(&mut self, id: &str, name: Option<&str>) -> String {
        let known = self.tools.get(id).cloned();
        let told = known.unwrap_or_else(|| name.unwrap_or("a tool").to_owned());
        if self.denials.len() < MOST_DENIALS && !self.denials.iter().any(|(known, _)| known == id) {
            self.denials.push((id.to_owned(), told.clone()));
        }
        told
    }

    fn heard_denials(&mut self, result: &Value) {
        for denial in result["permission_denials"].as_array().into_iter().flatten() {
            let id = denial["tool_use_id"].as_str().unwrap_or_default();
            let told = words::tool(denial["tool_name"].as_str().unwrap_or("a tool"), &denial["tool_input"]);
            self.tools.insert(id.to_owned(), told);
            self.denied(id, None);
            self.tools.remove(id);
        }
    }

    /// Bad credentials stay bad: but a login that another process has renewed is read anew after the first
    /// refusal. A limit is waited for by the coordinator, who has other work. An
    /// overloaded provider and a broken network come back: that is the program's own to try.
    fn on_retry(&mut self, event: &Value) -> Heard {
        let delay_ms = event["retry_delay_ms"].as_u64().unwrap_or(0);
        let attempt = event["attempt"].as_u64().unwrap_or(0);
        self.gave_up = match event["error_status"].as_u64() {
            Some(status @ (401 | 403)) if attempt >= 2 => Some(GaveUp::Credentials { status }),
            Some(429) if delay_ms > LONGEST_DELAY_MS || attempt > TRIES => {
                Some(GaveUp::UsageLimit { delay_ms })
            }
            _ => self.gave_up,
        };
        Heard { log: words::retry(event), give_up: self.gave_up.is_some() }
    }
}

fn limit_words(event: &Value) -> String {
    let info = &event["rate_limit_info"];
    match info["status"].as_str() {
        Some("rejected") => {
            let kind = info["rateLimitType"].as_str().unwrap_or("usage");
            format!("[limit] the account's {kind} limit is reached\n")
        }
        _ => String::new(),
    }
}

impl Listener for Talk {
    fn hear(&mut self, line: &str) -> Heard {
        if line.trim().is_empty() {
            return Heard::default();
        }
        match serde_json::from_str::<Value>(line) {
            Ok(event) if event.is_object() => self.on_event(event),
            // Warnings of the program's own runtime; not ours to understand.
            Ok(_) | Err(_) => Heard { log: format!("{}\n", telling::one_line(line, 300)), give_up: false },
        }
    }

    fn used(&self) -> Vec<v1::ModelUsage> {
        self.ledger.used()
    }

    fn session(&self) -> Option<String> {
        self.session.clone()
    }

    fn conclude(self: Box<Self>, exit: &Exit) -> Conclusion {
        conclusion::of(&self, exit)
    }
}
