//! An answer on the wire: an error, one JSON message, or a stream of events.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::record::Usage;

/// What a call is answered with.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Error { status: u16, message: String, limit: Option<(u64, u64)> },
    Answer { model: String, blocks: Vec<Value>, stop: &'static str, usage: Usage },
}

/// Another number each time.
pub(super) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A block of text.
pub(super) fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

impl Reply {
    pub(super) fn error(status: u16, message: &str, limit: Option<(u64, u64)>) -> Self {
        Self::Error { status, message: message.to_owned(), limit }
    }

    /// 429: in so long, at that time.
    pub(super) fn limit(left: Duration, until: SystemTime) -> Self {
        let reset = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() + 1;
        let after = left.as_secs() + 1;
        Self::error(429, "This request would exceed your account's rate limit.", Some((after, reset)))
    }

    pub(super) fn answer(model: &str, blocks: Vec<Value>, stop: &'static str, usage: Usage) -> Self {
        Self::Answer { model: model.to_owned(), blocks, stop, usage }
    }

    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Error { status, .. } => *status,
            Self::Answer { .. } => 200,
        }
    }

    pub(super) fn model(&self) -> &str {
        match self {
            Self::Error { .. } => "",
            Self::Answer { model, .. } => model,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        match self {
            Self::Error { .. } => Usage::default(),
            Self::Answer { usage, .. } => *usage,
        }
    }

    pub(super) fn into_response(self, stream: bool) -> Response {
        match self {
            Self::Error { status, message, limit } => error_response(status, &message, limit),
            Self::Answer { model, blocks, stop, usage } => {
                let head = message(&model, usage);
                if stream {
                    let body = events(&head, &blocks, stop, usage);
                    return ([(CONTENT_TYPE, "text/event-stream")], body).into_response();
                }
                let mut whole = head;
                whole["content"] = json!(blocks);
                whole["stop_reason"] = json!(stop);
                axum::response::Json(whole).into_response()
            }
        }
    }
}

fn error_response(status: u16, message: &str, limit: Option<(u64, u64)>) -> Response {
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    let body = json!({ "type": "error", "error": { "type": kind, "message": message } });
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (code, axum::response::Json(body)).into_response();
    if let Some((after, reset)) = limit {
        let headers = response.headers_mut();
        headers.insert("retry-after", after.into());
        headers.insert("anthropic-ratelimit-unified-reset", reset.into());
        headers
            .insert("anthropic-ratelimit-unified-status", axum::http::HeaderValue::from_static("rejected"));
    }
    response
}

fn message(model: &str, usage: Usage) -> Value {
    json!({
        "id": format!("msg_{:016x}", unique()),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": tokens(usage),
    })
}

fn tokens(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    })
}

fn events(head: &Value, blocks: &[Value], stop: &str, usage: Usage) -> String {
    let mut body = String::new();
    let mut event = |kind: &str, mut data: Value| {
        data["type"] = json!(kind);
        body.push_str(&format!("event: {kind}\ndata: {data}\n\n"));
    };
    let mut start = head.clone();
    start["usage"]["output_tokens"] = json!(1);
    event("message_start", json!({ "message": start }));
    for (index, block) in blocks.iter().enumerate() {
        let (empty, delta) = match block["type"].as_str() {
            Some("text") => (text(""), json!({ "type": "text_delta", "text": block["text"] })),
            _ => {
                let mut empty = block.clone();
                empty["input"] = json!({});
                (empty, json!({ "type": "input_json_delta", "partial_json": block["input"].to_string() }))
            }
        };
        event("content_block_start", json!({ "index": index, "content_block": empty }));
        event("content_block_delta", json!({ "index": index, "delta": delta }));
        event("content_block_stop", json!({ "index": index }));
    }
    let delta = json!({ "stop_reason": stop, "stop_sequence": null });
    event("message_delta", json!({ "delta": delta, "usage": tokens(usage) }));
    event("message_stop", json!({}));
    body
}
