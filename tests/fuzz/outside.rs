//! A clock that moves when it is told to, and an outbox that keeps what is sent.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use tokio::sync::mpsc;
use wavegate_coordinator::driver::{Clock, Outbox, Outgoing};
use wavegate_engine::{Mono, SessionId, Utc};

/// What the driver and its tests both hold.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    pub(crate) now_ms: u64,
    drawn: u128,
    pub(crate) open: BTreeSet<SessionId>,
    pub(crate) sent: Vec<(SessionId, Outgoing)>,
}

pub(crate) type Shared = Rc<RefCell<Outside>>;

pub(crate) struct TestClock(pub(crate) Shared);

impl Clock for TestClock {
    fn utc(&self) -> Utc {
        Utc(1_700_000_000_000_i64.saturating_add_unsigned(self.0.borrow().now_ms))
    }

    fn mono(&self) -> Mono {
        Mono(1_000_000_u64.saturating_add(self.0.borrow().now_ms))
    }

    fn draw(&mut self) -> u128 {
        let mut outside = self.0.borrow_mut();
        outside.drawn += 1;
        outside.drawn.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }
}

pub(crate) struct TestOutbox(pub(crate) Shared);

impl Outbox for TestOutbox {
    fn open(&mut self, session: SessionId, _sender: mpsc::Sender<Outgoing>) {
        self.0.borrow_mut().open.insert(session);
    }

    fn send(&mut self, session: SessionId, message: Outgoing) -> bool {
        let mut outside = self.0.borrow_mut();
        let is_open = outside.open.contains(&session);
        if is_open {
            outside.sent.push((session, message));
        }
        is_open
    }

    fn close(&mut self, session: SessionId) {
        self.0.borrow_mut().open.remove(&session);
    }

    fn committed(&mut self) {}
}
