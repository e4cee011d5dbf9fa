//! PlanService: what an operator asks. Changes go to the driver, listings come from the reader, and why
//! something waits from the engine's memory.

use std::pin::Pin;

use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use wavegate_engine::{
    Digest, Input, PlanId, Reply, Resolve,
    estimate::{Estimates, estimates},
    spec::{Budget, PlanSpec, ProjectSpec, WorkspaceKind},
};
use wavegate_proto::v1;

use super::{FileWork, Services, convert, desk::by, logs, report, status, watch};
use crate::{driver::Submission, planfile};

#[derive(Debug)]
pub(super) struct PlanDesk(pub(super) Services);

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl PlanDesk {
    async fn spec(&self, plan: PlanId) -> Result<PlanSpec, Status> {
        let found = self.0.read(move |reader| reader.spec(plan)).await?;
        found.ok_or_else(|| status::not_found("plan", &plan.to_string()))
    }

    /// What is estimated now, and the date of the prices by which it is.
    async fn fresh_estimates(&self, plan: PlanId) -> Result<(Estimates, String), Status> {
        let prices = &self.0.prices;
        Ok((estimates(&self.spec(plan).await?, &prices.blended()), prices.blended_date()))
    }

    /// What was estimated at approval; before it, what is estimated now.
    async fn estimates(&self, plan: PlanId) -> Result<(Estimates, String), Status> {
        let (fresh, date) = self.fresh_estimates(plan).await?;
        let summary = self.0.read(move |reader| reader.summary(plan)).await?;
        Ok(match summary.and_then(|summary| summary.estimates) {
            Some(kept) => (fresh.as_kept(&kept), kept.prices_date),
            None => (fresh, date),
        })
    }

    /// Applies what an operator asks of a plan, when the request carries the token.
    async fn apply<T>(
        &self,
        request: &Request<T>,
        plan: &str,
        input: impl FnOnce(PlanId) -> Input,
    ) -> Result<Reply, Status> {
        self.0.access.check(request.metadata())?;
        let plan = self.0.plan_id(plan).await?;
        Ok(self.0.handle.apply(input(plan)).await?)
    }

    /// A digest that names a tree which was uploaded before.
    fn base_tree(&self, text: &str) -> Result<Option<Digest>, Status> {
        if text.is_empty() {
            return Ok(None);
        }
        let digest: Digest =
            text.parse().map_err(|error| status::invalid(format!("`base_tree`: {error}")))?;
        if self.0.artifacts.missing(&[digest]).is_empty() {
            return Ok(Some(digest));
        }
        Err(status::invalid(format!("`base_tree`: the artifact {digest} was not uploaded")))
    }
}

#[tonic::async_trait]
impl v1::plan_service_server::PlanService for PlanDesk {
    type WatchPlanStream = Streamed<v1::Event>;
    type ReadLogsStream = Streamed<v1::ReadLogsResponse>;

    async fn check_plan(&self, request: Request<v1::CheckPlanRequest>) -> Answer<v1::CheckPlanResponse> {
        let request = request.into_inner();
        let (_, reading) =
            read_plan(self.0.files, request.source, file_name(request.file_name), request.set).await?;
        let outline = reading.spec.as_ref().map(|spec| convert::outline_of(spec, &self.0.prices));
        Ok(Response::new(v1::CheckPlanResponse { diagnostics: convert::diagnostics_of(&reading), outline }))
    }

    async fn submit_plan(&self, request: Request<v1::SubmitPlanRequest>) -> Answer<v1::SubmitPlanResponse> {
        self.0.access.check(request.metadata())?;
        let request = request.into_inner();
        check_budget(&request)?;
        let file_name = file_name(request.file_name);
        let (source, reading) =
            read_plan(self.0.files, request.source, file_name.clone(), request.set).await?;
        let warnings = convert::diagnostics_of(&reading);
        let Some(mut spec) = reading.spec else {
            let lines: Vec<_> = reading.diagnostics.iter().map(ToString::to_string).collect();
            return Err(status::invalid_lines(&lines, "CheckPlan names all of them"));
        };
        let base = self.base_tree(&request.base_tree)?;
        place_repository(&mut spec.project, request.repository, request.base)?;
        spec.budget.tokens = request.budget_tokens.or(spec.budget.tokens);
        spec.budget.micro_usd = request.budget_micro_usd.or(spec.budget.micro_usd);
        let submission = Submission { spec, source, file_name, base, by: by(request.by) };
        let submitted = self.0.handle.submit(submission).await?;
        Ok(Response::new(v1::SubmitPlanResponse {
            plan_id: submitted.plan.0,
            name: submitted.name,
            warnings,
        }))
    }

    async fn list_plans(&self, request: Request<v1::ListPlansRequest>) -> Answer<v1::ListPlansResponse> {
        let open_only = request.into_inner().open_only;
        let plans = self.0.read(|reader| reader.plans()).await?;
        let plans = plans.iter().filter(|plan| !open_only || !plan.row.state.is_final());
        Ok(Response::new(v1::ListPlansResponse { plans: plans.map(convert::summary_into_proto).collect() }))
    }

    async fn get_plan(&self, request: Request<v1::GetPlanRequest>) -> Answer<v1::GetPlanResponse> {
        let asked = request.into_inner().plan;
        let id = self.0.plan_id(&asked).await?;
        let plan = self.0.read(move |reader| reader.plan(id)).await?;
        let plan = plan.ok_or_else(|| status::not_found("plan", &asked))?;
        let holds = self.0.handle.holds(id).await?;
        let (estimates, date) = self.estimates(id).await?;
        let estimates = convert::estimates_into_proto(&estimates, date);
        Ok(Response::new(v1::GetPlanResponse {
            plan: Some(convert::plan_into_proto(plan, &holds, estimates)),
        }))
    }

    async fn get_prompt(&self, request: Request<v1::GetPromptRequest>) -> Answer<v1::GetPromptResponse> {
        let v1::GetPromptRequest { plan, task } = request.into_inner();
        let id = self.0.plan_id(&plan).await?;
        let key = task.clone();
        let found = self.0.read(move |reader| reader.task_now(id, &key)).await?;
        let now = found.ok_or_else(|| status::no_task(id, &task))?;
        let told = convert::prompt_of(&now);
        let told = told
            .ok_or_else(|| status::invalid(format!("{task} is a shell task: no agent is told anything")))?;
        Ok(Response::new(told))
    }

    async fn estimate_plan(
        &self,
        request: Request<v1::EstimatePlanRequest>,
    ) -> Answer<v1::EstimatePlanResponse> {
        let id = self.0.plan_id(&request.into_inner().plan).await?;
        let (estimates, date) = self.estimates(id).await?;
        let estimates = convert::estimates_into_proto(&estimates, date);
        Ok(Response::new(v1::EstimatePlanResponse { estimates: Some(estimates) }))
    }

    async fn approve_plan(
        &self,
        request: Request<v1::ApprovePlanRequest>,
    ) -> Answer<v1::ApprovePlanResponse> {
        let asked = request.get_ref().clone();
        let mode = convert::mode_from_proto(asked.mode());
        self.0.access.check(request.metadata())?;
        let id = self.0.plan_id(&asked.plan).await?;
        let (estimates, date) = self.fresh_estimates(id).await?;
        let estimates = Some(Box::new(estimates.kept(date)));
        let approve = Input::Approve { plan: id, mode, by: by(asked.by), estimates };
        let reply = self.0.handle.apply(approve).await?;
        let (mode, tier) = mode_and_tier(&reply);
        let warnings = match reply {
            Reply::Mode { warnings, .. } => warnings,
            Reply::Done => Vec::new(),
        };
        Ok(Response::new(v1::ApprovePlanResponse { mode: mode.into(), tier: tier.into(), warnings }))
    }

    async fn set_mode(&self, request: Request<v1::SetModeRequest>) -> Answer<v1::SetModeResponse> {
        let asked = request.get_ref().clone();
        let mode = convert::mode_from_proto(asked.mode());
        let mode = mode.ok_or_else(|| status::invalid("`mode`: expected standard or max"))?;
        let reply =
            self.apply(&request, &asked.plan, |plan| Input::SetMode { plan, mode, by: by(asked.by) }).await?;
        let (mode, tier) = mode_and_tier(&reply);
        Ok(Response::new(v1::SetModeResponse { mode: mode.into(), tier: tier.into() }))
    }

    async fn pause_plan(&self, request: Request<v1::PausePlanRequest>) -> Answer<v1::PausePlanResponse> {
        let v1::PausePlanRequest { plan, by: who, note } = request.get_ref().clone();
        self.apply(&request, &plan, |plan| Input::Pause { plan, by: by(who), note }).await?;
        Ok(Response::new(v1::PausePlanResponse {}))
    }

    async fn resume_plan(&self, request: Request<v1::ResumePlanRequest>) -> Answer<v1::ResumePlanResponse> {
        let v1::ResumePlanRequest { plan, by: who, add_tokens, add_micro_usd, task } =
            request.get_ref().clone();
        convert::amount("add_tokens", add_tokens)
            .and_then(|_| convert::money("add_micro_usd", add_micro_usd))
            .map_err(|error| status::invalid(error.to_string()))?;
        let add = Budget { tokens: Some(add_tokens), micro_usd: Some(add_micro_usd) };
        let task = Some(task).filter(|task| !task.is_empty());
        self.apply(&request, &plan, |plan| Input::Resume { plan, by: by(who), task, add }).await?;
        Ok(Response::new(v1::ResumePlanResponse {}))
    }

    async fn cancel_plan(&self, request: Request<v1::CancelPlanRequest>) -> Answer<v1::CancelPlanResponse> {
        let v1::CancelPlanRequest { plan, by: who, note } = request.get_ref().clone();
        self.apply(&request, &plan, |plan| Input::Cancel { plan, by: by(who), note }).await?;
        Ok(Response::new(v1::CancelPlanResponse {}))
    }

    async fn retry_task(&self, request: Request<v1::RetryTaskRequest>) -> Answer<v1::RetryTaskResponse> {
        let v1::RetryTaskRequest { plan, task, by: who } = request.get_ref().clone();
        self.apply(&request, &plan, |plan| Input::Retry { plan, task, by: by(who) }).await?;
        Ok(Response::new(v1::RetryTaskResponse {}))
    }

    async fn resolve_wave(
        &self,
        request: Request<v1::ResolveWaveRequest>,
    ) -> Answer<v1::ResolveWaveResponse> {
        let asked = request.get_ref().clone();
        let resolution = convert::resolution_from_proto(asked.resolution());
        let resolution = resolution.map_err(|error| status::invalid(error.to_string()))?;
        let v1::ResolveWaveRequest { plan, wave, tasks, note, by: who, .. } = asked;
        let resolve = Resolve { wave, resolution, tasks, note, by: by(who) };
        self.apply(&request, &plan, |plan| Input::Resolve { plan, resolve }).await?;
        Ok(Response::new(v1::ResolveWaveResponse {}))
    }

    async fn watch_plan(&self, request: Request<v1::WatchPlanRequest>) -> Answer<Self::WatchPlanStream> {
        let request = request.into_inner();
        let plan = self.0.plan_id(&request.plan).await?;
        Ok(Response::new(Box::pin(watch::events(self.0.clone(), plan, request.after, request.forever))))
    }

    async fn read_logs(&self, request: Request<v1::ReadLogsRequest>) -> Answer<Self::ReadLogsStream> {
        let request = request.into_inner();
        let plan = self.0.plan_id(&request.plan).await?;
        logs::check_task(&self.0, plan, &request.task).await?;
        Ok(Response::new(Box::pin(logs::read(self.0.clone(), plan, request))))
    }

    async fn get_report(&self, request: Request<v1::GetReportRequest>) -> Answer<v1::GetReportResponse> {
        let asked = request.into_inner().plan;
        let id = self.0.plan_id(&asked).await?;
        let plan = self.0.read(move |reader| reader.plan(id)).await?;
        let plan = plan.ok_or_else(|| status::not_found("plan", &asked))?;
        let workers = self.0.read(|reader| reader.workers()).await?;
        let holds = self.0.handle.holds(id).await?;
        let (estimates, estimates_date) = self.estimates(id).await?;
        let figures = report::figures(&plan, &workers);
        let ledger = self.0.read(move |reader| reader.ledger(id)).await?;
        let coordinator = report::coordinator_usage(&ledger);
        let summary = convert::summary_into_proto(&plan.summary);
        Ok(Response::new(v1::GetReportResponse {
            prices_date: report::price_dates(&ledger),
            estimates: Some(convert::estimates_into_proto(&estimates, estimates_date)),
            usage: summary.usage,
            plan: Some(summary),
            waves: convert::waves_into_proto(plan, &holds),
            ledger: ledger.into_iter().map(convert::ledger_into_proto).collect(),
            coordinator_usage: Some(convert::usage_into_proto(coordinator)),
            coordinator_estimate_tokens: estimates.max_coordinator_tokens,
            ..figures
        }))
    }
}

fn check_budget(request: &v1::SubmitPlanRequest) -> Result<(), Status> {
    let tokens = request.budget_tokens.map(|tokens| convert::amount("budget_tokens", tokens)).transpose();
    let micro_usd =
        request.budget_micro_usd.map(|micro| convert::money("budget_micro_usd", micro)).transpose();
    tokens.and(micro_usd).map(drop).map_err(|error| status::invalid(error.to_string()))
}

/// Puts what the client has resolved in the place of what the file says. Workers have no folder that a relative path
/// could be seen from.
fn place_repository(project: &mut ProjectSpec, repository: String, base: String) -> Result<(), Status> {
    if project.workspace != WorkspaceKind::Git {
        let given =
            [("repository", repository), ("base", base)].into_iter().find(|(_, text)| !text.is_empty());
        return given.map_or(Ok(()), |(field, _)| {
            Err(status::invalid(format!("`{field}`: the plan's workspace is not git; expected nothing")))
        });
    }
    if !repository.is_empty() {
        planfile::check_repository(&repository)
            .map_err(|problem| status::invalid(format!("`repository`: {problem}")))?;
        project.repo = Some(repository);
    }
    if !base.is_empty() {
        planfile::check_revision(&base).map_err(|problem| status::invalid(format!("`base`: {problem}")))?;
        project.base = Some(base);
    }
    match &project.repo {
        Some(repo) if planfile::is_relative(repo) => Err(status::invalid(format!(
            "`repository`: the plan names {repo:?}, which only its own client can resolve; expected an absolute path or a URL"
        ))),
        Some(_) => Ok(()),
        None => Err(status::invalid(
            "`repository`: the plan works on the repository that holds its file, which only its own client knows; \
             expected an absolute path or a URL",
        )),
    }
}

/// Reads a plan file off the async threads: a large one takes a while. Gives the text back.
async fn read_plan(
    files: FileWork,
    source: String,
    file_name: String,
    set: impl IntoIterator<Item = (String, String)>,
) -> Result<(String, planfile::Reading), Status> {
    let sets = set.into_iter().collect();
    let read = move || {
        let reading = planfile::read(&source, &file_name, &sets);
        (source, reading)
    };
    files.run(read).await
}

fn file_name(given: String) -> String {
    if given.is_empty() { "plan.yaml".to_owned() } else { given }
}

fn mode_and_tier(reply: &Reply) -> (v1::Mode, v1::Tier) {
    match reply {
        Reply::Mode { mode, tier, .. } => {
            (convert::mode_into_proto(Some(*mode)), convert::tier_into_proto(Some(*tier)))
        }
        Reply::Done => (v1::Mode::Unspecified, v1::Tier::Unspecified),
    }
}
