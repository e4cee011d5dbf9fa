//! How workers come, resume, fall silent and go.

use wavegate_engine::{
    Input, LeaseId, LeaseState, Message, Mode, Refusal, ReleaseReason, SessionEvent, TaskState, WorkerId,
};

use crate::environment::*;

fn one() -> (World, LeaseId) {
    let mut world = World::running(one_wave(&["A"]), Mode::Standard);
    let lease = world.granted_only(&["A"])[0];
    (world, lease)
}

fn held(lease: LeaseId) -> WorkerBuilder {
    WorkerBuilder::new("w1").held(&[lease])
}

#[test]
fn a_worker_that_comes_back_with_its_lease_keeps_it() {
    let (mut world, lease) = one();
    world.disconnect("w1");
    world.pass(60_000);
    assert_eq!(world.store.leases[&lease].state, LeaseState::Unreachable { cancelling: false });
    world.connect(held(lease));
    assert_eq!(world.store.leases[&lease].state, LeaseState::Running);
    world.nothing_else_sent();
}

#[test]
fn a_new_instances_missing_lease_is_lost_with_its_first_heartbeat() {
    let (mut world, lease) = one();
    world.disconnect("w1");
    world.connect(WorkerBuilder::new("w1").instance("second"));
    assert_eq!(world.store.leases[&lease].state, LeaseState::Granted);
    world.heartbeat("w1", &[], 0);
    assert_eq!(world.store.leases[&lease].state, LeaseState::Lost);
    assert_eq!(world.counters("A").2, 1);
}

#[test]
fn a_new_instance_that_comes_twice_before_its_first_heartbeat_has_lost_the_lease_all_the_same() {
    let (mut world, lease) = one();
    world.heartbeat("w1", &[lease], 1);
    for _ in 0..3 {
        world.disconnect("w1");
        world.connect(WorkerBuilder::new("w1").instance("second"));
    }
    world.heartbeat("w1", &[], 0);
    assert_eq!(world.store.leases[&lease].state, LeaseState::Lost);
    assert_eq!(world.counters("A").2, 1, "it counts as a loss");
}

#[test]
fn a_grant_that_a_new_instance_never_had_is_no_loss_however_often_it_comes() {
    let mut world = World::new();
    world.connect(WorkerBuilder::new("w1"));
    world.disconnect("w1");
    world.connect(WorkerBuilder::new("w1").instance("second"));
    world.start(one_wave(&["A"]), Mode::Standard);
    let lease = world.granted_only(&["A"])[0];
    for _ in 0..2 {
        world.disconnect("w1");
        world.connect(WorkerBuilder::new("w1").instance("second"));
    }
    world.heartbeat("w1", &[], 0);
    assert_eq!(world.store.leases[&lease].state, LeaseState::Released(ReleaseReason::Unanswered));
    assert_eq!(world.counters("A").2, 0);
}

#[test]
fn an_unseen_grant_is_on_its_way_and_a_seen_one_that_is_missing_was_dropped() {
    let (mut world, lease) = one();
    world.heartbeat("w1", &[], 0);
    assert_eq!(world.store.leases[&lease].state, LeaseState::Granted);
    world.heartbeat("w1", &[], 1);
    assert_eq!(world.store.leases[&lease].state, LeaseState::Lost);
}

#[test]
fn after_a_restart_a_lease_that_was_held_and_is_missing_was_dropped() {
    let (mut world, lease) = one();
    world.restart();
    world.connect(held(lease));
    world.heartbeat("w1", &[], 0);
    assert_eq!(world.store.leases[&lease].state, LeaseState::Lost);
}

#[test]
fn after_a_batch_that_could_not_be_committed_a_heartbeat_tells_what_was_seen() {
    let (mut world, lease) = one();
    world.roll_back();
    world.heartbeat("w1", &[], 1);
    assert_eq!(world.store.leases[&lease].state, LeaseState::Granted, "nobody knows if it was sent");
    world.heartbeat("w1", &[lease], 1);
    world.heartbeat("w1", &[], 1);
    assert_eq!(world.store.leases[&lease].state, LeaseState::Lost);
}

#[test]
fn a_heartbeat_is_told_what_to_keep_and_what_to_stop() {
    let (mut world, lease) = one();
    let stranger = LeaseId(7);
    world.heartbeat("w1", &[lease, stranger], 1);
    let ack = Message::HeartbeatAck { number: 1, keep: vec![lease], stop: vec![stranger] };
    assert_eq!(world.next_send().message, ack);
    world.nothing_else_sent();
}

#[test]
fn a_second_live_instance_is_refused_and_the_first_goes_on() {
    let (mut world, lease) = one();
    let second = world.hello(held(lease).instance("second"));
    let send = world.next_send();
    assert!(matches!(send.message, Message::Goodbye { .. }) && send.session == second);
    world.nothing_else_sent();
    world.succeed("A");
}

#[test]
fn a_new_instance_may_follow_one_that_is_silent() {
    let (mut world, lease) = one();
    world.pass(31_000);
    world.hello(WorkerBuilder::new("w1").instance("second"));
    world.heartbeat("w1", &[], 0);
    assert_eq!(world.store.leases[&lease].state, LeaseState::Lost);
}

#[test]
fn a_dead_workers_lease_is_lost_however_much_the_others_talk() {
    let (mut world, lease) = one();
    world.connect(WorkerBuilder::new("w2").runner("other"));
    world.disconnect("w1");
    for _ in 0..300 {
        world.mono += 4_000;
        world.utc += 4_000;
        world.heartbeat("w2", &[], 0);
        // As the driver does.
        if world.engine.next_deadline().is_some_and(|deadline| deadline.0 <= world.mono) {
            world.must(Input::Tick);
        }
    }
    assert_eq!(world.store.leases[&lease].state, LeaseState::Lost);
}

#[test]
fn a_hello_that_was_long_on_its_way_takes_nothing_from_its_worker() {
    let (mut world, lease) = one();
    world.heartbeat("w1", &[lease], 1);
    // Opened before the session in which the grant was sent, and given up by the worker.
    world.connect(WorkerBuilder::new("w1"));
    world.disconnect("w1");
    assert_eq!(world.store.leases[&lease].state, LeaseState::Granted);
    world.connect(held(lease));
    world.heartbeat("w1", &[lease], 0);
    assert!(world.store.leases[&lease].state.is_open(), "its agent is at work");
}

#[test]
fn an_old_process_hello_that_was_long_on_its_way_takes_nothing_from_the_new_one() {
    let (mut world, lease) = one();
    world.heartbeat("w1", &[lease], 1);
    world.disconnect("w1");
    world.connect(WorkerBuilder::new("w1").instance("an old one"));
    world.disconnect("w1");
    world.connect(held(lease));
    world.heartbeat("w1", &[lease], 0);
    assert!(world.store.leases[&lease].state.is_open(), "its agent is at work");
}

#[test]
fn a_newer_session_of_the_same_instance_supersedes_the_old_one() {
    let (mut world, lease) = one();
    let old = world.session_of("w1").expect("it is connected");
    world.hello(held(lease));
    assert!(matches!(world.next_send().message, Message::Goodbye { .. }));
    assert_eq!(world.next_send().message, Message::Welcome);
    let late = SessionEvent::Heartbeat { number: 9, held: Vec::new(), last_grant: 9 };
    let answer = world.apply(Input::Session { session: old, event: late });
    assert_eq!(answer, Err(Refusal::NoSession));
    assert_eq!(world.store.leases[&lease].state, LeaseState::Granted);
}

#[test]
fn a_silent_worker_is_granted_nothing_and_its_lease_is_lost_after_its_time() {
    let plan = one_wave(&["A"]).task("A", |task| task.lost_after_ms = Some(200_000));
    let mut world = World::running(plan, Mode::Standard);
    let lease = world.lease("A");
    world.pass(199_000);
    assert_eq!(world.store.leases[&lease].state, LeaseState::Unreachable { cancelling: false });
    world.pass(1_000);
    assert_eq!(world.store.leases[&lease].state, LeaseState::Lost);
    world.take_grants();
    world.pass(60_000);
    world.granted_only(&[]);
}

#[test]
fn a_gap_in_the_coordinators_clock_gives_every_lease_its_time_again() {
    let (mut world, lease) = one();
    world.pass(10_000);
    world.jump(20 * 60_000);
    assert!(world.store.leases[&lease].state.is_open());
    world.pass(14 * 60_000);
    assert!(world.store.leases[&lease].state.is_open());
    world.pass(60_000);
    assert_eq!(world.store.leases[&lease].state, LeaseState::Lost);
}

#[test]
fn a_restart_gives_every_lease_its_time_again_and_loses_nothing() {
    let (mut world, lease) = one();
    world.pass(14 * 60_000);
    let stored = world.store.clone();
    world.restart();
    assert_eq!(world.store, stored);
    world.pass(14 * 60_000);
    world.connect(held(lease));
    world.succeed("A");
    assert_eq!(world.task_state("A"), TaskState::Submitted);
}

#[test]
fn a_word_that_the_work_began_proves_that_the_worker_holds_it() {
    let (mut world, lease) = one();
    world.pass(60_000);
    world.say("w1", SessionEvent::Started { lease });
    world.pass(20_000);
    assert_eq!(world.store.leases[&lease].state, LeaseState::Running);
}

#[test]
fn a_draining_worker_finishes_what_it_holds_and_gets_nothing_new() {
    let mut world = World::running(one_wave(&["A", "B", "C", "D"]), Mode::Standard);
    world.take_grants();
    world.must(Input::DrainWorker { worker: "w1".into(), by: "ada".to_owned() });
    assert!(matches!(world.next_send().message, Message::Drain { .. }));
    world.succeed("A");
    world.granted_only(&[]);
}

#[test]
fn an_operators_drain_outlives_the_stream_and_is_said_again() {
    let mut world = World::new();
    world.connect(WorkerBuilder::new("w1"));
    world.disconnect("w1");
    world.must(Input::DrainWorker { worker: "w1".into(), by: "ada".to_owned() });
    world.connect(WorkerBuilder::new("w1"));
    assert!(matches!(world.next_send().message, Message::Drain { .. }));
    world.start(one_wave(&["A"]), Mode::Standard);
    world.granted_only(&[]);
    world.disconnect("w1");
    world.connect(WorkerBuilder::new("w1").instance("second"));
    world.granted_only(&["A"]);
}

#[test]
fn a_connected_worker_cannot_be_forgotten_and_a_forgotten_ones_leases_are_lost() {
    let (mut world, lease) = one();
    let forget = || Input::ForgetWorker { worker: "w1".into(), by: "ada".to_owned() };
    assert_eq!(world.apply(forget()), Err(Refusal::WorkerConnected(WorkerId::from("w1"))));
    world.disconnect("w1");
    world.must(forget());
    assert_eq!(world.store.leases[&lease].state, LeaseState::Lost);
    assert_eq!(world.apply(forget()), Err(Refusal::NoWorker(WorkerId::from("w1"))));
}

#[test]
fn a_cancel_is_repeated_to_a_worker_that_was_away() {
    let (mut world, lease) = one();
    world.disconnect("w1");
    world.cancel(P1);
    world.connect(held(lease));
    assert!(matches!(world.next_send().message, Message::Cancel { lease: id, .. } if id == lease));
}
