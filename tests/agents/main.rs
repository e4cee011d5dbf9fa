//! Plans done by the real agent programs, with a stand-in for their API: no network, no key, no cost.
//! `.ci/agents` installs the programs; `cargo test -p wavegate-tests --test agents -- --ignored` runs these.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod cluster;
mod direct;
mod endings;
mod example;
mod ledger;
mod modes;
mod others;
mod repositories;
mod stand_in;
