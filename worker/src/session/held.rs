//! One lease that this worker holds, from its grant until its answer is answered.

use wavegate_proto::v1;

use crate::lease::LeaseId;
use crate::spool::Answer;
use crate::work::Ending;

/// A held lease.
#[derive(Debug)]
pub(super) enum Held {
    /// Its work may go on until its deadline. A crash of this worker ends its processes with it.
    Running { allowance_ms: u64, deadline_ms: u64, started: bool },
    /// Its work was told to end, but its processes may still be there.
    Ending(Why),
    /// Its work is over: owed until the coordinator answers. It survives a crash in the spool.
    Owed(Answer),
}

/// Why a lease's work was told to end. The first reason stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// The coordinator asked.
    Cancelled,
    /// The deadline passed without an answer.
    Fenced,
    /// The worker leaves and does not wait.
    Leaving,
}

impl Held {
    /// Whether its processes may still be there.
    pub(super) fn is_live(&self) -> bool {
        match self {
            Self::Running { .. } | Self::Ending(_) => true,
            Self::Owed(_) => false,
        }
    }

    /// The answer that its end makes, given how its work ended; None where it is over already.
    pub(super) fn answer(&self, lease_id: &LeaseId, ending: Ending) -> Option<Answer> {
        let why = match self {
            Self::Running { .. } => None,
            Self::Ending(why) => Some(why),
            Self::Owed(_) => return None,
        };
        let (reason, note) = match (ending, why) {
            // A result is worth money, even when nobody waits for it any more.
            (Ending::Report(report), _) => {
                return Some(Answer::Finished { lease_id: lease_id.clone(), report });
            }
            (_, Some(why)) => (why.reason(), String::new()),
            (Ending::Cancelled, None) => (v1::ReleaseReason::Cancelled, String::new()),
            (Ending::Fenced, None) => (v1::ReleaseReason::SelfFenced, String::new()),
            (Ending::Unable(note), None) => (v1::ReleaseReason::Unable, note),
            (Ending::OutOfReach(note), None) => (v1::ReleaseReason::Repository, note),
        };
        Some(Answer::Released { lease_id: lease_id.clone(), reason, note: shortened(note) })
    }
}

impl Why {
    fn reason(&self) -> v1::ReleaseReason {
        match self {
            Self::Cancelled => v1::ReleaseReason::Cancelled,
            Self::Fenced => v1::ReleaseReason::SelfFenced,
            Self::Leaving => v1::ReleaseReason::Drain,
        }
    }
}

/// How long a lease's work may go on after the last answered contact.
pub(super) fn allowance_ms(lost_after_ms: u64, fence_margin_ms: u64) -> u64 {
    match lost_after_ms.checked_sub(fence_margin_ms) {
        Some(allowance) if allowance > 0 => allowance,
        // No coordinator grants this. Half leaves the rest for the end of the agents.
        _ => lost_after_ms / 2,
    }
}

/// A note is a line for people, not a place for output.
fn shortened(mut note: String) -> String {
    const MOST_BYTES: usize = 4096;
    if note.len() > MOST_BYTES {
        note.truncate(note.floor_char_boundary(MOST_BYTES));
    }
    note
}
