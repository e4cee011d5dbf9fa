//! Which task a person means: by plan and key, as PLAN/TASK, or by a key that only one plan has.

use wavegate_proto::v1;

use crate::cli::{client::Connection, failure::Failure};

/// A plan, and one of its tasks where one is meant.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) plan: v1::Plan,
    pub(super) task: Option<v1::Task>,
}

impl Subject {
    /// The plan, and its task of this key.
    pub(super) async fn named(
        connection: &Connection,
        plan: &str,
        task: Option<&str>,
    ) -> Result<Self, Failure> {
        match (connection.plan(plan).await, task) {
            (Ok(plan), None) => Ok(Self { plan, task: None }),
            (Ok(plan), Some(key)) => Self::of(plan, key),
            (Err(failure @ Failure::Refused(_)), None) => {
                let found = Self::short(connection, plan).await?;
                found.ok_or(failure)
            }
            (Err(failure), _) => Err(failure),
        }
    }

    fn of(plan: v1::Plan, key: &str) -> Result<Self, Failure> {
        let task = task_of(&plan, key);
        let summary = plan.summary.as_ref().map_or(0, |summary| summary.id);
        let task = task.ok_or_else(|| Failure::Refused(format!("plan {summary} has no task {key}")))?;
        Ok(Self { plan, task: Some(task) })
    }

    /// PLAN/TASK, or the key of a task of exactly one open plan, or else of the newest one. None where nothing is
    /// called so.
    pub(super) async fn short(connection: &Connection, text: &str) -> Result<Option<Self>, Failure> {
        if let Some((plan, key)) = text.rsplit_once('/') {
            return match connection.plan(plan).await {
                Ok(plan) => Self::of(plan, key).map(Some),
                Err(Failure::Refused(_)) => Ok(None),
                Err(failure) => Err(failure),
            };
        }
        let mut plans = connection.summaries(false).await?;
        plans.sort_by_key(|plan| plan.id);
        let is_open =
            |plan: &&v1::PlanSummary| !matches!(plan.state(), v1::PlanState::Done | v1::PlanState::Cancelled);
        let mut found = Vec::new();
        for plan in plans.iter().filter(is_open) {
            found.extend(Self::within(connection, plan, text).await?);
        }
        if found.len() > 1 {
            let names: Vec<_> = found.iter().map(|subject| format!("{}/{text}", subject.plan_id())).collect();
            let names = names.join(", ");
            return Err(Failure::Usage(format!(
                "several open plans have a task {text}: name one of {names}"
            )));
        }
        match (found.pop(), plans.last()) {
            (Some(found), _) => Ok(Some(found)),
            (None, Some(newest)) => Self::within(connection, newest, text).await,
            (None, None) => Ok(None),
        }
    }

    async fn within(
        connection: &Connection,
        plan: &v1::PlanSummary,
        key: &str,
    ) -> Result<Option<Self>, Failure> {
        let plan = connection.plan(&plan.id.to_string()).await?;
        Ok(task_of(&plan, key).map(|task| Self { plan, task: Some(task) }))
    }

    pub(super) fn plan_id(&self) -> i64 {
        self.plan.summary.as_ref().map_or(0, |summary| summary.id)
    }
}

fn task_of(plan: &v1::Plan, key: &str) -> Option<v1::Task> {
    plan.waves.iter().flat_map(|wave| &wave.tasks).find(|task| task.key == key).cloned()
}
