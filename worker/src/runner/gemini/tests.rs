use wavegate_proto::v1::{AgentWork, Outcome};

use super::*;
use crate::runner::replay::{FRESH, Played, ended, fresh, order, play};

fn gemini() -> Gemini {
    Gemini::new("/opt/gemini".into(), vec!["--debug".to_owned()])
}

fn work() -> AgentWork {
    AgentWork { model: "gemini-2.5-pro".to_owned(), prompt: "do".to_owned(), ..AgentWork::default() }
}

fn of(lines: &str, code: i32) -> Played {
    fresh(&gemini(), &work(), lines, code)
}

#[test]
fn a_success_tells_its_words_its_tokens_and_the_model_that_answered() {
    let played = of(include_str!("transcripts/success.jsonl"), 0);
    assert_eq!(played.outcome(), Outcome::Succeeded);
    assert_eq!(
        (played.conclusion.text.as_str(), played.conclusion.model.as_str()),
        ("hello", "gemini-2.5-pro")
    );
    assert_eq!(played.figures(), (100, 20, 0, None));
    assert_eq!(played.conclusion.session.as_deref(), Some("86446036-44f0-4f26-b8b7-54f3af1290df"));
    assert!(played.log.contains("[text] hello\n"), "{}", played.log);
}

#[test]
fn figures_are_of_one_run_alone_and_thoughts_are_output() {
    let id = "11111111-2222-4333-8444-555555555555";
    let talk = Talk::Resumed { id, counters: &[] };
    let played = play(&gemini(), &work(), talk, include_str!("transcripts/resumed.jsonl"), ended(0, ""));
    assert_eq!((played.figures(), played.conclusion.session.as_deref()), ((100, 20, 0, None), Some(id)));
    let line = r#"{"type":"result","status":"success","stats":{"models":{"m":{"total_tokens":170,"input_tokens":100,"output_tokens":20,"cached":60}}}}"#;
    assert_eq!(of(line, 0).figures(), (40, 70, 60, None));
}

#[test]
fn tools_are_told_and_one_that_is_not_there_is_a_denial() {
    let played = of(include_str!("transcripts/tool.jsonl"), 0);
    assert!(played.log.contains("[tool] run_shell_command: echo hi > made.txt\n"), "{}", played.log);
    assert!(played.conclusion.denials.is_empty() && played.conclusion.text == "done");
    assert_eq!(of(include_str!("transcripts/failed_tool.jsonl"), 0).outcome(), Outcome::Succeeded);
    let played = of(include_str!("transcripts/denied.jsonl"), 0);
    assert_eq!(
        played.conclusion.denials[0].text,
        "the agent was denied run_shell_command: echo hi > made2.txt"
    );
    assert_eq!(played.outcome(), Outcome::Succeeded);
}

#[test]
fn errors_of_the_provider_are_told_apart() {
    let cases = [
        (include_str!("transcripts/http_400.jsonl"), 144, Outcome::Failed),
        (include_str!("transcripts/http_401.jsonl"), 145, Outcome::BadCredentials),
    ];
    for (lines, code, outcome) in cases {
        let played = of(lines, code);
        assert_eq!((played.outcome(), played.gave_up), (outcome, false), "{}", played.conclusion.summary);
        assert!(played.conclusion.models.is_empty() && played.conclusion.model.is_empty());
    }
    // The exit code is the HTTP status in eight bits.
    let line = r#"{"type":"result","status":"error","error":{"message":"no"}}"#;
    assert_eq!(of(line, 173).outcome(), Outcome::UsageLimit);
}

#[test]
fn what_it_would_retry_for_minutes_is_given_up() {
    let cases = [
        (include_str!("transcripts/http_429.jsonl"), Outcome::UsageLimit),
        (include_str!("transcripts/http_503.jsonl"), Outcome::Overloaded),
        (include_str!("transcripts/unreachable.jsonl"), Outcome::Unreachable),
    ];
    for (lines, outcome) in cases {
        let played = of(lines, 0);
        assert_eq!((played.outcome(), played.gave_up), (outcome, true), "{}", played.conclusion.summary);
        assert!(played.conclusion.summary.starts_with("given up after 3 tries"));
    }
}

#[test]
fn ends_without_a_result_are_told_apart() {
    let of = |line: &str, code| of(line, code).outcome();
    assert_eq!(of("", 0), Outcome::Nonsense);
    assert_eq!(of("Invalid auth method selected.", 41), Outcome::BadCredentials);
    assert_eq!(of("Reached max session turns", 53), Outcome::TurnLimit);
    assert_eq!(of("", 143), Outcome::Killed);
    let success = r#"{"type":"result","status":"success","stats":{}}"#;
    assert_eq!(of(success, 0), Outcome::Nonsense);
}

#[test]
fn a_session_that_is_gone_is_said_so() {
    let talk = Talk::Resumed { id: FRESH, counters: &[] };
    let played =
        play(&gemini(), &work(), talk, include_str!("transcripts/unknown_session.jsonl"), ended(42, ""));
    assert!(played.conclusion.is_unknown_session && played.conclusion.session.is_none());
}

#[test]
fn an_answer_by_a_schema_is_found_in_its_words() {
    let work = AgentWork { schema: "{}".to_owned(), ..work() };
    let say = |text: &str| {
        let message = serde_json::json!({"type":"message","role":"assistant","content":text,"delta":true});
        let lines = format!("{message}\n{{\"type\":\"result\",\"status\":\"success\",\"stats\":{{}}}}\n");
        fresh(&gemini(), &work, &lines, 0)
    };
    let played = say("Here: {\"summary\":\"made it\"}");
    assert_eq!((played.outcome(), played.conclusion.summary.as_str()), (Outcome::Succeeded, "made it"));
    assert_eq!(played.conclusion.output_json, r#"{"summary":"made it"}"#);
    assert_eq!(say("in plain words").outcome(), Outcome::Succeeded);
    let must = AgentWork { must_answer: true, ..work };
    let plain = serde_json::json!({"type":"message","role":"assistant","content":"no answer","delta":true});
    let lines = format!("{plain}\n{{\"type\":\"result\",\"status\":\"success\",\"stats\":{{}}}}\n");
    assert_eq!(fresh(&gemini(), &must, &lines, 0).outcome(), Outcome::Nonsense);
}

#[test]
fn the_order_maps_permissions_model_and_session() {
    for (permissions, mode) in
        [(Permissions::Read, "default"), (Permissions::Edit, "auto_edit"), (Permissions::Full, "yolo")]
    {
        let work = AgentWork { permissions: permissions.into(), schema: "{}".to_owned(), ..work() };
        let (order, stdin) = order(&gemini(), &work, Talk::Fresh { id: FRESH });
        let (session, mode) = (format!("--session-id={FRESH}"), format!("--approval-mode={mode}"));
        assert_eq!(
            order.args,
            [
                "--skip-trust",
                "--output-format=stream-json",
                session.as_str(),
                mode.as_str(),
                "--model=gemini-2.5-pro",
                "--debug",
            ]
        );
        assert!(stdin.starts_with("do\n") && stdin.contains("JSON Schema"));
        assert_eq!(order.stderr, None);
    }
    let (order, _) = order(&gemini(), &work(), Talk::Resumed { id: FRESH, counters: &[] });
    assert!(order.args.contains(&format!("--resume={FRESH}")));
}

#[test]
fn the_account_of_a_login_is_its_address_while_it_is_logged_in() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    write("google_accounts.json", r#"{"active":"me@example.com"}"#);
    assert_eq!(logged_in(home.path()), None);
    write("oauth_creds.json", r#"{"refresh_token":"r-1"}"#);
    assert_eq!(logged_in(home.path()).as_deref(), Some("me@example.com"));
}
