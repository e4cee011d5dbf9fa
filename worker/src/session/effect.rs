//! What the machine wants done, in the order in which it is done.

use wavegate_proto::v1;

use crate::lease::LeaseId;
use crate::spool::Answer;

/// One thing for the driver to do.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a handful at a time, carried out at once")]
pub enum Effect {
    /// Open a stream and say this first.
    Connect(v1::Hello),
    /// Drop the stream: for people, why.
    Disconnect(String),
    /// The coordinator took this worker in.
    Welcomed { session_id: String, epoch: u64, epoch_nonce: String, database_id: String },
    /// Send it on the open stream.
    Send(v1::worker_message::Message),
    /// Begin the work of a lease.
    Start(Box<Assignment>),
    /// The work of this lease may go on until then.
    SetDeadline { lease_id: LeaseId, deadline_ms: u64 },
    /// End the work of this lease: for people, why.
    Stop { lease_id: LeaseId, why: String },
    /// Put it on disk before anything that follows.
    Spool(Answer),
    /// Send it on the open stream, its log and its artifacts first.
    Deliver(Answer),
    /// The coordinator has it: forget it.
    Settle(Answer),
    /// The coordinator does not want it: for people, why.
    SetAside { answer: Answer, why: String },
    /// Worth a line to people: what a peer did that it should not.
    Warn(String),
    /// Everything is done, or will not be.
    Leave(Departure),
}

/// A lease to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    pub lease_id: LeaseId,
    pub body: v1::grant::Body,
    /// Milliseconds of the clock that runs during suspend.
    pub deadline_ms: u64,
    pub kill_grace_ms: u64,
}

/// Why the worker leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Departure {
    /// Asked to, with everything finished and answered.
    Drained,
    /// Told not to wait.
    Stopped,
    /// The coordinator will not have it.
    Dismissed { reason: String },
    /// It does not know the coordinator's token.
    Unauthenticated { message: String },
}
