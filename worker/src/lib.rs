//! The worker: it holds leases, does their work in supervised processes, and tells the coordinator.
//!
//! `session` speaks with the coordinator and decides nothing about plans; `work` performs a lease;
//! `supervisor` owns the processes, `workspace` and `tree` the directories, `spool` the results that
//! are not answered yet, `bulk` artifacts and logs.

pub mod blobs;
pub mod digest;
pub mod runner;
pub mod supervisor;
pub mod tree;
pub mod work;
pub mod workspace;

/// The program: a supervisor when it was started as one, else a worker.
#[must_use]
pub fn main() -> std::process::ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == supervisor::SUBCOMMAND) {
        return supervisor::main();
    }
    std::process::ExitCode::FAILURE
}
