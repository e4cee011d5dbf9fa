//! WorkerService: one task for each stream, between the wire and the driver. Owns the hello's deadline,
//! sizes of messages and the end of a session, which the driver hears of just once.

use std::{
    collections::VecDeque,
    io::{self, Read as _},
    sync::atomic::Ordering,
    time::Duration,
};

use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, warn};
use wavegate_engine::{Digest, Input, LeaseId, Report, SessionEvent, SessionId};
use wavegate_proto::{MAX_INLINE_BYTES, MAX_SESSION_MESSAGE_BYTES, PROTOCOL_VERSION, v1};

use super::{
    Services, convert,
    convert::{Incoming, Unreadable},
    status,
};
use crate::{driver::Outgoing, store::restored::Memory};

/// A peer that has not said hello within this time is no worker.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// Messages that wait for the driver's side of a session; more mean that the worker does not read.
const MESSAGES_IN_FLIGHT: usize = 1024;
/// A worker is not listened to while so many answers wait for it: what it says leads to more of them, and an answer
/// can be as long as what it answers.
const MOST_UNANSWERED: usize = 64;
/// How often it is looked whether they have become fewer.
const UNANSWERED_LOOK: Duration = Duration::from_millis(20);
/// Messages of one session that the driver has not handled yet: enough to share a commit, few enough that many
/// talkative workers do not keep the driver from the others.
const MOST_UNHANDLED: usize = 32;
const WIRE_BUFFER: usize = 32;
/// A worker that takes nothing for so long is deaf: its session ends, so that nobody takes it for a live
/// one because it still speaks.
const DEAF_AFTER: Duration = Duration::from_secs(30);
/// What a session that ends anyway waits for its last word to be taken.
const LAST_WORD_PATIENCE: Duration = Duration::from_secs(1);
/// A lease's id in hex, and room for others' ideas of one. Nobody waits for an answer about more.
const MAX_LEASE_ID_BYTES: usize = 256;
/// Thor's evidence on ten thousand tasks fits; what is larger is no report.
const MAX_REPORT_BYTES: u64 = 64 * 1024 * 1024;

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
    async fn run(self, mut incoming: Streaming<v1::WorkerMessage>) {
        let said = tokio::select! {
            said = tokio::time::timeout(HELLO_PATIENCE, incoming.message()) => said,
            () = self.services.stopped() => return self.goodbye("the coordinator stops", false).await,
        };
        let hello = match said {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None) | Err(_)) => return,
            Err(_) => return self.goodbye("expected a hello within 10 s", false).await,
        };
        if let Err(reason) = self.look_back(&hello).await {
            return self.goodbye(&reason, false).await;
        }
        let event = match self.hello(hello) {
            Ok(event) => event,
            Err((reason, permanent)) => return self.goodbye(&reason, permanent).await,
        };
        let (sender, outgoing) = mpsc::channel(MESSAGES_IN_FLIGHT);
        let waiting = sender.downgrade();
        let handle = self.services.handle.clone();
        let opened = handle.open_session(self.id, sender).await.is_ok();
        if opened && handle.session_event(self.id, event).await.is_ok() {
            let (services, wire) = (self.services.clone(), self.wire.clone());
            let reading = Reading { services, id: self.id, wire, waiting };
            let is_stopping = tokio::select! {
                () = reading.run(&mut incoming) => false,
                () = self.write(outgoing) => false,
                () = self.services.stopped() => true,
            };
            if is_stopping {
                self.goodbye("the coordinator stops", false).await;
            }
        }
        // A driver that is gone needs no telling.
        let _ = handle.session_event(self.id, SessionEvent::Closed).await;
    }

    /// A worker that knows of this database what is not in it proves that it is an older copy: the plans are
    /// paused before the worker is taken in.
    async fn look_back(&self, message: &v1::WorkerMessage) -> Result<(), String> {
        let Some(v1::worker_message::Message::Hello(hello)) = &message.message else { return Ok(()) };
        let own = |known: &&v1::KnownDatabase| known.database_id == self.services.database_id;
        let Some(known) = hello.known.iter().find(own) else { return Ok(()) };
        let memory = Memory {
            epoch_nonce: known.epoch_nonce.clone(),
            last_granted: known.last_granted.clone(),
            last_accepted: known.last_accepted.clone(),
        };
        if [&memory.epoch_nonce, &memory.last_granted, &memory.last_accepted]
            .iter()
            .any(|word| word.len() > MAX_LEASE_ID_BYTES)
        {
            return Err("what it knows of the database is no epoch and no lease".to_owned());
        }
        let evidence = memory.epoch_nonce.clone();
        let looked = self.services.read(move |reader| reader.restored_by(&memory)).await;
        let why = looked.map_err(|status| status.message().to_owned())?;
        let Some(why) = why else { return Ok(()) };
        warn!("{why}: every plan is paused; look at them and `wavegate resume` each");
        let input = Input::Restored { evidence, why };
        self.services.handle.apply(input).await.map(drop).map_err(|error| error.to_string())
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

    async fn goodbye(&self, reason: &str, permanent: bool) {
        let goodbye = v1::Goodbye { reason: reason.to_owned(), permanent };
        let message = Some(v1::coordinator_message::Message::Goodbye(goodbye));
        // A peer that is gone hears nothing.
        let _ = self.wire.send_timeout(Ok(v1::CoordinatorMessage { message }), LAST_WORD_PATIENCE).await;
    }

    /// Hands the driver's messages to the wire until either side ends.
    async fn write(&self, mut outgoing: mpsc::Receiver<Outgoing>) {
        while let Some(message) = outgoing.recv().await {
            let is_last = matches!(message, Outgoing::Goodbye { .. });
            let sent = match self.encode(message).await {
                Ok(message) => self.wire.send_timeout(Ok(message), DEAF_AFTER).await,
                Err(status) => {
                    warn!(session = self.id.0, "a message cannot be sent: {}", status.message());
                    let _ = self.wire.send_timeout(Err(status), LAST_WORD_PATIENCE).await;
                    return;
                }
            };
            if sent.is_err() || is_last {
                return;
            }
        }
        // The driver let go of the session: come back and resume.
        let closed = Err(status::unavailable("the session was closed; connect again"));
        let _ = self.wire.send_timeout(closed, LAST_WORD_PATIENCE).await;
    }

    async fn encode(&self, message: Outgoing) -> Result<v1::CoordinatorMessage, Status> {
        let mut message = convert::outgoing_into_proto(message, self.id, &self.services);
        if let Some(v1::coordinator_message::Message::Grant(grant)) = &mut message.message
            && let Some(v1::grant::Body::Work(work)) = &grant.body
            && work.encoded_len() > MAX_INLINE_BYTES
        {
            let (artifacts, bytes) = (self.services.artifacts.clone(), work.encode_to_vec());
            let digest = self.services.files.run(move || artifacts.put(&bytes)).await??;
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
    /// What waits for the worker, as long as the driver has the session.
    waiting: mpsc::WeakSender<Outgoing>,
}

impl Reading {
    async fn run(&self, incoming: &mut Streaming<v1::WorkerMessage>) {
        let mut unhandled = VecDeque::with_capacity(MOST_UNHANDLED);
        loop {
            while self.waiting.upgrade().is_some_and(|it| it.max_capacity() - it.capacity() > MOST_UNANSWERED)
            {
                tokio::time::sleep(UNANSWERED_LOOK).await;
            }
            let message = match incoming.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(status) => {
                    debug!(session = self.id.0, "the stream ended: {}", status.message());
                    return;
                }
            };
            let event = match convert::event_from_proto(message) {
                Ok(Incoming::Event(event)) => self.priced(event),
                Ok(Incoming::ReportIn { lease, digest }) => match self.fetch_report(digest).await {
                    Ok(report) => {
                        self.priced(SessionEvent::Finished { lease, report: Box::new(report), past: None })
                    }
                    Err(Unfetched::Unreadable(reason)) => {
                        self.refuse(lease.to_string(), reason).await;
                        continue;
                    }
                    Err(Unfetched::Unavailable(reason)) => return self.give_up(lease, reason).await,
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
            // One may name thousands of leases, and nobody needs a second one before it is answered.
            let is_heartbeat = matches!(event, SessionEvent::Heartbeat { .. });
            let Ok(handling) = self.services.handle.session_event(self.id, event).await else { return };
            unhandled.push_back(handling);
            while unhandled.len() >= if is_heartbeat { 1 } else { MOST_UNHANDLED } {
                let Some(handling) = unhandled.pop_front() else { break };
                handling.done().await;
            }
        }
    }

    /// A report whose agent said nothing of costs gets them from the price table.
    fn priced(&self, mut event: SessionEvent) -> SessionEvent {
        match &mut event {
            SessionEvent::Finished { report, .. } => self.services.prices.complete(report),
            SessionEvent::Progress { usage, models, .. } => {
                self.services.prices.complete_models("", models, usage);
            }
            SessionEvent::Hello(_)
            | SessionEvent::Heartbeat { .. }
            | SessionEvent::Started { .. }
            | SessionEvent::Released { .. }
            | SessionEvent::Draining
            | SessionEvent::Closed => {}
        }
        event
    }

    async fn fetch_report(&self, digest: Digest) -> Result<Report, Unfetched> {
        let artifacts = self.services.artifacts.clone();
        let read = self.services.files.run(move || {
            let mut bytes = Vec::new();
            artifacts.open_read(digest)?.take(MAX_REPORT_BYTES + 1).read_to_end(&mut bytes)?;
            io::Result::Ok(bytes)
        });
        let read = read.await.map_err(|status| Unfetched::Unavailable(status.message().to_owned()))?;
        let unreadable = |problem: String| Unfetched::Unreadable(format!("report {digest}: {problem}"));
        let bytes = read.map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return unreadable("no such artifact was uploaded".to_owned());
            }
            Unfetched::Unavailable(format!("report {digest}: {error}"))
        })?;
        if bytes.len() as u64 > MAX_REPORT_BYTES {
            return Err(unreadable(format!("expected at most {MAX_REPORT_BYTES} bytes")));
        }
        let report = v1::Report::decode(bytes.as_slice()).map_err(|error| unreadable(error.to_string()))?;
        convert::report_from_proto(report).map_err(|error| unreadable(error.to_string()))
    }

    async fn refuse(&self, lease_id: String, reason: String) {
        warn!(session = self.id.0, "a report is refused: {reason}");
        if lease_id.len() > MAX_LEASE_ID_BYTES {
            return;
        }
        let refused = v1::Refused { lease_id, reason };
        let message = Some(v1::coordinator_message::Message::Refused(refused));
        // One who does not take it asks again in its next session.
        let _ = self.wire.send_timeout(Ok(v1::CoordinatorMessage { message }), DEAF_AFTER).await;
    }

    /// Ends the session: its worker comes back and says it again.
    async fn give_up(&self, lease: LeaseId, reason: String) {
        warn!(session = self.id.0, %lease, "a result cannot be read now: {reason}");
        let _ = self.wire.send_timeout(Err(status::unavailable(reason)), LAST_WORD_PATIENCE).await;
    }
}

/// Why a report that is an artifact is not at hand.
enum Unfetched {
    /// It is not there, or no report; it will not be one.
    Unreadable(String),
    /// The same may work later. To refuse it now would throw a paid result away.
    Unavailable(String),
}
