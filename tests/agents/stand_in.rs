//! The stand-in and a real program understand each other: without that the other tests mean nothing.

use crate::direct::{Direct, Said};

/// The program's figures of each model are the stand-in's.
#[track_caller]
fn assert_counted(direct: &Direct, said: &Said, of: &str) {
    let (model, counted) = direct.api.totals().into_iter().next().unwrap();
    let told = &said.result()[of][&model];
    let number = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("no {name}: {said:?}"));
    assert_eq!(
        [number("inputTokens"), number("outputTokens")],
        [counted.input, counted.output],
        "{}",
        said.result()
    );
    assert_eq!(
        [number("cacheReadInputTokens"), number("cacheCreationInputTokens")],
        [counted.cache_read, counted.cache_write]
    );
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn a_script_is_done_and_counted_as_the_program_counts_it() {
    let direct = Direct::new();
    let schema = r#"{"type":"object","properties":{"summary":{"type":"string"}},"required":["summary"]}"#;
    let prompt = r#"go [[model: write a.txt|hello ;; write b.txt|there ;; json {"summary":"wrote both"}]]"#;
    let said = direct.ask(prompt, &["--json-schema", schema]);
    assert_eq!(
        (direct.home.read("work/a.txt"), direct.home.read("work/b.txt")),
        ("hello".into(), "there".into())
    );
    assert_eq!(said.result()["structured_output"]["summary"], "wrote both");
    assert_counted(&direct, &said, "modelUsage");
    let calls = direct.api.answered();
    assert!(calls.len() >= 3 && calls.iter().any(|call| call.usage.cache_read > 0));
    assert_eq!(direct.api.sessions(), [said.result()["session_id"].as_str().unwrap().to_owned()].into());
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn a_resumed_session_does_its_rework_and_its_figures_go_on() {
    let direct = Direct::new();
    let first = direct.ask("go [[model: write a.txt|bad]] [[rework: bash printf good > a.txt]]", &[]);
    assert_eq!(direct.home.read("work/a.txt"), "bad");
    let before = direct.api.totals().into_values().next().unwrap();
    let session = first.result()["session_id"].as_str().unwrap().to_owned();
    let again = direct.ask("mend it", &["--resume", &session, "--allowedTools", "Bash"]);
    assert_eq!(direct.home.read("work/a.txt"), "good");
    assert_eq!(again.result()["session_id"], session.as_str());
    assert_counted(&direct, &again, "modelUsage");
    let (model, all) = direct.api.totals().into_iter().next().unwrap();
    let own = &again.result()["model_usage_since_last_result"][&model];
    assert_eq!(own["outputTokens"], all.output - before.output, "of this run alone: {own}");
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn another_model_that_answers_shows_in_the_messages_alone() {
    let direct = Direct::new();
    let said = direct.ask("go [[model: answer-as claude-sonnet-5-5 ;; say hi]]", &["--model", "opus"]);
    assert_eq!(said.models(), ["claude-sonnet-5-5"]);
    assert_eq!(said.system("init")[0]["model"], "claude-opus-5-5", "what was asked for");
    // The figures, and so the cost, are booked to the model that was asked for.
    let usage = said.result()["modelUsage"].as_object().unwrap();
    assert_eq!(usage.keys().collect::<Vec<_>>(), ["claude-opus-5-5"]);
    assert!(direct.api.totals().contains_key("claude-sonnet-5-5"));
}
