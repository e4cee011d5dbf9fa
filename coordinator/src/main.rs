//! The `wavegate` program.

fn main() -> std::process::ExitCode {
    wavegate_coordinator::main()
}
