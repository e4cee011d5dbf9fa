//! The `wavegate-worker` program, as the tests start it.

fn main() -> std::process::ExitCode {
    wavegate_worker::main()
}
