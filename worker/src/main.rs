//! The `wavegate-worker` program.

fn main() -> std::process::ExitCode {
    wavegate_worker::main()
}
