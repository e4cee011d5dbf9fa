//! The real coordinator and the real workers on simulated hosts: tonic over a simulated network, SQLite inline, the
//! worker's session, spool, bulk and memory as they are. Only the agents are stand-ins. Time is simulated, so the
//! timings are the default ones: heartbeats of 10 s, leases that are lost after 15 min.
//!
//! `WAVEGATE_TURMOIL_SEEDS=200 cargo test --release -p wavegate-tests --test turmoil` runs more seeds of each
//! scenario, `WAVEGATE_TURMOIL_FROM=17` begins at that one. A seed is one run when it is the first
//! in its process: tokio ends the tasks of a crashed host in an order that counts all tasks of the process. What is
//! left to chance is which ready branch of a `select!` tokio takes (not with `RUSTFLAGS="--cfg tokio_unstable"`), and
//! the ids that the product draws from the kernel, which decide nothing: its token, its epochs, a worker's instance.

mod agents;
mod book;
mod chance;
mod checks;
mod coordinator;
mod mix;
mod network;
mod operator;
mod plan;
mod restarts;
mod scenario;
mod silence;
mod world;
