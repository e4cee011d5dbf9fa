//! The coordinator's gRPC services: sessions of workers, plans, Thor from outside, the fleet, bulk.
//!
//! Owns the wire: the generated types stop here (`convert` mirrors them in ours), `status` alone names
//! gRPC codes, `access` says who may. Decides nothing: what changes something goes to the driver, what
//! is read comes from the store's reader.

mod access;
mod bulk;
mod connection;
mod convert;
mod desk;
mod fleet;
mod logs;
mod narrow;
mod news;
mod outbox;
mod plans;
mod report;
mod server;
mod session;
mod status;
mod thor;
mod watch;

#[cfg(test)]
mod tests;

pub use access::Access;
pub use connection::{Peer, connections};
pub use convert::{diagnostics_of, event_of, grant_of, outline_of, slug};
pub use desk::{FileWork, MOST_READS, Services};
pub use news::News;
pub use outbox::SessionOutbox;
pub use server::{ServeError, serve};
pub use session::SessionTimings;
