//! What the worker decides about its session and its leases.
//!
//! A function of what happens: the time comes in, effects come out. No async, no clock, no files, no
//! logging. The driver carries the effects out in order.

use std::collections::{BTreeMap, VecDeque};

use wavegate_proto::PROTOCOL_VERSION;
use wavegate_proto::v1::{self, coordinator_message, worker_message};

use super::effect::{Assignment, Departure, Effect};
use super::held::{Held, Why, allowance_ms};
use super::link::{Link, Open};
use crate::backoff::Backoff;
use crate::lease::LeaseId;
use crate::spool::Answer;
use crate::work::Ending;

/// Coordinators come back within a second, as a rule; a machine that is away for long is no reason
/// to ask more often than this.
const RETRY_MS: (u64, u64) = (100, 5_000);

/// What a heartbeat of at most 256 KiB can name: 34 bytes a lease, with room to spare.
const MOST_HELD: usize = 6_000;

/// Names of leases that are over, kept so that a grant seen twice is not run twice.
const REMEMBERED: usize = 1_024;

/// What the end of the agents may take beyond the grace between TERM and KILL, and the way of the
/// last answers.
const LEAVING_MS: u64 = 5_000;

/// What a hello says about this worker.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) worker_id: String,
    pub(crate) instance: String,
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) version: String,
    pub(crate) roles: Vec<v1::Role>,
    pub(crate) runners: Vec<v1::Runner>,
    pub(crate) labels: Vec<String>,
    pub(crate) slots: Option<u32>,
}

/// Why a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It broke, or never came to be.
    Broken(String),
    /// The coordinator does not know the token.
    Unauthenticated(String),
}

/// The worker's session and what it holds.
#[derive(Debug)]
pub(crate) struct Machine {
    profile: Profile,
    link: Link,
    held: BTreeMap<LeaseId, Held>,
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
    pub(crate) fn new(now_ms: u64, seed: u64, profile: Profile, owed: Vec<Answer>) -> Self {
        let mut retry = Backoff::new(RETRY_MS.0, RETRY_MS.1, seed);
        let retry_at_ms = now_ms.saturating_add(retry.below(RETRY_MS.0));
        let held = owed.into_iter().map(|answer| (answer.lease_id().clone(), Held::Owed(answer)));
        Self {
            profile,
            link: Link::Away { retry_at_ms },
            held: held.collect(),
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
    pub(crate) fn wake_ms(&self) -> u64 {
        let deadlines = self.held.values().filter_map(|held| match held {
            Held::Running { deadline_ms, .. } => Some(*deadline_ms),
            Held::Ending(_) | Held::Owed(_) => None,
        });
        let leaving = match self.phase {
            Phase::Leaving { until_ms, .. } => Some(until_ms),
            Phase::Serving | Phase::Draining | Phase::Left => None,
        };
        deadlines.chain(leaving).fold(self.link.wake_ms(), u64::min)
    }

    /// Time has passed.
    pub(crate) fn on_tick(&mut self, now_ms: u64) -> Vec<Effect> {
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
    pub(crate) fn on_lost(&mut self, now_ms: u64, loss: Loss) -> Vec<Effect> {
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
    pub(crate) fn on_message(&mut self, now_ms: u64, message: v1::CoordinatorMessage) -> Vec<Effect> {
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
    pub(crate) fn on_started(&mut self, lease_id: &LeaseId) -> Vec<Effect> {
        if let Some(Held::Running { started, .. }) = self.held.get_mut(lease_id) {
            *started = true;
            if matches!(self.link, Link::Open(_)) {
                return vec![started_message(lease_id)];
            }
        }
        Vec::new()
    }

    /// The work of a lease ended and its processes are gone.
    pub(crate) fn on_ended(&mut self, now_ms: u64, lease_id: &LeaseId, ending: Ending) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(answer) = self.held.get(lease_id).and_then(|held| held.answer(lease_id, ending)) {
            self.owe(answer, &mut effects);
        }
        self.try_leave(now_ms, &mut effects);
        effects
    }

    /// A person or the coordinator asks to finish what is held and take nothing new.
    pub(crate) fn on_drain(&mut self, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.drain(&mut effects);
        self.try_leave(now_ms, &mut effects);
        effects
    }

    /// A person asks to end now.
    pub(crate) fn on_stop(&mut self, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.drain(&mut effects);
        self.leave(now_ms, Departure::Stopped, &mut effects);
        self.try_leave(now_ms, &mut effects);
        effects
    }

    fn try_connect(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
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
        }
    }

    fn held_names(&self) -> Vec<String> {
        self.held.keys().map(LeaseId::to_string).collect()
    }

    fn on_welcome(&mut self, now_ms: u64, sent_ms: u64, welcome: v1::Welcome, effects: &mut Vec<Effect>) {
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
        effects.push(Effect::Welcomed { session_id: welcome.session_id, epoch: welcome.epoch_counter });
        for (lease_id, held) in &self.held {
            match held {
                Held::Running { started: true, .. } => effects.push(started_message(lease_id)),
                Held::Owed(answer) => effects.push(Effect::Deliver(answer.clone())),
                Held::Running { .. } | Held::Ending(_) => {}
            }
        }
        self.try_heartbeat(now_ms, effects);
    }

    fn try_heartbeat(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let held = self.held_names();
        if let Link::Open(open) = &mut self.link
            && let Some(number) = open.try_beat(now_ms)
        {
            let heartbeat = v1::Heartbeat { number, held, last_grant: open.last_grant };
            effects.push(Effect::Send(worker_message::Message::Heartbeat(heartbeat)));
        }
    }

    fn on_heartbeat_ack(&mut self, now_ms: u64, ack: &v1::HeartbeatAck, effects: &mut Vec<Effect>) {
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

    /// Every lease may go on from the last contact. One whose deadline passed is not called back: its
    /// supervisor is ending it.
    fn renew(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
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

    fn fence(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        for (lease_id, held) in &mut self.held {
            if matches!(held, Held::Running { deadline_ms, .. } if now_ms >= *deadline_ms) {
                *held = Held::Ending(Why::Fenced);
                let why = "no answer from the coordinator in time".to_owned();
                effects.push(Effect::Stop { lease_id: lease_id.clone(), why });
            }
        }
    }

    fn on_grant(&mut self, grant: v1::Grant, effects: &mut Vec<Effect>) {
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

    fn owe(&mut self, answer: Answer, effects: &mut Vec<Effect>) {
        self.held.insert(answer.lease_id().clone(), Held::Owed(answer.clone()));
        effects.push(Effect::Spool(answer.clone()));
        if matches!(self.link, Link::Open(_)) {
            effects.push(Effect::Deliver(answer));
        }
    }

    /// Ends the work of a lease that runs. One whose answer is owed gets its own answer.
    fn stop(&mut self, lease_id: &str, why: Why, reason: &str, effects: &mut Vec<Effect>) {
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

    fn on_accepted(&mut self, lease_id: &str, effects: &mut Vec<Effect>) {
        if let Some(answer) = self.take_owed(lease_id) {
            effects.push(Effect::Settle(answer));
        }
    }

    fn on_refused(&mut self, refused: v1::Refused, effects: &mut Vec<Effect>) {
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
        self.over.push_back(lease_id);
        if self.over.len() > REMEMBERED {
            self.over.pop_front();
        }
        Some(answer)
    }

    fn on_goodbye(&mut self, now_ms: u64, goodbye: v1::Goodbye, effects: &mut Vec<Effect>) {
        self.drop_link(now_ms, format!("the coordinator said goodbye: {}", goodbye.reason), effects);
        if goodbye.permanent {
            self.leave(now_ms, Departure::Dismissed { reason: goodbye.reason }, effects);
        }
    }

    fn drop_link(&mut self, now_ms: u64, why: String, effects: &mut Vec<Effect>) {
        self.link = self.away(now_ms);
        effects.push(Effect::Disconnect(why));
    }

    fn away(&mut self, now_ms: u64) -> Link {
        Link::Away { retry_at_ms: now_ms.saturating_add(self.retry.next_ms()) }
    }

    fn drain(&mut self, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Serving {
            self.phase = Phase::Draining;
            if matches!(self.link, Link::Open(_)) {
                effects.push(Effect::Send(worker_message::Message::Draining(v1::Draining {})));
            }
        }
    }

    /// Ends all work and leaves for this reason, unless it is leaving already.
    fn leave(&mut self, now_ms: u64, departure: Departure, effects: &mut Vec<Effect>) {
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

    fn try_leave(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
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

fn started_message(lease_id: &LeaseId) -> Effect {
    let lease_id = lease_id.to_string();
    Effect::Send(worker_message::Message::Started(v1::Started { lease_id }))
}

#[cfg(test)]
mod tests;
