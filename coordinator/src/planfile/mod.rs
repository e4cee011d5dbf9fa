//! Plan files: YAML or JSON text in, a [`PlanSpec`] and every mistake with its place out.
//!
//! Owns the format of a plan file, its defaults that depend on the file, and the words in which a
//! mistake is told. Deliberately opens no file, knows no database and starts nothing: the same text
//! always gives the same reading. Text that holds `${name}` is left as it is.

mod agent;
mod budget;
mod circle;
mod dependencies;
mod diagnostic;
mod fields;
mod json;
mod level;
mod name;
mod near;
mod node;
mod plan;
mod project;
mod report;
mod settings;
mod shared;
mod statement;
mod task;
mod value;
mod vars;
mod wave;
mod work;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use wavegate_engine::spec::PlanSpec;

pub use diagnostic::{Diagnostic, Severity};
pub use project::{ProjectPlaces, check_repository, check_revision, is_relative};
pub use vars::PLAN_DIR;

use node::{Node, Place};
use report::Report;

/// The longest plan file that is read, in bytes: 100,000 tasks of about 300 bytes each. Reading takes some twenty
/// times as much memory, so only few are read at a time.
pub const MAX_BYTES: usize = 32 * 1024 * 1024;
/// How deep lists and mappings may stand in one another; a plan needs seven.
const MAX_DEPTH: usize = 64;

/// What came of reading a plan file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The plan; absent when a diagnostic is an error.
    pub spec: Option<PlanSpec>,
    /// Errors and warnings in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// Where it says what the plan works on.
    pub project: ProjectPlaces,
}

/// Reads a plan file. `file_name` is used in diagnostics, for a plan without a name, and tells JSON
/// (`.json`) from YAML; `sets` are the values of the plan's variables, and may hold [`PLAN_DIR`].
#[must_use]
pub fn read(source: &str, file_name: &str, sets: &BTreeMap<String, String>) -> Reading {
    let mut report = Report::new(file_name);
    let plan = parse(source, &mut report).and_then(|root| plan::read(&root, file_name, sets, &mut report));
    let (spec, project) = plan.unzip();
    let spec = spec.filter(|_| !report.has_errors());
    Reading { spec, diagnostics: report.into_diagnostics(), project: project.unwrap_or_default() }
}

fn parse(source: &str, report: &mut Report) -> Option<Node> {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    if source.len() > MAX_BYTES {
        report.error(
            Place::START,
            format!("the file has {} bytes; expected at most {MAX_BYTES} (32 MiB)", source.len()),
        );
        return None;
    }
    if let Some((place, character)) = first_control_character(source) {
        report.error(
            place,
            format!(
                "found the control character U+{:04X}; expected printable text in UTF-8",
                u32::from(character)
            ),
        );
        return None;
    }
    if report.file().to_ascii_lowercase().ends_with(".json") {
        return json::parse(source, report);
    }
    if source.trim_start().starts_with(['{', '[']) {
        // Most such texts are JSON, whose \u escapes YAML does not know; the others are YAML.
        let mut trial = Report::new(report.file());
        if let Some(node) = json::parse(source, &mut trial) {
            *report = trial;
            return Some(node);
        }
    }
    yaml::parse(source, report)
}

fn first_control_character(source: &str) -> Option<(Place, char)> {
    let (mut line, mut column) = (1, 1);
    let mut characters = source.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\n' {
            (line, column) = (line + 1, 1);
            continue;
        }
        let is_line_end = character == '\r' && characters.peek() == Some(&'\n');
        if character.is_control() && !is_line_end && !matches!(character, '\t' | '\u{85}') {
            return Some((Place { line, column }, character));
        }
        column += 1;
    }
    None
}
