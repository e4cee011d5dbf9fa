//! Everything that can happen to agents, in one plan; and what it cost, to the token.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use wavegate_tests::{
    model_api::{Call, Role, Usage},
    wait_until,
};

use crate::cluster::{Cluster, account, task};

/// Three waves: one writes, one is denied, one account reaches its limit, one is not accepted, one task
/// passes its budget, one is rejected and mended, one is cancelled amid a tool. Those that say OTHER may be
/// another agent's.
const PLAN: &str = r#"
name: everything
defaults: { runner: claude }
waves:
  - id: W1
    tasks:
      - { id: T1-01, OTHER, do: "[[model: write hello.txt|hello]]", requires: [at=a], verify: ["test -s hello.txt"] }
      - id: T1-02
        do: "[[model: bash curl -s http://127.0.0.1:9/]] [[rework: write second.txt|again]]"
        requires: [at=a]
        verify: ["test -s second.txt"]
      - { id: T1-03, do: "[[model: answer-as claude-haiku-5-5 ;; write third.txt|late]]", requires: [at=b], verify: ["test -s third.txt"] }
      - { id: T1-04, OTHER, do: "[[model: write fourth.txt|mended]]", requires: [at=c], verify: ["test -s fourth.txt"] }
  - id: W2
    tasks:
      - id: T2-01
        do: "[[model: write half.txt|half ;; spend]] [[rework: write fifth.txt|cheaper]]"
        requires: [at=a]
        budget: { usd: 0.50 }
        # Written before the budget was used up, and not again.
        verify: ["grep -q half half.txt", "test -s fifth.txt"]
      - id: T2-02
        do: "[[model: write sixth.txt|bad]] [[rework: write sixth.txt|good]] [[thor: reject T2-02]]"
        requires: [at=a]
        OTHER
  - id: W3
    tasks:
      - { id: T3-01, do: "[[model: bash while test 8715; do sleep 1; done]]", requires: [at=a], allowed_tools: [Bash] }
"#;

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn whatever_happens_to_agents_the_report_is_what_the_provider_counted() {
    run_through("runner: claude", "claude");
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn with_codex_for_some_tasks_the_report_is_what_the_providers_counted() {
    run_through("model: gpt-5.3-codex", "codex");
}

/// The plan, with the tasks that say OTHER done by that runner.
fn run_through(other: &str, runner: &str) {
    let mut cluster = Cluster::start(&[]);
    cluster.api.limit_account(&account("b"), Duration::from_secs(63));
    cluster.api.refuse_account(&account("c"));
    cluster.worker("a", "executor,thor,coordinator", "unlimited");
    cluster.worker("b", "executor", "2");
    cluster.worker("c", "executor", "2");
    cluster.submit(&PLAN.replace("OTHER", other), "standard");

    // The limit is the account's: the others go on meanwhile, and nothing is counted as failed.
    let plan = cluster.wait_for("T1-03 to wait for its account", |plan| {
        text(task(plan, "T1-03"), "reason").contains("reached its usage limit")
            && task(plan, "T1-01")["status"] == "submitted"
    });
    assert_eq!(task(&plan, "T1-03")["failures"], 0);
    assert!(text(task(&plan, "T1-03"), "reason").contains("tried again in"), "{}", cluster.dump());
    // Credentials that are not accepted spend no attempt, and the plan says what to do.
    cluster.wait_for("T1-04 to wait for a person", |plan| {
        text(task(plan, "T1-04"), "reason").contains(&format!("wavegate accounts clear {runner}"))
    });
    let accounts: Value = serde_json::from_str(&cluster.wavegate(&["accounts", "--json"])).unwrap();
    let refused = accounts.as_array().unwrap().iter().find(|one| one["status"] == "refused").unwrap();
    cluster.api.mend_account(&account("c"));
    cluster.wavegate(&["accounts", "clear", runner, refused["account"].as_str().unwrap()]);

    let plan = cluster.wait_for("the first wave", |plan| plan["waves"][0]["status"] == "done");
    // It waited for the reset that it was told: nobody asked the provider meanwhile.
    let limited = |call: &&Call| call.account == account("b") && call.status == 429;
    assert_eq!(cluster.api.calls().iter().filter(limited).count(), 1, "{:?}", cluster.api.calls());
    assert_eq!(task(&plan, "T1-02")["failures"], 1, "denied, and mended in its session");
    let denied = &task(&plan, "T1-02")["attempts"][0];
    assert_eq!((&denied["outcome"], denied["denied"].as_array().map(Vec::len)), (&"denied".into(), Some(1)));
    assert_eq!(task(&plan, "T1-04")["failures"], 0);

    cluster.wait_for("the budget of T2-01 to be used up", |plan| {
        plan["status"] == "paused" && task(plan, "T2-01")["budget_micro_usd"] == 500_000
    });
    cluster.wavegate(&["resume", "1", "--task", "T2-01", "--add-usd", "20"]);

    let plan = cluster.wait_for("the second wave", |plan| plan["waves"][1]["status"] == "done");
    for key in ["T1-01", "T1-04", "T2-02"] {
        assert_eq!(task(&plan, key)["runner"], runner);
    }
    assert_eq!(
        (&task(&plan, "T2-02")["rejections"], plan["waves"][1]["round"].as_u64()),
        (&0.into(), Some(2))
    );
    let sessions: Vec<_> =
        task(&plan, "T2-02")["attempts"].as_array().unwrap().iter().map(|it| it["session"].clone()).collect();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0], sessions[1], "mended in the session that made it");
    assert_eq!(plan["waves"][1]["counsels"][0]["purpose"], "triage");

    // Cancelled amid a tool: nothing of it is left.
    wait_until(
        "the endless tool",
        || cluster.dump(),
        || (!processes_of("test 8715").is_empty()).then_some(()),
    );
    cluster.wavegate(&["cancel", "1"]);
    wait_until(
        "the tool to be gone",
        || cluster.dump(),
        || processes_of("test 8715").is_empty().then_some(()),
    );
    cluster.wait_for("the lease to be given back", |plan| task(plan, "T3-01")["lease"].is_null());

    let report = cluster.report();
    let totals = cluster.api.totals();
    let mut counted = totals.clone();
    // Codex tells what its calls used, not how many they were.
    counted.iter_mut().filter(|(model, _)| model.starts_with("gpt-")).for_each(|(_, total)| total.calls = 0);
    assert_eq!(by_model(&report), counted, "{}", cluster.dump());
    let usage = &report["report"]["usage"];
    let sum = |of: fn(&Usage) -> u64| totals.values().map(of).sum::<u64>();
    assert_eq!(usage["tokens_in"], sum(|it| it.input + it.cache_write));
    assert_eq!(
        (&usage["tokens_out"], &usage["tokens_cached"]),
        (&sum(|it| it.output).into(), &sum(|it| it.cache_read).into())
    );
    assert_eq!(
        cluster.home.count("SELECT sum(output_tokens) FROM token_usage").unwrap(),
        sum(|it| it.output) as i64
    );
    let most = cluster.api.most_sessions_at_once(|call| call.role == Role::Task);
    assert!(most <= 3, "{most} agents at once in standard");
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The ledger, as the provider counts.
fn by_model(report: &Value) -> BTreeMap<String, Usage> {
    let mut models: BTreeMap<String, Usage> = BTreeMap::new();
    for line in report["ledger"].as_array().unwrap() {
        let number = |name: &str| line[name].as_u64().unwrap();
        let total = models.entry(text(line, "model").to_owned()).or_default();
        total.input += number("tokens_in");
        total.output += number("tokens_out");
        total.cache_read += number("cache_read");
        total.cache_write += number("cache_write");
        total.calls += number("calls");
    }
    models
}

/// The processes whose command line holds the words.
fn processes_of(words: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(words) && !line.contains("--output-format")).collect()
}
