//! The real coordinator and the real workers on simulated hosts: tonic over a simulated network, SQLite inline, the
//! worker's session, spool, bulk and memory as they are. Only the agents are stand-ins. Time is simulated, so the
//! timings are the default ones: heartbeats of 10 s, leases that are lost after 15 min.
//!
//! `WAVEGATE_TURMOIL_SEEDS=200 cargo test --release -p wavegate-tests --test turmoil` runs more seeds of each
//! scenario, `WAVEGATE_TURMOIL_FROM=17` begins at that one. With `RUSTFLAGS="--cfg tokio_unstable"` a seed is one run
//! to the millisecond; without it tokio chooses between branches of `select!` that are ready at once by randomness
//! of its own, so the faults and the work are the same, but not which message goes first.

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
