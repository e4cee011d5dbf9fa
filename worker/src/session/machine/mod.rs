//! What the worker decides about its session and its leases.
//!
//! A function of what happens: the time comes in, effects come out. No async, no clock, no files, no
//! logging. The driver carries the effects out in order. `opening`, `leases` and `leaving` hold
//! the parts that are about those.

mod leases;
mod leaving;
mod opening;

use std::collections::{BTreeMap, VecDeque};

use wavegate_proto::v1::{self, coordinator_message, worker_message};

use super::effect::{Departure, Effect};
use super::held::{Held, Why};
use super::link::Link;
use crate::backoff::Backoff;
use crate::lease::LeaseId;
use crate::runner::usage_of;
use crate::spool::Answer;
use crate::work::Ending;

/// Coordinators come back within a second, as a rule; a machine that is away for long is no reason
/// to ask more often than this.
const RETRY_MS: (u64, u64) = (100, 5_000);

/// What a hello says about this worker.
#[derive(Debug, Clone)]
pub struct Profile {
    pub worker_id: String,
    pub instance: String,
    pub name: String,
    pub host: String,
    pub version: String,
    pub roles: Vec<v1::Role>,
    pub runners: Vec<v1::Runner>,
    pub labels: Vec<String>,
    pub slots: Option<u32>,
}

/// Why a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// It broke, or never came to be.
    Broken(String),
    /// The coordinator does not know the token.
    Unauthenticated(String),
}

/// The worker's session and what it holds.
#[derive(Debug)]
pub struct Machine {
    profile: Profile,
    link: Link,
    held: BTreeMap<LeaseId, Held>,
    /// What the held leases have used by their newest word. It is told again in each session: a stream that
    /// broke may have taken what was told with it.
    used: BTreeMap<LeaseId, Vec<v1::ModelUsage>>,
    /// The newest last.
    over: VecDeque<LeaseId>,
    phase: Phase,
    retry: Backoff,
    /// When the last hello or heartbeat that was answered had been sent.
    contact_ms: u64,
    fence_margin_ms: u64,
    kill_grace_ms: u64,
    was_welcomed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Finishes what it holds and takes nothing new.
    Draining,
    /// Its agents were told to end; leaves at that time at the latest.
    Leaving {
        until_ms: u64,
        departure: Departure,
    },
    /// Said so; nothing follows.
    Left,
}

impl Machine {
    /// A worker that owes these answers from before, and connects after a short random wait.
    pub fn new(now_ms: u64, seed: u64, profile: Profile, owed: Vec<Answer>) -> Self {
        let mut retry = Backoff::new(RETRY_MS.0, RETRY_MS.1, seed);
        let retry_at_ms = now_ms.saturating_add(retry.below(RETRY_MS.0));
        let held = owed.into_iter().map(|answer| (answer.lease_id().clone(), Held::Owed(answer)));
        Self {
            profile,
            link: Link::Away { retry_at_ms },
            held: held.collect(),
            used: BTreeMap::new(),
            over: VecDeque::new(),
            phase: Phase::Serving,
            retry,
            contact_ms: now_ms,
            fence_margin_ms: 0,
            kill_grace_ms: 0,
            was_welcomed: false,
        }
    }

    /// When `on_tick` is due at the latest.
    pub fn wake_ms(&self) -> u64 {
        let deadlines = self.held.values().filter_map(|held| match held {
            Held::Running { deadline_ms, .. } => Some(*deadline_ms),
            Held::Ending(_) | Held::Owed(_) => None,
        });
        let leaving = match self.phase {
            Phase::Leaving { until_ms, .. } => Some(until_ms),
            Phase::Serving | Phase::Draining | Phase::Left => None,
        };
        let link = match (&self.phase, &self.link) {
            // It does not connect again: a time that has passed would be one without rest.
            (Phase::Leaving { .. } | Phase::Left, Link::Away { .. }) => u64::MAX,
            (_, link) => link.wake_ms(),
        };
        deadlines.chain(leaving).fold(link, u64::min)
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.fence(now_ms, &mut effects);
        if let Some(why) = self.link.failure(now_ms) {
            self.drop_link(now_ms, why, &mut effects);
        }
        self.try_connect(now_ms, &mut effects);
        self.try_heartbeat(now_ms, &mut effects);
        self.try_leave(now_ms, &mut effects);
        effects
    }

    /// The stream ended, or could not be opened.
    pub fn on_lost(&mut self, now_ms: u64, loss: Loss) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.link = self.away(now_ms);
        if let Loss::Unauthenticated(message) = loss
            && !self.was_welcomed
        {
            self.leave(now_ms, Departure::Unauthenticated { message }, &mut effects);
        }
        self.try_leave(now_ms, &mut effects);
        effects
    }

    /// The coordinator said something. What this version does not know changes nothing.
    pub fn on_message(&mut self, now_ms: u64, message: v1::CoordinatorMessage) -> Vec<Effect> {
        use coordinator_message::Message;
        let mut effects = Vec::new();
        match (message.message, &self.link) {
            (None, _) | (Some(_), Link::Away { .. }) => {}
            (Some(Message::Goodbye(goodbye)), _) => self.on_goodbye(now_ms, goodbye, &mut effects),
            (Some(Message::Welcome(welcome)), Link::Greeting { since_ms }) => {
                let since_ms = *since_ms;
                self.on_welcome(now_ms, since_ms, welcome, &mut effects);
            }
            (Some(_), Link::Greeting { .. }) => {
                effects.push(Effect::Warn("the coordinator spoke before its welcome; ignored".to_owned()));
            }
            (Some(Message::Welcome(_)), Link::Open(_)) => {
                effects.push(Effect::Warn("the coordinator welcomed twice; ignored".to_owned()));
            }
            (Some(Message::Grant(grant)), _) => self.on_grant(grant, &mut effects),
            (Some(Message::HeartbeatAck(ack)), _) => self.on_heartbeat_ack(now_ms, &ack, &mut effects),
            (Some(Message::Cancel(cancel)), _) => {
                self.stop(&cancel.lease_id, Why::Cancelled, &cancel.reason, &mut effects);
            }
            (Some(Message::Accepted(accepted)), _) => self.on_accepted(&accepted.lease_id, &mut effects),
            (Some(Message::Refused(refused)), _) => self.on_refused(refused, &mut effects),
            (Some(Message::Drain(_)), _) => self.drain(&mut effects),
        }
        self.try_leave(now_ms, &mut effects);
        effects
    }

    /// The work of a lease began.
    pub fn on_started(&mut self, lease_id: &LeaseId) -> Vec<Effect> {
        if let Some(Held::Running { started, .. }) = self.held.get_mut(lease_id) {
            *started = true;
            if matches!(self.link, Link::Open(_)) {
                return vec![started_message(lease_id)];
            }
        }
        Vec::new()
    }

    /// The work of a lease has used so much by now. It is told even when its end is owed already: what was
    /// spent on a lease that ends without a result is known by nothing else.
    pub fn on_used(&mut self, lease_id: &LeaseId, models: Vec<v1::ModelUsage>) -> Vec<Effect> {
        if !self.held.contains_key(lease_id) {
            return Vec::new();
        }
        self.used.insert(lease_id.clone(), models.clone());
        if matches!(self.link, Link::Open(_)) {
            return vec![progress_message(lease_id, models)];
        }
        Vec::new()
    }

    /// The work of a lease ended and its processes are gone.
    pub fn on_ended(&mut self, now_ms: u64, lease_id: &LeaseId, ending: Ending) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(answer) = self.held.get(lease_id).and_then(|held| held.answer(lease_id, ending)) {
            self.owe(answer, &mut effects);
        }
        self.try_leave(now_ms, &mut effects);
        effects
    }

    /// A person or the coordinator asks to finish what is held and take nothing new.
    pub fn on_drain(&mut self, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.drain(&mut effects);
        self.try_leave(now_ms, &mut effects);
        effects
    }

    /// A person asks to end now.
    pub fn on_stop(&mut self, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.drain(&mut effects);
        self.leave(now_ms, Departure::Stopped, &mut effects);
        self.try_leave(now_ms, &mut effects);
        effects
    }
}

fn progress_message(lease_id: &LeaseId, models: Vec<v1::ModelUsage>) -> Effect {
    let usage = Some(usage_of(&models));
    let progress = v1::Progress { lease_id: lease_id.to_string(), usage, note: String::new(), models };
    Effect::Send(worker_message::Message::Progress(progress))
}

fn started_message(lease_id: &LeaseId) -> Effect {
    let lease_id = lease_id.to_string();
    Effect::Send(worker_message::Message::Started(v1::Started { lease_id }))
}

#[cfg(test)]
mod tests;
