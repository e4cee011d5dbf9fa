use wavegate_proto::v1::{self, coordinator_message, worker_message};

use super::{Loss, Machine, Profile};
use crate::lease::LeaseId;
use crate::session::effect::{Departure, Effect};
use crate::spool::Answer;
use crate::work::Ending;

const HEARTBEAT_MS: u64 = 1_000;
const LOST_AFTER_MS: u64 = 20_000;
const FENCE_MARGIN_MS: u64 = 5_000;

/// A machine with a clock, and the effects that nobody has looked at.
struct Env {
    machine: Machine,
    now_ms: u64,
    effects: Vec<Effect>,
}

impl Env {
    fn new() -> Self {
        Self::owing(Vec::new())
    }

    fn owing(owed: Vec<Answer>) -> Self {
        let profile = Profile {
            worker_id: "w".into(),
            instance: "i".into(),
            name: "name".into(),
            host: "host".into(),
            version: "1".into(),
            roles: vec![v1::Role::Executor],
            runners: Vec::new(),
            labels: Vec::new(),
            slots: Some(3),
        };
        let now_ms = 1_000_000;
        Self { machine: Machine::new(now_ms, 42, profile, owed), now_ms, effects: Vec::new() }
    }

    /// Connected, welcomed, and the effects of it taken.
    fn open() -> Self {
        let mut env = Self::new();
        env.connect();
        env.take();
        env
    }

    fn connect(&mut self) {
        self.pass(5_000);
        self.hear(welcome());
    }

    fn tick(&mut self) {
        let effects = self.machine.on_tick(self.now_ms);
        self.effects.extend(effects);
    }

    /// Lets time pass, stopping wherever the machine wants to look.
    fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.now_ms = self.machine.wake_ms().clamp(self.now_ms + 1, until_ms);
            self.tick();
        }
    }

    /// Lets time pass with every heartbeat answered at once.
    fn pass_answered(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.now_ms = self.machine.wake_ms().clamp(self.now_ms + 1, until_ms);
            self.tick();
            self.answer_heartbeats();
        }
    }

    fn answer_heartbeats(&mut self) {
        for number in self.heartbeats().into_iter().map(|beat| beat.number) {
            self.hear(ack(number, &[]));
        }
        self.effects.retain(|effect| !is_heartbeat(effect));
    }

    fn hear(&mut self, message: coordinator_message::Message) {
        let message = v1::CoordinatorMessage { message: Some(message) };
        let effects = self.machine.on_message(self.now_ms, message);
        self.effects.extend(effects);
    }

    fn end(&mut self, name: &str, ending: Ending) {
        let effects = self.machine.on_ended(self.now_ms, &lease(name), ending);
        self.effects.extend(effects);
    }

    fn lose(&mut self) {
        let effects = self.machine.on_lost(self.now_ms, Loss::Broken("gone".into()));
        self.effects.extend(effects);
    }

    /// Granted and started, with the effects of it taken.
    fn run(&mut self, name: &str) {
        self.hear(grant(1, name));
        let effects = self.machine.on_started(&lease(name));
        self.effects.extend(effects);
        self.take();
    }

    fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What was done, heartbeats apart.
    fn done(&mut self) -> Vec<Effect> {
        self.take().into_iter().filter(|effect| !is_heartbeat(effect)).collect()
    }

    fn heartbeats(&self) -> Vec<v1::Heartbeat> {
        let mut beats = Vec::new();
        for effect in &self.effects {
            if let Effect::Send(worker_message::Message::Heartbeat(beat)) = effect {
                beats.push(beat.clone());
            }
        }
        beats
    }

    fn hello(&self) -> v1::Hello {
        for effect in self.effects.iter().rev() {
            if let Effect::Connect(hello) = effect {
                return hello.clone();
            }
        }
        panic!("no hello was to be sent: {:?}", self.effects)
    }
}

fn is_heartbeat(effect: &Effect) -> bool {
    matches!(effect, Effect::Send(worker_message::Message::Heartbeat(_)))
}

fn lease(name: &str) -> LeaseId {
    LeaseId::parse(name).unwrap()
}

fn welcome() -> coordinator_message::Message {
    coordinator_message::Message::Welcome(v1::Welcome {
        session_id: "s".into(),
        heartbeat_ms: HEARTBEAT_MS,
        fence_margin_ms: FENCE_MARGIN_MS,
        kill_grace_ms: 500,
        protocol: 1,
        ..Default::default()
    })
}

fn grant(number: u64, name: &str) -> coordinator_message::Message {
    let body = Some(v1::work::Body::Task(v1::TaskWork::default()));
    let work = v1::Work { body, ..Default::default() };
    coordinator_message::Message::Grant(v1::Grant {
        number,
        lease_id: name.into(),
        lost_after_ms: LOST_AFTER_MS,
        body: Some(v1::grant::Body::Work(work)),
    })
}

fn ack(number: u64, stop: &[&str]) -> coordinator_message::Message {
    let stop = stop.iter().map(|&name| name.to_owned()).collect();
    coordinator_message::Message::HeartbeatAck(v1::HeartbeatAck { number, keep: Vec::new(), stop })
}

fn accepted(name: &str) -> coordinator_message::Message {
    coordinator_message::Message::Accepted(v1::Accepted { lease_id: name.into() })
}

fn refused(name: &str) -> coordinator_message::Message {
    coordinator_message::Message::Refused(v1::Refused { lease_id: name.into(), reason: "late".into() })
}

fn goodbye(permanent: bool) -> coordinator_message::Message {
    coordinator_message::Message::Goodbye(v1::Goodbye { reason: "no".into(), permanent })
}

fn finished(name: &str) -> Answer {
    Answer::Finished { lease_id: lease(name), report: Box::default() }
}

fn released(name: &str, reason: v1::ReleaseReason) -> Answer {
    Answer::Released { lease_id: lease(name), reason, note: String::new() }
}

fn started(name: &str) -> Effect {
    Effect::Send(worker_message::Message::Started(v1::Started { lease_id: name.into() }))
}

fn progress(name: &str, models: Vec<v1::ModelUsage>) -> Effect {
    let (lease_id, usage) = (name.to_owned(), Some(crate::runner::usage_of(&models)));
    Effect::Send(worker_message::Message::Progress(v1::Progress {
        lease_id,
        usage,
        note: String::new(),
        models,
    }))
}

fn report() -> Ending {
    Ending::Report(Box::default())
}

#[test]
fn the_first_connect_comes_soon_and_says_hello_first() {
    let mut env = Env::new();
    env.pass(100);
    assert!(matches!(env.take()[..], [Effect::Connect(_)]));
}

#[test]
fn a_welcome_is_followed_by_a_heartbeat_at_once_and_then_by_its_interval() {
    let mut env = Env::new();
    env.connect();
    assert_eq!(env.heartbeats().len(), 1);
    env.answer_heartbeats();
    env.pass(HEARTBEAT_MS);
    let beats = env.heartbeats();
    assert_eq!(beats.len(), 1);
    assert_eq!(beats[0].number, 2);
}

#[test]
fn nothing_is_heard_before_the_welcome_but_a_goodbye() {
    let mut env = Env::new();
    env.pass(100);
    env.take();
    env.hear(grant(1, "a"));
    assert!(matches!(env.take()[..], [Effect::Warn(_)]));
    env.hear(goodbye(false));
    assert!(matches!(env.take()[..], [Effect::Disconnect(_)]));
}

#[test]
fn a_coordinator_that_never_welcomes_is_left() {
    let mut env = Env::new();
    env.pass(11_000);
    assert!(matches!(env.take()[..], [Effect::Connect(_), Effect::Disconnect(_), ..]));
}

#[test]
fn a_grant_starts_the_work_and_its_start_is_told() {
    let mut env = Env::open();
    env.hear(grant(1, "a"));
    let effects = env.take();
    assert!(matches!(&effects[..], [Effect::Start(assignment)] if assignment.lease_id == lease("a")));
    assert_eq!(env.machine.on_started(&lease("a")), [started("a")]);
}

#[test]
fn a_grant_seen_twice_runs_once_even_after_its_end() {
    let mut env = Env::open();
    env.run("a");
    env.hear(grant(1, "a"));
    assert!(matches!(env.take()[..], [Effect::Warn(_)]));
    env.end("a", report());
    env.hear(accepted("a"));
    env.take();
    env.hear(grant(2, "a"));
    assert!(matches!(env.take()[..], [Effect::Warn(_)]));
}

#[test]
fn a_heartbeat_names_what_is_held_and_the_highest_grant() {
    let mut env = Env::open();
    env.hear(grant(4, "a"));
    env.hear(grant(3, "b"));
    env.end("b", report());
    env.pass(HEARTBEAT_MS);
    let beat = env.heartbeats().pop().unwrap();
    assert_eq!((beat.held, beat.last_grant), (vec!["a".into(), "b".into()], 4));
}

#[test]
fn a_grant_without_known_work_is_given_back() {
    let mut env = Env::open();
    let empty = v1::Grant { number: 1, lease_id: "a".into(), lost_after_ms: 1, body: None };
    env.hear(coordinator_message::Message::Grant(empty));
    let effects = env.take();
    assert!(matches!(&effects[..], [Effect::Spool(Answer::Released { reason, .. }), Effect::Deliver(_)]
        if *reason == v1::ReleaseReason::Unable));
}

#[test]
fn a_grant_with_a_name_that_is_no_file_name_is_ignored() {
    let mut env = Env::open();
    env.hear(grant(1, "../../etc/passwd"));
    assert!(matches!(env.take()[..], [Effect::Warn(_)]));
}

#[test]
fn a_grant_beyond_the_slots_is_given_back() {
    let mut env = Env::open();
    for name in ["a", "b", "c"] {
        env.run(name);
    }
    env.hear(grant(4, "d"));
    assert!(matches!(&env.take()[0], Effect::Spool(Answer::Released { .. })));
    env.end("a", report());
    env.take();
    env.hear(grant(5, "e"));
    assert!(matches!(env.take()[..], [Effect::Start(_)]));
}

#[test]
fn a_result_is_spooled_before_it_is_sent_and_held_until_accepted() {
    let mut env = Env::open();
    env.run("a");
    env.end("a", report());
    assert_eq!(env.take(), [Effect::Spool(finished("a")), Effect::Deliver(finished("a"))]);
    env.hear(accepted("a"));
    assert_eq!(env.take(), [Effect::Settle(finished("a"))]);
    env.hear(accepted("a"));
    assert_eq!(env.take(), []);
}

#[test]
fn a_refused_result_is_set_aside() {
    let mut env = Env::open();
    env.run("a");
    env.end("a", report());
    env.take();
    env.hear(refused("a"));
    assert_eq!(env.take(), [Effect::SetAside { answer: finished("a"), why: "late".into() }]);
}

#[test]
fn an_unanswered_result_is_sent_again_after_a_reconnect() {
    let mut env = Env::open();
    env.run("a");
    env.end("a", report());
    env.take();
    env.lose();
    env.pass(5_000);
    assert_eq!(env.hello().held, ["a"]);
    env.take();
    env.hear(welcome());
    assert!(env.take().contains(&Effect::Deliver(finished("a"))));
}

#[test]
fn a_result_that_came_while_the_coordinator_was_away_is_spooled_and_sent_later() {
    let mut env = Env::open();
    env.run("a");
    env.lose();
    env.take();
    env.end("a", report());
    assert_eq!(env.take(), [Effect::Spool(finished("a"))]);
    env.connect();
    assert!(env.take().contains(&Effect::Deliver(finished("a"))));
}

#[test]
fn what_was_spooled_before_the_start_is_held_and_sent() {
    let mut env = Env::owing(vec![finished("old"), released("older", v1::ReleaseReason::SelfFenced)]);
    env.pass(100);
    assert_eq!(env.hello().held, ["old", "older"]);
    env.hear(welcome());
    let effects = env.take();
    assert!(effects.contains(&Effect::Deliver(finished("old"))));
    env.hear(accepted("older"));
    assert_eq!(env.take(), [Effect::Settle(released("older", v1::ReleaseReason::SelfFenced))]);
}

#[test]
fn running_work_goes_on_over_a_reconnect_and_its_start_is_told_again() {
    let mut env = Env::open();
    env.run("a");
    env.lose();
    env.pass(5_000);
    assert_eq!(env.hello().held, ["a"]);
    env.take();
    env.hear(welcome());
    let effects = env.done();
    assert!(effects.contains(&started("a")));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Stop { .. } | Effect::Start(_))));
}

#[test]
fn what_work_has_used_is_told_at_once_or_after_the_reconnect() {
    let mut env = Env::open();
    env.run("a");
    let usage = |tokens_out| vec![v1::ModelUsage { tokens_out, ..v1::ModelUsage::default() }];
    assert_eq!(env.machine.on_used(&lease("a"), usage(1)), [progress("a", usage(1))]);
    env.lose();
    assert_eq!(env.machine.on_used(&lease("a"), usage(2)), []);
    assert_eq!(env.machine.on_used(&lease("a"), usage(3)), []);
    env.end("a", Ending::Cancelled);
    env.pass(5_000);
    env.take();
    env.hear(welcome());
    let effects = env.done();
    let at = |wanted: &Effect| effects.iter().position(|effect| effect == wanted);
    let answer = Effect::Deliver(released("a", v1::ReleaseReason::Cancelled));
    assert!(at(&progress("a", usage(3))).is_some_and(|told| Some(told) < at(&answer)), "{effects:?}");
    assert_eq!(at(&progress("a", usage(2))), None);
    assert_eq!(env.machine.on_used(&lease("nobody"), usage(4)), []);
}

#[test]
fn what_was_told_into_a_stream_that_broke_is_told_again() {
    let mut env = Env::open();
    env.run("a");
    let usage = vec![v1::ModelUsage { tokens_out: 7, ..v1::ModelUsage::default() }];
    assert_eq!(env.machine.on_used(&lease("a"), usage.clone()), [progress("a", usage.clone())]);
    env.lose();
    env.pass(5_000);
    env.take();
    env.hear(welcome());
    assert!(env.done().contains(&progress("a", usage)));
}

#[test]
fn a_cancel_ends_the_work_and_is_answered() {
    let mut env = Env::open();
    env.run("a");
    let cancel = v1::Cancel { lease_id: "a".into(), reason: "by me".into() };
    env.hear(coordinator_message::Message::Cancel(cancel.clone()));
    assert_eq!(env.take(), [Effect::Stop { lease_id: lease("a"), why: "by me".into() }]);
    env.hear(coordinator_message::Message::Cancel(cancel));
    assert_eq!(env.take(), []);
    env.end("a", Ending::Cancelled);
    let answer = released("a", v1::ReleaseReason::Cancelled);
    assert_eq!(env.take(), [Effect::Spool(answer.clone()), Effect::Deliver(answer)]);
}

#[test]
fn a_heartbeat_answer_that_says_stop_ends_the_work() {
    let mut env = Env::open();
    env.run("a");
    env.hear(ack(1, &["a", "unknown", "../x"]));
    assert!(matches!(&env.done()[..], [Effect::Stop { lease_id, .. }] if *lease_id == lease("a")));
}

#[test]
fn a_result_that_was_ready_when_the_cancel_came_is_still_sent() {
    let mut env = Env::open();
    env.run("a");
    env.hear(ack(1, &["a"]));
    env.take();
    env.end("a", report());
    assert_eq!(env.take()[0], Effect::Spool(finished("a")));
}

#[test]
fn an_answer_moves_the_deadline_to_when_its_heartbeat_was_sent() {
    let mut env = Env::open();
    env.hear(ack(1, &[]));
    env.run("a");
    env.pass(HEARTBEAT_MS);
    let sent_ms = env.now_ms;
    env.take();
    env.now_ms += 700;
    env.hear(ack(2, &[]));
    let deadline_ms = sent_ms + LOST_AFTER_MS - FENCE_MARGIN_MS;
    assert_eq!(env.take(), [Effect::SetDeadline { lease_id: lease("a"), deadline_ms }]);
}

#[test]
fn an_answer_to_a_heartbeat_never_sent_moves_no_deadline() {
    let mut env = Env::open();
    env.run("a");
    env.pass(500);
    env.take();
    env.hear(ack(99, &[]));
    assert_eq!(env.take(), []);
}

#[test]
fn a_grant_counts_from_the_last_answered_contact_not_from_its_arrival() {
    let mut env = Env::new();
    env.pass(100);
    let asked_ms = env.now_ms;
    env.take();
    env.now_ms += 400;
    env.hear(welcome());
    env.take();
    env.hear(grant(1, "a"));
    let effects = env.take();
    assert!(matches!(&effects[..], [Effect::Start(assignment)]
        if assignment.deadline_ms <= asked_ms + LOST_AFTER_MS - FENCE_MARGIN_MS));
}

#[test]
fn answered_heartbeats_keep_the_work_alive() {
    let mut env = Env::open();
    env.run("a");
    env.hear(ack(1, &[]));
    env.pass_answered(5 * LOST_AFTER_MS);
    assert!(env.done().iter().all(|effect| matches!(effect, Effect::SetDeadline { .. })));
}

#[test]
fn silence_of_three_intervals_drops_the_stream_and_connects_again() {
    let mut env = Env::open();
    env.pass(3 * HEARTBEAT_MS - 1);
    assert_eq!(env.done(), []);
    env.pass(1);
    assert!(matches!(env.done()[..], [Effect::Disconnect(_)]));
    env.pass(5_000);
    assert!(matches!(env.done()[..], [Effect::Connect(_), ..]));
}

#[test]
fn the_work_is_fenced_at_its_deadline_and_the_release_waits_for_the_coordinator() {
    let mut env = Env::open();
    env.hear(ack(1, &[]));
    env.run("a");
    env.lose();
    env.pass(LOST_AFTER_MS - FENCE_MARGIN_MS);
    assert!(env.done().iter().any(|effect| matches!(effect, Effect::Stop { .. })));
    env.end("a", Ending::Cancelled);
    let answer = released("a", v1::ReleaseReason::SelfFenced);
    assert!(env.take().contains(&Effect::Spool(answer.clone())));
    env.lose();
    env.connect();
    assert!(env.take().contains(&Effect::Deliver(answer)));
}

#[test]
fn a_late_answer_does_not_call_back_what_was_fenced() {
    let mut env = Env::open();
    env.hear(ack(1, &[]));
    env.run("a");
    env.pass(HEARTBEAT_MS);
    // The machine was asleep: the answer is read before the tick.
    env.now_ms += LOST_AFTER_MS;
    env.take();
    env.hear(ack(2, &[]));
    assert_eq!(env.take(), []);
    env.tick();
    assert!(env.done().iter().any(|effect| matches!(effect, Effect::Stop { .. })));
}

#[test]
fn a_result_that_was_ready_at_the_fence_is_still_sent() {
    let mut env = Env::open();
    env.run("a");
    env.now_ms += LOST_AFTER_MS;
    env.tick();
    env.take();
    env.end("a", report());
    assert_eq!(env.take()[0], Effect::Spool(finished("a")));
}

#[test]
fn a_drain_finishes_what_is_held_takes_nothing_new_and_leaves_when_all_is_answered() {
    let mut env = Env::open();
    env.run("a");
    let drain = v1::Drain { reason: "by me".into() };
    env.hear(coordinator_message::Message::Drain(drain));
    assert_eq!(env.take(), [Effect::Send(worker_message::Message::Draining(v1::Draining {}))]);
    env.hear(grant(2, "b"));
    assert_eq!(env.take()[0], Effect::Spool(released("b", v1::ReleaseReason::Drain)));
    env.hear(accepted("b"));
    env.end("a", report());
    assert!(!env.take().iter().any(|effect| matches!(effect, Effect::Leave(_))));
    env.hear(accepted("a"));
    assert_eq!(env.take(), [Effect::Settle(finished("a")), Effect::Leave(Departure::Drained)]);
}

#[test]
fn an_idle_worker_leaves_a_drain_at_once_even_without_a_coordinator() {
    let mut env = Env::new();
    assert_eq!(env.machine.on_drain(env.now_ms), [Effect::Leave(Departure::Drained)]);
    assert_eq!(env.machine.on_drain(env.now_ms), []);
}

#[test]
fn a_draining_worker_says_so_when_it_comes_back() {
    let mut env = Env::open();
    env.run("a");
    env.lose();
    env.machine.on_drain(env.now_ms);
    env.pass(5_000);
    assert!(env.hello().draining);
}

#[test]
fn a_stop_ends_the_agents_gives_their_leases_back_and_leaves_when_answered() {
    let mut env = Env::open();
    env.run("a");
    env.machine.on_drain(env.now_ms);
    let effects = env.machine.on_stop(env.now_ms);
    assert!(matches!(&effects[..], [Effect::Stop { .. }]));
    env.end("a", Ending::Cancelled);
    let answer = released("a", v1::ReleaseReason::Drain);
    assert_eq!(env.take(), [Effect::Spool(answer.clone()), Effect::Deliver(answer.clone())]);
    env.hear(accepted("a"));
    assert_eq!(env.take(), [Effect::Settle(answer), Effect::Leave(Departure::Stopped)]);
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let mut env = Env::open();
    env.run("a");
    env.machine.on_stop(env.now_ms);
    env.pass_answered(6_000);
    assert!(env.take().contains(&Effect::Leave(Departure::Stopped)));
}

#[test]
fn a_stop_without_a_coordinator_leaves_as_soon_as_the_agents_are_gone() {
    let mut env = Env::open();
    env.run("a");
    env.lose();
    env.machine.on_stop(env.now_ms);
    env.end("a", Ending::Cancelled);
    assert!(env.take().contains(&Effect::Leave(Departure::Stopped)));
}

#[test]
fn a_goodbye_means_back_later_unless_it_is_for_good() {
    let mut env = Env::open();
    env.hear(goodbye(false));
    assert!(matches!(env.done()[..], [Effect::Disconnect(_)]));
    env.connect();
    env.take();
    env.hear(goodbye(true));
    let reason = "no".to_owned();
    assert!(env.take().contains(&Effect::Leave(Departure::Dismissed { reason })));
}

#[test]
fn a_coordinator_of_another_protocol_is_left_with_a_reason() {
    let mut env = Env::new();
    env.pass(100);
    env.take();
    let other = v1::Welcome { protocol: 9, ..Default::default() };
    env.hear(coordinator_message::Message::Welcome(other));
    assert!(
        matches!(env.take().pop(), Some(Effect::Leave(Departure::Dismissed { reason })) if reason.contains('9'))
    );
}

#[test]
fn an_unknown_token_ends_a_worker_that_was_never_welcome() {
    let mut env = Env::new();
    env.pass(100);
    env.take();
    let effects = env.machine.on_lost(env.now_ms, Loss::Unauthenticated("who?".into()));
    assert_eq!(effects, [Effect::Leave(Departure::Unauthenticated { message: "who?".into() })]);
}

#[test]
fn an_unknown_token_later_is_no_reason_to_end_the_agents() {
    let mut env = Env::open();
    env.run("a");
    let effects = env.machine.on_lost(env.now_ms, Loss::Unauthenticated("who?".into()));
    assert_eq!(effects, []);
}

#[test]
fn what_this_version_does_not_know_changes_nothing() {
    let mut env = Env::open();
    assert_eq!(env.machine.on_message(env.now_ms, v1::CoordinatorMessage { message: None }), []);
}

#[test]
fn waits_between_tries_grow_while_nobody_answers() {
    let mut env = Env::new();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let before_ms = env.now_ms;
        while env.take().is_empty() {
            env.now_ms = env.machine.wake_ms();
            env.tick();
        }
        waits.push(env.now_ms - before_ms);
        env.lose();
    }
    assert!(waits[7] > 2_000 && waits[7] <= 5_000, "{waits:?}");
}

#[test]
fn a_leaving_worker_without_a_stream_rests_until_its_agents_are_gone() {
    let mut env = Env::open();
    env.run("a");
    let effects = env.machine.on_stop(env.now_ms);
    env.effects.extend(effects);
    env.lose();
    env.pass(1_000);
    assert!(env.machine.wake_ms() > env.now_ms, "it looks without rest");
}
