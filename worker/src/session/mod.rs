//! The worker's session: what it holds, what it says, and when it ends its own agents.
//!
//! `machine` decides and does nothing; `driver` does and decides nothing; `stream` is one connection;
//! `jobs` are the leases whose work runs; `delivery` brings one answer to the coordinator.

mod delivery;
mod driver;
mod effect;
mod held;
mod jobs;
mod link;
mod machine;
mod stream;
mod words;

pub(crate) use driver::{Driver, Rooms};
pub(crate) use effect::Departure;
pub(crate) use jobs::{Perform, RealWork, Surroundings};
pub(crate) use machine::{Machine, Profile};

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
