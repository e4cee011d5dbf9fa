//! The services of the fake coordinator.

use std::{pin::Pin, sync::Arc};

use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, transport::server::Router};
use wavegate_proto::v1::{
    self,
    fleet_service_server::{FleetService, FleetServiceServer},
    plan_service_server::{PlanService, PlanServiceServer},
};

use super::{Shared, World};

pub(super) fn router(world: &Shared) -> Router {
    let service = Fake(Arc::clone(world));
    let seen = Arc::clone(world);
    let look = move |request: Request<()>| {
        if let Some(value) = request.metadata().get("authorization") {
            let value = value.to_str().unwrap().to_owned();
            seen.lock().unwrap().authorization.push(value);
        }
        Ok(request)
    };
    tonic::transport::Server::builder()
        .add_service(PlanServiceServer::with_interceptor(service.clone(), look))
        .add_service(FleetServiceServer::new(service))
}

#[derive(Clone)]
struct Fake(Shared);

impl Fake {
    fn with<T>(&self, work: impl FnOnce(&mut World) -> T) -> Result<Response<T>, Status> {
        Ok(Response::new(work(&mut self.0.lock().unwrap())))
    }

    fn note<T>(&self, what: String, answer: T) -> Result<Response<T>, Status> {
        self.with(|world| {
            world.asked.push(what);
            answer
        })
    }
}

type Pieces<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl PlanService for Fake {
    type WatchPlanStream = Pieces<v1::Event>;
    type ReadLogsStream = Pieces<v1::ReadLogsResponse>;

    async fn check_plan(
        &self,
        _request: Request<v1::CheckPlanRequest>,
    ) -> Result<Response<v1::CheckPlanResponse>, Status> {
        Err(Status::unimplemented("check"))
    }

    async fn submit_plan(
        &self,
        request: Request<v1::SubmitPlanRequest>,
    ) -> Result<Response<v1::SubmitPlanResponse>, Status> {
        let v1::SubmitPlanRequest { base_tree, repository, base, .. } = request.into_inner();
        let from = [base_tree, repository, base].join(" ");
        let answer = v1::SubmitPlanResponse { plan_id: 3, name: "greet".to_owned(), warnings: Vec::new() };
        self.note(format!("submit {from}").trim_end().to_owned(), answer)
    }

    async fn get_prompt(
        &self,
        request: Request<v1::GetPromptRequest>,
    ) -> Result<Response<v1::GetPromptResponse>, Status> {
        let prompt = format!("do {}", request.into_inner().task);
        self.with(|_| v1::GetPromptResponse { prompt, ..v1::GetPromptResponse::default() })
    }

    async fn list_plans(
        &self,
        _request: Request<v1::ListPlansRequest>,
    ) -> Result<Response<v1::ListPlansResponse>, Status> {
        self.with(|world| v1::ListPlansResponse { plans: world.plan.summary.clone().into_iter().collect() })
    }

    async fn get_plan(
        &self,
        request: Request<v1::GetPlanRequest>,
    ) -> Result<Response<v1::GetPlanResponse>, Status> {
        let plan = request.into_inner().plan;
        if !matches!(plan.as_str(), "3" | "greet") {
            return Err(Status::not_found(format!("there is no plan {plan}")));
        }
        self.with(|world| v1::GetPlanResponse { plan: Some(world.plan.clone()) })
    }

    async fn estimate_plan(
        &self,
        _request: Request<v1::EstimatePlanRequest>,
    ) -> Result<Response<v1::EstimatePlanResponse>, Status> {
        self.with(|world| v1::EstimatePlanResponse { estimates: world.plan.estimates.clone() })
    }

    async fn approve_plan(
        &self,
        request: Request<v1::ApprovePlanRequest>,
    ) -> Result<Response<v1::ApprovePlanResponse>, Status> {
        let mode = request.into_inner().mode();
        self.with(|world| {
            world.asked.push(format!("approve {mode:?}"));
            world.set_state(v1::PlanState::Running);
            v1::ApprovePlanResponse { mode: mode.into(), ..Default::default() }
        })
    }

    async fn set_mode(
        &self,
        request: Request<v1::SetModeRequest>,
    ) -> Result<Response<v1::SetModeResponse>, Status> {
        let mode = request.into_inner().mode();
        self.note(format!("set mode {mode:?}"), v1::SetModeResponse::default())
    }

    async fn pause_plan(
        &self,
        _request: Request<v1::PausePlanRequest>,
    ) -> Result<Response<v1::PausePlanResponse>, Status> {
        self.with(|world| {
            world.asked.push("pause".to_owned());
            world.set_state(v1::PlanState::Paused);
            v1::PausePlanResponse {}
        })
    }

    async fn resume_plan(
        &self,
        request: Request<v1::ResumePlanRequest>,
    ) -> Result<Response<v1::ResumePlanResponse>, Status> {
        let micro_usd = request.into_inner().add_micro_usd;
        self.with(|world| {
            world.asked.push(format!("resume {micro_usd}"));
            world.set_state(v1::PlanState::Running);
            v1::ResumePlanResponse {}
        })
    }

    async fn cancel_plan(
        &self,
        _request: Request<v1::CancelPlanRequest>,
    ) -> Result<Response<v1::CancelPlanResponse>, Status> {
        Err(Status::failed_precondition("plan 3 is done already"))
    }

    async fn retry_task(
        &self,
        request: Request<v1::RetryTaskRequest>,
    ) -> Result<Response<v1::RetryTaskResponse>, Status> {
        let task = request.into_inner().task;
        self.note(format!("retry {task}"), v1::RetryTaskResponse {})
    }

    async fn resolve_wave(
        &self,
        request: Request<v1::ResolveWaveRequest>,
    ) -> Result<Response<v1::ResolveWaveResponse>, Status> {
        let request = request.into_inner();
        let what = format!("resolve {:?} {} {:?}", request.resolution(), request.wave, request.tasks);
        self.note(what, v1::ResolveWaveResponse {})
    }

    async fn watch_plan(
        &self,
        request: Request<v1::WatchPlanRequest>,
    ) -> Result<Response<Self::WatchPlanStream>, Status> {
        let after = request.into_inner().after;
        self.with(|world| {
            world.asked.push(format!("watch after {after}"));
            let events = match world.streams.is_empty() {
                true => Vec::new(),
                false => world.streams.remove(0),
            };
            for event in &events {
                if let Some(state) = world.after.get(&event.kind).copied() {
                    world.set_state(state);
                }
            }
            let more = !world.streams.is_empty();
            let broken = more.then(|| Err(Status::unavailable("going")));
            let pieces: Vec<_> = events.into_iter().map(Ok).chain(broken).collect();
            let pieces = tokio_stream::iter(pieces);
            if more || world.has_ended() {
                Box::pin(pieces) as Self::WatchPlanStream
            } else {
                Box::pin(pieces.chain(tokio_stream::pending()))
            }
        })
    }

    async fn read_logs(
        &self,
        _request: Request<v1::ReadLogsRequest>,
    ) -> Result<Response<Self::ReadLogsStream>, Status> {
        self.with(|world| {
            let pieces: Vec<_> = world.logs.drain(..).map(Ok).collect();
            Box::pin(tokio_stream::iter(pieces)) as Self::ReadLogsStream
        })
    }

    async fn get_report(
        &self,
        _request: Request<v1::GetReportRequest>,
    ) -> Result<Response<v1::GetReportResponse>, Status> {
        self.with(|world| world.report.clone())
    }
}

#[tonic::async_trait]
impl FleetService for Fake {
    async fn list_workers(
        &self,
        _request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        self.with(|world| {
            match &mut world.looks {
                Some(0) => world.workers.clear(),
                Some(looks) => *looks -= 1,
                None => {}
            }
            let workers = world.workers.clone();
            v1::ListWorkersResponse { workers }
        })
    }

    async fn list_accounts(
        &self,
        _request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        self.with(|_| v1::ListAccountsResponse::default())
    }

    async fn clear_account(
        &self,
        request: Request<v1::ClearAccountRequest>,
    ) -> Result<Response<v1::ClearAccountResponse>, Status> {
        let v1::ClearAccountRequest { runner, account, .. } = request.into_inner();
        self.note(format!("clear {runner} {account}"), v1::ClearAccountResponse {})
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::DrainWorkerResponse>, Status> {
        let worker = request.into_inner().worker;
        self.note(format!("drain {worker}"), v1::DrainWorkerResponse {})
    }

    async fn forget_worker(
        &self,
        _request: Request<v1::ForgetWorkerRequest>,
    ) -> Result<Response<v1::ForgetWorkerResponse>, Status> {
        Err(Status::failed_precondition("alpha is connected"))
    }
}
