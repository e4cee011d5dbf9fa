//! Plans in a line: waves of tasks by key, each wave after the one before unless said otherwise.

use std::fmt;

use wavegate_engine::{
    PlanId, TaskIx, WaveIx,
    model::Family,
    spec::{Budget, Demand, OnLost, PlanShape, TaskShape, ThorKind, WaveShape, WorkspaceKind},
};

#[derive(Clone)]
pub(crate) struct PlanBuilder {
    shape: PlanShape,
}

/// Short, for the scripts of failing properties.
impl fmt::Debug for PlanBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PlanShape { workspace, thor, budget, waves, tasks, .. } = &self.shape;
        write!(f, "plan({workspace:?} {thor:?} {:?}", budget.tokens)?;
        for wave in waves {
            write!(f, "; {} after {:?}:", wave.key, wave.depends_on)?;
            for task in &tasks[wave.tasks.start as usize..wave.tasks.end as usize] {
                write!(f, " {}(p{}", task.key, task.priority)?;
                write!(f, " {:?} needs {:?} {:?}", task.on_lost, task.depends_on, task.demand.requires)?;
                write!(f, " {:?})", task.lost_after_ms)?;
            }
        }
        f.write_str(")")
    }
}

/// An empty plan of shell tasks in no workspace, so that candidates need no integration.
pub(crate) fn plan() -> PlanBuilder {
    PlanBuilder {
        shape: PlanShape {
            id: PlanId(0),
            name: "greet".to_owned(),
            workspace: WorkspaceKind::None,
            repository: "/srv/repository".to_owned(),
            base: None,
            thor: ThorKind::Worker,
            thor_agent: Default::default(),
            coordinator_runner: "claude".to_owned(),
            budget: Budget::default(),
            waves: Vec::new(),
            tasks: Vec::new(),
        },
    }
}

pub(crate) fn one_wave(tasks: &[&str]) -> PlanBuilder {
    plan().wave("W1", tasks)
}

/// One wave in which each task needs the one before.
pub(crate) fn chain(tasks: &[&str]) -> PlanBuilder {
    tasks.windows(2).fold(one_wave(tasks), |plan, pair| plan.needs(pair[1], &[pair[0]]))
}

impl PlanBuilder {
    /// A wave after the one before.
    pub(crate) fn wave(mut self, key: &str, tasks: &[&str]) -> Self {
        let at = self.shape.waves.len() as u32;
        let first = self.shape.tasks.len() as u32;
        self.shape.tasks.extend(tasks.iter().map(|key| task(key, WaveIx(at))));
        self.shape.waves.push(WaveShape {
            key: key.to_owned(),
            depends_on: at.checked_sub(1).map(WaveIx).into_iter().collect(),
            tasks: first..self.shape.tasks.len() as u32,
        });
        self
    }

    /// A wave that waits for no other.
    pub(crate) fn free_wave(self, key: &str, tasks: &[&str]) -> Self {
        let mut plan = self.wave(key, tasks);
        if let Some(wave) = plan.shape.waves.last_mut() {
            wave.depends_on.clear();
        }
        plan
    }

    pub(crate) fn needs(mut self, task: &str, dependencies: &[&str]) -> Self {
        let dependencies: Vec<_> = dependencies.iter().map(|key| self.place(key)).collect();
        self.task_mut(task).depends_on.extend(dependencies);
        self
    }

    pub(crate) fn task(mut self, key: &str, adjust: impl FnOnce(&mut TaskShape)) -> Self {
        adjust(self.task_mut(key));
        self
    }

    pub(crate) fn each(mut self, adjust: impl Fn(&mut TaskShape)) -> Self {
        self.shape.tasks.iter_mut().for_each(adjust);
        self
    }

    pub(crate) fn with(mut self, adjust: impl FnOnce(&mut PlanShape)) -> Self {
        adjust(&mut self.shape);
        self
    }

    pub(crate) fn workspace(self, kind: WorkspaceKind) -> Self {
        self.with(|shape| shape.workspace = kind)
    }

    /// Every task is an agent's, and so many tokens may be spent.
    pub(crate) fn token_budget(self, tokens: u64) -> Self {
        self.each(|task| task.agent = true).with(|shape| shape.budget.tokens = Some(tokens))
    }

    /// Every task is done by an agent, on sonnet.
    pub(crate) fn agents(self) -> Self {
        self.each(|task| {
            task.agent = true;
            task.demand.runner = "claude".to_owned();
            task.demand.family = Some(Family::Sonnet);
        })
    }

    pub(crate) fn build(mut self, id: PlanId) -> PlanShape {
        self.shape.id = id;
        self.shape
    }

    fn place(&self, key: &str) -> TaskIx {
        let at = self.shape.tasks.iter().position(|task| task.key == key);
        TaskIx(at.expect("the plan has the task") as u32)
    }

    fn task_mut(&mut self, key: &str) -> &mut TaskShape {
        let at = self.place(key).at();
        &mut self.shape.tasks[at]
    }
}

fn task(key: &str, wave: WaveIx) -> TaskShape {
    TaskShape {
        key: key.to_owned(),
        wave,
        priority: 1,
        depends_on: Vec::new(),
        files: Vec::new(),
        demand: Demand { runner: "shell".to_owned(), family: None, requires: Vec::new() },
        agent: false,
        budget: Budget::default(),
        warning: None,
        max_failures: 3,
        on_lost: OnLost::Retry,
        lost_after_ms: None,
    }
}
