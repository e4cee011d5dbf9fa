//! How the worker leaves: drained, stopped, or sent away.

use wavegate_proto::v1::{self, worker_message};

use super::{Machine, Phase};
use crate::session::effect::{Departure, Effect};
use crate::session::held::{Held, Why};
use crate::session::link::Link;

/// What the end of the agents may take beyond the grace between TERM and KILL, and the way of the
/// last answers.
const LEAVING_MS: u64 = 5_000;

impl Machine {
    pub(super) fn drain(&mut self, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Serving {
            self.phase = Phase::Draining;
            if matches!(self.link, Link::Open(_)) {
                effects.push(Effect::Send(worker_message::Message::Draining(v1::Draining {})));
            }
        }
    }

    /// Ends all work and leaves for this reason, unless it is leaving already.
    pub(super) fn leave(&mut self, now_ms: u64, departure: Departure, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Leaving { .. } | Phase::Left) {
            return;
        }
        let until_ms = now_ms.saturating_add(self.kill_grace_ms).saturating_add(LEAVING_MS);
        self.phase = Phase::Leaving { until_ms, departure };
        for (lease_id, held) in &mut self.held {
            if matches!(held, Held::Running { .. }) {
                *held = Held::Ending(Why::Leaving);
                let why = "the worker leaves".to_owned();
                effects.push(Effect::Stop { lease_id: lease_id.clone(), why });
            }
        }
    }

    pub(super) fn try_leave(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let is_live = self.held.values().any(Held::is_live);
        let is_open = matches!(self.link, Link::Open(_));
        let departure = match &self.phase {
            Phase::Draining if self.held.is_empty() => Departure::Drained,
            Phase::Leaving { until_ms, departure }
                if now_ms >= *until_ms || (!is_live && (!is_open || self.held.is_empty())) =>
            {
                departure.clone()
            }
            Phase::Serving | Phase::Draining | Phase::Leaving { .. } | Phase::Left => return,
        };
        // What is still owed lies in the spool for the next start.
        self.phase = Phase::Left;
        effects.push(Effect::Leave(departure));
    }
}
