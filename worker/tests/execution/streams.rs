//! Where a command's standard input comes from, and where its standard error goes.

use std::{path::Path, sync::Mutex, time::Duration};

use wavegate_worker::{
    runner::shell,
    supervisor::{self, Ended, Order, Right, SpawnError},
    work::boottime_ms,
};

async fn run(order: &Order) -> (Result<Ended, SpawnError>, String) {
    let (_deadline, deadline) = tokio::sync::watch::channel(boottime_ms() + 60_000);
    let (_cancel, cancel) = tokio::sync::watch::channel(false);
    let right = Right {
        supervisor: env!("CARGO_BIN_EXE_wavegate-worker").into(),
        lease_id: "streams".to_owned(),
        worker_id: "worker-of-the-streams".to_owned(),
        kill_grace: Duration::from_millis(100),
        deadline,
        cancel,
    };
    let text = Mutex::new(Vec::new());
    let ended =
        supervisor::run(order, &right, || (), &|bytes| text.lock().unwrap().extend_from_slice(bytes)).await;
    (ended, String::from_utf8(text.into_inner().unwrap()).unwrap())
}

fn order(command: &str, dir: &Path) -> Order {
    shell::order(command, dir, &[("PATH".to_owned(), "/usr/bin:/bin".to_owned())], None)
}

const DONE: Ended = Ended::Exited { code: Some(0), signal: None };

#[tokio::test]
async fn a_file_becomes_standard_input_and_is_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let stdin = dir.path().join("prompt");
    std::fs::write(&stdin, "x".repeat(300_000)).unwrap();
    let order = Order { stdin: Some(stdin), ..order("wc -c", dir.path()) };
    let (ended, text) = run(&order).await;
    assert_eq!((ended.unwrap(), text.trim()), (DONE, "300000"));
}

#[tokio::test]
async fn without_files_input_is_empty_and_errors_are_part_of_the_output() {
    let dir = tempfile::tempdir().unwrap();
    let (ended, text) = run(&order("wc -c; echo wrong >&2", dir.path())).await;
    assert_eq!((ended.unwrap(), text.as_str()), (DONE, "0\nwrong\n"));
}

#[tokio::test]
async fn a_file_takes_standard_error_and_nothing_of_before_stays_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let stderr = dir.path().join("stderr");
    std::fs::write(&stderr, "much of an earlier run").unwrap();
    let order = Order { stderr: Some(stderr.clone()), ..order("echo right; echo wrong >&2", dir.path()) };
    let (ended, text) = run(&order).await;
    assert_eq!((ended.unwrap(), text.as_str()), (DONE, "right\n"));
    assert_eq!(std::fs::read_to_string(stderr).unwrap(), "wrong\n");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named_and_nothing_runs() {
    let dir = tempfile::tempdir().unwrap();
    let stdin = Some(dir.path().join("missing"));
    let (ended, _) = run(&Order { stdin, ..order("touch ran", dir.path()) }).await;
    let error = ended.unwrap_err().to_string();
    assert!(error.starts_with("cannot start the command") && error.contains("missing"), "{error}");
    assert!(!dir.path().join("ran").exists());
}
