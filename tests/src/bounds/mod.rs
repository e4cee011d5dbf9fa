//! What the tests and the measurement of bounds share: large plans, a driver without sockets, peers that say and
//! hear just what they are made to, and what a process holds. Asserts nothing itself.

mod desk;
mod memory;
mod peers;
mod plans;

pub use desk::{Desk, Granted, finished};
pub use memory::{cpu_ms, peak_bytes, raise_open_files, resident_bytes};
pub use peers::{Heard, Peer, Site, one_by_one, success};
pub use plans::wide_plan;
