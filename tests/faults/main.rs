//! Faults of real processes that need no rights: kill -9, SIGSTOP, a network that loses, delays and cuts, damaged
//! spools, a coordinator that is away. No task runs twice without being counted, nothing is lost, the plan ends.
//! What needs root or strace is in the suite `injected`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod away;
mod backups;
mod kills;
mod network;
mod spool;
mod stops;

use std::net::TcpListener;

use wavegate_tests::Home;

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_wavegate-under-test"), env!("CARGO_BIN_EXE_wavegate-worker-under-test"))
        .unwrap()
}

/// An address that is free now and kept over restarts.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Stores the plan of witnesses and lets it start.
fn begin(home: &Home, name: &str, tasks: usize, beats: u32, mode: &str) {
    begin_with(home, name, tasks, &[beats], mode);
}

/// As [`begin`]; the tasks take so many beats in turn.
fn begin_with(home: &Home, name: &str, tasks: usize, beats: &[u32], mode: &str) {
    let plan = home.witness_plan(name, tasks, beats).unwrap();
    assert_eq!(home.run(&["submit", plan.to_str().unwrap()]).unwrap().code, Some(0), "{}", home.dump());
    assert_eq!(home.run(&["approve", name, "--mode", mode]).unwrap().code, Some(0), "{}", home.dump());
}

/// Waits until so many agents have begun.
#[track_caller]
fn wait_for_agents(home: &Home, least: usize) {
    wavegate_tests::wait_until(
        "agents to begin",
        || home.dump(),
        || (home.intervals().len() >= least).then_some(()),
    );
}
