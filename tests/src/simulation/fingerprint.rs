//! A fingerprint of what happened, in order: what came, what was stored, what was sent.

use std::fmt::{Debug, Write};

/// FNV-1a, written to as text is: nothing is kept of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) const NEW: Self = Self(0xcbf2_9ce4_8422_2325);

    pub(super) fn take(&mut self, what: &impl Debug) {
        // Writing to a number cannot fail.
        let _ = write!(self, "{what:?};");
    }

    pub(super) const fn value(self) -> u64 {
        self.0
    }
}

impl Write for Fingerprint {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}
