//! Sketches of plans as whole plans, for the coordinator's front door.

use std::collections::BTreeMap;

use wavegate_coordinator::driver::Submission;
use wavegate_engine::{
    TaskIx, WaveIx,
    spec::{Budget, PlanSpec, ProjectSpec, TaskSpec, WaveSpec, WorkSpec, WorkspaceKind},
};

use super::scenario::{PlanSketch, TaskSketch};

/// The plan as it is submitted.
pub(super) fn submission(sketch: &PlanSketch, number: usize) -> Submission {
    Submission {
        spec: spec(sketch, number),
        source: String::new(),
        file_name: String::new(),
        base: None,
        by: "ada".to_owned(),
    }
}

fn spec(sketch: &PlanSketch, number: usize) -> PlanSpec {
    let mut first = 0;
    let mut waves = Vec::new();
    for (wave, at) in sketch.waves.iter().zip(0u32..) {
        let tasks = wave.tasks.iter().zip(first..).map(|(task, place)| {
            let needs = (task.needs_last && place > first).then(|| TaskIx(place - 1));
            task_spec(sketch, task, place, needs.into_iter().collect())
        });
        let tasks: Vec<_> = tasks.collect();
        first += tasks.len() as u32;
        let before = at.checked_sub(1).filter(|_| !wave.is_free).map(WaveIx);
        waves.push(WaveSpec {
            depends_on: before.into_iter().collect(),
            tasks,
            ..empty_wave(format!("W{}", at + 1))
        });
    }
    let budget = Budget { tokens: sketch.budget, micro_usd: None };
    let empty = empty_plan(format!("plan {number}"), sketch.workspace);
    PlanSpec { budget, thor: sketch.thor, waves, ..empty }
}

/// A plan without waves.
pub(super) fn empty_plan(name: String, workspace: WorkspaceKind) -> PlanSpec {
    PlanSpec {
        name,
        description: String::new(),
        project: ProjectSpec { workspace, ..ProjectSpec::default() },
        vars: BTreeMap::new(),
        requirements: Vec::new(),
        constraints: Vec::new(),
        budget: Budget::default(),
        thor: wavegate_engine::spec::ThorKind::Worker,
        thor_agent: wavegate_engine::spec::AgentChoice::default(),
        coordinator_runner: "claude".to_owned(),
        waves: Vec::new(),
    }
}

/// A wave without tasks.
pub(super) fn empty_wave(key: String) -> WaveSpec {
    WaveSpec {
        key,
        name: String::new(),
        depends_on: Vec::new(),
        verify: Vec::new(),
        merge_mode: wavegate_engine::spec::MergeMode::default(),
        tasks: Vec::new(),
    }
}

fn task_spec(plan: &PlanSketch, task: &TaskSketch, place: u32, depends_on: Vec<TaskIx>) -> TaskSpec {
    let work = if plan.agents { WorkSpec::Do("work".to_owned()) } else { WorkSpec::Run("work".to_owned()) };
    TaskSpec {
        key: format!("T{place}"),
        title: String::new(),
        work,
        runner: if plan.agents { "claude" } else { "shell" }.to_owned(),
        model: plan.agents.then(|| "sonnet".to_owned()),
        effort: 2,
        priority: task.priority,
        kind: String::new(),
        files: Vec::new(),
        verify: Vec::new(),
        criteria: Vec::new(),
        depends_on,
        requires: task.needs_gpu.then(|| "gpu".to_owned()).into_iter().collect(),
        timeout_ms: 3_600_000,
        max_failures: 3,
        on_lost: task.on_lost,
        lost_after_ms: task.lost_after_ms,
        setup: Vec::new(),
        permissions: wavegate_engine::spec::Permissions::default(),
        allowed_tools: Vec::new(),
        budget: Budget { tokens: task.own_budget, micro_usd: None },
        env: Vec::new(),
        skip_if: None,
    }
}
