//! A stand-in for the model's API on loopback, so that real agent programs can be driven with no network
//! and no key. Owns the server, the accounts' states and the record of every call; what an agent is to do
//! stands in its own prompt (`script`), and how that is said to the program is `reply`'s.
//!
//! What the programs count must be what this record counts: usage differs from call to call, so that a
//! sum that leaves one out or takes one twice shows.

mod record;
mod reply;
mod responses;
mod script;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use serde_json::Value;
use tokio::{runtime::Runtime, sync::oneshot};

pub use record::{Call, Usage};
use reply::Reply;
pub use script::Role;
use script::Step;

/// Longer than programs take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Scripts by the keys of tasks.
pub type Scripts = BTreeMap<String, String>;

/// A running stand-in; stopped when it is dropped.
#[derive(Debug)]
pub struct ModelApi {
    address: SocketAddr,
    world: Arc<World>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct World {
    began: SystemTime,
    scripts: Scripts,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    calls: Vec<Call>,
    accounts: BTreeMap<String, Account>,
    /// The sessions that have come to a point where several are to meet.
    gathered: BTreeSet<String>,
    /// How often a scripted error was given, by the step that asks for it.
    errors: BTreeMap<String, u32>,
}

/// What an account gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Account {
    /// 429 until then.
    Limited(SystemTime),
    /// 401.
    Refused,
}

/// A call that is being answered. Its end is recorded also where its program goes away meanwhile: then
/// the server drops what it does for it.
#[derive(Debug)]
struct Open<'world> {
    world: &'world World,
    at: usize,
}

impl ModelApi {
    /// Starts on a free port.
    pub fn start() -> anyhow::Result<Self> {
        Self::with_scripts(Scripts::new())
    }

    /// Starts with scripts for tasks whose prompts hold none, by their keys.
    pub fn with_scripts(scripts: Scripts) -> anyhow::Result<Self> {
        let world = Arc::new(World { began: SystemTime::now(), scripts, inner: Mutex::default() });
        let runtime = Runtime::new()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(answer).with_state(Arc::clone(&world));
        let (stop, stopped) = oneshot::channel();
        let server = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = axum::serve(listener, router) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Ok(Self { address, world, stop: Some(stop), server: Some(server) })
    }

    /// Where it listens, for `ANTHROPIC_BASE_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this account's limit is reached, for so long.
    pub fn limit_account(&self, key: &str, wait: Duration) {
        self.world.lock().accounts.insert(key.to_owned(), Account::Limited(SystemTime::now() + wait));
    }

    /// From now on this account's key is not accepted.
    pub fn refuse_account(&self, key: &str) {
        self.world.lock().accounts.insert(key.to_owned(), Account::Refused);
    }

    /// The account is as good as new.
    pub fn mend_account(&self, key: &str) {
        self.world.lock().accounts.remove(key);
    }

    /// Every call so far, in the order of their coming; those that wait, too.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.world.lock().calls.clone()
    }

    /// The calls that were answered by a model.
    #[must_use]
    pub fn answered(&self) -> Vec<Call> {
        self.calls().into_iter().filter(Call::is_answered).collect()
    }

    /// The sessions that any call came from.
    #[must_use]
    pub fn sessions(&self) -> BTreeSet<String> {
        self.calls().into_iter().map(|call| call.session).collect()
    }

    /// What each model used, by the name that it answered under.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<String, Usage> {
        record::totals(&self.answered())
    }

    /// The most sessions that were at work at the same time, of those that `counts`.
    #[must_use]
    pub fn most_sessions_at_once(&self, counts: impl Fn(&Call) -> bool) -> usize {
        record::most_at_once(&self.calls().into_iter().filter(counts).collect::<Vec<_>>())
    }
}

impl Drop for ModelApi {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            // It can only have ended.
            let _ = server.join();
        }
    }
}

impl World {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        let since = self.began.elapsed().unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Records a call that has come, before anything is done for it.
    fn open(&self, call: Call) -> Open<'_> {
        let mut inner = self.lock();
        inner.calls.push(call);
        Open { world: self, at: inner.calls.len() - 1 }
    }

    fn trouble(&self, key: &str) -> Option<Reply> {
        let mut inner = self.lock();
        match *inner.accounts.get(key)? {
            Account::Refused => Some(Reply::error(401, "invalid x-api-key", None)),
            Account::Limited(until) => match until.duration_since(SystemTime::now()) {
                Ok(left) => Some(Reply::limit(left, until)),
                Err(_) => {
                    inner.accounts.remove(key);
                    None
                }
            },
        }
    }

    /// Waits until so many sessions have come; false when they do not.
    async fn gather(&self, session: &str, most: usize) -> bool {
        self.lock().gathered.insert(session.to_owned());
        let end = tokio::time::Instant::now() + PATIENCE;
        while self.lock().gathered.len() < most {
            if tokio::time::Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Whether this error is still to be given, of so many.
    fn spend_error(&self, step: &str, most: u32) -> bool {
        let mut inner = self.lock();
        let given = inner.errors.entry(step.to_owned()).or_default();
        *given += 1;
        *given <= most
    }
}

impl Open<'_> {
    fn answer(self, reply: &Reply) {
        let call = &mut self.world.lock().calls[self.at];
        (call.status, call.usage) = (reply.status(), reply.usage());
        reply.model().clone_into(&mut call.answered);
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let now_ms = self.world.now_ms();
        self.world.lock().calls[self.at].ended_ms = Some(now_ms);
    }
}

async fn answer(
    State(world): State<Arc<World>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match (method, uri.path()) {
        (Method::HEAD | Method::GET, "/") => StatusCode::OK.into_response(),
        (Method::GET, "/v1/models") => axum::response::Json(models()).into_response(),
        (Method::POST, "/v1/messages/count_tokens") => {
            axum::response::Json(serde_json::json!({ "input_tokens": body.len() / 4 })).into_response()
        }
        (Method::POST, "/v1/messages") => messages(&world, &headers, &body).await,
        (Method::POST, "/v1/responses") => other_dialect(&world, &headers, &body),
        _ => Reply::error(404, "no such thing", None).into_response(false),
    }
}

/// Those that the programs' short names stand for.
fn models() -> Value {
    let model = |id: &str| serde_json::json!({ "type": "model", "id": id, "display_name": id });
    let data = ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"].map(model);
    serde_json::json!({ "data": data, "has_more": false })
}

async fn messages(world: &World, headers: &HeaderMap, body: &[u8]) -> Response {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let plan = script::plan(&request, &world.scripts);
    let call = Call::begun(world.now_ms(), headers, &request, &plan);
    let (account, session) = (call.account.clone(), call.session.clone());
    let open = world.open(call);
    let reply = match world.trouble(&account) {
        Some(reply) => reply,
        None => do_step(world, &request, &plan, &session, body.len()).await,
    };
    open.answer(&reply);
    reply.into_response(request["stream"] == true)
}

fn other_dialect(world: &World, headers: &HeaderMap, body: &[u8]) -> Response {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let plan = script::plan(&responses::translated(&request), &world.scripts);
    let call = Call::begun(world.now_ms(), headers, &request, &plan);
    let trouble = world.trouble(&call.account);
    let open = world.open(call);
    let (reply, items) = match trouble {
        Some(reply) => (reply, Vec::new()),
        None => responses::reply(&request, &plan, body.len()),
    };
    open.answer(&reply);
    if reply.status() == 200 {
        return responses::stream(&items, reply.usage());
    }
    reply.into_response(false)
}

async fn do_step(world: &World, request: &Value, plan: &script::Plan, session: &str, size: usize) -> Reply {
    let model =
        plan.answer_as.clone().unwrap_or_else(|| request["model"].as_str().unwrap_or_default().to_owned());
    let usage = Usage::of_call(size, plan.turn);
    let answer = |blocks, stop| Reply::answer(&model, blocks, stop, usage);
    match &plan.step {
        Step::Tool(tool) => answer(vec![tool.block()], "tool_use"),
        Step::Say(text) => answer(vec![reply::text(text)], "end_turn"),
        Step::Refuse => answer(vec![], "refusal"),
        Step::RunOut => answer(vec![reply::text("partial")], "max_tokens"),
        Step::Spend(tool) => {
            let usage = Usage { input: 200_000, output: 30_000, ..Usage::default() };
            Reply::answer(&model, vec![tool.block()], "tool_use", usage)
        }
        Step::Wait(time) => {
            tokio::time::sleep(*time).await;
            answer(vec![reply::text("waited")], "end_turn")
        }
        Step::Gather(most, tool) => {
            if world.gather(session, *most).await {
                return answer(vec![tool.block()], "tool_use");
            }
            Reply::error(500, "nobody else came", None)
        }
        Step::Error { status, most, name } => {
            if world.spend_error(name, *most) {
                return Reply::error(*status, "as the script says", None);
            }
            answer(vec![reply::text("after errors")], "end_turn")
        }
    }
}
