//! What the tests of the whole system share: a home of files, processes that are killed when they
//! are dropped, and waiting for a condition. Asserts nothing itself.

mod agents;
pub mod bounds;
mod home;
mod hosts;
pub mod model_api;
pub mod power_loss;
mod process;
mod proxy;
mod repository;
pub mod simulation;
mod strace;
mod tree;
mod wait;
mod witness;

pub use agents::{ACCOUNT, AgentPrograms, LOGIN};
pub use home::{Home, Ran};
pub use hosts::Hosts;
pub use process::Process;
pub use proxy::Proxy;
pub use repository::{Picture, Repository};
pub use strace::Strace;
pub use tree::{descendants, living_with, signal_all, uptime};
pub use wait::{LONG, wait_until, wait_until_within};
pub use witness::{BEATS_A_SECOND, Interval};
