//! The stream as the machine sees it: away, greeting or open, and when it is taken for dead.

use std::collections::VecDeque;

/// A coordinator that takes a stream and says nothing for this long is not one.
const GREETING_MS: u64 = 10_000;

/// Below this a busy machine would be taken for a dead one.
const LEAST_SILENCE_MS: u64 = 1_000;

/// The stream to the coordinator. The driver moves it on by what it hears; time moves it on by `tick`.
#[derive(Debug)]
pub(super) enum Link {
    /// No stream; the next try is due then.
    Away { retry_at_ms: u64 },
    /// A hello was sent then; a welcome makes it open.
    Greeting { since_ms: u64 },
    /// Welcomed.
    Open(Open),
}

/// An open session.
#[derive(Debug)]
pub(super) struct Open {
    heartbeat_ms: u64,
    next_heartbeat_ms: u64,
    number: u64,
    /// The heartbeats that have no answer yet: number, and when it was sent.
    unanswered: VecDeque<(u64, u64)>,
    last_answer_ms: u64,
    pub(super) last_grant: u64,
}

impl Link {
    /// When it next needs a look.
    pub(super) fn wake_ms(&self) -> u64 {
        match self {
            Self::Away { retry_at_ms } => *retry_at_ms,
            Self::Greeting { since_ms } => since_ms.saturating_add(GREETING_MS),
            Self::Open(open) => open.next_heartbeat_ms.min(open.silent_at_ms()),
        }
    }

    /// Why it is to be dropped, if it is.
    pub(super) fn failure(&self, now_ms: u64) -> Option<String> {
        match self {
            Self::Greeting { since_ms } if now_ms >= since_ms.saturating_add(GREETING_MS) => {
                Some(format!("no welcome for {GREETING_MS} ms"))
            }
            Self::Open(open) if now_ms >= open.silent_at_ms() => {
                let silence = now_ms.saturating_sub(open.last_answer_ms);
                Some(format!("no answer to a heartbeat for {silence} ms"))
            }
            Self::Away { .. } | Self::Greeting { .. } | Self::Open(_) => None,
        }
    }
}

impl Open {
    pub(super) fn new(now_ms: u64, heartbeat_ms: u64) -> Self {
        Self {
            // An interval of nothing would be a heartbeat without end.
            heartbeat_ms: heartbeat_ms.max(1),
            next_heartbeat_ms: now_ms,
            number: 0,
            unanswered: VecDeque::new(),
            last_answer_ms: now_ms,
            last_grant: 0,
        }
    }

    /// The number of the heartbeat that is due now.
    pub(super) fn try_beat(&mut self, now_ms: u64) -> Option<u64> {
        if now_ms < self.next_heartbeat_ms {
            return None;
        }
        self.number += 1;
        self.next_heartbeat_ms = now_ms.saturating_add(self.heartbeat_ms);
        self.unanswered.push_back((self.number, now_ms));
        Some(self.number)
    }

    /// A heartbeat was answered: when it was sent, if it was and had no answer before.
    pub(super) fn on_answer(&mut self, now_ms: u64, number: u64) -> Option<u64> {
        let at = self.unanswered.iter().position(|(sent, _)| *sent == number)?;
        let (_, sent_ms) = self.unanswered.drain(..=at).next_back()?;
        self.last_answer_ms = now_ms;
        Some(sent_ms)
    }

    fn silent_at_ms(&self) -> u64 {
        let silence = self.heartbeat_ms.saturating_mul(3).max(LEAST_SILENCE_MS);
        self.last_answer_ms.saturating_add(silence)
    }
}
