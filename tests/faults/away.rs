//! The coordinator goes away under running agents and comes back: no agent is stopped, none runs twice, every result
//! is accepted.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use wavegate_tests::{BEATS_A_SECOND, Home, LONG, Process, wait_until, wait_until_within};

use crate::{begin_with, free_address, home, wait_for_agents};

/// What serves with the timings of every day: leases are lost after 15 minutes.
const DEFAULTS: [&str; 3] = ["serve", "--retry-delays-ms", "50"];

fn wait_for(what: &str, home: &Home, is_so: impl Fn() -> bool) {
    wait_until(what, || home.dump(), || is_so().then_some(()));
}

/// No agent was ended, and none began beside the first three.
#[track_caller]
fn assert_undisturbed(home: &Home, worker: &Process) {
    assert!(!worker.output().contains("ending lease"), "{}", home.dump());
    assert_eq!(home.intervals().len(), 3, "{}", home.dump());
}

/// Three agents of a worker at work; the coordinator is killed for `away` and until two of them have ended, and
/// another starts on its database.
fn goes_away(away: Duration, beats: &[u32]) {
    let (home, address) = (home(), free_address());
    let flags = [&DEFAULTS[..], &["--listen", &address]].concat();
    let mut coordinator = home.start("serve", &flags).unwrap();
    wait_for("the coordinator to listen", &home, || !home.read("wavegate.db.d/address").is_empty());
    let worker = home.worker("one", &["--slots", "4"]).unwrap();
    worker.wait_for_output("connected");
    home.hold().unwrap();
    // T1-01 and T1-02 succeed, T1-03 fails at its first attempt, and T1-04 is granted after the return.
    begin_with(&home, "away", 4, beats, "standard");
    wait_for_agents(&home, 3);
    coordinator.kill();
    home.let_go().unwrap();
    let back = Instant::now() + away;
    while Instant::now() < back {
        // Waiting is what is tested here.
        std::thread::sleep(Duration::from_millis(200));
        assert_undisturbed(&home, &worker);
    }
    wait_for("two agents to end with nobody to tell", &home, || {
        worker.output().matches("finished: lease").count() >= 2
    });
    assert_undisturbed(&home, &worker);
    let coordinator = home.start("serve", &flags).unwrap();
    wait_until_within(
        away.max(LONG),
        "the plan to be done",
        || home.dump(),
        || (home.status("away") == "done").then_some(()),
    );
    home.assert_done("away", 4, true);
    home.assert_no_overlap(0.0);
    home.assert_accepted_is_kept(&["one"]);
    let lost = home.count("SELECT count(*) FROM wg_events WHERE kind = 'lease_lost'").unwrap();
    assert_eq!(lost, 0, "{}", home.dump());
    coordinator.signal(Signal::TERM);
}

#[test]
fn a_coordinator_that_is_away_for_a_while_stops_no_agent_and_loses_no_result() {
    // Two agents end while it is away, one goes on beyond its return.
    goes_away(Duration::from_secs(5), &[BEATS_A_SECOND, 7 * BEATS_A_SECOND, 2 * BEATS_A_SECOND]);
}

#[test]
#[ignore = "takes seven minutes: the coordinator is away for five"]
fn a_coordinator_that_is_away_for_five_minutes_stops_no_agent_and_loses_no_result() {
    goes_away(Duration::from_mins(5), &[60 * BEATS_A_SECOND, 310 * BEATS_A_SECOND, 120 * BEATS_A_SECOND]);
}
