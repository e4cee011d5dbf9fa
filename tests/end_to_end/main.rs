//! The whole way of a plan through real processes and sockets, each test in a home of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod modes;
mod refusals;
mod runs;
mod thor;
mod workspaces;

use wavegate_tests::{Home, Process};

/// A home for the binaries that this package builds.
fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_wavegate-under-test"), env!("CARGO_BIN_EXE_wavegate-worker-under-test"))
        .unwrap()
}

/// A coordinator and one worker of this many slots.
fn served(home: &Home, slots: &str) -> (Process, Process) {
    let coordinator = home.serve("127.0.0.1:0").unwrap();
    let worker = home.worker("one", &["--slots", slots]).unwrap();
    (coordinator, worker)
}

/// A plan of one wave, `count` tasks T1-01.. that all run the same command.
fn same_tasks(name: &str, count: usize, run: &str) -> String {
    let tasks: Vec<_> = (1..=count)
        .map(|at| format!("      - {{ id: T1-{at:02}, run: {run:?}, verify: [\"true\"], on_lost: retry }}\n"))
        .collect();
    format!(
        "name: {name}\nproject: {{ workspace: none }}\nwaves:\n  - id: W1\n    tasks:\n{}",
        tasks.concat()
    )
}
