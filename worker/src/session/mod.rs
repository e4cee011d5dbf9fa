//! The worker's session: what it holds, what it says, and when it ends its own agents.
//!
//! `machine` decides and does nothing; `driver` does and decides nothing; `stream` is one connection;
//! `jobs` are the leases whose work runs; `delivery` brings one answer to the coordinator.
//!
//! `machine` and its effects are public: the simulation of the whole system drives the real rules of a
//! worker, in the place of a copy of them. `Perform` is public for who simulates the work alone.

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
pub use effect::{Assignment, Departure, Effect};
pub use jobs::Perform;
pub(crate) use jobs::{RealWork, Surroundings};
pub use machine::{Loss, Machine, Profile};

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
