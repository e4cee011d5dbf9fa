//! How the real program ends when the provider does not simply answer: the facts that the worker's
//! judgement of an end rests on. What is measured here changes with the program's version.

use std::time::Duration;

use serde_json::Value;
use wavegate_tests::ACCOUNT;

use crate::direct::{Direct, Said};

/// So that a test of bad credentials does not take minutes.
const ONE_RETRY: &[(&str, &str)] = &[("CLAUDE_CODE_MAX_RETRIES", "1")];

/// An error of the provider's that the program passes on: "success", and yet an error.
#[track_caller]
fn assert_passed_on(said: &Said, status: u16, words: &str) {
    let result = said.result();
    assert_eq!(
        (said.code, &result["subtype"], &result["is_error"]),
        (Some(1), &"success".into(), &true.into())
    );
    assert_eq!(
        (&result["api_error_status"], &result["terminal_reason"]),
        (&status.into(), &"api_error".into())
    );
    assert!(result["result"].as_str().unwrap().contains(words), "{result}");
    assert_eq!((said.models(), &result["modelUsage"]), (vec!["<synthetic>"], &serde_json::json!({})));
}

#[track_caller]
fn tokens(said: &Said, of: &str) -> Value {
    said.result()["modelUsage"]["claude-opus-5-5"][of].clone()
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn a_limit_with_a_far_reset_ends_it_at_once_without_a_retry() {
    let direct = Direct::new();
    direct.api.limit_account(ACCOUNT, Duration::from_secs(3600));
    let said = direct.ask("go", &[]);
    assert_passed_on(&said, 429, "Request rejected (429)");
    assert_eq!((said.system("api_retry").len(), direct.api.calls().len()), (0, 1));
    // With a key the program keeps the reset for itself.
    assert!(!said.events.iter().any(|event| event["type"] == "rate_limit_event"), "{said:?}");
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn a_limit_of_a_login_tells_its_reset() {
    const LOGIN: &str = "sk-ant-oat01-dummy";
    let direct = Direct::new();
    direct.api.limit_account(LOGIN, Duration::from_secs(3600));
    let said = direct.ask_with("go", &[], &[("ANTHROPIC_API_KEY", ""), ("CLAUDE_CODE_OAUTH_TOKEN", LOGIN)]);
    assert_passed_on(&said, 429, "limit");
    let event = said.events.iter().find(|event| event["type"] == "rate_limit_event").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let reset = event["rate_limit_info"]["resetsAt"].as_u64().unwrap();
    assert!((now + 3500..=now + 3601).contains(&reset), "{event}");
    assert_eq!((&event["rate_limit_info"]["status"], direct.api.calls().len()), (&"rejected".into(), 1));
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn a_limit_with_a_near_reset_is_waited_out_by_the_program() {
    let direct = Direct::new();
    direct.api.limit_account(ACCOUNT, Duration::from_secs(20));
    let said = direct.ask("go [[model: say hi]]", &[]);
    assert_eq!((said.code, &said.result()["result"]), (Some(0), &"hi".into()));
    let calls = direct.api.calls();
    assert_eq!(calls.iter().map(|call| call.status).collect::<Vec<_>>(), [429, 200]);
    let retries = said.system("api_retry");
    assert_eq!((retries.len(), &retries[0]["error_status"]), (1, &429.into()));
    // What was left when it called, and a little more. The record began before the limit.
    let left_ms = 20_000 - calls[0].began_ms;
    assert!(retries[0]["retry_delay_ms"].as_u64().unwrap() >= left_ms, "{left_ms}: {retries:?}");
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn credentials_that_are_not_accepted_are_tried_again_all_the_same() {
    let direct = Direct::new();
    direct.api.refuse_account(ACCOUNT);
    let said = direct.ask_with("go", &[], ONE_RETRY);
    assert_passed_on(&said, 401, "Invalid API key");
    let retries = said.system("api_retry");
    assert_eq!((retries.len(), &retries[0]["error"]), (1, &"authentication_failed".into()));
    assert_eq!(direct.api.calls().iter().map(|call| call.status).collect::<Vec<_>>(), [401, 401]);
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn an_overload_is_retried_until_it_is_over() {
    let direct = Direct::new();
    let said = direct.ask("go [[model: http 529 x2]]", &[]);
    assert_eq!((said.code, &said.result()["result"]), (Some(0), &"after errors".into()));
    assert_eq!(direct.api.calls().iter().map(|call| call.status).collect::<Vec<_>>(), [529, 529, 200]);
    assert_eq!(said.system("api_retry").len(), 2);
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn a_refusal_is_asked_again_once_and_both_answers_cost() {
    let direct = Direct::new();
    let said = direct.ask("go [[model: refuse]]", &["--model", "opus"]);
    let result = said.result();
    assert_eq!(
        (said.code, &result["subtype"], &result["is_error"]),
        (Some(1), &"success".into(), &true.into())
    );
    assert_eq!((&result["stop_reason"], &result["api_error_status"]), (&"refusal".into(), &Value::Null));
    let counted = direct.api.totals()["claude-opus-5-5"];
    assert_eq!((counted.calls, tokens(&said, "outputTokens")), (2, counted.output.into()));
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn an_answer_that_is_cut_short_is_gone_on_with_three_times() {
    let direct = Direct::new();
    let said = direct.ask("go [[model: run-out]]", &["--model", "opus"]);
    let result = said.result();
    assert_eq!(
        (said.code, &result["subtype"], &result["is_error"]),
        (Some(1), &"success".into(), &true.into())
    );
    assert!(result["result"].as_str().unwrap().contains("output token maximum"), "{result}");
    let counted = direct.api.totals()["claude-opus-5-5"];
    assert_eq!((counted.calls, tokens(&said, "outputTokens")), (4, counted.output.into()));
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn a_budget_ends_it_after_the_call_that_passed_it() {
    let direct = Direct::new();
    let said = direct.ask("go [[model: spend]]", &["--model", "opus", "--max-budget-usd", "1.50"]);
    let result = said.result();
    assert_eq!((said.code, &result["subtype"]), (Some(1), &"error_max_budget_usd".into()));
    assert_eq!(
        (&result["is_error"], &result["errors"][0]),
        (&true.into(), &"Reached maximum budget ($1.5)".into())
    );
    // 200,000 tokens in and 30,000 out are 1.40 dollars.
    assert_eq!((direct.api.answered().len(), &result["total_cost_usd"]), (2, &2.8.into()));
    let counted = direct.api.totals()["claude-opus-5-5"];
    assert_eq!(tokens(&said, "outputTokens"), counted.output);
    assert_eq!(result["usage"]["output_tokens"], counted.output / 2, "the last call is not in it");
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn a_limit_of_turns_ends_it_after_so_many_answers() {
    let direct = Direct::new();
    let said = direct.ask("go [[model: loop]]", &["--model", "opus", "--max-turns", "3"]);
    assert_eq!((said.code, &said.result()["subtype"]), (Some(1), &"error_max_turns".into()));
    let counted = direct.api.totals()["claude-opus-5-5"];
    assert_eq!((counted.calls, tokens(&said, "outputTokens")), (3, counted.output.into()));
}
