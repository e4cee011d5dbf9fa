//! The requests that several commands make, each with its status read into words.

use wavegate_proto::v1;

use super::{actor, client::Connection, failure::Failure};

impl Connection {
    /// One plan with everything in it, by id or name.
    pub(crate) async fn plan(&self, plan: &str) -> Result<v1::Plan, Failure> {
        let request = v1::GetPlanRequest { plan: plan.to_owned() };
        let answer = self.plans().get_plan(request).await;
        let answer = answer.map_err(|status| self.failure(&status))?.into_inner();
        answer.plan.ok_or_else(|| Failure::Internal("it answered without a plan".to_owned()))
    }

    /// The plans in a few words each.
    pub(crate) async fn summaries(&self, open_only: bool) -> Result<Vec<v1::PlanSummary>, Failure> {
        let answer = self.plans().list_plans(v1::ListPlansRequest { open_only }).await;
        answer.map(|answer| answer.into_inner().plans).map_err(|status| self.failure(&status))
    }

    /// What each mode would cost a plan.
    pub(crate) async fn estimates(&self, plan: &str) -> Result<v1::Estimates, Failure> {
        let request = v1::EstimatePlanRequest { plan: plan.to_owned() };
        let answer = self.plans().estimate_plan(request).await;
        let answer = answer.map_err(|status| self.failure(&status))?;
        Ok(answer.into_inner().estimates.unwrap_or_default())
    }

    /// Starts a plan; gives the warnings.
    pub(crate) async fn approve(&self, plan: &str, mode: v1::Mode) -> Result<Vec<String>, Failure> {
        let request = v1::ApprovePlanRequest { plan: plan.to_owned(), mode: mode.into(), by: actor::by() };
        let answer = self.plans().approve_plan(request).await;
        let answer = answer.map_err(|status| self.failure(&status))?;
        Ok(answer.into_inner().warnings)
    }

    /// Changes the mode of an approved plan.
    pub(crate) async fn set_mode(&self, plan: &str, mode: v1::Mode) -> Result<(), Failure> {
        let request = v1::SetModeRequest { plan: plan.to_owned(), mode: mode.into(), by: actor::by() };
        let answer = self.plans().set_mode(request).await;
        answer.map_err(|status| self.failure(&status)).map(drop)
    }

    /// Grants nothing more of a plan.
    pub(crate) async fn pause(&self, plan: &str, note: &str) -> Result<(), Failure> {
        let request = v1::PausePlanRequest { plan: plan.to_owned(), by: actor::by(), note: note.to_owned() };
        let answer = self.plans().pause_plan(request).await;
        answer.map_err(|status| self.failure(&status)).map(drop)
    }

    /// Lets a paused plan go on.
    pub(crate) async fn resume(
        &self,
        plan: &str,
        task: Option<&str>,
        add_tokens: u64,
        add_micro_usd: u64,
    ) -> Result<(), Failure> {
        let (plan, task) = (plan.to_owned(), task.unwrap_or_default().to_owned());
        let request = v1::ResumePlanRequest { plan, by: actor::by(), add_tokens, add_micro_usd, task };
        let answer = self.plans().resume_plan(request).await;
        answer.map_err(|status| self.failure(&status)).map(drop)
    }

    /// What a plan took.
    pub(crate) async fn report(&self, plan: &str) -> Result<v1::GetReportResponse, Failure> {
        let request = v1::GetReportRequest { plan: plan.to_owned() };
        let answer = self.plans().get_report(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.failure(&status))
    }

    /// What the agent of a task is told.
    pub(crate) async fn prompt(&self, plan: &str, task: &str) -> Result<v1::GetPromptResponse, Failure> {
        let request = v1::GetPromptRequest { plan: plan.to_owned(), task: task.to_owned() };
        let answer = self.plans().get_prompt(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.failure(&status))
    }

    /// The accounts that agents spend from.
    pub(crate) async fn accounts(&self) -> Result<Vec<v1::Account>, Failure> {
        let answer = self.fleet().list_accounts(v1::ListAccountsRequest {}).await;
        answer.map(|answer| answer.into_inner().accounts).map_err(|status| self.failure(&status))
    }

    /// The workers.
    pub(crate) async fn workers(&self) -> Result<Vec<v1::Worker>, Failure> {
        let answer = self.fleet().list_workers(v1::ListWorkersRequest {}).await;
        answer.map(|answer| answer.into_inner().workers).map_err(|status| self.failure(&status))
    }

    /// How many leases of a plan are live or uncertain, of every kind.
    pub(crate) async fn live_leases(&self, plan_id: i64) -> Result<usize, Failure> {
        let workers = self.workers().await?;
        let leases = workers.iter().flat_map(|worker| &worker.leases);
        let live = leases.filter(|lease| lease.plan_id == plan_id && may_run(lease.state()));
        Ok(live.count())
    }
}

const fn may_run(state: v1::LeaseState) -> bool {
    match state {
        v1::LeaseState::Granted
        | v1::LeaseState::Running
        | v1::LeaseState::Cancelling
        | v1::LeaseState::Unreachable => true,
        v1::LeaseState::Unspecified
        | v1::LeaseState::Finished
        | v1::LeaseState::Released
        | v1::LeaseState::Lost => false,
    }
}
