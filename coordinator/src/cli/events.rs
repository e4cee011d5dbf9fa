//! A plan's decisions as they come, over restarts of the coordinator: the stream is opened again
//! after the last event that was seen, so none is missing and none comes twice.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use wavegate_proto::v1;

use super::{client::Connection, failure::Failure};

/// How long a coordinator may be away before its followers give up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two tries to reach it.
const RETRY: Duration = Duration::from_millis(300);

/// What follows.
#[derive(Debug)]
pub(crate) enum Followed {
    Event(Box<v1::Event>),
    /// The coordinator is away; tries go on.
    Away(Failure),
    /// Nothing comes any more.
    Failed(Failure),
}

/// Follows a plan in the background. The channel closes when the plan has ended (unless the request
/// is `forever`) or after [`Followed::Failed`].
pub(crate) fn follow(connection: &Connection, request: v1::WatchPlanRequest) -> mpsc::Receiver<Followed> {
    let (sender, receiver) = mpsc::channel(64);
    let follower = Follower { connection: connection.clone(), request, sender, away_since: None };
    tokio::spawn(follower.work());
    receiver
}

struct Follower {
    connection: Connection,
    request: v1::WatchPlanRequest,
    sender: mpsc::Sender<Followed>,
    away_since: Option<Instant>,
}

impl Follower {
    async fn work(mut self) {
        while let Err(failure) = self.stream().await {
            let since = *self.away_since.get_or_insert_with(Instant::now);
            let lasting = !failure.is_transient() || since.elapsed() > PATIENCE;
            let news = if lasting { Followed::Failed(failure) } else { Followed::Away(failure) };
            if self.sender.send(news).await.is_err() || lasting {
                return;
            }
            sleep(RETRY).await;
        }
    }

    /// Ends well when the plan has ended, or when nobody listens any more.
    async fn stream(&mut self) -> Result<(), Failure> {
        let failed = |status: tonic::Status| self.connection.failure(&status);
        let answer = self.connection.plans().watch_plan(self.request.clone()).await;
        let mut events = answer.map_err(failed)?.into_inner();
        while let Some(event) = events.message().await.map_err(failed)? {
            self.away_since = None;
            self.request.after = event.number;
            let sent = self.sender.send(Followed::Event(Box::new(event))).await;
            if sent.is_err() {
                return Ok(());
            }
        }
        self.require_end().await
    }

    /// A coordinator that stops in good order ends its streams without an error: only the plan's
    /// state tells whether there is more to come.
    async fn require_end(&mut self) -> Result<(), Failure> {
        let plan = self.connection.plan(&self.request.plan).await?;
        let state = plan.summary.unwrap_or_default().state();
        let ended = matches!(state, v1::PlanState::Done | v1::PlanState::Cancelled);
        if ended && !self.request.forever {
            return Ok(());
        }
        Err(Failure::Unavailable {
            url: self.connection.url().to_owned(),
            text: "it ended the stream of events".to_owned(),
        })
    }
}
