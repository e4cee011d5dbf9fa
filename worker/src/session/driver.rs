//! Carries out what the machine decides, in order, and tells it what happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use wavegate_proto::v1::{self, worker_message};

use super::delivery::Delivery;
use super::effect::{Assignment, Departure, Effect};
use super::jobs::{Jobs, News, Surroundings};
use super::machine::{Loss, Machine};
use super::stream::{Heard, INBOX, Stream};
use super::words::{described, told};
use crate::blobs::BlobStore;
use crate::bulk::{Logs, NoLog};
use crate::coordinator::{Coordinator, chain};
use crate::lease::LeaseId;
use crate::memory::Memory;
use crate::outside::Outside;
use crate::shutdown::Wish;
use crate::spool::{Answer, Spool};
use crate::work::LogSink;

/// Timers stand still during suspend, the clock does not: it is looked at again this often.
const LONGEST_SLEEP_MS: u64 = 1_000;

/// What the logs of answered leases may take at the end; the rest is shipped at the next start.
const LAST_LOGS: Duration = Duration::from_secs(2);

/// Why a heartbeat that is late is no wonder, and what to look at.
const SLOW_MS: u64 = 1_000;

/// The rooms that the driver works in.
pub(crate) struct Rooms {
    pub(crate) outside: Outside,
    pub(crate) coordinator: Coordinator,
    pub(crate) surroundings: Surroundings,
    pub(crate) spool: Spool,
    pub(crate) memory: Memory,
    pub(crate) logs: Logs,
    pub(crate) wishes: watch::Receiver<Wish>,
}

/// The one task that owns the machine.
pub(crate) struct Driver {
    machine: Machine,
    outside: Outside,
    coordinator: Coordinator,
    blobs: Arc<dyn BlobStore>,
    spool: Spool,
    memory: Memory,
    logs: Logs,
    jobs: Jobs,
    stream: Option<Stream>,
    streams: u64,
    inbox: mpsc::Sender<(u64, Heard)>,
    heard: mpsc::Receiver<(u64, Heard)>,
    news: mpsc::UnboundedReceiver<(LeaseId, News)>,
    wishes: watch::Receiver<Wish>,
    deliveries: JoinSet<()>,
    delivering: BTreeMap<LeaseId, AbortHandle>,
    /// Said once for each time that the coordinator is away, not for each try.
    is_away: bool,
}

impl Driver {
    pub(crate) fn new(machine: Machine, rooms: Rooms) -> Self {
        let (inbox, heard) = mpsc::channel(INBOX);
        let (tell, news) = mpsc::unbounded_channel();
        Self {
            machine,
            outside: rooms.outside,
            coordinator: rooms.coordinator,
            blobs: Arc::clone(&rooms.surroundings.blobs),
            spool: rooms.spool,
            memory: rooms.memory,
            logs: rooms.logs,
            jobs: Jobs::new(rooms.surroundings, tell),
            stream: None,
            streams: 0,
            inbox,
            heard,
            news,
            wishes: rooms.wishes,
            deliveries: JoinSet::new(),
            delivering: BTreeMap::new(),
            is_away: false,
        }
    }

    /// Runs until the machine leaves.
    pub(crate) async fn run(mut self) -> Departure {
        let mut effects = self.on_wish();
        loop {
            if let Some(departure) = self.carry_out(effects).await {
                self.logs.finish(LAST_LOGS).await;
                return departure;
            }
            effects = self.next().await;
        }
    }

    /// Waits for the next thing that happens and lets the machine decide.
    async fn next(&mut self) -> Vec<Effect> {
        let wait_ms = self.machine.wake_ms().saturating_sub(self.outside.now_ms()).min(LONGEST_SLEEP_MS);
        tokio::select! {
            Some((number, heard)) = self.heard.recv() => self.on_heard(number, heard),
            Some((lease_id, news)) = self.news.recv() => self.on_news(&lease_id, news),
            (lease_id, ending) = self.jobs.next_end() => {
                // Its start and its last use, if they wait still, are told before its end.
                let mut effects = Vec::new();
                while let Ok((lease_id, news)) = self.news.try_recv() {
                    effects.extend(self.on_news(&lease_id, news));
                }
                effects.extend(self.machine.on_ended(self.outside.now_ms(), &lease_id, ending));
                effects
            }
            Ok(()) = self.wishes.changed() => self.on_wish(),
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => self.machine.on_tick(self.outside.now_ms()),
            Some(_) = self.deliveries.join_next() => Vec::new(),
        }
    }

    fn on_heard(&mut self, number: u64, heard: Heard) -> Vec<Effect> {
        // News of a stream that was dropped since.
        if self.stream.as_ref().is_none_or(|stream| stream.number != number) {
            return Vec::new();
        }
        match heard {
            Heard::Message(message) => self.machine.on_message(self.outside.now_ms(), *message),
            Heard::Lost(loss) => {
                self.stream = None;
                self.tell_loss(&loss);
                self.machine.on_lost(self.outside.now_ms(), loss)
            }
        }
    }

    fn on_news(&mut self, lease_id: &LeaseId, news: News) -> Vec<Effect> {
        match news {
            News::Started => self.machine.on_started(lease_id),
            News::Used(usage) => self.machine.on_used(lease_id, usage),
        }
    }

    fn on_wish(&mut self) -> Vec<Effect> {
        let wish = *self.wishes.borrow_and_update();
        match wish {
            Wish::GoOn => Vec::new(),
            Wish::Drain => {
                tracing::info!("draining: finishing what is held, taking nothing new");
                self.machine.on_drain(self.outside.now_ms())
            }
            Wish::Stop => {
                tracing::info!("stopping: ending what runs");
                self.machine.on_stop(self.outside.now_ms())
            }
        }
    }

    async fn carry_out(&mut self, effects: Vec<Effect>) -> Option<Departure> {
        for effect in effects {
            match effect {
                Effect::Connect(hello) => self.connect(hello),
                Effect::Disconnect(why) => self.disconnect(&why),
                Effect::Welcomed { session_id, epoch, epoch_nonce, database_id } => {
                    self.memory.welcomed(&database_id, &epoch_nonce);
                    self.welcomed(&session_id, epoch);
                }
                Effect::Send(message) => self.send(message),
                Effect::Start(assignment) => self.start(*assignment),
                Effect::SetDeadline { lease_id, deadline_ms } => {
                    self.jobs.set_deadline(&lease_id, deadline_ms);
                }
                Effect::Stop { lease_id, why } => {
                    tracing::info!("ending lease {lease_id}: {why}");
                    self.jobs.stop(&lease_id);
                }
                Effect::Spool(answer) => self.spool(answer).await,
                Effect::Deliver(answer) => self.deliver(answer),
                Effect::Settle(answer) => self.settle(&answer),
                Effect::SetAside { answer, why } => self.set_aside(&answer, &why),
                Effect::Warn(text) => tracing::warn!("{text}"),
                Effect::Leave(departure) => return Some(departure),
            }
        }
        None
    }

    fn connect(&mut self, hello: v1::Hello) {
        self.streams += 1;
        let hello = v1::Hello { known: self.memory.told(), ..hello };
        let (coordinator, inbox) = (self.coordinator.clone(), self.inbox.clone());
        match Stream::open(self.streams, coordinator, hello, inbox) {
            Ok(stream) => self.stream = Some(stream),
            // The machine gives up on this greeting by itself and tries again.
            Err(error) => tracing::error!("the hello: {error}"),
        }
    }

    fn disconnect(&mut self, why: &str) {
        self.stream = None;
        tracing::warn!("connection dropped: {why}");
        self.is_away = true;
    }

    fn tell_loss(&mut self, loss: &Loss) {
        match loss {
            Loss::Unauthenticated(message) => {
                let advice = self.coordinator.token_advice();
                tracing::error!("the coordinator does not know this worker ({message}): {advice}");
            }
            Loss::Broken(why) if self.is_away => tracing::debug!("still no coordinator: {why}"),
            Loss::Broken(why) => tracing::warn!("no coordinator, trying again: {why}"),
        }
        self.is_away = true;
    }

    fn welcomed(&mut self, session_id: &str, epoch: u64) {
        tracing::info!("connected: session {session_id}, start {epoch} of the coordinator");
        self.is_away = false;
    }

    fn send(&self, message: worker_message::Message) {
        if let Some(stream) = &self.stream
            && let Err(error) = stream.outbox().send(message)
        {
            tracing::error!("{error}");
        }
    }

    fn start(&mut self, assignment: Assignment) {
        let lease_id = &assignment.lease_id;
        tracing::info!("granted: lease {lease_id}, {}", described(&assignment.body));
        self.memory.granted(lease_id);
        let log: Arc<dyn LogSink> = match self.logs.begin(lease_id) {
            Ok(log) => log,
            Err(error) => {
                tracing::warn!("lease {lease_id} runs without a log: {error}");
                Arc::new(NoLog)
            }
        };
        self.jobs.start(assignment, log);
    }

    /// Waited for, so that nothing overtakes it: a removal that ran before its write would leave an
    /// answered result behind.
    async fn spool(&self, answer: Answer) {
        tracing::info!("{}", told(&answer));
        let lease_id = answer.lease_id().clone();
        let (spool, begun_ms) = (self.spool.clone(), self.outside.now_ms());
        let stored = self.outside.files.run(move || spool.store(&answer)).await;
        match stored {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("lease {lease_id} is only in memory: {}", chain(&error)),
            Err(error) => tracing::error!("lease {lease_id} is only in memory: {error}"),
        }
        let took_ms = self.outside.now_ms().saturating_sub(begun_ms);
        if took_ms > SLOW_MS {
            tracing::warn!("the disk of the state directory is slow: a result took {took_ms} ms");
        }
    }

    fn deliver(&mut self, answer: Answer) {
        let Some(stream) = &self.stream else {
            return;
        };
        let lease_id = answer.lease_id().clone();
        let (log, blobs) = (self.logs.of(&lease_id), Arc::clone(&self.blobs));
        let files = self.spool.files_of(&lease_id);
        let delivery = Delivery { answer, log, files, blobs, outbox: stream.outbox() };
        let task = self.deliveries.spawn(delivery.run());
        if let Some(before) = self.delivering.insert(lease_id, task) {
            before.abort();
        }
    }

    fn settle(&mut self, answer: &Answer) {
        let lease_id = answer.lease_id();
        tracing::info!("accepted: lease {lease_id}");
        self.memory.accepted(lease_id);
        if let Err(error) = self.spool.remove(lease_id) {
            // It is sent once more after the next start, and refused.
            tracing::warn!("{}", chain(&error));
        }
        self.forget(lease_id);
    }

    fn set_aside(&mut self, answer: &Answer, why: &str) {
        let lease_id = answer.lease_id();
        let kept = match answer {
            Answer::Finished { .. } => self.spool.refuse(answer).map(Some),
            Answer::Released { .. } => self.spool.remove(lease_id).map(|()| None),
        };
        match kept {
            Ok(Some(path)) => {
                tracing::warn!("refused: lease {lease_id}: {why}; kept for a week in {}", path.display());
            }
            Ok(None) => tracing::info!("refused: the return of lease {lease_id}: {why}"),
            Err(error) => tracing::warn!("refused: lease {lease_id}: {why}; {}", chain(&error)),
        }
        if let Err(error) = self.spool.prune(SystemTime::now()) {
            tracing::warn!("{}", chain(&error));
        }
        self.forget(lease_id);
    }

    fn forget(&mut self, lease_id: &LeaseId) {
        self.delivering.remove(lease_id);
        self.logs.settle(lease_id);
    }
}
