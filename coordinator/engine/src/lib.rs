//! Every decision of Wavegate, as one pure and synchronous state machine.
//!
//! Owns what happens to plans, waves, tasks, leases and workers: who is granted what, when a wave
//! integrates, what a verdict does, when a lease is lost. Facts come in as an [`Input`] with a
//! [`Moment`]; what is to be written and sent comes out as [`Effects`]. Deliberately has no async,
//! clock, randomness, SQL, sockets or logging: the same inputs give the same decisions.

mod account;
mod config;
mod deadline;
mod effect;
mod engine;
pub mod estimate;
pub mod files;
mod fleet;
mod grant;
mod hold;
mod ids;
mod input;
pub mod model;
mod plan;
mod row;
mod session;
pub mod spec;
mod state;
mod transition;
mod words;

pub use account::*;
pub use config::*;
pub use effect::*;
pub use engine::Engine;
pub use hold::{HoldReason, Holds, Listed, Missing};
pub use ids::*;
pub use input::*;
pub use plan::STANDARD_CAP;
pub use row::*;
pub use state::*;
pub use transition::{IllegalTransition, LeaseEvent, TaskEvent};
