//! Amounts as people write them, on the command line and in the config file alike.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::Deserialize;

/// How many leases a worker takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub enum Slots {
    /// No limit.
    Unlimited,
    /// This many.
    AtMost(NonZeroU32),
}

/// A number of bytes: plain, or with KiB, MiB or GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Written")]
pub struct Bytes(pub u64);

/// An amount that is not written as expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected {expected}")]
pub struct BadAmount {
    found: String,
    expected: &'static str,
}

impl Slots {
    /// As a hello says it: absent is no limit.
    pub fn limit(self) -> Option<u32> {
        match self {
            Self::Unlimited => None,
            Self::AtMost(slots) => Some(slots.get()),
        }
    }
}

impl FromStr for Slots {
    type Err = BadAmount;

    fn from_str(text: &str) -> Result<Self, BadAmount> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let expected = "a number from 1 up, or \"unlimited\"";
        text.parse().map(Self::AtMost).map_err(|_| BadAmount { found: text.to_owned(), expected })
    }
}

impl FromStr for Bytes {
    type Err = BadAmount;

    fn from_str(text: &str) -> Result<Self, BadAmount> {
        let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor = match unit.trim() {
            "" | "B" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1_u64 << 30),
            _ => None,
        };
        let number = number.parse::<u64>().ok();
        let bytes = number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        let expected = "bytes: a number, alone or with KiB, MiB or GiB";
        bytes.map(Self).ok_or_else(|| BadAmount { found: text.to_owned(), expected })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if bytes >= size && bytes % size == 0 {
                return write!(formatter, "{} {unit}", bytes / size);
            }
        }
        write!(formatter, "{bytes} bytes")
    }
}

/// TOML has numbers and texts; both are ways to write an amount.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number or a text")]
enum Written {
    Number(u64),
    Text(String),
}

impl TryFrom<Written> for Slots {
    type Error = BadAmount;

    fn try_from(written: Written) -> Result<Self, BadAmount> {
        written.into_text().parse()
    }
}

impl TryFrom<Written> for Bytes {
    type Error = BadAmount;

    fn try_from(written: Written) -> Result<Self, BadAmount> {
        written.into_text().parse()
    }
}

impl Written {
    fn into_text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}
