//! A worker's stream that says just what it is made to say, and the plain clients of a coordinator.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
pub use wavegate_proto::v1::coordinator_message::Message as Heard;
use wavegate_proto::v1::{
    self, bulk_service_client::BulkServiceClient, finished::Body, plan_service_client::PlanServiceClient,
    worker_message::Message as Said, worker_service_client::WorkerServiceClient,
};

use crate::Home;

/// Where a coordinator is, and its token.
#[derive(Debug, Clone)]
pub struct Site {
    url: String,
    token: String,
}

/// Puts the token into every request.
#[derive(Debug, Clone)]
pub struct Bearer(String);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = format!("Bearer {}", self.0).parse();
        request.metadata_mut().insert("authorization", value.map_err(|_| Status::internal("the token"))?);
        Ok(request)
    }
}

type Service = InterceptedService<Channel, Bearer>;

impl Site {
    /// The coordinator that runs in the home.
    pub fn of(home: &Home) -> anyhow::Result<Self> {
        let (url, token) = (home.read("wavegate.db.d/address"), home.read("wavegate.db.d/token"));
        anyhow::ensure!(!url.is_empty() && !token.is_empty(), "no coordinator listens");
        Ok(Self { url: url.trim().to_owned(), token: token.trim().to_owned() })
    }

    /// Its address without the scheme.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// A connection of its own.
    pub async fn connect(&self) -> anyhow::Result<Channel> {
        Ok(Endpoint::from_shared(self.url.clone())?.connect().await?)
    }

    /// What operators ask, on this connection.
    #[must_use]
    pub fn plans(&self, channel: &Channel) -> PlanServiceClient<Service> {
        let client = PlanServiceClient::with_interceptor(channel.clone(), Bearer(self.token.clone()));
        client.max_decoding_message_size(usize::MAX)
    }

    /// Artifacts and logs, on this connection.
    #[must_use]
    pub fn bulk(&self, channel: &Channel) -> BulkServiceClient<Service> {
        BulkServiceClient::with_interceptor(channel.clone(), Bearer(self.token.clone()))
    }

    /// A stream of a worker on which nothing was said, on this connection.
    pub async fn session(&self, channel: &Channel) -> anyhow::Result<Peer> {
        let mut client = WorkerServiceClient::with_interceptor(channel.clone(), Bearer(self.token.clone()));
        let (sender, receiver) = mpsc::channel(64);
        let incoming = client.session(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Peer { sender, incoming, last_grant: AtomicU64::new(0) })
    }

    /// A welcomed worker with so many slots that says that it holds these leases, on this connection.
    pub async fn worker(
        &self,
        channel: &Channel,
        name: &str,
        slots: u32,
        held: &[String],
    ) -> anyhow::Result<Peer> {
        self.welcomed(channel, hello(name, slots, held)).await
    }

    /// A welcomed worker that only does tasks and judges nothing, on this connection.
    pub async fn executor(
        &self,
        channel: &Channel,
        name: &str,
        slots: u32,
        held: &[String],
    ) -> anyhow::Result<Peer> {
        let roles = vec![v1::Role::Executor.into()];
        self.welcomed(channel, v1::Hello { roles, ..hello(name, slots, held) }).await
    }

    async fn welcomed(&self, channel: &Channel, hello: v1::Hello) -> anyhow::Result<Peer> {
        let mut peer = self.session(channel).await?;
        peer.say(Said::Hello(hello)).await?;
        match peer.hear().await? {
            Some(Heard::Welcome(_)) => Ok(peer),
            other => anyhow::bail!("expected a welcome, heard {other:?}"),
        }
    }

    /// A welcomed executor on a connection of its own. Tries again until it is one, as workers do: where very many come
    /// at once the system itself turns some away.
    pub async fn come(&self, name: &str, slots: u32, held: &[String]) -> (Channel, Peer) {
        loop {
            let coming = async {
                let channel = self.connect().await?;
                let peer = self.executor(&channel, name, slots, held).await?;
                anyhow::Ok((channel, peer))
            };
            if let Ok(come) = coming.await {
                return come;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// Stores a plan and starts it; gives its id.
    pub async fn run(&self, channel: &Channel, source: String, mode: v1::Mode) -> anyhow::Result<i64> {
        let request = v1::SubmitPlanRequest { source, ..Default::default() };
        let plan = self.plans(channel).submit_plan(request).await?.into_inner().plan_id;
        let request =
            v1::ApprovePlanRequest { plan: plan.to_string(), mode: mode.into(), by: "Ada".to_owned() };
        self.plans(channel).approve_plan(request).await?;
        Ok(plan)
    }

    /// The plan in short.
    pub async fn summary(&self, channel: &Channel, plan: i64) -> anyhow::Result<v1::PlanSummary> {
        let plans = self.plans(channel).list_plans(v1::ListPlansRequest::default()).await?.into_inner().plans;
        plans.into_iter().find(|listed| listed.id == plan).context("the plan is listed")
    }
}

/// One open stream of a worker.
#[derive(Debug)]
pub struct Peer {
    sender: mpsc::Sender<v1::WorkerMessage>,
    incoming: Streaming<v1::CoordinatorMessage>,
    last_grant: AtomicU64,
}

impl Peer {
    /// Says one thing.
    pub async fn say(&self, message: Said) -> anyhow::Result<()> {
        self.sender.send(v1::WorkerMessage { message: Some(message) }).await.context("the stream ended")
    }

    /// Hears one thing; None when the stream has ended well.
    pub async fn hear(&mut self) -> Result<Option<Heard>, Status> {
        let heard = self.incoming.message().await?.and_then(|message| message.message);
        if let Some(Heard::Grant(grant)) = &heard {
            self.last_grant.fetch_max(grant.number, Ordering::Relaxed);
        }
        Ok(heard)
    }

    /// A heartbeat.
    pub async fn beat(&self, number: u64, held: &[String]) -> anyhow::Result<()> {
        let last_grant = self.last_grant.load(Ordering::Relaxed);
        self.say(Said::Heartbeat(v1::Heartbeat { number, held: held.to_vec(), last_grant })).await
    }

    /// The end of a lease's work.
    pub async fn finish(&self, lease_id: &str, report: v1::Report) -> anyhow::Result<()> {
        let body = Some(Body::Report(report));
        self.say(Said::Finished(v1::Finished { lease_id: lease_id.to_owned(), body })).await
    }

    /// Does at once whatever it is granted, beating every so often, until the stream ends; why it did, and how
    /// many leases were accepted.
    pub async fn work(mut self, every: std::time::Duration) -> (u64, String) {
        let mut held = std::collections::BTreeSet::new();
        let mut ticks = tokio::time::interval(every);
        let (mut number, mut accepted) = (0, 0);
        loop {
            let heard = tokio::select! {
                heard = self.hear() => heard,
                _ = ticks.tick() => {
                    number += 1;
                    let held: Vec<_> = held.iter().cloned().collect();
                    if self.beat(number, &held).await.is_err() {
                        return (accepted, "nobody hears".to_owned());
                    }
                    continue;
                }
            };
            match heard {
                Ok(Some(Heard::Grant(grant))) => {
                    let report = if is_validate(&grant) { approval() } else { success() };
                    held.insert(grant.lease_id.clone());
                    if self.finish(&grant.lease_id, report).await.is_err() {
                        return (accepted, "nobody hears".to_owned());
                    }
                }
                Ok(Some(Heard::Accepted(answer))) => {
                    accepted += 1;
                    held.remove(&answer.lease_id);
                }
                Ok(Some(Heard::Refused(answer))) => {
                    held.remove(&answer.lease_id);
                }
                Ok(Some(Heard::Goodbye(goodbye))) => return (accepted, goodbye.reason),
                Ok(Some(_)) => {}
                Ok(None) => return (accepted, "the stream ended".to_owned()),
                Err(status) => return (accepted, status.message().to_owned()),
            }
        }
    }
}

fn hello(worker: &str, slots: u32, held: &[String]) -> v1::Hello {
    v1::Hello {
        worker_id: worker.to_owned(),
        instance: "first".to_owned(),
        protocol_min: 1,
        protocol_max: 1,
        name: worker.to_owned(),
        host: "host".to_owned(),
        version: "0.1.0".to_owned(),
        roles: vec![v1::Role::Executor.into(), v1::Role::Thor.into()],
        runners: vec![v1::Runner { name: "shell".to_owned(), ..Default::default() }],
        slots: Some(slots),
        held: held.to_vec(),
        ..Default::default()
    }
}

/// An executor's claim of success.
#[must_use]
pub fn success() -> v1::Report {
    let outcome = v1::Outcome::Succeeded.into();
    v1::Report { outcome, exit_code: Some(0), summary: "did it".to_owned(), ..Default::default() }
}

/// By digest comes only what is long: a wave to judge.
fn is_validate(grant: &v1::Grant) -> bool {
    match &grant.body {
        Some(v1::grant::Body::Work(work)) => work.kind() == v1::LeaseKind::Validate,
        Some(v1::grant::Body::WorkDigest(_)) => true,
        None => false,
    }
}

fn approval() -> v1::Report {
    let verdict = v1::Verdict { decision: v1::Decision::Approved.into(), ..Default::default() };
    v1::Report { verdict: Some(verdict), ..success() }
}

/// Does so many tasks, each when the one before is accepted: every result is news of its own.
pub async fn one_by_one(worker: &mut Peer, tasks: usize) -> anyhow::Result<()> {
    let mut done = 0;
    while done < tasks {
        match worker.hear().await? {
            Some(Heard::Grant(grant)) => {
                let lease_id = grant.lease_id.clone();
                worker.say(Said::Started(v1::Started { lease_id })).await?;
                worker.finish(&grant.lease_id, success()).await?;
            }
            Some(Heard::Accepted(_)) => done += 1,
            Some(_) => {}
            None => anyhow::bail!("the stream ended"),
        }
    }
    Ok(())
}
