//! kill -9 of real processes: no task runs twice without being counted, nothing is lost, the plan ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod kills;

use std::net::TcpListener;

use wavegate_tests::Home;

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_wavegate-under-test"), env!("CARGO_BIN_EXE_wavegate-worker-under-test"))
        .unwrap()
}

/// An address that is free now and kept over restarts.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
