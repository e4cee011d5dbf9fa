//! Every decision of Wavegate, as one pure and synchronous state machine.
//!
//! Owns what happens to plans, waves, tasks, leases and workers: who is granted what, when a wave
//! integrates, what a verdict does, when a lease is lost. Facts come in as an [`Input`] with a
//! [`Moment`]; what is to be written and sent comes out as [`Effects`]. Deliberately has no async,
//! clock, randomness, SQL, sockets or logging: the same inputs give the same decisions.

mod effect;
mod ids;
mod input;
mod row;
pub mod spec;
mod state;
mod words;

pub use effect::*;
pub use ids::*;
pub use input::*;
pub use row::*;
pub use state::*;
