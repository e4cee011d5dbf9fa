//! Requirements and constraints: what the plan must achieve and what it must not break. Owns their
//! two forms, a text and a mapping, and the numbers of those without an id.

use wavegate_engine::spec::{Constraint, Requirement, WaveSpec};

use super::{
    fields::{Field, Fields},
    level::{CONSTRAINT, REQUIREMENT},
    near::did_you_mean,
    node::{Node, Value, shorten},
    report::Report,
    value::one_of,
};

/// The plan's `requirements`; `waves` are those that they may name.
pub(super) fn requirements(fields: &Fields<'_>, waves: &[WaveSpec], report: &mut Report) -> Vec<Requirement> {
    let Some(field) = fields.get("requirements") else {
        return Vec::new();
    };
    let nodes = field.items("a list of requirements", report);
    let mut requirements = Vec::with_capacity(nodes.len());
    for (node, number) in nodes.iter().zip(1..) {
        let Some((item, id, text)) = statement(&field, node, number, "F", report) else {
            continue;
        };
        let wave = item.as_ref().and_then(|item| {
            item.note_unknown(&REQUIREMENT, report);
            requirement_wave(&item.get("wave")?, waves, report)
        });
        requirements.push(Requirement { id, text, wave });
    }
    requirements
}

fn requirement_wave(field: &Field<'_>, waves: &[WaveSpec], report: &mut Report) -> Option<String> {
    let wave = field.text_as("the id of a wave", report)?;
    // Without waves there are errors already, and each name would seem unknown.
    if !waves.is_empty() && !report.is_full() && waves.iter().all(|other| other.key != wave) {
        let guess = did_you_mean(&wave, waves.iter().map(|wave| wave.key.as_str()));
        report.warning(
            field.node.place,
            format!("{}: there is no wave `{}`{guess}", field.label, shorten(&wave)),
        );
    }
    Some(wave)
}

/// The plan's `constraints`.
pub(super) fn constraints(fields: &Fields<'_>, report: &mut Report) -> Vec<Constraint> {
    let Some(field) = fields.get("constraints") else {
        return Vec::new();
    };
    let nodes = field.items("a list of constraints", report);
    let mut constraints = Vec::with_capacity(nodes.len());
    for (node, number) in nodes.iter().zip(1..) {
        let Some((item, id, text)) = statement(&field, node, number, "C", report) else {
            continue;
        };
        let (mut kind, mut verify) = (None, None);
        if let Some(item) = item {
            item.note_unknown(&CONSTRAINT, report);
            kind = item.get("type").and_then(|f| constraint_kind(&f, report));
            verify = item.get("verify").and_then(|f| f.text_as("a shell command", report));
        }
        constraints.push(Constraint { id, text, kind: kind.unwrap_or_default(), verify });
    }
    constraints
}

fn constraint_kind(field: &Field<'_>, report: &mut Report) -> Option<String> {
    const KINDS: [&str; 6] = ["permission", "security", "cost", "compliance", "technical", "process"];
    let kind = field.text(report)?.trim().to_ascii_lowercase();
    if !KINDS.contains(&kind.as_str()) {
        report.warning(
            field.node.place,
            format!(
                "{}: expected {}, found `{}`{}",
                field.label,
                one_of(&KINDS),
                shorten(&kind),
                did_you_mean(&kind, KINDS)
            ),
        );
    }
    Some(kind)
}

/// A requirement or constraint: a text, or a mapping with `text` or `title` and `description`. One
/// without an id gets its number.
fn statement<'n>(
    field: &Field<'n>,
    node: &'n Node,
    number: usize,
    letter: &str,
    report: &mut Report,
) -> Option<(Option<Fields<'n>>, String, String)> {
    let numbered = format!("{letter}-{number:02}");
    let what = format!("{}, item {number}", field.label);
    if let Value::Text(text) = &node.value {
        return Some((None, numbered, text.clone()));
    }
    let fields = Fields::of(node, &what, report)?;
    let id = fields.get("id").and_then(|f| f.text(report));
    let texts: Vec<String> = ["text", "title", "description"]
        .iter()
        .filter_map(|name| fields.get(name))
        .filter_map(|f| f.text(report))
        .collect();
    if texts.is_empty() {
        report.error(
            fields.place,
            format!("{what} says nothing; expected `text`, or `title` and `description`"),
        );
        return None;
    }
    Some((Some(fields), id.unwrap_or(numbered), texts.join(": ")))
}
