//! The stand-in over a plain socket, as a program sees it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use super::*;
use crate::wait_until;

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The data of its events.
    fn events(&self) -> Vec<Value> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

/// Sends a request and leaves the answer to come.
fn send(api: &ModelApi, line: &str, account: &str, body: &Value) -> TcpStream {
    let body = body.to_string();
    let mut stream = TcpStream::connect(api.address).unwrap();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: here\r\nconnection: close\r\nx-api-key: {account}\r\n\
         x-claude-code-session-id: session-of-{account}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn call(api: &ModelApi, line: &str, account: &str, body: &Value) -> Answer {
    let mut text = String::new();
    send(api, line, account, body).read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

fn prompt(text: &str) -> Value {
    serde_json::json!({ "model": "claude-sonnet-5-5", "messages": [{ "role": "user", "content": text }] })
}

fn ask(api: &ModelApi, account: &str, text: &str) -> Answer {
    call(api, "POST /v1/messages", account, &prompt(text))
}

#[test]
fn a_stream_tells_what_the_whole_message_tells_and_the_record_holds_it() {
    let api = ModelApi::start().unwrap();
    let whole = ask(&api, "a", "[[model: say hi]]").json();
    assert_eq!((&whole["content"][0]["text"], &whole["stop_reason"]), (&"hi".into(), &"end_turn".into()));

    let mut body = prompt("[[model: say hi]]");
    body["stream"] = true.into();
    let events = call(&api, "POST /v1/messages", "a", &body).events();
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let block = ["content_block_start", "content_block_delta", "content_block_stop"];
    assert_eq!(kinds, [&["message_start"], &block[..], &["message_delta", "message_stop"]].concat());
    assert_eq!(events[2]["delta"]["text"], "hi");

    let told = |usage: &Value| (usage["input_tokens"].as_u64(), usage["output_tokens"].as_u64());
    let calls = api.answered();
    let held = |at: usize| (Some(calls[at].usage.input), Some(calls[at].usage.output));
    assert_eq!((told(&whole["usage"]), told(&events[4]["usage"])), (held(0), held(1)));
    assert_eq!(calls[0].answered, "claude-sonnet-5-5");
}

#[test]
fn a_limit_is_of_one_account_and_tells_its_reset() {
    let api = ModelApi::start().unwrap();
    api.limit_account("a", Duration::from_secs(3600));
    let limited = ask(&api, "a", "hi");
    assert_eq!((limited.status, limited.json()["error"]["type"].as_str()), (429, Some("rate_limit_error")));
    let number = |name| limited.header(name).unwrap().parse::<u64>().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!((3590..=3601).contains(&number("retry-after")));
    assert!((now + 3590..=now + 3601).contains(&number("anthropic-ratelimit-unified-reset")));
    assert_eq!(ask(&api, "b", "hi").status, 200);
    api.mend_account("a");
    assert_eq!(ask(&api, "a", "hi").status, 200);
    assert_eq!((api.calls().len(), api.answered().len(), api.sessions().len()), (3, 2, 2));
}

#[test]
fn a_refused_account_is_told_so_until_it_is_mended() {
    let api = ModelApi::start().unwrap();
    api.refuse_account("a");
    let refused = ask(&api, "a", "hi");
    assert_eq!(
        (refused.status, refused.json()["error"]["type"].as_str()),
        (401, Some("authentication_error"))
    );
    assert!(api.totals().is_empty());
    api.mend_account("a");
    assert_eq!(ask(&api, "a", "hi").status, 200);
}

#[test]
fn scripted_errors_are_given_so_often_and_then_there_is_an_answer() {
    let api = ModelApi::start().unwrap();
    let got: Vec<_> = (0..3).map(|_| ask(&api, "a", "[[model: http 529 x2]]").status).collect();
    assert_eq!(got, [529, 529, 200]);
}

#[test]
fn another_model_answers_where_the_script_says_so() {
    let api = ModelApi::start().unwrap();
    let answer = ask(&api, "a", "[[model: answer-as claude-haiku-5-5 ;; say hi]]").json();
    assert_eq!(answer["model"], "claude-haiku-5-5");
    let call = &api.answered()[0];
    assert_eq!((call.asked.as_str(), call.answered.as_str()), ("claude-sonnet-5-5", "claude-haiku-5-5"));
}

#[test]
fn ends_that_are_no_success_say_why() {
    let api = ModelApi::start().unwrap();
    assert_eq!(ask(&api, "a", "[[model: refuse]]").json()["stop_reason"], "refusal");
    assert_eq!(ask(&api, "a", "[[model: run-out]]").json()["stop_reason"], "max_tokens");
    let dear = ask(&api, "a", "[[model: spend]]").json();
    assert!(dear["usage"]["input_tokens"].as_u64().unwrap() >= 200_000);
}

#[test]
fn a_call_whose_program_goes_away_has_an_end_and_no_answer() {
    let api = ModelApi::start().unwrap();
    let waiting = send(&api, "POST /v1/messages", "a", &prompt("[[model: wait 600]]"));
    let first = || api.calls().into_iter().next();
    let call = wait_until("the call to come", String::new, first);
    assert_eq!((call.ended_ms, call.status), (None, 0));
    drop(waiting);
    let ended = || first().filter(|call| call.ended_ms.is_some());
    let call = wait_until("its end", String::new, ended);
    assert!(!call.is_answered() && api.totals().is_empty());
}

#[test]
fn tokens_are_counted_models_are_listed_and_all_else_is_not_there() {
    let api = ModelApi::start().unwrap();
    let count = call(&api, "POST /v1/messages/count_tokens", "a", &prompt("hi")).json();
    assert!(count["input_tokens"].as_u64().unwrap() > 0);
    let models = call(&api, "GET /v1/models", "a", &Value::Null).json();
    assert!(models["data"].as_array().unwrap().iter().any(|model| model["id"] == "claude-sonnet-5-5"));
    let missing = call(&api, "GET /v1/elsewhere", "a", &Value::Null);
    assert_eq!((missing.status, missing.json()["error"]["type"].as_str()), (404, Some("not_found_error")));
    assert!(api.calls().is_empty(), "none of these is a call of a model");
}
