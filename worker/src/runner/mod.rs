//! How the command of a task is run. One file a runner; each makes orders for the supervisor and reads
//! what the command left. Starts no process itself.

pub mod environment;
pub mod result_file;
pub mod shell;
