use serde_json::json;
use wavegate_proto::v1::{AgentWork, ModelUsage, Outcome, Permissions};

use super::*;
use crate::runner::Exit;
use crate::runner::replay::{FRESH, Played, ask_for, ended, fresh, order, play};

fn codex() -> Codex {
    Codex::new("/opt/codex".into(), vec!["--ephemeral".to_owned()])
}

fn work() -> AgentWork {
    AgentWork { model: "gpt-5-codex".to_owned(), prompt: "do".to_owned(), ..AgentWork::default() }
}

fn of(lines: &str, code: i32) -> Played {
    fresh(&codex(), &work(), lines, code)
}

const RESUMED: &str = include_str!("transcripts/resumed.jsonl");

#[test]
fn a_success_tells_its_words_its_tokens_and_its_session() {
    let played = of(include_str!("transcripts/success.jsonl"), 0);
    assert_eq!(played.outcome(), Outcome::Succeeded);
    assert_eq!((played.conclusion.summary.as_str(), played.conclusion.text.as_str()), ("hello", "hello"));
    assert_eq!(played.figures(), (100, 20, 0, None));
    assert_eq!(played.conclusion.session.as_deref(), Some("01a20874-5012-7510-9c28-bde7a50c927e"));
    assert_eq!(played.conclusion.model, "gpt-5-codex");
    assert!(played.log.ends_with("[text] hello\n"), "{}", played.log);
}

#[test]
fn a_resumed_run_is_charged_what_the_cumulative_figures_grew_by() {
    let first = of(include_str!("transcripts/success.jsonl"), 0).conclusion;
    let id = first.session.clone().unwrap();
    let talk = Talk::Resumed { id: &id, counters: &first.counters };
    let second = play(&codex(), &work(), talk, RESUMED, ended(0, ""));
    assert_eq!(second.figures(), (100, 20, 0, None));
    assert_eq!(second.conclusion.counters[0].tokens_in, 200);
    // The program counts for the session, whichever model was asked before.
    let counters =
        [ModelUsage { model: "other".to_owned(), tokens_in: 100, tokens_out: 20, ..ModelUsage::default() }];
    let talk = Talk::Resumed { id: &id, counters: &counters };
    assert_eq!(play(&codex(), &work(), talk, RESUMED, ended(0, "")).figures(), (100, 20, 0, None));
}

#[test]
fn what_was_read_from_the_cache_is_no_fresh_input() {
    let line = r#"{"type":"turn.completed","usage":{"input_tokens":100,"cached_input_tokens":60,"output_tokens":5}}"#;
    assert_eq!(of(line, 0).figures(), (40, 5, 60, None));
}

#[test]
fn tools_are_told_and_a_command_that_fails_is_no_failure_of_the_run() {
    let played = of(include_str!("transcripts/tool.jsonl"), 0);
    assert!(played.log.contains("[tool] shell: /bin/bash -lc 'echo hi"), "{}", played.log);
    assert!(played.log.contains("  | told\n"), "{}", played.log);
    assert_eq!(of(include_str!("transcripts/failed_tool.jsonl"), 0).outcome(), Outcome::Succeeded);
}

#[test]
fn errors_of_the_provider_are_told_apart() {
    let cases = [
        (include_str!("transcripts/http_400.jsonl"), Outcome::Failed),
        (include_str!("transcripts/http_401.jsonl"), Outcome::BadCredentials),
        (include_str!("transcripts/http_429.jsonl"), Outcome::UsageLimit),
        (include_str!("transcripts/http_500.jsonl"), Outcome::Overloaded),
    ];
    for (lines, outcome) in cases {
        let played = of(lines, 1);
        assert_eq!(played.outcome(), outcome, "{}", played.conclusion.summary);
        assert!(played.conclusion.models.is_empty());
    }
}

#[test]
fn a_usage_limit_says_until_when() {
    let line =
        r#"{"type":"turn.failed","error":{"message":"You've hit your usage limit. Try again in 3 hours."}}"#;
    let conclusion = of(line, 1).conclusion;
    assert_eq!((conclusion.outcome, conclusion.retry_after_ms), (Outcome::UsageLimit, Some(3 * 3_600_000)));
}

#[test]
fn a_run_that_would_wait_for_the_network_for_ever_is_given_up() {
    let played = of(include_str!("transcripts/unreachable.jsonl"), 0);
    assert_eq!((played.outcome(), played.gave_up), (Outcome::Unreachable, true), "{:?}", played.conclusion);
}

#[test]
fn a_session_that_is_gone_is_said_so() {
    let stderr = include_str!("transcripts/unknown_session.stderr");
    let talk = Talk::Resumed { id: "01a2", counters: &[] };
    let conclusion = play(&codex(), &work(), talk, "", ended(1, stderr)).conclusion;
    assert!(conclusion.is_unknown_session && conclusion.session.is_none());
    assert_eq!(conclusion.outcome, Outcome::Failed);
}

#[test]
fn exit_0_without_a_completed_turn_is_nonsense_and_a_cut_run_keeps_the_old_figures() {
    assert_eq!(of("", 0).outcome(), Outcome::Nonsense);
    let counters = [ModelUsage { tokens_in: 7, ..ModelUsage::default() }];
    let talk = Talk::Resumed { id: "x", counters: &counters };
    let killed = Exit { signal: Some(9), ..Exit::default() };
    let conclusion = play(&codex(), &work(), talk, "{\"type\":\"turn.started\"}", killed).conclusion;
    assert_eq!((conclusion.outcome, conclusion.counters[0].tokens_in), (Outcome::Killed, 7));
    assert!(conclusion.models.is_empty());
}

#[test]
fn what_was_declined_is_a_finding() {
    let item = json!({"type":"item.completed","item":{"type":"command_execution","command":"rm x",
        "status":"declined","exit_code":null,"aggregated_output":""}});
    let played = of(&item.to_string(), 0);
    assert_eq!(played.conclusion.denials[0].text, "the agent was denied rm x");
}

#[test]
fn an_answer_is_taken_by_its_schema_or_is_nonsense() {
    let schema = r#"{"type":"object","properties":{"a":{"type":"integer"}}}"#.to_owned();
    let work = AgentWork { schema, ..work() };
    let played = fresh(&codex(), &work, include_str!("transcripts/schema.jsonl"), 0);
    assert_eq!(
        (played.outcome(), played.conclusion.output_json.as_str()),
        (Outcome::Succeeded, r#"{"a":1}"#)
    );
    let played = fresh(&codex(), &work, include_str!("transcripts/success.jsonl"), 0);
    assert_eq!(played.outcome(), Outcome::Nonsense);
}

#[test]
fn the_order_maps_permissions_model_effort_and_session() {
    for (permissions, sandbox) in [
        (Permissions::Unspecified, "workspace-write"),
        (Permissions::Read, "read-only"),
        (Permissions::Edit, "workspace-write"),
        (Permissions::Full, "danger-full-access"),
    ] {
        let work = AgentWork { permissions: permissions.into(), effort: 3, ..work() };
        let (order, stdin) = order(&codex(), &work, Talk::Fresh { id: FRESH });
        let sandbox = format!("--sandbox={sandbox}");
        assert_eq!(
            order.args,
            [
                "exec",
                "--json",
                "--skip-git-repo-check",
                sandbox.as_str(),
                "--model=gpt-5-codex",
                "--config=model_reasoning_effort=\"high\"",
                "--ephemeral",
                "-",
            ]
        );
        assert_eq!(stdin, "do");
    }
    let resumed = AgentWork { resume_prompt: "go on".to_owned(), ..work() };
    let (order, stdin) = order(&codex(), &resumed, Talk::Resumed { id: "01a2", counters: &[] });
    assert_eq!(order.args[order.args.len() - 3..], ["resume", "01a2", "-"]);
    assert_eq!(stdin, "go on");
}

#[test]
fn a_schema_goes_into_a_file_where_it_can_be_strict_else_into_the_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let schema = |schema: &str| AgentWork { schema: schema.to_owned(), ..work() };
    let strict = schema(r#"{"type":"object","properties":{"a":{"type":"integer"}}}"#);
    let order = codex().order(&ask_for(&strict, folder.path(), Talk::Fresh { id: FRESH })).unwrap();
    let file = folder.path().join("schema.json");
    assert!(order.args.contains(&format!("--output-schema={}", file.display())), "{:?}", order.args);
    assert!(std::fs::read_to_string(file).unwrap().contains(r#""required":["a"]"#));
    let open = schema(r#"{"type":"object"}"#);
    let (order, stdin) = crate::runner::replay::order(&codex(), &open, Talk::Fresh { id: FRESH });
    assert!(!order.args.iter().any(|arg| arg.starts_with("--output-schema")));
    assert!(stdin.starts_with("do\n") && stdin.contains(r#"{"type":"object"}"#));
}

#[test]
fn the_account_of_a_login_is_its_id_or_the_stored_key() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(logged_in(home.path()), None);
    let write = |text: &str| std::fs::write(home.path().join("auth.json"), text).unwrap();
    write(r#"{"OPENAI_API_KEY":"sk-1"}"#);
    assert_eq!(logged_in(home.path()).as_deref(), Some("sk-1"));
    write(r#"{"OPENAI_API_KEY":null,"tokens":{"account_id":"acc-1"}}"#);
    assert_eq!(logged_in(home.path()).as_deref(), Some("acc-1"));
}
