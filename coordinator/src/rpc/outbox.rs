//! The driver's way to the sessions. Owns who can be sent to; a session that does not keep up is let
//! go, and its worker comes back and resumes.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};
use tracing::warn;
use wavegate_engine::SessionId;

use crate::driver::{Outbox, Outgoing};

/// The outbox of a coordinator that serves.
#[derive(Debug)]
pub struct SessionOutbox {
    senders: BTreeMap<SessionId, mpsc::Sender<Outgoing>>,
    committed: watch::Sender<u64>,
}

impl SessionOutbox {
    /// An outbox, and what moves at every commit.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<u64>) {
        let (committed, receiver) = watch::channel(0);
        (Self { senders: BTreeMap::new(), committed }, receiver)
    }
}

impl Outbox for SessionOutbox {
    fn open(&mut self, session: SessionId, sender: mpsc::Sender<Outgoing>) {
        self.senders.retain(|_, sender| !sender.is_closed());
        self.senders.insert(session, sender);
    }

    fn send(&mut self, session: SessionId, message: Outgoing) -> bool {
        let Some(sender) = self.senders.get(&session) else { return false };
        if sender.try_send(message).is_ok() {
            return true;
        }
        warn!(session = session.0, "a worker does not read its messages: its session is closed");
        self.close(session);
        false
    }

    fn close(&mut self, session: SessionId) {
        self.senders.remove(&session);
    }

    fn committed(&mut self) {
        self.committed.send_modify(|number| *number += 1);
    }
}
