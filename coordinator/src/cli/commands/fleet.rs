//! `workers`, `accounts`, `doctor`, `drain` and `forget`.

use std::time::{SystemTime, UNIX_EPOCH};

use wavegate_proto::v1;

use super::{unit, with_coordinator};
use crate::cli::{
    actor,
    args::{AccountsAction, AccountsArgs, DoctorArgs, WorkerArgs},
    backend::Backend,
    client::Connection,
    desk::{Desk, Link},
    exit::Exit,
    failure::Failure,
    json::{AccountJson, WorkerJson},
    text,
};

pub(super) async fn workers<B: Backend>(desk: &Desk<B>) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| print_workers(desk, &link.connection).await).await
}

async fn print_workers<B: Backend>(desk: &Desk<B>, connection: &Connection) -> Result<Exit, Failure> {
    let workers = connection.workers().await?;
    if desk.reach.json {
        let workers: Vec<WorkerJson> = workers.into_iter().map(Into::into).collect();
        desk.console.print_json(&workers)?;
    } else {
        desk.console.print(&text::workers(&workers, now_ms()))?;
    }
    Ok(Exit::Done)
}

pub(super) async fn accounts<B: Backend>(desk: &Desk<B>, args: &AccountsArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        if let Some(AccountsAction::Clear { runner, account }) = &args.action {
            let (runner, account) = (runner.clone(), account.clone());
            let request = v1::ClearAccountRequest { runner, account, by: actor::by() };
            let answer = link.connection.fleet().clear_account(request).await;
            unit(&link.connection, answer)?;
        }
        let accounts = link.connection.accounts().await?;
        if desk.reach.json {
            let accounts: Vec<AccountJson> = accounts.into_iter().map(Into::into).collect();
            desk.console.print_json(&accounts)?;
        } else {
            desk.console.print(&text::accounts(&accounts, now_ms()))?;
        }
        Ok(Exit::Done)
    })
    .await
}

/// Needs no coordinator: it is this host that is looked at.
pub(super) async fn doctor<B: Backend>(desk: &Desk<B>, args: &DoctorArgs) -> Result<Exit, Failure> {
    let found = desk.backend.examine(args.worker_config.as_deref()).await.map_err(Failure::Backend)?;
    if desk.reach.json {
        desk.console.print_json(&found.json)?;
    } else {
        desk.console.print(&found.text)?;
    }
    Ok(if found.is_usable { Exit::Done } else { Exit::Blocked })
}

pub(super) async fn drain<B: Backend>(desk: &Desk<B>, args: &WorkerArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let request = v1::DrainWorkerRequest { worker: args.worker.clone(), by: actor::by() };
        let answer = link.connection.fleet().drain_worker(request).await;
        unit(&link.connection, answer)?;
        print_after(desk, &link.connection, &args.worker, "drains").await
    })
    .await
}

pub(super) async fn forget<B: Backend>(desk: &Desk<B>, args: &WorkerArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let request = v1::ForgetWorkerRequest { worker: args.worker.clone(), by: actor::by() };
        let answer = link.connection.fleet().forget_worker(request).await;
        unit(&link.connection, answer)?;
        print_after(desk, &link.connection, &args.worker, "is forgotten").await
    })
    .await
}

/// One line, or the workers that there are now as JSON.
async fn print_after<B: Backend>(
    desk: &Desk<B>,
    connection: &Connection,
    worker: &str,
    what: &str,
) -> Result<Exit, Failure> {
    if desk.reach.json {
        return print_workers(desk, connection).await;
    }
    desk.console.print(&format!("worker {} {what}\n", text::clean(worker)))?;
    Ok(Exit::Done)
}

/// Only to say how long ago a worker was seen.
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.ok().and_then(|now| i64::try_from(now.as_millis()).ok()).unwrap_or(0)
}
