//! A command's whole tree ends with its right to run, whatever ends first.

use std::time::Duration;

use wavegate_worker::{
    runner::shell,
    supervisor::{Ended, Right},
    work::{Ending, boottime_ms, perform},
};

use crate::bench::{Bench, is_alive, task, until};
use wavegate_proto::v1;

/// Leaves a child in a session of its own that ignores TERM, and waits for ever.
pub(crate) fn stubborn(bench: &Bench) -> String {
    format!(
        "setsid sh -c 'trap \"\" TERM; echo $$ > {0}.tmp; mv {0}.tmp {0}; while :; do sleep 1000; done' & sleep 1000",
        bench.path("child").display()
    )
}

#[tokio::test]
async fn cancel_ends_children_in_other_sessions_that_ignore_term() {
    let bench = Bench::new();
    let child = bench.path("child");
    let command = stubborn(&bench);
    let (ending, ()) = tokio::join!(bench.run(&command), async {
        until("the child", || child.exists()).await;
        bench.cancel.send_replace(true);
    });
    assert_eq!(ending, Ending::Cancelled);
    assert!(!is_alive(&child));
}

#[tokio::test]
async fn the_deadline_ends_the_tree_and_moves_on_while_it_is_renewed() {
    let bench = Bench::new();
    bench.deadline.send_replace(boottime_ms() + 60_000);
    let child = bench.path("child");
    let command = stubborn(&bench);
    let (ending, ()) = tokio::join!(bench.run(&command), async {
        until("the child", || child.exists()).await;
        bench.deadline.send_replace(boottime_ms() + 50);
    });
    assert_eq!(ending, Ending::Fenced);
    assert!(!is_alive(&child));
}

#[tokio::test]
async fn work_whose_right_has_ended_never_begins() {
    let bench = Bench::new();
    let begun = bench.path("begun");
    bench.deadline.send_replace(boottime_ms().saturating_sub(1));
    assert_eq!(bench.run(&format!("touch {}", begun.display())).await, Ending::Fenced);
    assert!(!begun.exists());
}

#[tokio::test]
async fn a_supervisor_whose_deadline_has_passed_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let begun = dir.path().join("begun");
    let order = shell::order(&format!("touch {}", begun.display()), dir.path(), &[], None);
    let (_deadline, deadline) = tokio::sync::watch::channel(boottime_ms().saturating_sub(1));
    let (_cancel, cancel) = tokio::sync::watch::channel(false);
    let right = Right {
        supervisor: env!("CARGO_BIN_EXE_wavegate-worker").into(),
        lease_id: "late".to_owned(),
        worker_id: "worker-of-the-test".to_owned(),
        kill_grace: Duration::from_millis(100),
        deadline,
        cancel,
    };
    let ended = wavegate_worker::supervisor::run(&order, &right, || (), &|_| ()).await.unwrap();
    assert_eq!(ended, Ended::Fenced);
    assert!(!begun.exists());
}

#[tokio::test]
async fn background_children_end_with_the_command_and_its_output_is_whole() {
    let bench = Bench::new();
    let child = bench.path("child");
    let command = format!("setsid sleep 1000 & echo $! > {}; seq 1 20000; echo last words", child.display());
    let Ending::Report(report) = bench.run(&command).await else { panic!("no report") };
    assert_eq!(report.outcome(), v1::Outcome::Succeeded);
    assert_eq!(report.summary, "last words");
    assert!(bench.output().contains("\n19999\n20000\nlast words\n"));
    until("the child to be gone", || !is_alive(&child)).await;
}

#[tokio::test]
async fn a_time_limit_is_told_from_a_failure() {
    let bench = Bench::new();
    let limited = v1::TaskWork { timeout_ms: 100, ..task("sleep 1000", v1::WorkspaceKind::None) };
    let report = bench.report(limited).await;
    assert_eq!(report.outcome(), v1::Outcome::TimedOut);
    let report = bench.report(task("exit 7", v1::WorkspaceKind::None)).await;
    assert_eq!((report.outcome(), report.exit_code), (v1::Outcome::Failed, Some(7)));
    let report = bench.report(task("kill -9 $$", v1::WorkspaceKind::None)).await;
    assert_eq!((report.outcome(), report.exit_code), (v1::Outcome::Failed, None));
    assert!(report.summary.contains("signal 9"), "{}", report.summary);
}

#[tokio::test]
async fn work_that_is_cancelled_before_it_begins_runs_nothing() {
    let bench = Bench::new();
    let command = format!("touch {}", bench.path("ran").display());
    bench.cancel.send_replace(true);
    assert_eq!(bench.run(&command).await, Ending::Cancelled);
    assert!(!bench.path("ran").exists());
}

#[tokio::test]
async fn what_ignores_term_is_killed_after_the_grace_and_the_rest_may_tidy_up() {
    let bench = Bench::new();
    let (child, tidied) = (bench.path("child"), bench.path("tidied"));
    let command = format!(
        "trap 'touch {}; exit' TERM; {}",
        tidied.display(),
        stubborn(&bench).replace("& sleep 1000", "& wait")
    );
    let body = v1::work::Body::Task(task(&command, v1::WorkspaceKind::None));
    let work = v1::Work { body: Some(body), ..v1::Work::default() };
    let mut context = bench.context();
    // Enough for a `touch` on a machine whose disk is busy with other tests.
    context.kill_grace = std::time::Duration::from_secs(8);
    let (ending, ()) = tokio::join!(perform(work, context), async {
        until("the child", || child.exists()).await;
        bench.cancel.send_replace(true);
    });
    assert_eq!(ending, Ending::Cancelled);
    assert!(tidied.exists() && !is_alive(&child));
}

#[tokio::test]
async fn a_program_that_is_no_supervisor_is_told_from_one() {
    let bench = Bench::new();
    let body = v1::work::Body::Task(task("true", v1::WorkspaceKind::None));
    let work = v1::Work { body: Some(body), ..v1::Work::default() };
    let mut context = bench.context();
    context.supervisor = "/bin/true".into();
    let Ending::Report(report) = perform(work, context).await else { panic!("no report") };
    assert_eq!(report.outcome(), v1::Outcome::Failed);
    assert!(report.summary.contains("/bin/true does not answer as a supervisor"), "{}", report.summary);
}

#[tokio::test]
async fn a_flood_of_output_is_read_and_not_kept() {
    let bench = Bench::new();
    let before = peak_kib();
    let report = bench
        .report(task("head -c 100000000 /dev/zero | tr '\\0' x; echo; echo end", v1::WorkspaceKind::None))
        .await;
    assert_eq!(report.outcome(), v1::Outcome::Succeeded);
    assert!(peak_kib() < before + 50_000, "{} KiB grew to {}", before, peak_kib());
    assert_eq!(*bench.log.bytes.lock().unwrap(), 100_000_005);
    assert!(report.output_tail.len() <= 4096);
}

/// The most memory that this process ever had.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
