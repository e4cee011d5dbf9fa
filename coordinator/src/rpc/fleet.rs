//! FleetService: the workers, as they are stored and as they are connected.

use std::collections::{BTreeMap, BTreeSet};

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

/// The beginning of a fingerprint must tell at least this much.
const LEAST_PREFIX: usize = 4;

impl FleetDesk {
    /// The account of this runner with this fingerprint, or the only one whose fingerprint begins so.
    async fn account(&self, runner: &str, given: &str) -> Result<Account, Status> {
        let troubled = self.0.handle.accounts().await?.into_iter().map(|row| row.account);
        let workers = self.0.read(|reader| reader.workers()).await?;
        let own =
            workers.iter().flat_map(|worker| worker.row.runners.iter().map(|it| worker.row.account(it)));
        let known: BTreeSet<Account> = troubled.chain(own.flatten()).collect();
        account_of(&known, runner, given)
    }
}

fn account_of(known: &BTreeSet<Account>, runner: &str, given: &str) -> Result<Account, Status> {
    let of_runner = || known.iter().filter(|account| account.runner == runner);
    if let Some(account) = of_runner().find(|account| account.fingerprint == given) {
        return Ok(account.clone());
    }
    if given.chars().count() < LEAST_PREFIX {
        return Err(status::invalid(format!(
            "`account`: found {given:?}, expected an account's fingerprint, or at least its first {LEAST_PREFIX} characters"
        )));
    }
    let alike: Vec<_> = of_runner().filter(|account| account.fingerprint.starts_with(given)).collect();
    match alike.as_slice() {
        [account] => Ok((*account).clone()),
        [] => Err(status::not_found_as(format!(
            "no account of {runner} is {given:?} or begins so: `wavegate accounts` shows those that there are"
        ))),
        several => {
            let names: Vec<_> = several.iter().map(|account| account.fingerprint.as_str()).collect();
            Err(status::invalid(format!(
                "{} accounts of {runner} begin with {given:?}: {}",
                names.len(),
                names.join(", ")
            )))
        }
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
        let account = self.account(&request.runner, &request.account).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_an_unambiguous_beginning() {
        let account = |runner: &str, fingerprint: &str| Account {
            runner: runner.to_owned(),
            fingerprint: fingerprint.to_owned(),
        };
        let known = BTreeSet::from([
            account("claude", "abcd1234"),
            account("claude", "abcd5678"),
            account("claude", "abc"),
            account("codex", "abcd1299"),
        ]);
        let found =
            |runner, given| account_of(&known, runner, given).map_err(|status| status.message().to_owned());
        assert_eq!(found("claude", "abcd1"), Ok(account("claude", "abcd1234")));
        assert_eq!(found("codex", "abcd"), Ok(account("codex", "abcd1299")));
        assert_eq!(found("claude", "abc"), Ok(account("claude", "abc")), "all of it, however short");
        let several = found("claude", "abcd").unwrap_err();
        assert!(several.contains("2 accounts of claude") && several.contains("abcd5678"), "{several}");
        assert!(found("claude", "ab").unwrap_err().contains("first 4 characters"));
        assert!(found("claude", "beef").unwrap_err().contains("no account of claude is \"beef\""));
    }
}
