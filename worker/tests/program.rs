//! The `wavegate-worker` program as a person meets it.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:1";

fn worker(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wavegate-worker"));
    command.env_clear().env("HOME", home).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(home: &Path) -> Child {
    let child = worker(home, &["--coordinator", NOBODY]).spawn().unwrap();
    let id = home.join(".local/share/wavegate/worker/id");
    until("the worker's identity", || id.exists());
    child
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_idle_worker_ends_well_at_the_first_signal_even_without_a_coordinator() {
    for asked in [Signal::TERM, Signal::INT] {
        let home = tempfile::tempdir().unwrap();
        let child = start(home.path());
        // It listens for signals before it takes its identity.
        signal(&child, asked);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_second_worker_is_told_which_directory_is_taken() {
    let home = tempfile::tempdir().unwrap();
    let mut first = start(home.path());
    let output = worker(home.path(), &["--coordinator", NOBODY]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("wavegate/worker is in use by another worker"), "{}", words(&output));
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn wrong_arguments_and_a_wrong_file_end_with_2_and_say_where() {
    let home = tempfile::tempdir().unwrap();
    let output = worker(home.path(), &["--slots", "none"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(words(&output).contains("unlimited"), "{}", words(&output));
    let file = home.path().join("worker.toml");
    std::fs::write(&file, "slots = 2\ncolour = 'red'\n").unwrap();
    let output = worker(home.path(), &["--config", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = words(&output);
    assert!(text.contains("worker.toml") && text.contains("line 2") && text.contains("colour"), "{text}");
}

#[test]
fn the_doctor_tells_what_is_missing_and_how_to_get_it() {
    let home = tempfile::tempdir().unwrap();
    let output = worker(home.path(), &["doctor"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("claude     not found") && text.contains("npm install -g @openai/codex"), "{text}");
    let output = worker(home.path(), &["doctor", "--json", "--allow-full"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["allow_full"], &json["runners"][0]["name"]), (&true.into(), &"shell".into()));
    std::fs::write(home.path().join("file"), "").unwrap();
    let state = home.path().join("file/state");
    let output = worker(home.path(), &["doctor", "--state-dir", state.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}
