//! Faults of hosts, with real processes: what kill -9 leaves of a worker's trees, and the suspend of a whole
//! machine run in a plain `cargo test`. The others are ignored there and run with
//! `cargo test -p wavegate-tests --test hosts -- --ignored`: networks that fail between hosts (in network
//! namespaces: root, ip, iptables, ss, tc and nsenter) and wall clocks that are moved (libfaketime, no root). What
//! is missing then fails the test, which says so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clocks;
mod kills;
mod network;
mod suspend;

use std::{net::TcpListener, path::Path};

use wavegate_tests::{Home, wait_until};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_wavegate-under-test"), env!("CARGO_BIN_EXE_wavegate-worker-under-test"))
        .unwrap()
}

/// An address that is free now and kept over restarts.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Stores the plan and lets it start in mode standard.
#[track_caller]
fn begin(home: &Home, name: &str, plan: &Path) {
    assert_eq!(home.run(&["submit", plan.to_str().unwrap()]).unwrap().code, Some(0), "{}", home.dump());
    assert_eq!(home.run(&["approve", name, "--mode", "standard"]).unwrap().code, Some(0), "{}", home.dump());
}

#[track_caller]
fn wait_for(home: &Home, what: &str, is_so: impl Fn() -> bool) {
    wait_until(what, || home.dump(), || is_so().then_some(()));
}

#[track_caller]
fn wait_for_agents(home: &Home, least: usize) {
    wait_for(home, "agents to begin", || home.intervals().len() >= least);
}

/// How many events of the kind are in the database.
fn events(home: &Home, kind: &str) -> i64 {
    home.count(&format!("SELECT count(*) FROM wg_events WHERE kind = '{kind}'")).unwrap()
}
