//! A worker that says just what a test makes it say.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use wavegate_proto::v1::{self, coordinator_message::Message as Heard, worker_message::Message as Said};

use super::{Bench, within};

/// One open stream of a worker.
pub(super) struct FakeWorker {
    sender: mpsc::Sender<v1::WorkerMessage>,
    incoming: Streaming<v1::CoordinatorMessage>,
    /// Heard while something else was waited for.
    kept: Vec<Heard>,
}

/// The hello of an executor with one slot.
pub(super) fn hello(worker: &str, instance: &str) -> v1::Hello {
    v1::Hello {
        worker_id: worker.to_owned(),
        instance: instance.to_owned(),
        protocol_min: 1,
        protocol_max: 1,
        name: worker.to_owned(),
        host: "host".to_owned(),
        version: "0.1.0".to_owned(),
        roles: vec![v1::Role::Executor.into()],
        runners: vec![v1::Runner { name: "shell".to_owned(), ..Default::default() }],
        slots: Some(1),
        ..Default::default()
    }
}

/// An executor's claim of success.
pub(super) fn success() -> v1::Report {
    let outcome = v1::Outcome::Succeeded.into();
    v1::Report { outcome, exit_code: Some(0), summary: "did it".to_owned(), ..Default::default() }
}

impl FakeWorker {
    /// A stream on which nothing was said.
    pub(super) async fn open(bench: &Bench) -> Self {
        let (sender, receiver) = mpsc::channel(64);
        let incoming = bench.sessions().session(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Self { sender, incoming, kept: Vec::new() }
    }

    /// A stream that begins with this.
    pub(super) async fn begin(bench: &Bench, first: Said) -> Self {
        let worker = Self::open(bench).await;
        worker.say(first).await;
        worker
    }

    /// A worker that was welcomed.
    pub(super) async fn connect(bench: &Bench, name: &str) -> Self {
        let mut worker = Self::begin(bench, Said::Hello(hello(name, "first"))).await;
        worker.welcome().await;
        worker
    }

    /// The same of another hello.
    pub(super) async fn connect_with(bench: &Bench, name: &str, change: impl FnOnce(&mut v1::Hello)) -> Self {
        let mut hello = hello(name, "first");
        change(&mut hello);
        let mut worker = Self::begin(bench, Said::Hello(hello)).await;
        worker.welcome().await;
        worker
    }

    pub(super) async fn say(&self, message: Said) {
        self.send(Some(message)).await;
    }

    /// None: a message that this version does not know.
    pub(super) async fn send(&self, message: Option<Said>) {
        self.sender.send(v1::WorkerMessage { message }).await.expect("the stream is open");
    }

    pub(super) async fn finish(&self, lease_id: &str, body: v1::finished::Body) {
        let finished = v1::Finished { lease_id: lease_id.to_owned(), body: Some(body) };
        self.say(Said::Finished(finished)).await;
    }

    /// Waits for the first message that the predicate takes; others are kept for later.
    pub(super) async fn hear<T>(&mut self, what: &str, take: impl Fn(&Heard) -> Option<T>) -> T {
        if let Some(at) = self.kept.iter().position(|message| take(message).is_some()) {
            return take(&self.kept.remove(at)).expect("it was taken a moment ago");
        }
        loop {
            let message = match within(what, self.incoming.message()).await {
                Ok(Some(message)) => message.message.expect("a message of this version"),
                ended => panic!("the stream ended before {what}: {ended:?}, heard {:?}", self.kept),
            };
            match take(&message) {
                Some(taken) => return taken,
                None => self.kept.push(message),
            }
        }
    }

    pub(super) async fn welcome(&mut self) -> v1::Welcome {
        self.hear("a welcome", |it| if let Heard::Welcome(it) = it { Some(it.clone()) } else { None }).await
    }

    pub(super) async fn goodbye(&mut self) -> v1::Goodbye {
        self.hear("a goodbye", |it| if let Heard::Goodbye(it) = it { Some(it.clone()) } else { None }).await
    }

    pub(super) async fn grant(&mut self) -> v1::Grant {
        self.hear("a grant", |it| if let Heard::Grant(it) = it { Some(it.clone()) } else { None }).await
    }

    pub(super) async fn refused(&mut self) -> v1::Refused {
        self.hear("a refusal", |it| if let Heard::Refused(it) = it { Some(it.clone()) } else { None }).await
    }

    pub(super) async fn accepted(&mut self) -> String {
        let take = |it: &Heard| if let Heard::Accepted(it) = it { Some(it.lease_id.clone()) } else { None };
        self.hear("an acceptance", take).await
    }

    /// A heartbeat that is answered: the session lives, and all said before was handled.
    pub(super) async fn beat(&mut self, number: u64, held: &[&str]) -> v1::HeartbeatAck {
        let held = held.iter().map(ToString::to_string).collect();
        self.say(Said::Heartbeat(v1::Heartbeat { number, held, last_grant: 0 })).await;
        let answer = |it: &Heard| if let Heard::HeartbeatAck(ack) = it { Some(ack.clone()) } else { None };
        let take = |it: &Heard| answer(it).filter(|ack| ack.number == number);
        self.hear("the heartbeat's answer", take).await
    }

    /// Waits until the stream ends, well or not; what was heard until then.
    pub(super) async fn end(mut self) -> Vec<Heard> {
        while let Ok(Some(message)) = within("the end of the stream", self.incoming.message()).await {
            self.kept.extend(message.message);
        }
        self.kept
    }
}
