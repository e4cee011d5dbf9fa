//! A plan's events as a stream. Each client reads the store at its own pace, so a slow one costs only
//! itself; one that follows a plan in which nothing happens costs nothing.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use wavegate_engine::PlanId;
use wavegate_proto::v1;

use super::{Services, convert};

/// Events read at a time, and the most that wait in memory for one client.
const PAGE: u32 = 256;

/// Events after this number, and those that come; ends when the plan has ended, unless `forever`.
pub(super) fn events(
    services: Services,
    plan: PlanId,
    after: i64,
    forever: bool,
) -> ReceiverStream<Result<v1::Event, Status>> {
    let (sender, receiver) = mpsc::channel(PAGE as usize);
    tokio::spawn(async move {
        if let Err(status) = follow(services, plan, after, forever, &sender).await {
            // A client that is gone needs no reason.
            let _ = sender.send(Err(status)).await;
        }
    });
    ReceiverStream::new(receiver)
}

async fn follow(
    mut services: Services,
    plan: PlanId,
    mut after: i64,
    forever: bool,
    sender: &mpsc::Sender<Result<v1::Event, Status>>,
) -> Result<(), Status> {
    loop {
        // Both looked at before the events are read: the last ones are there when it has ended.
        let seen = services.news.of(plan);
        let state = services.read(move |reader| reader.plan_state(plan)).await?;
        let ended = state.is_none_or(|state| state.is_final());
        let from = after;
        let events = services.read(move |reader| reader.events(from, Some(plan), PAGE)).await?;
        let whole_page = events.len() == PAGE as usize;
        for event in events {
            after = event.number;
            if sender.send(Ok(convert::event_into_proto(event))).await.is_err() {
                return Ok(());
            }
        }
        if whole_page {
            continue;
        }
        if ended && !forever {
            return Ok(());
        }
        while services.news.of(plan) == seen {
            services.next_commit().await?;
            if sender.is_closed() {
                return Ok(());
            }
        }
    }
}
