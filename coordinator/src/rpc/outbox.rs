//! The driver's way to the sessions. Owns who can be sent to; a session that does not keep up is let
//! go, and its worker comes back and resumes.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tracing::warn;
use wavegate_engine::{PlanId, SessionId};

use super::news::{News, Teller, news};
use crate::driver::{Outbox, Outgoing};

/// The outbox of a coordinator that serves.
#[derive(Debug)]
pub struct SessionOutbox {
    senders: BTreeMap<SessionId, mpsc::Sender<Outgoing>>,
    /// When so many are there, those that are closed are looked for.
    sweep_at: usize,
    teller: Teller,
}

/// Fewer than this are not worth a look.
const LEAST_SWEPT: usize = 64;

impl SessionOutbox {
    /// An outbox, and what is new by it.
    #[must_use]
    pub fn new() -> (Self, News) {
        let (teller, news) = news();
        (Self { senders: BTreeMap::new(), sweep_at: LEAST_SWEPT, teller }, news)
    }
}

impl Outbox for SessionOutbox {
    fn open(&mut self, session: SessionId, sender: mpsc::Sender<Outgoing>) {
        if self.senders.len() >= self.sweep_at {
            self.senders.retain(|_, sender| !sender.is_closed());
            // Only when they have doubled again: ten thousand that come at once are not looked at for each.
            self.sweep_at = LEAST_SWEPT.max(self.senders.len() * 2);
        }
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

    fn news(&mut self, plan: PlanId) {
        self.teller.plan(plan);
    }

    fn committed(&mut self) {
        self.teller.committed();
    }
}
