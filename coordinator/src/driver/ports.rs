//! What the driver needs from the world: a store, a clock and an outbox.

use tokio::sync::mpsc;
use wavegate_engine::{
    AccountRow, Change, LeaseId, LeaseRow, Mono, PastLease, PlanId, PlanSnapshot, SessionId, Utc, WorkBrief,
    WorkerRow, spec::PlanSpec,
};

use super::{Outgoing, Work};

/// The durable state, behind one writing connection.
pub trait Store {
    /// Every unfinished plan with its leases, and every worker.
    fn load(&mut self) -> Result<Snapshot, StoreError>;

    /// Opens the write transaction (BEGIN IMMEDIATE), and then, when somebody else has changed the
    /// file since the last look, reads what they ask for.
    fn begin(&mut self) -> Result<Vec<ModeRequest>, StoreError>;

    /// Writes one change within the open transaction.
    fn write(&mut self, change: &Change, now: Utc) -> Result<(), StoreError>;

    /// Writes what was gathered of a plan's changes, as the last thing before [`Self::commit`]; an error names
    /// the plan.
    fn flush(&mut self) -> Result<(), (PlanId, StoreError)>;

    /// Makes the open transaction durable (fsync).
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Gives the open transaction up, if there is one. Never fails: at worst the connection is
    /// opened anew at the next `begin`.
    fn roll_back(&mut self);

    /// Whether somebody else has changed the file since the last look. Cheap; outside of a
    /// transaction.
    fn has_foreign_changes(&mut self) -> Result<bool, StoreError>;

    /// Reserves an id and a name (a repeated one gets a number: `greet (2)`) for a plan and stores
    /// its head, invisible until [`Change::SwitchOn`]. A transaction of its own.
    fn stage(&mut self, submission: &Submission, now: Utc) -> Result<(PlanId, String), StoreError>;

    /// Stores the waves and tasks of a staged plan from task number `from` on, at most `limit`
    /// tasks, in a transaction of its own; gives the number to go on from, or None at the end.
    fn stage_tasks(
        &mut self,
        plan: PlanId,
        spec: &PlanSpec,
        from: usize,
        limit: usize,
    ) -> Result<Option<usize>, StoreError>;

    /// What is known of a lease that the engine does not keep; None when it never was.
    fn past_lease(&mut self, lease: LeaseId) -> Result<Option<Box<PastLease>>, StoreError>;

    /// Puts the text that a grant needs together with what the engine said of it.
    fn load_work(&mut self, lease: &LeaseRow, brief: &WorkBrief) -> Result<Work, StoreError>;
}

/// All that the engine goes on from.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub plans: Vec<PlanSnapshot>,
    pub workers: Vec<WorkerRow>,
    pub accounts: Vec<AccountRow>,
}

/// Somebody else's change of `plans.parallel_mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeRequest {
    pub plan: PlanId,
    /// Absent for NULL.
    pub text: Option<String>,
}

/// A plan as it comes in.
#[derive(Debug, Clone)]
pub struct Submission {
    pub spec: PlanSpec,
    /// The file's text, kept as it is.
    pub source: String,
    pub file_name: String,
    /// Workspace dir: the tree that the plan starts from; absent for an empty one.
    pub base: Option<wavegate_engine::Digest>,
    pub by: String,
}

/// Why the store could not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// I/O, a full disk, a lock held by another program: the same may work later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The database refuses this write, and would again.
    #[error("the store refuses this write: {0}")]
    Constraint(String),
    /// What is stored does not mean anything to this program.
    #[error("the store holds what this program cannot read: {0}")]
    Corrupt(String),
}

/// Both clocks.
pub trait Clock {
    /// Milliseconds since 1970 UTC.
    fn utc(&self) -> Utc;
    /// Milliseconds on CLOCK_BOOTTIME.
    fn mono(&self) -> Mono;
    /// 128 random bits.
    fn draw(&mut self) -> u128;
}

/// Where committed messages go.
pub trait Outbox {
    /// A session begins: where its messages go.
    fn open(&mut self, session: SessionId, sender: mpsc::Sender<Outgoing>);

    /// Hands a message to a session without waiting. False when the session is gone or does not
    /// keep up: it is closed then, and its worker comes back and resumes.
    fn send(&mut self, session: SessionId, message: Outgoing) -> bool;

    /// Ends a session; the worker comes back and resumes.
    fn close(&mut self, session: SessionId);

    /// The plan has events that can be read from the store; said before [`Self::committed`]. Those who follow
    /// another plan need not look.
    fn news(&mut self, _plan: PlanId) {}

    /// What was written can be read from the store.
    fn committed(&mut self);
}
