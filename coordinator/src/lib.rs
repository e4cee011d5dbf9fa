//! The coordinator: it keeps plans, waves, tasks and leases and hands work to workers.
//!
//! Owns the rooms that join the engine to the world. See ARCHITECTURE.md for what may use what.

pub mod cli;
pub mod driver;
pub mod planfile;
pub mod rpc;
pub mod store;
