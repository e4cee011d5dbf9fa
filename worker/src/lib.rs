//! The worker.
mod backoff;
mod blobs;
mod bulk;
mod config;
mod coordinator;
mod digest;
mod identity;
mod lease;
mod session;
mod spool;
mod work;
/// x
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
