//! What agents bring: accounts in trouble, the coordinator's counsel, Thor's agent, budgets of tasks.

use wavegate_engine::{
    AccountState, Decision, EventKind, HoldReason, Input, Mode, Outcome, PauseReason, PlanState, Purpose,
    Role, TaskState, Tier, Trouble, WorkBrief, model::Family, spec::Budget, spec::ThorKind,
    spec::WorkspaceKind,
};

use crate::environment::*;

/// A world with one worker that has an agent.
fn with_agent(plan: PlanBuilder, mode: Mode) -> World {
    let mut world = World::new();
    world.connect(WorkerBuilder::new("w1").agent("a1"));
    world.start(plan, mode);
    world
}

#[test]
fn a_usage_limit_counts_nothing_frees_the_cap_and_waits_for_the_reset() {
    let mut world = with_agent(one_wave(&["A", "B", "C", "D"]).agents(), Mode::Standard);
    world.granted_only(&["A", "B", "C"]);
    world.finish("A", in_trouble(Outcome::UsageLimit, Some(60_000)));
    assert_eq!(world.counters("A"), (1, 0, 0, 0, 1));
    assert_eq!(world.cap_count(), 2);
    world.granted_only_after_answers(&[]);
    let hold = world.hold("D").expect("it is there");
    assert!(matches!(
        hold,
        HoldReason::AccountInTrouble { trouble: Trouble::UsageLimit, ms: Some(60_000), .. }
    ));
    assert!(hold.to_string().contains("tried again in 60 s"), "{hold}");
    world.pass_with(60_000, &["w1"]);
    world.granted_only_after_answers(&["A"]);
    world.finish("B", answered("claude-sonnet-5-5", Outcome::Succeeded));
    assert_eq!(world.hold("D").map(|hold| hold.as_str()), Some("account_in_trouble"), "one lease tries it");
    world.finish("A", answered("claude-sonnet-5-5", Outcome::Succeeded));
    world.granted_only_after_answers(&["D"]);
}

#[test]
fn an_overload_during_a_usage_limit_neither_renames_nor_shortens_its_wait() {
    const DAYS: u64 = 5 * 24 * 3_600_000;
    let mut world = with_agent(one_wave(&["A", "B"]).agents(), Mode::Standard);
    world.take_grants();
    world.finish("A", in_trouble(Outcome::UsageLimit, Some(DAYS)));
    world.finish("B", in_trouble(Outcome::Overloaded, None));
    let waits = |world: &World| {
        let hold = world.hold("B").expect("it waits");
        assert!(
            matches!(hold, HoldReason::AccountInTrouble { trouble: Trouble::UsageLimit, ms: Some(DAYS), .. }),
            "{hold:?}"
        );
    };
    waits(&world);
    world.restart();
    world.connect(WorkerBuilder::new("w1").agent("a1"));
    waits(&world);
}

#[test]
fn a_plan_that_is_set_aside_while_it_tries_an_account_does_not_keep_it_from_the_others() {
    let mut world = with_agent(one_wave(&["A"]).agents(), Mode::Standard);
    world.take_grants();
    world.finish("A", in_trouble(Outcome::UsageLimit, Some(1_000)));
    world.start(one_wave(&["B"]).agents(), Mode::Standard);
    world.pass_with(1_000, &["w1"]);
    let tried = world.granted_only_after_answers(&["A"]);
    let states: Vec<_> = world.store.accounts.values().map(|row| row.state).collect();
    assert_eq!(states, [AccountState::Probing { trouble: Trouble::UsageLimit, lease: Some(tried[0]) }]);
    world.reload_without(P1);
    world.must(Input::Tick);
    world.granted_only(&["B"]);
}

#[test]
fn others_go_on_with_another_account() {
    let mut world = World::new();
    world.connect(WorkerBuilder::new("w1").agent("a1").slots(1));
    world.connect(WorkerBuilder::new("w2").agent("a2").slots(1));
    world.start(one_wave(&["A", "B", "C"]).agents(), Mode::Standard);
    world.take_grants();
    world.finish("A", in_trouble(Outcome::UsageLimit, None));
    world.finish("B", answered("claude-sonnet-5-5", Outcome::Succeeded));
    let grants = world.take_grants();
    assert_eq!(grants.iter().map(|grant| grant.worker.as_str()).collect::<Vec<_>>(), ["w2"]);
}

#[test]
fn progress_of_the_lease_that_tries_an_account_opens_it_for_all() {
    let mut world = with_agent(one_wave(&["A", "B"]).agents(), Mode::Standard);
    world.take_grants();
    world.finish("A", in_trouble(Outcome::UsageLimit, Some(1_000)));
    world.finish("B", in_trouble(Outcome::UsageLimit, Some(1_000)));
    world.pass_with(1_000, &["w1"]);
    let tried = world.granted_only_after_answers(&["A"]);
    world.say(
        "w1",
        wavegate_engine::SessionEvent::Progress {
            lease: tried[0],
            usage: tokens_used(10),
            models: Vec::new(),
        },
    );
    world.granted_only_after_answers(&["B"]);
}

#[test]
fn bad_credentials_mark_the_account_until_somebody_mends_it() {
    let mut world = with_agent(one_wave(&["A"]).agents(), Mode::Standard);
    world.take_grants();
    world.finish("A", in_trouble(Outcome::BadCredentials, None));
    assert_eq!(world.counters("A"), (1, 0, 0, 0, 1), "no attempt is counted as failed");
    let hold = world.hold("A").expect("it is there").to_string();
    assert!(hold.contains("wavegate accounts clear claude a1"), "{hold}");
    world.pass_with(11 * 60_000, &["w1"]);
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::NoWorker));
    let account = world.store.accounts.keys().next().cloned().expect("it is there");
    world.must(Input::ClearAccount { account: account.clone(), by: "ada".to_owned() });
    assert_eq!(world.plan_state(), PlanState::Running);
    world.granted_only_after_answers(&["A"]);
    world.finish("A", answered("claude-sonnet-5-5", Outcome::Succeeded));
    assert_eq!(world.store.accounts[&account].state, AccountState::Open);
}

#[test]
fn an_agent_whose_account_nobody_can_tell_waits_on_its_worker_alone() {
    let mut world = World::new();
    world.connect(WorkerBuilder::new("w1").agent("").slots(1));
    world.connect(WorkerBuilder::new("w2").agent("").slots(1));
    world.start(one_wave(&["A", "B", "C"]).agents(), Mode::Standard);
    world.take_grants();
    world.finish("A", in_trouble(Outcome::UsageLimit, Some(60_000)));
    world.granted_only_after_answers(&[]);
    world.finish("B", answered("claude-sonnet-5-5", Outcome::Succeeded));
    assert_eq!(world.take_grants().iter().map(|grant| grant.worker.as_str()).collect::<Vec<_>>(), ["w2"]);
}

#[test]
fn a_worker_that_starts_anew_has_its_account_tried_again() {
    let mut world = with_agent(one_wave(&["A"]).agents(), Mode::Standard);
    world.take_grants();
    world.finish("A", in_trouble(Outcome::BadCredentials, None));
    world.disconnect("w1");
    world.connect(WorkerBuilder::new("w1").agent("a1").instance("second"));
    world.granted_only_after_answers(&["A"]);
}

#[test]
fn a_wall_clock_that_is_set_changes_nothing_about_the_wait_for_a_reset() {
    for hours in [-5, 5] {
        let mut world = with_agent(one_wave(&["A"]).agents(), Mode::Standard);
        world.take_grants();
        world.finish("A", in_trouble(Outcome::UsageLimit, Some(60_000)));
        world.utc += hours * 3_600_000;
        world.pass_with(59_000, &["w1"]);
        world.granted_only_after_answers(&[]);
        let hold = world.hold("A").expect("it is there");
        assert!(matches!(hold, HoldReason::AccountInTrouble { ms: Some(1_000), .. }), "{hold:?}");
        world.pass_with(1_000, &["w1"]);
        world.granted_only_after_answers(&["A"]);
    }
}

#[test]
fn a_restart_by_a_wall_clock_that_was_set_back_waits_no_longer_than_an_overload_can() {
    let mut world = with_agent(one_wave(&["A"]).agents(), Mode::Standard);
    world.take_grants();
    world.finish("A", in_trouble(Outcome::Overloaded, None));
    world.utc -= 5 * 3_600_000;
    world.restart();
    world.connect(WorkerBuilder::new("w1").agent("a1"));
    let longest = world.config.timings.account_probe_ms;
    world.pass_with(longest, &["w1"]);
    world.granted_only_after_answers(&["A"]);
}

#[test]
fn a_usage_limit_is_no_want_of_a_worker() {
    let mut world = with_agent(one_wave(&["A"]).agents(), Mode::Standard);
    world.take_grants();
    world.finish("A", in_trouble(Outcome::UsageLimit, Some(60 * 60_000)));
    world.pass_with(30 * 60_000, &["w1"]);
    assert_eq!(world.plan_state(), PlanState::Running);
}

#[test]
fn in_max_a_wave_is_briefed_before_its_agents_begin() {
    let mut world = with_agent(one_wave(&["A", "B"]).agents(), Mode::Max);
    world.granted_only(&["briefing W1"]);
    assert_eq!(world.hold("A"), Some(HoldReason::Counsel(Purpose::Briefing)));
    world.finish("briefing W1", counsel("claude-opus-5-5"));
    world.granted_only_after_answers(&["A", "B"]);
}

#[test]
fn in_max_another_family_that_answers_for_the_coordinator_pauses_the_plan() {
    let mut world = with_agent(one_wave(&["A"]).agents(), Mode::Max);
    world.take_grants();
    world.finish("briefing W1", counsel("claude-sonnet-5-5"));
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Tier));
    let why = world.store.events.iter().rev().find(|event| event.reason == "tier").expect("it is there");
    assert_eq!(why.text, "the coordinator's tier is opus, but claude-sonnet-5-5 answered");
    assert!(world.store.counsels.is_empty(), "it is not heard");
    world.resume(P1);
    world.granted_only_after_answers(&["briefing W1"]);
}

#[test]
fn a_word_given_under_sonnet_is_asked_for_again_when_the_plan_has_gone_to_max() {
    let mut world = judged_wave_of_agents(&["A"]);
    world.judge("W1", rejected(&["A"]));
    world.granted_only_after_answers(&["triage W1"]);
    world.set_mode(P1, Mode::Max);
    world.finish("triage W1", counsel("claude-sonnet-5-5"));
    assert_eq!(world.plan_state(), PlanState::Running);
    assert!(world.store.counsels.is_empty());
    world.granted_only_after_answers(&["triage W1"]);
    world.finish("triage W1", counsel("claude-opus-5-5"));
    world.granted_only_after_answers(&["A"]);
}

#[test]
fn a_word_given_under_opus_is_good_enough_when_the_plan_has_gone_to_standard() {
    let mut world = with_agent(one_wave(&["A"]).agents(), Mode::Max);
    world.granted_only(&["briefing W1"]);
    world.set_mode(P1, Mode::Standard);
    world.finish("briefing W1", counsel("claude-opus-5-5"));
    assert_eq!((world.plan_state(), world.store.counsels.len()), (PlanState::Running, 1));
    world.granted_only_after_answers(&["A"]);
}

#[test]
fn a_stored_plan_in_max_does_not_go_on_where_opus_is_forbidden() {
    let mut world = with_agent(one_wave(&["A"]).agents(), Mode::Max);
    world.take_grants();
    world.finish("briefing W1", counsel("claude-opus-5-5"));
    world.take_grants();
    world.config.max_tier = Tier::Sonnet;
    world.restart_with_changes();
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Tier));
    let why = world.store.events.last().expect("it is there");
    assert!(why.text.contains("`wavegate mode 1 standard`"), "{}", why.text);
    world.resume(P1);
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Tier), "nothing has changed");
    world.set_mode(P1, Mode::Standard);
    world.resume(P1);
    assert_eq!(world.plan_state(), PlanState::Running);
}

#[test]
fn a_task_that_fails_while_a_triage_runs_gets_one_of_its_own() {
    let mut world = with_agent(one_wave(&["A", "B"]).agents(), Mode::Standard);
    world.take_grants();
    for task in ["A", "B"] {
        world.finish(task, answered("claude-sonnet-5-5", Outcome::Failed));
    }
    world.pass_with(10_000, &["w1"]);
    world.granted_only_after_answers(&["A", "B"]);
    world.finish("A", answered("claude-sonnet-5-5", Outcome::Failed));
    world.granted_only_after_answers(&["triage W1"]);
    world.finish("B", answered("claude-sonnet-5-5", Outcome::Failed));
    world.pass_with(60_000, &["w1"]);
    world.finish("triage W1", counsel("claude-sonnet-5-5"));
    world.granted_only_after_answers(&["triage W1", "A"]);
    assert_eq!(world.hold("B"), Some(HoldReason::Counsel(Purpose::Triage)));
    world.finish("triage W1", counsel("claude-sonnet-5-5"));
    world.granted_only_after_answers(&["B"]);
}

#[test]
fn a_triage_that_waits_outlives_a_restart_and_goes_when_its_worker_stays_away() {
    let mut world = with_agent(one_wave(&["A", "B"]).agents(), Mode::Standard);
    world.take_grants();
    world.finish("A", answered("claude-sonnet-5-5", Outcome::Failed));
    world.pass_with(10_000, &["w1"]);
    world.granted_only_after_answers(&["A"]);
    world.finish("B", in_trouble(Outcome::UsageLimit, Some(3_600_000)));
    world.finish("A", answered("claude-sonnet-5-5", Outcome::Failed));
    world.granted_only_after_answers(&[]);
    world.restart();
    assert_eq!(world.wave("W1").counsel, Some(Purpose::Triage), "its worker has not come back yet");
    world.connect(WorkerBuilder::new("w2").agent("a2").roles(&[Role::Executor]));
    assert_eq!(world.wave("W1").counsel, Some(Purpose::Triage), "it may still come");
    world.pass_with(60_000, &["w2"]);
    assert_eq!(world.wave("W1").counsel, None, "it stays away");
}

#[test]
fn an_end_that_only_an_account_could_have_is_a_failure_of_work_without_one() {
    let mut world = World::running(one_wave(&["A"]), Mode::Standard);
    world.take_grants();
    for failures in 1..=3 {
        world.finish("A", in_trouble(Outcome::UsageLimit, None));
        assert_eq!(world.counters("A").1, failures);
        world.wait_retry();
        world.take_grants();
    }
    assert!(matches!(world.plan_state(), PlanState::Blocked(_)));
}

#[test]
fn an_agent_that_tells_nothing_but_succeeds_opens_its_account() {
    let mut world = with_agent(one_wave(&["A", "B"]).agents(), Mode::Standard);
    world.take_grants();
    world.finish("A", in_trouble(Outcome::UsageLimit, Some(1_000)));
    world.finish("B", in_trouble(Outcome::UsageLimit, Some(1_000)));
    world.pass_with(1_000, &["w1"]);
    world.granted_only_after_answers(&["A"]);
    world.finish("A", success());
    world.granted_only_after_answers(&["B"]);
    let states: Vec<_> = world.store.accounts.values().map(|row| row.state).collect();
    assert_eq!(states, [AccountState::Open]);
}

#[test]
fn max_waits_for_a_coordinator_that_can_be_asked_for_opus() {
    let mut world = World::new();
    world.connect(WorkerBuilder::new("w1").agent("a1").models(&["haiku", "sonnet"]));
    world.start(one_wave(&["A"]).agents(), Mode::Max);
    world.granted_only(&[]);
    let hold = world.wave_hold(wavegate_engine::WaveIx(0)).expect("it is there").to_string();
    assert_eq!(hold, "no connected worker's claude can be asked for opus");
    world.connect(WorkerBuilder::new("w2").agent("a2").roles(&[Role::Coordinator]));
    world.granted_only(&["briefing W1"]);
}

#[test]
fn counsel_that_does_not_come_is_asked_for_again_and_then_a_person_is() {
    let mut world = with_agent(one_wave(&["A"]).agents(), Mode::Max);
    world.take_grants();
    for _ in 0..2 {
        world.finish("briefing W1", report(Outcome::Failed));
        world.granted_only_after_answers(&["briefing W1"]);
    }
    world.finish("briefing W1", report(Outcome::Nonsense));
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Coordination));
}

#[test]
fn a_rejected_agents_task_waits_for_the_triage_in_standard_where_one_can_be_had() {
    let mut world = judged_wave_of_agents(&["A", "B"]);
    world.judge("W1", rejected(&["A"]));
    world.granted_only_after_answers(&["triage W1"]);
    assert_eq!(world.hold("A"), Some(HoldReason::Counsel(Purpose::Triage)));
    world.finish("triage W1", counsel("claude-sonnet-5-5"));
    world.granted_only_after_answers(&["A"]);
}

#[test]
fn without_an_agent_to_triage_standard_goes_on_with_the_findings() {
    let mut world = World::running(one_wave(&["A"]).each(|task| task.agent = true), Mode::Standard);
    world.take_grants();
    world.finish("A", success());
    world.take_grants();
    world.judge("W1", rejected(&["A"]));
    world.granted_only_after_answers(&["A"]);
}

#[test]
fn the_second_failure_asks_for_a_triage() {
    let mut world = with_agent(one_wave(&["A"]).agents(), Mode::Standard);
    world.take_grants();
    world.finish("A", answered("claude-sonnet-5-5", Outcome::Failed));
    world.pass_with(10_000, &["w1"]);
    world.granted_only_after_answers(&["A"]);
    world.finish("A", answered("claude-sonnet-5-5", Outcome::Refused));
    world.granted_only_after_answers(&["triage W1"]);
}

#[test]
fn a_briefing_is_dropped_when_the_mode_no_longer_asks_for_it() {
    let mut world = World::new();
    world.connect(WorkerBuilder::new("w1").agent("a1").models(&["sonnet"]));
    world.start(one_wave(&["A"]).agents(), Mode::Max);
    world.granted_only(&[]);
    world.set_mode(P1, Mode::Standard);
    world.granted_only(&["A"]);
}

#[test]
fn thors_agent_judges_where_the_plan_asks_for_one() {
    let plan = one_wave(&["A"]).agents().with(|shape| shape.thor = ThorKind::Agent);
    let mut world = World::new();
    world.connect(WorkerBuilder::new("w1").agent("a1").roles(&[Role::Executor]));
    world.connect(WorkerBuilder::new("shell-only"));
    world.start(plan, Mode::Standard);
    world.take_grants();
    world.finish("A", answered("claude-sonnet-5-5", Outcome::Succeeded));
    world.granted_only_after_answers(&[]);
    world.connect(WorkerBuilder::new("thor").agent("a2").roles(&[Role::Thor]));
    let grants = world.take_grants();
    assert!(matches!(grants[0].brief, WorkBrief::Validate { by_agent: true, .. }));
}

#[test]
fn a_rework_goes_on_from_the_agents_own_result() {
    let mut world = with_agent(one_wave(&["A"]).agents().workspace(WorkspaceKind::Dir), Mode::Standard);
    let grants = world.take_grants();
    assert!(matches!(grants[0].brief, WorkBrief::Task { own: None, .. }));
    world.finish("A", changed(7));
    world.finish("integrate W1", candidate(9));
    world.judge("W1", rejected(&["A"]));
    world.finish("triage W1", counsel("claude-sonnet-5-5"));
    let grants = world.take_grants();
    let rework = grants.iter().rev().find(|grant| grant.what == "A").expect("it is there");
    let WorkBrief::Task { own: Some(own), .. } = &rework.brief else { panic!("{rework:?}") };
    assert_eq!(own.changes, Some(digest(7)));
}

#[test]
fn an_interrupted_agent_goes_on_from_what_it_had_made() {
    let mut world = with_agent(one_wave(&["A"]).agents().workspace(WorkspaceKind::Dir), Mode::Standard);
    world.take_grants();
    let limited = in_trouble(Outcome::UsageLimit, Some(1_000));
    world.finish("A", wavegate_engine::Report { changes: Some(digest(3)), ..limited });
    world.pass_with(1_000, &["w1"]);
    let grants = world.take_grants();
    let WorkBrief::Task { own: Some(own), .. } = &grants[0].brief else { panic!("{grants:?}") };
    assert_eq!(own.changes, Some(digest(3)));
}

#[test]
fn what_was_built_on_work_that_goes_back_begins_anew() {
    let plan = one_wave(&["A", "B"]).needs("B", &["A"]).agents().workspace(WorkspaceKind::Dir);
    let mut world = with_agent(plan, Mode::Standard);
    world.take_grants();
    world.finish("A", changed(1));
    world.take_grants();
    world.finish("B", changed(2));
    world.take_grants();
    world.finish("integrate W1", candidate(9));
    world.take_grants();
    world.judge("W1", rejected(&["A"]));
    world.take_grants();
    world.finish("triage W1", counsel("claude-sonnet-5-5"));
    let again = world.take_grants();
    assert!(matches!(&again[0].brief, WorkBrief::Task { own: Some(_), .. }), "A mends its own result");
    world.finish("A", changed(3));
    let again = world.take_grants();
    assert!(matches!(&again[0].brief, WorkBrief::Task { own: None, .. }), "B was built on the old one");
}

#[test]
fn a_task_over_its_own_budget_pauses_the_plan_until_it_is_given_more() {
    let plan = one_wave(&["A", "B"]).agents().task("A", |task| task.budget.micro_usd = Some(500_000));
    let mut world = with_agent(plan, Mode::Standard);
    let grants = world.take_grants();
    assert!(matches!(grants[0].brief, WorkBrief::Task { budget_micro_usd: Some(500_000), .. }));
    let mut spent = answered("claude-sonnet-5-5", Outcome::BudgetLimit);
    spent.usage.cost_micro_usd = Some(520_000);
    world.finish("A", spent);
    assert_eq!(world.counters("A"), (1, 0, 0, 0, 1), "no failure");
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Budget));
    let event = world.store.events.iter().rev().find(|event| event.reason == "budget").expect("it is there");
    assert!(event.text.contains("wavegate resume 1 --task A --add-usd"), "{}", event.text);
    world.resume(P1);
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Budget), "nothing was added");
    let add = Budget { tokens: None, micro_usd: Some(100_000) };
    world.must(Input::Resume { plan: P1, by: "ada".to_owned(), task: Some("A".to_owned()), add });
    world.sends.clear();
    assert_eq!(world.task_state("A"), TaskState::Leased);
}

#[test]
fn nothing_is_added_to_a_budget_that_is_not_there() {
    let plan = one_wave(&["A"]).agents().token_budget(20_000);
    let mut world = with_agent(plan, Mode::Standard);
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Budget));
    let event = world.store.events.iter().rev().find(|event| event.reason == "budget").expect("it is there");
    let why = "the next grant would pass the budget of 20000 tokens: 0 tokens spent, 0 tokens reserved by what runs, 30000 tokens by the next; `wavegate resume 1 --add-tokens N` gives it more";
    assert_eq!(event.text, why);
    let resume = |task: Option<&str>, tokens, micro_usd| Input::Resume {
        plan: P1,
        by: "ada".to_owned(),
        task: task.map(str::to_owned),
        add: Budget { tokens, micro_usd },
    };
    let refused = world.apply(resume(None, None, Some(1))).expect_err("there is none");
    assert_eq!(refused.to_string(), "plan 1 has no budget in dollars to add to");
    let refused = world.apply(resume(Some("A"), Some(1), None)).expect_err("there is none");
    assert_eq!(refused.to_string(), "task A has no budget in tokens to add to");
    world.must(resume(None, Some(10_000), Some(0)));
    let added =
        world.store.events.iter().find(|event| event.kind == EventKind::BudgetAdded).expect("it is told");
    assert_eq!((added.text.as_str(), added.actor.as_str()), ("10000 tokens", "ada"));
    world.granted_only(&["A"]);
}

#[test]
fn dollars_are_reserved_by_the_price_of_each_tasks_model() {
    let mut world = World::with(|config| {
        config.prices.micro_usd_per_million.insert(Family::Sonnet, 10_000_000);
    });
    world.connect(WorkerBuilder::new("w1").agent("a1"));
    // 30,000 tokens at 10 dollars a million are 0.30 dollars each.
    let plan = one_wave(&["A", "B", "C"]).agents().with(|shape| shape.budget.micro_usd = Some(700_000));
    world.start(plan, Mode::Standard);
    world.granted_only(&["A", "B"]);
    assert_eq!(world.plan_state(), PlanState::Paused(PauseReason::Budget));
}

#[test]
fn what_a_killed_agent_spent_is_booked_to_its_task() {
    let mut world = with_agent(one_wave(&["A"]).agents(), Mode::Standard);
    world.take_grants();
    world.finish("A", answered("claude-sonnet-5-5", Outcome::Killed));
    assert_eq!(world.task("A").spent.tokens(), 1_000);
    assert_eq!(world.counters("A"), (1, 1, 0, 0, 1));
}

fn judged_wave_of_agents(tasks: &[&str]) -> World {
    let mut world = with_agent(one_wave(tasks).agents(), Mode::Standard);
    world.take_grants();
    for task in tasks {
        world.finish(task, answered("claude-sonnet-5-5", Outcome::Succeeded));
    }
    world.take_grants();
    world.sends.clear();
    world
}

#[test]
fn a_challenge_asks_for_evidence_without_a_triage() {
    let mut world = judged_wave_of_agents(&["A"]);
    world.judge("W1", verdict(Decision::Challenged, &["A"]));
    world.granted_only_after_answers(&["A"]);
}
