//! The one thread that owns the engine and the writing connection: it receives inputs, lets the
//! engine decide, commits what it decided, and only then answers and sends.
//!
//! Owns the order of these steps (`commit`), what happens when one fails (`recover`), and what is
//! done when (`turn`). Decides nothing about plans (the engine does), knows no SQL (the store does)
//! and no wire format (rpc does). Generic over store, clock and outbox, so that all three can be
//! simulated.

mod clock;
mod commit;
mod handle;
mod ports;
mod recover;
mod staging;
mod turn;
mod work;

pub use clock::SystemClock;
pub use handle::*;
pub use ports::*;
pub use turn::Driver;
pub use work::*;

#[cfg(test)]
mod tests;
