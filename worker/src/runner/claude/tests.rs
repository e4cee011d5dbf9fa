//! Every end that the program was seen to come to, from recordings of it: in each file the exit and the
//! standard error on the first line, then what it printed, with what names a host left out.

use std::{fs, path::Path};

use serde_json::Value;
use wavegate_proto::v1::{self, AgentWork, ModelUsage, Outcome, Permissions};

use super::Claude;
use crate::runner::{self, Ask, Conclusion, Exit, Runner};

/// One recording, heard to its end or to where it was given up.
struct Heard {
    conclusion: Conclusion,
    log: String,
    gave_up_at: Option<String>,
}

fn claude() -> Claude {
    Claude::new("/usr/bin/claude".into(), Vec::new())
}

fn ask<'a>(work: &'a AgentWork, talk: runner::Talk<'a>) -> Ask<'a> {
    let here = Path::new("/home/user/w");
    Ask { work, cwd: here, aside: here, env: &[], talk, timeout: None }
}

fn recording(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/runner/claude/transcripts");
    fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap()
}

fn hear(name: &str) -> Heard {
    let work = AgentWork::default();
    hear_asked(&recording(name), &ask(&work, runner::Talk::Fresh { id: "s" }))
}

fn hear_with_schema(name: &str) -> Heard {
    let work = AgentWork { schema: "{}".to_owned(), ..AgentWork::default() };
    hear_asked(&recording(name), &ask(&work, runner::Talk::Fresh { id: "s" }))
}

fn hear_asked(recording: &str, ask: &Ask<'_>) -> Heard {
    let (first, rest) = recording.split_once('\n').unwrap();
    let first: Value = serde_json::from_str(first).unwrap();
    let number = |name: &str| first["exit"][name].as_i64().map(|number| i32::try_from(number).unwrap());
    let mut exit = Exit {
        code: number("code"),
        signal: number("signal"),
        stderr: first["stderr"].as_str().unwrap().to_owned(),
        ..Exit::default()
    };
    let (mut listener, mut log, mut gave_up_at) = (claude().listener(ask), String::new(), None);
    for line in rest.lines() {
        let heard = listener.hear(line);
        log.push_str(&heard.log);
        if heard.give_up {
            gave_up_at = Some(heard.log);
            exit = Exit { gave_up: true, signal: Some(15), ..Exit::default() };
            break;
        }
    }
    Heard { conclusion: listener.conclude(&exit), log, gave_up_at }
}

fn used(input: u64, output: u64, micro_usd: u64, calls: u32) -> ModelUsage {
    ModelUsage {
        model: "claude-sonnet-5-5".to_owned(),
        tokens_in: input,
        tokens_out: output,
        cost_micro_usd: Some(micro_usd),
        calls,
        ..ModelUsage::default()
    }
}

#[test]
fn each_end_has_its_own_outcome() {
    let ends = [
        ("success", Outcome::Succeeded, "hello there"),
        ("tool_round_trip", Outcome::Succeeded, "done"),
        ("tool_exit_3", Outcome::Succeeded, "done"),
        ("denied", Outcome::Succeeded, "done"),
        ("cut", Outcome::Succeeded, "this is cut off"),
        ("max_turns", Outcome::TurnLimit, "Reached maximum number of turns (2)"),
        ("budget", Outcome::BudgetLimit, "Reached maximum budget ($0.5)"),
        ("refusal", Outcome::Refused, "safeguards flagged this message"),
        ("max_tokens", Outcome::Failed, "exceeded the 128000 output token maximum"),
        ("http_400", Outcome::Failed, "API Error: 400 stub 400"),
        ("http_403", Outcome::BadCredentials, "Failed to authenticate. API Error: 403"),
        ("http_404", Outcome::Failed, "There's an issue with the selected model (nosuch)"),
        ("not_logged_in", Outcome::BadCredentials, "Not logged in"),
        ("http_429", Outcome::UsageLimit, "Request rejected (429)"),
        ("usage_limit", Outcome::UsageLimit, "You've hit your 5-hour limit"),
        ("http_500", Outcome::Overloaded, "API Error: 500"),
        ("http_529", Outcome::Overloaded, "529"),
        ("connection_refused", Outcome::Unreachable, "ECONNREFUSED"),
        ("bad_flag", Outcome::Failed, "unknown option '--no-such-flag'"),
        ("session_in_use", Outcome::Failed, "is already in use"),
        ("unknown_resume", Outcome::Failed, "No conversation found"),
        ("sigint", Outcome::Killed, "interrupted by a signal"),
        ("sigterm", Outcome::Killed, "ended by signal 15"),
        ("sigkill", Outcome::Killed, "ended by signal 9"),
    ];
    for (name, outcome, words) in ends {
        let conclusion = hear(name).conclusion;
        assert_eq!(conclusion.outcome, outcome, "{name}: {}", conclusion.summary);
        assert!(conclusion.summary.contains(words), "{name}: {}", conclusion.summary);
    }
}

#[test]
fn a_success_tells_words_model_tokens_cost_and_session() {
    let Heard { conclusion, log, .. } = hear("success");
    assert_eq!((conclusion.text.as_str(), conclusion.model.as_str()), ("hello there", "claude-sonnet-5-5"));
    assert_eq!(conclusion.models, [used(100, 20, 400, 1)]);
    assert_eq!(conclusion.counters.len(), 1);
    assert!(conclusion.session.is_some_and(|id| log.contains(&id)));
    assert!(log.contains("[text] hello there\n[result] success, 1 turns, $0.0004"), "{log}");
}

#[test]
fn tools_and_what_they_give_back_are_in_the_log() {
    let log = hear("tool_round_trip").log;
    assert!(log.contains("[text] I will run it.\n> Bash: echo hi\n  | hi\n[text] done\n"), "{log}");
    let log = hear("tool_exit_3").log;
    assert!(log.contains("> Bash: exit 3\n  ! "), "{log}");
}

#[test]
fn what_was_denied_is_told_once_with_what_it_was() {
    let Heard { conclusion, log, .. } = hear("denied");
    let findings: Vec<_> = conclusion.denials.iter().map(|finding| finding.text.as_str()).collect();
    assert_eq!(findings, ["the agent was denied Bash: touch /home/user/forbidden"]);
    assert!(log.contains("[denied] Bash: touch /home/user/forbidden\n"), "{log}");
    let findings = hear("disabled_tool").conclusion.denials;
    assert_eq!(findings[0].text, "the agent was denied Write: /home/user/w/new");
}

#[test]
fn a_schema_is_met_or_the_end_is_no_success() {
    let met = hear_with_schema("schema_met").conclusion;
    assert_eq!((met.outcome, met.summary.as_str()), (Outcome::Succeeded, "did it"));
    assert_eq!(met.output_json, r#"{"summary":"did it"}"#);
    let not_met = hear_with_schema("schema_not_met").conclusion;
    assert_eq!((not_met.outcome, not_met.output_json.as_str()), (Outcome::Nonsense, ""));
    assert_eq!(not_met.models, [used(200, 40, 800, 2)]);
    let denied = hear_with_schema("schema_denied").conclusion;
    assert_eq!((denied.outcome, denied.denials.len()), (Outcome::Denied, 1));
}

#[test]
fn an_end_without_a_result_is_never_a_success() {
    let recording = recording("success");
    let cut = recording.trim_end().rsplit_once('\n').unwrap().0;
    let work = AgentWork::default();
    let conclusion = hear_asked(cut, &ask(&work, runner::Talk::Fresh { id: "s" })).conclusion;
    assert_eq!(conclusion.outcome, Outcome::Nonsense);
    let silent = r#"{"exit":{"code":0},"stderr":""}"#.to_owned() + "\n";
    let conclusion = hear_asked(&silent, &ask(&work, runner::Talk::Fresh { id: "s" })).conclusion;
    assert_eq!((conclusion.outcome, conclusion.session), (Outcome::Nonsense, None));
    let listener = claude().listener(&ask(&work, runner::Talk::Fresh { id: "s" }));
    let conclusion = listener.conclude(&Exit { timed_out: true, ..Exit::default() });
    assert_eq!(conclusion.outcome, Outcome::TimedOut);
}

#[test]
fn bad_credentials_are_given_up_when_a_second_try_is_refused_too() {
    let heard = hear("retry_401");
    assert_eq!(heard.conclusion.outcome, Outcome::BadCredentials);
    assert!(heard.gave_up_at.is_some_and(|log| log.starts_with("[retry 2 of 10] HTTP 401")));
    assert_eq!(hear("http_401").conclusion.outcome, Outcome::BadCredentials);
}

#[test]
fn a_limit_is_given_up_after_the_third_retry_or_a_long_delay() {
    let heard = hear("retry_429");
    assert_eq!((heard.conclusion.outcome, heard.conclusion.retry_after_ms), (Outcome::UsageLimit, None));
    assert!(heard.gave_up_at.is_some_and(|log| log.starts_with("[retry 4 of 10] HTTP 429")));
    let long = recording("retry_429").replacen("\"retry_delay_ms\":", "\"retry_delay_ms\":90000,\"was\":", 1);
    let work = AgentWork::default();
    let heard = hear_asked(&long, &ask(&work, runner::Talk::Fresh { id: "s" }));
    assert_eq!(heard.conclusion.retry_after_ms, Some(90_000));
    assert!(heard.gave_up_at.is_some_and(|log| log.starts_with("[retry 1 of 10]")));
}

#[test]
fn an_account_that_tells_its_reset_is_waited_for_until_then() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let recording = recording("usage_limit");
    let reset = recording.split("\"resetsAt\":").nth(1).unwrap().split([',', '}']).next().unwrap();
    let later = recording.replace(reset, &(now + 3600).to_string());
    let work = AgentWork::default();
    let heard = hear_asked(&later, &ask(&work, runner::Talk::Fresh { id: "s" }));
    let wait = heard.conclusion.retry_after_ms.unwrap();
    assert!((3_500_000..=3_600_000).contains(&wait), "{wait}");
    assert!(heard.log.contains("[limit] the account's five_hour limit is reached"), "{}", heard.log);
}

#[test]
fn overload_and_network_are_left_to_the_program() {
    for name in ["http_500", "http_529", "connection_refused"] {
        let heard = hear(name);
        assert!(heard.gave_up_at.is_none() && heard.log.contains("[retry 1 of"), "{name}: {}", heard.log);
        assert_eq!(heard.conclusion.models, [], "{name}");
    }
}

#[test]
fn a_resumed_session_counts_its_own_run_alone() {
    let work = AgentWork::default();
    let counters = [used(100, 20, 400, 0)];
    let talk = || runner::Talk::Resumed { id: "s", counters: &counters };
    let own = hear_asked(&recording("resumed"), &ask(&work, talk())).conclusion;
    assert_eq!(own.models, [used(100, 20, 400, 1)]);
    assert_eq!(own.counters, [used(200, 40, 800, 0)]);
    // Another version of the program does not tell what was used since.
    let older = recording("resumed").replace("model_usage_since_last_result", "unknown");
    let difference = hear_asked(&older, &ask(&work, talk())).conclusion;
    assert_eq!(difference.models, own.models);
}

#[test]
fn a_killed_run_has_used_what_its_stream_told() {
    let killed = hear("sigterm").conclusion;
    let model = &killed.models[0];
    assert_eq!((model.tokens_in, model.calls, model.cost_micro_usd), (100, 1, None));
    assert!(killed.session.is_some());
}

#[test]
fn a_subagent_that_comes_back_is_counted_and_the_last_result_counts() {
    let heard = hear("subagent");
    assert_eq!(heard.conclusion.outcome, Outcome::Succeeded);
    assert_eq!(heard.log.matches("[result] success").count(), 2, "{}", heard.log);
    assert_eq!(heard.conclusion.models, [used(400, 80, 1600, 4)]);
    assert_eq!(heard.conclusion.counters, [used(400, 80, 1600, 0)]);
}

#[test]
fn a_talk_that_went_on_after_a_result_and_was_killed_is_no_success() {
    let recording = recording("subagent");
    let cut = recording.trim_end().rsplit_once('\n').unwrap().0;
    let killed = cut.replacen("\"code\": 0", "\"signal\": 9, \"code\": null", 1).replacen(
        "\"signal\": null",
        "\"x\": 0",
        1,
    );
    let work = AgentWork::default();
    let conclusion = hear_asked(&killed, &ask(&work, runner::Talk::Fresh { id: "s" })).conclusion;
    assert_eq!(conclusion.outcome, Outcome::Killed, "{}", conclusion.summary);
    let model = &conclusion.models[0];
    assert_eq!((model.tokens_in, model.tokens_out, model.calls), (400, 80, 4));
}

#[test]
fn a_session_that_is_unknown_or_refused_is_not_gone_on_with() {
    let unknown = hear("unknown_resume").conclusion;
    assert!(unknown.is_unknown_session && unknown.session.is_none());
    assert_eq!(hear("refusal").conclusion.session, None);
    assert_eq!(hear("http_400").conclusion.session, None);
    assert!(hear("budget").conclusion.session.is_some());
}

#[test]
fn what_is_no_event_is_shown_and_harms_nothing() {
    let work = AgentWork::default();
    let mut listener = claude().listener(&ask(&work, runner::Talk::Fresh { id: "s" }));
    for line in ["Warning: odd", "[1]", "{\"type\":7}", "{}", "{\"type\":\"assistant\",\"message\":4}", ""] {
        assert!(!listener.hear(line).give_up);
    }
    assert_eq!(listener.hear("Warning: odd").log, "Warning: odd\n");
}

fn args(work: &AgentWork, talk: runner::Talk<'_>) -> (Vec<String>, crate::supervisor::Order) {
    let dir = tempfile::tempdir().unwrap();
    let ask = Ask { aside: dir.path(), ..ask(work, talk) };
    let order = claude().order(&ask).unwrap();
    (order.args.clone(), order)
}

#[test]
fn an_order_holds_what_was_asked_and_the_prompt_is_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let work = AgentWork {
        model: "claude-sonnet-5-5".to_owned(),
        effort: 2,
        prompt: "x".repeat(300_000),
        schema: "{}".to_owned(),
        budget_micro_usd: Some(1_250_000),
        ..AgentWork::default()
    };
    let env = [("HOME".to_owned(), "/home/user".to_owned()), ("IS_SANDBOX".to_owned(), "yes".to_owned())];
    let ask = Ask { aside: dir.path(), env: &env, ..ask(&work, runner::Talk::Fresh { id: "id-1" }) };
    let order = claude().order(&ask).unwrap();
    for arg in [
        "--print",
        "--session-id=id-1",
        "--model=claude-sonnet-5-5",
        "--effort=medium",
        "--json-schema={}",
        "--max-budget-usd=1.250000",
        "--permission-mode=acceptEdits",
        "--setting-sources=user",
    ] {
        assert!(order.args.iter().any(|one| one == arg), "{arg} is not in {:?}", order.args);
    }
    assert_eq!(fs::read_to_string(order.stdin.unwrap()).unwrap().len(), 300_000);
    assert!(order.env.contains(&("DISABLE_AUTOUPDATER".to_owned(), "1".to_owned())));
    assert!(!order.env.iter().any(|(name, _)| name == "IS_SANDBOX"));
}

#[test]
fn a_resumed_talk_gets_the_other_prompt() {
    let dir = tempfile::tempdir().unwrap();
    let work = AgentWork { resume_prompt: "mend it".to_owned(), ..AgentWork::default() };
    let ask = Ask { aside: dir.path(), ..ask(&work, runner::Talk::Resumed { id: "id-1", counters: &[] }) };
    let order = claude().order(&ask).unwrap();
    assert!(order.args.contains(&"--resume=id-1".to_owned()));
    assert_eq!(fs::read_to_string(order.stdin.unwrap()).unwrap(), "mend it");
}

#[test]
fn an_agent_that_only_looks_has_no_other_tools() {
    let allowed_tools = vec!["Bash(git log *)".to_owned(), "--dangerously-skip-permissions".to_owned()];
    let mut work = AgentWork { allowed_tools, ..AgentWork::default() };
    work.set_permissions(Permissions::Read);
    let (args, _) = args(&work, runner::Talk::Fresh { id: "s" });
    assert!(args.contains(&"--permission-mode=dontAsk".to_owned()));
    assert!(args.contains(&"--tools=Read,Grep,Glob,Bash,--dangerously-skip-permissions".to_owned()));
    assert!(args.contains(&"--allowedTools=Bash(git log *)".to_owned()));
    assert!(!args.iter().any(|arg| arg == "--dangerously-skip-permissions"));
}

#[test]
fn full_permissions_bypass_and_an_argument_too_long_is_refused() {
    let mut work = AgentWork::default();
    work.set_permissions(Permissions::Full);
    let (args, order) = args(&work, runner::Talk::Fresh { id: "s" });
    assert!(args.contains(&"--permission-mode=bypassPermissions".to_owned()));
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(order.env.iter().any(|(name, _)| name == "IS_SANDBOX"), is_root);
    work.schema = "x".repeat(200_000);
    let dir = tempfile::tempdir().unwrap();
    let ask = Ask { aside: dir.path(), ..ask(&work, runner::Talk::Fresh { id: "s" }) };
    let error = claude().order(&ask).unwrap_err().to_string();
    assert!(error.contains("--json-schema is 200014 bytes long"), "{error}");
}

#[test]
fn usage_of_a_run_is_the_sum_of_its_models() {
    let usage = runner::usage_of(&hear("tool_round_trip").conclusion.models);
    let expected = v1::Usage { tokens_in: 200, tokens_out: 40, tokens_cached: 0, cost_micro_usd: Some(800) };
    assert_eq!(usage, expected);
}

#[test]
fn a_cost_that_is_not_by_the_list_is_unknown() {
    for basis in ["unknown", ""] {
        let recording = recording("tool_round_trip")
            .replace("\"costBasis\":\"list\"", &format!("\"costBasis\":\"{basis}\""));
        let work = AgentWork::default();
        let heard = hear_asked(&recording, &ask(&work, runner::Talk::Fresh { id: "s" }));
        assert_eq!(heard.conclusion.models[0].cost_micro_usd, None);
        assert_eq!(heard.conclusion.models[0].tokens_in, used(200, 40, 800, 2).tokens_in);
    }
}

#[test]
fn a_model_that_answers_by_its_dated_id_is_the_one_that_was_asked() {
    let recording = recording("tool_round_trip")
        .replace("\"model\":\"claude-sonnet-5-5\"", "\"model\":\"claude-sonnet-5-5-20261101\"");
    let work = AgentWork::default();
    let heard = hear_asked(&recording, &ask(&work, runner::Talk::Fresh { id: "s" }));
    let [used] = &heard.conclusion.models[..] else { panic!("{:?}", heard.conclusion.models) };
    assert_eq!((used.model.as_str(), used.cost_micro_usd), ("claude-sonnet-5-5", Some(800)));
}

#[test]
fn what_another_model_answered_is_booked_to_it_at_its_own_price() {
    let recording = recording("tool_round_trip")
        .replace("\"model\":\"claude-sonnet-5-5\"", "\"model\":\"claude-haiku-5-5\"");
    let work = AgentWork::default();
    let heard = hear_asked(&recording, &ask(&work, runner::Talk::Fresh { id: "s" }));
    let expected =
        ModelUsage { model: "claude-haiku-5-5".to_owned(), cost_micro_usd: None, ..used(200, 40, 800, 2) };
    assert_eq!(heard.conclusion.models, [expected]);
}
