//! What strangers write and nobody may trust: plan files, messages of workers, database files, coordinators as
//! workers hear them, price tables. Whatever the bytes, the product answers in words: it does not panic, it comes
//! to an end, and no invariant breaks.
//!
//! Each target is a function of bytes. `cargo test` runs the files in `seeds/TARGET` and a bounded number of
//! inputs made from them, the same ones each time (`bounded`). `tests/fuzz/run MODULE::TARGET SECONDS` goes on
//! for longer with libFuzzer, guided by coverage; a file that it found is put into `seeds` with what mends it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "who looks on looks for a few kinds, and passes over the rest"
)]

#[cfg(not(fuzzing))]
mod bounded;
mod database;
mod draw;
mod files;
mod messages;
#[path = "../../coordinator/engine/tests/environment/store.rs"]
mod naive;
mod outside;
mod peers;
mod plan_files;
mod sentences;
mod stores;

/// A target: under cargo-bolero for as long as it is told to, else on `$inputs` inputs.
macro_rules! target {
    ($(#[$attribute:meta])* $name:ident, $inputs:expr, $run:path) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            #[cfg(fuzzing)]
            {
                let _ = $inputs;
                bolero::check!().for_each(|bytes: &[u8]| $run(bytes));
            }
            #[cfg(not(fuzzing))]
            crate::bounded::run(stringify!($name), $inputs, $run);
        }
    };
}
use target;
