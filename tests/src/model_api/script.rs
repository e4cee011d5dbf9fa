//! What an agent does, as its own prompt says it: `[[model: STEP ;; STEP ...]]`, one step a turn, and then
//! the answer in the form that was asked for. Pure.
//!
//! Steps: `write PATH|CONTENT`, `bash COMMAND`, `tool NAME {JSON}`, `say TEXT`, `json {JSON}`, `wait SECONDS`,
//! `gather N` (until N sessions have come so far),
//! `http STATUS`, `http STATUS xN`, `loop`, `spend`, `refuse`, `run-out`, `answer-as MODEL`.
//! `[[rework: ...]]` takes the place of `[[model: ...]]` in every talk after the first; `[[thor: reject KEY]]`
//! makes Thor reject that task in round 1; `[[counsel: answer-as MODEL]]` is for the coordinator.

use std::time::Duration;

use serde_json::{Value, json};

use super::Scripts;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Task,
    Thor,
    Coordinator,
}

/// What this call is to be answered with.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) role: Role,
    pub(super) prompt: String,
    /// How many answers of this talk came before.
    pub(super) turn: usize,
    pub(super) step: Step,
    pub(super) answer_as: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Tool(Tool),
    Say(String),
    Refuse,
    /// Of tokens.
    RunOut,
    /// A tool that cost far too much.
    Spend(Tool),
    Wait(Duration),
    /// Until so many sessions have come so far.
    Gather(usize, Tool),
    Error {
        status: u16,
        most: u32,
        name: String,
    },
}

/// The use of a tool.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    name: String,
    input: Value,
}

impl Tool {
    fn new(name: &str, input: Value) -> Self {
        Self { name: name.to_owned(), input }
    }

    fn bash(command: &str) -> Self {
        Self::new("Bash", json!({ "command": command, "description": "as the script says" }))
    }

    /// The same, for a program whose only tool is a shell.
    pub(super) fn as_command(&self) -> String {
        let field = |name: &str| self.input[name].as_str().unwrap_or_default().to_owned();
        match self.name.as_str() {
            "Write" => format!("printf %s '{}' > {}", field("content"), field("file_path")),
            _ => field("command"),
        }
    }

    pub(super) fn block(&self) -> Value {
        let id = format!("toolu_{:016x}", super::reply::unique());
        json!({ "type": "tool_use", "id": id, "name": self.name, "input": self.input })
    }
}

/// Reads a request.
pub(super) fn plan(request: &Value, scripts: &Scripts) -> Plan {
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let talks: Vec<(usize, String)> = messages
        .iter()
        .enumerate()
        .filter(|(_, message)| message["role"] == "user" && !holds_result(message))
        .map(|(at, message)| (at, texts(message)))
        .filter(|(_, text)| !is_only_reminder(text))
        .collect();
    let (last_at, prompt) = talks.last().cloned().unwrap_or_default();
    let turn = messages[last_at..].iter().filter(|message| message["role"] == "assistant").count();
    let whole: String = talks.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
    let role = role_of(request);
    let is_again = talks.len() > 1 || prompt.contains("## What came before");
    let (steps, answer_as) = steps(&whole, role, is_again, scripts);
    let step = match steps.get(turn) {
        Some(step) => step.clone(),
        None => last_step(request, role, &whole, turn - steps.len()),
    };
    Plan { role, prompt, turn, step, answer_as }
}

fn steps(text: &str, role: Role, is_again: bool, scripts: &Scripts) -> (Vec<Step>, Option<String>) {
    let script = match role {
        Role::Task => {
            marker(text, "rework").filter(|_| is_again).or_else(|| marker(text, "model")).or_else(|| {
                let about = |(key, _): &(&String, &String)| text.contains(&format!("# Task {key}"));
                scripts.iter().find(about).map(|(_, script)| script.clone())
            })
        }
        Role::Coordinator => marker(text, "counsel"),
        Role::Thor => None,
    };
    let mut steps = Vec::new();
    let mut answer_as = None;
    for part in script.unwrap_or_default().split(";;").map(str::trim).filter(|part| !part.is_empty()) {
        match part.strip_prefix("answer-as ") {
            Some(model) => answer_as = Some(model.trim().to_owned()),
            None => steps.extend(step(part)),
        }
    }
    (steps, answer_as)
}

fn step(text: &str) -> Vec<Step> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    vec![match verb {
        "write" => {
            let (path, content) = rest.split_once('|').unwrap_or((rest, ""));
            Step::Tool(Tool::new("Write", json!({ "file_path": path, "content": content })))
        }
        "bash" => Step::Tool(Tool::bash(rest)),
        "tool" => {
            let (name, input) = rest.split_once(' ').unwrap_or((rest, "{}"));
            Step::Tool(Tool::new(name, serde_json::from_str(input).unwrap_or_default()))
        }
        "json" => Step::Tool(Tool::new(ANSWER, serde_json::from_str(rest).unwrap_or_default())),
        "wait" => Step::Wait(Duration::from_secs_f64(rest.parse().unwrap_or(1.0))),
        "gather" => Step::Gather(rest.parse().unwrap_or(1), Tool::bash("true")),
        "refuse" => Step::Refuse,
        "run-out" => Step::RunOut,
        "loop" => return vec![Step::Tool(Tool::bash("true")); 50],
        "spend" => return vec![Step::Spend(Tool::bash("true")); 50],
        "http" => {
            let (status, most) = rest.split_once(" x").unwrap_or((rest, ""));
            Step::Error {
                status: status.trim().parse().unwrap_or(500),
                most: most.trim().parse().unwrap_or(u32::MAX),
                name: text.to_owned(),
            }
        }
        _ => Step::Say(text.strip_prefix("say ").unwrap_or(text).to_owned()),
    }]
}

/// The tool by which a program asks for an answer in a form.
const ANSWER: &str = "StructuredOutput";

/// After the script: the answer in its form, and then a last word.
fn last_step(request: &Value, role: Role, text: &str, beyond: usize) -> Step {
    if beyond > 0 || answer_form(request).is_none() {
        return Step::Say("done".to_owned());
    }
    let answer = match role {
        Role::Task => {
            json!({ "summary": "did as the script says", "artifacts": [], "claims": [], "metrics": [] })
        }
        Role::Coordinator => json!({ "note": "mind the script", "tasks": [] }),
        Role::Thor => verdict(request, text),
    };
    Step::Tool(Tool::new(ANSWER, answer))
}

fn verdict(request: &Value, text: &str) -> Value {
    let form = answer_form(request).cloned().unwrap_or_default();
    let names = form["properties"]["gates"]["items"]["properties"]["name"]["enum"].clone();
    let names = names.as_array().cloned().unwrap_or_default();
    let gate = |passed| -> Value {
        names.iter().map(|name| json!({ "name": name, "passed": passed, "notes": "by the script" })).collect()
    };
    let rejected = marker(text, "thor").and_then(|script| script.strip_prefix("reject ").map(str::to_owned));
    match rejected.filter(|_| !text.contains("This is round ")) {
        Some(task) => json!({
            "decision": "rejected",
            "gates": gate(false),
            "findings": [{ "task": task.trim(), "text": "not as it should be", "evidence": "the script" }],
        }),
        None => json!({ "decision": "approved", "gates": gate(true), "findings": [] }),
    }
}

fn role_of(request: &Value) -> Role {
    let Some(form) = answer_form(request) else { return Role::Task };
    let has = |name: &str| form["properties"].get(name).is_some();
    match (has("decision"), has("note")) {
        (true, _) => Role::Thor,
        (false, true) => Role::Coordinator,
        (false, false) => Role::Task,
    }
}

fn answer_form(request: &Value) -> Option<&Value> {
    let tools = request["tools"].as_array()?;
    Some(&tools.iter().find(|tool| tool["name"] == ANSWER)?["input_schema"])
}

/// The last one of this kind.
fn marker(text: &str, kind: &str) -> Option<String> {
    let from = text.rfind(&format!("[[{kind}:"))? + kind.len() + 3;
    let end = text[from..].find("]]")?;
    Some(text[from..from + end].trim().to_owned())
}

fn holds_result(message: &Value) -> bool {
    let blocks = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    blocks.iter().any(|block| block["type"] == "tool_result")
}

/// Programs put words of their own between: no talk begins with them.
fn is_only_reminder(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || (text.starts_with("<system-reminder>") && text.ends_with("</system-reminder>"))
}

fn texts(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts = blocks.iter().filter_map(|block| block["text"].as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(messages: Value) -> Value {
        json!({ "messages": messages, "tools": [{ "name": ANSWER, "input_schema": { "properties": { "summary": {} } } }] })
    }

    fn user(text: &str) -> Value {
        json!({ "role": "user", "content": [{ "type": "text", "text": text }] })
    }

    fn turn() -> [Value; 2] {
        let result = json!([{ "type": "tool_result", "tool_use_id": "t", "content": "" }]);
        [json!({ "role": "assistant", "content": [] }), json!({ "role": "user", "content": result })]
    }

    #[test]
    fn steps_are_done_one_a_turn_and_then_the_answer_is_given() {
        let mut messages = vec![user("do [[model: bash true ;; write a|b]]")];
        let mut seen = Vec::new();
        for _ in 0..4 {
            let plan = plan(&request(json!(messages)), &Scripts::new());
            seen.push(match plan.step {
                Step::Tool(tool) => tool.name,
                Step::Say(text) => text,
                Step::Refuse
                | Step::RunOut
                | Step::Spend(_)
                | Step::Wait(_)
                | Step::Gather(..)
                | Step::Error { .. } => panic!(),
            });
            messages.extend(turn());
        }
        assert_eq!(seen, ["Bash", "Write", ANSWER, "done"]);
    }

    #[test]
    fn a_later_talk_of_the_session_does_the_rework() {
        let mut messages = vec![user("do [[model: bash first]] [[rework: bash second]]")];
        messages.extend(turn());
        messages.push(user("mend it"));
        let plan = plan(&request(json!(messages)), &Scripts::new());
        let Step::Tool(tool) = plan.step else { panic!("{plan:?}") };
        assert_eq!((plan.turn, tool.input["command"].as_str()), (0, Some("second")));
    }

    #[test]
    fn thor_rejects_in_the_first_round_alone() {
        let decision = |text: &str| verdict(&Value::Null, text)["decision"].as_str().map(str::to_owned);
        assert_eq!(decision("[[thor: reject T1]]").as_deref(), Some("rejected"));
        assert_eq!(decision("This is round 2 of [[thor: reject T1]]").as_deref(), Some("approved"));
        assert_eq!(decision("").as_deref(), Some("approved"));
    }
}
