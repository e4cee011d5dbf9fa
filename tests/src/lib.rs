//! What the tests of the whole system share: a home of files, processes that are killed when they
//! are dropped, and waiting for a condition. Asserts nothing itself.

mod agents;
mod home;
pub mod model_api;
mod process;
mod repository;
pub mod simulation;
mod wait;

pub use agents::{ACCOUNT, AgentPrograms, LOGIN};
pub use home::{Home, Ran};
pub use process::Process;
pub use repository::{Picture, Repository};
pub use wait::{LONG, wait_until};
