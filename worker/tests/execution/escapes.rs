//! Processes that hide, and those whose supervisor or worker was killed.

use std::{process::Stdio, time::Duration};

use wavegate_proto::v1;
use wavegate_worker::{
    supervisor::clear_leftovers,
    work::{Ending, boottime_ms},
};

use crate::{
    bench::{Bench, is_alive, until},
    processes::stubborn,
};

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

/// Each link starts the next one in a session of its own and ends at once; after 20 seconds they stop
/// by themselves, so that a failing test leaves nothing.
fn chain(bench: &Bench) -> String {
    let script = bench.path("chain.sh");
    let text = format!(
        "#!/bin/sh\ncd /; exec 2> /dev/null\ntrap '' TERM\nread -r up rest < /proc/uptime\n\
         [ \"${{up%.*}}\" -lt {until} ] || exit\necho > {started}\nsetsid \"$0\" &\n",
        until = boottime_ms() / 1000 + 20,
        started = bench.path("child").display(),
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    format!("{}; sleep 1000", script.display())
}

#[tokio::test]
async fn a_chain_that_outruns_a_walk_through_proc_ends_too() {
    let mut bench = Bench::new();
    // Long enough for many walks that find nothing.
    bench.kill_grace = Duration::from_millis(1000);
    let child = bench.path("child");
    let command = chain(&bench);
    let (ending, ()) = tokio::join!(bench.run(&command), async {
        until("the chain", || child.exists()).await;
        bench.cancel.send_replace(true);
    });
    assert_eq!(ending, Ending::Cancelled);
    // Every link of a living chain would make the file again.
    let mark = format!("WAVEGATE_LEASE_ID={}", bench.lease_id);
    for _ in 0..20 {
        std::fs::remove_file(&child).ok();
        assert_eq!(pid_with(&mark, "chain.sh"), None);
        assert!(!child.exists());
    }
}

#[tokio::test]
async fn a_killed_supervisor_leaves_nothing() {
    let bench = Bench::new();
    wavegate_worker::supervisor::become_subreaper().unwrap();
    let children = ["child", "near", "far"].map(|name| bench.path(name));
    let command = format!("{} & {}", stubborn(&bench), unmarked(&bench));
    let mark = format!("WAVEGATE_LEASE_ID={}", bench.lease_id);
    let (ending, ()) = tokio::join!(bench.run(&command), async {
        until("the children", || children.iter().all(|child| child.exists())).await;
        kill_9(&pid_with(&mark, "__supervise").unwrap());
    });
    assert!(
        matches!(&ending, Ending::Report(report) if report.outcome() == v1::Outcome::Failed),
        "{ending:?}"
    );
    for child in children {
        assert!(!is_alive(&child), "{}", child.display());
    }
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
        .args(["--ignored", "--exact", "escapes::a_worker_that_is_killed"])
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

/// Nobody is left to end the tree then: the next start of the worker does.
#[tokio::test]
async fn kill_9_of_worker_and_supervisor_at_once_ends_everything_before_the_next_start_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut worker = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "escapes::a_worker_that_is_killed"])
        .env(VICTIM, dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let children = ["child", "near", "far"].map(|name| dir.path().join(name));
    until("the children", || children.iter().all(|child| child.exists())).await;
    let worker_id = format!("victim-{}", dir.path().display().to_string().replace('/', "-"));
    let supervisor = pid_with(&format!("WAVEGATE_WORKER_ID={worker_id}"), "__supervise").unwrap();
    // Stopped first, so that neither can act on the other's end.
    for pid in [&supervisor, &worker.id().to_string()] {
        assert!(std::process::Command::new("kill").args(["-STOP", pid]).status().unwrap().success());
    }
    kill_9(&supervisor);
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert!(children.iter().all(|child| is_alive(child)), "the fault does not do what the test is about");
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
