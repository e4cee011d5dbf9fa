//! WorkerService: one task for each stream, between the wire and the driver. Owns the hello's deadline,
//! sizes of messages and the end of a session, which the driver hears of just once.

use std::{sync::atomic::Ordering, time::Duration};

use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, warn};
use wavegate_engine::{SessionEvent, SessionId};
use wavegate_proto::{MAX_INLINE_BYTES, MAX_SESSION_MESSAGE_BYTES, PROTOCOL_VERSION, v1};

use super::{
    Services, convert,
    convert::{Incoming, Unreadable},
    status,
};
use crate::driver::Outgoing;

/// A peer that has not said hello within this time is no worker.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// Messages that wait for the driver's side of a session; more mean that the worker does not read.
const MESSAGES_IN_FLIGHT: usize = 1024;
const WIRE_BUFFER: usize = 32;

/// What a welcome tells of time, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimings {
    pub heartbeat_ms: u64,
    pub fence_margin_ms: u64,
    pub kill_grace_ms: u64,
}

#[derive(Debug)]
pub(super) struct WorkerDesk(pub(super) Services);

type Wire = mpsc::Sender<Result<v1::CoordinatorMessage, Status>>;

#[tonic::async_trait]
impl v1::worker_service_server::WorkerService for WorkerDesk {
    type SessionStream = ReceiverStream<Result<v1::CoordinatorMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.0.access.check(request.metadata())?;
        let (wire, stream) = mpsc::channel(WIRE_BUFFER);
        let id = SessionId(self.0.sessions.fetch_add(1, Ordering::Relaxed) + 1);
        let session = Session { services: self.0.clone(), id, wire };
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

struct Session {
    services: Services,
    id: SessionId,
    wire: Wire,
}

impl Session {
    async fn run(mut self, mut incoming: Streaming<v1::WorkerMessage>) {
        let first = tokio::select! {
            first = tokio::time::timeout(HELLO_PATIENCE, incoming.message()) => Some(first),
            () = self.services.stopped() => None,
        };
        let Some(first) = first else { return self.goodbye("the coordinator stops", false).await };
        let hello = match first {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None) | Err(_)) => return,
            Err(_) => return self.goodbye("expected a hello within 10 s", false).await,
        };
        let event = match self.hello(hello) {
            Ok(event) => event,
            Err((reason, permanent)) => return self.goodbye(&reason, permanent).await,
        };
        let (sender, outgoing) = mpsc::channel(MESSAGES_IN_FLIGHT);
        let handle = self.services.handle.clone();
        let opened = handle.open_session(self.id, sender).await.is_ok();
        if opened && handle.session_event(self.id, event).await.is_ok() {
            let reading = Reading { services: self.services.clone(), id: self.id, wire: self.wire.clone() };
            let mut stop = self.services.stop.clone();
            let is_stopping = tokio::select! {
                () = reading.run(&mut incoming) => false,
                () = self.write(outgoing) => false,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            if is_stopping {
                self.goodbye("the coordinator stops", false).await;
            }
        }
        // A driver that is gone needs no telling.
        let _ = handle.session_event(self.id, SessionEvent::Closed).await;
    }

    /// The hello as an event, or why there is no session and whether there can never be one.
    fn hello(&self, message: v1::WorkerMessage) -> Result<SessionEvent, (String, bool)> {
        let Some(v1::worker_message::Message::Hello(hello)) = message.message else {
            return Err(("the first message must be a hello".to_owned(), false));
        };
        if !(hello.protocol_min..=hello.protocol_max).contains(&PROTOCOL_VERSION) {
            let (least, most) = (hello.protocol_min, hello.protocol_max);
            let reason = format!(
                "the worker speaks protocol {least} to {most}, this coordinator {PROTOCOL_VERSION}: use one release for both"
            );
            return Err((reason, true));
        }
        convert::hello_from_proto(hello)
            .map(|hello| SessionEvent::Hello(Box::new(hello)))
            .map_err(|error| (format!("the hello cannot be read: {error}"), true))
    }

    async fn goodbye(&mut self, reason: &str, permanent: bool) {
        let goodbye = v1::Goodbye { reason: reason.to_owned(), permanent };
        let message = Some(v1::coordinator_message::Message::Goodbye(goodbye));
        // A peer that is gone hears nothing.
        let _ = self.wire.send(Ok(v1::CoordinatorMessage { message })).await;
    }

    /// Hands the driver's messages to the wire until either side ends.
    async fn write(&mut self, mut outgoing: mpsc::Receiver<Outgoing>) {
        while let Some(message) = outgoing.recv().await {
            let is_last = matches!(message, Outgoing::Goodbye { .. });
            let sent = match self.encode(message).await {
                Ok(message) => self.wire.send(Ok(message)).await,
                Err(status) => {
                    warn!(session = self.id.0, "a message cannot be sent: {}", status.message());
                    let _ = self.wire.send(Err(status)).await;
                    return;
                }
            };
            if sent.is_err() || is_last {
                return;
            }
        }
        // The driver let go of the session: come back and resume.
        let _ = self.wire.send(Err(status::unavailable("the session was closed; connect again"))).await;
    }

    async fn encode(&self, message: Outgoing) -> Result<v1::CoordinatorMessage, Status> {
        let mut message = convert::outgoing_into_proto(message, self.id, &self.services);
        if let Some(v1::coordinator_message::Message::Grant(grant)) = &mut message.message
            && let Some(v1::grant::Body::Work(work)) = &grant.body
            && work.encoded_len() > MAX_INLINE_BYTES
        {
            let (artifacts, bytes) = (self.services.artifacts.clone(), work.encode_to_vec());
            let put = tokio::task::spawn_blocking(move || artifacts.put(&bytes)).await;
            let digest = put.map_err(status::internal)??;
            grant.body = Some(v1::grant::Body::WorkDigest(digest.to_string()));
        }
        let size = message.encoded_len();
        if size > MAX_SESSION_MESSAGE_BYTES {
            return Err(status::internal(format!("a message of {size} bytes is too large for a session")));
        }
        Ok(message)
    }
}

/// The worker's side of a session.
struct Reading {
    services: Services,
    id: SessionId,
    wire: Wire,
}

impl Reading {
    async fn run(&self, incoming: &mut Streaming<v1::WorkerMessage>) {
        loop {
            let message = match incoming.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(status) => {
                    debug!(session = self.id.0, "the stream ended: {}", status.message());
                    return;
                }
            };
            let event = match convert::event_from_proto(message) {
                Ok(Incoming::Event(event)) => event,
                Ok(Incoming::ReportIn { lease, digest }) => match self.fetch_report(digest).await {
                    Ok(report) => SessionEvent::Finished { lease, report: Box::new(report), past: None },
                    Err(reason) => {
                        self.refuse(lease.to_string(), reason).await;
                        continue;
                    }
                },
                Ok(Incoming::Unknown) => continue,
                Err(Unreadable { lease: Some(lease), reason }) => {
                    self.refuse(lease, reason).await;
                    continue;
                }
                Err(Unreadable { lease: None, reason }) => {
                    warn!(session = self.id.0, "a message is ignored: {reason}");
                    continue;
                }
            };
            if self.services.handle.session_event(self.id, event).await.is_err() {
                return;
            }
        }
    }

    async fn fetch_report(&self, digest: wavegate_engine::Digest) -> Result<wavegate_engine::Report, String> {
        let artifacts = self.services.artifacts.clone();
        let read = tokio::task::spawn_blocking(move || std::fs::read(artifacts.path(digest))).await;
        let bytes =
            read.map_err(|error| error.to_string())?.map_err(|error| format!("report {digest}: {error}"))?;
        let report =
            v1::Report::decode(bytes.as_slice()).map_err(|error| format!("report {digest}: {error}"))?;
        convert::report_from_proto(report).map_err(|error| format!("report {digest}: {error}"))
    }

    async fn refuse(&self, lease_id: String, reason: String) {
        warn!(session = self.id.0, lease = lease_id, "a report is refused: {reason}");
        let refused = v1::Refused { lease_id, reason };
        let message = Some(v1::coordinator_message::Message::Refused(refused));
        let _ = self.wire.send(Ok(v1::CoordinatorMessage { message })).await;
    }
}
