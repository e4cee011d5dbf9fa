use wavegate_proto::v1::Outcome;

use super::*;
use crate::runner::replay::{FRESH, Played, ask_for, ended, fresh, order, play};

fn opencode() -> Opencode {
    Opencode::new("/opt/opencode".into(), vec!["--pure".to_owned()])
}

fn work() -> AgentWork {
    AgentWork {
        model: "anthropic/claude-sonnet-4-5".to_owned(),
        prompt: "do".to_owned(),
        ..AgentWork::default()
    }
}

fn of(lines: &str, code: i32) -> Played {
    fresh(&opencode(), &work(), lines, code)
}

#[test]
fn a_success_tells_its_words_its_tokens_its_cost_and_its_session() {
    let played = of(include_str!("transcripts/success.jsonl"), 0);
    assert_eq!((played.outcome(), played.conclusion.text.as_str()), (Outcome::Succeeded, "hello"));
    assert_eq!(played.figures(), (100, 20, 0, Some(600)));
    assert_eq!(played.conclusion.session.as_deref(), Some("ses_df78922f0ffe3vA822zM11lJzW"));
    let talk = Talk::Resumed { id: "ses_df78922f0ffe3vA822zM11lJzW", counters: &[] };
    let resumed = play(&opencode(), &work(), talk, include_str!("transcripts/resumed.jsonl"), ended(0, ""));
    assert_eq!((resumed.outcome(), resumed.figures()), (Outcome::Succeeded, (100, 20, 0, Some(600))));
}

#[test]
fn a_stop_before_it_went_on_is_no_success_of_what_was_cut_short() {
    let success = include_str!("transcripts/success.jsonl");
    let went_on = format!("{}\n{}\n", success.trim_end(), success.lines().next().unwrap());
    assert_eq!(of(&went_on, 143).outcome(), Outcome::Killed);
    let error = include_str!("transcripts/http_529.jsonl").trim_end();
    assert_eq!(of(&format!("{error}\n{success}"), 0).outcome(), Outcome::Succeeded, "it had recovered");
}

#[test]
fn tools_are_told_and_every_step_counts() {
    let played = of(include_str!("transcripts/tool.jsonl"), 0);
    assert!(played.log.contains("[tool] bash: echo hi > made.txt; echo told\n  | told\n"), "{}", played.log);
    assert_eq!(played.figures(), (200, 40, 0, Some(1200)));
    assert_eq!((played.conclusion.models[0].calls, played.conclusion.text.as_str()), (2, "done"));
    let failed = of(include_str!("transcripts/failed_tool.jsonl"), 0);
    assert_eq!(failed.outcome(), Outcome::Succeeded);
    assert!(failed.log.contains("  ! (no output)"), "{}", failed.log);
}

#[test]
fn a_denial_is_a_finding_and_the_end_of_a_run_that_stops_there() {
    let played = of(include_str!("transcripts/denied.jsonl"), 0);
    assert_eq!(played.outcome(), Outcome::Denied);
    assert_eq!(played.conclusion.denials[0].text, "the agent was denied bash: echo hi > made2.txt");
    let played = of(include_str!("transcripts/not_there.jsonl"), 0);
    assert_eq!((played.outcome(), played.conclusion.denials.len()), (Outcome::Succeeded, 1));
}

#[test]
fn errors_of_the_provider_are_told_apart() {
    let cases = [
        (include_str!("transcripts/http_401.jsonl"), Outcome::BadCredentials),
        (include_str!("transcripts/http_429.jsonl"), Outcome::UsageLimit),
        (include_str!("transcripts/http_529.jsonl"), Outcome::Overloaded),
        (
            r#"{"type":"error","error":{"name":"APIError","data":{"message":"Cannot connect to API: closed"}}}"#,
            Outcome::Unreachable,
        ),
    ];
    for (lines, outcome) in cases {
        let played = of(lines, 1);
        assert_eq!(played.outcome(), outcome, "{}", played.conclusion.summary);
        // A wait of a second says nothing about a limit.
        assert!(played.conclusion.models.is_empty() && played.conclusion.retry_after_ms.is_none());
    }
}

#[test]
fn a_session_that_is_gone_is_said_so() {
    let talk = Talk::Resumed { id: "ses_x", counters: &[] };
    let stderr = include_str!("transcripts/unknown_session.stderr");
    let conclusion = play(&opencode(), &work(), talk, "", ended(1, stderr)).conclusion;
    assert!(conclusion.is_unknown_session && conclusion.session.is_none());
    assert_eq!(conclusion.summary, "Error: Session not found");
}

#[test]
fn exit_0_without_a_finished_step_is_nonsense() {
    assert_eq!(of("", 0).outcome(), Outcome::Nonsense);
    let step = r#"{"type":"step_finish","part":{"reason":"tool-calls","tokens":{"input":1,"output":1}}}"#;
    assert_eq!(of(step, 0).outcome(), Outcome::Nonsense);
    assert_eq!(of(&step.replace("tool-calls", "content-filter"), 0).outcome(), Outcome::Refused);
}

#[test]
fn a_run_that_passes_its_budget_is_ended_and_an_unknown_cost_is_not_zero() {
    let step =
        r#"{"type":"step_finish","part":{"reason":"tool-calls","tokens":{"input":1,"output":1},"cost":0.5}}"#;
    let work = AgentWork { budget_micro_usd: Some(900_000), ..work() };
    let once = fresh(&opencode(), &work, step, 0);
    assert!(!once.gave_up);
    let twice = fresh(&opencode(), &work, &format!("{step}\n{step}\n"), 0);
    assert_eq!((twice.gave_up, twice.outcome()), (true, Outcome::BudgetLimit));
    assert_eq!(twice.figures().3, Some(1_000_000));
    let unknown = of(&format!("{step}\n{}", step.replace("0.5", "0")), 0);
    assert_eq!(unknown.figures(), (2, 2, 0, None));
}

#[test]
fn the_order_maps_permissions_model_and_session() {
    let env = |permissions: Permissions, tools: &[&str]| {
        let allowed_tools = tools.iter().map(|&tool| tool.to_owned()).collect();
        let work = AgentWork { permissions: permissions.into(), allowed_tools, ..work() };
        let (order, _) = order(&opencode(), &work, Talk::Fresh { id: FRESH });
        let value = order.env.iter().find(|(name, _)| name == PERMISSION).unwrap().1.clone();
        (serde_json::from_str::<Value>(&value).unwrap(), order.args.contains(&"--auto".to_owned()))
    };
    let (read, auto) = env(Permissions::Read, &[]);
    assert!(!auto && read["edit"] == "deny" && read["bash"] == "deny");
    let (edit, auto) = env(Permissions::Edit, &["webfetch"]);
    assert!(!auto && edit["edit"] == "allow" && edit["bash"] == "deny" && edit["webfetch"] == "allow");
    assert_eq!(env(Permissions::Full, &[]), (json!({ "*": "allow" }), true));
    let (order, stdin) = order(&opencode(), &work(), Talk::Fresh { id: FRESH });
    let args = ["run", "--format=json", "--title=wavegate", "--model=anthropic/claude-sonnet-4-5", "--pure"];
    assert_eq!((order.args, stdin.as_str()), (args.map(str::to_owned).into(), "do"));
}

#[test]
fn the_workspace_gives_words_and_no_code_unless_all_is_permitted() {
    let env = |permissions: Permissions, said: &[(String, String)]| {
        let work = AgentWork { permissions: permissions.into(), ..work() };
        let dir = tempfile::tempdir().unwrap();
        let ask = ask_for(&work, dir.path(), Talk::Fresh { id: FRESH });
        let ask = Ask { cwd: Path::new("/files"), env: said, ..ask };
        let env = opencode().order(&ask).unwrap().env;
        let value = |name: &str| {
            let values: Vec<_> = env.iter().filter(|(known, _)| known == name).collect();
            assert!(values.len() < 2, "{name} is there twice");
            values.first().map(|(_, value)| value.clone())
        };
        (value("OPENCODE_DISABLE_PROJECT_CONFIG"), value(CONFIG_CONTENT))
    };
    let one = || Some("1".to_owned());
    let config = |text: &str| [(CONFIG_CONTENT.to_owned(), text.to_owned())];
    assert_eq!(env(Permissions::Full, &[]), (None, None));
    assert_eq!(env(Permissions::Read, &config("{}")), (one(), Some("{}".to_owned())));
    let (disabled, said) = env(Permissions::Edit, &config(r#"{"share":"disabled"}"#));
    let said: Value = serde_json::from_str(&said.unwrap()).unwrap();
    let instructions = ["/files/AGENTS.md", "/files/CLAUDE.md"];
    assert_eq!((disabled, said), (one(), json!({ "share": "disabled", "instructions": instructions })));
    let own = r#"{"instructions":["mine.md"]}"#;
    assert_eq!(env(Permissions::Edit, &config(own)), (one(), Some(own.to_owned())));
}

#[test]
fn the_account_is_what_its_logins_are() {
    let data = tempfile::tempdir().unwrap();
    assert_eq!(logged_in(data.path()), None);
    fs::create_dir(data.path().join("opencode")).unwrap();
    fs::write(data.path().join("opencode/auth.json"), "{}\n").unwrap();
    assert_eq!(logged_in(data.path()), None);
    fs::write(data.path().join("opencode/auth.json"), r#"{"anthropic":{"key":"k"}}"#).unwrap();
    assert!(logged_in(data.path()).is_some());
}
