//! What a worker owes the coordinator about a lease: its result, or its return.

use wavegate_proto::v1;

use crate::lease::{BadLeaseId, LeaseId};

/// The last word on a lease, owed until the coordinator accepts or refuses it.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The work ended with this result, kept whole whatever its size.
    Finished { lease_id: LeaseId, report: Box<v1::Report> },
    /// The lease is given back without a result.
    Released { lease_id: LeaseId, reason: v1::ReleaseReason, note: String },
}

/// A message that is no answer of a worker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAnAnswer {
    #[error(transparent)]
    Lease(#[from] BadLeaseId),
    #[error("expected a finished message with its report, or a released message")]
    OtherMessage,
}

impl Answer {
    /// The lease that it is about.
    #[must_use]
    pub fn lease_id(&self) -> &LeaseId {
        match self {
            Self::Finished { lease_id, .. } | Self::Released { lease_id, .. } => lease_id,
        }
    }

    /// The message with everything in it, as it is spooled.
    #[must_use]
    pub fn to_message(&self) -> v1::WorkerMessage {
        use v1::worker_message::Message;
        let message = match self.clone() {
            Self::Finished { lease_id, report } => Message::Finished(v1::Finished {
                lease_id: lease_id.to_string(),
                body: Some(v1::finished::Body::Report(*report)),
            }),
            Self::Released { lease_id, reason, note } => Message::Released(v1::Released {
                lease_id: lease_id.to_string(),
                reason: reason.into(),
                note,
            }),
        };
        v1::WorkerMessage { message: Some(message) }
    }

    /// Reads back what `to_message` made.
    pub(crate) fn from_message(message: v1::WorkerMessage) -> Result<Self, NotAnAnswer> {
        use v1::worker_message::Message;
        match message.message {
            Some(Message::Finished(v1::Finished {
                lease_id,
                body: Some(v1::finished::Body::Report(report)),
            })) => Ok(Self::Finished { lease_id: LeaseId::parse(&lease_id)?, report: Box::new(report) }),
            Some(Message::Released(released)) => Ok(Self::Released {
                lease_id: LeaseId::parse(&released.lease_id)?,
                reason: released.reason(),
                note: released.note,
            }),
            Some(
                Message::Hello(_)
                | Message::Heartbeat(_)
                | Message::Started(_)
                | Message::Progress(_)
                | Message::Draining(_)
                | Message::Finished(_),
            )
            | None => Err(NotAnAnswer::OtherMessage),
        }
    }
}
