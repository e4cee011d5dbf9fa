//! A deterministic simulation of the whole system: the real engine and the real driver on a simulated
//! store, clock and network, with workers that follow the real session rules of `wavegate_worker`, agents,
//! and persons. One seed is one run.
//!
//! Here, because it joins coordinator and worker, as only this package may. `scenario` says what happens
//! from outside, `world` lets it happen, `outside`, `network`, `hosts` and `agents` are its parts, `naive`,
//! `book`, `causes` and `figures` hold what came of it against the invariants, `mutation` proves that they bite,
//! `explore` walks every order of events of a small world, `run` runs and shrinks. Leaves out: the wire
//! itself, SQLite, processes, artifacts and logs (the other tests of this package), clocks of different
//! rates, and two processes with one identity (the engine's own properties).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "who looks on looks for a few kinds, and passes over the rest"
)]

mod agents;
mod book;
mod causes;
mod coordinator;
mod explore;
mod figures;
mod fingerprint;
mod hosts;
mod ledger;
mod mutation;
/// The naive store of the engine's own tests, which checks each change: one set of rules for both.
#[path = "../../../coordinator/engine/tests/environment/store.rs"]
mod naive;
mod network;
mod outside;
mod persons;
mod random;
mod run;
mod scenario;
mod specs;
mod world;

pub use explore::{Small, Start, Walked, explore};
pub use figures::{Figures, LEAST_DONE, Row, legal_lease_rows, legal_task_rows};
pub use mutation::Mutation;
pub use run::{Failure, Held, run, run_traced, shrink, size};
pub use scenario::*;
