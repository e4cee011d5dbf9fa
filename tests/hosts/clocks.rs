//! A wall clock that somebody moves by hours, forward and back, while a plan runs: the coordinator's and a
//! worker's. Deadlines, waits and rights do not follow it; only what is written down for people does.
//!
//! The clock is libfaketime's: the program's wall clock is off by what a file says, its other clocks are real.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use wavegate_tests::{BEATS_A_SECOND, Home, Process};

use crate::{begin, events, free_address, home, wait_for, wait_for_agents};

/// A wall clock for one program, to be moved while that runs.
struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

impl WallClock {
    fn new(home: &Home, name: &str) -> Self {
        let library = libfaketime().expect(
            "libfaketimeMT.so.1 is not in a folder `faketime` below /usr/lib or /usr/local/lib: install libfaketime",
        );
        let clock = Self { library, file: home.path(&format!("clock-{name}")) };
        clock.set("+0");
        clock
    }

    /// How far it is off: `+5h`, `-5h`.
    fn set(&self, offset: &str) {
        // As one step: a reader must not find half of it.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{offset}\n")).unwrap();
        fs::rename(&new, &self.file).unwrap();
    }

    fn environment(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", self.library.as_path()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.as_path()),
            ("FAKETIME_NO_CACHE", Path::new("1")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", Path::new("1")),
            ("DONT_FAKE_MONOTONIC", Path::new("1")),
            ("NO_FAKE_STAT", Path::new("1")),
        ]
        .map(|(name, value)| (name.to_owned(), value.display().to_string()))
        .into()
    }
}

fn libfaketime() -> Option<PathBuf> {
    let mut folders = vec![PathBuf::from("/usr/lib"), PathBuf::from("/usr/local/lib")];
    let below = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    folders.extend(below);
    folders.iter().map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file())
}

fn serve(home: &Home, address: &str, clock: &WallClock, flags: &[&str]) -> Process {
    let mut command = home.command();
    let quick = ["--heartbeat-ms=100", "--unreachable-after-ms=1000", "--lost-after-ms=8000"];
    let more = ["--fence-margin-ms=2000", "--kill-grace-ms=300"];
    command.args(["serve", "--listen", address]).args(quick).args(more).args(flags);
    home.serve_by(command.envs(clock.environment())).unwrap()
}

/// Nothing was lost, nothing ran twice.
#[track_caller]
fn check(home: &Home, plan: &str, tasks: usize) {
    home.wait_for_status(plan, "done");
    home.assert_done(plan, tasks, true);
    home.assert_no_overlap(0.0);
    assert_eq!(events(home, "lease_lost"), 0, "{}", home.dump());
    assert_eq!(home.run(&["report", plan]).unwrap().code, Some(0), "{}", home.dump());
}

/// How many hours lie between the first and the last of the coordinator's times.
fn hours_apart(home: &Home) -> i64 {
    home.count("SELECT (max(at_ms) - min(at_ms)) / 3600000 FROM wg_events").unwrap()
}

#[test]
#[ignore = "needs libfaketime"]
fn a_coordinator_whose_wall_clock_is_moved_loses_nothing_and_retries_when_it_is_time() {
    let home = home();
    let clock = WallClock::new(&home, "coordinator");
    let address = free_address();
    let mut coordinator = serve(&home, &address, &clock, &["--retry-delays-ms=1500"]);
    let worker = home.worker("one", &["--slots", "4"]).unwrap();
    worker.wait_for_output("connected");
    // T1-03, T1-06 and T1-09 fail at their first attempt.
    begin(&home, "moved", &home.witness_plan("moved", 9, &[BEATS_A_SECOND]).unwrap());
    wait_for_agents(&home, 3);
    clock.set("+5h");
    wait_for(&home, "a retry that waits", || events(&home, "task_failed") >= 1);
    clock.set("-5h");
    let is_retried = |task: &str| home.intervals().iter().any(|one| one.task == task && one.attempt == 2);
    wait_for(&home, "that retry", || is_retried("T1-03"));
    wait_for(&home, "another one that waits", || events(&home, "task_failed") >= 3);
    // What is stored of the wait lies hours ahead of the next start's clock.
    coordinator.kill();
    clock.set("-9h");
    let _coordinator = serve(&home, &address, &clock, &["--retry-delays-ms=1500"]);
    check(&home, "moved", 9);
    home.assert_accepted_is_kept(&["one"]);
    assert!(hours_apart(&home) >= 13, "its clock was not moved: {}", home.dump());
    let shown = home.show("moved").unwrap();
    for task in shown["waves"][0]["tasks"].as_array().unwrap() {
        let attempts: Vec<_> =
            task["attempts"].as_array().unwrap().iter().map(|one| &one["attempt"]).collect();
        assert!(attempts.is_sorted_by_key(|attempt| attempt.as_i64()), "{task}");
    }
    assert_in_order(&home);
}

/// Every lease's events are in the order in which things happened, whatever their times say.
#[track_caller]
fn assert_in_order(home: &Home) {
    let sql = home.sql().unwrap();
    let mut rows = sql
        .prepare("SELECT kind, lease_id FROM wg_events WHERE lease_id IS NOT NULL ORDER BY number")
        .unwrap();
    let told: Vec<(String, String)> =
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    let mut granted = BTreeSet::new();
    for (kind, lease) in told {
        if kind == "lease_granted" {
            granted.insert(lease);
        } else {
            assert!(granted.contains(&lease), "{kind} of {lease} before it was granted\n{}", home.dump());
        }
    }
}

#[test]
#[ignore = "needs libfaketime"]
fn a_worker_whose_wall_clock_is_moved_ends_no_agent_and_keeps_its_leases() {
    let home = home();
    let clock = WallClock::new(&home, "worker");
    let right = WallClock::new(&home, "coordinator");
    let _coordinator = serve(&home, &free_address(), &right, &["--retry-delays-ms=50"]);
    let worker = home.worker_with("one", &["--slots", "4"], &clock.environment()).unwrap();
    worker.wait_for_output("connected");
    // They end one after the other, so that the log has a line between two moves.
    let beats = [BEATS_A_SECOND, 2 * BEATS_A_SECOND, 3 * BEATS_A_SECOND];
    begin(&home, "moved", &home.witness_plan("moved", 6, &beats).unwrap());
    for (finished, offset) in [(1, "+5h"), (3, "-5h"), (5, "+0")] {
        wait_for(&home, "results", || worker.output().matches("finished: lease").count() >= finished);
        clock.set(offset);
    }
    check(&home, "moved", 6);
    home.assert_accepted_is_kept(&["one"]);
    assert!(!worker.output().contains("ending lease"), "{}", home.dump());
    assert_eq!(worker.output().matches("connected: ").count(), 1, "{}", home.dump());
    // Its log is for people, and has the times of its wall clock: to the hour, `2026-11-29T17`.
    let output = worker.output();
    let hours: BTreeSet<_> = output.lines().filter_map(|line| line.split(':').next()).collect();
    assert!(hours.len() >= 3, "its clock was not moved: {hours:?}");
}

/// An agent whose account is at its limit at first.
const LIMITED: &str = r#"#!/bin/sh
read -r up rest < /proc/uptime
echo "begin $up" >> "$LIMITED_FILE"
[ "$(grep -c begin "$LIMITED_FILE")" -gt 1 ] && { echo "all done"; exit; }
echo "usage limit reached, try again in 4 seconds" >&2
exit 1
"#;

/// The wait for a reset that the provider told, with a coordinator whose clock is moved meanwhile.
fn waits_for_a_reset(offset: &str) {
    let home = home();
    let clock = WallClock::new(&home, "coordinator");
    let program = home.write("limited.sh", LIMITED).unwrap().display().to_string();
    let config = format!(
        "[runner.limited]\nprogram = \"/bin/sh\"\nargs = [{program:?}]\nversion-args = []\nmodels = [\"sonnet\"]\n\
         env = [\"LIMITED_FILE\"]\naccount-env = \"LIMITED_KEY\"\nusage-limit = [\"usage limit reached\"]\n"
    );
    let config = home.write("worker.toml", &config).unwrap().display().to_string();
    let runs = home.path("runs").display().to_string();
    let env = [("LIMITED_FILE".to_owned(), runs), ("LIMITED_KEY".to_owned(), "one".to_owned())];
    let _coordinator = serve(&home, &free_address(), &clock, &[]);
    let worker = home.worker_with("one", &["--slots", "1", "--config", &config], &env).unwrap();
    worker.wait_for_output("connected");
    let task = "{ id: T1-01, do: \"anything\", runner: limited, verify: [\"true\"] }";
    let head = "name: limited\nthor: worker\nproject: { workspace: none }\nwaves:\n  - id: W1\n    tasks:\n";
    let plan = home.write("limited.yaml", &format!("{head}      - {task}\n")).unwrap();
    begin(&home, "limited", &plan);
    wait_for(&home, "the limit", || events(&home, "account_waiting") == 1);
    clock.set(offset);
    home.wait_for_status("limited", "done");
    assert!(hours_apart(&home) >= 4, "its clock was not moved: {}", home.dump());
    let runs: Vec<f64> =
        home.read("runs").lines().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert!(runs.len() == 2 && runs[1] - runs[0] >= 4.0, "{runs:?}\n{}", home.dump());
}

#[test]
#[ignore = "needs libfaketime"]
fn a_wall_clock_that_is_set_back_does_not_lengthen_the_wait_for_a_usage_limits_reset() {
    waits_for_a_reset("-5h");
}

#[test]
#[ignore = "needs libfaketime"]
fn a_wall_clock_that_is_set_forward_does_not_shorten_the_wait_for_a_usage_limits_reset() {
    waits_for_a_reset("+5h");
}
