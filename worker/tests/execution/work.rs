//! What tasks, integrations and validations report.

use std::collections::HashMap;

use wavegate_proto::v1;
use wavegate_worker::{
    digest::Digest,
    work::{Ending, perform},
};

use crate::bench::{Bench, task};

fn dir_task(command: &str, base: &str) -> v1::TaskWork {
    let workspace = Some(v1::Workspace {
        kind: v1::WorkspaceKind::Dir.into(),
        base: base.to_owned(),
        ..v1::Workspace::default()
    });
    v1::TaskWork { workspace, ..task(command, v1::WorkspaceKind::Dir) }
}

async fn body(bench: &Bench, body: v1::work::Body) -> v1::Report {
    let work = v1::Work { body: Some(body), ..v1::Work::default() };
    match perform(work, bench.context()).await {
        Ending::Report(report) => *report,
        other @ (Ending::Cancelled | Ending::Fenced | Ending::Unable(_) | Ending::OutOfReach(_)) => {
            panic!("{other:?}")
        }
    }
}

#[tokio::test]
async fn changes_and_deletions_are_the_result_and_integrate_to_the_next_tree() {
    let bench = Bench::new();
    let base = bench.tree_of(&[("keep", "k"), ("gone", "g"), ("deep/file", "old")]).await;
    let first = bench.report(dir_task("rm gone && echo new > deep/file", &base)).await;
    assert_eq!((first.outcome(), first.changed_files), (v1::Outcome::Succeeded, 2));
    let second = bench.report(dir_task("cat keep > copy", &base)).await;
    let result = |key: &str, report: &v1::Report| v1::TaskResult {
        key: key.to_owned(),
        changes: report.changes.clone(),
        base: base.clone(),
        ..v1::TaskResult::default()
    };
    let results = vec![result("A", &first), result("B", &second)];
    let joined = body(
        &bench,
        v1::work::Body::Integrate(v1::IntegrateWork {
            base: base.clone(),
            results,
            ..v1::IntegrateWork::default()
        }),
    )
    .await;
    assert_eq!(bench.text_in(&joined.candidate, "deep/file").as_deref(), Some("new\n"));
    assert_eq!(bench.text_in(&joined.candidate, "copy").as_deref(), Some("k"));
    assert_eq!(bench.text_in(&joined.candidate, "gone"), None);
}

#[tokio::test]
async fn a_task_that_changes_nothing_has_no_changes() {
    let bench = Bench::new();
    let base = bench.tree_of(&[("keep", "k")]).await;
    let report = bench.report(dir_task("cat keep", &base)).await;
    assert_eq!((report.outcome(), report.changes.as_str()), (v1::Outcome::Succeeded, ""));
}

#[tokio::test]
async fn conflicts_name_the_later_task_the_path_and_the_other() {
    let bench = Bench::new();
    let mut results = Vec::new();
    for (key, command) in [("A", "echo 1 > same"), ("B", "echo 2 > same")] {
        let report = bench.report(dir_task(command, "")).await;
        results.push(v1::TaskResult {
            key: key.to_owned(),
            changes: report.changes,
            ..v1::TaskResult::default()
        });
    }
    let joined = body(
        &bench,
        v1::work::Body::Integrate(v1::IntegrateWork { results, ..v1::IntegrateWork::default() }),
    )
    .await;
    assert_eq!(joined.outcome(), v1::Outcome::Conflict);
    assert_eq!(joined.conflicts[0].task, "B");
    assert!(joined.conflicts[0].text.contains("same") && joined.conflicts[0].text.contains('A'));
}

#[tokio::test]
async fn thor_runs_every_command_at_the_candidate_and_keeps_the_evidence() {
    let bench = Bench::new();
    let candidate = bench.tree_of(&[("file", "text\n")]).await;
    let check = |key: &str, verify: &[&str]| v1::TaskCheck {
        key: key.to_owned(),
        verify: verify.iter().map(|command| (*command).to_owned()).collect(),
        ..v1::TaskCheck::default()
    };
    let validate = v1::ValidateWork {
        workspace: Some(v1::Workspace {
            kind: v1::WorkspaceKind::Dir.into(),
            base: candidate,
            ..v1::Workspace::default()
        }),
        tasks: vec![check("A", &["grep -q text file"]), check("B", &["echo wrong; exit 3", "test -e file"])],
        verify: vec!["test -s file".to_owned()],
        ..v1::ValidateWork::default()
    };
    let report = body(&bench, v1::work::Body::Validate(validate)).await;
    let verdict = report.verdict.unwrap();
    assert_eq!(verdict.decision(), v1::Decision::Rejected);
    assert_eq!(verdict.evidence.len(), 4, "a failed command does not hide the next");
    assert_eq!(verdict.findings.len(), 1);
    assert_eq!(verdict.findings[0].task, "B");
    assert!(verdict.findings[0].text.contains("exit code 3") && verdict.findings[0].text.contains("wrong"));
}

fn validate_dir(candidate: String, tasks: Vec<v1::TaskCheck>) -> v1::work::Body {
    let workspace = Some(v1::Workspace {
        kind: v1::WorkspaceKind::Dir.into(),
        base: candidate,
        ..v1::Workspace::default()
    });
    v1::work::Body::Validate(v1::ValidateWork { workspace, tasks, ..v1::ValidateWork::default() })
}

#[tokio::test]
async fn each_task_is_judged_after_its_own_setup_within_its_own_time_beside_nobodys_leftovers() {
    let bench = Bench::new();
    let candidate = bench.tree_of(&[("file", "text")]).await;
    let check = |key: &str, setup: &str, verify: &str| v1::TaskCheck {
        key: key.to_owned(),
        setup: vec![setup.to_owned()],
        verify: vec![verify.to_owned()],
        timeout_ms: 300,
        ..v1::TaskCheck::default()
    };
    let tasks = vec![
        check("A", "echo made > it", "grep made it && echo spoiled > file"),
        check("B", "true", "test ! -e it && test $(cat file) = text"),
        check("C", "true", "sleep 1000"),
    ];
    let verdict = body(&bench, validate_dir(candidate, tasks)).await.verdict.unwrap();
    let failed: Vec<_> = verdict.findings.iter().map(|finding| finding.task.as_str()).collect();
    assert_eq!(failed, ["C"], "{:?}", verdict.findings);
    let last = verdict.evidence.last().unwrap();
    assert!(last.timed_out && last.exit_code.is_none());
}

#[tokio::test]
async fn what_thor_cannot_run_is_no_verdict() {
    let bench = Bench::new();
    let check = v1::TaskCheck { verify: vec!["true".to_owned()], ..v1::TaskCheck::default() };
    let work = v1::Work { body: Some(validate_dir(String::new(), vec![check])), ..v1::Work::default() };
    let mut context = bench.context();
    context.supervisor = "/nowhere/at/all".into();
    let Ending::Report(report) = perform(work, context).await else { panic!("no report") };
    assert_eq!((report.outcome(), report.verdict), (v1::Outcome::Failed, None));
}

#[tokio::test]
async fn what_a_failed_task_spent_is_reported() {
    let bench = Bench::new();
    let command = r#"echo '{"summary":"fine","cost":1.5}' > $WAVEGATE_RESULT; exit 3"#;
    let report = bench.report(task(command, v1::WorkspaceKind::None)).await;
    assert_eq!(report.outcome(), v1::Outcome::Failed);
    assert_eq!(report.usage.unwrap().cost_micro_usd, Some(1_500_000));
    assert_eq!(report.summary, "the command: exit code 3", "a failed task claims nothing");
}

#[tokio::test]
async fn a_summary_is_one_line_for_people() {
    let bench = Bench::new();
    let command = r#"printf '{"summary":"\\n first \\nsecond"}' > $WAVEGATE_RESULT"#;
    assert_eq!(bench.report(task(command, v1::WorkspaceKind::None)).await.summary, "first");
    let report = bench.report(task("head -c 3000 /dev/zero | tr '\\0' x", v1::WorkspaceKind::None)).await;
    assert_eq!(report.summary.len(), 300);
}

#[tokio::test]
async fn a_cache_that_was_damaged_is_mended() {
    let bench = Bench::new();
    let base = bench.tree_of(&[("file", "text")]).await;
    bench.report(dir_task("true", &base)).await;
    for text in [base.clone(), Digest::of_bytes(b"text").to_string()] {
        let path = bench.path("cache").join(&text[..2]).join(&text[2..]);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
    }
    assert_eq!(bench.report(dir_task("cat file", &base)).await.summary, "text");
}

#[tokio::test]
async fn a_layer_below_a_link_is_refused_before_anything_is_written() {
    let bench = Bench::new();
    let link = bench.report(dir_task(&format!("ln -s {} link", bench.path("").display()), "")).await;
    let below = bench.report(dir_task("mkdir link && echo bad > link/file", "")).await;
    let mut work = dir_task("true", "");
    work.workspace.as_mut().unwrap().layers = vec![link.changes, below.changes];
    let report = bench.report(work).await;
    assert_eq!(report.outcome(), v1::Outcome::Failed);
    assert!(report.summary.contains("link/file"), "{}", report.summary);
    assert!(!bench.path("file").exists());
}

#[tokio::test]
async fn a_lease_id_that_would_leave_its_directory_is_not_taken() {
    let bench = Bench::new();
    let mut context = bench.context();
    context.lease_id = "../../elsewhere".to_owned();
    let work = v1::Work {
        body: Some(v1::work::Body::Task(task("true", v1::WorkspaceKind::None))),
        ..v1::Work::default()
    };
    assert!(matches!(perform(work, context).await, Ending::Unable(_) | Ending::OutOfReach(_)));
}

#[tokio::test]
async fn skip_setup_vars_findings_and_result_file_do_what_they_say() {
    let bench = Bench::new();
    let plain = || task("true", v1::WorkspaceKind::None);
    let skipped = v1::TaskWork { skip_if: "true".to_owned(), run: "exit 1".to_owned(), ..plain() };
    assert_eq!(bench.report(skipped).await.outcome(), v1::Outcome::Skipped);

    let setup =
        v1::TaskWork { setup: vec!["echo made > it".to_owned()], run: "cat it".to_owned(), ..plain() };
    assert_eq!(bench.report(setup).await.summary, "made");
    let bad_setup = v1::TaskWork { setup: vec!["exit 4".to_owned()], ..plain() };
    assert!(bench.report(bad_setup).await.summary.contains("exit code 4"));

    let findings = vec![v1::Finding { task: "T1-01".to_owned(), text: "mend it".to_owned() }];
    let told = v1::TaskWork { findings, run: "cat $WAVEGATE_FINDINGS".to_owned(), ..plain() };
    assert!(bench.report(told).await.output_tail.contains("mend it"));

    let said = r#"echo '{"summary":"ok","tokens":12,"cost":0.5}' > $WAVEGATE_RESULT"#;
    let report = bench.report(v1::TaskWork { run: said.to_owned(), ..plain() }).await;
    assert_eq!((report.summary.as_str(), report.usage.unwrap().tokens_out), ("ok", 12));
    let wrong = v1::TaskWork { run: "echo '[' > $WAVEGATE_RESULT".to_owned(), ..plain() };
    let report = bench.report(wrong).await;
    assert_eq!(report.outcome(), v1::Outcome::Failed);
    assert!(report.summary.contains("$WAVEGATE_RESULT"));

    let missing = v1::TaskWork { env: vec!["WAVEGATE_SURELY_NOT_SET".to_owned()], ..plain() };
    assert!(bench.report(missing).await.summary.contains("WAVEGATE_SURELY_NOT_SET"));

    let vars = HashMap::from([("greeting".to_owned(), "two words; $(no shell)".to_owned())]);
    let echo = v1::TaskWork { run: r#"printf %s "$greeting""#.to_owned(), ..plain() };
    let work = v1::Work { vars, body: Some(v1::work::Body::Task(echo)), ..v1::Work::default() };
    let Ending::Report(report) = perform(work, bench.context()).await else { panic!("no report") };
    assert_eq!(report.output_tail, "two words; $(no shell)");
}

#[tokio::test]
async fn what_this_worker_cannot_do_it_gives_back() {
    let bench = Bench::new();
    let agent = v1::TaskWork {
        runner: "claude".to_owned(),
        run: String::new(),
        agent: Some(v1::AgentWork {
            runner: "claude".to_owned(),
            prompt: "do".to_owned(),
            ..v1::AgentWork::default()
        }),
        ..task("", v1::WorkspaceKind::None)
    };
    assert!(matches!(bench.perform(agent).await, Ending::Unable(text) if text.contains("claude")));
    let nothing = perform(v1::Work::default(), bench.context()).await;
    assert!(matches!(nothing, Ending::Unable(_) | Ending::OutOfReach(_)));
}

#[tokio::test]
async fn workspaces_are_removed_when_the_lease_ends() {
    let bench = Bench::new();
    bench.report(dir_task("mkdir locked && touch locked/file && chmod 500 locked && echo $PWD", "")).await;
    let left = std::fs::read_dir(bench.path("state/work")).unwrap().count();
    assert_eq!(left, 0);
}
