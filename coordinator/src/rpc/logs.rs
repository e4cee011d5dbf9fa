//! The output of a plan's tasks as a stream, while it grows or as it is. Following costs what grows and what
//! is granted, not what the plan holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::{
    sync::{broadcast, mpsc},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use wavegate_engine::{LeaseId, PlanId, PlanState};
use wavegate_proto::{BULK_CHUNK_BYTES, v1};

use super::{Services, convert, status};
use crate::store::reader::TaskLease;

/// How long what grows is gathered before it is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How often all logs are looked at that may grow, whatever was heard of them.
const LOOK_AT_ALL: Duration = Duration::from_secs(5);
/// Grants read at a time.
const PAGE: u32 = 256;

/// Refused when the plan has no such task; an empty key means all.
pub(super) async fn check_task(services: &Services, plan: PlanId, task: &str) -> Result<(), Status> {
    if task.is_empty() {
        return Ok(());
    }
    let key = task.to_owned();
    let known = services.read(move |reader| reader.has_task(plan, &key)).await?;
    if known { Ok(()) } else { Err(status::no_task(plan, task)) }
}

/// What the request asks for, until there is no more.
pub(super) fn read(
    services: Services,
    plan: PlanId,
    request: v1::ReadLogsRequest,
) -> ReceiverStream<Result<v1::ReadLogsResponse, Status>> {
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        let growing = services.news.growing();
        let follow = request.follow;
        let mut reading = Reading {
            services,
            plan,
            request,
            sender: sender.clone(),
            followed: BTreeMap::new(),
            has_begun: false,
            after: 0,
        };
        let read = if follow { reading.follow(growing).await } else { reading.send_what_is_there().await };
        if let Err(status) = read {
            // A client that is gone needs no reason.
            let _ = sender.send(Err(status)).await;
        }
    });
    ReceiverStream::new(receiver)
}

/// One client's reading.
struct Reading {
    services: Services,
    plan: PlanId,
    request: v1::ReadLogsRequest,
    sender: mpsc::Sender<Result<v1::ReadLogsResponse, Status>>,
    /// Also those whose leases have ended: what was late on its way is sent, too.
    followed: BTreeMap<LeaseId, Followed>,
    /// There was a log to follow.
    has_begun: bool,
    /// Grants up to this event are known.
    after: i64,
}

/// One log.
struct Followed {
    task: String,
    attempt: u32,
    sent: u64,
    is_open: bool,
    /// It has ended, and a look after that found nothing new.
    is_settled: bool,
}

impl Reading {
    async fn send_what_is_there(&mut self) -> Result<(), Status> {
        for lease in self.chosen().await? {
            let mut log = Followed::of(&lease);
            if self.send_new(lease.lease.id, &mut log).await?.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn follow(&mut self, mut growing: broadcast::Receiver<LeaseId>) -> Result<(), Status> {
        let plan = self.plan;
        self.after = self.services.read(move |reader| reader.last_event(plan)).await?;
        for lease in self.chosen().await? {
            self.add(&lease);
        }
        let (mut seen, mut state) = (None, None);
        let mut look_at_all = Instant::now();
        let mut grown = BTreeSet::new();
        loop {
            let news = self.services.news.of(plan);
            let is_due = look_at_all <= Instant::now();
            // Not every lease ends with an event of its plan.
            if is_due || seen != Some(news) {
                state = self.take_news().await?;
                seen = Some(news);
            }
            // Before the last look at what has ended: a lease that has ended writes no more.
            let over = self.is_over(state);
            let all = over || is_due;
            if all {
                look_at_all = Instant::now() + LOOK_AT_ALL;
            }
            let Some(moved) = self.look(all, &std::mem::take(&mut grown)).await? else { return Ok(()) };
            if over && !moved {
                return Ok(());
            }
            if *self.services.stop.borrow() {
                return Err(status::stopping());
            }
            if self.gather(&mut growing, &mut grown).await {
                look_at_all = Instant::now();
            }
            if self.sender.is_closed() {
                return Ok(());
            }
        }
    }

    /// What was granted and what has ended since the last look; the plan's state before that.
    async fn take_news(&mut self) -> Result<Option<PlanState>, Status> {
        let plan = self.plan;
        let state = self.services.read(move |reader| reader.plan_state(plan)).await?;
        loop {
            let (after, task) = (self.after, self.task());
            let read =
                self.services.read(move |reader| reader.granted_after(plan, task.as_deref(), after, PAGE));
            let granted = read.await?;
            for (number, lease) in &granted {
                self.after = *number;
                if [0, convert::attempt_of(lease.lease.work)].contains(&self.request.attempt) {
                    self.add(lease);
                }
            }
            if granted.len() < PAGE as usize {
                break;
            }
        }
        // After the grants: what is known and not open has ended.
        let open = self.services.read(move |reader| reader.open_task_leases(plan)).await?;
        for (id, log) in &mut self.followed {
            log.is_open = open.contains(id);
        }
        Ok(state)
    }

    fn is_over(&self, state: Option<PlanState>) -> bool {
        let any_open = self.followed.values().any(|log| log.is_open);
        if self.request.task.is_empty() {
            return state != Some(PlanState::Running) && !any_open;
        }
        // A task that never had a lease gets none any more once its plan has ended.
        !any_open && (self.has_begun || state.is_none_or(PlanState::is_final))
    }

    /// Sends what is new of all logs, or of those that grew; whether there was anything, None when the client
    /// is gone. One that has ended without anything new is not looked at again by itself.
    async fn look(&mut self, all: bool, grown: &BTreeSet<LeaseId>) -> Result<Option<bool>, Status> {
        let mut moved = false;
        let looked: Vec<_> = if all {
            let unsettled = self.followed.iter().filter(|(_, log)| !log.is_settled);
            unsettled.map(|(id, _)| *id).collect()
        } else {
            grown.iter().copied().filter(|id| self.followed.contains_key(id)).collect()
        };
        for id in looked {
            let Some(mut log) = self.followed.remove(&id) else { continue };
            let Some(moved_here) = self.send_new(id, &mut log).await? else { return Ok(None) };
            moved |= moved_here;
            log.is_settled |= all && !log.is_open && !moved_here;
            self.followed.insert(id, log);
        }
        Ok(Some(moved))
    }

    /// Waits a moment, or longer while nothing happens, and notes what grows. True: so much that all must be
    /// looked at.
    async fn gather(
        &mut self,
        growing: &mut broadcast::Receiver<LeaseId>,
        grown: &mut BTreeSet<LeaseId>,
    ) -> bool {
        let services = self.services.clone();
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = self.sender.closed() => {}
            () = services.stopped() => {}
        }
        loop {
            match growing.try_recv() {
                Ok(lease) => {
                    grown.insert(lease);
                }
                Err(broadcast::error::TryRecvError::Lagged(_)) => return true,
                Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => {
                    return false;
                }
            }
        }
    }

    fn task(&self) -> Option<String> {
        Some(self.request.task.clone()).filter(|task| !task.is_empty())
    }

    fn add(&mut self, lease: &TaskLease) {
        self.has_begun = true;
        self.followed.entry(lease.lease.id).or_insert_with(|| Followed::of(lease));
    }

    /// The leases whose logs are asked for: of each task the newest attempt, or one attempt by its number.
    async fn chosen(&self) -> Result<Vec<TaskLease>, Status> {
        let (plan, task) = (self.plan, self.task());
        let leases = self.services.read(move |reader| reader.task_leases(plan, task.as_deref())).await?;
        let number = |lease: &TaskLease| convert::attempt_of(lease.lease.work);
        let mut newest: BTreeMap<String, u32> = BTreeMap::new();
        for lease in &leases {
            let attempt = newest.entry(lease.task.clone()).or_default();
            *attempt = number(lease).max(*attempt);
        }
        let wanted = |lease: &TaskLease| match self.request.attempt {
            0 => newest.get(&lease.task) == Some(&number(lease)),
            asked => number(lease) == asked,
        };
        Ok(leases.into_iter().filter(|lease| wanted(lease)).collect())
    }

    /// Sends what is new of one log; whether there was something, None when the client is gone.
    async fn send_new(&self, id: LeaseId, log: &mut Followed) -> Result<Option<bool>, Status> {
        let mut moved = false;
        loop {
            let (logs, offset) = (self.services.logs.clone(), log.sent);
            let read = self.services.files.run(move || logs.read(id, offset, BULK_CHUNK_BYTES)).await?;
            let data =
                read.map_err(|error| status::unavailable(format!("the log cannot be read: {error}")))?;
            if data.is_empty() {
                return Ok(Some(moved));
            }
            moved = true;
            log.sent += data.len() as u64;
            let piece = v1::ReadLogsResponse { task: log.task.clone(), attempt: log.attempt, data };
            if self.sender.send(Ok(piece)).await.is_err() {
                return Ok(None);
            }
        }
    }
}

impl Followed {
    fn of(lease: &TaskLease) -> Self {
        Self {
            task: lease.task.clone(),
            attempt: convert::attempt_of(lease.lease.work),
            sent: 0,
            is_open: lease.lease.state.is_open(),
            is_settled: false,
        }
    }
}
