//! The `wavegate-worker` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    wavegate_worker::main()
}
