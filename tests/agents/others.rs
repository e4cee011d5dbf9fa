//! Other agents beside Claude Code: Codex, and one that only its worker's config describes.

use crate::cluster::{Cluster, task};

const PLAN: &str = r#"
name: mixed
waves:
  - id: W1
    tasks:
      - { id: T1-01, do: "[[model: write claude.txt|c]]", verify: ["test -s claude.txt"] }
      - { id: T1-02, do: "[[model: bash printf x > codex.txt]]", model: gpt-5.3-codex, verify: ["test -s codex.txt"] }
      - { id: T1-03, do: "make tiny.txt", runner: tiny, permissions: edit, verify: ["grep -q 'make tiny.txt' tiny.txt"] }
"#;

/// An agent in ten lines: it writes what it was told into a file, and says what that cost.
const TINY: &str = r#"#!/bin/sh
[ "$1" = --version ] && { echo "tiny 1.0"; exit; }
cat > tiny.txt
printf '{"answer": "wrote tiny.txt", "usage": {"in": 7, "out": 3}, "usd": 0.001, "talk": "t-1", "by": "tiny-model"}\n'
"#;

fn describe(cluster: &Cluster) -> String {
    let program = cluster.home.write("tiny", TINY).unwrap();
    let made = std::process::Command::new("chmod").arg("755").arg(&program).status().unwrap();
    assert!(made.success());
    let config = format!(
        "[runner.tiny]\nprogram = \"{}\"\nargs = []\nprompt = \"stdin\"\noutput = \"json\"\nresult = \"/answer\"\n\
         tokens-in = \"/usage/in\"\ntokens-out = \"/usage/out\"\ncost-usd = \"/usd\"\nsession = \"/talk\"\nmodel = \"/by\"\n",
        program.display()
    );
    cluster.home.write("worker.toml", &config).unwrap().display().to_string()
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn three_kinds_of_agents_do_one_wave_and_the_ledger_knows_each() {
    let mut cluster = Cluster::start(&[]);
    let config = describe(&cluster);
    cluster.worker_with("a", &["--config", &config]);
    cluster.submit(PLAN, "standard");
    cluster.wait_for_status("done");
    let plan = cluster.home.show("1").unwrap();
    for (key, runner) in [("T1-01", "claude"), ("T1-02", "codex"), ("T1-03", "tiny")] {
        assert_eq!(task(&plan, key)["runner"], runner);
    }
    let report = cluster.report();
    let lines = report["ledger"].as_array().unwrap();
    let line =
        |runner: &str| lines.iter().find(|line| line["runner"] == runner && line["task"] != "").unwrap();
    assert_eq!((&line("tiny")["tokens_in"], &line("tiny")["cost_micro_usd"]), (&7.into(), &1_000.into()));
    assert_eq!(line("tiny")["model"], "tiny-model");
    let codex = line("codex");
    let answered = cluster.api.totals();
    let counted = answered["gpt-5.3-codex"];
    assert_eq!(codex["tokens_in"], counted.input, "{codex}");
    assert_eq!(
        (&codex["tokens_out"], &codex["cache_read"]),
        (&counted.output.into(), &counted.cache_read.into())
    );
    assert!(
        codex["cost_micro_usd"].is_null() && codex["cost_source"] == "unknown",
        "no price is known: {codex}"
    );
    let printed = cluster.wavegate(&["report", "1"]);
    assert!(printed.contains("unknown: no price is known for that model"), "{printed}");
}
