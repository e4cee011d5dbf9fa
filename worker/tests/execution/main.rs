//! Leases performed for real: processes, their trees, workspaces and results.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agents;
mod bench;
mod described;
mod escapes;
mod processes;
mod real_claude;
mod repositories;
mod streams;
mod work;
