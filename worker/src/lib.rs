//! The worker: it holds leases, does their work in supervised processes, and tells the coordinator.
//!
//! `session` speaks with the coordinator and decides nothing about plans; `work` performs a lease;
//! `supervisor` owns the processes, `workspace`, `tree` and `git` the directories, `spool` the results that
//! are not answered yet, `bulk` artifacts and logs. `outside` is what all of them stand on, and can be simulated.

mod backoff;
pub mod blobs;
mod bulk;
pub mod config;
mod coordinator;
pub mod digest;
mod durable;
pub mod git;
mod identity;
mod lease;
mod memory;
mod outside;
mod program;
pub mod runner;
pub mod session;
mod shutdown;
mod spool;
mod start;
pub mod supervisor;
pub mod tree;
pub mod work;
pub mod workspace;

pub use config::WorkerConfig;
pub use identity::IdentityError;
pub use lease::{BadLeaseId, LeaseId};
pub use outside::{Connecting, FileWork, Outside};
pub use program::main;
pub use runner::doctor;
pub use shutdown::Shutdown;
pub use spool::{Answer, SpoolError};
pub use start::{WorkerError, run, run_within};
