//! SIGSTOP, as a debugger, a swapping host or a closed laptop does it: of a worker, of a worker with all its agents,
//! of the coordinator.

use rustix::process::Signal;
use wavegate_tests::{BEATS_A_SECOND, Home, Process, descendants, signal_all, uptime, wait_until};

use crate::{begin, free_address, home, wait_for_agents};

/// Long enough to outlive every stop of these tests: an agent that nobody ends would be seen.
const MINUTES: u32 = 120 * BEATS_A_SECOND;

/// One task on a worker that then is stopped; a second worker is there to take it over.
fn one_task(home: &Home) -> (Process, Process, Process) {
    let coordinator = home.serve("127.0.0.1:0").unwrap();
    let first = home.worker("first", &["--slots", "1"]).unwrap();
    first.wait_for_output("connected");
    begin(home, "stopped", 1, MINUTES, "standard");
    wait_for_agents(home, 1);
    let second = home.worker("second", &["--slots", "1"]).unwrap();
    second.wait_for_output("connected");
    (coordinator, first, second)
}

fn agents_of_attempt(home: &Home, attempt: u32) -> bool {
    home.intervals().iter().any(|interval| interval.attempt == attempt)
}

/// The next attempt is at work, and writes on for long enough to be seen beside another.
#[track_caller]
fn wait_for_second_attempt(home: &Home) {
    wait_until(
        "the next attempt to be at work for a while",
        || home.dump(),
        || {
            let second = home.intervals().into_iter().find(|interval| interval.attempt == 2)?;
            (second.last - second.first > 1.0).then_some(())
        },
    );
}

#[test]
fn a_worker_that_is_stopped_for_longer_than_its_lease_leaves_no_agent_beside_the_next_attempt() {
    let home = home();
    let (_coordinator, first, _second) = one_task(&home);
    // The worker alone: its supervisor keeps the deadline for it.
    first.signal(Signal::STOP);
    wait_for_second_attempt(&home);
    first.signal(Signal::CONT);
    wait_until(
        "the worker to give its result up",
        || home.dump(),
        || first.output().contains("ending lease").then_some(()),
    );
    wait_until(
        "the worker to be connected again",
        || home.dump(),
        || (first.output().matches("connected: ").count() >= 2).then_some(()),
    );
    home.assert_no_overlap(0.0);
    assert!(!agents_of_attempt(&home, 3), "{}", home.dump());
    assert_eq!(
        home.count("SELECT count(*) FROM wg_leases WHERE state='lost'").unwrap(),
        1,
        "{}",
        home.dump()
    );
}

/// As a laptop's suspend of the worker's host. Whoever wakes first runs first: between the waking of an agent and
/// that of its supervisor, which ends it at once, lie milliseconds that no process of the host can take back.
#[test]
fn a_worker_host_that_sleeps_for_longer_than_its_lease_ends_its_agents_when_it_wakes() {
    let home = home();
    let (_coordinator, first, _second) = one_task(&home);
    let tree = descendants(first.id());
    assert!(tree.len() >= 4, "worker, supervisor, agent, its child: {tree:?}");
    signal_all(&tree, Signal::STOP);
    wait_for_second_attempt(&home);
    let asleep = home.intervals().into_iter().find(|interval| interval.attempt == 1).unwrap();
    signal_all(&tree, Signal::CONT);
    wait_until(
        "every process of the old lease to be gone",
        || home.dump(),
        || (descendants(first.id()).len() == 1).then_some(()),
    );
    let intervals = home.intervals();
    let old = intervals.iter().find(|interval| interval.attempt == 1).unwrap();
    let second = intervals.iter().find(|interval| interval.attempt == 2).unwrap();
    // Asleep it did nothing; awake it had no more than the grace that it has to tidy up (300 ms here).
    assert!(asleep.last < second.first, "{asleep:?} {second:?}");
    let awake = old.last - asleep.last;
    let slept = second.first - asleep.last;
    assert!(awake < 0.01 || awake > slept, "it worked while it was asleep: {old:?}");
    let now = home.intervals().iter().map(|interval| interval.last).fold(0.0, f64::max);
    wait_until(
        "a second without the old agent",
        || home.dump(),
        || {
            let intervals = home.intervals();
            let old_now = intervals.iter().find(|interval| interval.attempt == 1).unwrap();
            assert!((old_now.last - old.last).abs() < f64::EPSILON, "it works on: {old_now:?}");
            intervals.iter().any(|interval| interval.last > now + 1.0).then_some(())
        },
    );
}

#[test]
fn a_coordinator_that_is_stopped_for_longer_than_lost_after_loses_no_lease() {
    let home = home();
    let address = free_address();
    let coordinator = home.serve(&address).unwrap();
    let _worker = home.worker("one", &["--slots", "4"]).unwrap();
    // Short work: done before the worker stops its agents by itself, 2 s after the last answer.
    begin(&home, "stopped", 6, 8, "standard");
    wait_for_agents(&home, 3);
    coordinator.signal(Signal::STOP);
    let begun = uptime();
    wait_until("a stop longer than lost_after", || home.dump(), || (uptime() > begun + 3.5).then_some(()));
    coordinator.signal(Signal::CONT);
    home.wait_for_status("stopped", "done");
    home.assert_no_overlap(0.0);
    home.assert_done("stopped", 6, true);
    assert_eq!(
        home.count("SELECT count(*) FROM wg_leases WHERE state='lost'").unwrap(),
        0,
        "{}",
        home.dump()
    );
}
