//! A price table as a file. Owns its TOML form, its checks, and where in it a mistake is; what prices are
//! used for is the room's.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use toml::Spanned;

/// A price table that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    #[error("{file}: {error}")]
    Unreadable { file: String, error: String },
    /// Line and column count from 1, columns in characters.
    #[error("{file}:{line}:{column}: {message}")]
    Wrong { file: String, line: usize, column: usize, message: String },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) date: Date,
    #[expect(dead_code, reason = "said for people who read the file")]
    source: Option<String>,
    #[serde(default)]
    pub(super) aliases: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub(super) estimates: Estimates,
    #[serde(default)]
    pub(super) models: BTreeMap<Spanned<String>, Entry>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Estimates {
    pub(super) output_share: Option<Share>,
}

/// What one model costs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    input: Price,
    output: Price,
    cache_read: Option<Price>,
    cache_write: Option<Price>,
    pub(super) long: Option<Long>,
}

/// What its long requests cost.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Long {
    /// Tokens of a request's whole input.
    pub(super) over: u64,
    input: Price,
    output: Price,
    cache_read: Option<Price>,
    cache_write: Option<Price>,
}

/// Millionths of a US dollar per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rates {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cache_read: u64,
    pub(super) cache_write: u64,
}

impl Entry {
    pub(super) fn rates(&self) -> Rates {
        rates(self.input, self.output, self.cache_read, self.cache_write)
    }
}

impl Long {
    pub(super) fn rates(&self) -> Rates {
        rates(self.input, self.output, self.cache_read, self.cache_write)
    }
}

fn rates(input: Price, output: Price, cache_read: Option<Price>, cache_write: Option<Price>) -> Rates {
    let or_input = |price: Option<Price>| price.unwrap_or(input).0;
    Rates {
        input: input.0,
        output: output.0,
        cache_read: or_input(cache_read),
        cache_write: or_input(cache_write),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Number")]
struct Price(u64);

/// Said in people's words where something else stands there.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "expected a number")]
enum Number {
    Whole(i64),
    Fraction(f64),
}

impl Number {
    const fn as_f64(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Fraction(number) => number,
        }
    }
}

/// More than any model costs; a slip of the hand is more likely.
const MAX_USD: f64 = 100_000.0;

impl TryFrom<Number> for Price {
    type Error = String;

    /// The one place where a price is a float: from here on it is a whole number.
    fn try_from(usd: Number) -> Result<Self, String> {
        let usd = usd.as_f64();
        if (0.0..=MAX_USD).contains(&usd) {
            return Ok(Self((usd * 1e6).round() as u64));
        }
        Err(format!("expected US dollars per million tokens from 0 to {MAX_USD}, found {usd}"))
    }
}

/// A share in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Number")]
pub(super) struct Share(pub(super) u64);

impl TryFrom<Number> for Share {
    type Error = String;

    fn try_from(share: Number) -> Result<Self, String> {
        let share = share.as_f64();
        if (0.0..=1.0).contains(&share) {
            return Ok(Self((share * 1e6).round() as u64));
        }
        Err(format!("expected a share from 0 to 1, found {share}"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
pub(super) struct Date(pub(super) String);

impl TryFrom<toml::Value> for Date {
    type Error = String;

    /// As text or as TOML has dates.
    fn try_from(value: toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::String(text) => Self::of(text),
            toml::Value::Datetime(datetime) if datetime.time.is_none() => Self::of(datetime.to_string()),
            other @ (toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)
            | toml::Value::Table(_)) => Err(expected_date(&format!("a value of type {}", other.type_str()))),
        }
    }
}

fn expected_date(found: &str) -> String {
    format!("expected a date such as \"2026-11-23\", found {found}")
}

/// Of a month from 1 to 12.
const fn days_of(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Date {
    fn of(text: String) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('-').collect();
        let number = |text: &str, digits: usize| {
            text.parse::<u32>()
                .ok()
                .filter(|_| text.len() == digits && text.bytes().all(|b| b.is_ascii_digit()))
        };
        let is_date = match parts.as_slice() {
            [year, month, day] => {
                let (year, month, day) = (number(year, 4), number(month, 2), number(day, 2));
                year.zip(month.filter(|month| (1..=12).contains(month)))
                    .zip(day)
                    .is_some_and(|((year, month), day)| (1..=days_of(year, month)).contains(&day))
            }
            _ => false,
        };
        if is_date {
            return Ok(Self(text));
        }
        Err(expected_date(&format!("{text:?}")))
    }
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<(File, Source), PriceError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| PriceError::Unreadable { file: file.clone(), error: error.to_string() })?;
    parse(file, text)
}

/// Reads the text of the file of this name.
pub(super) fn parse(name: String, text: String) -> Result<(File, Source), PriceError> {
    let source = Source { name, text };
    match toml::from_str(&source.text) {
        Ok(file) => Ok((file, source)),
        Err(error) => Err(source.wrong(error.span().map_or(0, |span| span.start), error.message())),
    }
}

/// A text by which a mistake is placed.
pub(super) struct Source {
    name: String,
    text: String,
}

impl Source {
    /// A mistake at this byte.
    pub(super) fn wrong(&self, at: usize, message: &str) -> PriceError {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        PriceError::Wrong {
            file: self.name.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            // One mistake is one line.
            message: message.trim_end().replace('\n', ", "),
        }
    }
}
