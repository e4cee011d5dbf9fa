//! The operator's commands: `wavegate run`, `serve`, `plans`, `show` and the rest.
//!
//! Owns what is typed, asked, printed and returned as an exit code. It speaks to the coordinator
//! over gRPC as any other client does and never touches the engine or the store: what it needs
//! besides gRPC it asks of a [`Backend`]. Results go to stdout, progress and messages to stderr.

mod actor;
mod args;
mod backend;
mod calls;
mod client;
mod commands;
mod console;
mod desk;
mod events;
mod exit;
mod failure;
mod interrupts;
mod json;
mod locale;
mod mode_question;
mod pager;
mod plan_file;
mod run;
mod text;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::{ffi::OsString, process::ExitCode};

use clap::Parser as _;

use args::Cli;
use console::Console;
use desk::Desk;
use failure::Failure;

pub use backend::{
    Backend, Backup, CheckedFile, CheckedOut, DiffStyle, Difference, EmbeddedCoordinator, EmbeddedOptions,
    HostExamination, MaxTier, PlanBase, RepositoryBase, ServeOptions, Timings, UploadedState,
};
pub use client::{Bearer, Connection};
pub use exit::{BLOCKED, CANCELLED, DONE, FAILED, INTERRUPTED, PAUSED, USAGE};

/// Reads the arguments (the program's name first), does what they ask and says how it went.
pub fn main<B: Backend>(args: impl IntoIterator<Item = OsString>, backend: B) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout, whose reader may be gone; errors go to stderr.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { DONE });
        }
    };
    let console = Console::of_process();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            console.tell(&format!("wavegate: cannot start: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    let desk = Desk { console, reach: cli.reach, backend };
    let code = runtime.block_on(execute(&desk, cli.command));
    // A thread may still wait for an answer at the terminal; nothing else is left to wait for.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// Does one command; what went wrong is told in one line.
async fn execute<B: Backend>(desk: &Desk<B>, command: args::Command) -> u8 {
    match commands::dispatch(desk, command).await {
        Ok(exit) => exit.code(),
        Err(failure) => {
            if !matches!(failure, Failure::ClosedOutput) {
                desk.console.tell(&format!("wavegate: {failure}"));
            }
            failure.code()
        }
    }
}
