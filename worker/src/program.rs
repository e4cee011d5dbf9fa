//! The `wavegate-worker` program: arguments, log, signals and exit codes around a worker and its doctor.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::{Command, Flags, WorkerConfig};
use crate::coordinator::chain;
use crate::runner::doctor;
use crate::shutdown::{Shutdown, Wish};
use crate::{start, supervisor};

/// The worker could not start, or was sent away.
const EXIT_FAILED: u8 = 1;
/// The arguments or the config file are wrong; clap's own code as well.
const EXIT_USAGE: u8 = 2;
/// A second signal ended it before it was finished.
const EXIT_INTERRUPTED: u8 = 130;

/// The program: a supervisor when it was started as one, else a worker.
#[must_use]
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == supervisor::SUBCOMMAND) {
        return supervisor::main();
    }
    begin_log();
    let flags = Flags::parse();
    let command = flags.instead();
    match (flags.resolve(), command) {
        (Ok(config), None) => worker(config),
        (Ok(config), Some(Command::Doctor { json })) => examine(&config, json),
        (Err(error), _) => {
            tracing::error!("{}", chain(&error));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn begin_log() {
    let filter = EnvFilter::try_from_env("WAVEGATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}

fn runtime() -> Result<Runtime, ExitCode> {
    Runtime::new().map_err(|error| {
        tracing::error!("cannot start: {error}");
        ExitCode::from(EXIT_FAILED)
    })
}

/// Prints what this host has. Exit 0: a worker can start here.
fn examine(config: &WorkerConfig, as_json: bool) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let examination = runtime.block_on(doctor::examine(config));
    let text = if as_json {
        serde_json::to_string_pretty(&examination).unwrap_or_default() + "\n"
    } else {
        doctor::render(&examination)
    };
    // A reader that went away wants no more of it.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if examination.is_usable() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) }
}

fn worker(config: WorkerConfig) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let shutdown = Shutdown::new();
    let ended = runtime.block_on(async {
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        match signals {
            (Ok(terminate), Ok(interrupt)) => {
                tokio::spawn(heed(terminate, interrupt, shutdown.clone()));
            }
            (Err(error), _) | (_, Err(error)) => tracing::warn!("signals end this worker at once: {error}"),
        }
        start::run(config, shutdown.clone()).await
    });
    // Whatever still blocks has no say in what was decided.
    runtime.shutdown_background();
    match ended {
        Err(error) => {
            tracing::error!("{}", chain(&error));
            ExitCode::from(EXIT_FAILED)
        }
        Ok(()) if shutdown.wish() == Wish::Stop => ExitCode::from(EXIT_INTERRUPTED),
        Ok(()) => {
            tracing::info!("everything is finished and answered");
            ExitCode::SUCCESS
        }
    }
}

/// The first signal drains, the second stops.
async fn heed(mut terminate: Signal, mut interrupt: Signal, shutdown: Shutdown) {
    let mut next = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    next().await;
    shutdown.drain();
    next().await;
    shutdown.stop();
}
