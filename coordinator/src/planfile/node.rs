//! A parsed file before it means anything: values, each with its place. Owns what YAML and JSON
//! have in common; knows no field of a plan.

use std::collections::BTreeMap;

use super::report::Report;

/// A place in the file; both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// Something read, with its place.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

pub(super) type Key = Placed<String>;

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file, no key twice.
    Map(Vec<(Key, Node)>),
}

/// So much of a found text is repeated in a message.
const SHOWN: usize = 40;

impl Value {
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Text or a number, as it was written.
    pub(super) fn as_word(&self) -> Option<&str> {
        if let Self::Text(word) | Self::Number(word) = self { Some(word.trim()) } else { None }
    }

    pub(super) fn as_number(&self) -> Option<&str> {
        if let Self::Number(raw) = self { Some(raw) } else { None }
    }

    pub(super) fn as_list(&self) -> Option<&[Node]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    pub(super) fn as_map(&self) -> Option<&[(Key, Node)]> {
        if let Self::Map(entries) = self { Some(entries) } else { None }
    }

    /// What was found, as a message says it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => format!("`{value}`"),
            Self::Number(raw) => format!("the number {}", shorten(raw)),
            Self::Text(text) => format!("the text {:?}", shorten(text)),
            Self::List(items) if items.is_empty() => "an empty list".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// The beginning of a text, for a message.
pub(super) fn shorten(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN - 1).chain(['…']).collect()
}

impl Node {
    /// About how many bytes the node and all in it take.
    pub(super) fn weight(&self) -> usize {
        let inner: usize = match &self.value {
            Value::Null | Value::Bool(_) => 0,
            Value::Number(text) | Value::Text(text) => text.len(),
            Value::List(items) => items.iter().map(Self::weight).sum(),
            Value::Map(entries) => {
                entries.iter().map(|(key, node)| size_of::<Key>() + key.value.len() + node.weight()).sum()
            }
        };
        size_of::<Self>() + inner
    }

    /// How deep lists and mappings stand in one another here; 0 for a word.
    pub(super) fn depth(&self) -> usize {
        match &self.value {
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => 0,
            Value::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Value::Map(entries) => {
                let inner = entries.iter().map(|(_, node)| node.depth());
                1 + inner.max().unwrap_or(0)
            }
        }
    }
}

/// The entries of a mapping that is being read.
#[derive(Debug, Default)]
pub(super) struct Entries {
    list: Vec<(Key, Node)>,
    places: BTreeMap<String, Place>,
}

impl Entries {
    /// Adds an entry; a key that is there already is reported and the first one kept.
    pub(super) fn add(&mut self, key: Key, node: Node, report: &mut Report) {
        if let Some(first) = self.places.get(&key.value) {
            report.error(
                key.place,
                format!(
                    "`{}` is written twice in one mapping, first at line {}, column {}; \
                     expected each name once",
                    shorten(&key.value),
                    first.line,
                    first.column
                ),
            );
            return;
        }
        self.places.insert(key.value.clone(), key.place);
        self.list.push((key, node));
    }

    /// Adds what `<<` brings in: only what is not there yet.
    pub(super) fn merge(&mut self, from: &[(Key, Node)]) {
        for (key, node) in from {
            if !self.places.contains_key(&key.value) {
                self.places.insert(key.value.clone(), key.place);
                self.list.push((key.clone(), node.clone()));
            }
        }
    }

    /// Takes the entry of this name out.
    pub(super) fn remove(&mut self, name: &str) -> Option<Node> {
        self.places.remove(name)?;
        let at = self.list.iter().position(|(key, _)| key.value == name)?;
        Some(self.list.remove(at).1)
    }

    pub(super) fn into_value(self) -> Value {
        Value::Map(self.list)
    }
}
