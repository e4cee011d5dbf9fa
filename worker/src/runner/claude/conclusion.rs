//! What an end means. The program's exit code 0 is no success: that is a result object which says so, and
//! a structured answer where one was asked for.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use wavegate_proto::v1::{Finding, Outcome};

use super::{
    limits,
    listener::{GaveUp, Talk},
};
use crate::runner::{Conclusion, Exit, telling};

const SUMMARY_CHARS: usize = 300;
/// What the program says of a session that it does not have.
const UNKNOWN_SESSION: &str = "No conversation found with session ID";

/// An outcome and why, in one line.
struct Judged {
    outcome: Outcome,
    summary: String,
}

/// What came of the talk.
pub(super) fn of(talk: &Talk, exit: &Exit) -> Conclusion {
    let result = talk.result.as_ref();
    let Judged { outcome, summary } = judge(talk, exit);
    let is_unknown_session = exit.stderr.contains(UNKNOWN_SESSION)
        || result.is_some_and(|result| errors_of(result).contains(UNKNOWN_SESSION));
    let output = result.and_then(structured).filter(|_| talk.wants_schema);
    Conclusion {
        outcome,
        summary: telling::one_line(&summary, SUMMARY_CHARS),
        output_json: output.map(Value::to_string).unwrap_or_default(),
        text: result.and_then(|result| result["result"].as_str()).unwrap_or(&talk.text).to_owned(),
        model: talk.model.clone(),
        models: talk.ledger.used(),
        counters: talk.ledger.counters().to_vec(),
        session: talk.session.clone().filter(|_| !is_unknown_session && can_go_on(outcome, result)),
        is_unknown_session,
        denials: denials(talk),
        retry_after_ms: retry_after(talk).filter(|_| outcome == Outcome::UsageLimit),
    }
}

fn judge(talk: &Talk, exit: &Exit) -> Judged {
    match (&talk.result, talk.gave_up) {
        // What was said before the time was up, or a signal came, was said.
        (Some(result), _) => judge_result(talk, result),
        (None, Some(why)) => given_up(why),
        (None, None) => judge_silence(exit),
    }
}

fn given_up(why: GaveUp) -> Judged {
    match why {
        GaveUp::Credentials { status } => Judged {
            outcome: Outcome::BadCredentials,
            summary: format!("the provider does not accept the credentials (HTTP {status})"),
        },
        GaveUp::UsageLimit { .. } => Judged {
            outcome: Outcome::UsageLimit,
            summary: "the account's usage limit is reached (HTTP 429)".to_owned(),
        },
    }
}

fn judge_silence(exit: &Exit) -> Judged {
    let said = telling::one_line(&exit.stderr, SUMMARY_CHARS);
    let with_words = |text: &str| if said.is_empty() { text.to_owned() } else { format!("{text}: {said}") };
    let (outcome, summary) = match (exit.timed_out, exit.signal, exit.code) {
        (true, ..) => (Outcome::TimedOut, "its time was up".to_owned()),
        (_, Some(signal), _) => (Outcome::Killed, format!("ended by signal {signal}")),
        // The program catches signals and exits as a shell would.
        (_, None, Some(code @ 129..=159)) => (Outcome::Killed, format!("ended by signal {}", code - 128)),
        (_, None, Some(0)) => (Outcome::Nonsense, with_words("it ended without a result")),
        (_, None, Some(_)) if !said.is_empty() => (Outcome::Failed, said),
        (_, None, Some(code)) => (Outcome::Nonsense, format!("exit code {code} without a result or a word")),
        (_, None, None) => (Outcome::Killed, "it ended without a status".to_owned()),
    };
    Judged { outcome, summary }
}

fn judge_result(talk: &Talk, result: &Value) -> Judged {
    let subtype = result["subtype"].as_str().unwrap_or_default();
    let is_error = result["is_error"].as_bool();
    let text = result["result"].as_str().map_or_else(|| errors_of(result), str::to_owned);
    let outcome = match (subtype, is_error) {
        _ if result["stop_reason"] == "refusal" => Outcome::Refused,
        ("success", Some(false)) => return succeeded(talk, result),
        ("success", Some(true)) => provider_error(talk, result),
        ("error_max_turns", _) => Outcome::TurnLimit,
        ("error_max_budget_usd", _) => Outcome::BudgetLimit,
        ("error_max_structured_output_retries", _) => Outcome::Nonsense,
        ("error_during_execution", _) if is_aborted(result) => Outcome::Killed,
        ("error_during_execution", _) => Outcome::Failed,
        _ => {
            let summary = format!("its result is {subtype:?} with is_error {is_error:?}: {text}");
            return Judged { outcome: Outcome::Nonsense, summary };
        }
    };
    let summary = if outcome == Outcome::Killed {
        "interrupted by a signal".to_owned()
    } else if text.is_empty() {
        format!("{subtype} without a word")
    } else {
        text
    };
    Judged { outcome, summary }
}

fn succeeded(talk: &Talk, result: &Value) -> Judged {
    let output = structured(result);
    let text = result["result"].as_str().unwrap_or_default();
    if !talk.wants_schema {
        return Judged { outcome: Outcome::Succeeded, summary: first_line(text) };
    }
    match output {
        Some(output) => {
            let summary = output["summary"].as_str().unwrap_or(text);
            Judged { outcome: Outcome::Succeeded, summary: first_line(summary) }
        }
        None if !talk.denials.is_empty() => Judged {
            outcome: Outcome::Denied,
            summary: format!("it was denied what it needed: {}", first_line(text)),
        },
        None => Judged {
            outcome: Outcome::Nonsense,
            summary: format!("no answer by the schema, but: {}", first_line(text)),
        },
    }
}

/// An answer of the provider's, or none, that the program gave up on.
fn provider_error(talk: &Talk, result: &Value) -> Outcome {
    match (result["api_error_status"].as_u64(), talk.error.as_str()) {
        (Some(401 | 403), _) | (None, "authentication_failed" | "verification_required") => {
            Outcome::BadCredentials
        }
        // A balance that is used up is refilled by a person, as a limit is by time.
        (Some(402 | 429), _) | (None, "rate_limit" | "billing_error") => Outcome::UsageLimit,
        (Some(500 | 502 | 503 | 504 | 529), _) | (None, "overloaded") => Outcome::Overloaded,
        // An error of a server that gave no status: nobody answered.
        (None, "server_error" | "unknown") => Outcome::Unreachable,
        // 400, 404, an answer cut short by its length, and what this version does not know.
        (Some(_) | None, _) => Outcome::Failed,
    }
}

fn is_aborted(result: &Value) -> bool {
    result["terminal_reason"].as_str().is_some_and(|reason| reason.starts_with("aborted"))
}

/// A talk that the provider will not hear again is no use.
fn can_go_on(outcome: Outcome, result: Option<&Value>) -> bool {
    let is_refused = result.is_some_and(|result| result["api_error_status"] == 400);
    outcome != Outcome::Refused && !is_refused
}

fn structured(result: &Value) -> Option<&Value> {
    result.get("structured_output").filter(|output| !output.is_null())
}

fn errors_of(result: &Value) -> String {
    let errors: Vec<_> =
        result["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    errors.join("; ")
}

fn denials(talk: &Talk) -> Vec<Finding> {
    let text = |told: &str| format!("the agent was denied {told}");
    talk.denials.iter().map(|(_, told)| Finding { task: String::new(), text: text(told) }).collect()
}

fn retry_after(talk: &Talk) -> Option<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let named = talk.reset.and_then(|reset| limits::until(reset, now));
    let delay = match talk.gave_up {
        // The short waits between tries say nothing about the limit itself.
        Some(GaveUp::UsageLimit { delay_ms }) if delay_ms > 60_000 => Some(delay_ms),
        Some(GaveUp::UsageLimit { .. } | GaveUp::Credentials { .. }) | None => None,
    };
    let said = talk.result.as_ref().and_then(|result| result["result"].as_str());
    named.or(delay).or_else(|| limits::told(said.unwrap_or(&talk.text), now))
}

fn first_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no words").to_owned()
}
