//! What becomes of a lease: taken, renewed, fenced, ended, answered.

use wavegate_proto::v1;

use super::{Machine, Phase};
use crate::lease::LeaseId;
use crate::session::effect::{Assignment, Effect};
use crate::session::held::{Held, Why, allowance_ms};
use crate::session::link::Link;
use crate::spool::Answer;

/// What a heartbeat of at most 256 KiB can name: 34 bytes a lease, with room to spare.
const MOST_HELD: usize = 6_000;

/// Names of leases that are over, kept so that a grant seen twice is not run twice.
const REMEMBERED: usize = 1_024;

impl Machine {
    /// Every lease may go on from the last contact. One whose deadline passed is not called back: its
    /// supervisor is ending it.
    pub(super) fn renew(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        for (lease_id, held) in &mut self.held {
            if let Held::Running { allowance_ms, deadline_ms, .. } = held {
                let renewed = self.contact_ms.saturating_add(*allowance_ms);
                if renewed > *deadline_ms && now_ms < *deadline_ms {
                    *deadline_ms = renewed;
                    effects.push(Effect::SetDeadline { lease_id: lease_id.clone(), deadline_ms: renewed });
                }
            }
        }
    }

    pub(super) fn fence(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        for (lease_id, held) in &mut self.held {
            if matches!(held, Held::Running { deadline_ms, .. } if now_ms >= *deadline_ms) {
                *held = Held::Ending(Why::Fenced);
                let why = "no answer from the coordinator in time".to_owned();
                effects.push(Effect::Stop { lease_id: lease_id.clone(), why });
            }
        }
    }

    pub(super) fn on_grant(&mut self, grant: v1::Grant, effects: &mut Vec<Effect>) {
        if let Link::Open(open) = &mut self.link {
            open.last_grant = open.last_grant.max(grant.number);
        }
        let lease_id = match LeaseId::parse(&grant.lease_id) {
            Ok(lease_id) => lease_id,
            Err(error) => return effects.push(Effect::Warn(format!("a grant is ignored: {error}"))),
        };
        if self.held.contains_key(&lease_id) || self.over.contains(&lease_id) {
            return effects.push(Effect::Warn(format!("lease {lease_id} was granted twice; ignored")));
        }
        match self.try_take(grant) {
            Ok(body) => self.begin(lease_id, body, effects),
            Err((reason, note)) => self.owe(Answer::Released { lease_id, reason, note }, effects),
        }
    }

    /// The work and its lost_after, or why this worker does not take it.
    fn try_take(&self, grant: v1::Grant) -> Result<(v1::grant::Body, u64), (v1::ReleaseReason, String)> {
        let unable = |note: &str| Err((v1::ReleaseReason::Unable, note.to_owned()));
        if self.phase != Phase::Serving {
            return Err((v1::ReleaseReason::Drain, String::new()));
        }
        let live = self.held.values().filter(|held| held.is_live()).count();
        if self.profile.slots.is_some_and(|slots| live >= slots as usize) {
            return unable("every slot is taken");
        }
        if self.held.len() >= MOST_HELD {
            return unable("too many leases are held here already");
        }
        match grant.body {
            None => unable("the grant carries no work that this version knows"),
            Some(v1::grant::Body::Work(v1::Work { body: None, .. })) => {
                unable("the granted work is of no kind that this version knows")
            }
            Some(body) => Ok((body, grant.lost_after_ms)),
        }
    }

    fn begin(&mut self, lease_id: LeaseId, taken: (v1::grant::Body, u64), effects: &mut Vec<Effect>) {
        let (body, lost_after_ms) = taken;
        let allowance_ms = allowance_ms(lost_after_ms, self.fence_margin_ms);
        let deadline_ms = self.contact_ms.saturating_add(allowance_ms);
        self.held.insert(lease_id.clone(), Held::Running { allowance_ms, deadline_ms, started: false });
        let kill_grace_ms = self.kill_grace_ms;
        effects.push(Effect::Start(Box::new(Assignment { lease_id, body, deadline_ms, kill_grace_ms })));
    }

    pub(super) fn owe(&mut self, answer: Answer, effects: &mut Vec<Effect>) {
        self.held.insert(answer.lease_id().clone(), Held::Owed(answer.clone()));
        effects.push(Effect::Spool(answer.clone()));
        if matches!(self.link, Link::Open(_)) {
            effects.push(Effect::Deliver(answer));
        }
    }

    /// Ends the work of a lease that runs. One whose answer is owed gets its own answer.
    pub(super) fn stop(&mut self, lease_id: &str, why: Why, reason: &str, effects: &mut Vec<Effect>) {
        let Ok(lease_id) = LeaseId::parse(lease_id) else {
            return;
        };
        if let Some(held) = self.held.get_mut(&lease_id)
            && matches!(held, Held::Running { .. })
        {
            *held = Held::Ending(why);
            effects.push(Effect::Stop { lease_id, why: reason.to_owned() });
        }
    }

    pub(super) fn on_accepted(&mut self, lease_id: &str, effects: &mut Vec<Effect>) {
        if let Some(answer) = self.take_owed(lease_id) {
            effects.push(Effect::Settle(answer));
        }
    }

    pub(super) fn on_refused(&mut self, refused: v1::Refused, effects: &mut Vec<Effect>) {
        // For a lease that runs, the next heartbeat says whether it is to stop.
        if let Some(answer) = self.take_owed(&refused.lease_id) {
            effects.push(Effect::SetAside { answer, why: refused.reason });
        }
    }

    fn take_owed(&mut self, lease_id: &str) -> Option<Answer> {
        let lease_id = LeaseId::parse(lease_id).ok()?;
        if !matches!(self.held.get(&lease_id), Some(Held::Owed(_))) {
            return None;
        }
        let Some(Held::Owed(answer)) = self.held.remove(&lease_id) else {
            return None;
        };
        self.used.remove(&lease_id);
        self.over.push_back(lease_id);
        if self.over.len() > REMEMBERED {
            self.over.pop_front();
        }
        Some(answer)
    }
}
