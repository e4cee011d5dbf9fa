//! Ctrl-C and SIGTERM, counted by whoever waits for them. From the moment that this listens they no
//! longer end the process by themselves.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;

/// The interrupts that arrive from now on.
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::Backend(error.into()));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The next one. Loses none when it is given up.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
