//! The stand-in and a real program understand each other: without that the other tests mean nothing.

use std::process::{Command, Stdio};

use serde_json::Value;
use wavegate_tests::{ACCOUNT, AgentPrograms, Home, model_api::ModelApi};

fn ask(prompt: &str, args: &[&str]) -> (ModelApi, Vec<Value>, String) {
    let home = Home::new(
        env!("CARGO_BIN_EXE_wavegate-under-test"),
        env!("CARGO_BIN_EXE_wavegate-worker-under-test"),
    );
    let home = home.unwrap();
    let (api, programs) = (ModelApi::start().unwrap(), AgentPrograms::find().unwrap());
    let env = programs.environment(&home, &api, ACCOUNT).unwrap();
    std::fs::create_dir_all(home.path("work")).unwrap();
    let ran = Command::new(&programs.claude)
        .args([
            "-p",
            prompt,
            "--output-format",
            "stream-json",
            "--verbose",
            "--permission-mode",
            "acceptEdits",
        ])
        .args(args)
        .env_clear()
        .envs(env)
        .env("HOME", home.path(""))
        .current_dir(home.path("work"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let lines = String::from_utf8_lossy(&ran.stdout);
    let events = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let file = std::fs::read_to_string(home.path("work/a.txt")).unwrap_or_default();
    (api, events, file)
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn a_script_is_done_and_counted_as_the_program_counts_it() {
    let schema = r#"{"type":"object","properties":{"summary":{"type":"string"}},"required":["summary"]}"#;
    let (api, events, file) =
        ask("go [[model: write a.txt|hello ;; json {\"summary\":\"wrote it\"}]]", &["--json-schema", schema]);
    let result = events.last().unwrap();
    assert_eq!(file, "hello", "{result}");
    assert_eq!(result["structured_output"]["summary"], "wrote it", "{result}");
    let (model, counted) = api.totals().into_iter().next().unwrap();
    let told = &result["modelUsage"][&model];
    let number = |name: &str| told[name].as_u64().unwrap();
    assert_eq!(number("inputTokens"), counted.input, "{result}");
    assert_eq!(number("outputTokens"), counted.output);
    assert_eq!(number("cacheReadInputTokens"), counted.cache_read);
    assert_eq!(number("cacheCreationInputTokens"), counted.cache_write);
    assert!(counted.calls >= 2 && counted.cache_read > 0);
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn another_model_that_answers_shows_in_the_programs_words() {
    let (_api, events, _) = ask("go [[model: answer-as claude-sonnet-5-5 ;; say hi]]", &["--model", "opus"]);
    let said = events.iter().find(|event| event["type"] == "assistant").unwrap();
    assert_eq!(said["message"]["model"], "claude-sonnet-5-5", "{said}");
}
