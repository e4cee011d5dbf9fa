//! Disks that fail: power that goes, fsync that fails, no room, kill -9 at each point of the ways to the disk; of the
//! coordinator's database, its artifacts and logs, and of a worker's spool. Nothing that was acknowledged is lost.
//!
//! What needs strace or root is ignored without being asked for, and fails where it cannot run:
//! `cargo test -p wavegate-tests --test disks -- --ignored`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod full;
mod io_errors;
mod kills;
mod power_of_coordinator;
mod power_of_worker;
mod promises;

use std::net::TcpListener;

use wavegate_tests::{Home, Strace, wait_until};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_wavegate-under-test"), env!("CARGO_BIN_EXE_wavegate-worker-under-test"))
        .unwrap()
}

/// For what is rebuilt many times, and for what is traced, where a sync counts by having been asked for.
fn home_in_memory() -> Home {
    Home::in_memory(
        env!("CARGO_BIN_EXE_wavegate-under-test"),
        env!("CARGO_BIN_EXE_wavegate-worker-under-test"),
    )
    .unwrap()
}

/// An address that is free now and kept over restarts.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Stores a plan of witnesses and lets it start.
#[track_caller]
fn begin_witnesses(home: &Home, name: &str, tasks: usize, beats: &[u32]) {
    let plan = home.witness_plan(name, tasks, beats).unwrap();
    begin(home, name, plan.to_str().unwrap(), "standard");
}

/// Waits until it is so.
#[track_caller]
fn wait_for(home: &Home, what: &str, is_so: impl Fn() -> bool) {
    wait_until(what, || home.dump(), || is_so().then_some(()));
}

/// No attempt has two results that count, and each task of a plan that is done was submitted once.
#[track_caller]
fn assert_accepted_once(home: &Home) {
    let twice = "SELECT count(*) FROM (SELECT 1 FROM wg_leases JOIN wg_results ON wg_results.lease_id = wg_leases.id
                 WHERE wg_results.accepted = 1 AND kind = 'task' GROUP BY plan_id, task_ix, attempt HAVING count(*) > 1)";
    assert_eq!(home.count(twice).unwrap(), 0, "{}", home.dump());
    let submitted = home.count("SELECT count(*) FROM wg_events WHERE kind = 'task_submitted'").unwrap();
    let tasks =
        "SELECT count(*) FROM wg_tasks JOIN wg_plans ON wg_plans.id = plan_id WHERE wg_plans.state = 'done'";
    let tasks = home.count(tasks).unwrap();
    assert_eq!(submitted, tasks, "each task was submitted once\n{}", home.dump());
}

/// Stores the plan of a file and lets it start.
#[track_caller]
fn begin(home: &Home, name: &str, file: &str, mode: &str) {
    assert_eq!(home.run(&["submit", file]).unwrap().code, Some(0), "{}", home.dump());
    assert_eq!(home.run(&["approve", name, "--mode", mode]).unwrap().code, Some(0), "{}", home.dump());
}

/// Fails where strace cannot trace: a test that was asked for does not pass by not running.
#[track_caller]
fn need_strace() {
    if let Some(why) = Strace::missing() {
        panic!("this test needs strace: {why}");
    }
}
