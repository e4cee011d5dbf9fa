//! The output of a plan's tasks as a stream, while it grows or as it is.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use wavegate_engine::{LeaseId, PlanId, PlanState};
use wavegate_proto::{BULK_CHUNK_BYTES, v1};

use super::{Services, convert, status};
use crate::store::reader::TaskLease;

/// How often a log that is followed is looked at.
const LOOK: std::time::Duration = std::time::Duration::from_millis(200);

/// Refused when the plan has no such task; an empty key means all.
pub(super) async fn check_task(services: &Services, plan: PlanId, task: &str) -> Result<(), Status> {
    if task.is_empty() {
        return Ok(());
    }
    let spec = services.read(move |reader| reader.spec(plan)).await?;
    let known =
        spec.is_some_and(|spec| spec.waves.iter().flat_map(|wave| &wave.tasks).any(|it| it.key == task));
    if known { Ok(()) } else { Err(status::no_task(plan, task)) }
}

/// What the request asks for, until there is no more.
pub(super) fn read(
    services: Services,
    plan: PlanId,
    request: v1::ReadLogsRequest,
) -> ReceiverStream<Result<v1::ReadLogsResponse, Status>> {
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        if let Err(status) = send_all(services, plan, &request, &sender).await {
            let _ = sender.send(Err(status)).await;
        }
    });
    ReceiverStream::new(receiver)
}

async fn send_all(
    services: Services,
    plan: PlanId,
    request: &v1::ReadLogsRequest,
    sender: &mpsc::Sender<Result<v1::ReadLogsResponse, Status>>,
) -> Result<(), Status> {
    let mut sent: BTreeMap<LeaseId, u64> = BTreeMap::new();
    loop {
        // Looked at before the logs are read: a lease that has ended writes no more.
        let summary = services.read(move |reader| reader.summary(plan)).await?;
        let state = summary.map(|summary| summary.row.state);
        let has_ended = state.is_none_or(PlanState::is_final);
        let leases = chosen(&services, plan, request, &sent).await?;
        let any_open = leases.iter().any(|lease| lease.lease.state.is_open());
        let mut moved = false;
        for lease in leases {
            moved |= send_new(&services, &lease, &mut sent, sender).await?;
        }
        let over = if request.task.is_empty() {
            state != Some(PlanState::Running) && !any_open
        } else {
            // A task that never had a lease gets none any more once its plan has ended.
            !any_open && (has_ended || !sent.is_empty())
        };
        if sender.is_closed() || !request.follow || (over && !moved) {
            return Ok(());
        }
        if *services.stop.borrow() {
            return Err(status::stopping());
        }
        if !moved {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = services.stopped() => {}
            }
        }
    }
}

/// The leases whose logs are asked for: of each task the newest attempt, or one attempt by its number;
/// when following, also those that have begun to be sent.
async fn chosen(
    services: &Services,
    plan: PlanId,
    request: &v1::ReadLogsRequest,
    sent: &BTreeMap<LeaseId, u64>,
) -> Result<Vec<TaskLease>, Status> {
    let task = request.task.clone();
    let leases = services
        .read(move |reader| reader.task_leases(plan, Some(task.as_str()).filter(|task| !task.is_empty())))
        .await?;
    let number = |lease: &TaskLease| convert::attempt_of(lease.lease.work);
    let mut newest: BTreeMap<String, u32> = BTreeMap::new();
    for lease in &leases {
        let attempt = newest.entry(lease.task.clone()).or_default();
        *attempt = number(lease).max(*attempt);
    }
    let wanted = |lease: &TaskLease| match request.attempt {
        0 => newest.get(&lease.task) == Some(&number(lease)) || sent.contains_key(&lease.lease.id),
        asked => number(lease) == asked,
    };
    Ok(leases.into_iter().filter(|lease| wanted(lease)).collect())
}

/// Sends what is new of one log; whether there was something.
async fn send_new(
    services: &Services,
    lease: &TaskLease,
    sent: &mut BTreeMap<LeaseId, u64>,
    sender: &mpsc::Sender<Result<v1::ReadLogsResponse, Status>>,
) -> Result<bool, Status> {
    let id = lease.lease.id;
    let attempt = convert::attempt_of(lease.lease.work);
    let mut moved = false;
    loop {
        let offset = *sent.entry(id).or_default();
        let logs = services.logs.clone();
        let read = services.files.run(move || logs.read(id, offset, BULK_CHUNK_BYTES)).await?;
        let data = read.map_err(|error| status::unavailable(format!("the log cannot be read: {error}")))?;
        if data.is_empty() {
            return Ok(moved);
        }
        moved = true;
        sent.insert(id, offset + data.len() as u64);
        let piece = v1::ReadLogsResponse { task: lease.task.clone(), attempt, data };
        if sender.send(Ok(piece)).await.is_err() {
            return Ok(false);
        }
    }
}
