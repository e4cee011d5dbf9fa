//! FleetService: the workers, as they are stored and as they are connected.

use tonic::{Request, Response, Status};
use wavegate_engine::{Input, WorkerId};
use wavegate_proto::v1;

use super::{Services, convert, desk::by, status};

#[derive(Debug)]
pub(super) struct FleetDesk(pub(super) Services);

impl FleetDesk {
    async fn worker_id(&self, worker: &str) -> Result<WorkerId, Status> {
        let name = worker.to_owned();
        let found = self.0.read(move |reader| reader.worker_id(&name)).await?;
        Ok(WorkerId::from(found.ok_or_else(|| status::not_found("worker", worker))?.as_str()))
    }
}

#[tonic::async_trait]
impl v1::fleet_service_server::FleetService for FleetDesk {
    async fn list_workers(
        &self,
        _: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let workers = self.0.read(|reader| reader.workers()).await?;
        let connected = self.0.handle.connected().await?;
        let workers =
            workers.into_iter().map(|worker| convert::worker_into_proto(worker, &connected)).collect();
        Ok(Response::new(v1::ListWorkersResponse { workers }))
    }

    async fn drain_worker(
        &self,
        request: Request<v1::DrainWorkerRequest>,
    ) -> Result<Response<v1::DrainWorkerResponse>, Status> {
        self.0.access.check(request.metadata())?;
        let request = request.into_inner();
        let worker = self.worker_id(&request.worker).await?;
        self.0.handle.apply(Input::DrainWorker { worker, by: by(request.by) }).await?;
        Ok(Response::new(v1::DrainWorkerResponse {}))
    }

    async fn forget_worker(
        &self,
        request: Request<v1::ForgetWorkerRequest>,
    ) -> Result<Response<v1::ForgetWorkerResponse>, Status> {
        self.0.access.check(request.metadata())?;
        let request = request.into_inner();
        let worker = self.worker_id(&request.worker).await?;
        self.0.handle.apply(Input::ForgetWorker { worker, by: by(request.by) }).await?;
        Ok(Response::new(v1::ForgetWorkerResponse {}))
    }
}
