//! A command's whole tree ends with its right to run, whatever ends first.

use std::process::Stdio;

use wavegate_worker::{
    runner::shell,
    supervisor::{Ended, Right, clear_leftovers},
    work::{Ending, boottime_ms},
};

use crate::bench::{Bench, is_alive, task, until};
use wavegate_proto::v1;

/// Leaves a child in a session of its own that ignores TERM, and waits for ever.
fn stubborn(bench: &Bench) -> String {
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
        kill_grace: std::time::Duration::from_millis(100),
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
async fn a_killed_supervisor_leaves_nothing() {
    let bench = Bench::new();
    wavegate_worker::supervisor::become_subreaper().unwrap();
    let child = bench.path("child");
    let command = stubborn(&bench);
    let mark = format!("WAVEGATE_LEASE_ID={}", bench.lease_id);
    let (ending, ()) = tokio::join!(bench.run(&command), async {
        until("the child", || child.exists()).await;
        let supervisor = pid_with(&mark, "__supervise").unwrap();
        let killed = std::process::Command::new("kill").args(["-9", &supervisor]).status().unwrap();
        assert!(killed.success());
    });
    assert!(
        matches!(&ending, Ending::Report(report) if report.outcome() == v1::Outcome::Failed),
        "{ending:?}"
    );
    assert!(!is_alive(&child));
}

#[tokio::test]
async fn a_supervisor_whose_worker_is_gone_ends_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let child = dir.path().join("child");
    let script =
        format!("setsid sleep 1000 & echo $! > {0}.tmp; mv {0}.tmp {0}; sleep 1000", child.display());
    let spec = format!(
        "{{\"program\":\"/bin/sh\",\"args\":[\"-c\",{script:?}],\"cwd\":\"/\",\"env\":[[\"PATH\",\"/usr/bin:/bin\"]],\
         \"deadline_boottime_ms\":{},\"kill_grace_ms\":200}}\n",
        boottime_ms() + 600_000
    );
    let mut supervisor = tokio::process::Command::new(env!("CARGO_BIN_EXE_wavegate-worker"))
        .arg("__supervise")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut control = supervisor.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut control, spec.as_bytes()).await.unwrap();
    until("the child", || is_alive(&child)).await;
    drop(control);
    supervisor.wait().await.unwrap();
    assert!(!is_alive(&child));
}

#[tokio::test]
async fn leftovers_of_an_earlier_start_are_ended_by_their_mark() {
    let dir = tempfile::tempdir().unwrap();
    let worker = format!("leftover-{}", dir.path().display());
    let mut left =
        std::process::Command::new("sleep").arg("1000").env("WAVEGATE_WORKER_ID", &worker).spawn().unwrap();
    let waited = std::thread::spawn(move || left.wait());
    let pid = async {
        until("its environment", || pid_with(&format!("WAVEGATE_WORKER_ID={worker}"), "sleep").is_some())
            .await
    };
    pid.await;
    clear_leftovers(&worker).unwrap();
    assert!(!waited.join().unwrap().unwrap().success());
}

#[tokio::test]
async fn a_flood_of_output_is_read_and_not_kept() {
    let bench = Bench::new();
    let report = bench
        .report(task("head -c 100000000 /dev/zero | tr '\\0' x; echo; echo end", v1::WorkspaceKind::None))
        .await;
    assert_eq!(report.outcome(), v1::Outcome::Succeeded);
    assert_eq!(*bench.log.bytes.lock().unwrap(), 100_000_005);
    assert!(report.output_tail.len() <= 4096);
}

/// The id of a process with this mark in its environment and this word in its command line.
fn pid_with(mark: &str, word: &str) -> Option<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| {
            let has = |file: &str, text: &str| {
                let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
                bytes.split(|byte| *byte == 0).any(|part| part.ends_with(text.as_bytes()))
            };
            has("environ", mark) && has("cmdline", word)
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .next()
}
