//! The other dialect: OpenAI's Responses, as Codex speaks it. The same scripts, the same record.

use axum::{
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::{
    record::Usage,
    reply::{Reply, unique},
    script::{self, Step, Tool},
};

/// A request in the words of the first dialect, so that one reading serves both.
pub(super) fn translated(request: &Value) -> Value {
    let items = request["input"].as_array().map(Vec::as_slice).unwrap_or_default();
    let message = |item: &Value| match item["type"].as_str() {
        Some("function_call" | "custom_tool_call") => json!({ "role": "assistant", "content": [] }),
        Some("function_call_output" | "custom_tool_call_output") => {
            json!({ "role": "user", "content": [{ "type": "tool_result" }] })
        }
        Some("message") => json!({ "role": item["role"], "content": texts(item) }),
        _ => json!({ "role": "other" }),
    };
    json!({ "messages": items.iter().map(message).collect::<Vec<_>>(), "model": request["model"] })
}

/// What the program puts before a talk is none of it.
fn texts(item: &Value) -> Value {
    let blocks = item["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    let texts = blocks.iter().filter_map(|block| block["text"].as_str());
    let own = texts.filter(|text| !text.trim_start().starts_with('<') && !text.starts_with("# AGENTS.md"));
    json!(own.map(|text| json!({ "type": "text", "text": text })).collect::<Vec<_>>())
}

/// What is done for one call.
pub(super) fn reply(request: &Value, plan: &script::Plan, size: usize) -> (Reply, Vec<Value>) {
    let model = request["model"].as_str().unwrap_or_default();
    let usage = Usage { cache_write: 0, ..Usage::of_call(size, plan.turn) };
    let item = match &plan.step {
        Step::Tool(tool) => call(request, tool),
        Step::Say(_) | Step::Refuse | Step::RunOut | Step::Spend(_) | Step::Wait(_) | Step::Gather(..) => {
            said(&answer())
        }
        Step::Error { status, .. } => return (Reply::error(*status, "as the script says", None), Vec::new()),
    };
    (Reply::answer(model, Vec::new(), "end_turn", usage), vec![item])
}

/// The form that every task's answer has.
fn answer() -> String {
    json!({ "summary": "did as the script says", "artifacts": [], "claims": [], "metrics": [] }).to_string()
}

fn said(text: &str) -> Value {
    let content = json!([{ "type": "output_text", "text": text, "annotations": [] }]);
    let id = format!("msg_{:x}", unique());
    json!({ "type": "message", "id": id, "role": "assistant", "status": "completed", "content": content })
}

/// Whatever the script's tool is called, this program has a shell.
fn call(request: &Value, tool: &Tool) -> Value {
    let offered = request["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has = |name: &str| offered.iter().any(|tool| tool["name"] == name);
    let command = tool.as_command();
    let (name, arguments) = if has("exec_command") {
        ("exec_command", json!({ "cmd": command }))
    } else if has("shell_command") {
        ("shell_command", json!({ "command": command }))
    } else {
        ("shell", json!({ "command": ["bash", "-lc", command] }))
    };
    json!({
        "type": "function_call",
        "id": format!("fc_{:x}", unique()),
        "call_id": format!("call_{:x}", unique()),
        "name": name,
        "arguments": arguments.to_string(),
        "status": "completed",
    })
}

/// The events of an answer.
pub(super) fn stream(items: &[Value], usage: Usage) -> Response {
    let id = format!("resp_{:x}", unique());
    let mut body = String::new();
    let mut event = |kind: &str, mut data: Value| {
        data["type"] = json!(kind);
        body.push_str(&format!("event: {kind}\ndata: {data}\n\n"));
    };
    let head = json!({ "id": id, "object": "response", "status": "in_progress", "output": [] });
    event("response.created", json!({ "response": head }));
    for (index, item) in items.iter().enumerate() {
        event("response.output_item.added", json!({ "output_index": index, "item": item }));
        event("response.output_item.done", json!({ "output_index": index, "item": item }));
    }
    let input = usage.input + usage.cache_read;
    let told = json!({
        "input_tokens": input,
        "input_tokens_details": { "cached_tokens": usage.cache_read },
        "output_tokens": usage.output,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": input + usage.output,
    });
    let done =
        json!({ "id": id, "object": "response", "status": "completed", "output": items, "usage": told });
    event("response.completed", json!({ "response": done }));
    ([(CONTENT_TYPE, "text/event-stream")], body).into_response()
}
