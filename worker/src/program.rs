//! The `wavegate-worker` program: arguments, log, signals and exit codes around a worker.

use std::process::ExitCode;

use clap::Parser as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::{Flags, WorkerConfig};
use crate::coordinator::chain;
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
    match Flags::parse().resolve() {
        Ok(config) => worker(config),
        Err(error) => {
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

fn worker(config: WorkerConfig) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return ExitCode::from(EXIT_FAILED);
        }
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
