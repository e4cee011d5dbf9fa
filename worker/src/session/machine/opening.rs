//! The session itself: connecting, the welcome, heartbeats, and the end of a stream.

use wavegate_proto::PROTOCOL_VERSION;
use wavegate_proto::v1::{self, worker_message};

use super::{Machine, Phase, progress_message, started_message};
use crate::lease::LeaseId;
use crate::session::effect::{Departure, Effect};
use crate::session::held::{Held, Why};
use crate::session::link::{Link, Open};

impl Machine {
    pub(super) fn try_connect(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let is_due = matches!(self.link, Link::Away { retry_at_ms } if now_ms >= retry_at_ms);
        if is_due && matches!(self.phase, Phase::Serving | Phase::Draining) {
            self.link = Link::Greeting { since_ms: now_ms };
            effects.push(Effect::Connect(self.hello()));
        }
    }

    fn hello(&self) -> v1::Hello {
        let profile = self.profile.clone();
        v1::Hello {
            worker_id: profile.worker_id,
            instance: profile.instance,
            protocol_min: PROTOCOL_VERSION,
            protocol_max: PROTOCOL_VERSION,
            name: profile.name,
            host: profile.host,
            version: profile.version,
            roles: profile.roles.into_iter().map(i32::from).collect(),
            runners: profile.runners,
            labels: profile.labels,
            slots: profile.slots,
            held: self.held_names(),
            draining: self.phase != Phase::Serving,
            // Of the driver's memory.
            known: Vec::new(),
        }
    }

    fn held_names(&self) -> Vec<String> {
        self.held.keys().map(LeaseId::to_string).collect()
    }

    pub(super) fn on_welcome(
        &mut self,
        now_ms: u64,
        sent_ms: u64,
        welcome: v1::Welcome,
        effects: &mut Vec<Effect>,
    ) {
        if welcome.protocol != PROTOCOL_VERSION {
            let reason =
                format!("it speaks protocol {}, this worker speaks {PROTOCOL_VERSION}", welcome.protocol);
            self.drop_link(now_ms, reason.clone(), effects);
            self.leave(now_ms, Departure::Dismissed { reason }, effects);
            return;
        }
        // Grants of this session are made after the hello came, so they count from when it left. What
        // was held before waits for the answer to a heartbeat that names it.
        self.contact_ms = self.contact_ms.max(sent_ms);
        self.fence_margin_ms = welcome.fence_margin_ms;
        self.kill_grace_ms = welcome.kill_grace_ms;
        self.was_welcomed = true;
        self.link = Link::Open(Open::new(now_ms, welcome.heartbeat_ms));
        effects.push(Effect::Welcomed {
            session_id: welcome.session_id,
            epoch: welcome.epoch_counter,
            epoch_nonce: welcome.epoch_nonce,
            database_id: welcome.database_id,
        });
        for (lease_id, held) in &self.held {
            if let Some(models) = self.used.get(lease_id) {
                effects.push(progress_message(lease_id, models.clone()));
            }
            match held {
                Held::Running { started: true, .. } => effects.push(started_message(lease_id)),
                Held::Owed(answer) => effects.push(Effect::Deliver(answer.clone())),
                Held::Running { .. } | Held::Ending(_) => {}
            }
        }
        self.try_heartbeat(now_ms, effects);
    }

    pub(super) fn try_heartbeat(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let held = self.held_names();
        if let Link::Open(open) = &mut self.link
            && let Some(number) = open.try_beat(now_ms)
        {
            let heartbeat = v1::Heartbeat { number, held, last_grant: open.last_grant };
            effects.push(Effect::Send(worker_message::Message::Heartbeat(heartbeat)));
        }
    }

    pub(super) fn on_heartbeat_ack(
        &mut self,
        now_ms: u64,
        ack: &v1::HeartbeatAck,
        effects: &mut Vec<Effect>,
    ) {
        let Link::Open(open) = &mut self.link else {
            return;
        };
        let answered = open.on_answer(now_ms, ack.number);
        for lease_id in &ack.stop {
            let why = "the coordinator no longer counts it as this worker's";
            self.stop(lease_id, Why::Cancelled, why, effects);
        }
        if let Some(sent_ms) = answered {
            self.retry.reset();
            self.contact_ms = self.contact_ms.max(sent_ms);
            self.renew(now_ms, effects);
        }
    }

    pub(super) fn on_goodbye(&mut self, now_ms: u64, goodbye: v1::Goodbye, effects: &mut Vec<Effect>) {
        self.drop_link(now_ms, format!("the coordinator said goodbye: {}", goodbye.reason), effects);
        if goodbye.permanent {
            self.leave(now_ms, Departure::Dismissed { reason: goodbye.reason }, effects);
        }
    }

    pub(super) fn drop_link(&mut self, now_ms: u64, why: String, effects: &mut Vec<Effect>) {
        self.link = self.away(now_ms);
        effects.push(Effect::Disconnect(why));
    }

    pub(super) fn away(&mut self, now_ms: u64) -> Link {
        Link::Away { retry_at_ms: now_ms.saturating_add(self.retry.next_ms()) }
    }
}
