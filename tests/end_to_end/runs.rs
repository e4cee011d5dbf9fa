//! `wavegate run` and the commands around it.

use rustix::process::Signal;
use wavegate_tests::wait_until;

use crate::{home, same_tasks, served};

#[test]
fn a_run_goes_on_after_kill_minus_nine() {
    let home = home();
    let dir = home.path("");
    let run = format!(
        "echo $WAVEGATE_TASK >> {0}/begun; until [ -e {0}/go ]; do sleep 0.05; done; echo $WAVEGATE_TASK >> {0}/ended",
        dir.display()
    );
    let plan = home.write("plan.yaml", &same_tasks("cut", 4, &run)).unwrap();
    let mut first = home.start("run", &["run", plan.to_str().unwrap(), "--mode", "standard"]).unwrap();
    wait_until("three to begin", || home.dump(), || (home.read("begun").lines().count() == 3).then_some(()));
    first.kill();
    home.write("go", "").unwrap();
    let ran = home.run(&["run", "--resume", "cut"]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", home.dump());
    let mut ended: Vec<_> = home.read("ended").lines().map(str::to_owned).collect();
    ended.sort();
    ended.dedup();
    assert_eq!(ended.len(), 4);
    assert_eq!(home.status_in_file("cut"), "done");
}

#[test]
fn interrupt_once_drains_and_twice_stops() {
    let home = home();
    let dir = home.path("");
    let run = format!("echo x >> {0}/begun; until [ -e {0}/go ]; do sleep 0.05; done", dir.display());
    let plan = home.write("plan.yaml", &same_tasks("cut", 5, &run)).unwrap();
    let mut run = home.start("run", &["run", plan.to_str().unwrap(), "--mode", "standard"]).unwrap();
    wait_until("three to begin", || home.dump(), || (home.read("begun").lines().count() == 3).then_some(()));
    run.signal(Signal::INT);
    wait_until(
        "the drain",
        || home.dump(),
        || (home.count("SELECT count(*) FROM wg_events WHERE kind='plan_paused'").unwrap() > 0).then_some(()),
    );
    run.signal(Signal::INT);
    assert_eq!(run.wait().code(), Some(130), "{}", run.output());
    assert!(run.output().contains("--resume"), "{}", run.output());
    home.write("go", "").unwrap();
    let ran = home.run(&["run", "--resume", "cut"]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", home.dump());
}

#[test]
fn a_plan_that_nobody_can_serve_says_so_at_once() {
    let home = home();
    let text =
        "name: needy\nwaves:\n  - id: W1\n    tasks:\n      - { id: T1-01, run: 'true', requires: [gpu] }\n";
    let plan = home.write("plan.yaml", text).unwrap();
    let ran = home.run(&["run", plan.to_str().unwrap(), "--mode", "standard"]).unwrap();
    assert!(matches!(ran.code, Some(2..=4)), "{ran:?}");
    assert!(ran.stderr.contains("gpu") || ran.stdout.contains("gpu"), "{ran:?}");
}

#[test]
fn an_agent_task_says_that_no_worker_has_its_runner() {
    let home = home();
    let text = "name: greet\nwaves:\n  - id: W1\n    tasks:\n      - { id: T1-01, do: 'Write hello.txt' }\n";
    let plan = home.write("plan.yaml", text).unwrap();
    let ran = home.run(&["run", plan.to_str().unwrap(), "--mode", "standard"]).unwrap();
    assert!(matches!(ran.code, Some(2..=4)), "{ran:?}");
    assert!(ran.stderr.contains("claude") || ran.stdout.contains("claude"), "{ran:?}");
}

#[test]
fn three_failures_block_and_retry_goes_on() {
    let home = home();
    let (_coordinator, _worker) = served(&home, "4");
    let dir = home.path("");
    let run = format!("echo try >> {0}/tries; test -e {0}/ok", dir.display());
    let plan = home.write("plan.yaml", &same_tasks("flaky", 1, &run)).unwrap();
    home.run(&["submit", plan.to_str().unwrap()]).unwrap();
    home.run(&["approve", "flaky", "--mode", "standard"]).unwrap();
    home.wait_for_status("flaky", "blocked");
    assert_eq!(home.read("tries").lines().count(), 3);
    home.write("ok", "").unwrap();
    assert_eq!(home.run(&["retry", "flaky", "T1-01"]).unwrap().code, Some(0));
    home.wait_for_status("flaky", "done");
}

#[test]
fn cancel_ends_what_runs_with_its_whole_tree() {
    let home = home();
    let (_coordinator, _worker) = served(&home, "4");
    let dir = home.path("");
    let run = format!("setsid sleep 8712 & echo $! > {}/child; sleep 8713", dir.display());
    let plan = home.write("plan.yaml", &same_tasks("long", 1, &run)).unwrap();
    home.run(&["submit", plan.to_str().unwrap()]).unwrap();
    home.run(&["approve", "long", "--mode", "standard"]).unwrap();
    let child = wait_until("the child", || home.dump(), || home.read("child").trim().parse::<u32>().ok());
    assert_eq!(home.run(&["cancel", "long", "--note", "enough"]).unwrap().code, Some(0));
    home.wait_for_status("long", "cancelled");
    wait_until(
        "its tree to be gone",
        || home.dump(),
        || (!std::path::Path::new(&format!("/proc/{child}")).exists()).then_some(()),
    );
}

#[test]
fn pause_grants_nothing_and_accepts_results() {
    let home = home();
    let (_coordinator, _worker) = served(&home, "8");
    let dir = home.path("");
    let run = format!("echo x >> {0}/begun; until [ -e {0}/go ]; do sleep 0.05; done", dir.display());
    let plan = home.write("plan.yaml", &same_tasks("five", 5, &run)).unwrap();
    home.run(&["submit", plan.to_str().unwrap()]).unwrap();
    home.run(&["approve", "five", "--mode", "standard"]).unwrap();
    wait_until("three to begin", || home.dump(), || (home.read("begun").lines().count() == 3).then_some(()));
    assert_eq!(home.run(&["pause", "five"]).unwrap().code, Some(0));
    home.write("go", "").unwrap();
    wait_until(
        "three results",
        || home.dump(),
        || (home.count("SELECT count(*) FROM wg_tasks WHERE state='submitted'").unwrap() == 3).then_some(()),
    );
    assert_eq!(home.read("begun").lines().count(), 3);
    assert_eq!(home.status("five"), "paused");
    assert_eq!(home.run(&["resume", "five"]).unwrap().code, Some(0));
    home.wait_for_status("five", "done");
}

#[test]
fn logs_watch_and_report_tell_what_happened() {
    let home = home();
    let plan = home.write("plan.yaml", &same_tasks("told", 2, "echo said-$WAVEGATE_TASK")).unwrap();
    let ran = home.run(&["run", plan.to_str().unwrap(), "--mode", "standard"]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let (_coordinator, _worker) = served(&home, "1");
    let logs = home.run(&["logs", "told", "T1-02"]).unwrap();
    assert!(logs.stdout.contains("said-T1-02"), "{logs:?}");
    let watch = home.run(&["watch", "told", "--json"]).unwrap();
    assert!(watch.stdout.contains("plan_done") && watch.stdout.contains("lease_granted"), "{watch:?}");
    let report = home.run(&["report", "told"]).unwrap();
    for word in ["wall", "speed-up", "bound", "attempts"] {
        assert!(report.stdout.to_lowercase().contains(word), "{word} is missing in {report:?}");
    }
}

#[test]
fn a_closed_pipe_is_no_crash() {
    let home = home();
    let (_coordinator, _worker) = served(&home, "1");
    let plan = home.write("plan.yaml", &same_tasks("many", 50, "true")).unwrap();
    home.run(&["submit", plan.to_str().unwrap()]).unwrap();
    let program = env!("CARGO_BIN_EXE_wavegate-under-test");
    let shell = format!("{program} show many | head -1; {program} show many 2>&1 | head -1");
    let output = std::process::Command::new("sh")
        .args(["-c", &shell])
        .env("WAVEGATE_DB", home.db())
        .env("HOME", home.path(""))
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panic"), "{output:?}");
}
