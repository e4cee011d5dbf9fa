//! The real coordinator on a simulated host: the real services over the simulated network, the real driver on the
//! real SQLite store, called inline. Owns where it is killed and what is seen of it from outside.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::sync::{mpsc, watch};
use turmoil::net::TcpListener;
use wavegate_coordinator::{
    coordinator::services,
    driver::{
        Clock as _, Driver, Handle, ModeRequest, Outbox, Outgoing, Snapshot, Store, StoreError, Submission,
        Work,
    },
    prices::Prices,
    rpc::{self, FileWork, Services, SessionOutbox},
    store::{self, SqliteStore},
};
use wavegate_engine::{
    Change, Config, Engine, LeaseId, LeaseRow, PastLease, PlanId, SessionId, Utc, WorkBrief, spec::PlanSpec,
};

use crate::{
    book::{Book, Fate},
    chance::{SimulatedClock, now_ms},
};

/// The host's name.
pub(crate) const COORDINATOR: &str = "coordinator";
pub(crate) const PORT: u16 = 7433;

/// Serves until it is killed.
pub(crate) async fn serve(
    db: PathBuf,
    clock: SimulatedClock,
    book: Book,
    peers: Vec<String>,
) -> turmoil::Result {
    book.pages().is_dead = false;
    let opened = store::open(&db, Duration::ZERO, clock.utc())?;
    if let Some(restored) = &opened.restored {
        return Err(format!("a crash is taken for a restored copy: {restored:?}").into());
    }
    opened.files.name_start(&opened.epoch)?;
    let config = Config::default();
    let (handle, requests) = Handle::new(1024);
    let (outbox, news) = SessionOutbox::new();
    let (end_streams, ended) = watch::channel(false);
    let given = services(&opened, &config.timings, Prices::built_in(), handle, news, ended);
    let services = Services { files: FileWork::Inline, ..given };
    let store = MortalStore { store: opened.store, book: book.clone(), peers };
    let outbox = SeenOutbox { outbox, book };
    let driver = Driver::new(Engine::new(config), store, clock, outbox, requests)?;
    let driving = tokio::spawn(driver.run());
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let served =
        rpc::serve(crate::network::connections(listener), services, end_streams, std::future::pending());
    tokio::select! {
        served = served => served?,
        driven = driving => drop(driven?),
    }
    drop(opened.lock);
    Err("the coordinator ended by itself".into())
}

/// Makes the database and the token before anybody looks for them.
pub(crate) fn prepare(db: &Path) {
    let opened = store::open(db, Duration::ZERO, Utc(0)).expect("a new database");
    opened.store.close().expect("a database that was just opened");
}

/// The store of a coordinator that is killed at a commit.
struct MortalStore {
    store: SqliteStore,
    book: Book,
    peers: Vec<String>,
}

impl MortalStore {
    /// Nothing gets out of the host any more; whoever steps the simulation ends it.
    fn die(&self, fate: Fate) {
        self.book.note(now_ms(), &format!("the coordinator dies: {fate:?}"));
        self.book.pages().is_dead = true;
        for peer in &self.peers {
            turmoil::partition(COORDINATOR, peer.as_str());
        }
    }

    fn alive(&self) -> Result<(), StoreError> {
        if self.book.pages().is_dead {
            return Err(StoreError::Unavailable("the coordinator is dead".to_owned()));
        }
        Ok(())
    }
}

impl Store for MortalStore {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        self.store.load()
    }

    fn begin(&mut self) -> Result<Vec<ModeRequest>, StoreError> {
        self.alive()?;
        self.store.begin()
    }

    fn write(&mut self, change: &Change, now: Utc) -> Result<(), StoreError> {
        self.store.write(change, now)
    }

    fn flush(&mut self) -> Result<(), (PlanId, StoreError)> {
        self.store.flush()
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let fate = self.book.pages().fate.take();
        match fate {
            None => self.store.commit(),
            Some(fate @ Fate::BeforeCommit) => {
                self.die(fate);
                self.alive()
            }
            Some(fate @ Fate::AfterCommit) => {
                self.store.commit()?;
                self.die(fate);
                Ok(())
            }
        }
    }

    fn roll_back(&mut self) {
        self.store.roll_back();
    }

    fn has_foreign_changes(&mut self) -> Result<bool, StoreError> {
        self.store.has_foreign_changes()
    }

    fn stage(&mut self, submission: &Submission, now: Utc) -> Result<(PlanId, String), StoreError> {
        self.store.stage(submission, now)
    }

    fn stage_tasks(
        &mut self,
        plan: PlanId,
        spec: &PlanSpec,
        from: usize,
        limit: usize,
    ) -> Result<Option<usize>, StoreError> {
        self.store.stage_tasks(plan, spec, from, limit)
    }

    fn past_lease(&mut self, lease: LeaseId) -> Result<Option<Box<PastLease>>, StoreError> {
        self.store.past_lease(lease)
    }

    fn load_work(&mut self, lease: &LeaseRow, brief: &WorkBrief) -> Result<Work, StoreError> {
        self.store.load_work(lease, brief)
    }
}

/// Notes what the coordinator says to have, when it says it.
struct SeenOutbox {
    outbox: SessionOutbox,
    book: Book,
}

impl Outbox for SeenOutbox {
    fn open(&mut self, session: SessionId, sender: mpsc::Sender<Outgoing>) {
        self.outbox.open(session, sender);
    }

    fn send(&mut self, session: SessionId, message: Outgoing) -> bool {
        let accepted =
            if let Outgoing::Accepted { lease } = &message { Some(lease.to_string()) } else { None };
        let is_sent = self.outbox.send(session, message);
        if let (true, Some(lease)) = (is_sent, accepted) {
            self.book.acknowledge(now_ms(), lease);
        }
        is_sent
    }

    fn close(&mut self, session: SessionId) {
        self.outbox.close(session);
    }

    fn news(&mut self, plan: PlanId) {
        self.outbox.news(plan);
    }

    fn committed(&mut self) {
        self.book.check_cap(now_ms());
        self.outbox.committed();
    }
}
