//! How a running worker is asked to end: finish first, or now.

use std::sync::Arc;

use tokio::sync::watch;

/// Asks a worker to end; clones ask the same worker. Dropping it asks for nothing.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<watch::Sender<Wish>>);

/// What was asked; a later wish is never a weaker one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    GoOn,
    Drain,
    Stop,
}

impl Shutdown {
    /// Asks for nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Wish::GoOn)))
    }

    /// Finish what is held, take nothing new, then end.
    pub fn drain(&self) {
        self.raise(Wish::Drain);
    }

    /// End the agents, give their leases back, then end; within seconds.
    pub fn stop(&self) {
        self.raise(Wish::Stop);
    }

    pub(crate) fn wish(&self) -> Wish {
        *self.0.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Wish> {
        self.0.subscribe()
    }

    fn raise(&self, wish: Wish) {
        self.0.send_if_modified(|now| {
            let is_stronger = wish > *now;
            *now = wish.max(*now);
            is_stronger
        });
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}
