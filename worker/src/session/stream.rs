//! One stream to the coordinator, from opening to its end.

use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status};
use wavegate_proto::MAX_SESSION_MESSAGE_BYTES;
use wavegate_proto::v1::worker_service_client::WorkerServiceClient;
use wavegate_proto::v1::{self, worker_message};

use super::machine::Loss;
use crate::coordinator::Coordinator;

/// Messages of the coordinator that wait for the driver; more wait in the stream.
pub(super) const INBOX: usize = 64;

/// What comes from the stream with this number.
#[derive(Debug)]
pub(super) enum Heard {
    Message(Box<v1::CoordinatorMessage>),
    Lost(Loss),
}

/// An open or opening stream; dropping it ends it.
#[derive(Debug)]
pub(super) struct Stream {
    /// Tells its news from those of the streams before.
    pub(super) number: u64,
    outbox: Outbox,
    task: JoinHandle<()>,
}

/// Where messages for one stream go.
#[derive(Debug, Clone)]
pub(super) struct Outbox(
    // Unbounded: what is in it is bounded by what is held, and a stream that takes nothing is dropped
    // after three heartbeats.
    mpsc::UnboundedSender<v1::WorkerMessage>,
);

/// A message that the coordinator would end the stream for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message of {found} bytes is not sent: the coordinator takes {MAX_SESSION_MESSAGE_BYTES}")]
pub(super) struct TooLarge {
    found: usize,
}

impl Stream {
    /// Begins to open a stream with this hello.
    pub(super) fn open(
        number: u64,
        coordinator: Coordinator,
        hello: v1::Hello,
        inbox: mpsc::Sender<(u64, Heard)>,
    ) -> Result<Self, TooLarge> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let outbox = Outbox(sender);
        // Waits in the request before the call: a coordinator may read it before it answers.
        outbox.send(worker_message::Message::Hello(hello))?;
        let task = tokio::spawn(async move {
            let outgoing = UnboundedReceiverStream::new(receiver);
            let loss = read_all(&coordinator, outgoing, number, &inbox).await;
            // Nobody listens when this worker ends.
            let _ = inbox.send((number, Heard::Lost(loss))).await;
        });
        Ok(Self { number, outbox, task })
    }

    pub(super) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Outbox {
    /// Sends when the stream takes it. A stream that is gone takes nothing: its end is told apart.
    pub(super) fn send(&self, message: worker_message::Message) -> Result<(), TooLarge> {
        let message = v1::WorkerMessage { message: Some(message) };
        let found = message.encoded_len();
        if found > MAX_SESSION_MESSAGE_BYTES {
            return Err(TooLarge { found });
        }
        let _ = self.0.send(message);
        Ok(())
    }
}

async fn read_all(
    coordinator: &Coordinator,
    outgoing: UnboundedReceiverStream<v1::WorkerMessage>,
    number: u64,
    inbox: &mpsc::Sender<(u64, Heard)>,
) -> Loss {
    let (channel, bearer) = match coordinator.connect().await {
        Ok(connected) => connected,
        Err(error) => return Loss::Broken(error.to_string()),
    };
    let mut client = WorkerServiceClient::with_interceptor(channel, bearer);
    let mut incoming = match client.session(outgoing).await {
        Ok(incoming) => incoming.into_inner(),
        Err(status) => return loss(&status),
    };
    loop {
        match incoming.message().await {
            Ok(Some(message)) => {
                if inbox.send((number, Heard::Message(Box::new(message)))).await.is_err() {
                    return Loss::Broken("the worker ends".to_owned());
                }
            }
            Ok(None) => return Loss::Broken("the coordinator ended the session".to_owned()),
            Err(status) => return loss(&status),
        }
    }
}

fn loss(status: &Status) -> Loss {
    if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) {
        return Loss::Unauthenticated(status.message().to_owned());
    }
    Loss::Broken(format!("the session broke: {}", status.message()))
}
