//! What was called and answered. Pure.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::HeaderMap;
use serde_json::Value;

use super::script::{Plan, Role};

/// One call of the API.
#[derive(Debug, Clone)]
pub struct Call {
    /// Since the start, in milliseconds.
    pub began_ms: u64,
    /// When its answer was made, or its program went away; None while it waits.
    pub ended_ms: Option<u64>,
    /// The key that it came with.
    pub account: String,
    pub session: String,
    /// The model that was asked for, and the one that the answer names; empty without an answer.
    pub asked: String,
    pub answered: String,
    /// The HTTP status; 0 without an answer: it waits, or its program went away before there was one.
    pub status: u16,
    pub usage: Usage,
    pub role: Role,
    /// The text that the agent was given last.
    pub prompt: String,
}

impl Call {
    /// A call that has come and is not answered.
    pub(super) fn begun(began_ms: u64, headers: &HeaderMap, request: &Value, plan: &Plan) -> Self {
        let header = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let either = |first: String, second: String| if first.is_empty() { second } else { first };
        let bearer = header("authorization").trim_start_matches("Bearer ").to_owned();
        Self {
            began_ms,
            ended_ms: None,
            account: either(header("x-api-key"), bearer),
            session: either(header("x-claude-code-session-id"), header("session_id")),
            asked: request["model"].as_str().unwrap_or_default().to_owned(),
            answered: String::new(),
            status: 0,
            usage: Usage::default(),
            role: plan.role,
            prompt: plan.prompt.clone(),
        }
    }

    /// Whether a model answered it.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.status == 200
    }
}

/// Tokens of one call, or of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub calls: u64,
}

impl Usage {
    /// Another sum for each call, with every kind of token in it.
    pub(super) fn of_call(size: usize, turn: usize) -> Self {
        let (size, turn) = (size as u64, turn as u64);
        Self {
            input: 100 + size % 97,
            output: 20 + 3 * turn + size % 13,
            cache_read: 1_000 * turn,
            cache_write: 50 + size % 31,
            calls: 1,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            input: self.input + other.input,
            output: self.output + other.output,
            cache_read: self.cache_read + other.cache_read,
            cache_write: self.cache_write + other.cache_write,
            calls: self.calls + other.calls,
        }
    }
}

pub(super) fn totals(calls: &[Call]) -> BTreeMap<String, Usage> {
    let mut totals: BTreeMap<String, Usage> = BTreeMap::new();
    for call in calls {
        let total = totals.entry(call.answered.clone()).or_default();
        *total = total.plus(Usage { calls: 1, ..call.usage });
    }
    totals
}

/// A session is at work from its first call to the end of its last; one whose call waits, is still.
pub(super) fn most_at_once(calls: &[Call]) -> usize {
    let mut spans: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for call in calls {
        let ended_ms = call.ended_ms.unwrap_or(u64::MAX);
        let span = spans.entry(&call.session).or_insert((call.began_ms, ended_ms));
        *span = (span.0.min(call.began_ms), span.1.max(ended_ms));
    }
    let starts: BTreeSet<u64> = spans.values().map(|span| span.0).collect();
    let open_at = |at: u64| spans.values().filter(|span| span.0 <= at && at < span.1).count();
    starts.into_iter().map(open_at).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(session: &str, began_ms: u64, ended_ms: u64) -> Call {
        Call {
            began_ms,
            ended_ms: Some(ended_ms),
            account: String::new(),
            session: session.to_owned(),
            asked: String::new(),
            answered: "m".to_owned(),
            status: 200,
            usage: Usage::of_call(1_000, 1),
            role: Role::Task,
            prompt: String::new(),
        }
    }

    #[test]
    fn sessions_overlap_from_their_first_call_to_their_last() {
        let calls = [call("a", 0, 1), call("b", 2, 3), call("a", 5, 6), call("c", 6, 7)];
        assert_eq!(most_at_once(&calls), 2);
    }

    #[test]
    fn a_session_whose_call_waits_is_at_work() {
        let calls = [Call { ended_ms: None, ..call("a", 0, 0) }, call("b", 5, 6)];
        assert_eq!(most_at_once(&calls), 2);
    }

    #[test]
    fn totals_count_calls_and_every_kind_of_token() {
        let total = totals(&[call("a", 0, 1), call("b", 2, 3)])["m"];
        assert_eq!((total.calls, total.cache_read), (2, 2_000));
        assert!(total.input > 200 && total.output > 40 && total.cache_write > 100);
    }
}
