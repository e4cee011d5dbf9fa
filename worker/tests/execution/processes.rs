//! A command's whole tree ends with its right to run, whatever ends first.

use std::process::Stdio;

use wavegate_worker::{
    runner::shell,
    supervisor::{Ended, Right, clear_leftovers},
    work::{Ending, boottime_ms, perform},
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

/// Leaves two children that cleared their environment: one in the supervisor's session, one not.
fn unmarked(bench: &Bench) -> String {
    let child = |prefix: &str, name: &str| {
        let path = bench.path(name);
        format!(
            "{prefix} env -i /bin/sh -c 'echo $$ > {0}.tmp; mv {0}.tmp {0}; sleep 1000' &",
            path.display()
        )
    };
    format!("{} {} sleep 1000", child("", "near"), child("setsid", "far"))
}

#[tokio::test]
async fn children_that_cleared_their_environment_end_too() {
    let bench = Bench::new();
    let (near, far) = (bench.path("near"), bench.path("far"));
    let command = unmarked(&bench);
    let (ending, ()) = tokio::join!(bench.run(&command), async {
        until("the children", || near.exists() && far.exists()).await;
        bench.cancel.send_replace(true);
    });
    assert_eq!(ending, Ending::Cancelled);
    assert!(!is_alive(&near) && !is_alive(&far));
}

/// Each link starts the next one in a session of its own and ends at once. It stops by itself when
/// the file is gone, so that a failing test leaves nothing.
fn chain(bench: &Bench) -> String {
    let (script, going) = (bench.path("chain.sh"), bench.path("going"));
    let text = format!(
        "#!/bin/sh\ntrap '' TERM\n[ -e {going} ] || exit\necho > {started}\nsetsid \"$0\" &\n",
        going = going.display(),
        started = bench.path("child").display(),
    );
    std::fs::write(&script, text).unwrap();
    std::fs::write(&going, "").unwrap();
    format!("sh {0} & (sleep 20; rm -f {1}) & sleep 1000", script.display(), going.display())
}

#[tokio::test]
async fn a_chain_that_outruns_a_walk_through_proc_ends_too() {
    let bench = Bench::new();
    let child = bench.path("child");
    let command = chain(&bench);
    // The script starts itself by its path.
    let script = bench.path("chain.sh");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (ending, ()) = tokio::join!(bench.run(&command), async {
        until("the chain", || child.exists()).await;
        bench.cancel.send_replace(true);
    });
    assert_eq!(ending, Ending::Cancelled);
    // A living chain would write the file again within a millisecond or so.
    for _ in 0..20 {
        std::fs::remove_file(&child).ok();
        tokio::task::yield_now().await;
        let mark = format!("WAVEGATE_LEASE_ID={}", bench.lease_id);
        assert_eq!(pid_with(&mark, "chain.sh"), None);
        assert!(!child.exists());
    }
}

#[tokio::test]
async fn work_that_is_cancelled_or_fenced_before_it_begins_runs_nothing() {
    let bench = Bench::new();
    let command = format!("touch {}", bench.path("ran").display());
    bench.deadline.send_replace(boottime_ms());
    assert_eq!(bench.run(&command).await, Ending::Fenced);
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
    let (ending, ()) = tokio::join!(bench.run(&command), async {
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
async fn a_killed_supervisor_leaves_nothing() {
    let bench = Bench::new();
    wavegate_worker::supervisor::become_subreaper().unwrap();
    let (child, near) = (bench.path("child"), bench.path("near"));
    let command = format!(
        "env -i /bin/sh -c 'echo $$ > {0}.tmp; mv {0}.tmp {0}; sleep 1000' & {1}",
        near.display(),
        stubborn(&bench)
    );
    let mark = format!("WAVEGATE_LEASE_ID={}", bench.lease_id);
    let (ending, ()) = tokio::join!(bench.run(&command), async {
        until("the children", || child.exists() && near.exists()).await;
        kill_9(&pid_with(&mark, "__supervise").unwrap());
    });
    assert!(
        matches!(&ending, Ending::Report(report) if report.outcome() == v1::Outcome::Failed),
        "{ending:?}"
    );
    assert!(!is_alive(&child) && !is_alive(&near));
}

const VICTIM: &str = "WAVEGATE_TEST_VICTIM_DIR";

/// Not a test of its own: the worker that the next test kills.
#[tokio::test]
#[ignore = "started by the test that kills it"]
async fn a_worker_that_is_killed() {
    let Ok(dir) = std::env::var(VICTIM) else { return };
    let mut bench = Bench::at(dir.as_ref());
    bench.worker_id = format!("victim-{}", dir.replace('/', "-"));
    let command = format!("{} & {}", stubborn(&bench), unmarked(&bench));
    bench.run(&command).await;
}

#[tokio::test]
async fn kill_9_of_the_worker_ends_everything_before_its_next_start_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut worker = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "processes::a_worker_that_is_killed"])
        .env(VICTIM, dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let children = ["child", "near", "far"].map(|name| dir.path().join(name));
    until("the children", || children.iter().all(|child| child.exists())).await;
    worker.kill().unwrap();
    worker.wait().unwrap();
    let worker_id = format!("victim-{}", dir.path().display().to_string().replace('/', "-"));
    tokio::task::spawn_blocking(move || clear_leftovers(&worker_id)).await.unwrap().unwrap();
    for child in children {
        assert!(!is_alive(&child), "{}", child.display());
    }
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

fn kill_9(pid: &str) {
    assert!(std::process::Command::new("kill").args(["-9", pid]).status().unwrap().success());
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
