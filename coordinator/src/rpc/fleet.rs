//! FleetService: the workers, as they are stored and as they are connected.

use std::collections::BTreeMap;

use tonic::{Request, Response, Status};
use wavegate_engine::{Account, AccountRow, AccountState, Input, WorkerId};
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

    async fn list_accounts(
        &self,
        _: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        let known = self.0.handle.accounts().await?;
        let workers = self.0.read(|reader| reader.workers()).await?;
        let connected = self.0.handle.connected().await?;
        let mut spenders: BTreeMap<Account, Vec<String>> = BTreeMap::new();
        for worker in workers.iter().filter(|worker| connected.contains(&worker.row.id)) {
            for account in worker.row.runners.iter().filter_map(|runner| worker.row.account(runner)) {
                spenders.entry(account).or_default().push(worker.row.name.clone());
            }
        }
        for row in &known {
            spenders.entry(row.account.clone()).or_default();
        }
        let accounts = spenders.into_iter().map(|(account, workers)| {
            let open = || AccountRow {
                account: account.clone(),
                state: AccountState::Open,
                tries: 0,
                note: String::new(),
            };
            let row = known.iter().find(|row| row.account == account).cloned().unwrap_or_else(open);
            convert::account_into_proto(row, workers)
        });
        Ok(Response::new(v1::ListAccountsResponse { accounts: accounts.collect() }))
    }

    async fn clear_account(
        &self,
        request: Request<v1::ClearAccountRequest>,
    ) -> Result<Response<v1::ClearAccountResponse>, Status> {
        self.0.access.check(request.metadata())?;
        let request = request.into_inner();
        let account = Account { runner: request.runner, fingerprint: request.account };
        self.0.handle.apply(Input::ClearAccount { account, by: by(request.by) }).await?;
        Ok(Response::new(v1::ClearAccountResponse {}))
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
