//! The person: submits the plan, approves it, and answers where it waits for one. Looks at what is before doing
//! anything, so an answer that was lost on its way costs nothing.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{sleep, timeout};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use wavegate_proto::v1::{self, PlanState, TaskState, plan_service_client::PlanServiceClient};

use crate::{
    coordinator::{COORDINATOR, PORT},
    network::connect,
};

/// How often the person looks.
const LOOK: Duration = Duration::from_secs(30);
/// A call that takes longer is given up, and its connection with it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the person knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) plan: Option<v1::Plan>,
    /// Blocked tasks that were given another try.
    pub(crate) retried: usize,
    pub(crate) is_done: bool,
}

pub(crate) type Sight = Arc<Mutex<Seen>>;

type Client = PlanServiceClient<InterceptedService<Channel, Token>>;

#[derive(Debug, Clone)]
struct Token(MetadataValue<Ascii>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Until the plan is done.
pub(crate) async fn attend(token: PathBuf, plan: String, name: String, sight: Sight) -> turmoil::Result {
    let mut client = None;
    loop {
        let attended = timeout(PATIENCE, attend_once(&mut client, &token, &plan, &name, &sight)).await;
        match attended {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => {}
            Ok(Err(status)) if status.code() == Code::InvalidArgument => return Err(status.into()),
            // The coordinator is away, or the answer is.
            Ok(Err(_)) | Err(_) => client = None,
        }
        sleep(LOOK).await;
    }
}

/// One look, and what follows from it. True when the plan is done.
async fn attend_once(
    client: &mut Option<Client>,
    token: &Path,
    plan: &str,
    name: &str,
    sight: &Sight,
) -> Result<bool, Status> {
    let client = match client {
        Some(client) => client,
        None => client.insert(open(token).await?),
    };
    let request = v1::GetPlanRequest { plan: name.to_owned() };
    let found = match client.get_plan(request).await {
        Err(status) if status.code() == Code::NotFound => {
            let request = v1::SubmitPlanRequest { source: plan.to_owned(), ..Default::default() };
            client.submit_plan(request).await?;
            return Ok(false);
        }
        found => found?.into_inner().plan.unwrap_or_default(),
    };
    sight.lock().unwrap_or_else(PoisonError::into_inner).plan = Some(found.clone());
    match found.summary.clone().unwrap_or_default().state() {
        PlanState::AwaitingApproval => {
            let mode = v1::Mode::Standard.into();
            client
                .approve_plan(v1::ApprovePlanRequest { plan: name.to_owned(), mode, by: String::new() })
                .await?;
        }
        PlanState::Blocked => retry_blocked(client, name, &found, sight).await?,
        PlanState::Done => {
            sight.lock().unwrap_or_else(PoisonError::into_inner).is_done = true;
            return Ok(true);
        }
        PlanState::Unspecified | PlanState::Running | PlanState::Paused | PlanState::Cancelled => {}
    }
    Ok(false)
}

async fn retry_blocked(
    client: &mut Client,
    name: &str,
    plan: &v1::Plan,
    sight: &Sight,
) -> Result<(), Status> {
    let tasks = plan.waves.iter().flat_map(|wave| &wave.tasks);
    for task in tasks.filter(|task| task.state() == TaskState::Blocked) {
        let request =
            v1::RetryTaskRequest { plan: name.to_owned(), task: task.key.clone(), by: String::new() };
        match client.retry_task(request).await {
            // A late result came before the person's word.
            Err(status) if status.code() == Code::FailedPrecondition => {}
            retried => {
                retried?;
                sight.lock().unwrap_or_else(PoisonError::into_inner).retried += 1;
            }
        }
    }
    Ok(())
}

async fn open(token: &Path) -> Result<Client, Status> {
    let text = std::fs::read_to_string(token)?;
    let value = format!("Bearer {}", text.trim());
    let token = Token(value.parse().map_err(|_| Status::internal("a token is ASCII"))?);
    let endpoint = Endpoint::from_shared(format!("http://{COORDINATOR}:{PORT}"));
    let endpoint = endpoint.map_err(|error| Status::internal(error.to_string()))?;
    let channel = connect(endpoint).await.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(PlanServiceClient::with_interceptor(channel, token))
}
