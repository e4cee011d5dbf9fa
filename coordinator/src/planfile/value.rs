//! Reading one field as what it should be. Owns the checks of types and the words "expected" and
//! "found"; what a field is for is its caller's.

use std::ops::RangeInclusive;

use super::{
    fields::Field,
    near::did_you_mean,
    node::{Key, Node, Placed, Value, shorten},
    report::Report,
};

/// A day over a year: longer is a slip of the hand.
const MAX_DURATION_MS: u64 = 366 * 24 * 60 * 60 * 1000;

impl<'n> Field<'n> {
    /// Reports that the value is something else than expected.
    pub(super) fn wrong(&self, expected: &str, report: &mut Report) {
        self.wrong_with_hint(expected, "", report);
    }

    /// The same where text was expected: quotes often help.
    fn wrong_text(&self, expected: &str, report: &mut Report) {
        self.wrong_with_hint(expected, quoting_hint(&self.node.value), report);
    }

    fn wrong_with_hint(&self, expected: &str, hint: &str, report: &mut Report) {
        let found = self.node.value.describe();
        report.error(self.node.place, format!("{}: expected {expected}, found {found}{hint}", self.label));
    }

    /// Text that is not blank.
    pub(super) fn text(&self, report: &mut Report) -> Option<String> {
        self.text_as("text", report)
    }

    /// Text that is not blank, by the name that the message gives it.
    pub(super) fn text_as(&self, expected: &str, report: &mut Report) -> Option<String> {
        let Some(text) = self.node.value.as_text() else {
            self.wrong_text(expected, report);
            return None;
        };
        if text.trim().is_empty() {
            self.wrong(&format!("{expected} that is not empty"), report);
            return None;
        }
        if text.contains('\0') {
            report.error(
                self.node.place,
                format!("{}: found a NUL character; expected printable text", self.label),
            );
            return None;
        }
        Some(text.to_owned())
    }

    /// One text, or a list of them.
    pub(super) fn texts(&self, one: &str, report: &mut Report) -> Vec<Placed<String>> {
        let list = self.node.value.as_list();
        if list.is_none() && self.node.value.as_text().is_none() {
            self.wrong_text(&format!("{one}, or a list of them"), report);
            return Vec::new();
        }
        let items = list.unwrap_or_else(|| std::slice::from_ref(self.node));
        let mut texts = Vec::with_capacity(items.len());
        for (node, number) in items.iter().zip(1..) {
            let item = self.item(node, list.map(|_| number));
            if let Some(value) = item.text_as(one, report) {
                let place = node.place;
                texts.push(Placed { place, value });
            }
        }
        texts
    }

    /// The same without their places.
    pub(super) fn plain_texts(&self, one: &str, report: &mut Report) -> Vec<String> {
        let texts = self.texts(one, report);
        texts.into_iter().map(|text| text.value).collect()
    }

    /// The items of a list; anything else is reported.
    pub(super) fn items(&self, expected: &str, report: &mut Report) -> &'n [Node] {
        self.node.value.as_list().unwrap_or_else(|| {
            self.wrong(expected, report);
            &[]
        })
    }

    /// The items of a list that has some; anything else is reported.
    pub(super) fn filled_items(&self, expected: &str, report: &mut Report) -> &'n [Node] {
        let items = self.node.value.as_list().filter(|items| !items.is_empty());
        items.unwrap_or_else(|| {
            self.wrong(expected, report);
            &[]
        })
    }

    /// Ids: a list, or one text with commas between. A number is an id as it is written.
    pub(super) fn ids(&self, one: &str, report: &mut Report) -> Vec<Placed<String>> {
        let list = self.node.value.as_list();
        let items = list.unwrap_or_else(|| std::slice::from_ref(self.node));
        let mut ids = Vec::new();
        for (node, number) in items.iter().zip(1..) {
            let item = self.item(node, list.map(|_| number));
            let text = match node.value.as_number() {
                Some(raw) => Some(raw.to_owned()),
                None => item.text_as(one, report),
            };
            let place = node.place;
            let text = text.unwrap_or_default();
            let parts = text.split(',').map(str::trim);
            ids.extend(
                parts.filter(|part| !part.is_empty()).map(|part| Placed { place, value: part.to_owned() }),
            );
        }
        ids
    }

    fn item(&self, node: &'n Node, number: Option<usize>) -> Self {
        let label = match number {
            Some(number) => format!("{}, item {number}", self.label),
            None => self.label.clone(),
        };
        Self { label, key: self.key, node }
    }

    /// A whole number in a range.
    pub(super) fn whole(&self, range: RangeInclusive<u64>, report: &mut Report) -> Option<u64> {
        let raw = self.node.value.as_number();
        let number = raw.and_then(|raw| raw.parse().ok());
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            let expected = if *most > u64::from(u32::MAX) {
                format!("a whole number from {least}")
            } else {
                format!("a whole number from {least} to {most}")
            };
            self.wrong(&expected, report);
        }
        number
    }

    /// One of a few words; letters' case does not matter.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)], report: &mut Report) -> Option<T> {
        let found = self.node.value.as_text().unwrap_or("").trim();
        let chosen = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(found));
        if chosen.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let guess = did_you_mean(found, names.iter().copied());
            report.error(
                self.node.place,
                format!(
                    "{}: expected {}, found {}{guess}",
                    self.label,
                    one_of(&names),
                    self.node.value.describe()
                ),
            );
        }
        chosen.map(|(_, value)| *value)
    }

    /// A time: "90s", "10m", "1h30m", or a whole number of seconds.
    pub(super) fn duration_ms(&self, report: &mut Report) -> Option<u64> {
        let duration = self.node.value.as_word().and_then(parse_duration_ms);
        let duration = duration.filter(|ms| (1..=MAX_DURATION_MS).contains(ms));
        if duration.is_none() {
            self.wrong(
                "a time above zero and up to 366 days: \"90s\", \"10m\", \"1h30m\", \
                 or a whole number of seconds",
                report,
            );
        }
        duration
    }
}

/// "`a`, `b` or `c`".
pub(super) fn one_of<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", shorten(name.as_ref()))).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

fn quoting_hint(found: &Value) -> &'static str {
    match found {
        // `- grep "a: b" file` is a mapping to YAML.
        Value::Map(entries) if is_split_text(entries) => "; text that holds `: ` must stand in quotes",
        Value::Bool(_) | Value::Number(_) => "; in quotes it would be text",
        Value::Null | Value::Text(_) | Value::List(_) | Value::Map(_) => "",
    }
}

fn is_split_text(entries: &[(Key, Node)]) -> bool {
    entries.len() == 1 && entries.iter().all(|(key, _)| key.value.contains(' '))
}

fn parse_duration_ms(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1000);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let after = rest.get(digits..)?;
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = unit_ms(after.get(..letters)?)?;
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = after.get(letters..)?.trim_start();
    }
    Some(total).filter(|_| !text.is_empty())
}

const fn unit_ms(unit: &str) -> Option<u64> {
    match unit.as_bytes() {
        b"ms" => Some(1),
        b"s" => Some(1000),
        b"m" | b"min" => Some(60 * 1000),
        b"h" => Some(60 * 60 * 1000),
        b"d" => Some(24 * 60 * 60 * 1000),
        _ => None,
    }
}
