//! Texts with places to fill in: `{{name}}`. Owns the substitution and what becomes of places that stay
//! empty; knows nothing of what the texts say.
//!
//! A paragraph whose places are all empty is left out, and so is a section (from one `## ` to the next) with
//! its heading. What is filled in is never looked at again, so that a plan's text may hold `{{...}}`.

use std::collections::BTreeSet;

/// A template and its values that do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("there is no value for the place `{{{{{0}}}}}`")]
    Unknown(String),
    #[error("there is no place for the value `{0}`")]
    Unused(String),
    #[error("the place that begins at {0:?} does not end")]
    Open(String),
}

/// The text with its places filled in.
///
/// # Panics
/// When the template and the names of its values do not fit together: both are part of the program, the names
/// do not depend on any input, and a test fills each template.
pub(super) fn fill(template: &str, values: &[(&str, String)]) -> String {
    try_fill(template, values).expect("a test fills each template with these names")
}

pub(super) fn try_fill(template: &str, values: &[(&str, String)]) -> Result<String, TemplateError> {
    let mut unused: BTreeSet<&str> = values.iter().map(|(name, _)| *name).collect();
    let mut kept = Vec::new();
    for section in sections(template) {
        let section = filled(section, values, &mut unused)?;
        let is_empty = section.iter().all(|paragraph| paragraph.places == Places::None);
        if is_empty || section.iter().any(|paragraph| paragraph.places == Places::Filled) {
            let shown = section.into_iter().filter(|paragraph| paragraph.places != Places::Empty);
            kept.extend(shown.map(|paragraph| paragraph.text));
        }
    }
    match unused.pop_first() {
        Some(name) => Err(TemplateError::Unused(name.to_owned())),
        None => Ok(kept.join("\n\n") + "\n"),
    }
}

struct Paragraph {
    text: String,
    places: Places,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Places {
    None,
    Filled,
    Empty,
}

/// Each begins with its heading.
fn sections(template: &str) -> Vec<Vec<&str>> {
    let mut sections = vec![Vec::new()];
    for paragraph in template.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        if paragraph.starts_with("## ") {
            sections.push(Vec::new());
        }
        if let Some(section) = sections.last_mut() {
            section.push(paragraph);
        }
    }
    sections
}

fn filled<'v>(
    section: Vec<&str>,
    values: &'v [(&str, String)],
    unused: &mut BTreeSet<&'v str>,
) -> Result<Vec<Paragraph>, TemplateError> {
    section.into_iter().map(|paragraph| fill_paragraph(paragraph, values, unused)).collect()
}

fn fill_paragraph<'v>(
    paragraph: &str,
    values: &'v [(&str, String)],
    unused: &mut BTreeSet<&'v str>,
) -> Result<Paragraph, TemplateError> {
    let mut text = String::new();
    let mut places = Places::None;
    let mut rest = paragraph;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else {
            return Err(TemplateError::Open(after.to_owned()));
        };
        let Some((name, value)) = values.iter().find(|(known, _)| *known == name) else {
            return Err(TemplateError::Unknown(name.to_owned()));
        };
        unused.remove(name);
        let value = value.trim_end();
        places = match places {
            Places::None | Places::Empty if value.trim().is_empty() => Places::Empty,
            Places::None | Places::Empty | Places::Filled => Places::Filled,
        };
        text.push_str(before);
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    Ok(Paragraph { text, places })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, values: &[(&str, &str)]) -> Result<String, TemplateError> {
        let values: Vec<(&str, String)> =
            values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        try_fill(template, &values)
    }

    #[test]
    fn places_are_filled_once_and_values_are_left_alone() {
        let text = fill("a {{x}}, {{y}} and {{x}}", &[("x", "{{y}}"), ("y", "1")]);
        assert_eq!(text.unwrap(), "a {{y}}, 1 and {{y}}\n");
    }

    #[test]
    fn a_section_of_which_nothing_is_filled_is_left_out_whole() {
        let template =
            "top\n\n## One\n\nintro\n\n{{x}}\n\n## Two\n\nintro\n\n{{y}}\n\nsee {{x}}\n\n## Three\n\nend";
        let text = fill(template, &[("x", ""), ("y", "1")]).unwrap();
        assert_eq!(text, "top\n\n## Two\n\nintro\n\n1\n\n## Three\n\nend\n");
    }

    #[test]
    fn a_value_of_many_paragraphs_is_one_place() {
        let text = fill("## One\n\n{{x}}\n\nend", &[("x", "a\n\n## b\n\nc\n")]).unwrap();
        assert_eq!(text, "## One\n\na\n\n## b\n\nc\n\nend\n");
    }

    #[test]
    fn names_that_do_not_fit_are_errors() {
        assert_eq!(fill("{{x}}", &[]), Err(TemplateError::Unknown("x".to_owned())));
        assert_eq!(fill("x", &[("x", "")]), Err(TemplateError::Unused("x".to_owned())));
        assert_eq!(fill("a {{x", &[("x", "")]), Err(TemplateError::Open("x".to_owned())));
    }
}
