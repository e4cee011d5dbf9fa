//! Looking into a mapping of the file. Owns the labels by which messages name a field.

use super::{
    level::Level,
    node::{Key, Node, Place, Value},
    report::Report,
};

/// A mapping, with the name that messages give it ("task `T1-01`").
pub(super) struct Fields<'n> {
    pub(super) what: String,
    pub(super) place: Place,
    entries: Vec<(&'n Key, &'n Node)>,
}

/// One field's value, with the name that messages give it.
pub(super) struct Field<'n> {
    pub(super) label: String,
    /// Where its name stands.
    pub(super) key: Place,
    pub(super) node: &'n Node,
}

impl<'n> Fields<'n> {
    /// The fields of a mapping; anything else is reported.
    pub(super) fn of(node: &'n Node, what: &str, report: &mut Report) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            report.error(node.place, format!("{what}: expected a mapping, found {}", node.value.describe()));
            return None;
        };
        Some(Self {
            what: what.to_owned(),
            place: node.place,
            entries: entries.iter().map(|(key, node)| (key, node)).collect(),
        })
    }

    /// Both mappings as one; what is in both is reported.
    pub(super) fn with(mut self, other: Self, report: &mut Report) -> Self {
        for (key, node) in other.entries {
            match self.entries.iter().find(|(mine, _)| mine.value == key.value) {
                Some((first, _)) => report.error(
                    key.place,
                    format!(
                        "`{}` is also written at line {}, column {}; expected it once",
                        key.value, first.place.line, first.place.column
                    ),
                ),
                None => self.entries.push((key, node)),
            }
        }
        self
    }

    /// Without the field of this name.
    pub(super) fn without(mut self, name: &str) -> Self {
        self.entries.retain(|(key, _)| key.value != name);
        self
    }

    /// The field of this name; one without a value counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<Field<'n>> {
        self.entries
            .iter()
            .find(|(key, node)| key.value == name && !matches!(node.value, Value::Null))
            .map(|(key, node)| Field { label: format!("`{name}` of {}", self.what), key: key.place, node })
    }

    /// Warns of the fields that this level does not know.
    pub(super) fn note_unknown(&self, level: &Level, report: &mut Report) {
        for (key, _) in &self.entries {
            if let Some(objection) = level.objection(&key.value) {
                report.repeated_warning(key.place, objection);
            }
        }
    }
}
