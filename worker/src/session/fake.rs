//! A coordinator made of memory, on a real socket, that can be killed and started again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use wavegate_proto::v1::bulk_service_server::{BulkService, BulkServiceServer};
use wavegate_proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use wavegate_proto::v1::{self, coordinator_message, worker_message};

use crate::digest::Digest;

/// What survives a kill, and how the coordinator behaves.
pub(super) struct Notes {
    pub(super) heard: Vec<worker_message::Message>,
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
    pub(super) logs: BTreeMap<String, Vec<u8>>,
    /// Offset and length of each chunk of a log.
    pub(super) chunks: Vec<(u64, usize)>,
    /// How long each lease's log was when its result came.
    pub(super) logs_at_result: BTreeMap<String, usize>,
    pub(super) answers_heartbeats: bool,
    pub(super) answers_results: bool,
    pub(super) refuses_results: bool,
    pub(super) token: Option<String>,
    pub(super) welcome: v1::Welcome,
    session: Option<Outgoing>,
    grants: u64,
}

type Outgoing = mpsc::UnboundedSender<Result<v1::CoordinatorMessage, Status>>;

#[derive(Clone)]
pub(super) struct World(Arc<Mutex<Notes>>);

/// A running fake; dropping it kills it with all its connections.
pub(super) struct Fake {
    runtime: Option<Runtime>,
    pub(super) port: u16,
}

impl World {
    pub(super) fn new() -> Self {
        let welcome = v1::Welcome {
            heartbeat_ms: 50,
            fence_margin_ms: 200,
            kill_grace_ms: 100,
            protocol: 1,
            ..v1::Welcome::default()
        };
        Self(Arc::new(Mutex::new(Notes {
            heard: Vec::new(),
            blobs: BTreeMap::new(),
            logs: BTreeMap::new(),
            chunks: Vec::new(),
            logs_at_result: BTreeMap::new(),
            answers_heartbeats: true,
            answers_results: true,
            refuses_results: false,
            token: None,
            welcome,
            session: None,
            grants: 0,
        })))
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap()
    }

    /// Grants this shell task to the worker that is connected.
    pub(super) fn grant(&self, lease_id: &str, run: &str, lost_after_ms: u64) {
        self.grant_body(lease_id, v1::grant::Body::Work(work(run)), lost_after_ms);
    }

    pub(super) fn grant_body(&self, lease_id: &str, body: v1::grant::Body, lost_after_ms: u64) {
        self.notes().grants += 1;
        let number = self.notes().grants;
        let lease_id = lease_id.to_owned();
        let grant = v1::Grant { number, lease_id, lost_after_ms, body: Some(body) };
        self.say(coordinator_message::Message::Grant(grant));
    }

    pub(super) fn say(&self, message: coordinator_message::Message) {
        self.notes().say(message);
    }

    pub(super) fn hellos(&self) -> Vec<v1::Hello> {
        let mut hellos = Vec::new();
        for message in &self.notes().heard {
            if let worker_message::Message::Hello(hello) = message {
                hellos.push(hello.clone());
            }
        }
        hellos
    }

    pub(super) fn finished(&self, lease_id: &str) -> Vec<v1::Finished> {
        let mut results = Vec::new();
        for message in &self.notes().heard {
            if let worker_message::Message::Finished(finished) = message
                && finished.lease_id == lease_id
            {
                results.push(finished.clone());
            }
        }
        results
    }

    pub(super) fn released(&self, lease_id: &str) -> Vec<v1::Released> {
        let mut results = Vec::new();
        for message in &self.notes().heard {
            if let worker_message::Message::Released(released) = message
                && released.lease_id == lease_id
            {
                results.push(released.clone());
            }
        }
        results
    }

    pub(super) fn has_started(&self, lease_id: &str) -> bool {
        let started = v1::Started { lease_id: lease_id.to_owned() };
        self.notes().heard.contains(&worker_message::Message::Started(started))
    }

    pub(super) fn log(&self, lease_id: &str) -> String {
        String::from_utf8(self.notes().logs.get(lease_id).cloned().unwrap_or_default()).unwrap()
    }

    fn check_token<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let sent = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        match &self.notes().token {
            Some(token) if sent != Some(&format!("Bearer {token}")) => {
                Err(Status::unauthenticated("this needs a token"))
            }
            _ => Ok(()),
        }
    }
}

impl Notes {
    fn say(&self, message: coordinator_message::Message) {
        let message = v1::CoordinatorMessage { message: Some(message) };
        let _ = self.session.as_ref().unwrap().send(Ok(message));
    }

    fn hear(&mut self, message: worker_message::Message) {
        use coordinator_message::Message;
        self.heard.push(message.clone());
        match message {
            worker_message::Message::Hello(_) => self.say(Message::Welcome(self.welcome.clone())),
            worker_message::Message::Heartbeat(beat) if self.answers_heartbeats => {
                let keep = beat.held;
                self.say(Message::HeartbeatAck(v1::HeartbeatAck {
                    number: beat.number,
                    keep,
                    stop: Vec::new(),
                }));
            }
            worker_message::Message::Finished(v1::Finished { lease_id, .. })
            | worker_message::Message::Released(v1::Released { lease_id, .. }) => self.answer(lease_id),
            worker_message::Message::Heartbeat(_)
            | worker_message::Message::Started(_)
            | worker_message::Message::Progress(_)
            | worker_message::Message::Draining(_) => {}
        }
    }

    fn answer(&mut self, lease_id: String) {
        use coordinator_message::Message;
        let length = self.logs.get(&lease_id).map_or(0, Vec::len);
        self.logs_at_result.insert(lease_id.clone(), length);
        if self.refuses_results {
            self.say(Message::Refused(v1::Refused { lease_id, reason: "a newer attempt".into() }));
        } else if self.answers_results {
            self.say(Message::Accepted(v1::Accepted { lease_id }));
        }
    }
}

impl Fake {
    /// Listens on this port, or on a free one for 0.
    pub(super) async fn start(world: &World, port: u16) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let world = world.clone();
        let (told, port_told) = tokio::sync::oneshot::channel();
        runtime.spawn(async move {
            let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
            told.send(listener.local_addr().unwrap().port()).unwrap();
            let server = Server::builder()
                .add_service(WorkerServiceServer::new(world.clone()))
                .add_service(BulkServiceServer::new(world));
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        let port = port_told.await.unwrap();
        Self { runtime: Some(runtime), port }
    }

    /// Gone without a goodbye, every connection reset; gives the port, which is free again.
    pub(super) async fn kill(mut self) -> u16 {
        let runtime = self.runtime.take().unwrap();
        let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(10)));
        ended.await.unwrap();
        self.port
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(super) fn work(run: &str) -> v1::Work {
    let task = v1::TaskWork { runner: "shell".into(), run: run.into(), ..v1::TaskWork::default() };
    v1::Work { body: Some(v1::work::Body::Task(task)), ..v1::Work::default() }
}

type Answers<T> = UnboundedReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl WorkerService for World {
    type SessionStream = Answers<v1::CoordinatorMessage>;

    async fn session(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.check_token(&request)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        self.notes().session = Some(sender);
        let (world, mut incoming) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Some(Ok(message)) = incoming.next().await {
                world.notes().hear(message.message.unwrap());
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }
}

#[tonic::async_trait]
impl BulkService for World {
    type DownloadStream = Answers<v1::DownloadResponse>;
    type AppendLogStream = Answers<v1::AppendLogResponse>;

    async fn find_missing(
        &self,
        request: Request<v1::FindMissingRequest>,
    ) -> Result<Response<v1::FindMissingResponse>, Status> {
        let mut missing = request.into_inner().digests;
        missing.retain(|digest| !self.notes().blobs.contains_key(digest));
        Ok(Response::new(v1::FindMissingResponse { missing }))
    }

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadRequest>>,
    ) -> Result<Response<v1::UploadResponse>, Status> {
        let mut incoming = request.into_inner();
        let mut blobs: Vec<(String, u64, Vec<u8>)> = Vec::new();
        while let Some(chunk) = incoming.message().await? {
            if !chunk.digest.is_empty() {
                blobs.push((chunk.digest, chunk.size, Vec::new()));
            }
            blobs.last_mut().unwrap().2.extend(chunk.data);
        }
        let stored = u32::try_from(blobs.len()).unwrap();
        for (digest, size, bytes) in blobs {
            if Digest::of_bytes(&bytes).to_string() != digest || bytes.len() as u64 != size {
                return Err(Status::invalid_argument("not the bytes of that digest"));
            }
            self.notes().blobs.insert(digest, bytes);
        }
        Ok(Response::new(v1::UploadResponse { stored }))
    }

    async fn download(
        &self,
        request: Request<v1::DownloadRequest>,
    ) -> Result<Response<Self::DownloadStream>, Status> {
        let digest = request.into_inner().digest;
        let bytes = self.notes().blobs.get(&digest).cloned();
        let bytes = bytes.ok_or_else(|| Status::not_found("no such artifact"))?;
        let (sender, receiver) = mpsc::unbounded_channel();
        for data in bytes.chunks(1000).map(<[u8]>::to_vec) {
            sender.send(Ok(v1::DownloadResponse { data })).unwrap();
        }
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }

    async fn append_log(
        &self,
        request: Request<Streaming<v1::AppendLogRequest>>,
    ) -> Result<Response<Self::AppendLogStream>, Status> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (world, mut incoming) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Some(Ok(chunk)) = incoming.next().await {
                let length = world.notes().append(&chunk);
                let _ = sender.send(Ok(v1::AppendLogResponse { lease_id: chunk.lease_id, length }));
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }
}

impl Notes {
    fn append(&mut self, chunk: &v1::AppendLogRequest) -> u64 {
        self.chunks.push((chunk.offset, chunk.data.len()));
        let log = self.logs.entry(chunk.lease_id.clone()).or_default();
        let has = log.len() as u64;
        if let Some(overlap) = has.checked_sub(chunk.offset) {
            log.extend(chunk.data.iter().skip(usize::try_from(overlap).unwrap()));
        }
        log.len() as u64
    }
}
