//! The `wavegate` program, as the tests start it.

fn main() -> std::process::ExitCode {
    wavegate_coordinator::main()
}
