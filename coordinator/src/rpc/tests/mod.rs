//! The services from outside: a whole coordinator in this process, spoken to by the generated clients
//! over a real socket.
//!
//! Owns the coordinator of a test and how it is reached. What a plan does in each situation is tested
//! in the engine.

mod bulk;
mod grants;
mod logs;
mod money;
mod peers;
mod plans;
mod reports;
mod serving;
mod sessions;
mod thor;
mod watch;
mod worker;

use std::{future::Future, time::Duration};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tonic::{
    Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use wavegate_engine::{Config, Digest, Timings};
use wavegate_proto::v1::{
    self, bulk_service_client::BulkServiceClient, fleet_service_client::FleetServiceClient,
    plan_service_client::PlanServiceClient, thor_service_client::ThorServiceClient,
    worker_service_client::WorkerServiceClient,
};

use crate::{
    coordinator::{Options, Running, start},
    prices::Prices,
};

/// Far more than anything here takes: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A coordinator on a database of its own, and a connection to it.
struct Bench {
    running: Running,
    channel: Channel,
    home: TempDir,
}

/// Puts the token into every request.
#[derive(Clone)]
struct Token(String);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = format!("Bearer {}", self.0);
        request.metadata_mut().insert("authorization", value.parse().expect("a token is ASCII"));
        Ok(request)
    }
}

type Service = InterceptedService<Channel, Token>;

impl Bench {
    async fn start() -> Self {
        Self::start_in(TempDir::new().unwrap(), Prices::built_in()).await
    }

    /// Ends it, and starts another one with these prices on its database.
    async fn restart(self, prices: Prices) -> Self {
        let Self { running, channel, home } = self;
        drop(channel);
        running.stop().await.unwrap();
        Self::start_in(home, prices).await
    }

    async fn start_in(home: TempDir, prices: Prices) -> Self {
        let timings = Timings { retry_delays_ms: [1, 1, 1], ..Timings::default() };
        let options = Options {
            db: home.path().join("wavegate.db"),
            listen: ([127, 0, 0, 1], 0).into(),
            config: Config { timings, ..Config::default() },
            prices,
            patience: PATIENCE,
            leaves_address: false,
        };
        let running = start(options).await.unwrap();
        let endpoint = Endpoint::from_shared(running.url().to_owned()).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Self { running, channel, home }
    }

    fn token(&self) -> Token {
        Token(self.running.token().to_owned())
    }

    fn sessions(&self) -> WorkerServiceClient<Service> {
        WorkerServiceClient::with_interceptor(self.channel.clone(), self.token())
    }

    fn plans(&self) -> PlanServiceClient<Service> {
        PlanServiceClient::with_interceptor(self.channel.clone(), self.token())
    }

    fn thor(&self) -> ThorServiceClient<Service> {
        ThorServiceClient::with_interceptor(self.channel.clone(), self.token())
    }

    fn fleet(&self) -> FleetServiceClient<Service> {
        FleetServiceClient::with_interceptor(self.channel.clone(), self.token())
    }

    fn bulk(&self) -> BulkServiceClient<Service> {
        BulkServiceClient::with_interceptor(self.channel.clone(), self.token())
    }

    /// Stores a plan.
    async fn submit(&self, source: &str) -> String {
        let request = v1::SubmitPlanRequest { source: source.to_owned(), ..Default::default() };
        self.plans().submit_plan(request).await.unwrap().into_inner().name
    }

    /// Stores a plan and starts it.
    async fn run(&self, source: &str) -> String {
        let plan = self.submit(source).await;
        let mode = v1::Mode::Standard.into();
        let request = v1::ApprovePlanRequest { plan: plan.clone(), mode, by: "Ada".to_owned() };
        self.plans().approve_plan(request).await.unwrap();
        plan
    }

    async fn cancel(&self, plan: &str) {
        let request = v1::CancelPlanRequest { plan: plan.to_owned(), ..Default::default() };
        self.plans().cancel_plan(request).await.unwrap();
    }

    async fn plan(&self, plan: &str) -> v1::Plan {
        let request = v1::GetPlanRequest { plan: plan.to_owned() };
        self.plans().get_plan(request).await.unwrap().into_inner().plan.unwrap()
    }

    async fn report(&self, plan: &str) -> v1::GetReportResponse {
        let request = v1::GetReportRequest { plan: plan.to_owned() };
        self.plans().get_report(request).await.unwrap().into_inner()
    }

    async fn state(&self, plan: &str) -> v1::PlanState {
        self.plan(plan).await.summary.unwrap().state()
    }

    async fn is_missing(&self, digest: &str) -> bool {
        let request = v1::FindMissingRequest { digests: vec![digest.to_owned()] };
        !self.bulk().find_missing(request).await.unwrap().into_inner().missing.is_empty()
    }

    /// Uploads one artifact; gives its digest.
    async fn upload(&self, bytes: &[u8]) -> String {
        let chunks = tokio_stream::iter(chunks_of(bytes));
        assert_eq!(self.bulk().upload(chunks).await.unwrap().into_inner().stored, 1);
        digest_of(bytes)
    }

    async fn download(&self, digest: &str) -> Result<Vec<u8>, Status> {
        let request = v1::DownloadRequest { digest: digest.to_owned() };
        let mut chunks = self.bulk().download(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            bytes.extend(chunk.data);
        }
        Ok(bytes)
    }
}

fn digest_of(bytes: &[u8]) -> String {
    Digest(Sha256::digest(bytes).into()).to_string()
}

/// An artifact in the chunks that its uploader sends.
fn chunks_of(bytes: &[u8]) -> Vec<v1::UploadRequest> {
    let mut digest = digest_of(bytes);
    let size = bytes.len() as u64;
    let chunks = bytes.chunks(wavegate_proto::BULK_CHUNK_BYTES);
    chunks
        .map(|data| v1::UploadRequest { digest: std::mem::take(&mut digest), size, data: data.to_vec() })
        .collect()
}

/// A plan of one wave and one task, which runs this.
fn one_task(name: &str, settings: &str, run: &str) -> String {
    format!(
        "name: {name}\nproject: {{ workspace: none }}\n{settings}\nwaves:\n  - id: W1\n    tasks:\n      \
         - {{ id: T1-01, run: {run:?}, verify: [\"true\"] }}\n"
    )
}

/// Ends the test when the other side takes too long.
async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("waited too long for {what}"),
    }
}

/// Looks until the condition holds.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let look = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(what, look).await;
}
