//! The simulation of the whole system, bounded; `cargo run --release -p wavegate-tests --bin simulate` runs it
//! for longer. And the test of the test: bugs that it must find.

use wavegate_engine::{Decision, spec::ThorKind};
use wavegate_tests::simulation::{
    Act, Failure, Figures, LEAST_DONE, Mutation, Scenario, Small, Start, Word, explore, run, run_traced,
    shrink, size,
};

/// Some seconds in a debug build.
const SEEDS: u64 = 40;

/// A bug must be found within so many seeds.
const MOST_SEEDS: u64 = 600;

#[test]
fn whatever_happens_the_invariants_hold_and_every_plan_ends_or_waits_for_a_person() {
    let mut figures = Figures::default();
    for seed in 0..SEEDS {
        let scenario = Scenario::of(seed);
        match run(&scenario, None) {
            Ok(held) => figures.add(&held.figures),
            Err(failure) => panic!("seed {seed}: {}", told(&scenario, &failure)),
        }
    }
    assert!(figures.faults.len() > 25, "faults of few kinds: {figures}");
    assert!(figures.rows_not_taken().len() <= 26, "{figures}");
    assert!(figures.done_per_cent() >= LEAST_DONE, "I10: hardly anything gets done: {figures}");
}

#[test]
fn when_nothing_goes_wrong_every_plan_is_done() {
    for seed in 0..SEEDS / 2 {
        let scenario = Scenario::quiet(seed);
        if let Err(failure) = run(&scenario, None) {
            panic!("seed {seed}: {}", told(&scenario, &failure));
        }
    }
}

/// The least of a failing scenario, the end of what happens in it, and what it breaks.
fn told(scenario: &Scenario, failure: &Failure) -> String {
    let (least, failure) = shrink(scenario, None, failure);
    let (_, trace) = run_traced(&least, None);
    let last = trace[trace.len().saturating_sub(200)..].join("\n");
    format!("{}\n{least:#?}\n{last}\n{}", failure.message, failure.message)
}

#[test]
fn a_failing_scenario_shrinks_to_a_smaller_one_that_breaks_the_same_invariant() {
    let bug = Some(Mutation::ApproveOnThorCrash);
    let fails = |seed| {
        let scenario = Scenario::of(seed);
        let failure = run(&scenario, bug).err()?;
        Some((scenario, failure))
    };
    let (scenario, failure) = (0..MOST_SEEDS).find_map(fails).expect("the bug is found");
    let (least, shrunk) = shrink(&scenario, bug, &failure);
    assert!(size(&least) * 2 < size(&scenario), "{} parts of {}", size(&least), size(&scenario));
    assert_eq!(run(&least, bug), Err(shrunk.clone()));
    assert_eq!((failure.invariant(), shrunk.invariant()), ("I7", "I7"));
    let (again, trace) = run_traced(&least, bug);
    assert_eq!(again, Err(shrunk));
    assert!(!trace.is_empty(), "a failing run tells nothing");
}

#[test]
fn one_seed_is_one_run() {
    for seed in 0..8 {
        let scenario = Scenario::of(seed);
        assert_eq!(run(&scenario, None), run(&scenario, None), "I12: seed {seed}");
    }
}

#[test]
fn in_every_order_of_events_of_a_small_world_the_invariants_hold() {
    for (from, tasks, max_agents, depth) in [
        (Start::Grants, 2, None, 5),
        (Start::Grants, 2, Some(1), 5),
        (Start::Grants, 5, None, 5),
        (Start::Results, 2, None, 5),
        (Start::Validation, 2, None, 5),
    ] {
        let walked = explore(Small { from, tasks, max_agents, depth });
        let walked = walked.unwrap_or_else(|broken| panic!("{tasks} tasks from {from:?}: {broken}"));
        assert!(walked.states > 300, "{walked:?}");
        assert!(walked.done > 0 || from != Start::Validation, "no order of events ends the plan: {walked:?}");
    }
}

/// A scenario in which what a rare bug needs is frequent.
fn focused(seed: u64, mutation: Mutation) -> Scenario {
    let mut scenario = Scenario::of(seed);
    let lost_after_ms = scenario.timings.lost_after_ms;
    let calm_ms = scenario.calm_ms;
    let mut each = |every_ms: u64, act: Act| {
        scenario.script.extend((1..calm_ms / every_ms).map(|at| (at * every_ms, act.clone())));
    };
    if mutation == Mutation::StaleVerdict {
        each(
            lost_after_ms / 8,
            Act::Person(Word::External { at: 0, decision: Decision::Rejected, is_fresh: false }),
        );
        scenario.plans.iter_mut().for_each(|plan| plan.thor = ThorKind::External);
    } else if mutation == Mutation::UnfencedWorker {
        for worker in 0..3 {
            let ms = lost_after_ms * 5 / 4;
            each(lost_after_ms * 2, Act::Partition { worker, up: true, down: true, ms });
        }
    }
    scenario.script.sort_by_key(|(at, _)| *at);
    scenario
}

/// Which invariant catches each.
fn caught_by(mutation: Mutation) -> String {
    let found = (0..MOST_SEEDS).find_map(|seed| run(&focused(seed, mutation), Some(mutation)).err());
    found.unwrap_or_else(|| panic!("{mutation:?} is not found")).invariant().to_owned()
}

macro_rules! mutations {
    ($($name:ident: $mutation:ident by $invariant:literal;)+) => {
        $(
            #[test]
            fn $name() {
                assert_eq!(caught_by(Mutation::$mutation), $invariant);
            }
        )+

        #[test]
        fn every_bug_is_tried() {
            assert_eq!([$(Mutation::$mutation),+], Mutation::ALL);
        }
    };
}

mutations! {
    a_cap_that_forgets_unreachable_leases_is_found: ForgetUnreachable by "I1";
    a_second_grant_after_a_restart_is_found: GrantAgainAfterRestart by "I9";
    a_budget_that_begins_anew_is_found: ForgetSpending by "I11";
    a_wave_that_waits_for_no_other_is_found: ForgetDependencies by "I4";
    a_column_that_is_not_read_is_found: BlindToColumn by "I1";
    a_commit_that_reaches_no_disk_is_found: CommitInMemory by "I6";
    a_result_that_is_taken_twice_is_found: ForgetAccepted by "I5";
    a_report_that_is_taken_without_its_fence_is_found: UnfencedAccept by "I5";
    an_advance_on_a_thor_crash_is_found: ApproveOnThorCrash by "I7";
    a_cost_that_is_not_booked_is_found: UnbookedCost by "I11";
    a_verdict_on_another_round_is_found: StaleVerdict by "I7";
    a_clock_that_stands_still_is_found: FrozenClock by "I10";
    a_worker_that_does_not_fence_itself_is_found: UnfencedWorker by "I9";
    an_answer_that_is_never_sent_is_found: NoAnswers by "I8";
}
