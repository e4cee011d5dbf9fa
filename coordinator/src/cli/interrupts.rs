//! Ctrl-C and SIGTERM, counted by whoever waits for them. From the moment that this listens they no
//! longer end the process by themselves.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::failure::Failure;

/// The interrupts that arrive from now on; none is lost while nobody waits.
#[derive(Debug)]
pub(crate) struct Interrupts(mpsc::UnboundedReceiver<()>);

impl Interrupts {
    /// Listens to the process's signals, until this is dropped and one more has come.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::Backend(error.into()));
        let interrupt = listen(SignalKind::interrupt())?;
        let terminate = listen(SignalKind::terminate())?;
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(forward(interrupt, terminate, sender));
        Ok(Self(receiver))
    }

    /// The next one. Loses none when it is given up.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            // Nobody can interrupt any more.
            std::future::pending().await
        }
    }

    /// As if a person had pressed Ctrl-C so many times already.
    #[cfg(test)]
    pub(crate) fn pressed(times: usize) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        for _ in 0..times {
            sender.send(()).expect("the receiver is here");
        }
        Self(receiver)
    }
}

async fn forward(mut interrupt: Signal, mut terminate: Signal, sender: mpsc::UnboundedSender<()>) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if sender.send(()).is_err() {
            return;
        }
    }
}
