//! The coordinator: it keeps plans, waves, tasks and leases and hands work to workers.
//!
//! Owns the rooms that join the engine to the world. See ARCHITECTURE.md for what may use what.

pub mod cli;
pub mod coordinator;
pub mod driver;
pub mod planfile;
pub mod prices;
pub mod prompt;
pub mod rpc;
pub mod store;

/// The `wavegate` program: a supervisor when it was started as one, else the command line.
#[must_use]
pub fn main() -> std::process::ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == wavegate_worker::supervisor::SUBCOMMAND)
    {
        return wavegate_worker::supervisor::main();
    }
    cli::main(std::env::args_os(), coordinator::Program)
}
