//! Random scripts of operators, workers and time. Every invariant is checked after each step; then
//! faults stop, and every plan must end or wait for a person.

use std::fmt;

use proptest::{collection::vec, prelude::*};
use wavegate_engine::{
    Decision, Mode, Outcome, ReleaseReason, Resolution,
    model::Family,
    spec::{OnLost, ThorKind, WorkspaceKind},
};

use crate::{
    environment::{PlanBuilder, plan},
    script::{Act, Ending, Lie, Step},
    simulation::Simulation,
};

fn modes() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Standard), Just(Mode::Max)]
}

fn decisions() -> impl Strategy<Value = Decision> {
    prop::sample::select(Decision::ALL)
}

const KEYS: [&str; 9] = ["A", "B", "C", "D", "E", "F", "G", "H", "I"];
const WAVES: [&str; 3] = ["W1", "W2", "W3"];

prop_compose! {
    fn plans()(
        widths in vec(1..=3usize, 1..=3),
        free in vec(any::<bool>(), 3),
        dependent in vec(0..3u8, 9),
        priorities in vec(0..4u8, 9),
        labels in vec(0..6u8, 9),
        on_lost in vec(0..4u8, 9),
        workspace in
            prop_oneof![Just(WorkspaceKind::None), Just(WorkspaceKind::Dir), Just(WorkspaceKind::Git)],
        external in prop::bool::weighted(0.2),
        budget in prop::option::weighted(0.3, 20_000..300_000u64),
        agents in prop::bool::weighted(0.4),
        own_budget in prop::option::weighted(0.2, 500..40_000u64),
        judge in prop::bool::weighted(0.3),
    ) -> PlanBuilder {
        let mut built = plan().workspace(workspace);
        let mut keys = KEYS.iter();
        for ((width, free), key) in widths.iter().zip(free).zip(WAVES) {
            let tasks: Vec<_> = keys.by_ref().take(*width).copied().collect();
            built = if free { built.free_wave(key, &tasks) } else { built.wave(key, &tasks) };
            for (at, pair) in tasks.windows(2).enumerate() {
                built = if dependent[at] == 0 { built.needs(pair[1], &[pair[0]]) } else { built };
            }
        }
        let mut at = 0;
        built = built.with(|shape| {
            shape.thor = match (external, agents && judge) {
                (true, _) => ThorKind::External,
                (false, true) => ThorKind::Agent,
                (false, false) => ThorKind::Worker,
            };
            shape.budget.tokens = budget;
            for task in &mut shape.tasks {
                task.priority = priorities[at];
                task.agent = agents || budget.is_some();
                if agents {
                    task.demand.runner = "claude".to_owned();
                    task.demand.family = Some(Family::Sonnet);
                    task.budget.tokens = own_budget.filter(|_| labels[at] == 2);
                }
                task.demand.requires = if labels[at] == 0 { vec!["gpu".to_owned()] } else { Vec::new() };
                task.on_lost = match on_lost[at] { 0 => OnLost::Hold, 1 => OnLost::Fail, _ => OnLost::Retry };
                task.lost_after_ms = (labels[at] == 1).then_some(100_000);
                at += 1;
            }
        });
        built
    }
}

fn endings() -> impl Strategy<Value = Ending> {
    prop_oneof![
        6 => Just(Ending::Good),
        2 => Just(Ending::Bad),
        1 => Just(Ending::Skip),
        3 => decisions().prop_map(Ending::Judged),
        1 => Just(Ending::Nonsense),
        3 => (troubles(), prop::option::of(0..2_000_000u64)).prop_map(|(trouble, ms)| Ending::Trouble(trouble, ms)),
    ]
}

fn troubles() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![
        Outcome::UsageLimit,
        Outcome::BadCredentials,
        Outcome::Overloaded,
        Outcome::Unreachable,
        Outcome::BudgetLimit,
        Outcome::Refused,
    ])
}

fn lies() -> impl Strategy<Value = Lie> {
    prop::sample::select(vec![Lie::Finished, Lie::Released, Lie::Started, Lie::Empty, Lie::Greedy])
}

/// What the engine remembers of a repository that a worker could not reach is in no store, so the naive model cannot know
/// it: `repositories` tests that.
fn reasons() -> Vec<ReleaseReason> {
    ReleaseReason::ALL.iter().copied().filter(|reason| *reason != ReleaseReason::Repository).collect()
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Connect),
        1 => Just(Act::Crash),
        1 => Just(Act::Twin),
        2 => Just(Act::Disconnect),
        4 => Just(Act::Heartbeat),
        10 => Just(Act::Deliver),
        2 => any::<u8>().prop_map(Act::Begin),
        1 => (any::<u8>(), 1..60_000u64).prop_map(|(at, tokens)| Act::Spend(at, tokens)),
        12 => (any::<u8>(), endings()).prop_map(|(at, ending)| Act::End(at, ending)),
        1 => (any::<u8>(), prop::sample::select(reasons())).prop_map(|(at, why)| Act::GiveBack(at, why)),
        1 => Just(Act::Drain),
        1 => (any::<u8>(), lies()).prop_map(|(at, lie)| Act::Lie(at, lie)),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let texts = prop::sample::select(vec![Some("max"), Some("standard"), Some("turbo"), None]);
    prop_oneof![
        1 => (plans(), modes()).prop_map(|(plan, mode)| Step::Submit(Box::new(plan), mode)),
        1 => (any::<u8>(), modes()).prop_map(|(plan, mode)| Step::SetMode(plan, mode)),
        1 => (any::<u8>(), texts).prop_map(|(plan, text)| Step::Sql(plan, text)),
        1 => any::<u8>().prop_map(Step::Pause),
        2 => (any::<u8>(), 0..60_000u64).prop_map(|(plan, add)| Step::Resume(plan, add)),
        1 => any::<u8>().prop_map(Step::Cancel),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(plan, task)| Step::Retry(plan, task)),
        2 => (any::<u8>(), prop::sample::select(Resolution::ALL), any::<bool>())
            .prop_map(|(plan, resolution, named)| Step::Resolve(plan, resolution, named)),
        2 => (any::<u8>(), decisions(), prop::bool::weighted(0.8))
            .prop_map(|(at, decision, fresh)| Step::External(at, decision, fresh)),
        1 => any::<u8>().prop_map(Step::Drain),
        1 => any::<u8>().prop_map(Step::Forget),
        1 => any::<u8>().prop_map(Step::Clear),
        1 => Just(Step::Restart),
        1 => Just(Step::RollBack),
        1 => any::<u8>().prop_map(Step::Poison),
        3 => (1..200_000u64).prop_map(Step::Pass),
        1 => (1..2_000_000u64).prop_map(Step::Jump),
        45 => (any::<u8>(), acts()).prop_map(|(at, act)| Step::Worker(at, act)),
    ]
}

fn scripts() -> impl Strategy<Value = Script> {
    let first = (plans(), modes()).prop_map(|(plan, mode)| Step::Submit(Box::new(plan), mode));
    (prop::option::weighted(0.2, 1..4u32), first, vec(steps(), 0..70)).prop_map(
        |(max_agents, first, mut steps)| {
            steps.insert(0, first);
            Script { max_agents, steps }
        },
    )
}

#[derive(Clone)]
struct Script {
    max_agents: Option<u32>,
    steps: Vec<Step>,
}

/// A line a step.
impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "max_agents {:?}", self.max_agents)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step:?}"))
    }
}

impl Script {
    fn run(&self) -> Simulation {
        let mut simulation = Simulation::new(self.max_agents);
        self.steps.iter().for_each(|step| simulation.step(step));
        simulation
    }
}

/// Few enough for every run; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(48);
    ProptestConfig { cases, max_shrink_iters: 20_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_the_invariants_hold_and_every_plan_ends_or_waits_for_a_person(script in scripts()) {
        script.run().calm_down();
    }

    #[test]
    fn the_same_inputs_give_the_same_decisions(script in scripts()) {
        let (first, second) = (script.run(), script.run());
        prop_assert!(first.world.history == second.world.history, "I12");
    }
}
